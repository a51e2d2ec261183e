//! A program with pipes. Its output is read line by line.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::{ProgramBuilder, TIME_LIMIT, program};

/// A running program. Dropping it kills it.
pub struct Program {
    child: Child,
    pub stdin: Option<ChildStdin>,
    /// Present if the output is unread: see [`ProgramBuilder::unread`].
    pub stdout: Option<ChildStdout>,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    pub home: TempDir,
}

impl Program {
    /// Starts the program with these arguments.
    pub fn start(args: &[&str]) -> Self {
        program(args).start()
    }

    pub(super) fn spawn(builder: ProgramBuilder) -> Self {
        let mut command = builder.command();
        command.stdin(builder.stdin.unwrap_or_else(Stdio::piped));
        command.stdout(builder.stdout.unwrap_or_else(Stdio::piped)).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (send, lines) = channel();
        let mut stdout = child.stdout.take();
        if let Some(stdout) = stdout.take_if(|_| builder.is_read) {
            let stdout = BufReader::new(stdout);
            std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        }
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        Self { stdin: child.stdin.take(), child, stdout, lines, errors: Some(errors), home: builder.home }
    }

    /// Starts a server without a store file. Returns it with its port when it listens.
    pub fn server() -> (Self, String) {
        Self::server_with(&["--ephemeral"])
    }

    /// Starts a server with these options. Returns it with its port when it listens.
    pub fn server_with(options: &[&str]) -> (Self, String) {
        let server = program(["-s", "0"]).args(options).start();
        let port = server.port();
        (server, port)
    }

    /// Reads the line that names the port.
    pub fn port(&self) -> String {
        let line = self.line();
        let port = line.strip_prefix(">>> [Server listening on port ").and_then(|rest| rest.strip_suffix(']'));
        port.unwrap_or_else(|| panic!("no port in {line:?}")).to_owned()
    }

    /// Starts a client on a free port. Returns when it is registered at the server on `port` and has its table.
    pub fn client(name: &str, port: &str, options: &[&str]) -> Self {
        let client = program(["-c", name, "127.0.0.1", port, "0"]).args(options).start();
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
        self.lines.recv_timeout(TIME_LIMIT).expect("a line of output")
    }

    /// All lines up to and including this one.
    pub fn until(&self, last: &str) -> Vec<String> {
        self.until_line(|line| line == last)
    }

    /// All lines up to and including the first one for which `is_wanted` is true.
    pub fn until_line(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut seen: Vec<String> = Vec::new();
        while seen.last().is_none_or(|line| !is_wanted(line)) {
            let line = self.lines.recv_timeout(TIME_LIMIT);
            seen.push(line.unwrap_or_else(|_| panic!("the wanted line did not come after {seen:#?}")));
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

    /// Waits until the program closes its output, which is its last action.
    pub fn until_end(&self) {
        while self.lines.recv_timeout(TIME_LIMIT).is_ok() {}
    }

    /// Waits for the end of the program. Returns its remaining lines, its standard error and its status. Its input
    /// stays open until the program ends.
    pub fn end(mut self) -> (Vec<String>, String, Option<i32>) {
        let mut rest = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(TIME_LIMIT) {
            rest.push(line);
        }
        let status = wait(&mut self.child);
        (rest, self.errors.take().unwrap().join().unwrap(), status.code())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // If the test succeeded, the program has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end of a process, within the time limit.
pub fn wait(child: &mut Child) -> ExitStatus {
    let until = Instant::now() + TIME_LIMIT;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < until, "the program did not end");
        std::thread::sleep(Duration::from_millis(2));
    }
}
