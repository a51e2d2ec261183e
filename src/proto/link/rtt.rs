//! The round-trip estimator of one link, and the times of loss detection that are derived from it.

use std::time::Duration;

/// Round-trip times after RFC 9002 §5.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rtt {
    estimate: Option<RttEstimate>,
}

#[derive(Clone, Copy, Debug)]
struct RttEstimate {
    latest: Duration,
    min: Duration,
    smoothed: Duration,
    variance: Duration,
}

impl Rtt {
    /// The probe timeout while no round trip has been measured. RFC 9002 has 999 ms, but a direct message has only 500.
    pub const UNKNOWN: Duration = Duration::from_millis(20);
    /// The longest time by which a receiver delays an acknowledgement on purpose.
    pub const MAX_ACK_DELAY: Duration = Duration::from_millis(2);
    /// The assumed resolution of timers (RFC 9002 §6.1.2).
    pub const GRANULARITY: Duration = Duration::from_millis(1);
    /// Persistent congestion lasts at least this many probe timeouts (RFC 9002 §7.6.1).
    const PERSISTENT_CONGESTION_THRESHOLD: u32 = 3;

    /// The time between two copies of a datagram outside a link, whose round trip is unknown: [`Rtt::UNKNOWN`] after the
    /// first one, then twice as long.
    #[must_use]
    pub fn unlinked_timeout(copies: u32) -> Duration {
        if copies <= 1 { Self::UNKNOWN } else { Self::UNKNOWN * 2 }
    }

    /// Adds one measured round trip. `ack_delay` is the part of it that the peer reports as its own delay.
    pub fn measured(&mut self, sample: Duration, ack_delay: Duration) {
        let Some(old) = self.estimate else {
            let first = RttEstimate { latest: sample, min: sample, smoothed: sample, variance: sample / 2 };
            self.estimate = Some(first);
            return;
        };
        let min = old.min.min(sample);
        let ack_delay = ack_delay.min(Self::MAX_ACK_DELAY);
        // A reported delay never makes a sample shorter than the minimum (RFC 9002 §5.3).
        let adjusted = if sample >= min + ack_delay { sample - ack_delay } else { sample };
        // The variance is updated first, with the old smoothed round trip (RFC 9002 Appendix A.7).
        let variance = (old.variance * 3 + old.smoothed.abs_diff(adjusted)) / 4;
        let smoothed = (old.smoothed * 7 + adjusted) / 8;
        self.estimate = Some(RttEstimate { latest: sample, min, smoothed, variance });
    }

    /// The smoothed round trip; `None` before the first sample.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        self.estimate.map(|estimate| estimate.smoothed)
    }

    /// How long after the last transmission that elicits an acknowledgement a probe is sent (RFC 9002 §6.2.1). The
    /// caller applies the backoff.
    #[must_use]
    pub fn probe_timeout(&self) -> Duration {
        self.estimate.map_or(Self::UNKNOWN, |estimate| estimate.probe_timeout())
    }

    /// How much later than a lost datagram an acknowledged one was sent, measured in time (RFC 9002 §6.1.2).
    #[must_use]
    pub fn loss_delay(&self) -> Duration {
        let longest = self.estimate.map_or(Self::UNKNOWN, |estimate| estimate.smoothed.max(estimate.latest));
        (longest * 9 / 8).max(Self::GRANULARITY)
    }

    /// The time between two lost datagrams that establishes persistent congestion if no datagram sent between them was
    /// acknowledged (RFC 9002 §7.6.1). `None` before the first sample.
    #[must_use]
    pub fn persistent_congestion(&self) -> Option<Duration> {
        self.estimate.map(|estimate| estimate.probe_timeout() * Self::PERSISTENT_CONGESTION_THRESHOLD)
    }
}

impl RttEstimate {
    fn probe_timeout(&self) -> Duration {
        self.smoothed + (self.variance * 4).max(Rtt::GRANULARITY) + Rtt::MAX_ACK_DELAY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    fn rtt(samples: &[(Duration, Duration)]) -> Rtt {
        let mut rtt = Rtt::default();
        samples.iter().for_each(|(sample, ack_delay)| rtt.measured(*sample, *ack_delay));
        rtt
    }

    #[test]
    fn without_a_sample_the_times_are_assumed() {
        let rtt = Rtt::default();
        assert_eq!((rtt.smoothed(), rtt.persistent_congestion()), (None, None));
        assert_eq!((rtt.probe_timeout(), rtt.loss_delay()), (ms(20), us(22_500)));
    }

    #[test]
    fn the_first_sample_is_the_estimate_and_ignores_the_delay() {
        let rtt = rtt(&[(ms(8), ms(2))]);
        assert_eq!((rtt.smoothed(), rtt.loss_delay()), (Some(ms(8)), ms(9)));
        // 8 ms + 4 × 4 ms + 2 ms
        assert_eq!((rtt.probe_timeout(), rtt.persistent_congestion()), (ms(26), Some(ms(78))));
    }

    #[test]
    fn a_further_sample_counts_an_eighth_and_its_deviation_a_quarter() {
        let rtt = rtt(&[(ms(8), ms(0)), (ms(16), ms(0))]);
        // The variance is (3 × 4 ms + 8 ms) / 4 = 5 ms.
        assert_eq!((rtt.smoothed(), rtt.probe_timeout()), (Some(ms(9)), ms(9 + 4 * 5 + 2)));
        assert_eq!(rtt.loss_delay(), ms(18), "the latest sample is longer than the smoothed one");
    }

    #[test]
    fn the_reported_delay_is_subtracted_up_to_its_limit() {
        for (reported, subtracted) in [(ms(0), ms(0)), (ms(1), ms(1)), (ms(2), ms(2)), (Duration::MAX, ms(2))] {
            let rtt = rtt(&[(ms(8), ms(0)), (ms(16), reported)]);
            assert_eq!(rtt.smoothed(), Some((ms(8 * 7 + 16) - subtracted) / 8), "{reported:?}");
        }
    }

    #[test]
    fn the_reported_delay_never_makes_a_sample_shorter_than_the_minimum() {
        // 9 ms minus 1 ms is the minimum; minus 2 ms is less, so that the delay is ignored.
        for (reported, adjusted) in [(ms(1), ms(8)), (ms(2), ms(9))] {
            let rtt = rtt(&[(ms(8), ms(0)), (ms(9), reported)]);
            assert_eq!(rtt.smoothed(), Some((ms(8 * 7) + adjusted) / 8), "{reported:?}");
        }
        // A new minimum applies to its own sample.
        assert_eq!(rtt(&[(ms(8), ms(0)), (ms(4), ms(2))]).smoothed(), Some(us(7_500)));
    }

    #[test]
    fn the_times_have_the_granularity_as_lower_bound() {
        let rtt = rtt(&[(us(40), us(0)); 200]);
        assert_eq!(rtt.smoothed(), Some(us(40)));
        assert_eq!((rtt.loss_delay(), rtt.probe_timeout()), (ms(1), us(40) + ms(1) + ms(2)));
        assert_eq!(rtt.persistent_congestion(), Some(us(3 * 3_040)));
    }
}
