//! One process of an actor: its group, its folders, and the threads that read and write its pipes or its terminal.

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
use crate::runner::backend::process::pty::{self, PtyMonitor};
use crate::runner::backend::process::tee::Tee;
use crate::runner::backend::{ActorExit, ActorOutput, InputError, MAX_UNREAD};
use crate::runner::lang::ast::ActorId;
use crate::runner::profile::Translator;

/// A message from a thread of a process to the backend.
#[derive(Debug)]
pub(crate) struct ChildMessage {
    pub(crate) actor: ActorId,
    /// The incarnation of the actor, counted from 1. Messages of earlier ones are ignored.
    pub(crate) incarnation: u32,
    pub(crate) at: Instant,
    pub(crate) event: ChildEvent,
}

#[derive(Debug)]
pub(crate) enum ChildEvent {
    Output(ActorOutput),
    /// One of the two output streams has ended.
    Eof,
    /// One of the two output streams exceeded a limit, and is not read any more.
    Flood(String),
    /// The process has ended and is a zombie. [`Child::kill_and_reap`] must follow.
    Exited,
    /// Wakes the backend, so that it checks for a cancellation.
    Wake,
}

/// A process. Dropping it kills its whole group.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    group: Pid,
    cancel: CancelToken,
    input: Option<Sender<Vec<u8>>>,
    unread: Arc<AtomicUsize>,
    /// The state of the terminal, if the process has one.
    terminal: Option<PtyMonitor>,
    /// The number of output streams that are still open, 2 at first.
    pub(crate) open: u8,
    /// Set once the process is reaped. The system may reuse its pid then.
    end: Option<ActorExit>,
}

