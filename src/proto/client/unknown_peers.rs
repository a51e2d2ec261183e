//! Peers that are not yet in the table. Their datagrams wait up to 500 ms for the update that adds them.
//!
//! The number of such peers and of their datagrams is limited, because anyone can send them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::client::Client;
use crate::proto::id::Incarnation;
use crate::proto::time::Instant;

/// Maximum number of unknown peers at once. Together they buffer up to 1,024 datagrams.
pub const UNKNOWN_PEERS: usize = 64;
/// Maximum number of buffered datagrams of one unknown peer.
pub const UNKNOWN_PEER_DATAGRAMS: u64 = 16;

/// Time that an unknown peer waits for the update, from its first datagram.
const WAIT: Duration = Duration::from_millis(500);

/// The admitted unknown peers, each with the end of its wait.
#[derive(Debug, Default)]
pub struct UnknownPeers(BTreeMap<Incarnation, Instant>);

impl UnknownPeers {
    /// Admits a peer. Call it only while [`Self::is_full`] is false.
    pub fn insert(&mut self, now: Instant, peer: Incarnation) {
        self.0.insert(peer, now + WAIT);
    }

    /// Removes a peer that is known now or whose wait has ended.
    pub fn remove(&mut self, peer: Incarnation) {
        self.0.remove(&peer);
    }

    /// Whether this peer is admitted.
    pub fn contains(&self, peer: Incarnation) -> bool {
        self.0.contains_key(&peer)
    }

    /// All admitted peers, in order of incarnation.
    pub fn iter(&self) -> impl Iterator<Item = Incarnation> {
        self.0.keys().copied()
    }

    /// Whether [`UNKNOWN_PEERS`] is reached.
    pub fn is_full(&self) -> bool {
        self.0.len() >= UNKNOWN_PEERS
    }

    /// Whether no peer is admitted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The peers whose wait has ended.
    pub fn due(&self, now: Instant) -> Vec<Incarnation> {
        self.0.iter().filter(|(_, until)| **until <= now).map(|(peer, _)| *peer).collect()
    }

    /// The earliest end of a wait.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }
}

impl Client {
    /// Admits a peer that is not in the table. Returns whether its datagrams can wait for the update.
    pub(super) fn admit_unknown(&mut self, now: Instant, from: SocketAddr, peer: Incarnation) -> bool {
        if self.unknown_peers.contains(peer) {
            return true;
        }
        let is_there = |other: &Incarnation| self.links.get(*other).is_some_and(|link| link.addr() == from);
        let earlier = self.unknown_peers.iter().find(is_there);
        if let Some(earlier) = earlier {
            // An address has one incarnation at a time, so the earlier one has ended.
            self.forget_unknown(earlier);
        }
        if self.unknown_peers.is_full() || !self.phase.is_online() {
            return false;
        }
        self.unknown_peers.insert(now, peer);
        if let Some(link) = self.links.open(peer, from) {
            link.limit(UNKNOWN_PEER_DATAGRAMS);
        }
        true
    }

    /// Reads the datagrams of unknown peers that are in the table now.
    pub(super) fn read_known_peers(&mut self, now: Instant) {
        let known: Vec<Incarnation> =
            self.unknown_peers.iter().filter(|peer| self.table.name_of(*peer).is_some()).collect();
        for peer in known {
            if self.links.get(peer).is_some_and(|link| !self.can_be_at(peer, link.addr())) {
                self.forget_unknown(peer);
                continue;
            }
            self.unknown_peers.remove(peer);
            if let Some(link) = self.links.get_mut(peer) {
                link.limit(u64::MAX);
            }
            self.read_peer(now, peer);
        }
    }

    pub(super) fn unknown_peers_timeout(&mut self, now: Instant) {
        for peer in self.unknown_peers.due(now) {
            self.forget_unknown(peer);
        }
    }

    fn forget_unknown(&mut self, peer: Incarnation) {
        self.unknown_peers.remove(peer);
        self.links.close(peer);
    }
}
