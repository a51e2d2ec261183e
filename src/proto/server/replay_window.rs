//! Replay window: the numbers of the requests that arrived from one client, so that none is processed twice.

use std::collections::BTreeMap;

/// The most runs of numbers in a window. A client has at most 4,096 requests without outcome, and at worst every second
/// one is missing.
pub const RUNS: usize = 2_048;

/// A set of numbers, stored as runs of consecutive ones. Normally they arrive in order and form one run.
#[derive(Debug, Default)]
pub struct ReplayWindow {
    /// The last number of each run, by its first.
    runs: BTreeMap<u64, u64>,
}

impl ReplayWindow {
    /// Adds a number. Returns whether it is new. In a full window, all numbers below the lowest run count as old.
    pub fn insert(&mut self, r: u64) -> bool {
        let before = self.runs.range(..=r).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| r <= last) {
            return false;
        }
        if before.is_none() && self.runs.len() >= RUNS {
            return false;
        }
        let last = self.runs.remove(&r.saturating_add(1)).unwrap_or(r);
        match before.filter(|(_, end)| *end == r - 1) {
            Some((first, _)) => self.runs.insert(first, last),
            None => self.runs.insert(r, last),
        };
        if self.runs.len() > RUNS {
            self.runs.pop_first();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_new_once_in_any_order() {
        let mut window = ReplayWindow::default();
        for r in [9, 8, 1, 3, 2, 0, 7, u64::MAX, 10] {
            assert!(window.insert(r), "{r}");
            assert!(!window.insert(r), "{r}");
        }
        assert_eq!(window.runs, BTreeMap::from([(0, 3), (7, 10), (u64::MAX, u64::MAX)]));
    }

    #[test]
    fn a_full_window_forgets_its_lowest_run_and_treats_all_numbers_below_as_old() {
        let mut window = ReplayWindow::default();
        for run in 0..RUNS as u64 {
            assert!(window.insert(10 + run * 2));
        }
        assert!(!window.insert(8));
        assert!(window.insert(10 + RUNS as u64 * 2));
        assert_eq!((window.runs.len(), window.runs.first_key_value()), (RUNS, Some((&12, &12))));
        assert!(!window.insert(10) && window.insert(13));
    }
}
