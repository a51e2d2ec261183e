//! A snapshot of every datagram of one conversation: two clients register, write to each other and to everybody, and
//! leave. It is `tests/data/conversation.txt`, so that a change of the wire format shows as a diff in review.
//!
//! `BLESS=1 cargo test --test protocol golden::` rewrites the snapshot.

use std::fmt::Write as _;

use chat::netem::link_model::LinkModel;
use chat::proto::wire;
use chat::sim::simulation::{SERVER, Simulation};

use crate::trace::{SECOND, at_rest, ms};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/conversation.txt");
const X: usize = 1;
const Y: usize = 2;
const NAMES: [&str; 3] = ["server", "x", "y"];

/// All datagrams as they leave: the time in seconds, the sender and the receiver, then the lines of the datagram.
fn conversation() -> String {
    let mut sim = Simulation::without_server(1, LinkModel::PERFECT);
    let begin = sim.now();
    sim.keep_traffic();
    sim.start(SERVER);
    for name in ["x", "y"] {
        sim.client(name);
        sim.run_for(ms(100));
    }
    for (actor, line) in [(X, "send y hi"), (Y, "send x hello \"you\""), (X, "send_all hi all")] {
        sim.type_line(actor, line);
        sim.run_for(ms(100));
    }
    for actor in [X, Y] {
        sim.leave(actor);
        sim.run_for(SECOND);
    }
    at_rest(&sim);
    let mut text = String::new();
    for packet in sim.traffic().iter().filter(|packet| !packet.came) {
        let receiver = (0..NAMES.len()).find(|actor| sim.addr(*actor) == packet.peer).expect("an actor");
        let bytes = std::str::from_utf8(&packet.bytes).expect("text");
        assert!(wire::parse(&packet.bytes).is_ok() && bytes.ends_with('\n'), "{bytes}");
        let (at, sender, receiver) = (packet.at.since(begin), NAMES[packet.actor], NAMES[receiver]);
        writeln!(text, "{:.6} {sender} -> {receiver}\n{bytes}", at.as_secs_f64()).unwrap();
    }
    text
}

#[test]
fn the_datagrams_of_a_conversation_equal_the_committed_ones() {
    let text = conversation();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(PATH, &text).unwrap();
    }
    let committed = std::fs::read_to_string(PATH).unwrap_or_default();
    let differs = committed.lines().zip(text.lines()).position(|(old, new)| old != new);
    assert!(
        committed == text,
        "tests/data/conversation.txt differs from line {} on. `BLESS=1 cargo test --test protocol golden::` rewrites it.",
        differs.unwrap_or(committed.lines().count().min(text.lines().count())) + 1
    );
}
