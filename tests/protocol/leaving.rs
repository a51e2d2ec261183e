//! Leaving: three notices in 150 ms, or less when the server answers; then the program ends, whatever happens.

use crate::trace::{self, SECOND, at_rest, mark, ms, us, world};
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
fn a_notice_that_is_answered_ends_the_program_after_one_round_trip() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    world.leave(X);
    world.run_for(us(99));
    assert!(world.ending(X).is_none());
    world.run_for(us(1));
    assert_eq!(world.ending(X).map(|ending| ending.status), Some(Status::Ok));
    world.run_for(SECOND);
    assert_eq!(since.trace(&world, SERVER), ["0.070 [Client x is offline]"]);
    assert_eq!(since.trace(&world, Y), ["0.120 [Client table updated.]"]);
    at_rest(&world);
}

#[test]
fn without_an_answer_three_notices_leave_in_150_ms_and_then_it_ends() {
    let mut world = world(&["x"]);
    world.kill(SERVER);
    let before = world.sent();
    world.leave(X);
    for notices in 1..=NOTICES {
        assert_eq!(world.sent() - before, u64::from(notices));
        world.run_for(NOTICE_EVERY - us(1));
        assert_eq!(world.sent() - before, u64::from(notices), "nothing more a moment before");
        assert!(world.ending(X).is_none());
        world.run_for(us(1));
    }
    assert_eq!(world.ending(X).map(|ending| ending.status), Some(Status::Ok));
    assert_eq!(world.sent() - before, u64::from(NOTICES));
}

#[test]
fn the_last_notice_alone_is_enough() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    world.drop_next(X, SERVER, NOTICES - 1);
    world.leave(X);
    world.run_for(SECOND);
    assert_eq!(since.trace(&world, SERVER), ["100.070 [Client x is offline]"]);
    at_rest(&world);
}

#[test]
fn the_notice_of_one_that_was_found_silent_is_answered_and_changes_nothing() {
    let mut world = world(&["x", "y"]);
    world.cut(X, SERVER);
    world.cut(SERVER, X);
    let before = mark(&world);
    world.type_line(Y, "send_all hi");
    world.run_for(2 * SECOND);
    assert_eq!(before.lines(&world, SERVER), ["[Client x is offline]"]);
    world.heal();
    let (since, sent, written) = (mark(&world), world.sent(), world.disk_history().len());
    world.leave(X);
    world.run_for(us(100));
    assert_eq!(world.ending(X).map(|ending| ending.status), Some(Status::Ok), "it is answered");
    world.run_for(5 * SECOND);
    for actor in [SERVER, Y] {
        assert_eq!(since.lines(&world, actor), [] as [&str; 0], "they know already");
    }
    assert_eq!(world.sent() - sent, 2, "the notice and its answer");
    assert_eq!(world.disk_history().len(), written);
    at_rest(&world);
}

#[test]
fn what_is_held_in_a_group_is_shown_before_the_end() {
    let mut world = world(&["x", "y"]);
    world.type_line(X, "create_group g");
    world.run_for(SECOND);
    world.type_line(X, "join_group g");
    world.run_for(SECOND);
    world.type_line(Y, "send x hi");
    world.run_for(SECOND);
    let since = mark(&world);
    world.leave(X);
    world.run_for(SECOND);
    assert_eq!(since.lines(&world, X), ["y: hi"]);
    assert_eq!(since.lines(&world, SERVER), ["[Client x left group g]", "[Client x is offline]"]);
    at_rest(&world);
}

#[test]
fn the_end_of_input_waits_for_outcomes() {
    let mut world = world(&["x", "y"]);
    world.kill(Y);
    let since = mark(&world);
    world.set_path(X, Y, trace::DEAD);
    world.type_line(X, "send y hi");
    world.finish(X);
    world.run_for(ms(1000));
    assert_eq!(since.lines(&world, X), ["[No ACK from y, message sent to server.]"]);
    assert!(world.ending(X).is_none());
    world.run_for(SECOND);
    assert_eq!(since.lines(&world, X).last().map(String::as_str), Some("[Messages received by the server and saved]"));
    assert_eq!(world.ending(X).map(|ending| ending.status), Some(Status::Ok));
}

