//! Tests of messages to many: each reader gets them once and in order, is told of the dropped ones, and a sender waits
//! for slow readers.

use chat::netem::link_model::LinkModel;
use chat::proto::server::POSTS_UNDER_WAY;
use chat::sim::simulation::{SERVER, Simulation};

use crate::trace::{SECOND, at_rest, mark, ms, simulation};

const X: usize = 1;
const Y: usize = 2;

/// A simulation whose server keeps so many unread messages, with these clients online.
fn simulation_keeping(messages: usize, names: &[&str]) -> Simulation {
    let mut sim = Simulation::without_server(1, LinkModel::PERFECT);
    sim.limits.retention.messages = messages;
    sim.start(SERVER);
    for name in names {
        sim.client(name);
        sim.run_for(ms(100));
    }
    sim
}

fn send_all(sim: &mut Simulation, from: usize, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        sim.type_line(from, &format!("send_all m{number}"));
    }
}

fn shown(numbers: std::ops::RangeInclusive<u32>) -> Vec<String> {
    numbers.map(|number| format!("[Channel_Message x: m{number}]")).collect()
}

fn accepted(lines: &[String]) -> usize {
    lines.iter().filter(|line| *line == "[Message received by Server.]").count()
}

#[test]
fn a_returning_reader_is_told_once_and_in_its_place_of_dropped_messages() {
    let mut sim = simulation_keeping(5, &["x", "y"]);
    sim.type_line(Y, "dereg");
    sim.run_for(SECOND);
    sim.type_line(X, "send y first");
    sim.run_for(SECOND);
    send_all(&mut sim, X, 1..=17);
    sim.run_for(SECOND);
    let since = mark(&sim);
    sim.type_line(Y, "reg");
    sim.run_for(SECOND);
    let lines = since.lines(&sim, Y);
    let text = |line: &String| line.rsplit([' ']).next().unwrap_or_default().to_owned();
    assert_eq!(lines[..2], ["[Welcome, You are registered.]", "[You have messages]"]);
    assert_eq!(text(&lines[2]), "first");
    assert_eq!(lines[3], "[12 older channel messages were dropped.]");
    let rest: Vec<String> = lines[4..9].iter().map(text).collect();
    assert_eq!(rest, ["m13]", "m14]", "m15]", "m16]", "m17]"]);
    assert_eq!(lines[9..], ["[Client table updated.]"]);
    // Neither another registration nor a restart of the server repeats it.
    sim.kill(SERVER);
    sim.start(SERVER);
    sim.run_for(3 * SECOND);
    let told = since.lines(&sim, Y).iter().filter(|line| line.contains("dropped")).count();
    assert_eq!((told, sim.disk_holds()), (1, (0, 0)));
    at_rest(&sim);
}

#[test]
fn a_server_that_crashes_anywhere_tells_a_reader_once_of_dropped_messages() {
    let run = |dies_at: Option<usize>| {
        let mut sim = simulation_keeping(5, &["x", "y"]);
        sim.type_line(Y, "dereg");
        sim.run_for(SECOND);
        send_all(&mut sim, X, 1..=17);
        sim.run_for(SECOND);
        sim.disk().dies_at = dies_at;
        let (since, first) = (mark(&sim), sim.disk_history().len());
        sim.type_line(Y, "reg");
        for _ in 0..6 {
            sim.run_for(SECOND);
            sim.start(SERVER);
        }
        let lines = since.lines(&sim, Y);
        let told: Vec<&String> = lines.iter().filter(|line| line.contains("dropped")).collect();
        assert_eq!(told, ["[12 older channel messages were dropped.]"], "{dies_at:?}: {lines:#?}");
        assert_eq!(lines.iter().filter(|line| line.contains("Channel_Message")).count(), 5, "{dies_at:?}");
        assert_eq!(sim.disk_holds(), (0, 0));
        (first, sim.disk_history().len())
    };
    let (first, last) = run(None);
    assert!(last > first + 3, "the notice, the cursor and the row are records");
    for record in first..last {
        run(Some(record));
    }
}

