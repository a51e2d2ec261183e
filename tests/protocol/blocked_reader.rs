//! Tests of a reader whose output is blocked. It asks its senders to wait, which restarts their 500 ms, for at most
//! 30 s.

use crate::trace::{SECOND, at_rest, mark, simulation, us};
use chat::proto::client::{UNDER_WAY, UNSHOWN, UNSHOWN_BYTES};
use chat::sim::simulation::SERVER;

const X: usize = 1;
const Y: usize = 2;

#[test]
fn the_sender_waits_for_a_reader_that_is_blocked_for_25_s() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    sim.block(Y, true);
    sim.type_line(X, "send y hi");
    sim.run_for(25 * SECOND);
    assert_eq!(since.trace(&sim, X), [] as [&str; 0]);
    sim.block(Y, false);
    sim.run_for(SECOND);
    assert_eq!(since.trace(&sim, Y), ["25000.000 x: hi"]);
    // x retransmits every 100 ms. y acknowledges on its own as soon as it has displayed the message.
    assert_eq!(since.trace(&sim, X), ["25000.070 [Message received by y.]"]);
    at_rest(&sim);
}

#[test]
fn after_exactly_30_s_the_message_goes_to_the_server() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    sim.block(Y, true);
    sim.type_line(X, "send y hi");
    sim.run_for(30 * SECOND + us(19));
    assert_eq!(since.trace(&sim, X), [] as [&str; 0]);
    sim.run_for(us(1));
    assert_eq!(since.trace(&sim, X), ["30000.020 [No ACK from y, message sent to server.]"]);
    // y answers the ping, so x retries directly, again for 30 s. Then the server stores the message. y is still
    // blocked.
    sim.run_for(us(30_000_500));
    assert_eq!(
        since.trace(&sim, X)[1..],
        ["30000.220 [Client y exists!!]", "60000.520 [Messages received by the server and saved]"]
    );
    assert_eq!(since.trace(&sim, Y), [] as [&str; 0]);
    sim.block(Y, false);
    sim.run_for(SECOND);
    assert_eq!(since.lines(&sim, Y), ["x: hi"]);
    at_rest(&sim);
}

#[test]
fn a_blocked_reader_that_is_killed_is_noticed_500_ms_after_its_last_wait() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    sim.block(Y, true);
    sim.type_line(X, "send y hi");
    sim.run_for(SECOND);
    sim.kill(Y);
    sim.run_for(2 * SECOND);
    let trace = since.trace(&sim, X);
    let at: f64 = trace[0].split_once(' ').unwrap().0.parse().unwrap();
    assert!((1400.0..=1500.1).contains(&at), "{trace:?}");
    assert_eq!(since.lines(&sim, X)[0], "[No ACK from y, message sent to server.]");
    sim.start(Y);
    sim.run_for(SECOND);
    assert_eq!(since.lines(&sim, Y).last().map(String::as_str), Some("[Client table updated.]"));
    assert_eq!(since.lines(&sim, Y)[..2], ["[Welcome, You are registered.]", "[You have messages]"]);
    at_rest(&sim);
}

#[test]
fn a_client_with_a_blocked_output_answers_the_pings_of_the_server() {
    let mut sim = simulation(&["x", "y", "z"]);
    sim.block(Y, true);
    let since = mark(&sim);
    // A client and the server each send more than the queue before the output holds.
    for _ in 0..1_100 {
        sim.type_line(X, "send y hi");
    }
    for _ in 0..1_100 {
        sim.type_line(3, "send_all ho");
    }
    sim.run_for(2 * SECOND);
    let imposter = sim.client("y");
    sim.run_for(2 * SECOND);
    assert_eq!(sim.lines(imposter), ["[The name y is already in use.]"]);
    assert!(!since.lines(&sim, SERVER).iter().any(|line| line == "[Client y is offline]"));
    sim.block(Y, false);
    sim.run_for(10 * SECOND);
    let lines = since.lines(&sim, Y);
    assert_eq!(lines.iter().filter(|line| *line == "x: hi").count(), 1_100);
    assert_eq!(lines.iter().filter(|line| *line == "[Channel_Message z: ho]").count(), 1_100);
    assert_eq!(since.lines(&sim, X).iter().filter(|line| *line == "[Message received by y.]").count(), 1_100);
    at_rest(&sim);
}

#[test]
fn the_queue_before_a_blocked_output_is_limited() {
    for (text, most) in [("hi".to_owned(), UNSHOWN), ("x".repeat(65_536), UNSHOWN_BYTES / 65_536)] {
        // A sender has at most one window of datagrams in flight, which is only two of the long texts.
        let each = if most == UNSHOWN { UNDER_WAY } else { 1 };
        let senders = most / each + 1;
        let names: Vec<String> = (0..=senders).map(|number| format!("c{number}")).collect();
        let mut sim = simulation(&names.iter().map(String::as_str).collect::<Vec<_>>());
        sim.block(X, true);
        let sent = senders * each;
        for message in 0..sent {
            sim.type_line(2 + message / each, &format!("send c0 {text}"));
        }
        sim.run_for(2 * SECOND);
        assert_eq!(sim.showing(X), most);
        sim.block(X, false);
        sim.run_for(2 * SECOND);
        assert_eq!(sim.lines(X).iter().filter(|line| line.ends_with(&text)).count(), sent);
        at_rest(&sim);
    }
}

#[test]
fn a_paused_reader_is_silent_and_its_sender_waits_500_ms() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    sim.pause(Y, true);
    sim.type_line(X, "send y hi");
    sim.run_for(3 * SECOND);
    let x = [
        "500.020 [No ACK from y, message sent to server.]",
        "1000.120 [Client table updated.]",
        "1000.320 [Messages received by the server and saved]",
    ];
    assert_eq!(since.trace(&sim, X), x);
    sim.pause(Y, false);
    sim.run_for(SECOND);
    let lines = since.lines(&sim, Y);
    assert_eq!(lines.iter().filter(|line| line.contains("hi")).count(), 1, "{lines:?}");
    // x gets the update with y online, and the receipt.
    let back = ["[Client table updated.]", "[Offline message sent at 2026-01-01T00:00:02Z received by y.]"];
    assert_eq!(since.lines(&sim, X)[3..], back);
    at_rest(&sim);
}
