//! Time values of the machines. A machine never reads a clock: each call gives it the time as a [`Now`].

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point in monotonic time, in microseconds since an origin that the caller chooses. Arithmetic saturates.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The origin.
    pub const ZERO: Instant = Instant(0);

    /// The instant `micros` microseconds after the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// The duration from `earlier` to this instant; zero if `earlier` is later than this instant.
    #[must_use]
    pub fn since(self, earlier: Instant) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;
    fn add(self, rhs: Duration) -> Instant {
        Instant(self.0.saturating_add(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Instant {
    type Output = Instant;
    fn sub(self, rhs: Duration) -> Instant {
        Instant(self.0.saturating_sub(u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A point in civil time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The time `micros` microseconds after 1970-01-01T00:00:00Z; negative values are earlier.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Formats as RFC 3339 in UTC with whole seconds, for display: `2026-01-02T03:04:05Z`. A time outside the range of
    /// `jiff` is formatted as the start of 1970.
    #[must_use]
    pub fn seconds(self) -> String {
        self.format(0)
    }

    /// Formats as RFC 3339 in UTC with microseconds, for events: `2026-01-02T03:04:05.678901Z`. The range is that of
    /// [`Timestamp::seconds`].
    #[must_use]
    pub fn exact(self) -> String {
        self.format(6)
    }

    /// The printer of `jiff` is several times faster than a pattern.
    fn format(self, digits: u8) -> String {
        const PRINTER: jiff::fmt::temporal::DateTimePrinter = jiff::fmt::temporal::DateTimePrinter::new();
        let stamp = jiff::Timestamp::from_microsecond(self.0).unwrap_or_default();
        PRINTER.precision(Some(digits)).timestamp_to_string(&stamp)
    }
}

/// The time of a call to a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// Monotonic time, for all timers and time limits.
    pub mono: Instant,
    /// Civil time, only for display, events and stored records: it can go back.
    pub unix: Timestamp,
}

/// The earlier of two deadlines; `None` means no deadline.
#[must_use]
pub fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Maximum duration in a script or an option: one day.
pub const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// The reason why a string is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DurationError {
    /// The string is not a number with a unit, or the duration is negative.
    Malformed,
    /// The duration is longer than [`MAX_DURATION`].
    TooLong,
}

/// Parses a duration: a number with a unit, such as `250ms`, `5s`, `1.5s` or `2m`.
///
/// # Errors
/// [`DurationError`] if the string has another form, or the duration is negative or longer than [`MAX_DURATION`].
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let parsed = text.parse::<jiff::SignedDuration>().map_err(|_| DurationError::Malformed)?;
    let duration = Duration::try_from(parsed).map_err(|_| DurationError::Malformed)?;
    if duration > MAX_DURATION { Err(DurationError::TooLong) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_rfc_3339_in_utc() {
        let at = Timestamp::from_micros(1_767_323_045_678_901);
        assert_eq!(at.seconds(), "2026-01-02T03:04:05Z");
        assert_eq!(at.exact(), "2026-01-02T03:04:05.678901Z");
        assert_eq!(Timestamp::from_micros(1).exact(), "1970-01-01T00:00:00.000001Z");
        assert_eq!(Timestamp::from_micros(-1).seconds(), "1969-12-31T23:59:59Z");
        assert_eq!(Timestamp::from_micros(i64::MAX).seconds(), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn instants_saturate() {
        assert_eq!(Instant::ZERO.since(Instant::from_micros(5)), Duration::ZERO);
        assert_eq!(Instant::from_micros(5) - Duration::from_secs(1), Instant::ZERO);
        assert_eq!(format!("{:?}", Instant::from_micros(1_500_000)), "1.500000s");
    }
}
