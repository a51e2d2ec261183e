//! Tests of partial tables. Beyond a number of names a client has its own row, totals, and the rows that it asked for.

use std::collections::BTreeMap;

use chat::proto::client::CACHED_ROWS;
use chat::proto::event::client::ClientEvent;
use chat::proto::event::{Body, ClientInfo};
use chat::proto::server::NAME_KEPT;
use chat::sim::simulation::{SERVER, Simulation};

use crate::trace::{SECOND, at_rest, mark, ms, row, simulation_with_whole_tables};

const X: usize = 1;
const Y: usize = 2;
const Z: usize = 3;

const WELCOME: &str = "[Welcome, You are registered.]";
const UPDATED: &str = "[Client table updated.]";
const RECEIVED: &str = "[Message received by y.]";
const NO_ACK: &str = "[No ACK from y, message sent to server.]";
const SAVED: &str = "[Messages received by the server and saved]";

/// A simulation with these clients and whole tables up to this many names, at rest.
fn simulation(names: usize, clients: &[&str]) -> Simulation {
    let mut sim = simulation_with_whole_tables(names, []);
    for client in clients {
        sim.client(client);
        sim.run_for(SECOND);
    }
    at_rest(&sim);
    sim
}

/// The events of a client about its table: whether it is partial, the changed rows and the totals.
fn updates(sim: &Simulation, client: usize) -> Vec<(bool, Vec<String>, usize, usize)> {
    let names = |rows: &[ClientInfo]| rows.iter().map(|row| row.name.to_string()).collect();
    let update = |body: &Body| match body {
        Body::Client(ClientEvent::Table { partial, changed, total, online_count, .. }) => {
            Some((*partial, names(changed), *total, *online_count))
        }
        _ => None,
    };
    sim.log(client).iter().filter_map(|(_, event)| update(&event.body)).collect()
}

/// The rows that the command `table` lists, and whether its event is partial.
fn table(sim: &mut Simulation, client: usize) -> (bool, BTreeMap<String, bool>) {
    sim.type_line(client, "table");
    sim.run_for(ms(1));
    let events = sim.log(client).iter().rev();
    let mut listed = events.filter_map(|(_, event)| match &event.body {
        Body::Client(ClientEvent::Clients { partial, clients, .. }) => Some((*partial, clients)),
        _ => None,
    });
    let (partial, rows) = listed.next().expect("a list");
    (partial, rows.iter().map(|row| (row.name.to_string(), row.online)).collect())
}

fn rows<const N: usize>(rows: [(&str, bool); N]) -> BTreeMap<String, bool> {
    rows.map(|(name, online)| (name.to_owned(), online)).into()
}

/// Types a line and returns what the client shows in two seconds.
fn answer(sim: &mut Simulation, client: usize, line: &str) -> Vec<String> {
    let since = mark(sim);
    sim.type_line(client, line);
    sim.run_for(2 * SECOND);
    since.lines(sim, client)
}

#[test]
fn one_name_too_many_makes_tables_partial() {
    let mut sim = simulation(2, &["x", "y", "z", "w"]);
    let server = sim.lines(SERVER);
    let report = "[Client tables are partial from now on: --whole-table is 2]";
    assert_eq!(server.iter().filter(|line| *line == report).count(), 1, "{server:?}");
    let own = |name: &str, total, online| (true, vec![name.to_owned()], total, online);
    // z and w get their own row, and see the totals again when they are online.
    assert_eq!(updates(&sim, Z)[0], own("z", 3, 3));
    assert_eq!(sim.lines(Z), [WELCOME, UPDATED]);
    assert_eq!(table(&mut sim, Z), (true, rows([("z", true)])));
    // x and y keep what they had.
    assert_eq!(table(&mut sim, X), (true, rows([("x", true), ("y", true)])));
    assert_eq!(updates(&sim, X).last(), Some(&(true, vec![], 4, 4)));
    assert_eq!(sim.lines(X)[..3], [WELCOME, UPDATED, UPDATED]);
    at_rest(&sim);
}

#[test]
fn totals_come_at_most_once_a_second_and_show_no_line() {
    let mut sim = simulation(1, &["x", "y"]);
    let (lines, before) = (sim.lines(X).len(), updates(&sim, X).len());
    for number in 0..30 {
        sim.client(&format!("n{number}"));
        sim.run_for(ms(100));
    }
    sim.run_for(SECOND);
    let totals = updates(&sim, X).split_off(before);
    assert!((3..=4).contains(&totals.len()), "{totals:?}");
    assert!(totals.iter().all(|(partial, changed, ..)| *partial && changed.is_empty()));
    assert_eq!(totals.last(), Some(&(true, vec![], 32, 32)));
    assert_eq!(sim.lines(X).len(), lines);
    at_rest(&sim);
}

