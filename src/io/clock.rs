//! The clock of the program: the only source of time for the machines, except in the simulation.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::proto::time::{Instant, Now, Timestamp};

/// Reads monotonic time and civil time. Copies share one origin, so their times can be compared.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// Starts a clock. Its monotonic time begins one second after the origin, so that a machine can subtract a short
    /// duration from the first instant.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    /// The current time. The monotonic part never goes back; the civil part does when the system's clock is set back.
    #[must_use]
    pub fn now(&self) -> Now {
        let mono = Instant::ZERO + Duration::from_secs(1) + self.origin.elapsed();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now { mono, unix: Timestamp::from_micros(i64::try_from(unix.as_micros()).unwrap_or(i64::MAX)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_time_never_goes_back() {
        let clock = Clock::start();
        let (first, second) = (clock.now(), clock.now());
        assert!(first.mono <= second.mono);
        assert!(first.mono >= Instant::from_micros(1_000_000));
        assert!(first.unix.seconds().as_str() > "2025");
    }
}
