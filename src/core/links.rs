//! All links of one machine: who has something to send, and when the next of them wants to be called.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use super::id::Life;
use super::link::{Departure, Fate, Link};
use super::time::Instant;

/// The most links of one machine: one for each name that a server can know.
pub const MAX_LINKS: usize = 65_536;

/// Links by the life at their other end. Only links that were touched, or whose time has come, cost anything.
#[derive(Debug)]
pub struct Links {
    me: Life,
    links: BTreeMap<Life, Link>,
    touched: BTreeSet<Life>,
    timers: BTreeSet<(Instant, Life)>,
    armed: BTreeMap<Life, Instant>,
}

impl Links {
    /// No links yet, of the life `me`.
    #[must_use]
    pub fn new(me: Life) -> Self {
        Self { me, links: BTreeMap::new(), touched: BTreeSet::new(), timers: BTreeSet::new(), armed: BTreeMap::new() }
    }

    /// The link to `peer`, if there is one, to look at.
    #[must_use]
    pub fn get(&self, peer: Life) -> Option<&Link> {
        self.links.get(&peer)
    }

    /// The link to `peer`, if there is one, to use.
    pub fn get_mut(&mut self, peer: Life) -> Option<&mut Link> {
        let link = self.links.get_mut(&peer)?;
        self.touched.insert(peer);
        Some(link)
    }

    /// The link to `peer`, opened if there is none. `None` when [`MAX_LINKS`] is reached.
    pub fn open(&mut self, peer: Life, addr: SocketAddr) -> Option<&mut Link> {
        if !self.links.contains_key(&peer) {
            if self.links.len() >= MAX_LINKS {
                return None;
            }
            self.links.insert(peer, Link::new(self.me, peer, addr));
        }
        self.get_mut(peer)
    }

    /// Forgets the link to `peer` and all that was under way on it.
    pub fn close(&mut self, peer: Life) {
        self.links.remove(&peer);
        self.touched.remove(&peer);
        if let Some(at) = self.armed.remove(&peer) {
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
    pub fn iter(&self) -> impl Iterator<Item = (Life, &Link)> {
        self.links.iter().map(|(life, link)| (*life, link))
    }

    /// Tells the fates of messages whose patience has ended by now.
    pub fn expire(&mut self, now: Instant) -> Vec<(Life, Fate)> {
        let mut told = Vec::new();
        let due: Vec<Life> = self.timers.range(..=(now, Life(u128::MAX))).map(|(_, life)| *life).collect();
        for life in due {
            let mut fates = Vec::new();
            if let Some(link) = self.get_mut(life) {
                link.expire(now, &mut fates);
            }
            told.extend(fates.into_iter().map(|fate| (life, fate)));
        }
        told
    }

    /// The next datagram to send, if any; call until `None`.
    pub fn transmit(&mut self, now: Instant) -> Option<(SocketAddr, Departure)> {
        while let Some(life) = self.touched.first().copied() {
            let Some(link) = self.links.get_mut(&life) else {
                self.touched.remove(&life);
                continue;
            };
            if let Some(departure) = link.transmit(now) {
                return Some((link.addr(), departure));
            }
            let deadline = link.deadline();
            self.touched.remove(&life);
            self.arm(life, deadline);
        }
        None
    }

    fn arm(&mut self, life: Life, deadline: Option<Instant>) {
        if let Some(at) = self.armed.remove(&life) {
            self.timers.remove(&(at, life));
        }
        if let Some(at) = deadline {
            self.armed.insert(life, at);
            self.timers.insert((at, life));
        }
    }

    /// When the first link wants to be called. Right only after [`Links::transmit`] gave `None`.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }
}
