//! Tests of names and their holders. A holder that answers keeps its name, and a holder that is gone loses it.

use crate::alone::{NOW, at, connect, events, reg, send_datagram, server};
use crate::trace::{SECOND, at_rest, mark, simulation, us};
use chat::proto::console::Console;
use chat::proto::event::server::ServerEvent;
use chat::proto::id::Incarnation;
use chat::proto::machine::{Input, Machine};
use chat::proto::record::PersistedState;
use chat::proto::server::{LIMIT, NAME_KEPT, Server, WAITING};
use chat::proto::status::Status;
use chat::proto::time::Now;
use chat::proto::wire::{Frame, Header};
use chat::sim::simulation::{SERVER, Simulation};

const X: usize = 1;

#[test]
fn a_holder_that_answers_keeps_its_name_and_the_other_client_ends() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    let other = sim.client("x");
    sim.run_for(SECOND);
    // Hello, challenge, request, ping, answer and refusal: one datagram each.
    assert_eq!(since.trace(&sim, other), ["0.300 [The name x is already in use.]"]);
    let ending = sim.ending(other).expect("an end");
    assert_eq!((ending.status, ending.exiting), (Status::Failed, false));
    assert_eq!(since.trace(&sim, X), [] as [&str; 0], "the holder notices nothing");
    assert_eq!(since.trace(&sim, 2), [] as [&str; 0]);
    at_rest(&sim);
}

#[test]
fn a_holder_that_is_gone_loses_its_name_after_500_ms() {
    let mut sim = simulation(&["x", "y"]);
    sim.cut(SERVER, X);
    let since = mark(&sim);
    let other = sim.client("x");
    sim.run_for(us(500_169));
    assert_eq!(since.trace(&sim, other), [] as [&str; 0]);
    sim.run_for(us(51));
    assert_eq!(since.trace(&sim, other)[..1], ["500.220 [Welcome, You are registered.]"]);
    sim.run_for(SECOND);
    assert_eq!(since.lines(&sim, SERVER), ["[Client x is offline]", "[Client x registered]"]);
    assert_eq!(since.lines(&sim, 2), ["[Client table updated.]"], "gone and back in one update");
    // The client that lost the name finds out when its datagrams arrive again.
    sim.heal();
    sim.run_for(30 * SECOND);
    assert_eq!(since.lines(&sim, X), ["[The name x is already in use.]"]);
    sim.type_line(X, "send y hi");
    sim.run_for(SECOND);
    assert_eq!(since.lines(&sim, X).last().map(String::as_str), Some("[You are offline. Type reg to come back.]"));
    at_rest(&sim);
}

#[test]
fn a_killed_holder_that_starts_again_gets_its_name_after_500_ms() {
    let mut sim = simulation(&["x"]);
    sim.kill(X);
    let since = mark(&sim);
    sim.start(X);
    sim.run_for(SECOND);
    // The new incarnation answers that the earlier one is gone, but anybody could say so.
    assert_eq!(since.trace(&sim, X)[0], "500.220 [Welcome, You are registered.]");
    at_rest(&sim);
}

#[test]
fn a_client_stays_offline_after_a_refused_reg() {
    let mut sim = simulation(&["x", "y"]);
    sim.type_line(X, "dereg");
    sim.run_for(SECOND);
    let other = sim.client("x");
    sim.run_for(SECOND);
    let since = mark(&sim);
    sim.type_line(X, "reg");
    sim.run_for(SECOND);
    sim.type_line(X, "send y hi");
    sim.type_line(X, "table");
    sim.run_for(SECOND);
    let lines = since.lines(&sim, X);
    assert_eq!(lines[..2], ["[The name x is already in use.]", "[You are offline. Type reg to come back.]"]);
    assert!(lines[2].starts_with("name  address"), "{}", lines[2]);
    assert!(sim.ending(X).is_none(), "it still runs");
    sim.leave(other);
    sim.run_for(SECOND);
    sim.type_line(X, "reg");
    sim.run_for(SECOND);
    assert_eq!(since.lines(&sim, X)[3], "[Welcome, You are registered.]");
    at_rest(&sim);
}

#[test]
fn a_client_that_is_refused_when_it_registers_again_drops_its_requests() {
    let mut sim = simulation(&["x", "y"]);
    sim.cut(X, SERVER);
    sim.cut(SERVER, X);
    let other = sim.client("x");
    sim.run_for(SECOND);
    assert_eq!(sim.lines(other)[0], "[Welcome, You are registered.]");
    let since = mark(&sim);
    sim.heal();
    sim.type_line(X, "join_group g");
    sim.type_line(X, "send_all hi");
    sim.run_for(10 * SECOND);
    let x = ["[The name x is already in use.]", "[You are offline. Type reg to come back.]"];
    assert_eq!(since.lines(&sim, X), x);
    assert!(sim.ending(X).is_none(), "it stays");
    assert_eq!(sim.client_machine(X).map(|client| client.unsettled()), Some(0));
    at_rest(&sim);
}

#[test]
fn of_many_claims_exactly_one_gets_the_name_of_a_holder_that_is_gone() {
    let mut sim = simulation(&["x"]);
    sim.cut(SERVER, X);
    let others: Vec<usize> = (0..WAITING + 2).map(|_| sim.client("x")).collect();
    sim.run_for(3 * SECOND);
    let welcome = |other: &&usize| sim.lines(**other).iter().any(|line| line == "[Welcome, You are registered.]");
    assert_eq!(others.iter().filter(welcome).count(), 1);
    let refused = |other: &&usize| sim.lines(**other) == ["[The name x is already in use.]"];
    assert_eq!(others.iter().filter(refused).count(), WAITING + 1);
}

