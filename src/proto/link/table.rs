//! All links of one machine: who has something to send, and when the next of them wants to be called.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::proto::id::Incarnation;
use crate::proto::link::{Link, MessageOutcome, Transmission};
use crate::proto::time::Instant;

/// The most links of one machine: one for each name that a server can know.
pub const MAX_LINKS: usize = 65_536;

/// Links by the life at their other end. Only links that were touched, or whose time has come, cost anything.
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
    /// No links yet, of the life `me`.
    #[must_use]
    pub fn new(me: Incarnation) -> Self {
        let (dirty, timers) = (BTreeSet::new(), BTreeSet::new());
        Self { me, links: BTreeMap::new(), dirty, timers, scheduled: BTreeMap::new(), closed: 0 }
    }

    /// The link to `peer`, if there is one, to look at.
    #[must_use]
    pub fn get(&self, peer: Incarnation) -> Option<&Link> {
        self.links.get(&peer)
    }

    /// The link to `peer`, if there is one, to use.
    pub fn get_mut(&mut self, peer: Incarnation) -> Option<&mut Link> {
        let link = self.links.get_mut(&peer)?;
        self.dirty.insert(peer);
        Some(link)
    }

    /// The link to `peer`, opened if there is none. `None` when [`MAX_LINKS`] is reached.
    pub fn open(&mut self, peer: Incarnation, addr: SocketAddr) -> Option<&mut Link> {
        if !self.links.contains_key(&peer) {
            if self.links.len() >= MAX_LINKS {
                return None;
            }
            // A peer may remember an earlier link of these two lives: all that this one sends must look new to it, and
            // no late acknowledgement of that one may look like one of this one.
            let first = (self.closed << 32) + 1;
            self.links.insert(peer, Link::new(self.me, peer, addr, first));
        }
        self.get_mut(peer)
    }

    /// Forgets the link to `peer` and all that was under way on it.
    pub fn close(&mut self, peer: Incarnation) {
        self.closed += u64::from(self.links.remove(&peer).is_some());
        self.dirty.remove(&peer);
        if let Some(at) = self.scheduled.remove(&peer) {
            self.timers.remove(&(at, peer));
        }
    }

    /// How many links there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// All links, in order of life.
    pub fn iter(&self) -> impl Iterator<Item = (Incarnation, &Link)> {
        self.links.iter().map(|(incarnation, link)| (*incarnation, link))
    }

    /// All links, to use.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.dirty.extend(self.links.keys().copied());
        self.links.values_mut()
    }

    /// Tells the fates of messages whose patience has ended by now.
    pub fn expire(&mut self, now: Instant) -> Vec<(Incarnation, MessageOutcome)> {
        let mut told = Vec::new();
        let due: Vec<Incarnation> =
            self.timers.range(..=(now, Incarnation(u128::MAX))).map(|(_, incarnation)| *incarnation).collect();
        for incarnation in due {
            let mut fates = Vec::new();
            if let Some(link) = self.get_mut(incarnation) {
                link.expire(now, &mut fates);
            }
            told.extend(fates.into_iter().map(|fate| (incarnation, fate)));
        }
        told
    }

    /// The next datagram to send, if any; call until `None`.
    pub fn transmit(&mut self, now: Instant) -> Option<(SocketAddr, Transmission)> {
        while let Some(incarnation) = self.dirty.first().copied() {
            let Some(link) = self.links.get_mut(&incarnation) else {
                self.dirty.remove(&incarnation);
                continue;
            };
            if let Some(departure) = link.transmit(now) {
                return Some((link.addr(), departure));
            }
            let deadline = link.deadline();
            self.dirty.remove(&incarnation);
            self.arm(incarnation, deadline);
        }
        None
    }

    fn arm(&mut self, incarnation: Incarnation, deadline: Option<Instant>) {
        if let Some(at) = self.scheduled.remove(&incarnation) {
            self.timers.remove(&(at, incarnation));
        }
        if let Some(at) = deadline {
            self.scheduled.insert(incarnation, at);
            self.timers.insert((at, incarnation));
        }
    }

    /// When the first link wants to be called. Right only after [`Links::transmit`] gave `None`.
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

    /// The number of the first datagram of a new link to life 2.
    fn first_number(links: &mut Links) -> u64 {
        links.open(Incarnation(2), addr()).unwrap().push(Frame::Unknown, None, None);
        let (_, departure) = links.transmit(Instant::ZERO).unwrap();
        parse(&departure.bytes).unwrap().head.n.unwrap()
    }

    #[test]
    fn a_link_that_is_opened_again_goes_on_above_all_earlier_numbers() {
        let mut links = Links::new(Incarnation(1));
        assert_eq!(first_number(&mut links), 1);
        links.close(Incarnation(2));
        assert_eq!(first_number(&mut links), (1 << 32) + 1);
        links.close(Incarnation(3));
        links.close(Incarnation(2));
        assert_eq!(first_number(&mut links), (2 << 32) + 1);
    }

    #[test]
    fn there_are_no_more_links_than_the_limit() {
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
