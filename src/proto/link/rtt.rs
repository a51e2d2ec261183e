//! The round-trip estimator of one address, and the retransmission timeout derived from it.

use std::time::Duration;

/// Smoothed round-trip time after RFC 6298 §2, with Karn's algorithm: only datagrams that were sent once are measured.
///
/// The timeout differs from RFC 6298, because a direct message has only 500 ms. The first timeout is two smoothed round
/// trips, and each retransmission doubles it. It stays between [`Rtt::LEAST`] and [`Rtt::MOST`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Rtt {
    smoothed: Option<Duration>,
}

impl Rtt {
    /// The shortest retransmission timeout.
    pub const LEAST: Duration = Duration::from_millis(10);
    /// The first retransmission timeout while no round trip has been measured.
    pub const UNKNOWN: Duration = Duration::from_millis(20);
    /// The longest retransmission timeout. Without this cap, doubling leaves too few retransmissions in the 500 ms.
    pub const MOST: Duration = Duration::from_millis(40);

    /// Adds one measured round trip.
    pub fn measured(&mut self, sample: Duration) {
        self.smoothed = Some(match self.smoothed {
            None => sample,
            Some(smoothed) => (smoothed * 7 + sample) / 8,
        });
    }

    /// The retransmission timeout of a datagram that was sent `copies` times.
    #[must_use]
    pub fn timeout(&self, copies: u32) -> Duration {
        let first = self.smoothed.map_or(Self::UNKNOWN, |smoothed| smoothed * 2).clamp(Self::LEAST, Self::MOST);
        first.saturating_mul(1 << copies.saturating_sub(1).min(3)).min(Self::MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_the_round_trip_within_its_bounds() {
        let ms = Duration::from_millis;
        let mut rtt = Rtt::default();
        assert_eq!([1, 2, 3, 99].map(|copies| rtt.timeout(copies)), [ms(20), ms(40), ms(40), ms(40)]);
        rtt.measured(Duration::from_micros(50));
        assert_eq!([1, 2, 3, 4].map(|copies| rtt.timeout(copies)), [ms(10), ms(20), ms(40), ms(40)]);
        for _ in 0..100 {
            rtt.measured(ms(80));
        }
        assert_eq!(rtt.timeout(1), ms(40));
    }

    #[test]
    fn one_sample_moves_the_estimate_by_an_eighth() {
        let mut rtt = Rtt::default();
        rtt.measured(Duration::from_millis(8));
        rtt.measured(Duration::from_millis(16));
        assert_eq!(rtt.timeout(1), Duration::from_millis(18));
    }
}
