//! Tests of paused actors. A paused actor does and sends nothing, and processes its backlog when it is resumed.

use crate::trace::{SECOND, at_rest, mark, ms, simulation, us};
use chat::proto::console::Console;
use chat::proto::status::Status;
use chat::sim::simulation::SERVER;

const X: usize = 1;
const Y: usize = 2;

#[test]
fn typed_commands_wait_and_are_processed_in_order_after_the_datagrams() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    sim.pause(X, true);
    sim.type_line(X, "send y one");
    sim.type_line(X, "send y two");
    sim.type_line(Y, "send x ho");
    sim.run_for(ms(100));
    assert_eq!((since.lines(&sim, X), since.lines(&sim, Y)), (Vec::new(), Vec::new()));
    sim.pause(X, false);
    sim.run_for(SECOND);
    let received = "[Message received by y.]";
    assert_eq!(since.lines(&sim, X), ["y: ho", received, received]);
    assert_eq!(since.lines(&sim, Y), ["x: one", "x: two", "[Message received by x.]"]);
    at_rest(&sim);
}

#[test]
fn a_paused_client_ends_only_when_it_is_resumed() {
    let ends: [(fn(&mut chat::sim::simulation::Simulation), _); 2] =
        [(|sim| sim.finish(X), "the end of its input"), (|sim| sim.leave(X), "a request to leave")];
    for (end, what) in ends {
        let mut sim = simulation(&["x", "y"]);
        let since = mark(&sim);
        sim.pause(X, true);
        sim.type_line(X, "send y hi");
        end(&mut sim);
        sim.run_for(ms(100));
        assert!(sim.ending(X).is_none() && since.lines(&sim, Y).is_empty(), "{what}");
        sim.pause(X, false);
        sim.run_for(SECOND);
        assert_eq!(sim.ending(X).map(|ending| ending.status), Some(Status::Ok), "{what}");
        assert_eq!(since.lines(&sim, Y)[0], "x: hi", "{what}");
    }
}

#[test]
fn a_killed_client_loses_its_backlog() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    sim.pause(X, true);
    sim.type_line(X, "send y hi");
    sim.type_line(Y, "send x ho");
    sim.leave(X);
    sim.run_for(ms(100));
    sim.kill(X);
    sim.start(X);
    sim.run_for(ms(100));
    sim.pause(X, true);
    sim.pause(X, false);
    sim.run_for(SECOND);
    assert!(sim.ending(X).is_none());
    assert!(!since.lines(&sim, Y).contains(&"x: hi".to_owned()));
}

#[test]
fn a_paused_server_does_not_answer_when_its_records_are_synced() {
    let mut sim = simulation(&["x", "y"]);
    let since = mark(&sim);
    sim.type_line(X, "send_all hi");
    sim.run_for(us(60));
    sim.pause(SERVER, true);
    sim.console(Console::Table);
    let shown = sim.lines(SERVER).len();
    sim.run_for(ms(10));
    assert_eq!((since.lines(&sim, X), sim.lines(SERVER).len()), (Vec::new(), shown));
    sim.pause(SERVER, false);
    sim.run_for(SECOND);
    assert!(since.lines(&sim, X).contains(&"[Message received by Server.]".to_owned()));
    assert!(sim.lines(SERVER).len() > shown);
    at_rest(&sim);
}
