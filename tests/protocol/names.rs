//! Who may have a name: a live holder keeps it, one that is gone loses it.

use crate::alone::{at, enter, events, reg, server, tell};
use crate::trace::{SECOND, at_rest, mark, us, world};
use chat::proto::console::Console;
use chat::proto::event::server::ServerEvent;
use chat::proto::id::Incarnation;
use chat::proto::record::PersistedState;
use chat::proto::server::{NAME_KEPT, Server, WAITING};
use chat::proto::status::Status;
use chat::proto::wire::{Frame, Header};
use chat::sim::simulation::{SERVER, Simulation};

const X: usize = 1;

#[test]
fn a_live_holder_keeps_its_name_and_the_newcomer_ends_with_status_4() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    let other = world.client("x");
    world.run_for(SECOND);
    // Challenge, request, question, answer, refusal: one way each.
    assert_eq!(since.trace(&world, other), ["0.300 [The name x is already in use.]"]);
    let ending = world.ending(other).expect("an end");
    assert_eq!((ending.status, ending.exiting), (Status::Failed, false));
    assert_eq!(since.trace(&world, X), [] as [&str; 0], "the holder notices nothing");
    assert_eq!(since.trace(&world, 2), [] as [&str; 0]);
    at_rest(&world);
}

#[test]
fn a_holder_that_is_gone_loses_its_name_after_500_ms() {
    let mut world = world(&["x", "y"]);
    world.cut(SERVER, X);
    let since = mark(&world);
    let other = world.client("x");
    world.run_for(us(500_169));
    assert_eq!(since.trace(&world, other), [] as [&str; 0]);
    world.run_for(us(51));
    assert_eq!(since.trace(&world, other)[..1], ["500.220 [Welcome, You are registered.]"]);
    world.run_for(SECOND);
    assert_eq!(since.lines(&world, SERVER), ["[Client x is offline]", "[Client x registered]"]);
    assert_eq!(since.lines(&world, 2), ["[Client table updated.]"], "gone and back in one update");
    // The one that lost it is told so when it is heard again.
    world.heal();
    world.run_for(30 * SECOND);
    assert_eq!(
        since.lines(&world, X),
        ["[The server was restarted, registering again.]", "[The name x is already in use.]"]
    );
    world.type_line(X, "send y hi");
    world.run_for(SECOND);
    assert_eq!(since.lines(&world, X).last().map(String::as_str), Some("[You are offline. Type reg to come back.]"));
    at_rest(&world);
}

#[test]
fn a_killed_holder_that_starts_again_has_its_name_at_once() {
    let mut world = world(&["x"]);
    world.kill(X);
    let since = mark(&world);
    world.start(X);
    world.run_for(SECOND);
    // The address answers for the earlier life: it is not there.
    assert_eq!(since.trace(&world, X)[0], "0.320 [Welcome, You are registered.]");
    at_rest(&world);
}

#[test]
fn a_refused_reg_stays_offline() {
    let mut world = world(&["x", "y"]);
    world.type_line(X, "dereg");
    world.run_for(SECOND);
    let other = world.client("x");
    world.run_for(SECOND);
    let since = mark(&world);
    world.type_line(X, "reg");
    world.run_for(SECOND);
    world.type_line(X, "send y hi");
    world.type_line(X, "table");
    world.run_for(SECOND);
    let lines = since.lines(&world, X);
    assert_eq!(lines[..2], ["[The name x is already in use.]", "[You are offline. Type reg to come back.]"]);
    assert!(lines[2].starts_with("name  address"), "{}", lines[2]);
    assert!(world.ending(X).is_none(), "it still runs");
    world.leave(other);
    world.run_for(SECOND);
    world.type_line(X, "reg");
    world.run_for(SECOND);
    assert_eq!(since.lines(&world, X)[3], "[Welcome, You are registered.]");
    at_rest(&world);
}

#[test]
fn a_client_that_is_refused_when_it_registers_again_drops_what_it_had_asked() {
    let mut world = world(&["x", "y"]);
    world.cut(X, SERVER);
    world.cut(SERVER, X);
    let other = world.client("x");
    world.run_for(SECOND);
    assert_eq!(world.lines(other)[0], "[Welcome, You are registered.]");
    let since = mark(&world);
    world.heal();
    world.type_line(X, "join_group g");
    world.type_line(X, "send_all hi");
    world.run_for(10 * SECOND);
    let x = [
        "[The server was restarted, registering again.]",
        "[The name x is already in use.]",
        "[You are offline. Type reg to come back.]",
    ];
    assert_eq!(since.lines(&world, X), x);
    assert!(world.ending(X).is_none(), "it stays");
    assert_eq!(world.client_machine(X).map(|client| client.unsettled()), Some(0));
    at_rest(&world);
}

