//! Many thin clients that join at once, and that are held.

use std::time::Duration;

use crate::machine::{Stopwatch, memory_kib};
use crate::programs::{Server, has_option};
use crate::report::{Measure, Round};
use crate::rows::{ROUND_LIMIT, Scale, grouped};
use crate::thin::{Fleet, FleetState, WaitEnd};

const CROWD: usize = 1_000;
const BIG_CROWD: usize = 10_000;
const HELD: usize = 20_000;
/// How many of the held clients join at the same time.
const AT_ONCE: usize = 200;
/// Above this number of names, a server that has the option keeps tables partial.
const WHOLE_TABLE: usize = 1_000;
const WHOLE_TABLE_OPTION: &str = "--whole-table";
/// How long the held clients are idle before the memory is measured.
const REST: Duration = Duration::from_secs(2);

pub fn join_1000_title(scale: Scale) -> String {
    format!("{} clients join at once", grouped(scale.clients(CROWD)))
}

pub fn join_1000(scale: Scale) -> Round {
    let count = scale.clients(CROWD);
    join(Server::in_memory(), count, "until all have the whole table", |state| state.complete == count as u64)
}

pub fn join_10000_title(scale: Scale) -> String {
    format!("{} clients join at once", grouped(scale.clients(BIG_CROWD)))
}

pub fn join_10000(scale: Scale) -> Round {
    let count = scale.clients(BIG_CROWD);
    join(big_server(count), count, "until all are registered", |state| state.registered == count as u64)
}

/// A server whose tables are partial with so many clients, if it has the option.
fn big_server(count: usize) -> Server {
    let limit = WHOLE_TABLE.min(count / 2).to_string();
    if has_option(WHOLE_TABLE_OPTION) {
        Server::start(&["--ephemeral", WHOLE_TABLE_OPTION, &limit])
    } else {
        Server::in_memory()
    }
}

fn join(server: Server, count: usize, what: &'static str, is_done: impl Fn(FleetState) -> bool) -> Round {
    let watch = Stopwatch::start();
    let fleet = Fleet::join(&server, count, count).expect("a fleet");
    let end = fleet.wait(ROUND_LIMIT, is_done);
    let (state, bench_share) = (fleet.state(), watch.own_share());
    let peak = memory_kib(server.pid(), "VmHWM");
    fleet.end(0);
    let mut round = Round { bench_share, ..Round::default() };
    round.faults.false_offline = server.end(&[]);
    round.measures = vec![Measure::new("server at its peak", "MiB", peak / 1024.0)];
    if end == WaitEnd::Done {
        round.measures.insert(0, Measure::new(what, "s", state.last_news_at.as_secs_f64()));
    } else {
        let FleetState { registered, complete, last_news_at, .. } = state;
        round.note = Some(format!(
            "not finished: {registered} registered, {complete} have the whole table, last change after {:.1} s",
            last_news_at.as_secs_f64()
        ));
    }
    round
}

pub fn held_title(scale: Scale) -> String {
    format!("{} clients held, online and idle", grouped(scale.clients(HELD)))
}

/// The memory of the server for each client, when all are registered and idle.
pub fn held(scale: Scale) -> Round {
    let count = scale.clients(HELD);
    let server = big_server(count);
    let before = memory_kib(server.pid(), "VmRSS");
    let watch = Stopwatch::start();
    let fleet = Fleet::join(&server, count, AT_ONCE).expect("a fleet");
    let end = fleet.wait(ROUND_LIMIT, |state| state.registered == count as u64);
    std::thread::sleep(REST.mul_f64(scale.factor.min(1.0)));
    let (state, bench_share) = (fleet.state(), watch.own_share());
    let (resident, peak) = (memory_kib(server.pid(), "VmRSS"), memory_kib(server.pid(), "VmHWM"));
    fleet.end(0);
    let mut round = Round { bench_share, ..Round::default() };
    round.faults.false_offline = server.end(&[]);
    let each = |now: f64| (now - before) / state.registered as f64;
    round.measures = vec![
        Measure::new("server for each client", "KiB", each(resident)),
        Measure::new("at its peak", "KiB", each(peak)),
    ];
    if end != WaitEnd::Done {
        round.note = Some(format!("not finished: {} of {count} registered in {ROUND_LIMIT:?}", state.registered));
    }
    round
}
