//! Real programs of a round: one server and clients. They end with the round.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::support::{Program, ProgramBuilder, program};

/// A server and a folder for scripts, which is removed at the end.
pub struct Server {
    process: Program,
    pub port: u16,
    folder: tempfile::TempDir,
}

/// Interval at which a wait for a process looks at it.
const LOOK: Duration = Duration::from_millis(1);

impl Server {
    /// A server that keeps its state on disk, as without options.
    pub fn on_disk() -> Self {
        Self::start(&[])
    }

    pub fn in_memory() -> Self {
        Self::start(&["--ephemeral"])
    }

    pub fn start(options: &[&str]) -> Self {
        let (process, port) = Program::server_with(options);
        Self { process, port: port.parse().expect("a port"), folder: tempfile::tempdir().expect("a folder") }
    }

    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// A client that reads its commands from a pipe. All clients are of one user, whose key only the first one makes.
    pub fn piped_client(&self, name: &str, options: &[&str]) -> ProgramBuilder {
        let client = program(["-c", name, "127.0.0.1", &self.port.to_string(), "0", "--identity"]);
        client.arg(self.folder.path().join("identity")).args(options)
    }

    /// A client that reads these lines from a file, so that no other process has to write them meanwhile.
    pub fn client(&self, name: &str, options: &[&str], lines: &str) -> ProgramBuilder {
        let file = self.folder.path().join(format!("{name}.txt"));
        fs::write(&file, lines).expect("a script");
        self.piped_client(name, options).arg("--script").arg(file)
    }

    /// Registers a name and leaves, so that the server keeps messages for it.
    pub fn introduce(&self, name: &str) {
        assert_eq!(self.client(name, &[], "").run().status, Some(0), "{name} registers");
    }

    /// Ends the server. Returns the number of its reports that a client is offline, except reports about `left`.
    pub fn end(self, left: &[&str]) -> u64 {
        self.process.signal(Signal::SIGTERM);
        let (lines, ..) = self.process.end();
        let names = lines.iter().filter_map(|line| line.strip_prefix(">>> [Client ")?.strip_suffix(" is offline]"));
        names.filter(|name| !left.contains(name)).count() as u64
    }
}

/// Whether the program has this option.
pub fn has_option(option: &str) -> bool {
    program(["--help"]).run().stdout.contains(option)
}

/// Waits for the end of a client, within a time limit. Returns its exit status, if it ended.
pub fn wait_for_end(client: Program, limit: Duration) -> Option<i32> {
    let (since, pid) = (Instant::now(), client.pid());
    // Of a process that has ended, only its number is left until its parent reads the status.
    while !fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z ")) {
        if since.elapsed() > limit {
            return None;
        }
        std::thread::sleep(LOOK);
    }
    client.end().2
}

/// A client without input that listens.
pub fn listener(server: &Server, name: &str) -> ProgramBuilder {
    server.client(name, &["--on-eof", "stay"], "")
}
