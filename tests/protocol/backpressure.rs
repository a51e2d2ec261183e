//! Tests of the limit on messages to everybody and to groups that the server has not answered.

use crate::trace::{SECOND, at_rest, mark, ms, simulation, us};
use chat::proto::client::{UNANSWERED, UNANSWERED_BYTES};
use chat::proto::wire::{self, Frame};
use chat::sim::simulation::{SERVER, Simulation};

const X: usize = 1;

const ACCEPTED: &str = "[Message received by Server.]";

/// The number of different messages to everybody that left x.
fn sent(sim: &Simulation) -> usize {
    let departed = sim.traffic().iter().filter(|packet| packet.actor == X && !packet.came);
    let frames = departed.flat_map(|packet| wire::parse(&packet.bytes).expect("a datagram").frames());
    let numbers = frames.filter_map(|frame| if let Frame::All { r, .. } = frame { Some(r) } else { None });
    numbers.collect::<std::collections::BTreeSet<_>>().len()
}

fn count(lines: &[String], line: &str) -> usize {
    lines.iter().filter(|shown| *shown == line).count()
}

#[test]
fn messages_without_answer_are_limited_in_number_and_bytes_and_the_others_follow_in_order() {
    for (text, most) in [("m".to_owned(), UNANSWERED), ("m".repeat(65_532), UNANSWERED_BYTES / 65_536)] {
        let mut sim = simulation(&["x", "y"]);
        sim.keep_traffic();
        let since = mark(&sim);
        for number in 0..most + 10 {
            sim.type_line(X, &format!("send_all {number:03} {text}"));
        }
        sim.type_line(X, "list_groups");
        // The server answers when the first messages are on disk, after 300 µs.
        sim.run_for(us(290));
        assert!(sent(&sim) <= most);
        assert_eq!(count(&since.lines(&sim, X), ACCEPTED), 0);
        sim.run_for(10 * SECOND);
        assert_eq!(sent(&sim), most + 10);
        let shown = since.lines(&sim, 2).into_iter().map(|line| line.split(' ').nth(2).expect("a number").parse());
        assert_eq!(shown.collect::<Result<Vec<usize>, _>>(), Ok((0..most + 10).collect()));
        assert_eq!(count(&since.lines(&sim, X), ACCEPTED), most + 10);
        at_rest(&sim);
    }
}

#[test]
fn other_commands_overtake_waiting_messages_and_a_change_of_the_mode_does_not() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    for _ in 0..UNANSWERED + 10 {
        sim.type_line(X, "send_all m");
    }
    sim.type_line(X, "table");
    sim.type_line(X, "send y hi");
    sim.type_line(X, "dereg");
    sim.run_for(5 * SECOND);
    let lines = since.lines(&sim, X);
    let position = |line: &str| lines.iter().rposition(|shown| shown.starts_with(line)).expect(line);
    assert!(position("[Message received by y.]") < position(ACCEPTED));
    assert!(position(ACCEPTED) < position("[You are Offline. Bye.]"));
    assert_eq!(count(&lines, ACCEPTED), UNANSWERED + 10);
    at_rest(&sim);
}

#[test]
fn messages_that_wait_as_long_as_unanswered_ones_fail_with_them() {
    let mut sim = simulation(&["x"]);
    sim.kill(SERVER);
    let since = mark(&sim);
    for _ in 0..UNANSWERED + 10 {
        sim.type_line(X, "send_all m");
    }
    sim.run_for(ms(1_000));
    sim.type_line(X, "send_all later");
    sim.run_for(us(1_500_030));
    assert_eq!(since.lines(&sim, X).len(), UNANSWERED + 10);
    sim.run_for(ms(2_499));
    assert_eq!(since.lines(&sim, X).len(), UNANSWERED + 10);
    sim.run_for(ms(5));
    assert_eq!(since.lines(&sim, X), vec!["[Server not responding.]"; UNANSWERED + 11]);
}
