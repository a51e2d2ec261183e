//! The backend of real processes: each actor is a process in a process group and folders of its own.

mod cancel;
mod child;
mod external;
mod fault_control;
mod interleaved;
mod line_reader;
mod ports;
mod procfs;
mod pty;
mod readiness;
mod reaper;
mod subreaper;
mod tee;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use nix::sys::signal::Signal as Posix;
use tempfile::TempDir;

use crate::io::clock::Clock;
use crate::proto::time::Instant;
pub use crate::runner::backend::process::cancel::CancelToken;
use crate::runner::backend::process::cancel::WakeTarget;
use crate::runner::backend::process::child::{Child, ChildEvent, ChildMessage};
pub use crate::runner::backend::process::external::Implementation;
use crate::runner::backend::process::fault_control::FaultControl;
use crate::runner::backend::process::line_reader::LineFormat;
use crate::runner::backend::process::ports::{ReservedPort, SilentPort};
use crate::runner::backend::process::readiness::reports_listening;
use crate::runner::backend::process::reaper::Reaper;
pub use crate::runner::backend::process::subreaper::Subreaper;
use crate::runner::backend::{ActorExit, ActorOutput, Backend, BackendError, BackendEvent, LaunchSpec, NetworkChange};
use crate::runner::lang::ast::{ActorId, Need, Signal};
use crate::runner::profile::Translator;
use crate::runner::run::seed::Seed;

/// The most queued messages of all processes. Their reading threads block beyond it.
const MAX_QUEUED: usize = 1024;
/// Time limit for the last output after a process has ended. A process that left the group may hold the pipe open.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// The program of the actors.
#[derive(Clone, Debug)]
pub enum Program {
    /// Our own program, which can report events as JSON.
    Own(PathBuf),
    /// An external program with the same command line.
    External(Box<Implementation>),
}

/// Actors as processes of one program.
pub struct ProcessBackend {
    clock: Clock,
    program: Program,
    cancel: CancelToken,
    inbox: Receiver<ChildMessage>,
    /// Cloned for the threads of each process.
    outbox: SyncSender<ChildMessage>,
    events: VecDeque<BackendEvent>,
    actors: BTreeMap<ActorId, Process>,
    /// The server's port, once it listens.
    server: Option<u16>,
    /// The server port of clients that start before a server listens.
    silent: Option<SilentPort>,
    /// The folder for copies of all output.
    copies: Option<PathBuf>,
    /// Network faults between own actors.
    fault_control: FaultControl,
    /// A cancellation wakes the backend until this is dropped.
    _wake_target: WakeTarget,
    /// Declared after `actors`: it kills escaped processes after the groups are dropped.
    _reaper: Option<Reaper>,
    /// Declared last: the folder is removed after all processes have ended.
    folder: TempDir,
}

struct Process {
    launch: LaunchSpec,
    home: PathBuf,
    /// The same in every incarnation.
    port: u16,
    _reserved: ReservedPort,
    /// The program is external, and the actor is not ready yet.
    awaits_ready: bool,
    /// The time at which its streams closed, until that is reported.
    closed: Option<Instant>,
    /// The number of starts.
    incarnation: u32,
    child: Child,
    /// The time of its end, its exit, and the limit of the wait for its last output.
    ended: Option<(Instant, ActorExit, Instant)>,
    exit_reported: bool,
}

impl Process {
    fn runs(&self) -> bool {
        self.ended.is_none()
    }
}

