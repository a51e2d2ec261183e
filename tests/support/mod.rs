//! Real programs for tests: started in folders of their own, listened to line by line, and ended whatever happens.
#![allow(dead_code, reason = "each test file uses its own part of this")]

pub mod pty;
pub mod screen;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Once};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Far more than anything takes: reaching it is a failure, never part of a test's course.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Lets programs started from here on be ended by a hangup, also where these tests are behind `nohup` themselves: what
/// is ignored is inherited, what is handled is not.
pub fn undo_nohup() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::new(AtomicBool::new(false))).unwrap();
    });
}

/// `chat` in an environment that knows nothing of the person who runs the tests.
pub fn command(home: &TempDir) -> Command {
    undo_nohup();
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
    command.env_clear().env("HOME", home.path()).env("LC_ALL", "C.UTF-8").env("TERM", "xterm");
    command
}

/// A program with pipes.
pub struct Program {
    child: Child,
    pub stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    pub home: TempDir,
}

impl Program {
    /// Starts it with these arguments.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    /// The same, in this home.
    pub fn start_in(home: TempDir, arguments: &[&str]) -> Self {
        let mut command = command(&home);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (send, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        Self { stdin: child.stdin.take(), child, lines, errors: Some(errors), home }
    }

    /// A server that keeps nothing, listening; with its port.
    pub fn server() -> (Self, String) {
        Self::server_with(&["--ephemeral"])
    }

    /// A server with these options, listening; with its port.
    pub fn server_with(options: &[&str]) -> (Self, String) {
        let server = Self::start(&[&["-s", "0"], options].concat());
        let port = server.port();
        (server, port)
    }

    /// Reads the line that names the port.
    pub fn port(&self) -> String {
        let line = self.line();
        let port = line.strip_prefix(">>> [Server listening on port ").and_then(|rest| rest.strip_suffix(']'));
        port.unwrap_or_else(|| panic!("no port in {line:?}")).to_owned()
    }

    /// A client of the server on this port, on a free port of its own, that is registered and has its table.
    pub fn client(name: &str, port: &str, options: &[&str]) -> Self {
        let client = Self::start(&[&["-c", name, "127.0.0.1", port, "0"], options].concat());
        client.until(">>> [Client table updated.]");
        client
    }

    /// Types a line.
    pub fn send(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        stdin.flush().unwrap();
    }

    /// The next line of output.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line of output")
    }

    /// All lines up to this one, which is among them.
    pub fn until(&self, last: &str) -> Vec<String> {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|line| line != last) {
            let line = self.lines.recv_timeout(PATIENCE);
            seen.push(line.unwrap_or_else(|_| panic!("{last:?} did not come after {seen:?}")));
        }
        seen
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Waits until it has closed its output, which is the last that it does.
    pub fn until_end(&self) {
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
    }

    /// Waits for its end: the rest of its lines, its standard error, its status. Its input stays open until then.
    pub fn end(mut self) -> (Vec<String>, String, Option<i32>) {
        let mut rest = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            rest.push(line);
        }
        let status = wait(&mut self.child);
        (rest, self.errors.take().unwrap().join().unwrap(), status.code())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already where a test went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end of a process, within patience.
pub fn wait(child: &mut Child) -> ExitStatus {
    let until = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(std::time::Instant::now() < until, "the program did not end");
        std::thread::sleep(Duration::from_millis(2));
    }
}
