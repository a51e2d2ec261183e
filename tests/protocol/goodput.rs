//! Measures the cost of losses in virtual time. The result must equal `tests/data/goodput.txt`, so that a change
//! shows as a diff in review.
//!
//! `BLESS=1 cargo test --test protocol goodput::` rewrites the table.

use std::fmt::Write as _;
use std::time::Duration;

use chat::netem::link_model::LinkModel;
use chat::sim::simulation::Simulation;

/// The number of messages with which the rate is measured.
const STREAM: u32 = 200;
/// The number of simulations with which the share of `No ACK` is measured. Each sends one message as the first contact.
const SAMPLES: u64 = 1_200;
const LOSSES: [f64; 7] = [0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5];
const NETS: [(&str, LinkModel); 3] =
    [("lan", LinkModel::LAN), ("wifi-lossy", LinkModel::WIFI_LOSSY), ("transatlantic", LinkModel::TRANSATLANTIC)];

/// Two clients that registered on a perfect network, with `net` as the link between them from then on.
fn pair(seed: u64, net: LinkModel) -> Simulation {
    let mut sim = Simulation::new(seed, LinkModel::PERFECT);
    let (x, y) = (sim.client("x"), sim.client("y"));
    sim.run_for(Duration::from_millis(20));
    sim.set_path(x, y, net);
    sim.set_path(y, x, net);
    sim
}

fn count(sim: &Simulation, line: &str) -> usize {
    sim.lines(1).iter().filter(|shown| *shown == line).count()
}

/// The rate of a stream to one reader, in messages per second.
fn rate(net: LinkModel) -> f64 {
    let mut sim = pair(1, net);
    let begin = sim.now();
    for number in 0..STREAM {
        sim.type_line(1, &format!("send y message {number}"));
    }
    while sim.client_machine(1).is_some_and(|client| client.unsettled() > 0) {
        sim.step(begin + Duration::from_secs(600));
    }
    f64::from(STREAM) / sim.now().since(begin).as_secs_f64()
}

/// The share of first messages without an acknowledgement in 500 ms, in percent.
fn without_ack(net: LinkModel) -> f64 {
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let share = |part: u64| {
        let seeds = (0..SAMPLES).filter(move |seed| seed % processors == part);
        seeds.filter(|seed| {
            let mut sim = pair(*seed, net);
            sim.type_line(1, "send y hi");
            sim.run_for(Duration::from_micros(500_001));
            count(&sim, "[Message received by y.]") == 0
        })
    };
    let failed: usize = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..processors).map(|part| scope.spawn(move || share(part).count())).collect();
        parts.into_iter().map(|part| part.join().unwrap()).sum()
    });
    100.0 * failed as f64 / SAMPLES as f64
}

#[test]
fn the_table_equals_the_committed_one_and_stays_within_the_promised_limits() {
    let mut table = String::from("net            loss each way  messages/s  No ACK of first messages\n");
    for (name, base) in NETS {
        for loss in LOSSES {
            let net = LinkModel { loss, burst: 0.0, ..base };
            let share = without_ack(net);
            writeln!(table, "{name:13}  {:>12}%  {:>10.0}  {share:>23.2}%", loss * 100.0, rate(net)).unwrap();
            assert!(loss > 0.3 || share < 0.1, "{name} at {loss}: {share} % without acknowledgement");
            assert!(share < 5.0, "{name} at {loss}: {share} % without acknowledgement");
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/goodput.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), table);
}
