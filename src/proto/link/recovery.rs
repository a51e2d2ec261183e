//! Loss recovery of one direction of a link (RFC 9002 §6): decides which datagrams are lost, when to send a probe, and
//! how much may be in flight.
//!
//! One rule differs from RFC 9002, because a direct message has only 500 ms. A *thin* link, with at most
//! [`THIN`] contents under way, probes at least every [`THIN_PROBE`] without doubling the timeout until its first
//! acknowledgement, and for [`THIN_FOR`] after a declared loss or after the first of several probe timers that expired
//! without progress. A probe that proves needless ends the exception: the original datagram was acknowledged and the
//! probe was still under way.
//!
//! If a datagram that was declared lost is acknowledged, the path reorders datagrams. Then only the time threshold
//! counts, and it grows (RFC 9002 §6.1).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::proto::link::congestion::{DATAGRAM, NewReno};
use crate::proto::link::free_if_empty;
use crate::proto::link::packets::decode;
use crate::proto::link::rtt::Rtt;
use crate::proto::time::Instant;

/// A datagram is lost if one sent this many numbers later was acknowledged (RFC 9002 §6.1.1).
const PACKET_THRESHOLD: u64 = 3;
/// The most contents under way on a thin link.
pub const THIN: usize = 4;
/// The longest probe timeout of a thin link during the exception.
pub const THIN_PROBE: Duration = Duration::from_millis(40);
/// The length of the exception after a declared loss or an expired probe timer.
pub const THIN_FOR: Duration = Duration::from_secs(10);
/// The number of declared losses that are remembered, to notice if such a datagram arrived after all.
const REMEMBERED: usize = 128;
/// The most times that a wrong loss extends the time threshold, by an eighth of it each time.
const PATIENCE: u32 = 8;
/// The most doublings of the probe timeout.
const DOUBLINGS: u32 = 6;
/// The most datagrams that are tracked. Beyond it the oldest ones are forgotten.
pub const TRACKED: usize = 4_096;

/// Datagrams with contents that are neither acknowledged nor lost, and what follows from their acknowledgements.
#[derive(Debug, Default)]
pub struct Recovery {
    packets: BTreeMap<u64, SentPacket>,
    /// The contents of the last datagrams that were declared lost, by number. At most [`REMEMBERED`].
    declared_lost: BTreeMap<u64, u64>,
    /// Declared losses that proved wrong, up to [`PATIENCE`].
    wrong_losses: u32,
    bytes_in_flight: usize,
    largest_acked: u64,
    rtt: Rtt,
    /// When the first round trip was measured.
    first_sample: Option<Instant>,
    congestion: NewReno,
    /// When the time threshold declares the next datagram lost.
    loss_at: Option<Instant>,
    /// When the last datagram with a content or a probe was sent.
    last_sent: Option<Instant>,
    /// Probe timers that expired since the last progress.
    probes: u32,
    /// The first number that was sent after the last probe timer expired.
    probe_pn: u64,
    has_ack: bool,
    loss_seen: Option<Instant>,
    probe_expired: Option<Instant>,
    sent_count: u64,
}

#[derive(Debug)]
struct SentPacket {
    seq: u64,
    sent_at: Instant,
    bytes: usize,
    /// The position among all datagrams with contents. Two lost ones with neighbouring positions have no acknowledged
    /// one between them.
    position: u64,
}

/// The contents whose state an acknowledgement or a timer changed, by `seq`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RecoveryOutcome {
    /// They were received.
    pub received: Vec<u64>,
    /// A datagram with them was lost.
    pub lost: Vec<u64>,
}

/// The state of the sender that decides about probes.
#[derive(Clone, Copy, Debug)]
pub struct UnderWay {
    /// The number of contents that were sent and not received.
    pub unreceived: usize,
    /// Whether a content was received and is not done.
    pub awaits_done: bool,
}

impl UnderWay {
    fn is_thin(self) -> bool {
        self.unreceived <= THIN
    }
}