#[test]
fn the_first_of_many_newcomers_has_the_name_of_a_dead_holder() {
    let mut world = world(&["x"]);
    world.cut(SERVER, X);
    let others: Vec<usize> = (0..WAITING + 2).map(|_| world.client("x")).collect();
    world.run_for(3 * SECOND);
    let welcome = |other: &&usize| world.lines(**other).iter().any(|line| line == "[Welcome, You are registered.]");
    assert_eq!(others.iter().filter(welcome).count(), 1);
    let refused = |other: &&usize| world.lines(**other) == ["[The name x is already in use.]"];
    assert_eq!(others.iter().filter(refused).count(), WAITING + 1);
}

/// Who was registered, and who was found offline, since the last look.
fn came_and_went(server: &mut Server) -> Vec<String> {
    let told = events(server).into_iter().filter_map(|event| match event {
        ServerEvent::ClientRegistered { name, addr } => Some(format!("{name} at {addr}")),
        ServerEvent::ClientOffline { name, reason } => Some(format!("{name} {reason}")),
        _ => None,
    });
    told.collect()
}

#[test]
fn only_its_own_address_can_say_that_a_life_is_gone() {
    let mut server = server(PersistedState::default());
    let me = enter(&mut server, Incarnation(1), at(7000), |cookie| vec![reg("x", cookie)]);
    assert_eq!(came_and_went(&mut server), ["x at 10.0.0.2:7000"]);
    let gone = Header::gone(Incarnation(1), me);
    tell(&mut server, at(7001), &gone, vec![]);
    assert_eq!(came_and_went(&mut server), [] as [&str; 0]);
    tell(&mut server, at(7000), &gone, vec![]);
    assert_eq!(came_and_went(&mut server), ["x silent"]);
}

#[test]
fn the_first_newcomer_that_is_still_there_has_the_name_of_a_dead_holder() {
    let mut server = server(PersistedState::default());
    let me = enter(&mut server, Incarnation(1), at(7001), |cookie| vec![reg("x", cookie)]);
    for (incarnation, port) in [(Incarnation(2), 7002), (Incarnation(3), 7003), (Incarnation(4), 7004)] {
        enter(&mut server, incarnation, at(port), |cookie| vec![reg("x", cookie)]);
    }
    assert_eq!(came_and_went(&mut server), [] as [&str; 0], "the holder is asked");
    tell(&mut server, at(7002), &Header::new(Incarnation(2), Some(me)), vec![Frame::Bye]);
    tell(&mut server, at(7001), &Header::gone(Incarnation(1), me), vec![]);
    assert_eq!(came_and_went(&mut server), ["x silent", "x at 10.0.0.2:7003"]);
}

#[test]
fn a_newcomer_that_wants_two_names_has_one() {
    let mut server = server(PersistedState::default());
    let me = enter(&mut server, Incarnation(1), at(7001), |cookie| vec![reg("x", cookie)]);
    enter(&mut server, Incarnation(2), at(7002), |cookie| vec![reg("y", cookie)]);
    enter(&mut server, Incarnation(3), at(7003), |cookie| {
        let other = Frame::Reg { r: 2, name: "y".parse().unwrap(), cookie: cookie.clone(), via: at(1).ip() };
        vec![reg("x", cookie), other]
    });
    came_and_went(&mut server);
    tell(&mut server, at(7001), &Header::gone(Incarnation(1), me), vec![]);
    tell(&mut server, at(7002), &Header::gone(Incarnation(2), me), vec![]);
    assert_eq!(came_and_went(&mut server), ["x silent", "x at 10.0.0.2:7003", "y silent"]);
}

/// The names in the table that the server shows.
fn names(world: &mut Simulation) -> Vec<String> {
    world.console(Console::Table);
    world.run_for(us(20));
    let table = world.lines(SERVER).pop().expect("a table");
    table.lines().skip(1).filter_map(|row| row.split(' ').next().map(str::to_owned)).collect()
}

#[test]
fn names_are_dropped_when_they_were_offline_for_30_days_and_have_no_mail() {
    let mut world = world(&["x", "y", "z"]);
    for gone in [2, 3] {
        world.leave(gone);
    }
    world.run_for(SECOND);
    world.type_line(X, "send z mail");
    world.run_for(SECOND);
    world.leave(X);
    // The server looks once an hour.
    world.run_for(NAME_KEPT - 3600 * SECOND);
    assert_eq!(names(&mut world), ["x", "y", "z"]);
    world.run_for(2 * 3600 * SECOND);
    assert_eq!(names(&mut world), ["z"]);
    let since = mark(&world);
    world.start(X);
    world.run_for(SECOND);
    world.start(3);
    world.run_for(SECOND);
    world.type_line(X, "send y hi");
    world.run_for(SECOND);
    let x = ["[Offline message sent at 2026-01-01T00:00:02Z received by z.]", "[Client y does not exist.]"];
    assert_eq!(since.lines(&world, X)[3..], x);
    assert_eq!(world.lines(3).iter().filter(|line| line.ends_with("mail")).count(), 1);
    at_rest(&world);
}
