//! The backend of real processes: each actor is one, in a process group and folders of its own.

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
use crate::runner::backend::process::cancel::Woken;
use crate::runner::backend::process::child::{Child, ChildEvent, ChildMessage};
pub use crate::runner::backend::process::external::Implementation;
use crate::runner::backend::process::fault_control::FaultControl;
use crate::runner::backend::process::ports::{ReservedPort, SilentPort};
use crate::runner::backend::process::readiness::listens;
use crate::runner::backend::process::reaper::Reaper;
pub use crate::runner::backend::process::subreaper::Subreaper;
use crate::runner::backend::{ActorExit, ActorOutput, Backend, BackendError, BackendEvent, LaunchSpec, NetworkChange};
use crate::runner::lang::ast::{ActorId, Need, Signal};
use crate::runner::profile::Translator;
use crate::runner::run::seed::Seed;

/// How many pieces of output may wait for the executor before those who write them have to wait.
const MAX_WAITING: usize = 1024;
/// How long the output of a process that has ended is waited for: something that left its process group may hold it.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// What the actors are processes of.
#[derive(Clone, Debug)]
pub enum Program {
    /// Ours, that speaks JSON and takes a free port by itself.
    Own(PathBuf),
    /// Any other one with the same command line.
    External(Box<Implementation>),
}

/// Actors as processes of one program.
pub struct ProcessBackend {
    clock: Clock,
    program: Program,
    halt: CancelToken,
    inbox: Receiver<ChildMessage>,
    /// Handed to the threads of each process.
    outbox: SyncSender<ChildMessage>,
    happened: VecDeque<BackendEvent>,
    actors: BTreeMap<ActorId, Process>,
    /// The server's port, once it listens.
    server: Option<u16>,
    /// In its place while there is no server.
    silent: Option<SilentPort>,
    /// Where copies of everything that they write are kept.
    copies: Option<PathBuf>,
    /// Faults of the network between own actors.
    fault_control: FaultControl,
    /// A request to end wakes it as long as it is there.
    _woken: Woken,
    /// Behind the processes: what is left of them when they are gone.
    _reaper: Option<Reaper>,
    /// Behind the processes, so that they are gone when it is removed.
    folder: TempDir,
}

struct Process {
    launch: LaunchSpec,
    home: PathBuf,
    /// Its own, in every life.
    port: u16,
    /// Keeps it from others.
    _reserved: ReservedPort,
    /// Its program is another one, and it is not known yet that it is ready.
    watched: bool,
    /// It has closed its terminal at that time, which was not told yet.
    closed: Option<Instant>,
    /// How often it was started.
    life: u32,
    child: Child,
    /// It has ended, and its last output is awaited until then.
    ended: Option<(Instant, ActorExit, Instant)>,
    /// Its end was told.
    told: bool,
}

impl Process {
    fn runs(&self) -> bool {
        self.ended.is_none()
    }
}

impl ProcessBackend {
    /// An empty backend for this program. Backends of one run share the clock. The random numbers behind faults of the
    /// network come from the seed.
    ///
    /// # Errors
    /// When there can be no temporary folder.
    pub fn new(clock: Clock, program: &Program, halt: &CancelToken, seed: Seed) -> io::Result<Self> {
        let (outbox, inbox) = mpsc::sync_channel(MAX_WAITING);
        let woken = halt.wakes(outbox.clone());
        let folder = tempfile::Builder::new().prefix("chat-run-").tempdir()?;
        let escaped = matches!(program, Program::External(_)).then(|| Reaper::of(folder.path()));
        Ok(Self {
            clock,
            program: program.clone(),
            halt: halt.clone(),
            inbox,
            outbox,
            happened: VecDeque::new(),
            actors: BTreeMap::new(),
            server: None,
            silent: None,
            copies: None,
            fault_control: FaultControl::new(folder.path(), seed),
            _woken: woken,
            _reaper: escaped,
            folder,
        })
    }

    /// Keeps copies of everything that actors write in this folder, `ACTOR.jsonl` or `ACTOR.out`, and `ACTOR.err`.
    pub fn keep_output(&mut self, folder: &Path) {
        self.copies = Some(folder.to_owned());
    }

