//! Tests of congestion control: flows that share one slow path share its bandwidth, and they rarely fill its queue.

use std::time::Duration;

use chat::netem::link_model::LinkModel;
use chat::sim::simulation::Simulation;

use crate::trace::{SECOND, at_rest, ms, us};

const X: usize = 1;
const Y: usize = 2;
const Z: usize = 3;
/// 10 Mbit/s, and a round trip of 20 ms. The jitter is less than the transmission of one datagram, so that it makes the
/// seeds differ and reorders nothing.
const BOTTLENECK: LinkModel =
    LinkModel { latency: ms(10), jitter: us(500), bandwidth: 1_250_000, queue: 50, ..LinkModel::TRANSPARENT };
/// How long both flows are measured.
const MEASURED: Duration = Duration::from_secs(10);
/// The number of messages without outcome up to which a flow continues.
const BACKLOG: usize = 100;
/// The bytes of a text. The messages that one client may have in flight to one reader are then far more than the path
/// and its queue hold, so that congestion control limits the flow and nothing else.
const TEXT: usize = 4_000;

/// The least share of the bandwidth that the texts use. Headers, tags and escaping take the rest. A link that sends next
/// to nothing would also be fair.
const UTILISATION: f64 = 0.7;

/// Three clients, with one bottleneck on both paths to z.
fn three_clients(seed: u64) -> Simulation {
    let mut sim = Simulation::new(seed, LinkModel::PERFECT);
    for name in ["x", "y", "z"] {
        sim.client(name);
        sim.run_for(ms(20));
    }
    sim.share_path(&[(X, Z), (Y, Z)]);
    sim.set_path(X, Z, BOTTLENECK);
    for reader in [X, Y] {
        sim.set_path(Z, reader, LinkModel { latency: BOTTLENECK.latency, ..LinkModel::TRANSPARENT });
    }
    sim
}

/// Lets these clients send to z without a pause for some time.
fn send_for(sim: &mut Simulation, senders: &[usize], time: Duration) {
    let (until, line) = (sim.now() + time, format!("send z {}", "a".repeat(TEXT)));
    loop {
        for sender in senders {
            while sim.client_machine(*sender).expect("it runs").unsettled() < BACKLOG {
                sim.type_line(*sender, &line);
            }
        }
        if !sim.step(until) {
            return;
        }
    }
}

/// The number of messages of a sender that z acknowledged directly.
fn received(sim: &Simulation, sender: usize) -> usize {
    sim.lines(sender).iter().filter(|line| *line == "[Message received by z.]").count()
}

/// Jain's fairness index: from 1/n, if one of n flows has everything, to 1, if all have the same.
fn jain(shares: &[f64]) -> f64 {
    let (sum, squares) = shares.iter().fold((0.0, 0.0), |(sum, squares), share| (sum + share, squares + share * share));
    sum * sum / (shares.len() as f64 * squares)
}

/// Runs two flows through the bottleneck. The one of y begins `later` than the one of x. Their shares are measured while
/// both run, and the loss over the whole run.
fn assert_fair(seed: u64, later: Duration) {
    let mut sim = three_clients(seed);
    send_for(&mut sim, &[X], later);
    let before = [X, Y].map(|sender| received(&sim, sender));
    send_for(&mut sim, &[X, Y], MEASURED);
    let shares = [0, 1].map(|at| (received(&sim, [X, Y][at]) - before[at]) as f64);
    let lost_of = |(sent, lost): (u64, u64), sender| {
        let (more_sent, more_lost) = sim.sent_and_lost(sender, Z);
        (sent + more_sent, lost + more_lost)
    };
    let (sent, lost) = [X, Y].into_iter().fold((0, 0), lost_of);
    let loss = lost as f64 / sent as f64;
    let utilisation = shares.iter().sum::<f64>() * TEXT as f64 / (BOTTLENECK.bandwidth as f64 * MEASURED.as_secs_f64());
    let figures = format!(
        "seed {seed}, {later:?} later: {shares:?} messages, index {:.3}, loss {loss:.4}, utilisation {utilisation:.3}",
        jain(&shares)
    );
    assert!(jain(&shares) >= 0.9 && loss <= 0.05 && utilisation >= UTILISATION, "{figures}");
    sim.run_for(30 * SECOND);
    for sender in [X, Y] {
        let lines = sim.lines(sender);
        assert!(lines.iter().all(|line| !line.contains("No ACK")), "{figures}: {:?}", lines.last());
        assert_eq!(sim.client_machine(sender).expect("it runs").unsettled(), 0);
    }
    at_rest(&sim);
}

#[test]
fn two_flows_share_a_bottleneck_and_lose_few_datagrams() {
    for seed in 1..=2 {
        assert_fair(seed, Duration::ZERO);
    }
}

#[test]
fn a_flow_that_begins_later_gets_its_share() {
    for seed in 1..=2 {
        assert_fair(seed, 3 * SECOND);
    }
}
