//! Runs one history once for each record. The server crashes right after that record is synced and before anything is
//! sent, or right before the next record is synced. It restarts at once. All promises must be kept.

use std::time::Duration;

use crate::history::{History, check};
use chat::proto::record::Record;

const NAMES: &[&str] = &["ann", "bob", "cid", "dan"];
const ANN: usize = 0;
const BOB: usize = 1;
const CID: usize = 2;
const DAN: usize = 3;

/// The commands, with the index of their client. They cover mail, messages to everybody, groups and receipts.
const LINES: &[(usize, &str)] = &[
    (BOB, "dereg"),
    (ANN, "send bob one"),
    (CID, "send bob two"),
    (ANN, "send_all three"),
    (DAN, "create_group g"),
    (DAN, "join_group g"),
    (CID, "join_group g"),
    (BOB, "reg"),
    (DAN, "send_group four"),
    (BOB, "join_group g"),
    (CID, "send_group five"),
    (CID, "dereg"),
    (ANN, "send cid six"),
    (ANN, "dereg"),
    (BOB, "leave_group"),
    (BOB, "send ann seven"),
    (CID, "reg"),
    (DAN, "leave_group"),
    (DAN, "create_group h"),
    (DAN, "send_all eight"),
    (ANN, "reg"),
    (BOB, "send_all nine"),
    (CID, "send dan ten"),
];

fn run(every: Duration, dies_at: Option<usize>, before_next: bool) -> History {
    History::scripted(NAMES, LINES, every, dies_at, before_next)
}

/// The number of records of each kind whose loss a user would notice.
fn count(records: &[Record]) -> [usize; 4] {
    let mut counts = [0; 4];
    for record in records {
        match record {
            Record::Mail(_) => counts[0] += 1,
            Record::Group(_) => counts[1] += 1,
            Record::Delivered { receipt: Some(_), .. } => counts[2] += 1,
            Record::ReceiptGone { .. } => counts[3] += 1,
            _ => {}
        }
    }
    counts
}

fn assert_every_crash_is_survived(every: Duration) {
    let whole = run(every, None, false);
    assert_eq!(check::faults(&whole), [] as [String; 0], "without a crash");
    let records = whole.sim.disk_history().len();
    let mut failed = Vec::new();
    let moments = (0..=records).map(|at| (at, false)).chain((0..records).map(|at| (at, true)));
    for (at, before_next) in moments {
        let mut history = run(every, Some(at), before_next);
        assert_eq!(history.sim.disk().dies_at, None, "it died");
        let faults = check::faults(&history);
        if !faults.is_empty() {
            let path = format!("{}/crash-{}-{at}-{before_next}.txt", env!("CARGO_TARGET_TMPDIR"), every.as_micros());
            std::fs::write(&path, history.transcript()).expect("a transcript");
            failed.push(format!(
                "after record {at}, before the next one: {before_next}, transcript in {path}:\n  {}",
                faults.join("\n  ")
            ));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {} crashes broke the contract:\n{}",
        failed.len(),
        2 * records + 1,
        failed.join("\n")
    );
}

#[test]
fn the_history_writes_records_of_all_kinds() {
    let history = run(Duration::from_secs(2), None, false);
    assert_eq!(count(history.sim.disk_history()), [9, 2, 4, 4]);
}

#[test]
fn a_server_that_crashes_at_any_record_of_a_slow_history_keeps_its_promises() {
    assert_every_crash_is_survived(Duration::from_secs(2));
}

#[test]
fn a_server_that_crashes_at_any_record_of_a_fast_history_keeps_its_promises() {
    assert_every_crash_is_survived(Duration::from_micros(300));
}
