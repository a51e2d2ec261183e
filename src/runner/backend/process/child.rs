//! One process of an actor: its group, its folders, and the threads that read and write for it, by pipes or a
//! terminal.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{Signal as Posix, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::io::clock::Clock;
use crate::proto::time::Instant;
use crate::runner::backend::process::cancel::CancelToken;
use crate::runner::backend::process::line_reader::{LineFormat, read_lines};
use crate::runner::backend::process::procfs;
use crate::runner::backend::process::pty::{self, Watched};
use crate::runner::backend::process::tee::Tee;
use crate::runner::backend::{ActorExit, ActorOutput, InputError, MAX_UNREAD};
use crate::runner::lang::ast::ActorId;
use crate::runner::profile::Translator;

/// What a thread of a process tells the backend.
#[derive(Debug)]
pub(crate) struct ChildMessage {
    pub(crate) actor: ActorId,
    /// Which life of the actor it is from.
    pub(crate) life: u32,
    pub(crate) at: Instant,
    pub(crate) what: ChildEvent,
}

#[derive(Debug)]
pub(crate) enum ChildEvent {
    Output(ActorOutput),
    /// One of the two streams has ended.
    Eof,
    /// One of the two streams is not read any more, for this reason.
    Flood(String),
    /// The process has ended, and waits to be buried.
    Exited,
    /// Nothing but a reason to look around.
    Wake,
}

/// A process. Dropping it ends its whole group.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    group: Pid,
    halt: CancelToken,
    input: Option<Sender<Vec<u8>>>,
    unread: Arc<AtomicUsize>,
    /// What is known of one at a terminal.
    terminal: Option<Watched>,
    /// How many of its two streams may bring more.
    pub(crate) open: u8,
    /// How it ended; from then on its number may be that of another process.
    end: Option<ActorExit>,
}

impl Child {
    /// Starts a program in this folder, its input and output being pipes. `who` is put on everything that its threads
    /// tell; `copies` take what it writes to its two streams.
    ///
    /// # Errors
    /// When the system cannot start it, or a thread for it.
    pub(crate) fn spawn(
        program: &Path,
        arguments: &[String],
        home: &Path,
        form: LineFormat,
        who: (ActorId, u32),
        [of_output, of_errors]: [Option<File>; 2],
        around: (Clock, &CancelToken, &SyncSender<ChildMessage>),
    ) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(home).stdin(Stdio::piped()).stdout(Stdio::piped());
        let (mut child, teller, lines) = Self::begin(command, home, None, who, of_errors, around)?;
        let unread = child.unread.clone();
        if let Some(input) = child.process.stdin.take() {
            thread::Builder::new().name("stdin".to_owned()).spawn(move || write(input, &lines, &unread))?;
        }
        if let Some(output) = child.process.stdout.take() {
            teller.read(Tee::new(output, of_output), form)?;
        }
        Ok(child)
    }

    /// Starts a program at a terminal of its own; only what it complains of goes another way.
    ///
    /// # Errors
    /// When the system cannot start it, or a thread for it.
    pub(crate) fn spawn_at_terminal(
        mut command: Command,
        translator: Translator,
        home: &Path,
        who: (ActorId, u32),
        [of_output, of_errors]: [Option<File>; 2],
        around: (Clock, &CancelToken, &SyncSender<ChildMessage>),
    ) -> io::Result<Self> {
        let (ours, theirs) = pty::open()?;
        command.stdin(theirs.try_clone()?).stdout(theirs);
        let (watched, clock) = (Watched::new(translator), around.0);
        // The end of the program goes with the command: nobody else holds it.
        let (child, teller, lines) = Self::begin(command, home, Some(watched.clone()), who, of_errors, around)?;
        let (unread, input, writes) = (child.unread.clone(), ours.try_clone()?, watched.clone());
        let typing = move || pty::write(input, &writes, &lines, &unread);
        thread::Builder::new().name("type".to_owned()).spawn(typing)?;
        let reading = move || {
            let tell = &mut |at, output| teller.tell_at(at, ChildEvent::Output(output));
            if let Err(limit) = pty::read(&ours, of_output, &watched, clock, tell) {
                teller.tell(ChildEvent::Flood(limit));
            }
            teller.tell(ChildEvent::Eof);
        };
        thread::Builder::new().name("read".to_owned()).spawn(reading)?;
        Ok(child)
    }

    /// Starts a program in a group of its own, and what every kind of it needs.
    fn begin(
        mut command: Command,
        home: &Path,
        terminal: Option<Watched>,
        who: (ActorId, u32),
        of_errors: Option<File>,
        (clock, halt, outbox): (Clock, &CancelToken, &SyncSender<ChildMessage>),
    ) -> io::Result<(Self, Teller, Receiver<Vec<u8>>)> {
        command.process_group(0).stderr(Stdio::piped());
        command.env("NO_COLOR", "1").env("TZ", "UTC").env("LC_ALL", "C.UTF-8").env("HOME", home);
        for (variable, folder) in FOLDERS {
            command.env(variable, home.join(folder));
        }
        let process = command.spawn()?;
        let group = Pid::from_raw(i32::try_from(process.id()).map_err(io::Error::other)?);
        halt.begins(group);
        let (typed, lines) = mpsc::channel();
        let unread = Arc::new(AtomicUsize::new(0));
        // From here on a failure drops the child, which ends the process.
        let (halt, input) = (halt.clone(), Some(typed));
        let mut child = Self { process, group, halt, input, unread, terminal, open: 2, end: None };
        let teller = Teller { who, clock, outbox: outbox.clone() };
        if let Some(errors) = child.process.stderr.take() {
            teller.clone().read(Tee::new(errors, of_errors), LineFormat::Stderr)?;
        }
        let waiter = teller.clone();
        thread::Builder::new().name("wait".to_owned()).spawn(move || {
            await_end(group);
            waiter.tell(ChildEvent::Exited);
        })?;
        Ok((child, teller, lines))
    }

    /// When one at a terminal last wrote anything.
    pub(crate) fn heard(&self) -> Option<Instant> {
        self.terminal.as_ref().and_then(Watched::heard)
    }

    /// Types a line.
    ///
    /// # Errors
    /// Why not, to be said behind the actor's name.
    pub(crate) fn type_line(&self, line: &str) -> Result<(), String> {
        let Some(input) = &self.input else {
            return Err(InputError::Closed.to_string());
        };
        let bytes = [line.as_bytes(), b"\n"].concat();
        if self.terminal.is_some() && bytes.len() > pty::MAX_TYPED {
            let limit = pty::MAX_TYPED - 1;
            return Err(format!("cannot be typed to: a line at a terminal has at most {limit} bytes"));
        }
        if self.unread.fetch_add(bytes.len(), Ordering::SeqCst) + bytes.len() > MAX_UNREAD {
            return Err(InputError::Unread.to_string());
        }
        if let Some(watched) = &self.terminal {
            watched.typed(line);
        }
        // A process that has closed its input reads nothing: what it shows will tell.
        drop(input.send(bytes));
        Ok(())
    }

    /// Closes its input behind what was typed.
    pub(crate) fn close_input(&mut self) {
        if let (Some(input), Some(_)) = (self.input.take(), &self.terminal) {
            // A terminal stays open: it hands on that nothing more comes.
            self.unread.fetch_add(1, Ordering::SeqCst);
            drop(input.send(vec![pty::END_OF_INPUT]));
        }
    }

    /// Sends a signal to its group; SIGSTOP has worked when this returns. One that has ended gets none.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn signal(&self, signal: Posix) -> io::Result<()> {
        if self.end.is_some() {
            return Ok(());
        }
        match killpg(self.group, signal) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => return Err(error.into()),
        }
        if signal == Posix::SIGSTOP {
            let stopped = WaitPidFlag::WSTOPPED | WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
            while waitid(Id::Pid(self.group), stopped) == Err(Errno::EINTR) {}
        }
        Ok(())
    }

    /// Ends what is left of its group, waits until all of it is gone, and says how the process itself ended.
    pub(crate) fn kill_and_reap(&mut self) -> ActorExit {
        if let Some(end) = self.end {
            return end;
        }
        if let Some(watched) = &self.terminal {
            watched.leave();
        }
        // As long as the process is not waited for, its number is not given to another one.
        let _ = killpg(self.group, Posix::SIGKILL);
        self.halt.ends(self.group);
        let status = self.process.wait().unwrap_or_default();
        procfs::await_group(self.group);
        let signal = status.signal().and_then(|signal| u8::try_from(signal).ok());
        let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
        let end = ActorExit { status: signal.map_or(code, |signal| 128 | signal), signal };
        self.end = Some(end);
        end
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill_and_reap();
    }
}

