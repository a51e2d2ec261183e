//! Direct messages between two real clients.

use std::io::{BufRead, BufReader, Write as _};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::machine::{Stopwatch, on_cpu};
use crate::programs::{Server, listener, wait_for_end};
use crate::raw;
use crate::report::{Measure, Round, percentile};
use crate::rows::{ROUND_LIMIT, Scale, grouped, numbered};
use crate::support::Program;
use crate::thin::STALL;
use crate::thin::order::OrderCheck;

const ROUND_TRIPS: usize = 5_000;
const LINES: usize = 200_000;

pub fn round_trip_title(scale: Scale) -> String {
    format!("{} direct messages, one at a time", grouped(scale.of(ROUND_TRIPS)))
}

/// The times between the outcomes of consecutive messages, by the clock of the sender.
pub fn round_trip(scale: Scale) -> Round {
    let count = scale.of(ROUND_TRIPS);
    let (raw_median, raw_p99) = raw::round_trips(count);
    let server = Server::in_memory();
    let reader = on_cpu(1, || listener(&server, "y").stdout(Stdio::null()).unread().start());
    wait_until_registered(&server, "y");
    let watch = Stopwatch::start();
    let sender = on_cpu(0, || server.client("x", &["--json"], &numbered("send y", count)).run());
    let bench_share = watch.own_share();
    let done = sender.stdout.lines().filter(|line| line.contains(r#""event":"done""#));
    let done: Vec<f64> = done.filter_map(micros).collect();
    let mut times: Vec<f64> = done.windows(2).map(|pair| pair[1] - pair[0]).collect();
    times.sort_by(f64::total_cmp);
    drop(reader);
    let mut round = Round { bench_share, ..Round::default() };
    round.faults.false_offline = server.end(&["x", "w"]);
    if sender.status != Some(0) {
        round.note = Some("a message was not acknowledged".to_owned());
    }
    let part = |part| percentile(&times, part).unwrap_or(f64::NAN);
    round.measures = vec![
        Measure::new("p50", "µs", part(0.5)).against(raw_median),
        Measure::new("p99", "µs", part(0.99)).against(raw_p99),
    ];
    round
}

/// Registers a client that looks up `name` until it is online.
fn wait_until_registered(server: &Server, name: &str) {
    let script = format!("< [Client table updated.]\nsend {name} hello\n");
    let since = Instant::now();
    while server.client("w", &[], &script).run().status != Some(0) {
        assert!(since.elapsed() < ROUND_LIMIT, "{name} does not register");
    }
}

/// The time of an event in microseconds.
fn micros(line: &str) -> Option<f64> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    let stamp: jiff::Timestamp = event["ts"].as_str()?.parse().ok()?;
    Some(stamp.as_microsecond() as f64)
}

pub fn pipe_title(scale: Scale) -> String {
    format!("{} lines through a pipe to one reader", grouped(scale.of(LINES)))
}

/// Lines a second at the reader, from the first to the last.
pub fn pipe(scale: Scale) -> Round {
    let count = scale.of(LINES);
    let baseline = raw::datagrams_per_second(count);
    let server = Server::in_memory();
    let reader = ReaderOfLines::start(listener(&server, "y").unread().start());
    reader.wait(ROUND_LIMIT, |reader| reader.is_ready());
    let watch = Stopwatch::start();
    let mut sender = server.piped_client("x", &["--pipeline"]).stdout(Stdio::null()).unread().start();
    let (mut pipe, lines) = (sender.stdin.take().expect("a pipe"), numbered("send y", count));
    // It ends when all is written, or when the sender ends.
    std::thread::spawn(move || pipe.write_all(lines.as_bytes()));
    let status = wait_for_end(sender, ROUND_LIMIT);
    // After the end of the sender, only what is on its way is still missing.
    reader.wait(STALL, |reader| reader.count.load(SeqCst) >= count as u64);
    let bench_share = watch.own_share();
    let (order, took) = reader.end();
    let mut round = Round { bench_share, ..Round::default() };
    round.faults = order.faults(if status.is_some() { count as u64 } else { 0 });
    round.faults.false_offline = server.end(&["x"]);
    match status {
        Some(0) => {}
        Some(status) => round.note = Some(format!("the sender ended with status {status}")),
        None => round = Round { note: Some(format!("not finished in {ROUND_LIMIT:?}")), ..round },
    }
    if status.is_some() {
        let rate = count as f64 / took.as_secs_f64();
        round.measures = vec![Measure::new("lines", "a second", rate).against(baseline)];
    }
    round
}

/// The number of a message of x, which may have come as mail: then its time stands before the text.
fn number_of(line: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(line).ok()?.strip_prefix(">>> x: ")?;
    line.rsplit_once("hello ")?.1.trim_end().parse().ok()
}

/// A thread that reads the output of a client and checks the order of numbered messages.
struct ReaderOfLines {
    program: Program,
    count: Arc<AtomicU64>,
    is_ready: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<(OrderCheck, Duration)>,
}

impl ReaderOfLines {
    fn start(mut program: Program) -> Self {
        let output = program.stdout.take().expect("an unread output");
        let (count, is_ready) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (arrived, ready) = (Arc::clone(&count), Arc::clone(&is_ready));
        let thread = std::thread::spawn(move || {
            let (mut order, mut first, mut last) = (OrderCheck::default(), None, Instant::now());
            let mut lines = BufReader::with_capacity(1 << 16, output);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                if let Some(number) = number_of(&line) {
                    order.arrived(number);
                    last = Instant::now();
                    first.get_or_insert(last);
                    arrived.fetch_add(1, SeqCst);
                } else if line.ends_with(b"table updated.]\n") {
                    ready.store(1, SeqCst);
                }
                line.clear();
            }
            (order, last - first.unwrap_or(last))
        });
        Self { program, count, is_ready, thread }
    }

    fn is_ready(&self) -> bool {
        self.is_ready.load(SeqCst) > 0
    }

    /// Waits until something is so, or for the time limit since the last message.
    fn wait(&self, limit: Duration, is_so: impl Fn(&Self) -> bool) {
        let (mut since, mut seen) = (Instant::now(), 0);
        while !is_so(self) && since.elapsed() < limit {
            let count = self.count.load(SeqCst);
            if count > seen {
                (since, seen) = (Instant::now(), count);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn end(self) -> (OrderCheck, Duration) {
        drop(self.program);
        self.thread.join().expect("the reader")
    }
}
