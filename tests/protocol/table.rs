//! Tests of the table. Every online client has the whole table, by small updates, for any size and after any loss.

use crate::trace::{
    EPOCH, SECOND, at_rest, mark, ms, row, simulation, simulation_with_records, simulation_with_whole_tables, us,
};
use chat::proto::record::Record;
use chat::proto::server::{DROPPED, NAME_KEPT, NAMES};
use chat::proto::status::Status;
use chat::proto::time::Timestamp;
use chat::sim::simulation::{SERVER, Simulation};

const X: usize = 1;
const Y: usize = 2;

const UPDATED: &str = "[Client table updated.]";

/// The names in the table that a client shows.
fn names(sim: &mut Simulation, client: usize) -> Vec<String> {
    sim.type_line(client, "table");
    sim.run_for(ms(1));
    let table = sim.lines(client).pop().expect("a table");
    table.lines().skip(1).filter_map(|row| row.split(' ').next().map(str::to_owned)).collect()
}

#[test]
fn a_table_of_20_000_rows_arrives_whole_and_one_change_is_one_datagram() {
    let rows = (0..20_000).map(|number| row(&format!("n{number:05}"), 100 + number));
    let mut sim = simulation_with_whole_tables(NAMES, rows);
    let x = sim.client("x");
    sim.run_for(SECOND);
    assert_eq!(sim.lines(x), ["[Welcome, You are registered.]", UPDATED]);
    let table = names(&mut sim, x);
    assert_eq!((table.len(), table[0].as_str(), table[20_000].as_str()), (20_001, "n00000", "x"));
    let y = sim.client("y");
    sim.run_for(SECOND);
    let since = mark(&sim);
    let sent = sim.sent();
    sim.leave(y);
    sim.run_for(SECOND);
    assert_eq!(since.trace(&sim, x), ["0.120 [Client table updated.]"]);
    assert_eq!(sim.sent() - sent, 4, "notice, answer, update, acknowledgement");
    at_rest(&sim);
}

#[test]
fn a_table_that_exactly_fills_its_frames_is_displayed_once() {
    // At most 240 rows are under way to a client, including its own row.
    for rows in [239, 240, 241, 480, 481, 720] {
        let mut sim = simulation_with_records((1..rows).map(|number| row(&format!("n{number:03}"), 100 + number)));
        let x = sim.client("x");
        sim.run_for(SECOND);
        assert_eq!(sim.lines(x), ["[Welcome, You are registered.]", UPDATED], "{rows} rows");
        assert_eq!(names(&mut sim, x).len() as u128, rows);
        at_rest(&sim);
    }
}

#[test]
fn an_update_that_exactly_fills_its_frames_is_complete() {
    for changes in [239, 240, 241] {
        let mut sim = simulation(&["x"]);
        // x acknowledges nothing, so the changes after the first one wait for one common update.
        sim.cut(X, SERVER);
        let since = mark(&sim);
        for number in 0..=changes {
            sim.client(&format!("n{number}"));
        }
        sim.run_for(ms(100));
        assert_eq!(since.lines(&sim, X), [UPDATED]);
        sim.heal();
        sim.run_for(SECOND);
        assert_eq!(since.lines(&sim, X), [UPDATED, UPDATED], "{changes} changes");
        assert_eq!(names(&mut sim, X).len(), changes + 2);
        at_rest(&sim);
    }
}

#[test]
fn the_first_change_is_sent_at_once_and_later_ones_share_an_update() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    let others: Vec<usize> = (0..20).map(|number| sim.client(&format!("n{number}"))).collect();
    sim.run_for(SECOND);
    // Challenge and request take 150 µs. The first change is sent alone, and the others in a second round, 50 ms and
    // 50 µs for each of the three online clients later.
    for client in [X, Y] {
        assert_eq!(since.trace(&sim, client), ["0.220 [Client table updated.]", "50.370 [Client table updated.]"]);
    }
    assert_eq!(names(&mut sim, X).len(), 2 + others.len());
    at_rest(&sim);
}

#[test]
fn a_client_that_does_not_acknowledge_an_update_is_pinged_after_500_ms_and_offline_after_1_s() {
    let mut sim = simulation(&["x", "y", "z"]);
    sim.cut(SERVER, X);
    let since = mark(&sim);
    sim.leave(Y);
    sim.run_for(us(1_000_069));
    assert_eq!(since.trace(&sim, SERVER), ["0.070 [Client y is offline]"]);
    sim.run_for(us(1));
    assert_eq!(since.trace(&sim, SERVER)[1..], ["1000.070 [Client x is offline]"]);
    // x missed the update without y. Its next datagram makes it return, which sends the update.
    sim.heal();
    sim.run_for(20 * SECOND);
    assert_eq!(since.lines(&sim, X), ["[Welcome, You are registered.]", UPDATED]);
    sim.type_line(X, "send y hi");
    sim.run_for(ms(1));
    assert_eq!(since.lines(&sim, X)[2], "[No ACK from y, message sent to server.]", "y is known to be offline");
    sim.run_for(SECOND);
    at_rest(&sim);
}

#[test]
fn a_lost_update_is_retransmitted() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    sim.drop_next(SERVER, X, 1);
    sim.leave(Y);
    sim.run_for(SECOND);
    assert_eq!(since.lines(&sim, X), [UPDATED]);
    at_rest(&sim);
}

#[test]
fn dropped_names_are_sent_and_beyond_the_limit_the_whole_table() {
    for dropped in [DROPPED as u128, DROPPED as u128 + 1] {
        // These names expire half an hour after the simulation begins.
        let seen = i64::try_from(NAME_KEPT.as_micros()).expect("a time") - 1_800_000_000;
        let old = (0..dropped).map(|number| match row(&format!("n{number}"), 100 + number) {
            Record::Name(row) => Record::Name(chat::proto::record::NameRecord {
                seen: Timestamp::from_micros(EPOCH.micros() - seen),
                ..row
            }),
            other => other,
        });
        let mut sim = simulation_with_whole_tables(NAMES, old);
        let x = sim.client("x");
        sim.run_for(SECOND);
        assert_eq!(names(&mut sim, x).len() as u128, dropped + 1);
        let (since, sent) = (mark(&sim), sim.sent());
        sim.run_for(3600 * SECOND);
        assert_eq!(since.lines(&sim, x), [UPDATED]);
        assert_eq!(names(&mut sim, x), ["x"]);
        // 240 keep-alives and their answers are not part of the update. Dropped names take many datagrams, about 10
        // bytes a name. The whole table is one row.
        let update = sim.sent() - sent - 480;
        assert_eq!(update < 10, dropped > DROPPED as u128, "{update} datagrams");
        at_rest(&sim);
    }
}

#[test]
fn the_names_of_a_server_are_limited() {
    let mut sim =
        simulation_with_records((0..NAMES as u128 - 1).map(|number| row(&format!("n{number}"), 100 + number)));
    let x = sim.client("x");
    sim.run_for(ms(1));
    sim.kill(x);
    let y = sim.client("y");
    sim.run_for(SECOND);
    assert_eq!(sim.lines(y), ["[The server is full, try again later.]"]);
    assert_eq!(sim.ending(y).map(|ending| ending.status), Some(Status::Failed));
}
