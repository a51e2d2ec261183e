//! The stage of real processes: each actor is one, in a process group and folders of its own.

mod child;
mod copied;
mod halt;
mod ports;
mod pump;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use nix::sys::signal::Signal as Posix;
use tempfile::TempDir;

use self::child::{Child, Message, What};
pub use self::halt::Halt;
use self::ports::{Silent, free_port};
use super::ast::{Actor, Need, Signal};
use super::stage::{Disturbance, End, Happening, Launch, Output, Refused, Stage};
use crate::core::normal::normal;
use crate::core::time::Instant;
use crate::io::clock::Clock;

/// How many pieces of output may wait for the player before those who write them have to wait.
const MAX_WAITING: usize = 1024;
/// How long the output of a process that has ended is waited for: something that left its process group may hold it.
const LAST_OUTPUT: Duration = Duration::from_millis(200);

/// Actors as processes of one program.
pub struct ProcessStage {
    clock: Clock,
    program: PathBuf,
    halt: Halt,
    inbox: Receiver<Message>,
    /// Handed to the threads of each process.
    outbox: SyncSender<Message>,
    happened: VecDeque<Happening>,
    actors: BTreeMap<Actor, Process>,
    /// The server's port, once it listens.
    server: Option<u16>,
    /// In its place while there is no server.
    silent: Option<Silent>,
    /// Where copies of everything that they write are kept.
    copies: Option<PathBuf>,
    /// Behind the processes, so that they are gone when it is removed.
    folder: TempDir,
}

struct Process {
    launch: Launch,
    home: PathBuf,
    /// The port to start again with: 0 until it is known.
    port: u16,
    /// How often it was started.
    life: u32,
    child: Child,
    /// It has ended, and its last output is awaited until then.
    ended: Option<(Instant, End, Instant)>,
    /// Its end was told.
    told: bool,
}

impl ProcessStage {
    /// An empty stage for this program. Stages of one run share the clock.
    ///
    /// # Errors
    /// When there can be no temporary folder.
    pub fn new(clock: Clock, program: &Path, halt: &Halt) -> io::Result<Self> {
        let (outbox, inbox) = mpsc::sync_channel(MAX_WAITING);
        halt.wakes(outbox.clone());
        Ok(Self {
            clock,
            program: program.to_owned(),
            halt: halt.clone(),
            inbox,
            outbox,
            happened: VecDeque::new(),
            actors: BTreeMap::new(),
            server: None,
            silent: None,
            copies: None,
            folder: tempfile::Builder::new().prefix("chat-run-").tempdir()?,
        })
    }

    /// Keeps copies of everything that actors write in this folder, `ACTOR.jsonl` or `ACTOR.out`, and `ACTOR.err`.
    pub fn keep_output(&mut self, folder: &Path) {
        self.copies = Some(folder.to_owned());
    }

    /// What its command line is, without the program.
    fn arguments(&mut self, launch: &Launch, port: u16) -> io::Result<Vec<String>> {
        let mut words = if launch.actor == Actor::Server {
            vec!["-s".to_owned(), port.to_string()]
        } else {
            let server = match (self.server, &mut self.silent) {
                (Some(port), _) => port,
                (None, Some(silent)) => silent.port(),
                (None, none) => none.insert(Silent::new()?).port(),
            };
            let typed = "--typed".to_owned();
            let name = launch.name.clone();
            vec!["-c".to_owned(), name, "127.0.0.1".to_owned(), server.to_string(), port.to_string(), typed]
        };
        if !launch.text {
            words.push("--json".to_owned());
        }
        words.extend(launch.args.iter().cloned());
        Ok(words)
    }

