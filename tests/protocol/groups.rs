//! Tests of groups. Their names are on disk, their members are online, and a client is in one group at a time.

use crate::trace::{SECOND, at_rest, mark, simulation, us};
use chat::proto::server::{GROUPS, GROUPS_A_CREATOR};
use chat::sim::simulation::SERVER;

const X: usize = 1;
const Y: usize = 2;

#[test]
fn a_group_exists_only_when_it_is_on_disk() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    sim.type_line(X, "create_group g");
    sim.run_for(us(100));
    sim.type_line(Y, "list_groups");
    sim.run_for(SECOND);
    assert_eq!(since.trace(&sim, X), ["0.320 [Group g created by Server.]"]);
    assert_eq!(since.trace(&sim, Y), ["0.220 [No available group chats]"]);
    sim.type_line(Y, "list_groups");
    sim.run_for(SECOND);
    assert_eq!(since.lines(&sim, Y)[1..], ["[Available group chats:] / g"]);
    at_rest(&sim);
}

#[test]
fn a_group_that_the_disk_refuses_does_not_exist() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    sim.disk().full = true;
    sim.type_line(X, "create_group g");
    sim.run_for(SECOND);
    sim.type_line(Y, "join_group g");
    sim.type_line(Y, "list_groups");
    sim.run_for(SECOND);
    assert_eq!(since.trace(&sim, X), ["0.320 [The server could not save the group g.]"]);
    assert_eq!(since.lines(&sim, Y), ["[Group g does not exist]", "[No available group chats]"]);
    // The server continues. When the disk has room, the group is created, and it exists after a restart of the server.
    sim.disk().full = false;
    sim.type_line(X, "create_group g");
    sim.run_for(SECOND);
    sim.kill(SERVER);
    sim.start(SERVER);
    sim.run_for(SECOND);
    sim.type_line(Y, "join_group g");
    sim.run_for(SECOND);
    assert_eq!(since.lines(&sim, X)[1], "[Group g created by Server.]");
    assert_eq!(since.lines(&sim, Y).last().map(String::as_str), Some("[Entered group g successfully]"));
    at_rest(&sim);
}

#[test]
fn of_two_clients_that_create_the_same_group_at_once_only_the_first_succeeds() {
    for (full, x, y) in [
        (false, "[Group g created by Server.]", "[Group g already exists.]"),
        (true, "[The server could not save the group g.]", "[The server could not save the group g.]"),
    ] {
        let mut sim = simulation(&["x", "y"]);
        let since = mark(&sim);
        sim.disk().full = full;
        sim.type_line(X, "create_group g");
        sim.type_line(Y, "create_group g");
        sim.run_for(SECOND);
        assert_eq!((since.lines(&sim, X), since.lines(&sim, Y)), (vec![x.to_owned()], vec![y.to_owned()]));
        at_rest(&sim);
    }
}

#[test]
fn the_groups_of_one_creator_and_of_a_server_are_limited() {
    let creators = GROUPS / GROUPS_A_CREATOR;
    let names: Vec<String> = (0..=creators).map(|number| format!("c{number}")).collect();
    let mut sim = simulation(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let since = mark(&sim);
    for creator in 0..creators {
        for number in 0..=GROUPS_A_CREATOR {
            sim.type_line(1 + creator, &format!("create_group g{creator}-{number}"));
        }
    }
    sim.run_for(2 * SECOND);
    for creator in 0..creators {
        let lines = since.lines(&sim, 1 + creator);
        // The request beyond the limit is answered at once, the others when their groups are on disk.
        let (refused, created) = lines.split_first().expect("outcomes");
        assert_eq!(*refused, format!("[Group g{creator}-{GROUPS_A_CREATOR}: a limit of the server is reached.]"));
        let expected = (0..GROUPS_A_CREATOR).map(|number| format!("[Group g{creator}-{number} created by Server.]"));
        assert!(created.iter().cloned().eq(expected), "{created:?}");
    }
    sim.type_line(1 + creators, "create_group one-more");
    sim.run_for(SECOND);
    assert_eq!(since.lines(&sim, 1 + creators), ["[Group one-more: a limit of the server is reached.]"]);
    sim.type_line(1 + creators, "list_groups");
    sim.run_for(SECOND);
    let groups = since.lines(&sim, 1 + creators).pop().expect("groups");
    assert_eq!(groups.split(" / ").count(), 1 + GROUPS);
    at_rest(&sim);
}
