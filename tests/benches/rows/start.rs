//! The start of a client, and the cost of programs that do nothing.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::machine::{Stopwatch, cpu_time};
use crate::programs::{Server, listener};
use crate::raw;
use crate::report::{Measure, Round, percentile};
use crate::rows::{ROUND_LIMIT, Scale, grouped};
use crate::support::Program;
use crate::thin::{Fleet, WaitEnd};

const STARTS: usize = 40;
/// With the idle client, as many as have the whole table.
const IDLE_CLIENTS: usize = 999;
const IDLE: Duration = Duration::from_secs(10);
/// How many idle clients join at the same time.
const AT_ONCE: usize = 50;

pub fn start_title(scale: Scale) -> String {
    format!("{} starts of a client", grouped(scale.of(STARTS)))
}

/// The median time from the start of a client to its line that it is registered.
pub fn start(scale: Scale) -> Round {
    let count = scale.of(STARTS);
    let baseline = raw::spawn_ms(count);
    let server = Server::in_memory();
    server.introduce("x");
    let watch = Stopwatch::start();
    let mut times: Vec<f64> = (0..count)
        .map(|_| {
            let client = server.client("x", &[], "");
            let begin = Instant::now();
            let client = client.start();
            client.until_line(|line| line.contains("You are registered"));
            let took = begin.elapsed();
            client.end();
            took.as_secs_f64() * 1e3
        })
        .collect();
    let mut round = Round { bench_share: watch.own_share(), ..Round::default() };
    round.faults.false_offline = server.end(&["x"]);
    times.sort_by(f64::total_cmp);
    let median = percentile(&times, 0.5).unwrap_or(f64::NAN);
    round.measures = vec![Measure::new("until registered", "ms", median).against(baseline)];
    round
}

pub fn idle_title(scale: Scale) -> String {
    format!("CPU time of {:?} without work", idle_time(scale))
}

fn idle_time(scale: Scale) -> Duration {
    IDLE.mul_f64(scale.factor.min(1.0))
}

/// The CPU time of a server with many idle clients, and of one idle client. Keep-alives are included.
pub fn idle(scale: Scale) -> Round {
    let count = scale.clients(IDLE_CLIENTS);
    let server = Server::in_memory();
    let client = idle_client(&server);
    let fleet = Fleet::join(&server, count, AT_ONCE).expect("a fleet");
    if fleet.wait(ROUND_LIMIT, |state| state.complete == count as u64) != WaitEnd::Done {
        fleet.end(0);
        return Round::unfinished(format!("{count} clients do not complete their tables in {ROUND_LIMIT:?}"));
    }
    // What the joins left to do is done.
    std::thread::sleep(idle_time(scale) / 10);
    let (watch, pids) = (Stopwatch::start(), [server.pid(), client.pid()]);
    let before = pids.map(cpu_time);
    std::thread::sleep(idle_time(scale));
    let after = pids.map(cpu_time);
    let mut round = Round { bench_share: watch.own_share(), ..Round::default() };
    fleet.end(0);
    drop(client);
    round.faults.false_offline = server.end(&[]);
    let ms = |at: usize| (after[at] - before[at]).as_secs_f64() * 1e3;
    round.measures =
        vec![Measure::new("a server with idle clients", "ms", ms(0)), Measure::new("an idle client", "ms", ms(1))];
    round
}

fn idle_client(server: &Server) -> Program {
    listener(server, "y").stdout(Stdio::null()).unread().start()
}
