//! Measures the overhead of a run: the time in which it did not wait for a limit, a window or a `sleep` to pass.

use std::time::Duration;

use crate::proto::time::Instant;

/// Intervals of waiting, which may overlap.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdleTime(Vec<(Instant, Instant)>);

impl IdleTime {
    /// The most intervals that are kept. At this limit, overlapping intervals are joined. If that frees no space, a
    /// new interval is dropped, which only makes the overhead look greater.
    const MAX: usize = 4096;

    /// Adds an interval of waiting.
    pub(crate) fn add(&mut self, from: Instant, to: Instant) {
        if from >= to {
            return;
        }
        if self.0.len() >= Self::MAX {
            self.join();
        }
        if self.0.len() < Self::MAX {
            self.0.push((from, to));
        }
    }

    /// The time between two instants that lies in no interval.
    pub(crate) fn overhead(&mut self, from: Instant, to: Instant) -> Duration {
        self.join();
        let inside = self.0.iter().map(|(a, b)| (*b.min(&to)).since(*a.max(&from)));
        to.since(from).saturating_sub(inside.sum())
    }

    fn join(&mut self) {
        self.0.sort_unstable();
        let mut joined: Vec<(Instant, Instant)> = Vec::with_capacity(self.0.len());
        for (from, to) in self.0.drain(..) {
            match joined.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => joined.push((from, to)),
            }
        }
        self.0 = joined;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn overlapping_intervals_count_once() {
        let mut idle = IdleTime::default();
        for (from, to) in [(100, 600), (300, 800), (900, 1000), (50, 50), (70, 60), (5000, 6000)] {
            idle.add(at(from), at(to));
        }
        assert_eq!(idle.overhead(at(0), at(1000)), Duration::from_millis(200));
        assert_eq!(idle.overhead(at(200), at(700)), Duration::ZERO);
        assert_eq!(idle.overhead(at(0), at(2000)), Duration::from_millis(1200));
    }

    #[test]
    fn intervals_are_joined_and_dropped_at_the_limit() {
        let mut idle = IdleTime::default();
        for n in 0..IdleTime::MAX as u64 {
            idle.add(at(n), at(n + 1));
        }
        idle.add(at(1_000_000), at(1_000_001));
        assert_eq!(idle.0.len(), 2);
        for n in 0..2 * IdleTime::MAX as u64 {
            idle.add(at(2_000_000 + 2 * n), at(2_000_000 + 2 * n + 1));
        }
        assert_eq!(idle.0.len(), IdleTime::MAX);
    }
}