    fn spawn(&mut self, launch: &Launch, home: &Path, port: u16, life: u32) -> Result<Child, Refused> {
        let cannot = |error: io::Error| Refused(format!("{} cannot be started: {error}", launch.actor));
        let arguments = self.arguments(launch, port).map_err(cannot)?;
        let who = (launch.actor.clone(), life);
        let form = if launch.text { pump::Form::Text } else { pump::Form::Json };
        let copies = self.copies(launch, life).map_err(cannot)?;
        let ways = (self.clock, &self.halt, &self.outbox);
        Child::spawn(&self.program, &arguments, home, form, who, copies, ways).map_err(cannot)
    }

    /// The files for copies of what an actor writes, where they are wanted: of its output and its complaints.
    fn copies(&self, launch: &Launch, life: u32) -> io::Result<[Option<File>; 2]> {
        let Some(folder) = &self.copies else { return Ok([None, None]) };
        std::fs::create_dir_all(folder)?;
        let of = |ending: &str| copied::file(&folder.join(format!("{}.{ending}", launch.actor)), life).map(Some);
        Ok([of(if launch.text { "out" } else { "jsonl" })?, of("err")?])
    }

    /// Puts a message where [`Stage::next`] finds it, and learns ports from it.
    fn sort(&mut self, message: Message) {
        let Message { actor, life, at, what } = message;
        let Some(process) = self.actors.get_mut(&actor).filter(|process| process.life == life && !process.told) else {
            return;
        };
        match what {
            What::Wake => {}
            What::Output(output) => {
                if let Some(port) = port_in(&actor, &output) {
                    process.port = port;
                    if actor == Actor::Server {
                        self.server = Some(port);
                    }
                }
                self.happened.push_back(Happening::Output { actor, at, output });
            }
            What::Flood(reason) => {
                let reason = format!("{actor} {reason}");
                self.happened.push_back(Happening::Flood { actor, at, reason });
            }
            What::Eof => {
                process.child.open = process.child.open.saturating_sub(1);
                self.tell_ends();
            }
            What::Exited => {
                let end = process.child.bury();
                process.ended = Some((at, end, at + LAST_OUTPUT));
                self.tell_ends();
            }
        }
    }

    /// Tells of those that have ended and whose last output is here, or does not come.
    fn tell_ends(&mut self) {
        let now = self.now();
        for (actor, process) in &mut self.actors {
            let Some((at, end, limit)) = process.ended else { continue };
            if !process.told && (process.child.open == 0 || limit <= now) {
                process.told = true;
                self.happened.push_back(Happening::Ended { actor: actor.clone(), at, end });
            }
        }
    }

    /// When the output of somebody that has ended need not be waited for any more.
    fn next_end(&self) -> Option<Instant> {
        let ends = self.actors.values().filter(|process| !process.told);
        ends.filter_map(|process| process.ended.map(|(_, _, limit)| limit)).min()
    }

    /// The next happening, if it happened by then; `Err` when it happened later.
    fn take(&mut self, until: Instant) -> Option<Result<Happening, ()>> {
        let at = match self.happened.front()? {
            Happening::Output { at, .. } | Happening::Ended { at, .. } | Happening::Flood { at, .. } => *at,
            Happening::Halt(_) | Happening::Time => Instant::ZERO,
        };
        if at > until { Some(Err(())) } else { self.happened.pop_front().map(Ok) }
    }
}

impl Stage for ProcessStage {
    fn now(&self) -> Instant {
        self.clock.now().mono
    }

    fn next(&mut self, until: Instant) -> Happening {
        loop {
            if let Some(signal) = self.halt.signal() {
                return Happening::Halt(signal);
            }
            match self.take(until) {
                Some(Ok(happening)) => return happening,
                Some(Err(())) => return Happening::Time,
                None => {}
            }
            let now = self.now();
            if now >= until {
                match self.inbox.try_recv() {
                    Ok(message) => self.sort(message),
                    Err(_) => return Happening::Time,
                }
                continue;
            }
            let wake = self.next_end().map_or(until, |end| end.min(until));
            match self.inbox.recv_timeout(wake.since(now)) {
                Ok(message) => self.sort(message),
                // Never disconnected: the stage itself holds a sender.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => self.tell_ends(),
            }
        }
    }