#[test]
fn a_de_registration_without_a_server_ends_the_program_after_five_attempts() {
    let mut world = world(&["x"]);
    world.kill(SERVER);
    let since = mark(&world);
    world.type_line(X, "dereg");
    world.run_for(us(2_499_999));
    assert_eq!(since.trace(&world, X), [] as [&str; 0]);
    world.run_for(us(1));
    assert_eq!(since.trace(&world, X), ["2500.000 [Server not responding]"]);
    let ending = world.ending(X).expect("an end");
    assert_eq!((ending.status, ending.exiting), (Status::Environment, true));
}

#[test]
fn commands_without_outcome_end_with_the_program() {
    let mut world = world(&["x", "y"]);
    world.pause(2, true);
    world.type_line(1, "send y one");
    world.type_line(1, "send y two");
    world.leave(1);
    world.run_for(SECOND);
    let done = |event: &Event| match &event.body {
        Body::Client(ClientEvent::Done { ok, reason }) => Some((event.cmd, *ok, *reason)),
        _ => None,
    };
    let done: Vec<_> = world.log(1).iter().filter_map(|(_, event)| done(event)).collect();
    assert_eq!(done, [(Some(1), false, Some(Reason::Interrupted)), (Some(2), false, Some(Reason::Interrupted))]);
    assert_eq!(world.ending(1).map(|ending| ending.status), Some(Status::Ok));
}

/// A world in which a message for y waits in front of its output, which takes nothing.
fn in_the_middle_of_showing() -> Simulation {
    let mut world = world(&["x", "y"]);
    world.block(Y, true);
    world.type_line(X, "send_all hi");
    world.run_for(ms(10));
    world
}

#[test]
fn what_is_just_being_shown_is_acknowledged_before_the_notice() {
    let mut world = in_the_middle_of_showing();
    world.leave(Y);
    world.run_for(ms(40));
    assert!(world.ending(Y).is_none() && world.disk_holds() == (1, 0), "its last words are awaited");
    world.block(Y, false);
    world.run_for(SECOND);
    assert_eq!((world.disk_holds(), world.ending(Y).is_some()), ((0, 0), true));
    let since = mark(&world);
    world.start(Y);
    world.run_for(SECOND);
    assert_eq!(since.lines(&world, Y)[..1], ["[Welcome, You are registered.]"]);
    assert!(!since.lines(&world, Y).contains(&"[You have messages]".to_owned()), "it had them");
    at_rest(&world);
}

#[test]
fn an_output_that_takes_nothing_delays_the_notice_by_50_ms_and_the_end_not_at_all() {
    let mut world = in_the_middle_of_showing();
    world.kill(SERVER);
    world.kill(X);
    let before = world.sent();
    world.leave(Y);
    for (sent, time) in [(0, NOTICE_EVERY), (1, NOTICE_EVERY), (2, NOTICE_EVERY - us(1))] {
        assert_eq!(world.sent() - before, sent);
        world.run_for(time);
    }
    assert!(world.ending(Y).is_none());
    world.run_for(us(1));
    assert!(world.ending(Y).is_some());
}

#[test]
fn who_leaves_while_it_comes_back_says_so() {
    let mut world = world(&["x", "y"]);
    world.type_line(Y, "dereg");
    world.run_for(SECOND);
    let since = mark(&world);
    world.type_line(Y, "reg");
    let registered = "[Client y registered]".to_owned();
    while !since.lines(&world, SERVER).contains(&registered) {
        world.step(world.now() + SECOND);
    }
    world.leave(Y);
    world.run_for(ms(10));
    assert_eq!(since.lines(&world, SERVER), [&registered, "[Client y is offline]"]);
    world.run_for(SECOND);
    at_rest(&world);
}

#[test]
fn who_left_and_does_not_acknowledge_it_is_answered_for_50_s_and_no_longer() {
    let mut world = world(&["x", "y"]);
    world.kill(X);
    world.run_for(SECOND * 200);
    world.type_line(Y, "dereg");
    world.run_for(us(60));
    world.kill(Y);
    world.run_for(SECOND * 60);
    let before = world.sent();
    world.run_for(SECOND * 60);
    assert_eq!(world.sent(), before, "nobody is spoken to");
    assert!(world.server_machine().is_some_and(Server::is_idle));
}