impl Recovery {
    /// Whether the congestion window has room for another datagram.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.bytes_in_flight + DATAGRAM <= self.congestion.window()
    }

    /// Notes that a datagram with a content was sent.
    pub fn on_sent(&mut self, now: Instant, pn: u64, seq: u64, bytes: usize) {
        if self.packets.len() >= TRACKED
            && let Some((_, oldest)) = self.packets.pop_first()
        {
            self.bytes_in_flight -= oldest.bytes;
        }
        self.sent_count += 1;
        self.bytes_in_flight += bytes;
        self.packets.insert(pn, SentPacket { seq, sent_at: now, bytes, position: self.sent_count });
        self.last_sent = Some(now);
    }

    /// Notes that a probe without content was sent.
    pub fn on_probe_sent(&mut self, now: Instant) {
        self.last_sent = Some(now);
    }

    /// Processes the ranges of an acknowledgement, in their wire form.
    pub fn on_ack(&mut self, now: Instant, ack: &[u64], delay: Duration) -> RecoveryOutcome {
        let mut outcome = RecoveryOutcome::default();
        let Some(largest) = ack.first().copied() else { return outcome };
        let is_limited = !self.has_room();
        for range in decode(ack) {
            let acked: Vec<u64> = self.packets.range(range.clone()).map(|(pn, _)| *pn).collect();
            for pn in acked {
                let Some(packet) = self.packets.remove(&pn) else { continue };
                if pn == largest {
                    self.rtt.measured(now.since(packet.sent_at), delay);
                    self.first_sample.get_or_insert(now);
                }
                self.bytes_in_flight -= packet.bytes;
                self.congestion.on_ack(packet.sent_at, packet.bytes, is_limited);
                outcome.received.push(packet.seq);
            }
            let late: Vec<u64> = self.declared_lost.range(range).map(|(pn, _)| *pn).collect();
            if !late.is_empty() {
                outcome.received.extend(late.iter().filter_map(|pn| self.declared_lost.remove(pn)));
                self.on_wrong_loss(late.len());
            }
        }
        if outcome.received.is_empty() {
            return outcome;
        }
        self.largest_acked = self.largest_acked.max(largest);
        self.has_ack = true;
        self.probes = 0;
        let mut probed = self.packets.range(self.probe_pn..).take(THIN);
        if self.probe_expired.is_some() && probed.any(|(_, probe)| outcome.received.contains(&probe.seq)) {
            self.probe_expired = None;
        }
        outcome.lost = self.detect_losses(now);
        outcome
    }

    /// Notes that a content is done. The acknowledgement of its datagrams may have been lost.
    pub fn on_done(&mut self, pns: &[u64]) {
        self.probes = 0;
        self.forget(pns);
    }

    /// Stops counting all datagrams with a content that was received. No later datagram may follow that would show
    /// the loss of these.
    pub fn forget(&mut self, pns: &[u64]) {
        for packet in pns.iter().filter_map(|pn| self.packets.remove(pn)) {
            self.bytes_in_flight -= packet.bytes;
        }
    }

    /// Notes that the peer answered "wait": it is there, so that the probes count anew.
    pub fn on_wait(&mut self) {
        self.probes = 0;
    }

    /// Frees the memory of empty maps.
    pub fn free_unused(&mut self) {
        free_if_empty(&mut self.packets);
        free_if_empty(&mut self.declared_lost);
    }

    /// Forgets all datagrams, because their contents were aborted.
    pub fn abort(&mut self) {
        self.packets.clear();
        self.declared_lost.clear();
        self.bytes_in_flight = 0;
        self.loss_at = None;
        self.probes = 0;
    }

    fn on_wrong_loss(&mut self, count: usize) {
        self.wrong_losses = (self.wrong_losses + 1).min(PATIENCE);
        self.loss_seen = None;
        self.congestion.on_wrong_loss(count);
    }

    /// RFC 9002 §6.1: declares datagrams lost by number and by time.
    fn detect_losses(&mut self, now: Instant) -> Vec<u64> {
        let delay = self.rtt.loss_delay() * (PATIENCE + self.wrong_losses) / PATIENCE;
        self.loss_at = None;
        let mut lost = Vec::new();
        for (pn, packet) in self.packets.range(..self.largest_acked) {
            let at = packet.sent_at + delay;
            let is_overtaken = self.wrong_losses == 0 && pn + PACKET_THRESHOLD <= self.largest_acked;
            if is_overtaken || at <= now {
                lost.push(*pn);
            } else {
                self.loss_at = Some(self.loss_at.map_or(at, |earlier| earlier.min(at)));
            }
        }
        self.declared_lost.extend(lost.iter().filter_map(|pn| Some((*pn, self.packets.get(pn)?.seq))));
        while self.declared_lost.len() > REMEMBERED {
            self.declared_lost.pop_first();
        }
        let lost: Vec<SentPacket> = lost.iter().filter_map(|pn| self.packets.remove(pn)).collect();
        if let Some(newest) = lost.last() {
            self.loss_seen = Some(now);
            self.congestion.on_loss(now, newest.sent_at, lost.len());
            if self.is_congestion_persistent(&lost) {
                self.congestion.on_persistent_congestion();
            }
        }
        self.bytes_in_flight -= lost.iter().map(|packet| packet.bytes).sum::<usize>();
        lost.into_iter().map(|packet| packet.seq).collect()
    }

    /// RFC 9002 §7.6: all datagrams of a period of this length were lost. It begins after the first round trip was
    /// measured.
    fn is_congestion_persistent(&self, lost: &[SentPacket]) -> bool {
        let Some((duration, first)) = self.rtt.persistent_congestion().zip(self.first_sample) else { return false };
        let mut begin: Option<&SentPacket> = None;
        let mut before: Option<u64> = None;
        for packet in lost.iter().filter(|packet| packet.sent_at >= first) {
            if before.is_none_or(|before| before + 1 != packet.position) {
                begin = Some(packet);
            }
            before = Some(packet.position);
            if begin.is_some_and(|begin| packet.sent_at.since(begin.sent_at) > duration) {
                return true;
            }
        }
        false
    }

    /// When to call [`Recovery::on_timeout`] if no acknowledgement arrives.
    #[must_use]
    pub fn deadline(&self, under_way: UnderWay) -> Option<Instant> {
        self.loss_at.or_else(|| self.probe_at(under_way))
    }

    fn probe_at(&self, under_way: UnderWay) -> Option<Instant> {
        let last_sent = self.last_sent.filter(|_| under_way.unreceived > 0 || under_way.awaits_done)?;
        let timeout = self.rtt.probe_timeout() * (1 << self.probes.min(DOUBLINGS));
        let since = self.loss_seen.max(self.probe_expired);
        let is_exception = since.map_or(!self.has_ack, |since| last_sent < since + THIN_FOR);
        let is_capped = under_way.is_thin() && is_exception;
        Some(last_sent + if is_capped { timeout.min(THIN_PROBE) } else { timeout })
    }

    /// Whether the probe timer expired. Returns the contents that the time threshold declares lost. `next_pn` is the
    /// number of the next datagram.
    pub fn on_timeout(&mut self, now: Instant, under_way: UnderWay, next_pn: u64) -> (bool, Vec<u64>) {
        if self.loss_at.is_some() {
            let is_due = self.loss_at.is_some_and(|at| at <= now);
            return (false, if is_due { self.detect_losses(now) } else { Vec::new() });
        }
        let is_due = self.probe_at(under_way).is_some_and(|at| at <= now);
        if is_due {
            if self.probes == 0 {
                self.probe_expired = Some(now);
            }
            self.probes += 1;
            self.probe_pn = next_pn;
        }
        (is_due, Vec::new())
    }
}

#[cfg(test)]
mod tests;
