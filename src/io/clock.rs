//! The clock of the shell: the one place where real time is asked for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::proto::time::{Instant, Now, Timestamp};

/// Tells the time: monotonic since the clock was started, and civil. Copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: std::time::Instant,
}

impl Clock {
    /// A clock whose monotonic time begins now, a second after its origin, so that a core may subtract from it.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: std::time::Instant::now() }
    }

    /// The present moment.
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
    fn time_never_goes_back() {
        let clock = Clock::start();
        let (first, second) = (clock.now(), clock.now());
        assert!(first.mono <= second.mono);
        assert!(first.mono >= Instant::from_micros(1_000_000));
        assert!(first.unix.seconds().as_str() > "2025");
    }
}
