//! The table: everybody online has all of it, by small updates, however large it is and whatever was missed.

use crate::trace::{EPOCH, SECOND, at_rest, mark, ms, row, us, world, world_with};
use chat::proto::record::Record;
use chat::proto::server::{DROPPED, NAME_KEPT, NAMES};
use chat::proto::status::Status;
use chat::proto::time::Timestamp;
use chat::sim::simulation::{SERVER, Simulation};

const X: usize = 1;
const Y: usize = 2;

const UPDATED: &str = "[Client table updated.]";

/// The names in the table that a client shows.
fn names(world: &mut Simulation, client: usize) -> Vec<String> {
    world.type_line(client, "table");
    world.run_for(ms(1));
    let table = world.lines(client).pop().expect("a table");
    table.lines().skip(1).filter_map(|row| row.split(' ').next().map(str::to_owned)).collect()
}

#[test]
fn a_table_of_20_000_rows_comes_whole_and_a_change_of_it_is_one_datagram() {
    let mut world = world_with((0..20_000).map(|number| row(&format!("n{number:05}"), 100 + number)));
    let x = world.client("x");
    world.run_for(SECOND);
    assert_eq!(world.lines(x), ["[Welcome, You are registered.]", UPDATED]);
    let table = names(&mut world, x);
    assert_eq!((table.len(), table[0].as_str(), table[20_000].as_str()), (20_001, "n00000", "x"));
    let y = world.client("y");
    world.run_for(SECOND);
    let since = mark(&world);
    let sent = world.sent();
    world.leave(y);
    world.run_for(SECOND);
    assert_eq!(since.trace(&world, x), ["0.120 [Client table updated.]"]);
    assert_eq!(world.sent() - sent, 4, "notice, answer, update, acknowledgement");
    at_rest(&world);
}

#[test]
fn a_table_that_fills_its_frames_exactly_is_whole_with_the_last_of_them() {
    // 240 rows are under way to one client at a time, its own among them.
    for rows in [239, 240, 241, 480, 481, 720] {
        let mut world = world_with((1..rows).map(|number| row(&format!("n{number:03}"), 100 + number)));
        let x = world.client("x");
        world.run_for(SECOND);
        assert_eq!(world.lines(x), ["[Welcome, You are registered.]", UPDATED], "{rows} rows");
        assert_eq!(names(&mut world, x).len() as u128, rows);
        at_rest(&world);
    }
}

#[test]
fn an_update_that_fills_its_frames_exactly_ends() {
    for changes in [239, 240, 241] {
        let mut world = world(&["x"]);
        // While x acknowledges nothing, the changes gather behind the first one.
        world.cut(X, SERVER);
        let since = mark(&world);
        for number in 0..=changes {
            world.client(&format!("n{number}"));
        }
        world.run_for(ms(100));
        assert_eq!(since.lines(&world, X), [UPDATED]);
        world.heal();
        world.run_for(SECOND);
        assert_eq!(since.lines(&world, X), [UPDATED, UPDATED], "{changes} changes");
        assert_eq!(names(&mut world, X).len(), changes + 2);
        at_rest(&world);
    }
}

#[test]
fn one_change_leaves_at_once_and_what_changes_meanwhile_travels_together() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    let others: Vec<usize> = (0..20).map(|number| world.client(&format!("n{number}"))).collect();
    world.run_for(SECOND);
    // Challenge and request take 150 µs; the first of them leaves alone, the others when it is acknowledged.
    for client in [X, Y] {
        assert_eq!(since.trace(&world, client), ["0.220 [Client table updated.]", "0.320 [Client table updated.]"]);
    }
    assert_eq!(names(&mut world, X).len(), 2 + others.len());
    at_rest(&world);
}

#[test]
fn who_does_not_acknowledge_an_update_is_asked_after_500_ms_and_offline_after_500_more() {
    let mut world = world(&["x", "y", "z"]);
    world.cut(SERVER, X);
    let since = mark(&world);
    world.leave(Y);
    world.run_for(us(1_000_069));
    assert_eq!(since.trace(&world, SERVER), ["0.070 [Client y is offline]"]);
    world.run_for(us(1));
    assert_eq!(since.trace(&world, SERVER)[1..], ["1000.070 [Client x is offline]"]);
    // It missed that y left; its next word brings it up to date.
    world.heal();
    world.run_for(20 * SECOND);
    assert_eq!(since.lines(&world, X), ["[Welcome, You are registered.]", UPDATED]);
    world.type_line(X, "send y hi");
    world.run_for(ms(1));
    assert_eq!(since.lines(&world, X)[2], "[No ACK from y, message sent to server.]", "y is known to be offline");
    world.run_for(SECOND);
    at_rest(&world);
}

#[test]
fn an_update_that_is_lost_is_sent_again() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    world.drop_next(SERVER, X, 1);
    world.leave(Y);
    world.run_for(SECOND);
    assert_eq!(since.lines(&world, X), [UPDATED]);
    at_rest(&world);
}

#[test]
fn dropped_names_are_told_and_beyond_the_limit_the_whole_table_is() {
    for dropped in [DROPPED as u128, DROPPED as u128 + 1] {
        // They were seen for the last time half an hour too early to be kept for longer than half an hour.
        let seen = i64::try_from(NAME_KEPT.as_micros()).expect("a time") - 1_800_000_000;
        let old = (0..dropped).map(|number| match row(&format!("n{number}"), 100 + number) {
            Record::Name(row) => Record::Name(chat::proto::record::NameRecord {
                seen: Timestamp::from_micros(EPOCH.micros() - seen),
                ..row
            }),
            other => other,
        });
        let mut world = world_with(old);
        let x = world.client("x");
        world.run_for(SECOND);
        assert_eq!(names(&mut world, x).len() as u128, dropped + 1);
        let (since, sent) = (mark(&world), world.sent());
        world.run_for(3600 * SECOND);
        assert_eq!(since.lines(&world, x), [UPDATED]);
        assert_eq!(names(&mut world, x), ["x"]);
        // 240 keep-alives and as many answers; a name takes about 10 bytes, and a row stands for the whole table.
        let update = world.sent() - sent - 480;
        assert_eq!(update < 10, dropped > DROPPED as u128, "{update} datagrams");
        at_rest(&world);
    }
}

#[test]
fn a_server_knows_so_many_names() {
    let mut world = world_with((0..NAMES as u128 - 1).map(|number| row(&format!("n{number}"), 100 + number)));
    let x = world.client("x");
    world.run_for(ms(1));
    world.kill(x);
    let y = world.client("y");
    world.run_for(SECOND);
    assert_eq!(world.lines(y), ["[The server is full, try again later.]"]);
    assert_eq!(world.ending(y).map(|ending| ending.status), Some(Status::Failed));
}
