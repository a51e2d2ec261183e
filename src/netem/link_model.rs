//! A network that loses, delays, doubles and reorders datagrams, seeded.

use std::time::Duration;

use crate::proto::rng::Rng;

/// How a path between two hosts behaves. Probabilities are from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkModel {
    /// One way, at least.
    pub latency: Duration,
    /// Added to it, evenly distributed from nothing to this.
    pub jitter: Duration,
    /// The share of datagrams that is lost.
    pub loss: f64,
    /// The share of datagrams that arrives twice.
    pub duplicate: f64,
    /// The share of datagrams that is held back by up to four latencies, so that later ones overtake.
    pub reorder: f64,
    /// Losses come in bursts: after a loss, the next datagram is lost with this probability instead
    /// (the two states of Gilbert and Elliott). 0 for independent losses.
    pub burst: f64,
    /// How many bytes a second pass; 0 is no limit.
    pub bandwidth: u64,
}

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

impl LinkModel {
    /// Nothing is lost, and a round trip takes 100 µs.
    pub const PERFECT: LinkModel = LinkModel {
        latency: Duration::from_micros(50),
        jitter: Duration::ZERO,
        loss: 0.0,
        duplicate: 0.0,
        reorder: 0.0,
        burst: 0.0,
        bandwidth: 0,
    };
    /// A wired office: half a millisecond, one datagram in 10,000 lost.
    pub const LAN: LinkModel = LinkModel {
        latency: Duration::from_micros(250),
        jitter: Duration::from_micros(100),
        loss: 0.000_1,
        ..LinkModel::PERFECT
    };
    /// A bad corner of a wireless network: 5 % lost, in bursts.
    pub const WIFI_LOSSY: LinkModel = LinkModel {
        latency: ms(2),
        jitter: ms(8),
        loss: 0.05,
        reorder: 0.02,
        burst: 0.4,
        bandwidth: 2_000_000,
        ..LinkModel::PERFECT
    };
    /// Across an ocean: 80 ms there and back.
    pub const TRANSATLANTIC: LinkModel =
        LinkModel { latency: ms(38), jitter: ms(4), loss: 0.005, ..LinkModel::PERFECT };
    /// Everything at once.
    pub const HOSTILE: LinkModel = LinkModel {
        latency: ms(10),
        jitter: ms(20),
        loss: 0.3,
        duplicate: 0.1,
        reorder: 0.1,
        burst: 0.3,
        bandwidth: 1_000_000,
    };

    /// The presets by name, in alphabetical order.
    pub const PRESETS: &'static [(&'static str, LinkModel)] = &[
        ("hostile", LinkModel::HOSTILE),
        ("lan", LinkModel::LAN),
        ("perfect", LinkModel::PERFECT),
        ("transatlantic", LinkModel::TRANSATLANTIC),
        ("wifi-lossy", LinkModel::WIFI_LOSSY),
    ];

    /// When a datagram of this length arrives, once for each copy, counted from now. `path` is the path's memory.
    pub fn arrivals(&self, rng: &mut Rng, path: &mut Path, now: Duration, bytes: usize) -> Vec<Duration> {
        let loss = if path.lost_last && self.burst > 0.0 { self.burst } else { self.loss };
        path.lost_last = chance(rng, loss);
        if path.lost_last {
            return Vec::new();
        }
        let mut queued = Duration::ZERO;
        let scaled = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000);
        if let Some(micros) = scaled.checked_div(self.bandwidth) {
            path.busy_until = path.busy_until.max(now) + Duration::from_micros(micros);
            queued = path.busy_until - now;
        }
        let copies = 1 + usize::from(chance(rng, self.duplicate));
        let arrival = |_| {
            let mut takes = queued + self.latency + part(rng, self.jitter);
            if chance(rng, self.reorder) {
                takes += part(rng, self.latency * 4);
            }
            takes
        };
        (0..copies).map(arrival).collect()
    }
}

/// What a path remembers from one datagram to the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Path {
    lost_last: bool,
    busy_until: Duration,
}

/// True with this probability.
pub fn chance(rng: &mut Rng, probability: f64) -> bool {
    // The draw is made in any case, so that a run with other probabilities stays comparable.
    let draw = (rng.bits() >> 11) as f64 / (1u64 << 53) as f64;
    draw < probability
}

fn part(rng: &mut Rng, whole: Duration) -> Duration {
    let micros = u64::try_from(whole.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(rng.bits() % (micros + 1))
}
