//! Tests of registration, direct messages without a server, and de-registration with mail.

use std::time::Duration;

use chat::netem::link_model::LinkModel;
use chat::proto::status::Status;
use chat::sim::simulation::{SERVER, Simulation};

const SECOND: Duration = Duration::from_secs(1);

fn simulation(names: &[&str]) -> Simulation {
    let mut sim = Simulation::new(1, LinkModel::PERFECT);
    for name in names {
        sim.client(name);
        sim.run_for(Duration::from_millis(100));
    }
    sim
}

#[test]
fn a_client_registers_and_receives_the_table() {
    let sim = simulation(&["x", "y"]);
    let welcome = ["[Welcome, You are registered.]", "[Client table updated.]"];
    assert_eq!(sim.lines(1), [&welcome[..], &["[Client table updated.]"]].concat());
    assert_eq!(sim.lines(2), welcome);
    let shown = ["[Server listening on port 7000]", "[Client x registered]", "[Client y registered]"];
    assert_eq!(sim.lines(SERVER), shown);
    assert!(sim.is_idle());
}

#[test]
fn without_a_server_a_client_ends_after_five_attempts() {
    let mut sim = Simulation::new(1, LinkModel::PERFECT);
    sim.kill(SERVER);
    let x = sim.client("x");
    sim.run_for(Duration::from_micros(2_499_999));
    assert_eq!(sim.lines(x), [] as [&str; 0]);
    sim.run_for(Duration::from_micros(1));
    assert_eq!(sim.lines(x), ["[Server not responding]"]);
    let ending = sim.ending(x).expect("an end");
    assert_eq!((ending.status, ending.exiting), (Status::Environment, true));
}

#[test]
fn direct_messages_need_no_server() {
    let mut sim = simulation(&["x", "y"]);
    sim.kill(SERVER);
    sim.type_line(1, "send y hi");
    sim.type_line(2, "send x hello there");
    sim.run_for(SECOND);
    assert_eq!(sim.lines(1)[3..], ["y: hello there", "[Message received by y.]"]);
    assert_eq!(sim.lines(2)[2..], ["x: hi", "[Message received by x.]"]);
}

#[test]
fn an_offline_client_gets_its_mail_when_it_registers_again() {
    let mut sim = simulation(&["x", "y", "z"]);
    sim.type_line(1, "dereg x");
    sim.run_for(SECOND);
    assert_eq!(sim.lines(1).last().map(String::as_str), Some("[You are Offline. Bye.]"));
    sim.type_line(2, "send x one");
    sim.type_line(3, "send x two");
    sim.run_for(SECOND);
    for (actor, _) in [(2, "y"), (3, "z")] {
        let lines = sim.lines(actor);
        let shown = ["[No ACK from x, message sent to server.]", "[Messages received by the server and saved]"];
        assert_eq!(lines[lines.len() - 2..], shown);
    }
    sim.type_line(1, "reg x");
    sim.run_for(SECOND);
    let mail = ["y: 2026-01-01T00:00:02Z one", "z: 2026-01-01T00:00:02Z two"];
    let back = ["[Welcome, You are registered.]", "[You have messages]", mail[0], mail[1], "[Client table updated.]"];
    let lines = sim.lines(1);
    assert_eq!(lines[lines.len() - 5..], back);
    let receipt = "[Offline message sent at 2026-01-01T00:00:02Z received by x.]";
    assert_eq!(sim.lines(2).last().map(String::as_str), Some(receipt));
    assert!(sim.is_idle());
}
