//! Tests of a shutdown. The client sends up to three notices in 150 ms, fewer if the server answers, and then always
//! ends.

use crate::trace::{self, SECOND, at_rest, mark, ms, simulation, us};
use chat::proto::client::{NOTICE_EVERY, NOTICES};
use chat::proto::event::client::ClientEvent;
use chat::proto::event::reason::Reason;
use chat::proto::event::{Body, Event};
use chat::proto::server::Server;
use chat::proto::status::Status;
use chat::sim::simulation::{SERVER, Simulation};

const X: usize = 1;
const Y: usize = 2;

#[test]
fn an_answered_notice_ends_the_client_after_one_round_trip() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    sim.leave(X);
    sim.run_for(us(99));
    assert!(sim.ending(X).is_none());
    sim.run_for(us(1));
    assert_eq!(sim.ending(X).map(|ending| ending.status), Some(Status::Ok));
    sim.run_for(SECOND);
    assert_eq!(since.trace(&sim, SERVER), ["0.070 [Client x is offline]"]);
    assert_eq!(since.trace(&sim, Y), ["0.120 [Client table updated.]"]);
    at_rest(&sim);
}

#[test]
fn without_an_answer_a_client_sends_three_notices_in_150_ms_and_ends() {
    let mut sim = simulation(&["x"]);
    sim.kill(SERVER);
    let before = sim.sent();
    sim.leave(X);
    for notices in 1..=NOTICES {
        assert_eq!(sim.sent() - before, u64::from(notices));
        sim.run_for(NOTICE_EVERY - us(1));
        assert_eq!(sim.sent() - before, u64::from(notices), "nothing more a moment before");
        assert!(sim.ending(X).is_none());
        sim.run_for(us(1));
    }
    assert_eq!(sim.ending(X).map(|ending| ending.status), Some(Status::Ok));
    assert_eq!(sim.sent() - before, u64::from(NOTICES));
}

#[test]
fn the_last_notice_alone_is_enough() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    sim.drop_next(X, SERVER, NOTICES - 1);
    sim.leave(X);
    sim.run_for(SECOND);
    assert_eq!(since.trace(&sim, SERVER), ["100.070 [Client x is offline]"]);
    at_rest(&sim);
}

#[test]
fn the_notice_of_a_client_that_is_already_offline_is_answered_and_changes_nothing() {
    let mut sim = simulation(&["x", "y"]);
    sim.cut(X, SERVER);
    sim.cut(SERVER, X);
    let before = mark(&sim);
    sim.type_line(Y, "send_all hi");
    sim.run_for(2 * SECOND);
    assert_eq!(before.lines(&sim, SERVER), ["[Client x is offline]"]);
    sim.heal();
    let (since, sent, written) = (mark(&sim), sim.sent(), sim.disk_history().len());
    sim.leave(X);
    sim.run_for(us(100));
    assert_eq!(sim.ending(X).map(|ending| ending.status), Some(Status::Ok), "it is answered");
    sim.run_for(5 * SECOND);
    for actor in [SERVER, Y] {
        assert_eq!(since.lines(&sim, actor), [] as [&str; 0], "they know already");
    }
    assert_eq!(sim.sent() - sent, 2, "the notice and its answer");
    assert_eq!(sim.disk_history().len(), written);
    at_rest(&sim);
}

#[test]
fn direct_messages_held_in_a_group_are_displayed_before_the_client_ends() {
    let mut sim = simulation(&["x", "y"]);
    sim.type_line(X, "create_group g");
    sim.run_for(SECOND);
    sim.type_line(X, "join_group g");
    sim.run_for(SECOND);
    sim.type_line(Y, "send x hi");
    sim.run_for(SECOND);
    let since = mark(&sim);
    sim.leave(X);
    sim.run_for(SECOND);
    assert_eq!(since.lines(&sim, X), ["y: hi"]);
    assert_eq!(since.lines(&sim, SERVER), ["[Client x left group g]", "[Client x is offline]"]);
    at_rest(&sim);
}

#[test]
fn at_the_end_of_input_a_client_waits_for_its_outcomes() {
    let mut sim = simulation(&["x", "y"]);
    sim.kill(Y);
    let since = mark(&sim);
    sim.set_path(X, Y, trace::DEAD);
    sim.type_line(X, "send y hi");
    sim.finish(X);
    sim.run_for(ms(1000));
    assert_eq!(since.lines(&sim, X), ["[No ACK from y, message sent to server.]"]);
    assert!(sim.ending(X).is_none());
    sim.run_for(SECOND);
    assert_eq!(since.lines(&sim, X).last().map(String::as_str), Some("[Messages received by the server and saved]"));
    assert_eq!(sim.ending(X).map(|ending| ending.status), Some(Status::Ok));
}