/// Folders of an actor, by the variables that name them.
const FOLDERS: [(&str, &str); 6] = [
    ("XDG_CACHE_HOME", "cache"),
    ("XDG_CONFIG_HOME", "config"),
    ("XDG_DATA_HOME", "data"),
    ("XDG_RUNTIME_DIR", "runtime"),
    ("XDG_STATE_HOME", "state"),
    ("TMPDIR", "tmp"),
];

/// Makes the folders of an actor.
///
/// # Errors
/// When the system refuses.
pub(crate) fn folders(home: &Path) -> io::Result<()> {
    FOLDERS.iter().try_for_each(|(_, folder)| std::fs::create_dir_all(home.join(folder)))
}

/// Writes lines until nobody sends or nobody reads any more.
fn write(mut input: impl Write, lines: &Receiver<Vec<u8>>, unread: &AtomicUsize) {
    for line in lines {
        if input.write_all(&line).and_then(|()| input.flush()).is_err() {
            return;
        }
        unread.fetch_sub(line.len(), Ordering::SeqCst);
    }
}

/// Waits until a process has ended, and leaves it to be waited for.
fn await_end(process: Pid) {
    while waitid(Id::Pid(process), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
}

#[derive(Clone)]
struct Teller {
    who: (ActorId, u32),
    clock: Clock,
    outbox: SyncSender<ChildMessage>,
}

impl Teller {
    /// False when nobody listens any more.
    fn tell(&self, what: ChildEvent) -> bool {
        self.tell_at(self.clock.now().mono, what)
    }

    /// The same of something that happened before.
    fn tell_at(&self, at: Instant, what: ChildEvent) -> bool {
        let (actor, life) = self.who.clone();
        self.outbox.send(ChildMessage { actor, life, at, what }).is_ok()
    }

    fn read(self, stream: impl Read + Send + 'static, form: LineFormat) -> io::Result<()> {
        let reading = move || {
            if let Err(limit) = read_lines(stream, form, &mut |output| self.tell(ChildEvent::Output(output))) {
                self.tell(ChildEvent::Flood(limit));
            }
            self.tell(ChildEvent::Eof);
        };
        thread::Builder::new().name("read".to_owned()).spawn(reading).map(drop)
    }
}