impl ProcessBackend {
    /// Creates an empty backend for this program. Backends of one run share the clock. The seed feeds the random
    /// numbers of network faults.
    ///
    /// # Errors
    /// When the temporary folder cannot be created.
    pub fn new(clock: Clock, program: &Program, cancel: &CancelToken, seed: Seed) -> io::Result<Self> {
        let (outbox, inbox) = mpsc::sync_channel(MAX_QUEUED);
        let wake_target = cancel.add_wake_target(outbox.clone());
        let folder = tempfile::Builder::new().prefix("chat-run-").tempdir()?;
        let reaper = matches!(program, Program::External(_)).then(|| Reaper::new(folder.path()));
        Ok(Self {
            clock,
            program: program.clone(),
            cancel: cancel.clone(),
            inbox,
            outbox,
            events: VecDeque::new(),
            actors: BTreeMap::new(),
            server: None,
            silent: None,
            copies: None,
            fault_control: FaultControl::new(folder.path(), seed),
            _wake_target: wake_target,
            _reaper: reaper,
            folder,
        })
    }

    /// Copies all output of actors to this folder: `ACTOR.jsonl` or `ACTOR.out`, and `ACTOR.err`.
    pub fn keep_output(&mut self, folder: &Path) {
        self.copies = Some(folder.to_owned());
    }

    /// The arguments of an actor.
    fn arguments(&mut self, launch: &LaunchSpec, port: u16, incarnation: u32) -> io::Result<Vec<String>> {
        let mut words = if launch.actor == ActorId::Server {
            vec!["-s".to_owned(), port.to_string()]
        } else {
            let server = match (self.server, &mut self.silent) {
                (Some(port), _) => port,
                (None, Some(silent)) => silent.port(),
                (None, none) => none.insert(SilentPort::new()?).port(),
            };
            let name = launch.name.clone();
            vec!["-c".to_owned(), name, "127.0.0.1".to_owned(), server.to_string(), port.to_string()]
        };
        if let Program::External(_) = self.program {
            return Ok(words);
        }
        if launch.actor != ActorId::Server {
            words.push("--typed".to_owned());
        }
        if !launch.text {
            words.push("--json".to_owned());
        }
        words.extend(self.fault_args(&launch.actor, incarnation));
        words.extend(launch.args.iter().cloned());
        Ok(words)
    }

    fn spawn(&mut self, launch: &LaunchSpec, home: &Path, port: u16, incarnation: u32) -> Result<Child, BackendError> {
        let cannot = |error: io::Error| BackendError(format!("{} cannot be started: {error}", launch.actor));
        let arguments = self.arguments(launch, port, incarnation).map_err(cannot)?;
        let source = (launch.actor.clone(), incarnation);
        let copies = self.copies(launch, incarnation).map_err(cannot)?;
        let context = (self.clock, &self.cancel, &self.outbox);
        match &self.program {
            Program::Own(program) => {
                let format = if launch.text { LineFormat::Text } else { LineFormat::Json };
                Child::spawn(program, &arguments, home, format, source, copies, context).map_err(cannot)
            }
            Program::External(implementation) => {
                let mut command = implementation.command(home).map_err(cannot)?;
                command.args(arguments);
                let translator = implementation.translator.clone();
                Child::spawn_at_terminal(command, translator, home, source, copies, context).map_err(|error| {
                    let word = implementation.words.first().map_or("", String::as_str);
                    BackendError(format!("{} cannot be started: {word}: {error}", launch.actor))
                })
            }
        }
    }

    /// The files for copies of an actor's standard output and standard error, if copies are kept.
    fn copies(&self, launch: &LaunchSpec, incarnation: u32) -> io::Result<[Option<File>; 2]> {
        let Some(folder) = &self.copies else { return Ok([None, None]) };
        std::fs::create_dir_all(folder)?;
        let of =
            |ending: &str| tee::open_copy(&folder.join(format!("{}.{ending}", launch.actor)), incarnation).map(Some);
        Ok([of(if launch.text { "out" } else { "jsonl" })?, of("err")?])
    }