    /// What its command line is, without the program.
    fn arguments(&mut self, launch: &LaunchSpec, port: u16, life: u32) -> io::Result<Vec<String>> {
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
        words.extend(self.fault_args(&launch.actor, life));
        words.extend(launch.args.iter().cloned());
        Ok(words)
    }

    fn spawn(&mut self, launch: &LaunchSpec, home: &Path, port: u16, life: u32) -> Result<Child, BackendError> {
        let cannot = |error: io::Error| BackendError(format!("{} cannot be started: {error}", launch.actor));
        let arguments = self.arguments(launch, port, life).map_err(cannot)?;
        let who = (launch.actor.clone(), life);
        let copies = self.copies(launch, life).map_err(cannot)?;
        let around = (self.clock, &self.halt, &self.outbox);
        match &self.program {
            Program::Own(program) => {
                let form = if launch.text {
                    crate::runner::backend::process::line_reader::LineFormat::Text
                } else {
                    crate::runner::backend::process::line_reader::LineFormat::Json
                };
                Child::spawn(program, &arguments, home, form, who, copies, around).map_err(cannot)
            }
            Program::External(implementation) => {
                let mut command = implementation.command(home).map_err(cannot)?;
                command.args(arguments);
                let translator = implementation.translator.clone();
                Child::spawn_at_terminal(command, translator, home, who, copies, around).map_err(|error| {
                    let word = implementation.words.first().map_or("", String::as_str);
                    BackendError(format!("{} cannot be started: {word}: {error}", launch.actor))
                })
            }
        }
    }

    /// The files for copies of what an actor writes, where they are wanted: of its output and its complaints.
    fn copies(&self, launch: &LaunchSpec, life: u32) -> io::Result<[Option<File>; 2]> {
        let Some(folder) = &self.copies else { return Ok([None, None]) };
        std::fs::create_dir_all(folder)?;
        let of = |ending: &str| {
            crate::runner::backend::process::tee::file(&folder.join(format!("{}.{ending}", launch.actor)), life)
                .map(Some)
        };
        Ok([of(if launch.text { "out" } else { "jsonl" })?, of("err")?])
    }

    /// Puts a message where [`Backend::next`] finds it, and learns from it whether the server listens.
    fn sort(&mut self, message: ChildMessage) {
        let ChildMessage { actor, life, at, what } = message;
        let Some(process) = self.actors.get_mut(&actor).filter(|process| process.life == life && !process.told) else {
            return;
        };
        match what {
            ChildEvent::Wake => {}
            ChildEvent::Output(output) => {
                if process.watched
                    && let Program::External(implementation) = &self.program
                    && actor != ActorId::Server
                    && let ActorOutput::Line(line) | ActorOutput::Partial(line) = &output
                    && implementation.is_ready_at(line)
                {
                    process.watched = false;
                    let (actor, ready) = (actor.clone(), ActorOutput::Ready);
                    self.happened.push_back(BackendEvent::Output { actor, at, output: ready });
                }
                if actor == ActorId::Server && listens(&output) {
                    self.server = Some(process.port);
                }
                self.happened.push_back(BackendEvent::Output { actor, at, output });
            }
            ChildEvent::Flood(reason) => {
                let reason = format!("{actor} {reason}");
                self.happened.push_back(BackendEvent::Flood { actor, at, reason });
            }
            ChildEvent::Eof => {
                process.child.open = process.child.open.saturating_sub(1);
                process.closed = (process.child.open == 0).then_some(at);
                self.tell_ends(at);
            }
            ChildEvent::Exited => {
                let end = process.child.kill_and_reap();
                process.ended = Some((at, end, at + LAST_OUTPUT));
                self.tell_ends(at);
            }
        }
    }

    /// Tells of those that have ended and whose last output is here, or does not come: everything until `known` was
    /// sorted.
    fn tell_ends(&mut self, known: Instant) {
        for (actor, process) in &mut self.actors {
            let Some((at, end, limit)) = process.ended else { continue };
            if !process.told && (process.child.open == 0 || limit <= known) {
                process.told = true;
                self.happened.push_back(BackendEvent::Ended { actor: actor.clone(), at, end });
            }
        }
    }

