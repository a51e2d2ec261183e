//! What losses cost, in virtual time: the table in `goodput.txt`, to the letter. A change is a diff in review.
//!
//! `BLESS=1 cargo test --test protocol goodput::` writes the table anew.

use std::fmt::Write as _;
use std::time::Duration;

use chat::netem::link_model::LinkModel;
use chat::sim::simulation::Simulation;

/// How many messages the rate is measured with.
const STREAM: u32 = 200;
/// How many fresh worlds the share of `No ACK` is measured with, each with one message as the first contact.
const WORLDS: u64 = 1_200;
const LOSSES: [f64; 7] = [0.0, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5];
const NETS: [(&str, LinkModel); 3] =
    [("lan", LinkModel::LAN), ("wifi-lossy", LinkModel::WIFI_LOSSY), ("transatlantic", LinkModel::TRANSATLANTIC)];

/// Two clients that were registered on a perfect network, and the network between them.
fn pair(seed: u64, net: LinkModel) -> Simulation {
    let mut world = Simulation::new(seed, LinkModel::PERFECT);
    let (x, y) = (world.client("x"), world.client("y"));
    world.run_for(Duration::from_millis(20));
    world.set_path(x, y, net);
    world.set_path(y, x, net);
    world
}

fn count(world: &Simulation, line: &str) -> usize {
    world.lines(1).iter().filter(|shown| *shown == line).count()
}

/// Messages a second of a stream to one reader.
fn rate(net: LinkModel) -> f64 {
    let mut world = pair(1, net);
    let begin = world.now();
    for number in 0..STREAM {
        world.type_line(1, &format!("send y message {number}"));
    }
    while world.client_machine(1).is_some_and(|client| client.unsettled() > 0) {
        world.step(begin + Duration::from_secs(600));
    }
    f64::from(STREAM) / world.now().since(begin).as_secs_f64()
}

/// The share of first messages that had no acknowledgement in 500 ms, in percent.
fn without_ack(net: LinkModel) -> f64 {
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let share = |part: u64| {
        let seeds = (0..WORLDS).filter(move |seed| seed % processors == part);
        seeds.filter(|seed| {
            let mut world = pair(*seed, net);
            world.type_line(1, "send y hi");
            world.run_for(Duration::from_micros(500_001));
            count(&world, "[Message received by y.]") == 0
        })
    };
    let failed: usize = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..processors).map(|part| scope.spawn(move || share(part).count())).collect();
        parts.into_iter().map(|part| part.join().unwrap()).sum()
    });
    100.0 * failed as f64 / WORLDS as f64
}

#[test]
fn the_table_is_as_committed_and_keeps_the_promises() {
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
