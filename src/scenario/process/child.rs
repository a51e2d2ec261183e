//! One process of an actor: its group, its folders, and the threads that read and write for it.

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

use super::copied::Copied;
use super::halt::Halt;
use super::pump::{Form, pump};
use crate::core::time::Instant;
use crate::io::clock::Clock;
use crate::scenario::ast::Actor;
use crate::scenario::stage::{End, Output};

/// The most bytes that are typed and not read yet.
const MAX_UNREAD: usize = 4 << 20;

/// What a thread of a process tells the stage.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) actor: Actor,
    /// Which life of the actor it is from.
    pub(super) life: u32,
    pub(super) at: Instant,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Output(Output),
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
pub(super) struct Child {
    process: std::process::Child,
    group: Pid,
    halt: Halt,
    input: Option<Sender<Vec<u8>>>,
    unread: Arc<AtomicUsize>,
    /// How many of its two streams may bring more.
    pub(super) open: u8,
    /// How it ended; from then on its number may be that of another process.
    end: Option<End>,
}

impl Child {
    /// Starts a program in this folder. `who` is put on everything that its threads tell; `copies` take what it writes
    /// to its two streams.
    ///
    /// # Errors
    /// When the system cannot start it, or a thread for it.
    pub(super) fn spawn(
        program: &Path,
        arguments: &[String],
        home: &Path,
        form: Form,
        who: (Actor, u32),
        copies: [Option<File>; 2],
        (clock, halt, outbox): (Clock, &Halt, &SyncSender<Message>),
    ) -> io::Result<Self> {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(home).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("NO_COLOR", "1").env("TZ", "UTC").env("LC_ALL", "C.UTF-8").env("HOME", home);
        for (variable, folder) in FOLDERS {
            command.env(variable, home.join(folder));
        }
        let mut process = command.spawn()?;
        let (input, output, errors) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let group = Pid::from_raw(i32::try_from(process.id()).map_err(io::Error::other)?);
        halt.begins(group);
        let (typed, lines) = mpsc::channel();
        let [of_output, of_errors] = copies;
        let unread = Arc::new(AtomicUsize::new(0));
        // From here on a failure drops the child, which ends the process.
        let (halt, input_end) = (halt.clone(), Some(typed));
        let child = Self { process, group, halt, input: input_end, unread: unread.clone(), open: 2, end: None };
        let teller = Teller { who, clock, outbox: outbox.clone() };
        if let Some(input) = input {
            thread::Builder::new().name("stdin".to_owned()).spawn(move || write(input, &lines, &unread))?;
        }
        if let Some(output) = output {
            teller.clone().read(Copied::new(output, of_output), form)?;
        }
        if let Some(errors) = errors {
            teller.clone().read(Copied::new(errors, of_errors), Form::Complaint)?;
        }
        thread::Builder::new().name("wait".to_owned()).spawn(move || {
            await_end(group);
            teller.tell(What::Exited);
        })?;
        Ok(child)
    }

    /// Types a line.
    ///
    /// # Errors
    /// Why not, to be said behind the actor's name.
    pub(super) fn type_line(&self, line: &str) -> Result<(), String> {
        let Some(input) = &self.input else {
            return Err("cannot be typed to, its input is closed".to_owned());
        };
        let bytes = [line.as_bytes(), b"\n"].concat();
        if self.unread.fetch_add(bytes.len(), Ordering::SeqCst) + bytes.len() > MAX_UNREAD {
            return Err(format!("does not read its input, and more than {} MiB wait already", MAX_UNREAD >> 20));
        }
        // A process that has closed its input reads nothing: what it shows will tell.
        drop(input.send(bytes));
        Ok(())
    }

    /// Closes its input behind what was typed.
    pub(super) fn close_input(&mut self) {
        self.input = None;
    }

    /// Sends a signal to its group; SIGSTOP has worked when this returns. One that has ended gets none.
    ///
    /// # Errors
    /// When the system refuses.
    pub(super) fn signal(&self, signal: Posix) -> io::Result<()> {
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

    /// Ends what is left of its group, waits for the process itself, and says how it ended.
    pub(super) fn bury(&mut self) -> End {
        if let Some(end) = self.end {
            return end;
        }
        // As long as the process is not waited for, its number is not given to another one.
        let _ = killpg(self.group, Posix::SIGKILL);
        self.halt.ends(self.group);
        let status = self.process.wait().unwrap_or_default();
        let signal = status.signal().and_then(|signal| u8::try_from(signal).ok());
        let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
        let end = End { status: signal.map_or(code, |signal| 128 | signal), signal };
        self.end = Some(end);
        end
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.bury();
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
pub(super) fn folders(home: &Path) -> io::Result<()> {
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
    who: (Actor, u32),
    clock: Clock,
    outbox: SyncSender<Message>,
}

impl Teller {
    /// False when nobody listens any more.
    fn tell(&self, what: What) -> bool {
        let (actor, life) = self.who.clone();
        self.outbox.send(Message { actor, life, at: self.clock.now().mono, what }).is_ok()
    }

    fn read(self, stream: impl Read + Send + 'static, form: Form) -> io::Result<()> {
        let reading = move || {
            if let Err(limit) = pump(stream, form, &mut |output| self.tell(What::Output(output))) {
                self.tell(What::Flood(limit));
            }
            self.tell(What::Eof);
        };
        thread::Builder::new().name("read".to_owned()).spawn(reading).map(drop)
    }
}
