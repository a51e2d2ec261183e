//! Models of paths between two hosts: their data, presets, and the combination of two models.
//!
//! The [emulator](crate::netem::emulator::Emulator) applies them.

use std::time::Duration;

/// The behaviour of a path between two hosts in one direction. Probabilities are from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkModel {
    /// The shortest time that a datagram takes.
    pub latency: Duration,
    /// The largest random addition to the latency. It is evenly distributed from zero.
    pub jitter: Duration,
    /// The probability that a datagram is lost.
    pub loss: f64,
    /// The probability that a datagram arrives twice.
    pub duplicate: f64,
    /// The probability that a datagram arrives after its successor; see [`REORDER_WAITS`].
    ///
    /// [`REORDER_WAITS`]: crate::netem::emulator::REORDER_WAITS
    pub reorder: f64,
    /// The probability that a datagram is lost if the one before it was lost (a two-state Gilbert-Elliott model).
    /// With 0, losses are independent.
    pub burst: f64,
    /// Bytes per second; 0 means no limit.
    pub bandwidth: u64,
    /// The most datagrams that wait for the bandwidth, besides the one in transmission; 0 means no limit. A datagram
    /// that finds the queue full is lost.
    pub queue: usize,
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl LinkModel {
    /// No effect: a datagram arrives when it is sent. This is the default of a program without faults.
    pub const TRANSPARENT: LinkModel = LinkModel {
        latency: Duration::ZERO,
        jitter: Duration::ZERO,
        loss: 0.0,
        duplicate: 0.0,
        reorder: 0.0,
        burst: 0.0,
        bandwidth: 0,
        queue: 0,
    };
    /// No losses. A round trip takes 100 µs.
    pub const PERFECT: LinkModel = LinkModel { latency: Duration::from_micros(50), ..LinkModel::TRANSPARENT };
    /// A wired office network. A round trip takes at least half a millisecond, and one datagram in 10,000 is lost.
    pub const LAN: LinkModel = LinkModel {
        latency: Duration::from_micros(250),
        jitter: Duration::from_micros(100),
        loss: 0.000_1,
        ..LinkModel::TRANSPARENT
    };
    /// A wireless network with a weak signal. After a delivered datagram, 5 % of the datagrams start a burst of losses.
    pub const WIFI_LOSSY: LinkModel = LinkModel {
        latency: ms(2),
        jitter: ms(8),
        loss: 0.05,
        reorder: 0.02,
        burst: 0.4,
        bandwidth: 2_000_000,
        ..LinkModel::TRANSPARENT
    };
    /// A path across an ocean. A round trip takes 76 to 84 ms.
    pub const TRANSATLANTIC: LinkModel =
        LinkModel { latency: ms(38), jitter: ms(4), loss: 0.005, ..LinkModel::TRANSPARENT };
    /// All kinds of faults at once.
    pub const HOSTILE: LinkModel = LinkModel {
        latency: ms(10),
        jitter: ms(20),
        loss: 0.3,
        duplicate: 0.1,
        reorder: 0.1,
        burst: 0.3,
        bandwidth: 1_000_000,
        queue: 0,
    };

    /// The presets by name, in alphabetical order.
    pub const PRESETS: &'static [(&'static str, LinkModel)] = &[
        ("hostile", LinkModel::HOSTILE),
        ("lan", LinkModel::LAN),
        ("perfect", LinkModel::PERFECT),
        ("transatlantic", LinkModel::TRANSATLANTIC),
        ("wifi-lossy", LinkModel::WIFI_LOSSY),
    ];

    /// The path through both links in sequence. Delays add up, losses, duplicates and reordering are independent, and
    /// the smaller bandwidth applies, with its queue.
    #[must_use]
    pub fn and_then(self, next: LinkModel) -> LinkModel {
        // Of two equal bandwidths the first one has the queue: nothing waits at the second one.
        let is_first_slower = self.bandwidth > 0 && (next.bandwidth == 0 || self.bandwidth <= next.bandwidth);
        let slower = if is_first_slower { self } else { next };
        let has_bursts = self.burst > 0.0 || next.burst > 0.0;
        LinkModel {
            latency: self.latency.saturating_add(next.latency),
            jitter: self.jitter.saturating_add(next.jitter),
            loss: either(self.loss, next.loss),
            duplicate: either(self.duplicate, next.duplicate),
            reorder: either(self.reorder, next.reorder),
            burst: if has_bursts { either(self.loss_after(true), next.loss_after(true)) } else { 0.0 },
            bandwidth: slower.bandwidth,
            queue: slower.queue,
        }
    }

    /// The probability that a datagram is lost, depending on whether the one before it was lost.
    #[must_use]
    pub fn loss_after(&self, lost_last: bool) -> f64 {
        if lost_last && self.burst > 0.0 { self.burst } else { self.loss }
    }

    /// How long a datagram of `bytes` bytes occupies the path.
    #[must_use]
    pub fn transmission_time(&self, bytes: usize) -> Duration {
        let scaled = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000);
        Duration::from_micros(scaled.checked_div(self.bandwidth).unwrap_or(0))
    }
}

/// The probability that at least one of two independent events happens. Exact when one probability is 0 or 1.
fn either(a: f64, b: f64) -> f64 {
    a + (1.0 - a) * b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transparent_link_in_sequence_changes_nothing() {
        for (name, link) in LinkModel::PRESETS {
            assert_eq!(link.and_then(LinkModel::TRANSPARENT), *link, "{name}");
            assert_eq!(LinkModel::TRANSPARENT.and_then(*link), *link, "{name}");
        }
    }

    #[test]
    fn two_links_in_sequence_combine() {
        let half = LinkModel { loss: 0.5, duplicate: 0.5, reorder: 1.0, ..LinkModel::TRANSPARENT };
        let both = half.and_then(LinkModel { bandwidth: 3_000_000, ..LinkModel::WIFI_LOSSY });
        assert_eq!((both.latency, both.jitter, both.bandwidth), (ms(2), ms(8), 3_000_000));
        assert_eq!((both.loss, both.duplicate, both.reorder), (0.525, 0.5, 1.0));
        assert_eq!((both.burst, both.loss_after(true), both.loss_after(false)), (0.7, 0.7, 0.525));
        assert_eq!(half.and_then(half), LinkModel { loss: 0.75, duplicate: 0.75, ..half });
    }

    #[test]
    fn two_links_in_sequence_have_the_smaller_bandwidth_with_its_queue() {
        let link = |bandwidth, queue| LinkModel { bandwidth, queue, ..LinkModel::TRANSPARENT };
        let (slow, fast, unlimited) = (link(1_000, 5), link(2_000, 6), link(0, 7));
        for (first, next) in [(slow, fast), (fast, slow), (slow, unlimited), (unlimited, slow), (slow, link(1_000, 8))]
        {
            assert_eq!(first.and_then(next), slow, "{first:?} {next:?}");
        }
    }

    #[test]
    fn transmission_time_follows_from_the_bandwidth() {
        let link = LinkModel { bandwidth: 2_000_000, ..LinkModel::TRANSPARENT };
        assert_eq!(link.transmission_time(1_200), Duration::from_micros(600));
        assert_eq!(LinkModel::TRANSPARENT.transmission_time(1_200), Duration::ZERO);
    }
}
