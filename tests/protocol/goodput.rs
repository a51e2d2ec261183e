//! Measures the cost of losses in virtual time. The table is `tests/data/goodput.txt`, so that a change shows as a diff
//! in review.
//!
//! `make goodput` measures the whole table, with optimisation, and compares it. `BLESS=1 make goodput` rewrites it. The
//! other tests here compare one simulation of each cell.

use std::fmt::Write as _;
use std::time::Duration;

use chat::netem::link_model::LinkModel;
use chat::proto::event::client::ClientEvent;
use chat::proto::event::{Body, Event};
use chat::sim::simulation::Simulation;

use crate::trace::ms;

/// The number of messages with which a rate is measured.
const STREAM: u32 = 20_000;
/// The number of messages without outcome up to which the stream continues. Far more than the link takes at once.
const BACKLOG: usize = 1_000;
/// Time limit of a stream. It is never reached.
const STREAM_LIMIT: Duration = Duration::from_secs(1_000);
/// A rate in the table is the median of the simulations with the seeds from 1 to this one.
const SEEDS: u64 = 20;
/// The factor by which the rate of one simulation may differ from the median of all.
const TOLERANCE: f64 = 1.3;
/// The number of simulations with which the share of `No ACK` is measured. Each sends one message as the first contact.
const SAMPLES: u64 = 1_200;
/// The highest loss with the small promised share of `No ACK`.
const PROMISED_LOSS: f64 = 0.3;
const LOSSES: [f64; 7] = [0.0, 0.01, 0.05, 0.1, 0.2, PROMISED_LOSS, 0.5];
const NETS: [(&str, LinkModel); 4] = [
    ("lan", LinkModel::LAN),
    ("wifi-lossy", LinkModel::WIFI_LOSSY),
    ("transatlantic", LinkModel::TRANSATLANTIC),
    ("100ms", LinkModel { latency: ms(50), ..LinkModel::TRANSPARENT }),
];
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/goodput.txt");
const TITLE: &str = "net            loss each way  messages/s  No ACK of first messages";

/// One line of the table.
#[derive(Debug, PartialEq)]
struct Cell {
    net: &'static str,
    loss: f64,
    /// Messages per second.
    rate: f64,
    /// The percentage of first messages without an acknowledgement in 500 ms.
    no_ack: f64,
}

/// All cells, row by row.
fn cells() -> impl Iterator<Item = (&'static str, f64, LinkModel)> {
    let link = |base, loss| LinkModel { loss, burst: 0.0, ..base };
    NETS.into_iter().flat_map(move |(net, base)| LOSSES.into_iter().map(move |loss| (net, loss, link(base, loss))))
}

/// Two clients that registered on a perfect network, with `link` between them from then on.
fn pair(seed: u64, link: LinkModel) -> Simulation {
    let mut sim = Simulation::new(seed, LinkModel::PERFECT);
    let (x, y) = (sim.client("x"), sim.client("y"));
    sim.run_for(ms(100));
    sim.set_path(x, y, link);
    sim.set_path(y, x, link);
    sim
}

/// The rate of a stream to one reader.
fn rate(seed: u64, link: LinkModel) -> f64 {
    let mut sim = pair(seed, link);
    let begin = sim.now();
    stream(&mut sim, STREAM);
    f64::from(STREAM) / sim.now().since(begin).as_secs_f64()
}

/// Sends a number of messages to one reader, and runs until all have their outcome.
fn stream(sim: &mut Simulation, messages: u32) {
    let (begin, mut typed) = (sim.now(), 0);
    loop {
        let open = sim.client_machine(1).expect("it runs").unsettled();
        for _ in open..BACKLOG.min(open + (messages - typed) as usize) {
            sim.type_line(1, &format!("send y message {typed}"));
            typed += 1;
        }
        if open == 0 && typed == messages {
            return;
        }
        assert!(sim.step(begin + STREAM_LIMIT), "{open} of {typed} messages have no outcome");
    }
}

/// Whether the first message has no acknowledgement in 500 ms.
fn has_no_ack(seed: u64, link: LinkModel) -> bool {
    let mut sim = pair(seed, link);
    sim.type_line(1, "send y hi");
    sim.run_for(Duration::from_micros(500_001));
    !sim.lines(1).iter().any(|line| line == "[Message received by y.]")
}

/// The percentage of first messages without an acknowledgement in 500 ms.
fn no_ack(link: LinkModel) -> f64 {
    let failed = in_parallel(SAMPLES, |seed| has_no_ack(seed, link)).into_iter().filter(|failed| *failed);
    100.0 * failed.count() as f64 / SAMPLES as f64
}

