//! Random histories of crashes, losses and commands, each from one seed: whatever happens, the contract holds.
//!
//! `CHAT_SEED=7 cargo test --test core_histories` replays one and shows it; `CHAT_SEEDS=10000` plays so many.

mod history;

use history::{History, check};

/// Seeds that found a fault once.
const REGRESSIONS: &[u64] = &[18, 42, 203, 204, 279];

/// How many seeds are played unless `CHAT_SEEDS` says otherwise.
const SEEDS: u64 = 500;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Plays a seed; on a fault, says which and how to see it again.
fn verdict(seed: u64) -> Result<(), String> {
    let history = History::play(seed);
    let faults = check::faults(&history);
    if number("CHAT_SEED").is_some() {
        println!("{}", history.transcript());
    }
    if faults.is_empty() {
        return Ok(());
    }
    let again = format!("CHAT_SEED={seed} cargo test --test core_histories");
    Err(format!("seed {seed}, replayed by `{again}`:\n  {}\n", faults.join("\n  ")))
}

fn play(seeds: impl Iterator<Item = u64>) {
    let failed: Vec<String> = seeds.filter_map(|seed| verdict(seed).err()).collect();
    assert!(failed.is_empty(), "{} histories broke the contract:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn random_histories_keep_the_contract() {
    match number("CHAT_SEED") {
        Some(seed) => play(seed..=seed),
        None => play(1..=number("CHAT_SEEDS").unwrap_or(SEEDS)),
    }
}

#[test]
fn histories_that_broke_it_once_keep_it_now() {
    play(REGRESSIONS.iter().copied());
}
