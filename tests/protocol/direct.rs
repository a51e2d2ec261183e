//! Direct messages: in order, once, within 500 ms, and by way of the server when that is over.

use std::time::Duration;

use crate::trace::{DEAD, SECOND, at_rest, mark, ms, us, world};
use chat::netem::link_model::LinkModel;
use chat::sim::simulation::SERVER;

const X: usize = 1;
const Y: usize = 2;

#[test]
fn a_message_and_its_acknowledgement_take_one_round_trip() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    world.type_line(X, "send y hi");
    world.run_for(SECOND);
    assert_eq!(since.trace(&world, Y), ["0.070 x: hi"]);
    assert_eq!(since.trace(&world, X), ["0.140 [Message received by y.]"]);
    assert_eq!(since.trace(&world, SERVER), [] as [&str; 0], "the server has no part in it");
    at_rest(&world);
}

#[test]
fn a_message_to_oneself_is_shown_first_and_needs_nobody() {
    let mut world = world(&["x"]);
    world.kill(SERVER);
    let since = mark(&world);
    world.type_line(X, "send x hi");
    world.run_for(SECOND);
    assert_eq!(since.trace(&world, X), ["0.020 x: hi", "0.020 [Message received by x.]"]);
}

#[test]
fn a_lost_message_is_sent_again_after_20_ms() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    world.drop_next(X, Y, 1);
    world.type_line(X, "send y hi");
    world.run_for(SECOND);
    assert_eq!(since.trace(&world, Y), ["20.070 x: hi"]);
    assert_eq!(since.trace(&world, X), ["20.140 [Message received by y.]"]);
}

#[test]
fn while_acknowledgements_are_lost_it_is_shown_once_and_sent_again_every_40_ms() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    world.drop_next(Y, X, 3);
    world.type_line(X, "send y hi");
    world.run_for(SECOND);
    assert_eq!(since.trace(&world, Y), ["0.070 x: hi"]);
    // Copies leave at 0, 20, 60 and 100 ms; the answer to the last one arrives.
    assert_eq!(since.trace(&world, X), ["100.120 [Message received by y.]"]);
    at_rest(&world);
}

#[test]
fn after_500_ms_it_goes_to_the_server_and_not_before() {
    let mut world = world(&["x", "y"]);
    world.set_path(Y, X, DEAD);
    world.set_path(Y, SERVER, DEAD);
    let since = mark(&world);
    world.type_line(X, "send y hi");
    world.run_for(us(500_019));
    assert_eq!(since.trace(&world, X), [] as [&str; 0]);
    world.run_for(us(1));
    assert_eq!(since.trace(&world, X), ["500.020 [No ACK from y, message sent to server.]"]);
    // The server asks y for 500 ms, tells everybody that it is offline, and keeps the message.
    world.run_for(SECOND);
    let offline = ["1000.120 [Client table updated.]", "1000.320 [Messages received by the server and saved]"];
    assert_eq!(since.trace(&world, X)[1..], offline);
    assert_eq!(since.trace(&world, SERVER), ["1000.070 [Client y is offline]"]);
    // It was shown all the same, and is not shown again when y is heard once more.
    world.heal();
    world.run_for(20 * SECOND);
    let lines = since.lines(&world, Y);
    assert_eq!(lines[0], "x: hi");
    assert_eq!(lines.iter().filter(|line| line.contains("hi")).count(), 1);
    at_rest(&world);
}

#[test]
fn a_reader_that_the_server_reaches_gets_a_second_direct_try() {
    let mut world = world(&["x", "y"]);
    world.drop_next(X, Y, 14);
    let since = mark(&world);
    world.type_line(X, "send y hi");
    world.run_for(5 * SECOND);
    // The server's question and its answer take 100 µs, so do the request and its answer.
    let x = [
        "500.020 [No ACK from y, message sent to server.]",
        "500.220 [Client y exists!!]",
        "500.340 [Message received by y.]",
    ];
    assert_eq!(since.trace(&world, X), x);
    assert_eq!(since.trace(&world, Y), ["500.270 x: hi"]);
    at_rest(&world);
}

#[test]
fn if_that_fails_too_the_message_is_kept_without_a_question_and_passed_on_live() {
    let mut world = world(&["x", "y"]);
    world.set_path(X, Y, DEAD);
    let since = mark(&world);
    world.type_line(X, "send y hi");
    world.type_line(X, "send y ho");
    world.run_for(3 * SECOND);
    let x = [
        "500.020 [No ACK from y, message sent to server.]",
        "500.220 [Client y exists!!]",
        "1000.520 [Messages received by the server and saved]",
        "1000.840 [Offline message sent at 2026-01-01T00:00:02Z received by y.]",
    ];
    assert_eq!(since.trace(&world, X)[..4], x);
    assert_eq!(since.trace(&world, Y)[..1], ["1000.520 x: hi"], "in the live form");
    // The one typed behind it waited, and has 500 ms of its own.
    let second = ["1500.520 [No ACK from y, message sent to server.]", "1500.720 [Client y exists!!]"];
    assert_eq!(since.trace(&world, X)[4..6], second);
    assert_eq!(since.lines(&world, Y), ["x: hi", "x: ho"]);
    at_rest(&world);
}

