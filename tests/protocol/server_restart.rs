//! A server that starts again finds its clients, and they find it.

use crate::trace::{SECOND, at_rest, mark, ms, us, world};
use chat::netem::link_model::LinkModel;
use chat::proto::status::Status;
use chat::sim::simulation::{SERVER, Simulation};

const X: usize = 1;
const Y: usize = 2;

#[test]
fn a_server_that_starts_again_asks_everybody_and_they_register_by_themselves() {
    let mut world = world(&["x", "y"]);
    world.kill(SERVER);
    world.run_for(SECOND);
    let since = mark(&world);
    world.start(SERVER);
    world.run_for(SECOND);
    let restarted = "0.070 [The server was restarted, registering again.]";
    for client in [X, Y] {
        let trace = since.trace(&world, client);
        assert_eq!(trace[..2], [restarted, "0.270 [Welcome, You are registered.]"]);
        assert_eq!(since.lines(&world, client).iter().filter(|line| line.starts_with("[Welcome")).count(), 1);
    }
    assert_eq!(
        since.lines(&world, SERVER)[..2],
        ["[Server listening on port 7000]", "[2 names and 0 messages from disk]"]
    );
    at_rest(&world);
}

#[test]
fn who_is_not_there_any_more_is_offline_one_second_later() {
    let mut world = world(&["x", "y"]);
    world.kill(SERVER);
    world.kill(Y);
    world.run_for(SECOND);
    let since = mark(&world);
    world.start(SERVER);
    world.run_for(us(1_000_019));
    assert!(!since.lines(&world, SERVER).contains(&"[Client y is offline]".to_owned()));
    world.run_for(us(1));
    assert_eq!(since.trace(&world, SERVER).last().map(String::as_str), Some("1000.020 [Client y is offline]"));
    world.run_for(SECOND);
    at_rest(&world);
}

#[test]
fn a_client_that_the_question_missed_is_told_when_it_speaks() {
    let mut world = world(&["x", "y"]);
    world.kill(SERVER);
    world.cut(SERVER, X);
    world.start(SERVER);
    world.run_for(2 * SECOND);
    world.heal();
    let since = mark(&world);
    world.type_line(X, "send_all hi");
    world.run_for(SECOND);
    let x = [
        "0.120 [The server was restarted, registering again.]",
        "0.320 [Welcome, You are registered.]",
        "0.620 [Message received by Server.]",
    ];
    let trace = since.trace(&world, X);
    let said: Vec<&String> = trace.iter().filter(|line| !line.ends_with("[Client table updated.]")).collect();
    assert_eq!(said, x);
    assert!(since.lines(&world, Y).contains(&"[Channel_Message x: hi]".to_owned()));
    at_rest(&world);
}

#[test]
fn a_client_that_says_nothing_is_told_at_its_keep_alive() {
    let mut world = world(&["x"]);
    world.kill(SERVER);
    world.cut(SERVER, X);
    world.start(SERVER);
    world.run_for(2 * SECOND);
    world.heal();
    let since = mark(&world);
    world.run_for(20 * SECOND);
    assert_eq!(
        since.lines(&world, X)[..2],
        ["[The server was restarted, registering again.]", "[Welcome, You are registered.]"]
    );
    at_rest(&world);
}

#[test]
fn a_server_that_lost_its_disk_is_told_everything_by_its_clients() {
    let mut world = world(&["x", "y"]);
    world.kill(SERVER);
    world.wipe_disk();
    world.start(SERVER);
    world.run_for(20 * SECOND);
    let since = mark(&world);
    world.type_line(X, "send y hi");
    world.type_line(Y, "send x ho");
    world.run_for(SECOND);
    assert_eq!(since.trace(&world, X), ["0.070 y: ho", "0.140 [Message received by y.]"]);
    assert_eq!(since.trace(&world, Y), ["0.070 x: hi", "0.140 [Message received by x.]"]);
    at_rest(&world);
}

#[test]
fn what_was_kept_is_still_there() {
    let mut world = world(&["x", "y", "z"]);
    world.type_line(X, "create_group g");
    world.type_line(Y, "dereg");
    world.run_for(SECOND);
    world.type_line(X, "send y one");
    world.type_line(X, "send_all two");
    world.run_for(SECOND);
    world.kill(SERVER);
    world.start(SERVER);
    world.run_for(5 * SECOND);
    let since = mark(&world);
    world.type_line(Y, "reg");
    world.type_line(X, "list_groups");
    world.run_for(SECOND);
    let y = [
        "[Welcome, You are registered.]",
        "[You have messages]",
        "x: 2026-01-01T00:00:02Z one",
        "[Channel_Message x: 2026-01-01T00:00:02Z two]",
    ];
    assert_eq!(since.lines(&world, Y)[..4], y);
    assert!(since.lines(&world, X).contains(&"[Available group chats:] / g".to_owned()));
    at_rest(&world);
}

