//! Measures the throughput of the program as ratios to plain UDP and plain SQLite in the same run: `make bench`.
//!
//! Shared machines are noisy, so no test asserts on the ratios.

#[path = "../support/mod.rs"]
mod support;

use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Program, ProgramBuilder, program};

/// Number of messages in each measurement.
const MESSAGES: u32 = 5_000;

fn main() {
    // `cargo test --benches` asks for a list of tests; there is none.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let round_trip = raw_round_trip();
    row("raw UDP, one at a time", MESSAGES, round_trip, None);
    let server = Server::start();
    let _reader = server.reader("y", folder.path());
    let sends = |count: u32, to: &str| format!("send {to} hi\n").repeat(count as usize);
    let one = server.timed("x", folder.path(), &[], &sends(MESSAGES, "y"));
    row("direct messages, one at a time", MESSAGES, one, Some(round_trip));
    let many = server.timed("x", folder.path(), &["--pipeline"], &sends(MESSAGES, "y"));
    row("direct messages, --pipeline", MESSAGES, many, Some(round_trip));
    let all = server.timed("x", folder.path(), &["--pipeline"], &"send_all hi\n".repeat(MESSAGES as usize));
    row("send_all to one reader, --pipeline, on disk", MESSAGES, all, Some(round_trip));
    let commits = raw_commits(folder.path());
    row("raw SQLite, one commit a row", MESSAGES, commits, None);
    server.leave("z", folder.path());
    let saved = server.timed("x", folder.path(), &["--pipeline"], &sends(MESSAGES, "z"));
    row("saved messages, --pipeline", MESSAGES, saved, Some(commits));
}

fn row(what: &str, count: u32, took: Duration, baseline: Option<Duration>) {
    let each = took.as_secs_f64() * 1e6 / f64::from(count);
    let ratio = baseline.map(|baseline| took.as_secs_f64() / baseline.as_secs_f64());
    let ratio = ratio.map_or_else(|| "baseline".to_owned(), |ratio| format!("{ratio:.2} x baseline"));
    print(&format!("{what:45} {each:8.1} us each  {ratio}"));
}

#[allow(clippy::print_stdout, reason = "a benchmark is a program of its own")]
fn print(line: &str) {
    println!("{line}");
}

/// The time for [`MESSAGES`] round trips of a datagram between two threads.
fn raw_round_trip() -> Duration {
    let (here, there) =
        (UdpSocket::bind("127.0.0.1:0").expect("a socket"), UdpSocket::bind("127.0.0.1:0").expect("a socket"));
    here.connect(there.local_addr().expect("an address")).expect("connected");
    let echo = std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        for _ in 0..MESSAGES {
            let (length, from) = there.recv_from(&mut buffer).expect("a datagram");
            there.send_to(&buffer[..length], from).expect("sent");
        }
    });
    let (begin, mut buffer) = (Instant::now(), [0; 1500]);
    for _ in 0..MESSAGES {
        here.send(&[7; 200]).expect("sent");
        here.recv(&mut buffer).expect("a datagram");
    }
    let took = begin.elapsed();
    echo.join().expect("the echo");
    took
}

/// The time for [`MESSAGES`] transactions of one row, as durable as the transactions of the server.
fn raw_commits(folder: &Path) -> Duration {
    let base = rusqlite::Connection::open(folder.join("raw.db")).expect("a database");
    base.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t(n INTEGER PRIMARY KEY, text TEXT)",
    )
    .expect("a table");
    let begin = Instant::now();
    for n in 0..MESSAGES {
        base.execute("INSERT INTO t VALUES (?1, 'hi')", [n]).expect("a row");
    }
    begin.elapsed()
}

struct Server {
    _process: Program,
    port: u64,
}

impl Server {
    fn start() -> Self {
        let process = Program::start(&["-s", "0", "--json"]);
        let port = event(&process.line())["port"].as_u64().expect("a port");
        Self { _process: process, port }
    }

    fn client(&self, name: &str, folder: &Path, options: &[&str], script: &str) -> ProgramBuilder {
        let file = folder.join(format!("{name}.txt"));
        std::fs::write(&file, script).expect("a script");
        let client = program(["-c", name, "127.0.0.1", &self.port.to_string(), "0", "--json", "--script"]);
        client.arg(file).args(options)
    }

    /// Starts a client that listens until it is dropped. Returns when it is registered.
    fn reader(&self, name: &str, folder: &Path) -> Program {
        let reader = self.client(name, folder, &["--on-eof", "stay"], "").start();
        reader.until_line(|line| line.contains("\"registered\""));
        reader
    }

    /// Runs a client to its end. Returns the time from its registration to its last outcome, by its own clock.
    fn timed(&self, name: &str, folder: &Path, options: &[&str], script: &str) -> Duration {
        let run = self.client(name, folder, options, script).run();
        assert_eq!(run.status, Some(0), "{}", run.stdout);
        let events: Vec<serde_json::Value> = run.stdout.lines().map(event).collect();
        let at = |event: &serde_json::Value| {
            let stamp: jiff::Timestamp = event["ts"].as_str().and_then(|ts| ts.parse().ok()).expect("a time");
            stamp
        };
        let begin = events.iter().find(|event| event["event"] == "registered").map(at).expect("registered");
        let end = events.iter().rfind(|event| event["event"] == "done").map(at).expect("done");
        end.duration_since(begin).unsigned_abs()
    }

    /// Registers a name and leaves, so that the server saves messages to it.
    fn leave(&self, name: &str, folder: &Path) {
        self.timed(name, folder, &[], "table\n");
    }
}

fn event(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}
