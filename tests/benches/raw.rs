//! Baselines: plain datagrams, plain SQLite, and the smallest program.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::machine::on_cpu;
use crate::report::percentile;

/// The arguments that make this program the other process of a baseline.
pub const ECHO: &str = "raw-echo";
pub const SINK: &str = "raw-sink";

/// The length of a datagram with one short message and its tag.
const DATAGRAM: usize = 230;
/// A receiver that hears nothing for this time has lost the rest.
const SILENCE: Duration = Duration::from_millis(250);

/// Another process of this program. Dropping it kills it.
struct Peer {
    child: Child,
    port: u16,
}

impl Peer {
    fn start(role: &str) -> Self {
        let program = std::env::current_exe().expect("the path of this program");
        let mut child =
            Command::new(program).arg(role).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a process");
        let mut line = String::new();
        BufReader::with_capacity(1, child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a port");
        Self { child, port: line.trim().parse().expect("a port") }
    }

    fn connect(&self) -> UdpSocket {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.connect((Ipv4Addr::LOCALHOST, self.port)).expect("an address");
        socket.set_read_timeout(Some(SILENCE)).expect("a timeout");
        socket
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Binds a socket with a large buffer and prints its port.
fn listen() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(4 * 1024 * 1024);
    let mut out = std::io::stdout();
    writeln!(out, "{}", socket.local_addr().expect("an address").port()).expect("a pipe");
    out.flush().expect("a pipe");
    socket
}

/// Returns each datagram to its sender, until it is killed.
pub fn echo() -> ExitCode {
    let (socket, mut buffer) = (listen(), [0; 2_048]);
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let _ = socket.send_to(&buffer[..length], from);
    }
    ExitCode::FAILURE
}

/// Receives datagrams until there is silence. Prints their number and the microseconds from the first to the last.
pub fn sink() -> ExitCode {
    let (socket, mut buffer) = (listen(), [0; 2_048]);
    let _ = socket.recv(&mut buffer);
    let (begin, mut end, mut count) = (Instant::now(), Instant::now(), 0_u64);
    socket.set_read_timeout(Some(SILENCE)).expect("a timeout");
    while socket.recv(&mut buffer).is_ok() {
        count += 1;
        // The clock is cheap, and the end is known only later.
        end = Instant::now();
    }
    writeln!(std::io::stdout(), "{count} {}", (end - begin).as_micros()).expect("a pipe");
    ExitCode::SUCCESS
}

/// Round trips between two processes on two CPUs, in microseconds: the median and the 99th percentile.
pub fn round_trips(count: usize) -> (f64, f64) {
    let peer = on_cpu(1, || Peer::start(ECHO));
    on_cpu(0, || {
        let (socket, mut buffer) = (peer.connect(), [0; 2_048]);
        let mut times: Vec<f64> = (0..count)
            .filter_map(|_| {
                let begin = Instant::now();
                socket.send(&[7; DATAGRAM]).ok()?;
                socket.recv(&mut buffer).ok()?;
                Some(begin.elapsed().as_secs_f64() * 1e6)
            })
            .collect();
        times.sort_by(f64::total_cmp);
        (percentile(&times, 0.5).unwrap_or(f64::NAN), percentile(&times, 0.99).unwrap_or(f64::NAN))
    })
}

/// Datagrams a second that one process receives from another, which sends as fast as it can.
pub fn datagrams_per_second(count: usize) -> f64 {
    let mut peer = Peer::start(SINK);
    let socket = peer.connect();
    for _ in 0..count {
        let _ = socket.send(&[7; DATAGRAM]);
    }
    let mut report = String::new();
    peer.child.stdout.take().expect("a pipe").read_to_string(&mut report).expect("a report");
    let mut numbers = report.split_whitespace().filter_map(|word| word.parse::<f64>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(received), Some(micros)) if micros > 0.0 => received / micros * 1e6,
        _ => f64::NAN,
    }
}

/// Rows a second that SQLite inserts with `batch` rows in a transaction, as durable as the transactions of the server.
pub fn inserts_per_second(folder: &Path, count: usize, batch: usize) -> f64 {
    let mut base = rusqlite::Connection::open(folder.join("raw.db")).expect("a database");
    base.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; DROP TABLE IF EXISTS t;
         CREATE TABLE t(n INTEGER PRIMARY KEY, reader TEXT, sender TEXT, id TEXT, at INTEGER, text TEXT)",
    )
    .expect("a table");
    let begin = Instant::now();
    let mut number = 0;
    while number < count {
        let end = (number + batch).min(count);
        let turn = base.transaction().expect("a transaction");
        let mut insert = turn.prepare_cached("INSERT INTO t VALUES (?1, 'z', 'x', ?2, ?1, ?3)").expect("a statement");
        for number in number..end {
            insert
                .execute((number as i64, format!("{number:032x}.{number}"), format!("hello {number}")))
                .expect("a row");
        }
        drop(insert);
        turn.commit().expect("a commit");
        number = end;
    }
    count as f64 / begin.elapsed().as_secs_f64()
}

/// The median time from the start of `true` to its end, in milliseconds.
pub fn spawn_ms(count: usize) -> f64 {
    let mut times: Vec<f64> = (0..count)
        .map(|_| {
            let begin = Instant::now();
            Command::new("true").status().expect("the program `true`");
            begin.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    percentile(&times, 0.5).unwrap_or(f64::NAN)
}