#[test]
fn a_fast_sender_waits_for_a_reader_that_lacks_half_of_the_retention() {
    let mut sim = simulation_keeping(1_000, &["x", "y", "z"]);
    let since = mark(&sim);
    sim.block(Y, true);
    send_all(&mut sim, X, 1..=900);
    sim.run_for(20 * SECOND);
    assert_eq!(sim.showing(Y), POSTS_UNDER_WAY, "so many are under way");
    // More than half: y lacks message 1, which it has not displayed.
    assert_eq!(accepted(&since.lines(&sim, X)), 500);
    // Everything else of the sender goes on, and everybody else gets its messages.
    sim.type_line(X, "send z hi");
    sim.run_for(SECOND);
    assert_eq!(since.lines(&sim, X).last().map(String::as_str), Some("[Message received by z.]"));
    sim.block(Y, false);
    sim.run_for(5 * SECOND);
    assert_eq!(accepted(&since.lines(&sim, X)), 900);
    assert_eq!(since.lines(&sim, Y), shown(1..=900));
    at_rest(&sim);
}

#[test]
fn a_sender_waits_at_most_30_s_for_one_reader() {
    let mut sim = simulation_keeping(200, &["x", "y"]);
    let since = mark(&sim);
    sim.block(Y, true);
    send_all(&mut sim, X, 1..=150);
    sim.run_for(29 * SECOND);
    assert_eq!(accepted(&since.lines(&sim, X)), 100);
    sim.run_for(2 * SECOND);
    assert_eq!(accepted(&since.lines(&sim, X)), 150);
    send_all(&mut sim, X, 151..=300);
    sim.run_for(SECOND);
    assert_eq!(accepted(&since.lines(&sim, X)), 300, "it is not waited for again");
    sim.block(Y, false);
    sim.run_for(10 * SECOND);
    // The messages that were under way arrived, and the rest up to the retention was dropped.
    let lines = since.lines(&sim, Y);
    let dropped = lines.iter().position(|line| line.contains("dropped")).expect("a notice");
    let (before, after) = (u32::try_from(dropped).expect("a number"), u32::try_from(lines.len() - dropped - 1));
    let after = after.expect("a number");
    assert_eq!(lines[..dropped], shown(1..=before));
    assert_eq!(lines[dropped + 1..], shown(301 - after..=300));
    assert_eq!(lines[dropped], format!("[{} older channel messages were dropped.]", 300 - before - after));
    at_rest(&sim);
}

#[test]
fn an_interval_of_a_group_outlives_the_membership() {
    let mut sim = simulation(&["x", "y", "z"]);
    for line in ["create_group g", "join_group g"] {
        sim.type_line(X, line);
        sim.run_for(ms(10));
    }
    sim.type_line(Y, "join_group g");
    sim.run_for(ms(10));
    sim.kill(Y);
    sim.type_line(X, "send_group m1");
    sim.run_for(2 * SECOND);
    // y was found gone, so it is no member any more.
    sim.type_line(X, "send_group m2");
    sim.run_for(SECOND);
    let since = mark(&sim);
    sim.start(Y);
    sim.run_for(SECOND);
    let lines = since.lines(&sim, Y);
    let messages: Vec<&String> = lines.iter().filter(|line| line.starts_with("Group_Message")).collect();
    assert_eq!(messages.len(), 1, "{lines:?}");
    assert!(messages[0].ends_with(" m1"), "{lines:?}");
    assert_eq!(sim.disk_holds(), (0, 0));
    at_rest(&sim);
}

#[test]
fn a_message_that_is_written_while_its_reader_leaves_the_group_reaches_it() {
    let mut sim = simulation(&["x", "y"]);
    sim.type_line(X, "create_group g");
    sim.run_for(ms(10));
    for client in [X, Y] {
        sim.type_line(client, "join_group g");
        sim.run_for(ms(10));
    }
    let since = mark(&sim);
    sim.type_line(X, "send_group m");
    sim.type_line(Y, "leave_group");
    sim.run_for(SECOND);
    let mut lines = since.lines(&sim, Y);
    lines.sort();
    assert_eq!(lines, ["Group_Message x: m", "[Leave group chat g]"]);
    assert_eq!(sim.disk_holds(), (0, 0));
    at_rest(&sim);
}
