//! Groups: one at a time, their names on disk, their members those who are there.

use crate::trace::{SECOND, at_rest, mark, us, world};
use chat::proto::server::{GROUPS, GROUPS_A_CREATOR};
use chat::sim::simulation::SERVER;

const X: usize = 1;
const Y: usize = 2;

#[test]
fn a_group_is_there_when_it_is_on_disk_and_not_before() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    world.type_line(X, "create_group g");
    world.run_for(us(100));
    world.type_line(Y, "list_groups");
    world.run_for(SECOND);
    assert_eq!(since.trace(&world, X), ["0.320 [Group g created by Server.]"]);
    assert_eq!(since.trace(&world, Y), ["0.220 [No available group chats]"]);
    world.type_line(Y, "list_groups");
    world.run_for(SECOND);
    assert_eq!(since.lines(&world, Y)[1..], ["[Available group chats:] / g"]);
    at_rest(&world);
}

#[test]
fn a_group_that_the_disk_refuses_does_not_exist() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    world.disk().full = true;
    world.type_line(X, "create_group g");
    world.run_for(SECOND);
    world.type_line(Y, "join_group g");
    world.type_line(Y, "list_groups");
    world.run_for(SECOND);
    assert_eq!(since.trace(&world, X), ["0.320 [The server could not save the group g.]"]);
    assert_eq!(since.lines(&world, Y), ["[Group g does not exist]", "[No available group chats]"]);
    // The server goes on; when there is room, there is a group, and the next life of the server knows it.
    world.disk().full = false;
    world.type_line(X, "create_group g");
    world.run_for(SECOND);
    world.kill(SERVER);
    world.start(SERVER);
    world.run_for(SECOND);
    world.type_line(Y, "join_group g");
    world.run_for(SECOND);
    assert_eq!(since.lines(&world, X)[1], "[Group g created by Server.]");
    assert_eq!(since.lines(&world, Y).last().map(String::as_str), Some("[Entered group g successfully]"));
    at_rest(&world);
}

#[test]
fn of_two_who_create_a_group_at_once_one_does() {
    for (full, x, y) in [
        (false, "[Group g created by Server.]", "[Group g already exists.]"),
        (true, "[The server could not save the group g.]", "[The server could not save the group g.]"),
    ] {
        let mut world = world(&["x", "y"]);
        let since = mark(&world);
        world.disk().full = full;
        world.type_line(X, "create_group g");
        world.type_line(Y, "create_group g");
        world.run_for(SECOND);
        assert_eq!((since.lines(&world, X), since.lines(&world, Y)), (vec![x.to_owned()], vec![y.to_owned()]));
        at_rest(&world);
    }
}

#[test]
fn one_name_creates_so_many_groups_and_a_server_has_so_many() {
    let creators = GROUPS / GROUPS_A_CREATOR;
    let names: Vec<String> = (0..=creators).map(|number| format!("c{number}")).collect();
    let mut world = world(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let since = mark(&world);
    for creator in 0..creators {
        for number in 0..=GROUPS_A_CREATOR {
            world.type_line(1 + creator, &format!("create_group g{creator}-{number}"));
        }
    }
    world.run_for(2 * SECOND);
    for creator in 0..creators {
        let lines = since.lines(&world, 1 + creator);
        // The one too many is answered at once, the others when they are on disk.
        let (refused, created) = lines.split_first().expect("outcomes");
        assert_eq!(*refused, format!("[Group g{creator}-{GROUPS_A_CREATOR}: a limit of the server is reached.]"));
        let expected = (0..GROUPS_A_CREATOR).map(|number| format!("[Group g{creator}-{number} created by Server.]"));
        assert!(created.iter().cloned().eq(expected), "{created:?}");
    }
    world.type_line(1 + creators, "create_group one-more");
    world.run_for(SECOND);
    assert_eq!(since.lines(&world, 1 + creators), ["[Group one-more: a limit of the server is reached.]"]);
    world.type_line(1 + creators, "list_groups");
    world.run_for(SECOND);
    let groups = since.lines(&world, 1 + creators).pop().expect("groups");
    assert_eq!(groups.split(" / ").count(), 1 + GROUPS);
    at_rest(&world);
}
