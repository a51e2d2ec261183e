//! Paused: nothing is done and nothing is said; what came meanwhile is found when it is resumed.

use crate::trace::{SECOND, at_rest, mark, ms, us, world};
use chat::proto::console::Console;
use chat::proto::status::Status;
use chat::sim::simulation::SERVER;

const X: usize = 1;
const Y: usize = 2;

#[test]
fn what_is_typed_waits_and_is_found_behind_the_datagrams_in_order() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    world.pause(X, true);
    world.type_line(X, "send y one");
    world.type_line(X, "send y two");
    world.type_line(Y, "send x ho");
    world.run_for(ms(100));
    assert_eq!((since.lines(&world, X), since.lines(&world, Y)), (Vec::new(), Vec::new()));
    world.pause(X, false);
    world.run_for(SECOND);
    let received = "[Message received by y.]";
    assert_eq!(since.lines(&world, X), ["y: ho", received, received]);
    assert_eq!(since.lines(&world, Y), ["x: one", "x: two", "[Message received by x.]"]);
    at_rest(&world);
}

#[test]
fn it_ends_when_it_is_resumed_and_not_before() {
    let ends: [(fn(&mut chat::sim::simulation::Simulation), _); 2] =
        [(|world| world.finish(X), "the end of its input"), (|world| world.leave(X), "a request to leave")];
    for (end, what) in ends {
        let mut world = world(&["x", "y"]);
        let since = mark(&world);
        world.pause(X, true);
        world.type_line(X, "send y hi");
        end(&mut world);
        world.run_for(ms(100));
        assert!(world.ending(X).is_none() && since.lines(&world, Y).is_empty(), "{what}");
        world.pause(X, false);
        world.run_for(SECOND);
        assert_eq!(world.ending(X).map(|ending| ending.status), Some(Status::Ok), "{what}");
        assert_eq!(since.lines(&world, Y)[0], "x: hi", "{what}");
    }
}

#[test]
fn what_waits_dies_with_it() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    world.pause(X, true);
    world.type_line(X, "send y hi");
    world.type_line(Y, "send x ho");
    world.leave(X);
    world.run_for(ms(100));
    world.kill(X);
    world.start(X);
    world.run_for(ms(100));
    world.pause(X, true);
    world.pause(X, false);
    world.run_for(SECOND);
    assert!(world.ending(X).is_none());
    assert!(!since.lines(&world, Y).contains(&"x: hi".to_owned()));
}

#[test]
fn a_server_that_is_paused_says_nothing_of_what_its_disk_has() {
    let mut world = world(&["x", "y"]);
    let since = mark(&world);
    world.type_line(X, "send_all hi");
    world.run_for(us(60));
    world.pause(SERVER, true);
    world.console(Console::Table);
    let shown = world.lines(SERVER).len();
    world.run_for(ms(10));
    assert_eq!((since.lines(&world, X), world.lines(SERVER).len()), (Vec::new(), shown));
    world.pause(SERVER, false);
    world.run_for(SECOND);
    assert!(since.lines(&world, X).contains(&"[Message received by Server.]".to_owned()));
    assert!(world.lines(SERVER).len() > shown);
    at_rest(&world);
}