    /// Queues the events of a message for [`Backend::next`], and notes when the server listens.
    fn handle_message(&mut self, message: ChildMessage) {
        let ChildMessage { actor, incarnation, at, event } = message;
        let Some(process) =
            self.actors.get_mut(&actor).filter(|process| process.incarnation == incarnation && !process.exit_reported)
        else {
            return;
        };
        match event {
            ChildEvent::Wake => {}
            ChildEvent::Output(output) => {
                if process.awaits_ready
                    && let Program::External(implementation) = &self.program
                    && actor != ActorId::Server
                    && let ActorOutput::Line(line) | ActorOutput::Partial(line) = &output
                    && implementation.is_ready_at(line)
                {
                    process.awaits_ready = false;
                    let (actor, ready) = (actor.clone(), ActorOutput::Ready);
                    self.events.push_back(BackendEvent::Output { actor, at, output: ready });
                }
                if actor == ActorId::Server && reports_listening(&output) {
                    self.server = Some(process.port);
                }
                self.events.push_back(BackendEvent::Output { actor, at, output });
            }
            ChildEvent::Flood(reason) => {
                let reason = format!("{actor} {reason}");
                self.events.push_back(BackendEvent::Flood { actor, at, reason });
            }
            ChildEvent::Eof => {
                process.child.open = process.child.open.saturating_sub(1);
                process.closed = (process.child.open == 0).then_some(at);
                self.report_exits(at);
            }
            ChildEvent::Exited => {
                let end = process.child.kill_and_reap();
                process.ended = Some((at, end, at + LAST_OUTPUT));
                self.report_exits(at);
            }
        }
    }

    /// Reports the exits whose output is complete or whose limit has passed. The caller has handled all messages until
    /// `known`.
    fn report_exits(&mut self, known: Instant) {
        for (actor, process) in &mut self.actors {
            let Some((at, end, limit)) = process.ended else { continue };
            if !process.exit_reported && (process.child.open == 0 || limit <= known) {
                process.exit_reported = true;
                self.events.push_back(BackendEvent::Ended { actor: actor.clone(), at, end });
            }
        }
    }

    /// The earliest limit of a wait for last output.
    fn next_exit_limit(&self) -> Option<Instant> {
        let ends = self.actors.values().filter(|process| !process.exit_reported);
        ends.filter_map(|process| process.ended.map(|(_, _, limit)| limit)).min()
    }

    /// Takes the next event if its time is at most `until`. `Some(Err)` means that the next event is later.
    fn take(&mut self, until: Instant) -> Option<Result<BackendEvent, ()>> {
        let at = match self.events.front()? {
            BackendEvent::Output { at, .. } | BackendEvent::Ended { at, .. } | BackendEvent::Flood { at, .. } => *at,
            BackendEvent::Cancelled(_) | BackendEvent::Time => Instant::ZERO,
        };
        if at > until { Some(Err(())) } else { self.events.pop_front().map(Ok) }
    }
}

impl Backend for ProcessBackend {
    fn now(&self) -> Instant {
        self.clock.now().mono
    }

    fn next(&mut self, until: Instant) -> BackendEvent {
        loop {
            if let Some(signal) = self.cancel.signal() {
                return BackendEvent::Cancelled(signal);
            }
            self.check_external();
            match self.take(until) {
                Some(Ok(event)) => return event,
                Some(Err(())) => return BackendEvent::Time,
                None => {}
            }
            let now = self.now();
            if now >= until {
                match self.inbox.try_recv() {
                    Ok(message) => self.handle_message(message),
                    Err(_) => return BackendEvent::Time,
                }
                continue;
            }
            let wake = [self.next_exit_limit(), self.next_check(now)].into_iter().flatten().fold(until, Instant::min);
            match self.inbox.recv_timeout(wake.since(now)) {
                Ok(message) => self.handle_message(message),
                // Never disconnected: the backend itself holds a sender.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => self.report_exits(now),
            }
        }
    }

