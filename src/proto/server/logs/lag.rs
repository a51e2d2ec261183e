//! Lag: the online readers of one log by how much they lack, and the answers that wait for them.
//!
//! A reader lags from the moment it lacks more than half of the retention. Senders wait for it for [`LAG_TIMEOUT`],
//! and again only after it lacked less than a quarter.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::proto::name::Name;
use crate::proto::record::LogName;
use crate::proto::server::logs::Logs;
use crate::proto::server::replies::RequestId;
use crate::proto::time::Instant;

/// How long senders wait for a reader that lags.
pub const LAG_TIMEOUT: Duration = Duration::from_secs(30);
/// The most answers that are held in all logs. Further ones are sent at once.
pub const HELD_ANSWERS: usize = 65_536;

/// The online readers of a log.
#[derive(Debug, Default)]
pub struct Lag {
    positions: BTreeMap<Name, (u64, LagState)>,
    /// The readers that do not lag, by position.
    ahead: BTreeSet<(u64, Name)>,
    /// The readers for which senders wait, by the time at which they began to lag.
    lagging: BTreeSet<(Instant, Name)>,
    /// The requests whose answers wait, and the number of recipients of each.
    pub held: VecDeque<(RequestId, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LagState {
    Ahead,
    Lagging(Instant),
    /// Senders waited for [`LAG_TIMEOUT`].
    Exempt,
}

impl Lag {
    /// Adds a reader that is online now.
    pub fn insert(&mut self, reader: &Name, next: u64) {
        self.remove(reader);
        self.positions.insert(reader.clone(), (next, LagState::Ahead));
        self.ahead.insert((next, reader.clone()));
    }

    /// Removes a reader that is no longer online or no longer reads the log.
    pub fn remove(&mut self, reader: &Name) {
        let Some((next, state)) = self.positions.remove(reader) else { return };
        match state {
            LagState::Ahead => self.ahead.remove(&(next, reader.clone())),
            LagState::Lagging(since) => self.lagging.remove(&(since, reader.clone())),
            LagState::Exempt => true,
        };
    }

    /// The lowest position of a reader that does not lag.
    pub fn lowest_ahead(&self) -> Option<u64> {
        self.ahead.first().map(|(next, _)| *next)
    }

    /// Notes that the reader at the lowest position lags from now on.
    pub fn begin(&mut self, now: Instant) {
        if let Some((next, reader)) = self.ahead.pop_first() {
            self.positions.insert(reader.clone(), (next, LagState::Lagging(now)));
            self.lagging.insert((now, reader));
        }
    }

    /// Notes the new position of a reader, and how much it lacks there.
    pub fn move_to(&mut self, reader: &Name, next: u64, over_half: bool, over_quarter: bool) {
        let Some((position, state)) = self.positions.get_mut(reader) else { return };
        let before = std::mem::replace(position, next);
        let ends = match *state {
            LagState::Ahead => {
                self.ahead.remove(&(before, reader.clone()));
                true
            }
            LagState::Lagging(since) if !over_half => self.lagging.remove(&(since, reader.clone())),
            LagState::Lagging(_) => false,
            LagState::Exempt => !over_quarter,
        };
        if ends {
            *state = LagState::Ahead;
            self.ahead.insert((next, reader.clone()));
        }
    }

    /// Whether senders wait for a reader.
    pub fn has_lagging(&self) -> bool {
        !self.lagging.is_empty()
    }

    /// Stops waiting for readers that lag for [`LAG_TIMEOUT`].
    pub fn expire(&mut self, now: Instant) {
        while self.deadline().is_some_and(|at| at <= now)
            && let Some((_, reader)) = self.lagging.pop_first()
            && let Some((_, state)) = self.positions.get_mut(&reader)
        {
            *state = LagState::Exempt;
        }
    }

    /// When to call [`Lag::expire`].
    pub fn deadline(&self) -> Option<Instant> {
        self.lagging.first().map(|(since, _)| *since + LAG_TIMEOUT)
    }
}

impl Logs {
    /// Holds an answer if its sender fills the log and an online reader lags. Returns whether it is held.
    pub fn hold_answer(&mut self, name: &LogName, sender: &Name, request: RequestId, recipients: usize) -> bool {
        let Some(log) = self.logs.get_mut(name) else { return false };
        let holds = self.held_answers < HELD_ANSWERS && log.fills(sender) && log.lag.has_lagging();
        if holds {
            log.lag.held.push_back((request, recipients));
            self.held_answers += 1;
        }
        holds
    }

    /// Takes the answers that no longer wait for a reader: request and number of recipients of each.
    pub fn take_answers(&mut self) -> Vec<(RequestId, usize)> {
        let mut answers = Vec::new();
        let logs = &mut self.logs;
        self.lagging.retain(|name| {
            let Some(log) = logs.get_mut(name) else { return false };
            let waits = log.lag.has_lagging();
            if !waits {
                answers.extend(log.lag.held.drain(..));
            }
            waits
        });
        self.held_answers -= answers.len();
        answers
    }

    /// Stops waiting for readers that lag for [`LAG_TIMEOUT`].
    pub fn expire_lags(&mut self, now: Instant) {
        for name in &self.lagging {
            if let Some(log) = self.logs.get_mut(name) {
                log.lag.expire(now);
            }
        }
    }

    /// When to call [`Logs::expire_lags`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.lagging.iter().filter_map(|name| self.logs.get(name)?.lag.deadline()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn senders_wait_30_seconds_for_a_reader_and_again_after_it_caught_up() {
        let (mut lag, [x, y]) = (Lag::default(), ["x", "y"].map(|name| Name::new(name).unwrap()));
        lag.insert(&x, 5);
        lag.insert(&y, 7);
        assert_eq!((lag.lowest_ahead(), lag.has_lagging(), lag.deadline()), (Some(5), false, None));
        lag.begin(at(1));
        assert_eq!((lag.lowest_ahead(), lag.has_lagging(), lag.deadline()), (Some(7), true, Some(at(31))));
        lag.move_to(&x, 6, true, true);
        lag.expire(Instant::from_micros(30_999_999));
        assert!(lag.has_lagging());
        lag.expire(at(31));
        assert!(!lag.has_lagging());
        // Below a half it stays exempt, below a quarter it counts again.
        lag.move_to(&x, 8, false, true);
        assert_eq!(lag.lowest_ahead(), Some(7));
        lag.move_to(&x, 6, false, false);
        assert_eq!(lag.lowest_ahead(), Some(6));
        lag.begin(at(40));
        lag.move_to(&x, 9, false, true);
        assert!(!lag.has_lagging() && lag.lowest_ahead() == Some(7));
        lag.begin(at(50));
        lag.remove(&y);
        assert!(!lag.has_lagging() && lag.lowest_ahead() == Some(9));
        lag.remove(&x);
        assert!(lag.ahead.is_empty() && lag.positions.is_empty());
    }
}