impl Child {
    /// Starts a program in this folder, with pipes as its streams. `source` labels the messages of its threads. The two
    /// files receive copies of its standard output and standard error.
    ///
    /// # Errors
    /// When the system cannot start it, or a thread for it.
    pub(crate) fn spawn(
        program: &Path,
        arguments: &[String],
        home: &Path,
        format: LineFormat,
        source: (ActorId, u32),
        [stdout_copy, stderr_copy]: [Option<File>; 2],
        context: (Clock, &CancelToken, &SyncSender<ChildMessage>),
    ) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(home).stdin(Stdio::piped()).stdout(Stdio::piped());
        let (mut child, sender, lines) = Self::spawn_in_group(command, home, None, source, stderr_copy, context)?;
        let unread = child.unread.clone();
        if let Some(input) = child.process.stdin.take() {
            thread::Builder::new().name("stdin".to_owned()).spawn(move || write(input, &lines, &unread))?;
        }
        if let Some(output) = child.process.stdout.take() {
            sender.read(Tee::new(output, stdout_copy), format)?;
        }
        Ok(child)
    }

    /// Starts a program at a terminal of its own. Standard error is a pipe.
    ///
    /// # Errors
    /// When the system cannot start it, or a thread for it.
    pub(crate) fn spawn_at_terminal(
        mut command: Command,
        translator: Translator,
        home: &Path,
        source: (ActorId, u32),
        [stdout_copy, stderr_copy]: [Option<File>; 2],
        context: (Clock, &CancelToken, &SyncSender<ChildMessage>),
    ) -> io::Result<Self> {
        let (ours, theirs) = pty::open()?;
        command.stdin(theirs.try_clone()?).stdout(theirs);
        let (monitor, clock) = (PtyMonitor::new(translator), context.0);
        // The command owns the program's end of the terminal. No copy stays open in the runner.
        let (child, sender, lines) =
            Self::spawn_in_group(command, home, Some(monitor.clone()), source, stderr_copy, context)?;
        let (unread, input, write_monitor) = (child.unread.clone(), ours.try_clone()?, monitor.clone());
        let typing = move || pty::write(input, &write_monitor, &lines, &unread);
        thread::Builder::new().name("type".to_owned()).spawn(typing)?;
        let reading = move || {
            let send = &mut |at, output| sender.send_at(at, ChildEvent::Output(output));
            if let Err(limit) = pty::read(&ours, stdout_copy, &monitor, clock, send) {
                sender.send(ChildEvent::Flood(limit));
            }
            sender.send(ChildEvent::Eof);
        };
        thread::Builder::new().name("read".to_owned()).spawn(reading)?;
        Ok(child)
    }

    /// Starts a program in a process group of its own, with the environment and the threads that pipes and terminals
    /// have in common.
    fn spawn_in_group(
        mut command: Command,
        home: &Path,
        terminal: Option<PtyMonitor>,
        source: (ActorId, u32),
        stderr_copy: Option<File>,
        (clock, cancel, outbox): (Clock, &CancelToken, &SyncSender<ChildMessage>),
    ) -> io::Result<(Self, MessageSender, Receiver<Vec<u8>>)> {
        command.process_group(0).stderr(Stdio::piped());
        command.env("NO_COLOR", "1").env("TZ", "UTC").env("LC_ALL", "C.UTF-8").env("HOME", home);
        for (variable, folder) in FOLDERS {
            command.env(variable, home.join(folder));
        }
        let process = command.spawn()?;
        let group = Pid::from_raw(i32::try_from(process.id()).map_err(io::Error::other)?);
        cancel.add_group(group);
        let (typed, lines) = mpsc::channel();
        let unread = Arc::new(AtomicUsize::new(0));
        // From here on a failure drops the child, which kills the process.
        let (cancel, input) = (cancel.clone(), Some(typed));
        let mut child = Self { process, group, cancel, input, unread, terminal, open: 2, end: None };
        let sender = MessageSender { source, clock, outbox: outbox.clone() };
        if let Some(errors) = child.process.stderr.take() {
            sender.clone().read(Tee::new(errors, stderr_copy), LineFormat::Stderr)?;
        }
        let waiter = sender.clone();
        thread::Builder::new().name("wait".to_owned()).spawn(move || {
            await_end(group);
            waiter.send(ChildEvent::Exited);
        })?;
        Ok((child, sender, lines))
    }

    /// The time of the last output. Known only at a terminal.
    pub(crate) fn last_output(&self) -> Option<Instant> {
        self.terminal.as_ref().and_then(PtyMonitor::last_output)
    }

    /// Types a line.
    ///
    /// # Errors
    /// The reason, as the rest of a sentence that begins with the actor's name.
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
        if let Some(monitor) = &self.terminal {
            monitor.typed(line);
        }
        // A process that has closed its input reads nothing. That is no failure here: its output decides.
        drop(input.send(bytes));
        Ok(())
    }

    /// Closes the input after all typed lines.
    pub(crate) fn close_input(&mut self) {
        if let (Some(input), Some(_)) = (self.input.take(), &self.terminal) {
            // A terminal stays open. The byte makes it signal the end of input.
            self.unread.fetch_add(1, Ordering::SeqCst);
            drop(input.send(vec![pty::END_OF_INPUT]));
        }
    }

    /// Sends a signal to the process group. After SIGSTOP it returns when the process has stopped. A process that was
    /// reaped gets no signal.
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

    /// Kills the process group, waits until all of it has ended, and returns the exit of the process itself.
    pub(crate) fn kill_and_reap(&mut self) -> ActorExit {
        if let Some(end) = self.end {
            return end;
        }
        if let Some(monitor) = &self.terminal {
            monitor.set_ended();
        }
        // The system does not reuse the pid before the process is reaped, so the signal cannot hit another group.
        let _ = killpg(self.group, Posix::SIGKILL);
        self.cancel.remove_group(self.group);
        let status = self.process.wait().unwrap_or_default();
        procfs::wait_for_group(self.group);
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

/// The folders of an actor, by the environment variables that name them.
const FOLDERS: [(&str, &str); 6] = [
    ("XDG_CACHE_HOME", "cache"),
    ("XDG_CONFIG_HOME", "config"),
    ("XDG_DATA_HOME", "data"),
    ("XDG_RUNTIME_DIR", "runtime"),
    ("XDG_STATE_HOME", "state"),
    ("TMPDIR", "tmp"),
];

/// Creates the folders of an actor.
///
/// # Errors
/// When the system refuses.
pub(crate) fn create_folders(home: &Path) -> io::Result<()> {
    FOLDERS.iter().try_for_each(|(_, folder)| std::fs::create_dir_all(home.join(folder)))
}

/// Writes lines until the channel or the pipe closes.
fn write(mut input: impl Write, lines: &Receiver<Vec<u8>>, unread: &AtomicUsize) {
    for line in lines {
        if input.write_all(&line).and_then(|()| input.flush()).is_err() {
            return;
        }
        unread.fetch_sub(line.len(), Ordering::SeqCst);
    }
}

/// Waits until a process has ended, without reaping it.
fn await_end(process: Pid) {
    while waitid(Id::Pid(process), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
}

#[derive(Clone)]
struct MessageSender {
    source: (ActorId, u32),
    clock: Clock,
    outbox: SyncSender<ChildMessage>,
}

impl MessageSender {
    /// Returns false when the receiver is gone.
    fn send(&self, event: ChildEvent) -> bool {
        self.send_at(self.clock.now().mono, event)
    }

    /// Like [`MessageSender::send`], for an event at an earlier time.
    fn send_at(&self, at: Instant, event: ChildEvent) -> bool {
        let (actor, incarnation) = self.source.clone();
        self.outbox.send(ChildMessage { actor, incarnation, at, event }).is_ok()
    }

    fn read(self, stream: impl Read + Send + 'static, format: LineFormat) -> io::Result<()> {
        let reading = move || {
            if let Err(limit) = read_lines(stream, format, &mut |output| self.send(ChildEvent::Output(output))) {
                self.send(ChildEvent::Flood(limit));
            }
            self.send(ChildEvent::Eof);
        };
        thread::Builder::new().name("read".to_owned()).spawn(reading).map(drop)
    }
}
