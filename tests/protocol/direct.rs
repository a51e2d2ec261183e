//! Tests of direct messages. They arrive in order and once, within 500 ms, and after that through the server.

use std::time::Duration;

use crate::trace::{DEAD, SECOND, at_rest, mark, ms, simulation, us};
use chat::netem::link_model::LinkModel;
use chat::sim::simulation::SERVER;

const X: usize = 1;
const Y: usize = 2;

#[test]
fn a_message_and_its_acknowledgement_take_one_round_trip() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    sim.type_line(X, "send y hi");
    sim.run_for(SECOND);
    assert_eq!(since.trace(&sim, Y), ["0.070 x: hi"]);
    assert_eq!(since.trace(&sim, X), ["0.140 [Message received by y.]"]);
    assert_eq!(since.trace(&sim, SERVER), [] as [&str; 0], "the server has no part in it");
    at_rest(&sim);
}

#[test]
fn a_message_to_oneself_needs_no_server_and_is_displayed_before_its_acknowledgement() {
    let mut sim = simulation(&["x"]);
    sim.kill(SERVER);
    let since = mark(&sim);
    sim.type_line(X, "send x hi");
    sim.run_for(SECOND);
    assert_eq!(since.trace(&sim, X), ["0.020 x: hi", "0.020 [Message received by x.]"]);
}

#[test]
fn a_lost_message_is_retransmitted_after_20_ms() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    sim.drop_next(X, Y, 1);
    sim.type_line(X, "send y hi");
    sim.run_for(SECOND);
    assert_eq!(since.trace(&sim, Y), ["20.070 x: hi"]);
    assert_eq!(since.trace(&sim, X), ["20.140 [Message received by y.]"]);
}

#[test]
fn while_acknowledgements_are_lost_a_message_is_displayed_once_and_retransmitted_every_40_ms() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    sim.drop_next(Y, X, 3);
    sim.type_line(X, "send y hi");
    sim.run_for(SECOND);
    assert_eq!(since.trace(&sim, Y), ["0.070 x: hi"]);
    // Copies leave at 0, 20, 60 and 100 ms. The acknowledgement of the last one arrives.
    assert_eq!(since.trace(&sim, X), ["100.120 [Message received by y.]"]);
    at_rest(&sim);
}

#[test]
fn after_exactly_500_ms_a_message_goes_to_the_server() {
    let mut sim = simulation(&["x", "y"]);
    sim.set_path(Y, X, DEAD);
    sim.set_path(Y, SERVER, DEAD);
    let since = mark(&sim);
    sim.type_line(X, "send y hi");
    sim.run_for(us(500_019));
    assert_eq!(since.trace(&sim, X), [] as [&str; 0]);
    sim.run_for(us(1));
    assert_eq!(since.trace(&sim, X), ["500.020 [No ACK from y, message sent to server.]"]);
    // The server pings y for 500 ms, sends the update with y offline, and stores the message.
    sim.run_for(SECOND);
    let offline = ["1000.120 [Client table updated.]", "1000.320 [Messages received by the server and saved]"];
    assert_eq!(since.trace(&sim, X)[1..], offline);
    assert_eq!(since.trace(&sim, SERVER), ["1000.070 [Client y is offline]"]);
    // y displayed the message anyway. It does not display it again when it returns.
    sim.heal();
    sim.run_for(20 * SECOND);
    let lines = since.lines(&sim, Y);
    assert_eq!(lines[0], "x: hi");
    assert_eq!(lines.iter().filter(|line| line.contains("hi")).count(), 1);
    at_rest(&sim);
}

#[test]
fn a_reader_that_answers_the_ping_gets_a_direct_retry() {
    let mut sim = simulation(&["x", "y"]);
    sim.drop_next(X, Y, 14);
    let since = mark(&sim);
    sim.type_line(X, "send y hi");
    sim.run_for(5 * SECOND);
    // The ping and its answer take 100 µs, and so do the request and its answer.
    let x = [
        "500.020 [No ACK from y, message sent to server.]",
        "500.220 [Client y exists!!]",
        "500.340 [Message received by y.]",
    ];
    assert_eq!(since.trace(&sim, X), x);
    assert_eq!(since.trace(&sim, Y), ["500.270 x: hi"]);
    at_rest(&sim);
}

#[test]
fn after_a_failed_retry_the_server_stores_the_message_without_a_ping_and_delivers_it() {
    let mut sim = simulation(&["x", "y"]);
    sim.set_path(X, Y, DEAD);
    let since = mark(&sim);
    sim.type_line(X, "send y hi");
    sim.type_line(X, "send y ho");
    sim.run_for(3 * SECOND);
    // Both messages are one list.
    let x = [
        "500.020 [No ACK from y, message sent to server.]",
        "500.020 [No ACK from y, message sent to server.]",
        "500.220 [Client y exists!!]",
        "1000.520 [Messages received by the server and saved]",
        "1000.520 [Messages received by the server and saved]",
        "1000.840 [Offline message sent at 2026-01-01T00:00:02Z received by y.]",
        "1000.840 [Offline message sent at 2026-01-01T00:00:02Z received by y.]",
    ];
    assert_eq!(since.trace(&sim, X), x);
    assert_eq!(since.trace(&sim, Y), ["1000.520 x: hi", "1000.520 x: ho"], "in the live form");
    at_rest(&sim);
}