#[test]
fn lost_totals_follow_after_a_keep_alive() {
    let mut sim = simulation(1, &["x", "y"]);
    sim.drop_next(SERVER, X, 1);
    sim.client("z");
    sim.run_for(SECOND);
    assert_eq!(updates(&sim, X).last(), Some(&(true, vec![], 2, 2)));
    sim.run_for(20 * SECOND);
    assert_eq!(updates(&sim, X).last(), Some(&(true, vec![], 3, 3)));
    at_rest(&sim);
}

#[test]
fn clients_that_do_not_know_each_other_send_directly_both_ways() {
    let mut sim = simulation(1, &["x", "y", "z"]);
    let since = mark(&sim);
    assert_eq!(answer(&mut sim, Z, "send y hi"), [RECEIVED]);
    assert_eq!(since.lines(&sim, Y), ["z: hi"]);
    assert_eq!(answer(&mut sim, Y, "send z hi, z"), ["[Message received by z.]"]);
    assert_eq!(answer(&mut sim, Z, "send y again"), [RECEIVED]);
    assert_eq!(since.lines(&sim, Z), [RECEIVED, "y: hi, z", RECEIVED]);
    assert_eq!(table(&mut sim, Z), (true, rows([("y", true), ("z", true)])));
    assert_eq!(answer(&mut sim, Z, "send nobody hi"), ["[Client nobody does not exist.]"]);
    at_rest(&sim);
}

#[test]
fn a_sender_that_its_reader_forgot_is_introduced_again() {
    let mut sim = simulation(1, &["x", "y"]);
    answer(&mut sim, X, "send y one");
    // y is another incarnation, and does not know x.
    sim.kill(Y);
    sim.start(Y);
    sim.run_for(3 * SECOND);
    let since = mark(&sim);
    let shown = answer(&mut sim, X, "send y two");
    assert_eq!(shown, [NO_ACK, "[Client y exists!!]", RECEIVED]);
    assert_eq!(since.lines(&sim, Y), ["x: two"]);
    at_rest(&sim);
}

#[test]
fn a_stale_row_costs_500_ms_once() {
    let mut sim = simulation(1, &["x", "y"]);
    answer(&mut sim, X, "send y one");
    sim.leave(Y);
    sim.run_for(SECOND);
    let since = mark(&sim);
    assert_eq!(answer(&mut sim, X, "send y two"), [NO_ACK, SAVED]);
    assert!(since.trace(&sim, X)[0].starts_with("500."), "the row was stale");
    // The next message asks for the row, which says that y is offline.
    let since = mark(&sim);
    assert_eq!(answer(&mut sim, X, "send y three"), [NO_ACK, SAVED]);
    assert!(since.trace(&sim, X)[0].starts_with("0."), "the row is fresh");
    // Nobody tells x that y is back. The server finds it.
    sim.start(Y);
    sim.run_for(2 * SECOND);
    assert_eq!(answer(&mut sim, X, "send y four"), [NO_ACK, "[Client y exists!!]", RECEIVED]);
    assert_eq!(answer(&mut sim, X, "send y five"), [RECEIVED]);
    at_rest(&sim);
}

#[test]
fn a_silent_reader_is_found_gone() {
    let mut sim = simulation(1, &["x", "y"]);
    answer(&mut sim, X, "send y one");
    sim.kill(Y);
    assert_eq!(answer(&mut sim, X, "send y two"), [NO_ACK, SAVED]);
    let since = mark(&sim);
    sim.start(Y);
    sim.run_for(3 * SECOND);
    assert_eq!(since.lines(&sim, Y).len(), 4, "welcome, notice, mail and table: {:?}", since.lines(&sim, Y));
    at_rest(&sim);
}

