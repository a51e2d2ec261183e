//! All links of one machine: tracks which links may have something to send, and the first timer of all.
//!
//! Drain [`Links::transmit`] before [`Links::deadline`] is valid.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::proto::id::Incarnation;
use crate::proto::link::{Link, MessageOutcome, Transmission};
use crate::proto::time::Instant;

/// The most links of one machine: one for each name that a server can store.
pub const MAX_LINKS: usize = 65_536;

/// Links by the incarnation of the peer. A call costs work only for links that were used, or whose timer fired.
#[derive(Debug)]
pub struct Links {
    me: Incarnation,
    links: BTreeMap<Incarnation, Link>,
    dirty: BTreeSet<Incarnation>,
    timers: BTreeSet<(Instant, Incarnation)>,
    scheduled: BTreeMap<Incarnation, Instant>,
    closed: u64,
}

impl Links {
    /// A table without links, for the incarnation `me`.
    #[must_use]
    pub fn new(me: Incarnation) -> Self {
        let (dirty, timers) = (BTreeSet::new(), BTreeSet::new());
        Self { me, links: BTreeMap::new(), dirty, timers, scheduled: BTreeMap::new(), closed: 0 }
    }

    /// The link to `peer`, if there is one, for reading.
    #[must_use]
    pub fn get(&self, peer: Incarnation) -> Option<&Link> {
        self.links.get(&peer)
    }

    /// The link to `peer`, if there is one. Marks the link as used.
    pub fn get_mut(&mut self, peer: Incarnation) -> Option<&mut Link> {
        let link = self.links.get_mut(&peer)?;
        self.dirty.insert(peer);
        Some(link)
    }

    /// The link to `peer`. Opens it if there is none. `None` when [`MAX_LINKS`] is reached.
    pub fn open(&mut self, peer: Incarnation, addr: SocketAddr) -> Option<&mut Link> {
        if !self.links.contains_key(&peer) {
            if self.links.len() >= MAX_LINKS {
                return None;
            }
            // The peer may remember an earlier link between these two incarnations. The numbers of this link must be
            // new to the peer, and a late acknowledgement for the earlier link must not count for this one.
            let first = (self.closed << 32) + 1;
            self.links.insert(peer, Link::new(self.me, peer, addr, first));
        }
        self.get_mut(peer)
    }

    /// Removes the link to `peer` and everything in flight on it.
    pub fn close(&mut self, peer: Incarnation) {
        self.closed += u64::from(self.links.remove(&peer).is_some());
        self.dirty.remove(&peer);
        if let Some(at) = self.scheduled.remove(&peer) {
            self.timers.remove(&(at, peer));
        }
    }

    /// The number of links.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there are no links.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// All links, in order of incarnation.
    pub fn iter(&self) -> impl Iterator<Item = (Incarnation, &Link)> {
        self.links.iter().map(|(peer, link)| (*peer, link))
    }

    /// All links. Marks all of them as used.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.dirty.extend(self.links.keys().copied());
        self.links.values_mut()
    }

    /// Reports the messages whose acknowledgement timeout ended.
    pub fn expire(&mut self, now: Instant) -> Vec<(Incarnation, MessageOutcome)> {
        let mut timed_out = Vec::new();
        let due: Vec<Incarnation> =
            self.timers.range(..=(now, Incarnation(u128::MAX))).map(|(_, peer)| *peer).collect();
        for peer in due {
            let mut outcomes = Vec::new();
            if let Some(link) = self.get_mut(peer) {
                link.expire(now, &mut outcomes);
            }
            timed_out.extend(outcomes.into_iter().map(|outcome| (peer, outcome)));
        }
        timed_out
    }

    /// The next datagram to send, if any. Call until `None`.
    pub fn transmit(&mut self, now: Instant) -> Option<(SocketAddr, Transmission)> {
        while let Some(peer) = self.dirty.first().copied() {
            let Some(link) = self.links.get_mut(&peer) else {
                self.dirty.remove(&peer);
                continue;
            };
            if let Some(transmission) = link.transmit(now) {
                return Some((link.addr(), transmission));
            }
            let deadline = link.deadline();
            self.dirty.remove(&peer);
            self.schedule(peer, deadline);
        }
        None
    }

    fn schedule(&mut self, peer: Incarnation, deadline: Option<Instant>) {
        if let Some(at) = self.scheduled.remove(&peer) {
            self.timers.remove(&(at, peer));
        }
        if let Some(at) = deadline {
            self.scheduled.insert(peer, at);
            self.timers.insert((at, peer));
        }
    }

    /// When the first timer fires. Valid only after [`Links::transmit`] returned `None`.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::wire::{Frame, parse};

    fn addr() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 9))
    }

    /// The number of the first datagram of a new link to incarnation 2.
    fn first_number(links: &mut Links) -> u64 {
        links.open(Incarnation(2), addr()).unwrap().push(Frame::Unknown, None, None);
        let (_, transmission) = links.transmit(Instant::ZERO).unwrap();
        parse(&transmission.bytes).unwrap().head.n.unwrap()
    }

    #[test]
    fn a_reopened_link_continues_above_all_earlier_numbers() {
        let mut links = Links::new(Incarnation(1));
        assert_eq!(first_number(&mut links), 1);
        links.close(Incarnation(2));
        assert_eq!(first_number(&mut links), (1 << 32) + 1);
        links.close(Incarnation(3));
        links.close(Incarnation(2));
        assert_eq!(first_number(&mut links), (2 << 32) + 1);
    }

    #[test]
    fn the_number_of_links_is_limited() {
        let mut links = Links::new(Incarnation(1));
        for incarnation in 0..MAX_LINKS as u128 {
            assert!(links.open(Incarnation(incarnation), addr()).is_some());
        }
        assert!(links.open(Incarnation(u128::MAX), addr()).is_none());
        assert!(links.open(Incarnation(0), addr()).is_some(), "one that is there stays");
        links.close(Incarnation(0));
        assert!(links.open(Incarnation(u128::MAX), addr()).is_some());
    }
}