#[test]
fn a_de_registration_without_a_server_ends_the_client_after_five_attempts() {
    let mut sim = simulation(&["x"]);
    sim.kill(SERVER);
    let since = mark(&sim);
    sim.type_line(X, "dereg");
    sim.run_for(us(2_499_999));
    assert_eq!(since.trace(&sim, X), [] as [&str; 0]);
    sim.run_for(us(1));
    assert_eq!(since.trace(&sim, X), ["2500.000 [Server not responding]"]);
    let ending = sim.ending(X).expect("an end");
    assert_eq!((ending.status, ending.exiting), (Status::Environment, true));
}

#[test]
fn a_shutdown_interrupts_commands_without_outcome() {
    let mut sim = simulation(&["x", "y"]);
    sim.pause(2, true);
    sim.type_line(1, "send y one");
    sim.type_line(1, "send y two");
    sim.leave(1);
    sim.run_for(SECOND);
    let done = |event: &Event| match &event.body {
        Body::Client(ClientEvent::Done { ok, reason }) => Some((event.cmd, *ok, *reason)),
        _ => None,
    };
    let done: Vec<_> = sim.log(1).iter().filter_map(|(_, event)| done(event)).collect();
    assert_eq!(done, [(Some(1), false, Some(Reason::Interrupted)), (Some(2), false, Some(Reason::Interrupted))]);
    assert_eq!(sim.ending(1).map(|ending| ending.status), Some(Status::Ok));
}

/// A simulation in which a message for y waits before y's blocked output.
fn with_a_message_before_a_blocked_output() -> Simulation {
    let mut sim = simulation(&["x", "y"]);
    sim.block(Y, true);
    sim.type_line(X, "send_all hi");
    sim.run_for(ms(10));
    sim
}

#[test]
fn a_message_being_displayed_is_acknowledged_before_the_notice() {
    let mut sim = with_a_message_before_a_blocked_output();
    sim.leave(Y);
    sim.run_for(ms(40));
    assert!(sim.ending(Y).is_none() && sim.disk_holds() == (1, 0), "its last words are awaited");
    sim.block(Y, false);
    sim.run_for(SECOND);
    assert_eq!((sim.disk_holds(), sim.ending(Y).is_some()), ((0, 0), true));
    let since = mark(&sim);
    sim.start(Y);
    sim.run_for(SECOND);
    assert_eq!(since.lines(&sim, Y)[..1], ["[Welcome, You are registered.]"]);
    assert!(!since.lines(&sim, Y).contains(&"[You have messages]".to_owned()), "it had them");
    at_rest(&sim);
}

#[test]
fn a_blocked_output_delays_the_notice_by_50_ms_but_not_the_end() {
    let mut sim = with_a_message_before_a_blocked_output();
    sim.kill(SERVER);
    sim.kill(X);
    let before = sim.sent();
    sim.leave(Y);
    for (sent, time) in [(0, NOTICE_EVERY), (1, NOTICE_EVERY), (2, NOTICE_EVERY - us(1))] {
        assert_eq!(sim.sent() - before, sent);
        sim.run_for(time);
    }
    assert!(sim.ending(Y).is_none());
    sim.run_for(us(1));
    assert!(sim.ending(Y).is_some());
}

#[test]
fn a_client_that_shuts_down_while_it_registers_goes_offline_at_once() {
    let mut sim = simulation(&["x", "y"]);
    sim.type_line(Y, "dereg");
    sim.run_for(SECOND);
    let since = mark(&sim);
    sim.type_line(Y, "reg");
    let registered = "[Client y registered]".to_owned();
    while !since.lines(&sim, SERVER).contains(&registered) {
        sim.step(sim.now() + SECOND);
    }
    sim.leave(Y);
    sim.run_for(ms(10));
    assert_eq!(since.lines(&sim, SERVER), [&registered, "[Client y is offline]"]);
    sim.run_for(SECOND);
    at_rest(&sim);
}

#[test]
fn the_answer_to_a_de_registration_is_retransmitted_for_at_most_50_s() {
    let mut sim = simulation(&["x", "y"]);
    sim.kill(X);
    sim.run_for(SECOND * 200);
    sim.type_line(Y, "dereg");
    sim.run_for(us(60));
    sim.kill(Y);
    sim.run_for(SECOND * 60);
    let before = sim.sent();
    sim.run_for(SECOND * 60);
    assert_eq!(sim.sent(), before, "nobody is spoken to");
    assert!(sim.server_machine().is_some_and(Server::is_idle));
}