#[test]
fn the_rows_of_others_are_limited_and_a_row_that_went_is_asked_for_again() {
    const OTHERS: usize = CACHED_ROWS + 10;
    let others = (0..OTHERS).map(|number| row(&format!("n{number:04}"), 100 + number as u128));
    let mut sim = simulation_with_whole_tables(1, others);
    let x = sim.client("x");
    let y = sim.client("y");
    sim.run_for(SECOND);
    assert_eq!(answer(&mut sim, x, "send y hi"), [RECEIVED]);
    for number in 0..OTHERS {
        sim.type_line(x, &format!("send n{number:04} hi"));
        sim.run_for(ms(10));
    }
    sim.run_for(SECOND);
    let (partial, listed) = table(&mut sim, x);
    // The client's own row does not count.
    assert_eq!((partial, listed.len()), (true, CACHED_ROWS + 1));
    assert!(!listed.contains_key("y") && !listed.contains_key("n0000") && listed.contains_key("n0010"));
    let since = mark(&sim);
    assert_eq!(answer(&mut sim, x, "send y again"), [RECEIVED]);
    assert_eq!(since.lines(&sim, y), ["x: again"]);
    at_rest(&sim);
}

#[test]
fn many_clients_that_do_not_know_each_other_exchange_messages_at_once() {
    const READERS: usize = 40;
    let mut sim = simulation(1, &["x"]);
    let readers: Vec<usize> = (0..READERS).map(|number| sim.client(&format!("n{number}"))).collect();
    sim.run_for(2 * SECOND);
    let since = mark(&sim);
    for (number, reader) in readers.iter().enumerate() {
        sim.type_line(X, &format!("send n{number} hi"));
        sim.type_line(*reader, "send x hello");
    }
    sim.run_for(2 * SECOND);
    assert!(readers.iter().all(|reader| since.lines(&sim, *reader).contains(&"x: hi".to_owned())));
    assert!(since.lines(&sim, X).iter().all(|line| !line.starts_with("[No ACK")));
    assert_eq!(since.lines(&sim, X).len(), 2 * READERS);
    at_rest(&sim);
}

#[test]
fn a_server_that_restarts_with_fewer_names_sends_whole_tables_again() {
    for (limit, partial) in [(2, true), (3, false)] {
        let mut sim = simulation(2, &["x", "y", "z"]);
        sim.kill(SERVER);
        sim.limits.whole_table = limit;
        sim.start(SERVER);
        sim.run_for(5 * SECOND);
        let all = rows([("x", true), ("y", true), ("z", true)]);
        let own = rows([("z", true)]);
        assert_eq!(table(&mut sim, Z), (partial, if partial { own } else { all }));
        // All are registered again, whatever they know of each other.
        assert_eq!(answer(&mut sim, Z, "send y hi"), [RECEIVED]);
        at_rest(&sim);
    }
}

#[test]
fn a_table_stays_partial_when_names_are_dropped() {
    let old = [row("n1", 100), row("n2", 101), row("n3", 102)];
    let mut sim = simulation_with_whole_tables(2, old);
    let x = sim.client("x");
    sim.run_for(NAME_KEPT + 7_200 * SECOND);
    assert_eq!(updates(&sim, x).last(), Some(&(true, vec![], 1, 1)));
    let y = sim.client("y");
    sim.run_for(2 * SECOND);
    assert_eq!(table(&mut sim, y), (true, rows([("y", true)])));
    at_rest(&sim);
}

#[test]
fn a_client_that_is_getting_the_whole_table_when_it_becomes_partial_gets_its_own_row() {
    // The whole table takes several updates. x acknowledges none of them before the last name arrives.
    let others = (0..600).map(|number| row(&format!("n{number:03}"), 100 + number));
    let mut sim = simulation_with_whole_tables(601, others);
    let x = sim.client("x");
    sim.run_for(ms(1) / 4);
    assert!(updates(&sim, x).is_empty());
    sim.client("y");
    sim.run_for(2 * SECOND);
    assert_eq!(sim.lines(x), [WELCOME, UPDATED]);
    let (partial, listed) = table(&mut sim, x);
    assert!(partial && listed["x"] && listed.len() < 602, "{} rows", listed.len());
    at_rest(&sim);
}

#[test]
fn a_look_up_also_refreshes_the_row_of_the_sender_at_its_reader() {
    let mut sim = simulation(1, &["x", "y"]);
    // The row that x has is of the earlier incarnation of y.
    answer(&mut sim, X, "send y one");
    sim.kill(Y);
    sim.start(Y);
    sim.run_for(3 * SECOND);
    let since = mark(&sim);
    // y asks for the row of x, so that x gets the new row of y and can authenticate its first datagram.
    assert_eq!(answer(&mut sim, Y, "send x hi"), ["[Message received by x.]"]);
    assert_eq!(since.lines(&sim, X), ["y: hi"]);
    at_rest(&sim);
}