    fn start(&mut self, launch: &Launch) -> Result<(), Refused> {
        if self.actors.contains_key(&launch.actor) {
            return Err(Refused(format!("{} was started already", launch.actor)));
        }
        let cannot = |error: io::Error| Refused(format!("{} cannot be started: {error}", launch.actor));
        let home = self.folder.path().join(launch.actor.to_string());
        child::folders(&home).map_err(cannot)?;
        // What people see does not tell which port was taken, so it is chosen here.
        let port = if launch.text && launch.actor != Actor::Server { free_port().map_err(cannot)? } else { 0 };
        let child = self.spawn(launch, &home, port, 1)?;
        let process = Process { launch: launch.clone(), home, port, life: 1, child, ended: None, told: false };
        self.actors.insert(launch.actor.clone(), process);
        Ok(())
    }

    fn restart(&mut self, actor: &Actor) -> Result<(), Refused> {
        let Some(process) = self.actors.get(actor) else {
            return Err(Refused(format!("{actor} was not started")));
        };
        if !process.told {
            return Err(Refused(format!("{actor} still runs")));
        }
        let (launch, home, port) = (process.launch.clone(), process.home.clone(), process.port);
        let life = process.life.saturating_add(1);
        let child = self.spawn(&launch, &home, port, life)?;
        let process = Process { launch, home, port, life, child, ended: None, told: false };
        self.actors.insert(actor.clone(), process);
        Ok(())
    }

    fn type_line(&mut self, actor: &Actor, line: &str) -> Result<(), Refused> {
        let process = self.actors.get(actor).ok_or_else(|| Refused(format!("{actor} was not started")))?;
        process.child.type_line(line).map_err(|why| Refused(format!("{actor} {why}")))
    }

    fn close_input(&mut self, actor: &Actor) {
        if let Some(process) = self.actors.get_mut(actor) {
            process.child.close_input();
        }
    }

    fn signal(&mut self, actor: &Actor, signal: Signal) -> Result<(), Refused> {
        let Some(process) = self.actors.get_mut(actor) else {
            return Err(Refused(format!("{actor} was not started")));
        };
        let posix = match signal {
            Signal::Kill => Posix::SIGKILL,
            Signal::Term => Posix::SIGTERM,
            Signal::Interrupt => Posix::SIGINT,
            Signal::Hangup => Posix::SIGHUP,
            Signal::Pause => Posix::SIGSTOP,
            Signal::Resume => Posix::SIGCONT,
        };
        process.child.signal(posix).map_err(|error| Refused(format!("{actor} cannot be sent a signal: {error}")))
    }

    fn lacks(&self, need: Need) -> Option<String> {
        match need {
            Need::Faults => Some("the network between processes cannot be disturbed".to_owned()),
            Need::Groups | Need::Offline | Need::Receipts => None,
        }
    }

    fn disturb(&mut self, _disturbance: &Disturbance<'_>) -> Result<(), Refused> {
        Err(Refused("the network between processes cannot be disturbed".to_owned()))
    }
}

/// The port on which an actor says that it listens.
fn port_in(actor: &Actor, output: &Output) -> Option<u16> {
    match (actor, output) {
        (Actor::Server, Output::Line(line)) => {
            let line = normal(line)?;
            line.strip_prefix("[Server listening on port ")?.strip_suffix(']')?.parse().ok()
        }
        (Actor::Server, Output::Event(event)) if event["event"] == "listening" => {
            event["port"].as_u64().and_then(|port| u16::try_from(port).ok())
        }
        (Actor::Client(_), Output::Event(event)) if event["event"] == "started" => {
            event["addr"].as_str()?.rsplit_once(':')?.1.parse().ok()
        }
        _ => None,
    }
}
