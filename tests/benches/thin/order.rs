//! Checks a stream of numbered messages for losses, doubles and disorder.

use std::collections::BTreeSet;
use std::ops::AddAssign;

/// Faults of delivery. Any fault fails the bench.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub lost: u64,
    pub doubled: u64,
    pub disordered: u64,
    /// Clients that the server declared offline although they answered.
    pub false_offline: u64,
}

impl Faults {
    pub fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.disordered += other.disordered;
        self.false_offline += other.false_offline;
    }
}

/// The messages of one sender at one reader. They are numbered from 0.
#[derive(Debug, Default)]
pub struct OrderCheck {
    next: u64,
    missing: BTreeSet<u64>,
    doubled: u64,
    disordered: u64,
}

impl OrderCheck {
    /// Records a message. Returns whether it is new.
    pub fn arrived(&mut self, number: u64) -> bool {
        if number >= self.next {
            self.missing.extend(self.next..number);
            self.next = number + 1;
            return true;
        }
        let is_new = self.missing.remove(&number);
        *(if is_new { &mut self.disordered } else { &mut self.doubled }) += 1;
        is_new
    }

    /// Whether this message has arrived.
    pub fn has(&self, number: u64) -> bool {
        number < self.next && !self.missing.contains(&number)
    }

    /// The faults so far, if `expected` messages should have arrived.
    pub fn faults(&self, expected: u64) -> Faults {
        let lost = self.missing.len() as u64 + expected.saturating_sub(self.next);
        Faults { lost, doubled: self.doubled, disordered: self.disordered, false_offline: 0 }
    }
}