/// The clients that registered and that went offline since the last call.
fn presence_changes(server: &mut Server) -> Vec<String> {
    let changes = events(server).into_iter().filter_map(|event| match event {
        ServerEvent::ClientRegistered { name, addr } => Some(format!("{name} at {addr}")),
        ServerEvent::ClientOffline { name, reason } => Some(format!("{name} {reason}")),
        _ => None,
    });
    changes.collect()
}

/// Lets the time of all pings end.
fn let_pings_fail(server: &mut Server) {
    server.handle(Now { mono: NOW.mono + LIMIT, ..NOW }, Input::Timeout);
}

#[test]
fn only_a_client_itself_can_report_that_it_is_gone() {
    let mut server = server(PersistedState::default());
    let (mut x, me) = connect(&mut server, Incarnation(1), at(7000), vec![reg("x")]);
    assert_eq!(presence_changes(&mut server), ["x at 10.0.0.2:7000"]);
    send_datagram(&mut server, at(7000), &Header::gone(Incarnation(1), me), vec![]);
    send_datagram(&mut server, at(7000), &Header::new(Incarnation(1), Some(me)), vec![Frame::Bye]);
    assert_eq!(presence_changes(&mut server), [] as [&str; 0], "without a tag");
    x.push_unnumbered(me, Frame::Bye);
    let [bye] = &x.transmit(NOW.mono)[..] else { panic!("one datagram") };
    server.handle(NOW, Input::Datagram { from: at(7001), bytes: bye });
    assert_eq!(presence_changes(&mut server), [] as [&str; 0], "from another address");
    server.handle(NOW, Input::Datagram { from: at(7000), bytes: bye });
    assert_eq!(presence_changes(&mut server), ["x leave"]);
}

#[test]
fn requests_after_the_notice_of_a_client_change_nothing() {
    let mut server = server(PersistedState::default());
    let (mut x, me) = connect(&mut server, Incarnation(1), at(7000), vec![]);
    x.push(me, reg("x"));
    let late = x.transmit(NOW.mono);
    x.push_unnumbered(me, Frame::Bye);
    x.deliver(NOW, &mut server);
    for bytes in late {
        server.handle(NOW, Input::Datagram { from: at(7000), bytes: &bytes });
    }
    assert_eq!(presence_changes(&mut server), [] as [&str; 0]);
    assert!(server.is_idle());
}

#[test]
fn the_first_claim_that_still_waits_gets_the_name_of_a_holder_that_is_gone() {
    let mut server = server(PersistedState::default());
    connect(&mut server, Incarnation(1), at(7001), vec![reg("x")]);
    let (mut first, me) = connect(&mut server, Incarnation(2), at(7002), vec![reg("x")]);
    for (incarnation, port) in [(Incarnation(3), 7003), (Incarnation(4), 7004)] {
        connect(&mut server, incarnation, at(port), vec![reg("x")]);
    }
    assert_eq!(presence_changes(&mut server), [] as [&str; 0], "the holder is asked");
    first.push_unnumbered(me, Frame::Bye);
    first.deliver(NOW, &mut server);
    let_pings_fail(&mut server);
    assert_eq!(presence_changes(&mut server), ["x silent", "x at 10.0.0.2:7003"]);
}

#[test]
fn a_client_that_claims_two_names_gets_one() {
    let mut server = server(PersistedState::default());
    connect(&mut server, Incarnation(1), at(7001), vec![reg("x")]);
    connect(&mut server, Incarnation(2), at(7002), vec![reg("y")]);
    let other = Frame::Reg { r: 2, name: "y".parse().unwrap(), via: at(1).ip() };
    connect(&mut server, Incarnation(3), at(7003), vec![reg("x"), other]);
    presence_changes(&mut server);
    let_pings_fail(&mut server);
    assert_eq!(presence_changes(&mut server), ["x silent", "x at 10.0.0.2:7003", "y silent"]);
}

/// The names in the table that the server shows.
fn names(sim: &mut Simulation) -> Vec<String> {
    sim.console(Console::Table);
    sim.run_for(us(20));
    let table = sim.lines(SERVER).pop().expect("a table");
    table.lines().skip(1).filter_map(|row| row.split(' ').next().map(str::to_owned)).collect()
}

#[test]
fn names_are_dropped_when_they_were_offline_for_30_days_and_have_no_mail() {
    let mut sim = simulation(&["x", "y", "z"]);
    for gone in [2, 3] {
        sim.leave(gone);
    }
    sim.run_for(SECOND);
    sim.type_line(X, "send z mail");
    sim.run_for(SECOND);
    sim.leave(X);
    // The server checks once an hour.
    sim.run_for(NAME_KEPT - 3600 * SECOND);
    assert_eq!(names(&mut sim), ["x", "y", "z"]);
    sim.run_for(2 * 3600 * SECOND);
    assert_eq!(names(&mut sim), ["z"]);
    let since = mark(&sim);
    sim.start(X);
    sim.run_for(SECOND);
    sim.start(3);
    sim.run_for(SECOND);
    sim.type_line(X, "send y hi");
    sim.run_for(SECOND);
    let x = ["[Offline message sent at 2026-01-01T00:00:02Z received by z.]", "[Client y does not exist.]"];
    assert_eq!(since.lines(&sim, X)[3..], x);
    assert_eq!(sim.lines(3).iter().filter(|line| line.ends_with("mail")).count(), 1);
    at_rest(&sim);
}
