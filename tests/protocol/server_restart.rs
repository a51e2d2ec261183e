//! Tests of a server that restarts. It finds its clients, and they find it.

use crate::trace::{SECOND, at_rest, mark, ms, simulation, us};
use chat::netem::link_model::LinkModel;
use chat::proto::status::Status;
use chat::sim::simulation::{SERVER, Simulation};

const X: usize = 1;
const Y: usize = 2;

#[test]
fn a_restarted_server_pings_all_clients_and_they_register_again() {
    let mut sim = simulation(&["x", "y"]);
    sim.kill(SERVER);
    sim.run_for(SECOND);
    let since = mark(&sim);
    sim.start(SERVER);
    sim.run_for(SECOND);
    // Its tag on the welcome shows that it is the same server.
    let restarted = "0.270 [The server was restarted, registering again.]";
    for client in [X, Y] {
        let trace = since.trace(&sim, client);
        assert_eq!(trace[..2], [restarted, "0.270 [Welcome, You are registered.]"]);
        assert_eq!(since.lines(&sim, client).iter().filter(|line| line.starts_with("[Welcome")).count(), 1);
    }
    assert_eq!(
        since.lines(&sim, SERVER)[..2],
        ["[Server listening on port 7000]", "[2 names and 0 messages from disk]"]
    );
    at_rest(&sim);
}

#[test]
fn a_client_that_is_gone_is_offline_one_second_after_a_restart() {
    let mut sim = simulation(&["x", "y"]);
    sim.kill(SERVER);
    sim.kill(Y);
    sim.run_for(SECOND);
    let since = mark(&sim);
    sim.start(SERVER);
    sim.run_for(us(1_000_019));
    assert!(!since.lines(&sim, SERVER).contains(&"[Client y is offline]".to_owned()));
    sim.run_for(us(1));
    assert_eq!(since.trace(&sim, SERVER).last().map(String::as_str), Some("1000.020 [Client y is offline]"));
    sim.run_for(SECOND);
    at_rest(&sim);
}

#[test]
fn a_client_that_missed_the_ping_registers_again_at_its_next_request() {
    let mut sim = simulation(&["x", "y"]);
    sim.kill(SERVER);
    sim.cut(SERVER, X);
    sim.start(SERVER);
    sim.run_for(2 * SECOND);
    sim.heal();
    let since = mark(&sim);
    sim.type_line(X, "send_all hi");
    sim.run_for(SECOND);
    let x = [
        "0.320 [The server was restarted, registering again.]",
        "0.320 [Welcome, You are registered.]",
        "0.620 [Message received by Server.]",
    ];
    let trace = since.trace(&sim, X);
    let own: Vec<&String> = trace.iter().filter(|line| !line.ends_with("[Client table updated.]")).collect();
    assert_eq!(own, x);
    assert!(since.lines(&sim, Y).contains(&"[Channel_Message x: hi]".to_owned()));
    at_rest(&sim);
}

#[test]
fn a_silent_client_that_missed_the_ping_registers_again_at_its_keep_alive() {
    let mut sim = simulation(&["x"]);
    sim.kill(SERVER);
    sim.cut(SERVER, X);
    sim.start(SERVER);
    sim.run_for(2 * SECOND);
    sim.heal();
    let since = mark(&sim);
    sim.run_for(20 * SECOND);
    assert_eq!(
        since.lines(&sim, X)[..2],
        ["[The server was restarted, registering again.]", "[Welcome, You are registered.]"]
    );
    at_rest(&sim);
}

#[test]
fn the_clients_of_a_server_that_lost_its_disk_register_again() {
    let mut sim = simulation(&["x", "y"]);
    sim.kill(SERVER);
    sim.wipe_disk();
    sim.start(SERVER);
    sim.run_for(20 * SECOND);
    let since = mark(&sim);
    sim.type_line(X, "send y hi");
    sim.type_line(Y, "send x ho");
    sim.run_for(SECOND);
    assert_eq!(since.trace(&sim, X), ["0.070 y: ho", "0.140 [Message received by y.]"]);
    assert_eq!(since.trace(&sim, Y), ["0.070 x: hi", "0.140 [Message received by x.]"]);
    at_rest(&sim);
}

#[test]
fn stored_mail_and_groups_survive_a_restart() {
    let mut sim = simulation(&["x", "y", "z"]);
    sim.type_line(X, "create_group g");
    sim.type_line(Y, "dereg");
    sim.run_for(SECOND);
    sim.type_line(X, "send y one");
    sim.type_line(X, "send_all two");
    sim.run_for(SECOND);
    sim.kill(SERVER);
    sim.start(SERVER);
    sim.run_for(5 * SECOND);
    let since = mark(&sim);
    sim.type_line(Y, "reg");
    sim.type_line(X, "list_groups");
    sim.run_for(SECOND);
    let y = [
        "[Welcome, You are registered.]",
        "[You have messages]",
        "x: 2026-01-01T00:00:02Z one",
        "[Channel_Message x: 2026-01-01T00:00:02Z two]",
    ];
    assert_eq!(since.lines(&sim, Y)[..4], y);
    assert!(since.lines(&sim, X).contains(&"[Available group chats:] / g".to_owned()));
    at_rest(&sim);
}