#[test]
fn a_later_message_does_not_overtake_one_that_the_server_passes_on() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    world.set_path(X, Y, DEAD);
    world.type_line(X, "send y one");
    world.run_for(us(1_000_400));
    // x reaches y again now, but the server reaches y only in 30 ms.
    world.heal();
    world.drop_next(SERVER, Y, 2);
    world.type_line(X, "send y two");
    world.run_for(SECOND);
    assert_eq!(since.trace(&world, Y), ["1030.520 x: one", "1030.520 x: two"]);
    at_rest(&world);
}

#[test]
fn a_name_nobody_has_is_asked_of_the_server_once() {
    let mut world = world(&["x"]);
    let since = mark(&world);
    world.type_line(X, "send w hi");
    world.run_for(SECOND);
    assert_eq!(since.trace(&world, X), ["0.120 [Client w does not exist.]"]);
    at_rest(&world);
}

#[test]
fn a_name_nobody_has_does_not_exist_after_500_ms_without_a_server_and_ends_nothing() {
    let mut world = world(&["x", "y"]);
    world.kill(SERVER);
    let since = mark(&world);
    world.type_line(X, "send w hi");
    world.run_for(us(500_019));
    assert_eq!(since.trace(&world, X), [] as [&str; 0]);
    world.run_for(5 * SECOND);
    assert_eq!(since.trace(&world, X), ["500.020 [Client w does not exist.]"]);
    world.type_line(X, "send y hi");
    world.run_for(SECOND);
    assert_eq!(since.lines(&world, X)[1..], ["[Message received by y.]"]);
}

#[test]
fn somebody_new_is_found_before_the_update_comes() {
    let mut world = world(&["x"]);
    world.set_path(SERVER, X, LinkModel { latency: ms(50), ..LinkModel::PERFECT });
    let y = world.client("y");
    world.run_for(ms(1));
    let since = mark(&world);
    world.type_line(X, "send y hi");
    world.run_for(SECOND);
    let (x, y) = (since.lines(&world, X), since.lines(&world, y));
    assert_eq!(x, ["[Client table updated.]", "[Message received by y.]"]);
    assert_eq!(y, ["x: hi"]);
}

#[test]
fn outcomes_come_in_the_order_typed() {
    let mut world = world(&["x", "y", "z"]);
    let since = mark(&world);
    world.drop_next(X, Y, 2);
    for number in 0..100 {
        world.type_line(X, &format!("send y {number}"));
    }
    world.run_for(SECOND);
    let expected: Vec<String> = (0..100).map(|number| format!("x: {number}")).collect();
    assert_eq!(since.lines(&world, Y), expected);
    let cmds = world.log(X).iter().filter_map(|(_, event)| event.cmd).collect::<Vec<_>>();
    assert!(cmds.is_sorted(), "{cmds:?}");
    at_rest(&world);
}

#[test]
fn a_reader_in_a_new_life_is_not_there_any_more_and_is_found_at_once() {
    let mut world = world(&["x", "y"]);
    world.drop_next(SERVER, X, 1);
    world.kill(Y);
    world.start(Y);
    world.run_for(ms(2));
    let since = mark(&world);
    world.type_line(X, "send y hi");
    world.run_for(SECOND);
    // Not 500 ms: the address says at once that the life x knows is gone.
    assert_eq!(since.trace(&world, X)[0], "0.120 [No ACK from y, message sent to server.]");
    assert_eq!(since.lines(&world, Y), ["x: hi"]);
    at_rest(&world);
}

#[test]
fn texts_of_64_kib_arrive_whole_over_a_hostile_network() {
    let texts = [
        "a".repeat(65_536),
        "😀".repeat(16_384),
        "\u{1}".repeat(65_536),
        "\"\\\t".repeat(21_845),
        "é\u{7f}\u{202e}".repeat(9_362),
    ];
    let mut world = world(&["x", "y"]);
    world.set_net(LinkModel { latency: ms(1), loss: 0.1, duplicate: 0.1, reorder: 0.1, ..LinkModel::PERFECT });
    let since = mark(&world);
    for text in &texts {
        world.type_line(X, &format!("send y {text}"));
        world.run_for(Duration::from_secs(4));
    }
    let shown: Vec<String> = texts.iter().map(|text| format!("x: {text}")).collect();
    assert!(since.lines(&world, Y) == shown, "unchanged, once, in order");
    at_rest(&world);
}
