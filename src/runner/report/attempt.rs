//! The number of an attempt at a case that runs more than once.

use std::fmt;

/// The round and the retry of an attempt at a case. Reports show them after the title. A single attempt shows nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The round, from 1.
    pub round: u64,
    /// The number of rounds. `None` for endless rounds.
    pub rounds: Option<u64>,
    /// The number of failed attempts before this one in the same round.
    pub retry: u32,
    /// A pass on a retry counts as a pass.
    pub lenient: bool,
}

impl Default for Attempt {
    fn default() -> Self {
        Self { round: 1, rounds: Some(1), retry: 0, lenient: false }
    }
}

impl Attempt {
    /// Whether there may be more than one round.
    #[must_use]
    pub fn is_repeated(self) -> bool {
        self.rounds != Some(1)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rounds {
            Some(1) => {}
            Some(rounds) => write!(f, "  round {} of {rounds}", self.round)?,
            None => write!(f, "  round {}", self.round)?,
        }
        if self.retry > 0 { write!(f, "  retry {}", self.retry) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_attempt_shows_nothing() {
        let usual = Attempt::default();
        assert_eq!(usual.to_string(), "");
        assert_eq!(Attempt { retry: 2, ..usual }.to_string(), "  retry 2");
        assert_eq!(Attempt { round: 7, rounds: Some(9), ..usual }.to_string(), "  round 7 of 9");
        assert_eq!(Attempt { round: 7, rounds: None, ..usual }.to_string(), "  round 7");
    }
}
