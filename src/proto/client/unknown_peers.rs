//! Datagrams of peers that are not in the table yet. They wait, unparsed, for the update that has the key of their
//! sender, and are not acknowledged before that.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::client::Client;
use crate::proto::id::Incarnation;
use crate::proto::time::Instant;
use crate::proto::wire;

/// Maximum number of waiting datagrams.
pub const UNKNOWN_DATAGRAMS: usize = 1_024;
/// Maximum number of waiting datagrams from one address.
pub const UNKNOWN_DATAGRAMS_AN_ADDRESS: usize = 16;

/// Time that a datagram waits.
const WAIT: Duration = Duration::from_millis(500);

/// The waiting datagrams, in order of arrival.
#[derive(Debug, Default)]
pub struct UnknownPeers {
    waiting: VecDeque<WaitingDatagram>,
    counts: BTreeMap<SocketAddr, usize>,
}

/// A datagram of a peer that is not in the table.
#[derive(Debug)]
struct WaitingDatagram {
    until: Instant,
    from: SocketAddr,
    peer: Incarnation,
    bytes: Vec<u8>,
}

impl UnknownPeers {
    /// Keeps a datagram. Returns whether the limits had room for it.
    pub fn insert(&mut self, now: Instant, from: SocketAddr, peer: Incarnation, bytes: &[u8]) -> bool {
        let count = self.counts.get(&from).copied().unwrap_or(0);
        if self.waiting.len() >= UNKNOWN_DATAGRAMS || count >= UNKNOWN_DATAGRAMS_AN_ADDRESS {
            return false;
        }
        self.counts.insert(from, count + 1);
        self.waiting.push_back(WaitingDatagram { until: now + WAIT, from, peer, bytes: bytes.to_vec() });
        true
    }

    /// Removes the datagrams whose sender is known now, in order of arrival.
    fn take_known(&mut self, is_known: impl Fn(Incarnation) -> bool) -> Vec<WaitingDatagram> {
        let (known, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|waits| is_known(waits.peer));
        self.waiting = waiting;
        let known: VecDeque<WaitingDatagram> = known;
        known.iter().for_each(|datagram| self.uncount(datagram.from));
        known.into()
    }

    /// Drops the datagrams whose wait has ended.
    pub fn expire(&mut self, now: Instant) {
        while self.waiting.front().is_some_and(|datagram| datagram.until <= now)
            && let Some(datagram) = self.waiting.pop_front()
        {
            self.uncount(datagram.from);
        }
    }

    fn uncount(&mut self, from: SocketAddr) {
        if let Some(count) = self.counts.get_mut(&from) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&from);
            }
        }
    }

    /// Whether no datagram waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The earliest end of a wait.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|datagram| datagram.until)
    }
}

impl Client {
    /// Processes the waiting datagrams of peers that are in the table now.
    pub(super) fn read_known_peers(&mut self, now: Instant) {
        if self.unknown_peers.is_empty() {
            return;
        }
        let table = &self.table;
        for WaitingDatagram { from, peer, bytes, .. } in
            self.unknown_peers.take_known(|peer| table.name_of(peer).is_some())
        {
            if let Ok(datagram) = wire::parse(&bytes) {
                self.peer_datagram(now, from, peer, &datagram, &bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    #[test]
    fn datagrams_wait_within_their_limits_for_500_ms() {
        let mut unknown = UnknownPeers::default();
        let mut insert = |ms, port, peer| unknown.insert(at(ms), addr(port), Incarnation(peer), b"x");
        assert!((0..16).all(|peer| insert(0, 1, peer)));
        assert!(!insert(0, 1, 99), "too many from one address");
        assert!((16..1_024).all(|number| insert(1, 2 + number / 16, 99)));
        assert!(!insert(1, 1_000, 99), "too many in all");
        assert_eq!(unknown.deadline(), Some(at(500)));
        unknown.expire(at(499));
        assert_eq!(unknown.waiting.len(), 1_024);
        unknown.expire(at(500));
        assert_eq!(unknown.waiting.len(), 1_008);
        assert_eq!(unknown.take_known(|peer| peer == Incarnation(99)).len(), 1_008);
        assert!(unknown.is_empty() && unknown.counts.is_empty());
    }
}