#[test]
fn a_later_message_does_not_overtake_one_that_the_server_delivers() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    sim.set_path(X, Y, DEAD);
    sim.type_line(X, "send y one");
    sim.run_for(us(1_000_400));
    // From now on, datagrams from x reach y, but those of the server reach y only after two probe timeouts, of 3.1 and
    // 6.2 ms.
    sim.heal();
    sim.drop_next(SERVER, Y, 2);
    sim.type_line(X, "send y two");
    sim.run_for(SECOND);
    assert_eq!(since.trace(&sim, Y), ["1009.820 x: one", "1009.820 x: two"]);
    at_rest(&sim);
}

#[test]
fn an_unknown_name_is_looked_up_at_the_server() {
    let mut sim = simulation(&["x"]);
    let since = mark(&sim);
    sim.type_line(X, "send w hi");
    sim.run_for(SECOND);
    assert_eq!(since.trace(&sim, X), ["0.120 [Client w does not exist.]"]);
    at_rest(&sim);
}

#[test]
fn without_a_server_an_unknown_name_is_rejected_after_500_ms_and_the_client_continues() {
    let mut sim = simulation(&["x", "y"]);
    sim.kill(SERVER);
    let since = mark(&sim);
    sim.type_line(X, "send w hi");
    sim.run_for(us(500_019));
    assert_eq!(since.trace(&sim, X), [] as [&str; 0]);
    sim.run_for(5 * SECOND);
    assert_eq!(since.trace(&sim, X), ["500.020 [Client w does not exist.]"]);
    sim.type_line(X, "send y hi");
    sim.run_for(SECOND);
    assert_eq!(since.lines(&sim, X)[1..], ["[Message received by y.]"]);
}

#[test]
fn a_new_client_is_found_before_its_update_arrives() {
    let mut sim = simulation(&["x"]);
    sim.set_path(SERVER, X, LinkModel { latency: ms(50), ..LinkModel::PERFECT });
    let y = sim.client("y");
    sim.run_for(ms(1));
    let since = mark(&sim);
    sim.type_line(X, "send y hi");
    sim.run_for(SECOND);
    let (x, y) = (since.lines(&sim, X), since.lines(&sim, y));
    assert_eq!(x, ["[Client table updated.]", "[Message received by y.]"]);
    assert_eq!(y, ["x: hi"]);
}

#[test]
fn messages_and_outcomes_are_in_the_order_of_the_commands() {
    let mut sim = simulation(&["x", "y", "z"]);
    let since = mark(&sim);
    sim.drop_next(X, Y, 2);
    for number in 0..100 {
        sim.type_line(X, &format!("send y {number}"));
    }
    sim.run_for(SECOND);
    let expected: Vec<String> = (0..100).map(|number| format!("x: {number}")).collect();
    assert_eq!(since.lines(&sim, Y), expected);
    let cmds = sim.log(X).iter().filter_map(|(_, event)| event.cmd).collect::<Vec<_>>();
    assert!(cmds.is_sorted(), "{cmds:?}");
    at_rest(&sim);
}

#[test]
fn a_reader_in_a_new_incarnation_is_found_by_the_update() {
    let mut sim = simulation(&["x", "y"]);
    sim.kill(Y);
    sim.start(Y);
    // y is registered, and x does not know that.
    sim.run_for(ms(500));
    sim.drop_next(SERVER, X, 1);
    sim.run_for(ms(1));
    let since = mark(&sim);
    sim.type_line(X, "send y hi");
    sim.run_for(SECOND);
    // The lost update is sent again after 2 ms, and x does not wait for the 500 ms.
    assert_eq!(since.trace(&sim, X), ["2.320 [Client table updated.]", "2.440 [Message received by y.]"]);
    assert_eq!(since.trace(&sim, Y), ["2.370 x: hi"]);
    at_rest(&sim);
}

#[test]
fn a_reader_in_a_new_incarnation_is_found_after_500_ms_without_the_update() {
    let mut sim = simulation(&["x", "y"]);
    sim.kill(Y);
    sim.start(Y);
    sim.run_for(ms(500));
    sim.set_path(SERVER, X, DEAD);
    sim.run_for(ms(1));
    let since = mark(&sim);
    sim.type_line(X, "send y hi");
    sim.run_for(ms(500));
    sim.heal();
    sim.run_for(SECOND);
    // The new incarnation answered that the earlier one is gone, but anybody could say so.
    let x = [
        "500.020 [No ACK from y, message sent to server.]",
        "500.320 [Client table updated.]",
        "500.320 [Client y exists!!]",
        "500.440 [Message received by y.]",
    ];
    assert_eq!(since.trace(&sim, X), x);
    assert_eq!(since.trace(&sim, Y), ["500.370 x: hi"]);
    at_rest(&sim);
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
    let mut sim = simulation(&["x", "y"]);
    sim.set_net(LinkModel { latency: ms(1), loss: 0.1, duplicate: 0.1, reorder: 0.1, ..LinkModel::PERFECT });
    let since = mark(&sim);
    for text in &texts {
        sim.type_line(X, &format!("send y {text}"));
        sim.run_for(Duration::from_secs(4));
    }
    let shown: Vec<String> = texts.iter().map(|text| format!("x: {text}")).collect();
    assert!(since.lines(&sim, Y) == shown, "unchanged, once, in order");
    at_rest(&sim);
}