/// The results of `run` with the numbers below `count`, in order, on all processors.
fn in_parallel<T: Send>(count: u64, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let processors = std::thread::available_parallelism().map_or(1, |processors| processors.get() as u64);
    let run_part = |part| (part..count).step_by(processors as usize).map(|number| (number, run(number))).collect();
    let mut results: Vec<(u64, T)> = std::thread::scope(|scope| {
        let parts: Vec<_> = (0..processors).map(|part| scope.spawn(move || run_part(part))).collect();
        parts.into_iter().flat_map(|part: std::thread::ScopedJoinHandle<'_, Vec<_>>| part.join().unwrap()).collect()
    });
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    let middle = rates.len() / 2;
    (rates[middle - 1 + rates.len() % 2] + rates[middle]) / 2.0
}

/// The table as text.
fn emit(cells: &[Cell]) -> String {
    let mut table = format!("{TITLE}\n");
    for Cell { net, loss, rate, no_ack } in cells {
        writeln!(table, "{net:13}  {:>12}%  {rate:>10.0}  {no_ack:>23.2}%", loss * 100.0).unwrap();
    }
    table
}

/// The committed table.
fn committed() -> Vec<Cell> {
    let table = std::fs::read_to_string(TABLE).unwrap();
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some(TITLE));
    let number = |word: Option<&str>| word.unwrap().trim_end_matches('%').parse::<f64>().unwrap();
    let committed = lines.zip(cells()).map(|(line, (net, loss, _))| {
        let mut words = line.split_whitespace();
        assert_eq!((words.next(), number(words.next())), (Some(net), loss * 100.0), "{line}");
        Cell { net, loss, rate: number(words.next()), no_ack: number(words.next()) }
    });
    let committed: Vec<_> = committed.collect();
    assert_eq!((committed.len(), emit(&committed)), (cells().count(), table));
    committed
}

/// Asserts that rates fall with the loss and that few first messages have no acknowledgement.
fn assert_promises(table: &[Cell]) {
    for row in table.chunks(LOSSES.len()) {
        assert!(row.is_sorted_by(|lower, higher| lower.rate > higher.rate), "{row:#?}");
    }
    for cell in table {
        assert!(cell.no_ack < if cell.loss <= PROMISED_LOSS { 0.1 } else { 5.0 }, "{cell:?}");
    }
}

#[test]
fn the_committed_table_keeps_the_promises() {
    assert_promises(&committed());
}

#[test]
fn the_rate_of_one_simulation_of_each_third_cell_is_close_to_the_committed_median() {
    let links: Vec<_> = cells().step_by(3).map(|(_, _, link)| link).collect();
    let rates = in_parallel(links.len() as u64, |cell| rate(1, links[cell as usize]));
    for (cell, rate) in committed().iter().step_by(3).zip(rates) {
        assert!((1.0 / TOLERANCE..TOLERANCE).contains(&(rate / cell.rate)), "{rate:.0} messages/s: {cell:?}");
    }
}

#[test]
fn the_share_of_first_messages_without_acknowledgement_at_the_promised_loss_is_the_committed_one() {
    let promised = committed().into_iter().zip(cells()).filter(|(cell, _)| cell.loss == PROMISED_LOSS);
    for (cell, (_, _, link)) in promised {
        assert_eq!(format!("{:.2}", no_ack(link)), format!("{:.2}", cell.no_ack), "{cell:?}");
    }
}

#[test]
fn a_long_path_without_loss_needs_few_repetitions() {
    const MESSAGES: u32 = 3_000;
    let path = LinkModel { latency: ms(50), ..LinkModel::TRANSPARENT };
    let mut sim = pair(1, path);
    stream(&mut sim, MESSAGES);
    sim.run_for(ms(1));
    let attempts = |(_, event): &(_, Event)| match &event.body {
        Body::Client(ClientEvent::Delivered { attempts, .. }) => Some(*attempts),
        _ => None,
    };
    let attempts: Vec<u32> = sim.log(1).iter().filter_map(attempts).collect();
    let repeated = attempts.iter().filter(|attempts| **attempts > 1).count();
    assert_eq!(attempts.len(), MESSAGES as usize);
    assert!(repeated * 100 < attempts.len(), "{repeated} of {} were repeated", attempts.len());
}

#[test]
#[ignore = "too slow without optimisation: `make goodput`"]
fn the_whole_table_equals_the_committed_one() {
    let measured: Vec<_> = cells()
        .map(|(net, loss, link)| {
            let rate = median(in_parallel(SEEDS, |seed| rate(seed + 1, link)));
            Cell { net, loss, rate, no_ack: no_ack(link) }
        })
        .collect();
    let table = emit(&measured);
    assert_promises(&measured);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(TABLE, &table).unwrap();
    }
    assert!(std::fs::read_to_string(TABLE).unwrap_or_default() == table, "measured:\n{table}");
}
