//! Runs random histories of crashes, losses and commands, each from one seed, and checks that the contract holds.
//!
//! `CHAT_SEED=7 cargo test --test protocol histories::` replays one history of each kind. `CHAT_SEEDS=10000` runs that
//! number of histories, and one crowd for [`HISTORIES_A_CROWD`] of them.

use chat::proto::server::WHOLE_TABLE;

use crate::history::{History, check, timing};

/// Seeds whose histories found a fault in the past.
const REGRESSIONS: &[u64] = &[18, 42, 61, 138, 203, 204, 279, 445, 3929, 6435, 8510, 16227, 17670, 19427, 19540];

/// The number of seeds to run without `CHAT_SEEDS`.
const SEEDS: u64 = 500;

/// The number of seeds to run with partial tables.
const PARTIAL_SEEDS: u64 = 50;

/// Seeds whose crowds found a fault in the past.
const CROWD_REGRESSIONS: &[u64] = &[563, 740, 899];

/// The number of crowds to run without `CHAT_SEEDS`.
const CROWDS: u64 = 6;

/// `CHAT_SEEDS` runs one crowd for this many histories, because a crowd takes much longer.
const HISTORIES_A_CROWD: u64 = 50;

/// The kinds of histories.
#[derive(Clone, Copy)]
enum HistoryKind {
    WholeTables,
    PartialTables,
    Crowd,
}

impl HistoryKind {
    fn run(self, seed: u64) -> History {
        match self {
            Self::WholeTables => History::run(seed, WHOLE_TABLE),
            // Each history has at least three names, so that it begins with whole tables.
            Self::PartialTables => History::run(seed, 2),
            Self::Crowd => History::crowd(seed),
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The seeds that the environment chooses, or this number of them. `divisor` divides the number from the environment.
fn seeds(count: u64, divisor: u64) -> Vec<u64> {
    match number("CHAT_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("CHAT_SEEDS").map_or(count, |seeds| seeds.div_ceil(divisor))).collect(),
    }
}

/// Runs a seed. Returns the number of limits of 500 ms and of 2,500 ms that passed. On a fault, returns a description
/// with the command that replays it.
fn verdict(seed: u64, kind: HistoryKind) -> Result<(usize, usize), String> {
    let history = kind.run(seed);
    let mut faults = check::faults(&history);
    let limits = timing::faults(&history, &mut faults);
    if faults.is_empty() {
        return Ok(limits);
    }
    let path = format!("{}/history-{seed}.txt", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&path, history.transcript()).expect("a transcript");
    let again = format!("CHAT_SEED={seed} cargo test --test protocol histories::");
    Err(format!("seed {seed}, replayed by `{again}`, transcript in {path}:\n  {}\n", faults.join("\n  ")))
}

/// Runs all seeds on all processors. Returns the number of limits of 500 ms and of 2,500 ms that passed in them.
fn run_all(seeds: &[u64], kind: HistoryKind) -> (usize, usize) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = |at: usize| seeds.iter().skip(at).step_by(threads).map(|seed| verdict(*seed, kind));
    let verdicts: Vec<Result<_, String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|at| scope.spawn(move || share(at).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a verdict on each seed")).collect()
    });
    let failed: Vec<&str> = verdicts.iter().filter_map(|verdict| verdict.as_ref().err().map(String::as_str)).collect();
    assert!(failed.is_empty(), "{} histories broke the contract:\n{}", failed.len(), failed.join("\n"));
    let limits = verdicts.into_iter().filter_map(Result::ok);
    limits.fold((0, 0), |sum, limits| (sum.0 + limits.0, sum.1 + limits.1))
}

#[test]
fn random_histories_keep_the_contract() {
    let seeds = seeds(SEEDS, 1);
    let (acknowledgements, servers) = run_all(&seeds, HistoryKind::WholeTables);
    let enough = seeds.len() < 100 || (acknowledgements * 10 >= seeds.len() && servers * 20 >= seeds.len());
    assert!(enough, "only {acknowledgements} messages and {servers} servers were waited for to the limit");
}

#[test]
fn histories_that_once_broke_the_contract_keep_it() {
    run_all(REGRESSIONS, HistoryKind::WholeTables);
    run_all(CROWD_REGRESSIONS, HistoryKind::Crowd);
}

#[test]
fn histories_with_partial_tables_keep_the_contract() {
    run_all(&seeds(PARTIAL_SEEDS, 1), HistoryKind::PartialTables);
}

#[test]
fn crowds_keep_the_contract() {
    run_all(&seeds(CROWDS, HISTORIES_A_CROWD), HistoryKind::Crowd);
}
