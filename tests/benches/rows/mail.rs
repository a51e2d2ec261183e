//! Messages that the server saves for an offline reader, and brings back when it returns.

use std::process::Stdio;
use std::time::Instant;

use crate::machine::Stopwatch;
use crate::programs::{Server, wait_for_end};
use crate::raw;
use crate::report::{Measure, Round};
use crate::rows::{ROUND_LIMIT, Scale, grouped, numbered};
use crate::thin::{Fleet, WaitEnd};

/// As many as a mailbox holds.
const MESSAGES: usize = 10_000;
/// Rows in a transaction of the baseline.
const BATCH: usize = 256;
/// Datagrams of the baseline.
const RAW: usize = 200_000;
/// The reader. A fleet of one has this name.
const READER: &str = "n0";

pub fn saves_title(scale: Scale) -> String {
    format!("{} saves to one offline reader, on disk", grouped(scale.of(MESSAGES)))
}

/// Saves a second, from the start of the sender to its end.
pub fn saves(scale: Scale) -> Round {
    let count = scale.of(MESSAGES);
    let folder = tempfile::tempdir().expect("a folder");
    let baseline = raw::inserts_per_second(folder.path(), count, BATCH);
    let server = Server::on_disk();
    server.introduce(READER);
    let (begin, watch) = (Instant::now(), Stopwatch::start());
    let status = save(&server, count);
    let (took, bench_share) = (begin.elapsed(), watch.own_share());
    let mut round = Round { bench_share, ..Round::default() };
    if status == Some(0) {
        // What was saved must come back whole.
        let fleet = Fleet::join(&server, 1, 1).expect("a fleet");
        let end = fleet.wait(ROUND_LIMIT, |state| state.posts >= count as u64);
        round.faults = fleet.end(if end == WaitEnd::TooSlow { 0 } else { count as u64 });
        let rate = count as f64 / took.as_secs_f64();
        round.measures = vec![Measure::new("saves", "a second", rate).against(baseline)];
    } else {
        round.note = Some(unsaved(status));
    }
    round.faults.false_offline = server.end(&["x", READER]);
    round
}

pub fn mail_title(scale: Scale) -> String {
    format!("{} saved messages brought back", grouped(scale.of(MESSAGES)))
}

/// Messages a second at a returning reader, from the first `hello` to the last message.
pub fn mail(scale: Scale) -> Round {
    let count = scale.of(MESSAGES);
    let baseline = raw::datagrams_per_second(scale.of(RAW));
    let server = Server::on_disk();
    server.introduce(READER);
    let status = save(&server, count);
    if status != Some(0) {
        return Round::unfinished(unsaved(status));
    }
    let watch = Stopwatch::start();
    let fleet = Fleet::join(&server, 1, 1).expect("a fleet");
    let end = fleet.wait(ROUND_LIMIT, |state| state.posts >= count as u64);
    let (state, bench_share) = (fleet.state(), watch.own_share());
    let mut round = Round { bench_share, ..Round::default() };
    round.faults = fleet.end(if end == WaitEnd::TooSlow { 0 } else { count as u64 });
    round.faults.false_offline = server.end(&["x", READER]);
    let rate = if end == WaitEnd::Done { count as f64 / state.last_news_at.as_secs_f64() } else { f64::NAN };
    round.measures = vec![Measure::new("messages", "a second", rate).against(baseline)];
    if end == WaitEnd::TooSlow {
        round.note = Some(format!("stopped after {ROUND_LIMIT:?}: {} of {count}", state.posts));
    }
    round
}

/// Sends messages to the offline reader. Returns the status of the sender, if it ended in time.
fn save(server: &Server, count: usize) -> Option<i32> {
    let lines = numbered(&format!("send {READER}"), count);
    let sender = server.client("x", &["--pipeline"], &lines).stdout(Stdio::null()).unread().start();
    wait_for_end(sender, ROUND_LIMIT)
}

fn unsaved(status: Option<i32>) -> String {
    match status {
        None => format!("not saved in {ROUND_LIMIT:?}"),
        Some(status) => format!("the sender ended with status {status}"),
    }
}