#[test]
fn a_server_that_dies_during_a_registration_may_come_back_in_time() {
    let mut world = world(&["y"]);
    // The request was received, and nothing else happened yet: y, who has the name, is being asked.
    world.cut(SERVER, 1);
    let other = world.client("y");
    world.run_for(ms(300));
    world.kill(SERVER);
    world.run_for(ms(700));
    world.kill(1);
    world.start(SERVER);
    let since = mark(&world);
    world.run_for(5 * SECOND);
    assert_eq!(since.lines(&world, other).first().map(String::as_str), Some("[Welcome, You are registered.]"));
    at_rest(&world);
}

#[test]
fn a_request_without_an_answer_ends_the_program_2_5_s_after_the_servers_last_word() {
    let mut world = world(&["x", "y"]);
    world.type_line(Y, "dereg");
    world.run_for(SECOND);
    world.kill(SERVER);
    let since = mark(&world);
    world.type_line(X, "send y hi");
    world.run_for(us(2_499_999));
    assert_eq!(since.trace(&world, X), ["0.020 [No ACK from y, message sent to server.]"]);
    world.run_for(us(1));
    assert_eq!(since.trace(&world, X)[1..], ["2500.000 [Server not responding]"]);
    let ending = world.ending(X).expect("an end");
    assert_eq!((ending.status, ending.exiting), (Status::Environment, true));
}

#[test]
fn a_server_that_dies_while_it_asks_is_noticed_2_5_s_after_its_last_word() {
    let mut world = world(&["x", "y"]);
    world.pause(Y, true);
    let since = mark(&world);
    world.type_line(X, "send y hi");
    world.run_for(ms(700));
    world.kill(SERVER);
    // It said at 500.100 that it was working on it.
    world.run_for(us(2_300_099));
    assert_eq!(since.lines(&world, X), ["[No ACK from y, message sent to server.]"]);
    world.run_for(us(1));
    assert_eq!(since.trace(&world, X)[1..], ["3000.100 [Server not responding]"]);
}

#[test]
fn send_all_without_a_server_fails_and_the_client_stays() {
    let mut world = world(&["x", "y"]);
    world.kill(SERVER);
    let since = mark(&world);
    world.type_line(X, "send_all hi");
    world.run_for(us(2_500_019));
    assert_eq!(since.trace(&world, X), [] as [&str; 0]);
    world.run_for(10 * SECOND);
    assert_eq!(since.trace(&world, X), ["2500.020 [Server not responding.]"]);
    assert!(world.ending(X).is_none());
}

#[test]
fn a_message_under_way_to_a_name_that_a_new_server_does_not_know_ends() {
    let mut world = world(&["x", "y"]);
    world.kill(Y);
    world.kill(SERVER);
    world.wipe_disk();
    world.start(SERVER);
    let since = mark(&world);
    // The first makes x hear that the server knows nobody, while the second waits for y.
    world.type_line(X, "send_all yo");
    world.type_line(X, "send y hi");
    world.run_for(10 * SECOND);
    assert!(since.lines(&world, X).contains(&"[Client y does not exist.]".to_owned()), "{:?}", since.lines(&world, X));
    assert_eq!(world.client_machine(X).map(chat::proto::client::Client::unsettled), Some(0));
    at_rest(&world);
}

#[test]
fn a_server_that_is_lost_is_told_once_and_last() {
    let mut world = world(&["x", "a", "b", "c"]);
    for away in [2, 3, 4] {
        world.type_line(away, "dereg");
    }
    world.run_for(SECOND);
    world.kill(SERVER);
    let since = mark(&world);
    for away in ["a", "b", "c"] {
        world.type_line(X, &format!("send {away} hi"));
    }
    world.run_for(10 * SECOND);
    let lines = since.lines(&world, X);
    let asked = ["a", "b", "c"].map(|away| format!("[No ACK from {away}, message sent to server.]"));
    assert_eq!(lines[..3], asked);
    assert_eq!(lines[3..], ["[Server not responding]"]);
    let ending = world.ending(X).expect("x has ended");
    assert_eq!((ending.status, ending.exiting), (Status::Environment, true));
}

#[test]
fn a_server_that_is_asked_to_end_keeps_what_it_has_accepted() {
    let mut world = Simulation::new(1, LinkModel::PERFECT);
    world.client("x");
    // The registration has come, and is not on disk yet.
    world.run_for(us(200));
    let on_disk = world.disk_history().len();
    world.leave(SERVER);
    assert!(world.ending(SERVER).is_some());
    assert!(world.disk_history().len() > on_disk);
}
