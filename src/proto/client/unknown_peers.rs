//! Peers that the table does not name yet: their datagrams wait a short time for the update that names them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::proto::id::Incarnation;
use crate::proto::time::Instant;

/// The most unknown peers at once. Together they fill 1,024 datagrams.
pub const UNKNOWN_PEERS: usize = 64;
/// The most datagrams kept of one unknown peer, which is one incarnation at an address.
pub const UNKNOWN_PEER_DATAGRAMS: u64 = 16;

/// How long a message from an unknown peer waits for the update.
const WAIT: Duration = Duration::from_millis(500);

/// The unknown peers whose datagrams wait, and until when.
#[derive(Debug, Default)]
pub struct UnknownPeers(BTreeMap<Incarnation, Instant>);

impl UnknownPeers {
    /// Admits a peer. Call it only while [`Self::is_full`] is false.
    pub fn insert(&mut self, now: Instant, peer: Incarnation) {
        self.0.insert(peer, now + WAIT);
    }

    /// The peer is known now, or its time is over.
    pub fn remove(&mut self, peer: Incarnation) {
        self.0.remove(&peer);
    }

    /// Whether this peer is admitted.
    pub fn contains(&self, peer: Incarnation) -> bool {
        self.0.contains_key(&peer)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Incarnation> {
        self.0.keys().copied()
    }

    /// Whether the limit is reached.
    pub fn is_full(&self) -> bool {
        self.0.len() >= UNKNOWN_PEERS
    }

    /// Whether no peer is admitted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The peers whose time is over.
    pub fn due(&self, now: Instant) -> Vec<Incarnation> {
        self.0.iter().filter(|(_, until)| **until <= now).map(|(peer, _)| *peer).collect()
    }

    /// When the first peer's time is over.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }
}