    fn start(&mut self, launch: &LaunchSpec) -> Result<(), BackendError> {
        if self.actors.contains_key(&launch.actor) {
            return Err(BackendError(format!("{} was started already", launch.actor)));
        }
        let cannot = |error: io::Error| BackendError(format!("{} cannot be started: {error}", launch.actor));
        let home = self.folder.path().join(launch.actor.to_string());
        child::create_folders(&home).map_err(cannot)?;
        let external = matches!(self.program, Program::External(_));
        // The port stays reserved after the actor has ended, while others still send to it. Another program could take
        // a port that the actor had bound by itself.
        let reserved = ReservedPort::new().map_err(cannot)?;
        let port = reserved.port();
        let child = self.spawn(launch, &home, port, 1)?;
        let (launch, awaits_ready) = (launch.clone(), external);
        let (incarnation, closed, ended, exit_reported) = (1, None, None, false);
        let actor = launch.actor.clone();
        let process = Process {
            launch,
            home,
            port,
            _reserved: reserved,
            awaits_ready,
            closed,
            incarnation,
            child,
            ended,
            exit_reported,
        };
        self.actors.insert(actor, process);
        Ok(())
    }

    fn restart(&mut self, actor: &ActorId) -> Result<(), BackendError> {
        let Some(process) = self.actors.get_mut(actor) else {
            return Err(BackendError(format!("{actor} was not started")));
        };
        if !process.exit_reported {
            return Err(BackendError(format!("{actor} still runs")));
        }
        let (launch, home, port) = (process.launch.clone(), process.home.clone(), process.port);
        let incarnation = process.incarnation.saturating_add(1);
        let child = self.spawn(&launch, &home, port, incarnation)?;
        if let Some(process) = self.actors.get_mut(actor) {
            (process.incarnation, process.child) = (incarnation, child);
            (process.ended, process.exit_reported, process.closed) = (None, false, None);
            process.awaits_ready = matches!(self.program, Program::External(_));
        }
        Ok(())
    }

    fn type_line(&mut self, actor: &ActorId, line: &str) -> Result<(), BackendError> {
        let process = self.actors.get(actor).ok_or_else(|| BackendError(format!("{actor} was not started")))?;
        process.child.type_line(line).map_err(|why| BackendError(format!("{actor} {why}")))
    }

    fn close_input(&mut self, actor: &ActorId) {
        if let Some(process) = self.actors.get_mut(actor) {
            process.child.close_input();
        }
    }

    fn signal(&mut self, actor: &ActorId, signal: Signal) -> Result<(), BackendError> {
        let Some(process) = self.actors.get_mut(actor) else {
            return Err(BackendError(format!("{actor} was not started")));
        };
        let posix = match signal {
            Signal::Kill => Posix::SIGKILL,
            Signal::Term => Posix::SIGTERM,
            Signal::Interrupt => Posix::SIGINT,
            Signal::Hangup => Posix::SIGHUP,
            Signal::Pause => Posix::SIGSTOP,
            Signal::Resume => Posix::SIGCONT,
        };
        self.fault_control.signal(actor, signal);
        process.child.signal(posix).map_err(|error| BackendError(format!("{actor} cannot be sent a signal: {error}")))
    }

    fn is_external(&self) -> bool {
        matches!(self.program, Program::External(_))
    }

    fn translator(&self) -> Translator {
        match &self.program {
            Program::External(implementation) => implementation.translator.clone(),
            Program::Own(_) => Translator::default(),
        }
    }

    fn refuses(&self, args: &[String]) -> Option<String> {
        if self.is_external() { Implementation::refuses(args) } else { None }
    }

    fn unmet_need(&self, need: Need) -> Option<String> {
        if let Program::External(implementation) = &self.program {
            return implementation.unmet_need(need);
        }
        match need {
            Need::Faults => self.fault_control.unavailable(),
            Need::Groups | Need::Offline | Need::Receipts => None,
        }
    }

    fn change_network(&mut self, change: &NetworkChange<'_>) -> Result<(), BackendError> {
        self.change_all_networks(change)
    }
}