#[test]
fn a_registration_survives_a_restart_of_the_server() {
    let mut sim = simulation(&["y"]);
    // The server has received the request and pings the holder of the name.
    sim.cut(SERVER, 1);
    let other = sim.client("y");
    sim.run_for(ms(300));
    sim.kill(SERVER);
    sim.run_for(ms(700));
    sim.kill(1);
    sim.start(SERVER);
    let since = mark(&sim);
    sim.run_for(5 * SECOND);
    assert_eq!(since.lines(&sim, other).first().map(String::as_str), Some("[Welcome, You are registered.]"));
    at_rest(&sim);
}

#[test]
fn a_request_without_an_answer_ends_the_client_after_2_5_s() {
    let mut sim = simulation(&["x", "y"]);
    sim.type_line(Y, "dereg");
    sim.run_for(SECOND);
    sim.kill(SERVER);
    let since = mark(&sim);
    sim.type_line(X, "send y hi");
    sim.run_for(us(2_499_999));
    assert_eq!(since.trace(&sim, X), ["0.020 [No ACK from y, message sent to server.]"]);
    sim.run_for(us(1));
    assert_eq!(since.trace(&sim, X)[1..], ["2500.000 [Server not responding]"]);
    let ending = sim.ending(X).expect("an end");
    assert_eq!((ending.status, ending.exiting), (Status::Environment, true));
}

#[test]
fn a_server_killed_during_a_ping_is_noticed_2_5_s_after_its_last_datagram() {
    let mut sim = simulation(&["x", "y"]);
    sim.pause(Y, true);
    let since = mark(&sim);
    sim.type_line(X, "send y hi");
    sim.run_for(ms(700));
    sim.kill(SERVER);
    // Its last datagram, at 500.100, acknowledged the request.
    sim.run_for(us(2_300_099));
    assert_eq!(since.lines(&sim, X), ["[No ACK from y, message sent to server.]"]);
    sim.run_for(us(1));
    assert_eq!(since.trace(&sim, X)[1..], ["3000.100 [Server not responding]"]);
}

#[test]
fn send_all_without_a_server_fails_and_the_client_continues() {
    let mut sim = simulation(&["x", "y"]);
    sim.kill(SERVER);
    let since = mark(&sim);
    sim.type_line(X, "send_all hi");
    sim.run_for(us(2_500_019));
    assert_eq!(since.trace(&sim, X), [] as [&str; 0]);
    sim.run_for(10 * SECOND);
    assert_eq!(since.trace(&sim, X), ["2500.020 [Server not responding.]"]);
    assert!(sim.ending(X).is_none());
}

#[test]
fn a_message_under_way_to_a_name_that_a_new_server_does_not_know_fails() {
    let mut sim = simulation(&["x", "y"]);
    sim.kill(Y);
    sim.kill(SERVER);
    sim.wipe_disk();
    sim.start(SERVER);
    let since = mark(&sim);
    // Through the first command x learns that the server has no names. Meanwhile the second message waits for y.
    sim.type_line(X, "send_all yo");
    sim.type_line(X, "send y hi");
    sim.run_for(10 * SECOND);
    assert!(since.lines(&sim, X).contains(&"[Client y does not exist.]".to_owned()), "{:?}", since.lines(&sim, X));
    assert_eq!(sim.client_machine(X).map(chat::proto::client::Client::unsettled), Some(0));
    at_rest(&sim);
}

#[test]
fn a_lost_server_is_reported_once_and_last() {
    let mut sim = simulation(&["x", "a", "b", "c"]);
    for away in [2, 3, 4] {
        sim.type_line(away, "dereg");
    }
    sim.run_for(SECOND);
    sim.kill(SERVER);
    let since = mark(&sim);
    for away in ["a", "b", "c"] {
        sim.type_line(X, &format!("send {away} hi"));
    }
    sim.run_for(10 * SECOND);
    let lines = since.lines(&sim, X);
    let asked = ["a", "b", "c"].map(|away| format!("[No ACK from {away}, message sent to server.]"));
    assert_eq!(lines[..3], asked);
    assert_eq!(lines[3..], ["[Server not responding]"]);
    let ending = sim.ending(X).expect("x has ended");
    assert_eq!((ending.status, ending.exiting), (Status::Environment, true));
}

#[test]
fn a_server_that_shuts_down_syncs_its_records() {
    let mut sim = Simulation::new(1, LinkModel::PERFECT);
    sim.client("x");
    // The registration has arrived and is not on disk yet.
    sim.run_for(us(200));
    let on_disk = sim.disk_history().len();
    sim.leave(SERVER);
    assert!(sim.ending(SERVER).is_some());
    assert!(sim.disk_history().len() > on_disk);
}
