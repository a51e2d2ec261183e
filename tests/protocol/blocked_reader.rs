//! A reader whose output is blocked asks its senders to wait: 500 ms begin anew, for at most 30 s.

use crate::trace::{SECOND, at_rest, mark, us, world};
use chat::proto::client::{UNDER_WAY, UNSHOWN, UNSHOWN_BYTES};
use chat::sim::simulation::SERVER;

const X: usize = 1;
const Y: usize = 2;

#[test]
fn a_reader_that_is_blocked_for_a_while_keeps_its_sender_waiting() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    world.block(Y, true);
    world.type_line(X, "send y hi");
    world.run_for(25 * SECOND);
    assert_eq!(since.trace(&world, X), [] as [&str; 0]);
    world.block(Y, false);
    world.run_for(SECOND);
    assert_eq!(since.trace(&world, Y), ["25000.000 x: hi"]);
    // y is tried again every 100 ms at most, and says by itself when it has shown the message.
    assert_eq!(since.trace(&world, X), ["25000.070 [Message received by y.]"]);
    at_rest(&world);
}

#[test]
fn after_30_s_the_message_goes_to_the_server_and_not_before() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    world.block(Y, true);
    world.type_line(X, "send y hi");
    world.run_for(30 * SECOND + us(19));
    assert_eq!(since.trace(&world, X), [] as [&str; 0]);
    world.run_for(us(1));
    assert_eq!(since.trace(&world, X), ["30000.020 [No ACK from y, message sent to server.]"]);
    // It is alive, so there is a second try, of 30 s again; then the server has it, and y still cannot show it.
    world.run_for(us(30_000_500));
    assert_eq!(
        since.trace(&world, X)[1..],
        ["30000.220 [Client y exists!!]", "60000.520 [Messages received by the server and saved]"]
    );
    assert_eq!(since.trace(&world, Y), [] as [&str; 0]);
    world.block(Y, false);
    world.run_for(SECOND);
    assert_eq!(since.lines(&world, Y), ["x: hi"]);
    at_rest(&world);
}

#[test]
fn a_blocked_reader_that_dies_is_noticed_500_ms_after_its_last_word() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    world.block(Y, true);
    world.type_line(X, "send y hi");
    world.run_for(SECOND);
    world.kill(Y);
    world.run_for(2 * SECOND);
    let trace = since.trace(&world, X);
    let at: f64 = trace[0].split_once(' ').unwrap().0.parse().unwrap();
    assert!((1400.0..=1500.1).contains(&at), "{trace:?}");
    assert_eq!(since.lines(&world, X)[0], "[No ACK from y, message sent to server.]");
    world.start(Y);
    world.run_for(SECOND);
    assert_eq!(since.lines(&world, Y).last().map(String::as_str), Some("[Client table updated.]"));
    assert_eq!(since.lines(&world, Y)[..2], ["[Welcome, You are registered.]", "[You have messages]"]);
    at_rest(&world);
}

#[test]
fn questions_of_the_server_are_answered_whatever_the_output_does() {
    let mut world = world(&["x", "y", "z"]);
    world.block(Y, true);
    let since = mark(&world);
    // More than fits into the queue in front of the output, from a client and from the server.
    for _ in 0..1_100 {
        world.type_line(X, "send y hi");
    }
    for _ in 0..1_100 {
        world.type_line(3, "send_all ho");
    }
    world.run_for(2 * SECOND);
    let imposter = world.client("y");
    world.run_for(2 * SECOND);
    assert_eq!(world.lines(imposter), ["[The name y is already in use.]"]);
    assert!(!since.lines(&world, SERVER).iter().any(|line| line == "[Client y is offline]"));
    world.block(Y, false);
    world.run_for(10 * SECOND);
    let lines = since.lines(&world, Y);
    assert_eq!(lines.iter().filter(|line| *line == "x: hi").count(), 1_100);
    assert_eq!(lines.iter().filter(|line| *line == "[Channel_Message z: ho]").count(), 1_100);
    assert_eq!(since.lines(&world, X).iter().filter(|line| *line == "[Message received by y.]").count(), 1_100);
    at_rest(&world);
}

#[test]
fn no_more_is_taken_in_than_fits_in_front_of_a_blocked_output() {
    let senders = UNSHOWN / UNDER_WAY + 1;
    for (text, most) in [("hi".to_owned(), UNSHOWN), ("x".repeat(65_536), UNSHOWN_BYTES / 65_536)] {
        let names: Vec<String> = (0..=senders).map(|number| format!("c{number}")).collect();
        let mut world = world(&names.iter().map(String::as_str).collect::<Vec<_>>());
        world.block(X, true);
        // One sender has no more than a window of datagrams under way, and so only two of the long texts.
        let each = if most == UNSHOWN { UNDER_WAY } else { 1 };
        let sent = senders * each;
        for message in 0..sent {
            world.type_line(2 + message / each, &format!("send c0 {text}"));
        }
        world.run_for(2 * SECOND);
        assert_eq!(world.showing(X), most);
        world.block(X, false);
        world.run_for(2 * SECOND);
        assert_eq!(world.lines(X).iter().filter(|line| line.ends_with(&text)).count(), sent);
        at_rest(&world);
    }
}

#[test]
fn a_paused_reader_says_nothing_and_its_sender_waits_500_ms() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    world.pause(Y, true);
    world.type_line(X, "send y hi");
    world.run_for(3 * SECOND);
    let x = [
        "500.020 [No ACK from y, message sent to server.]",
        "1000.120 [Client table updated.]",
        "1000.320 [Messages received by the server and saved]",
    ];
    assert_eq!(since.trace(&world, X), x);
    world.pause(Y, false);
    world.run_for(SECOND);
    let lines = since.lines(&world, Y);
    assert_eq!(lines.iter().filter(|line| line.contains("hi")).count(), 1, "{lines:?}");
    // x learns that y is back, and that it has its mail.
    let back = ["[Client table updated.]", "[Offline message sent at 2026-01-01T00:00:02Z received by y.]"];
    assert_eq!(since.lines(&world, X)[3..], back);
    at_rest(&world);
}
