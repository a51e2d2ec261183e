//! `send_all` from one real client to thin readers.

use std::process::Stdio;

use crate::machine::{Stopwatch, memory_kib};
use crate::programs::{Server, wait_for_end};
use crate::raw;
use crate::report::{Measure, Round};
use crate::rows::{ROUND_LIMIT, Scale, grouped, numbered};
use crate::thin::{Fleet, WaitEnd};

const READERS: usize = 50;
const MESSAGES: usize = 8_000;
const MANY_READERS: usize = 1_000;
const MESSAGES_TO_MANY: usize = 500;
/// Datagrams of the baseline.
const RAW: usize = 200_000;
/// How many readers join at the same time.
const AT_ONCE: usize = 50;

pub fn to_50_title(scale: Scale) -> String {
    title(READERS, scale.of(MESSAGES))
}

pub fn to_50(scale: Scale) -> Round {
    fan_out(scale, READERS, scale.of(MESSAGES))
}

pub fn to_1000_title(scale: Scale) -> String {
    title(scale.clients(MANY_READERS), scale.of(MESSAGES_TO_MANY))
}

pub fn to_1000(scale: Scale) -> Round {
    fan_out(scale, scale.clients(MANY_READERS), scale.of(MESSAGES_TO_MANY))
}

fn title(readers: usize, messages: usize) -> String {
    format!("`send_all` of {} messages to {} readers", grouped(messages), grouped(readers))
}

/// Deliveries a second from the first to the last, each acknowledged, on disk; and the memory of the server.
fn fan_out(scale: Scale, readers: usize, messages: usize) -> Round {
    let baseline = raw::datagrams_per_second(scale.of(RAW));
    let server = Server::on_disk();
    let fleet = Fleet::join(&server, readers, AT_ONCE).expect("a fleet");
    if fleet.wait(ROUND_LIMIT, |state| state.complete == readers as u64) != WaitEnd::Done {
        let why =
            format!("only {} of {readers} readers have the whole table after {ROUND_LIMIT:?}", fleet.state().complete);
        fleet.end(0);
        return Round::unfinished(why);
    }
    let watch = Stopwatch::start();
    let expected = (readers * messages) as u64;
    let limit = fleet.elapsed() + ROUND_LIMIT;
    let lines = numbered("send_all", messages);
    let sender = server.client("x", &["--pipeline"], &lines).stdout(Stdio::null()).unread().start();
    let status = wait_for_end(sender, ROUND_LIMIT);
    let end = fleet.wait(limit, |state| state.posts >= expected);
    let (state, bench_share) = (fleet.state(), watch.own_share());
    let (peak, resident) = (memory_kib(server.pid(), "VmHWM"), memory_kib(server.pid(), "VmRSS"));
    let is_ended = status.is_some() && end != WaitEnd::TooSlow;
    let mut round = Round { bench_share, ..Round::default() };
    round.faults = fleet.end(if is_ended { messages as u64 } else { 0 });
    round.faults.false_offline = server.end(&["x"]);
    let took = state.last_news_at - state.first_post_at;
    // The rate of a part says nothing.
    let rate = if end == WaitEnd::Done { state.posts as f64 / took.as_secs_f64() } else { f64::NAN };
    round.measures = vec![
        Measure::new("deliveries", "a second", rate).against(baseline),
        Measure::new("server at its peak", "MiB", peak / 1024.0),
        Measure::new("server at the end", "MiB", resident / 1024.0),
    ];
    if !is_ended {
        round.note = Some(format!("stopped after {ROUND_LIMIT:?}: {} of {expected} deliveries", state.posts));
    } else if status != Some(0) {
        round.note = Some(format!("the sender ended with status {status:?}"));
    }
    round
}