    /// When the output of somebody that has ended need not be waited for any more.
    fn next_end(&self) -> Option<Instant> {
        let ends = self.actors.values().filter(|process| !process.told);
        ends.filter_map(|process| process.ended.map(|(_, _, limit)| limit)).min()
    }

    /// The next happening, if it happened by then; `Err` when it happened later.
    fn take(&mut self, until: Instant) -> Option<Result<BackendEvent, ()>> {
        let at = match self.happened.front()? {
            BackendEvent::Output { at, .. } | BackendEvent::Ended { at, .. } | BackendEvent::Flood { at, .. } => *at,
            BackendEvent::Cancelled(_) | BackendEvent::Time => Instant::ZERO,
        };
        if at > until { Some(Err(())) } else { self.happened.pop_front().map(Ok) }
    }
}

impl Backend for ProcessBackend {
    fn now(&self) -> Instant {
        self.clock.now().mono
    }

    fn next(&mut self, until: Instant) -> BackendEvent {
        loop {
            if let Some(signal) = self.halt.signal() {
                return BackendEvent::Cancelled(signal);
            }
            self.look_around();
            match self.take(until) {
                Some(Ok(happening)) => return happening,
                Some(Err(())) => return BackendEvent::Time,
                None => {}
            }
            let now = self.now();
            if now >= until {
                match self.inbox.try_recv() {
                    Ok(message) => self.sort(message),
                    Err(_) => return BackendEvent::Time,
                }
                continue;
            }
            let wake = [self.next_end(), self.next_look(now)].into_iter().flatten().fold(until, Instant::min);
            match self.inbox.recv_timeout(wake.since(now)) {
                Ok(message) => self.sort(message),
                // Never disconnected: the backend itself holds a sender.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => self.tell_ends(now),
            }
        }
    }

    fn start(&mut self, launch: &LaunchSpec) -> Result<(), BackendError> {
        if self.actors.contains_key(&launch.actor) {
            return Err(BackendError(format!("{} was started already", launch.actor)));
        }
        let cannot = |error: io::Error| BackendError(format!("{} cannot be started: {error}", launch.actor));
        let home = self.folder.path().join(launch.actor.to_string());
        crate::runner::backend::process::child::folders(&home).map_err(cannot)?;
        let external = matches!(self.program, Program::External(_));
        // A free port that an actor took by itself could be somebody else's as soon as the actor has ended, while
        // others still write to it.
        let reserved = ReservedPort::new().map_err(cannot)?;
        let port = reserved.port();
        let child = self.spawn(launch, &home, port, 1)?;
        let (launch, watched) = (launch.clone(), external);
        let (life, closed, ended, told) = (1, None, None, false);
        let actor = launch.actor.clone();
        let process = Process { launch, home, port, _reserved: reserved, watched, closed, life, child, ended, told };
        self.actors.insert(actor, process);
        Ok(())
    }

    fn restart(&mut self, actor: &ActorId) -> Result<(), BackendError> {
        let Some(process) = self.actors.get_mut(actor) else {
            return Err(BackendError(format!("{actor} was not started")));
        };
        if !process.told {
            return Err(BackendError(format!("{actor} still runs")));
        }
        let (launch, home, port) = (process.launch.clone(), process.home.clone(), process.port);
        let life = process.life.saturating_add(1);
        let child = self.spawn(&launch, &home, port, life)?;
        if let Some(process) = self.actors.get_mut(actor) {
            (process.life, process.child) = (life, child);
            (process.ended, process.told, process.closed) = (None, false, None);
            process.watched = matches!(self.program, Program::External(_));
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
            Need::Faults => self.fault_control.lacking(),
            Need::Groups | Need::Offline | Need::Receipts => None,
        }
    }

    fn change_network(&mut self, change: &NetworkChange<'_>) -> Result<(), BackendError> {
        self.change_all_networks(change)
    }
}
