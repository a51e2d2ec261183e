//! Tests of the log: its limits, marks, unfinished lines and the nearest line.

use super::*;
use crate::script::directive::ExpectMode;
use crate::script::expect::ExpectCursor;
use crate::script::pattern::{MatchMode, Pattern};
use crate::script::vars::Vars;
use serde_json::json;

fn matcher(pattern: &str) -> Matcher {
    Pattern::parse(pattern).unwrap().fill(&Vars::default(), MatchMode::Exact).unwrap()
}

#[test]
fn the_oldest_entries_are_dropped_beyond_the_limit_and_unread_ones_are_counted() {
    let mut log = Log::new("x");
    log.line(Instant::ZERO, "first");
    assert!(ExpectCursor::new(ExpectMode::Next, matcher("first")).look(&mut log).is_some());
    for n in 1..Log::MAX_ENTRIES {
        log.line(Instant::ZERO, &n.to_string());
    }
    assert_eq!((log.entries().count(), log.lost()), (Log::MAX_ENTRIES, 0));
    log.line(Instant::ZERO, "last but one");
    log.line(Instant::ZERO, "last");
    assert_eq!((log.entries().count(), log.lost()), (Log::MAX_ENTRIES, 1));
    assert!(ExpectCursor::new(ExpectMode::Next, matcher("1")).look(&mut log).is_none());
    assert!(ExpectCursor::new(ExpectMode::Next, matcher("2")).look(&mut log).is_some());
}

#[test]
fn an_unfinished_line_before_a_mark_is_seen_only_when_it_is_extended() {
    let mut log = Log::new("x");
    log.partial(Instant::ZERO, ">>> [Client");
    log.mark();
    log.partial(Instant::ZERO, ">>> [Client");
    assert!(ExpectCursor::new(ExpectMode::Next, matcher("{*}")).look(&mut log).is_none());
    log.partial(Instant::ZERO, ">>> [Client table");
    log.line(Instant::ZERO, ">>> [Client table updated.]");
    let found = ExpectCursor::new(ExpectMode::Next, matcher("{*}")).look(&mut log).map(|found| found.text);
    assert_eq!(found.as_deref(), Some("[Client table updated.]"));
    log.line(Instant::ZERO, ">>> next");
    log.mark();
    log.line(Instant::ZERO, ">>> next");
    assert!(ExpectCursor::new(ExpectMode::Next, matcher("next")).look(&mut log).is_some());
}

#[test]
fn the_bytes_of_a_log_are_limited() {
    let mut log = Log::new("x");
    let long = "a".repeat(1 << 20);
    for _ in 0..100 {
        log.json(Instant::ZERO, json!({ "text": long }));
    }
    assert_eq!(log.entries().count(), Log::MAX_BYTES / (1 << 20) - 1);
    log.line(Instant::ZERO, &"b".repeat(2 * Log::MAX_BYTES));
    assert_eq!(log.entries().count(), 1, "one entry is kept, however long");
}

#[test]
fn the_nearest_line_was_not_taken() {
    let mut log = Log::new("x");
    for line in ["[Message received by y.]", "[Mesage received by y]", "something else"] {
        log.line(Instant::ZERO, line);
    }
    let wanted = matcher("[Message received by y.]");
    assert!(ExpectCursor::new(ExpectMode::Next, wanted.clone()).look(&mut log).is_some());
    assert_eq!(log.nearest(&wanted).map(|nearest| nearest.text).as_deref(), Some("[Mesage received by y]"));
    assert_eq!(log.nearest(&matcher("0123456789")), None);
    log.json(Instant::ZERO, json!({"event": "delivered", "to": "z"}));
    let near = log.nearest(&matcher(r#"{"event":"delivered","to":"y"}"#)).map(|nearest| nearest.likeness);
    assert_eq!(near, Some(0.5));
}

#[test]
fn the_nearest_line_is_found_after_a_mark_in_a_long_log() {
    let mut log = Log::new("x");
    for number in 0..3 * Log::NEAR_ENTRIES {
        log.line(Instant::ZERO, &format!("before {number}"));
    }
    log.mark();
    log.line(Instant::ZERO, "[Mesage received by y]");
    let nearest = log.nearest(&matcher("[Message received by y.]"));
    assert_eq!(nearest.map(|nearest| nearest.text).as_deref(), Some("[Mesage received by y]"));
}

#[test]
fn a_repeated_line_is_reported_as_taken_before() {
    let mut log = Log::new("x");
    log.line(Instant::from_micros(7), "y: hi");
    assert_eq!(log.taken(&matcher("y: hi")), None);
    assert!(ExpectCursor::new(ExpectMode::Next, matcher("y: hi")).look(&mut log).is_some());
    log.line(Instant::from_micros(9), "y: hi");
    assert_eq!(log.taken(&matcher("y: hi")), Some(Instant::from_micros(7)));
}
