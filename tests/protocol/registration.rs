//! Registration, the table, leaving and coming back, on a simulated network with exact times.

use std::time::Duration;

use chat::netem::link_model::LinkModel;
use chat::proto::status::Status;
use chat::sim::simulation::{SERVER, Simulation};

const SECOND: Duration = Duration::from_secs(1);

fn world(names: &[&str]) -> Simulation {
    let mut world = Simulation::new(1, LinkModel::PERFECT);
    for name in names {
        world.client(name);
        world.run_for(Duration::from_millis(100));
    }
    world
}

#[test]
fn a_client_is_welcome_and_sees_the_table() {
    let world = world(&["x", "y"]);
    let welcome = ["[Welcome, You are registered.]", "[Client table updated.]"];
    assert_eq!(world.lines(1), [&welcome[..], &["[Client table updated.]"]].concat());
    assert_eq!(world.lines(2), welcome);
    let shown = ["[Server listening on port 7000]", "[Client x registered]", "[Client y registered]"];
    assert_eq!(world.lines(SERVER), shown);
    assert!(world.is_idle());
}

#[test]
fn without_a_server_a_client_tries_five_times_and_ends() {
    let mut world = Simulation::new(1, LinkModel::PERFECT);
    world.kill(SERVER);
    let x = world.client("x");
    world.run_for(Duration::from_micros(2_499_999));
    assert_eq!(world.lines(x), [] as [&str; 0]);
    world.run_for(Duration::from_micros(1));
    assert_eq!(world.lines(x), ["[Server not responding]"]);
    let ending = world.ending(x).expect("an end");
    assert_eq!((ending.status, ending.exiting), (Status::Environment, true));
}

#[test]
fn direct_messages_need_no_server() {
    let mut world = world(&["x", "y"]);
    world.kill(SERVER);
    world.type_line(1, "send y hi");
    world.type_line(2, "send x hello there");
    world.run_for(SECOND);
    assert_eq!(world.lines(1)[3..], ["y: hello there", "[Message received by y.]"]);
    assert_eq!(world.lines(2)[2..], ["x: hi", "[Message received by x.]"]);
}

#[test]
fn the_mail_case() {
    let mut world = world(&["x", "y", "z"]);
    world.type_line(1, "dereg x");
    world.run_for(SECOND);
    assert_eq!(world.lines(1).last().map(String::as_str), Some("[You are Offline. Bye.]"));
    world.type_line(2, "send x one");
    world.type_line(3, "send x two");
    world.run_for(SECOND);
    for (actor, _) in [(2, "y"), (3, "z")] {
        let lines = world.lines(actor);
        let shown = ["[No ACK from x, message sent to server.]", "[Messages received by the server and saved]"];
        assert_eq!(lines[lines.len() - 2..], shown);
    }
    world.type_line(1, "reg x");
    world.run_for(SECOND);
    let mail = ["y: 2026-01-01T00:00:02Z one", "z: 2026-01-01T00:00:02Z two"];
    let back = ["[Welcome, You are registered.]", "[You have messages]", mail[0], mail[1], "[Client table updated.]"];
    let lines = world.lines(1);
    assert_eq!(lines[lines.len() - 5..], back);
    let receipt = "[Offline message sent at 2026-01-01T00:00:02Z received by x.]";
    assert_eq!(world.lines(2).last().map(String::as_str), Some(receipt));
    assert!(world.is_idle());
}
