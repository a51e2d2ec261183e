//! Tests of lossy networks: what the users see is the same as without losses.

use std::time::Duration;

use chat::netem::link_model::LinkModel;
use chat::proto::event::Body;
use chat::proto::event::client::ClientEvent;
use chat::sim::simulation::Simulation;

use crate::trace::{SECOND, at_rest, ms, us};

const X: usize = 1;
const Y: usize = 2;

/// The round trips of the tests.
const ROUND_TRIPS: [Duration; 3] = [us(200), ms(20), ms(80)];
/// The number of seeds for each loss and round trip.
const SEEDS: u64 = 10;
/// The number of messages of each seed on a link that exists.
const MESSAGES: usize = 400;
/// The number of fresh pairs of each seed, each with one message.
const PAIRS: u64 = 110;

fn net(round_trip: Duration, loss: f64) -> LinkModel {
    LinkModel { latency: round_trip / 2, loss, ..LinkModel::TRANSPARENT }
}

/// The lines that server, x and y displayed.
fn lines(sim: &Simulation) -> [Vec<String>; 3] {
    std::array::from_fn(|actor| sim.lines(actor))
}

/// A session of two clients, without the datagram with this number. Returns what was displayed and the number of
/// datagrams.
fn exchange(round_trip: Duration, lost: Option<u64>) -> ([Vec<String>; 3], u64) {
    let mut sim = Simulation::without_server(1, net(round_trip, 0.0));
    if let Some(number) = lost {
        sim.lose(number);
    }
    sim.start(0);
    for name in ["x", "y"] {
        sim.client(name);
        sim.run_for(2 * SECOND);
    }
    let long = format!("send y {}", "long ".repeat(1_000));
    let steps = [
        (X, "send y one"),
        (X, "send_all all"),
        (X, &long),
        (Y, "send x answer"),
        (Y, "dereg"),
        (X, "send y mail"),
        (Y, "reg"),
    ];
    for (actor, line) in steps {
        sim.type_line(actor, line);
        sim.run_for(2 * SECOND);
    }
    for actor in [X, Y] {
        sim.leave(actor);
        sim.run_for(2 * SECOND);
    }
    at_rest(&sim);
    (lines(&sim), sim.sent())
}

#[test]
fn a_session_without_any_one_datagram_shows_the_same() {
    for round_trip in ROUND_TRIPS {
        let (shown, sent) = exchange(round_trip, None);
        let no_acks = shown[X].iter().filter(|line| line.starts_with("[No ACK")).count();
        assert_eq!((shown.each_ref().map(Vec::len), no_acks), ([7, 12, 12], 1), "the message while y is offline");
        assert!(sent > 50, "{sent} datagrams");
        for number in 1..=sent {
            let (without, _) = exchange(round_trip, Some(number));
            assert_eq!(without, shown, "{round_trip:?} without {number} of {sent}");
        }
    }
}

/// Two registered clients with this link between them.
fn pair(seed: u64, net: LinkModel) -> Simulation {
    let mut sim = Simulation::new(seed, LinkModel::PERFECT);
    sim.client("x");
    sim.client("y");
    sim.run_for(ms(20));
    sim.set_path(X, Y, net);
    sim.set_path(Y, X, net);
    sim
}

/// Sends one message and waits for its outcome, and for its display.
fn send(sim: &mut Simulation, number: usize) {
    sim.type_line(X, &format!("send y {number}"));
    let until = sim.now() + 60 * SECOND;
    while sim.client_machine(X).is_some_and(|client| client.unsettled() > 0) && sim.step(until) {}
}

/// The number of messages without an acknowledgement in 500 ms. Asserts that y displayed each of them once.
fn no_acks(sim: &mut Simulation, messages: usize) -> usize {
    // Mail of a message that failed may still be under way.
    sim.run_for(20 * SECOND);
    let is_message = |body: &Body| matches!(body, Body::Client(ClientEvent::Message { .. }));
    assert_eq!(sim.log(Y).iter().filter(|(_, event)| is_message(&event.body)).count(), messages);
    let is_no_ack = |body: &Body| matches!(body, Body::Client(ClientEvent::NoAck { .. }));
    sim.log(X).iter().filter(|(_, event)| is_no_ack(&event.body)).count()
}

/// The number of messages, and of those without an acknowledgement in 500 ms.
fn measure(net: LinkModel, seed: u64) -> (usize, usize) {
    let mut sim = pair(seed, net);
    (0..MESSAGES).for_each(|number| send(&mut sim, number));
    let mut failed = no_acks(&mut sim, MESSAGES);
    for pair_seed in 0..PAIRS {
        let mut sim = pair(1_000 + seed * PAIRS + pair_seed, net);
        send(&mut sim, 0);
        failed += no_acks(&mut sim, 1);
    }
    (MESSAGES + PAIRS as usize, failed)
}

/// Measures a loss with all round trips. Asserts that less than this share of messages has no acknowledgement.
fn assert_share(loss: f64, limit: f64) {
    for round_trip in ROUND_TRIPS {
        let all: Vec<(usize, usize)> = std::thread::scope(|scope| {
            let seeds: Vec<_> =
                (0..SEEDS).map(|seed| scope.spawn(move || measure(net(round_trip, loss), seed))).collect();
            seeds.into_iter().map(|seed| seed.join().unwrap()).collect()
        });
        let (sent, failed) = all.iter().fold((0, 0), |(sent, failed), (s, f)| (sent + s, failed + f));
        assert!(sent >= 5_000);
        assert!((failed as f64) < limit * sent as f64, "{round_trip:?}: {failed} of {sent} without acknowledgement");
    }
}

#[test]
fn with_30_percent_loss_each_way_fewer_than_1_in_1000_messages_have_no_acknowledgement() {
    assert_share(0.3, 0.001);
}

#[test]
fn with_50_percent_loss_each_way_fewer_than_1_in_20_messages_have_no_acknowledgement() {
    assert_share(0.5, 0.05);
}
