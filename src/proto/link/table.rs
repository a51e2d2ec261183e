//! All links of one machine: tracks which links may have something to send, and the first timer of all.
//!
//! Drain [`Links::transmit`] before [`Links::deadline`] is valid.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::proto::event::reason::DropReason;
use crate::proto::id::Incarnation;
use crate::proto::keys::{Identity, LinkKeys, PublicKey, SharedSecret};
use crate::proto::link::{Link, MessageOutcome, Transmission};
use crate::proto::time::Instant;
use crate::proto::wire::{Datagram, Frame};

/// The most links of one machine: one for each name that a server can store.
pub const MAX_LINKS: usize = 65_536;
/// The most bytes of received contents that all links buffer. Beyond it, a link buffers only its expected content.
pub const TOTAL_BUFFER: usize = 64 * 1024 * 1024;

/// Links by the incarnation of the peer. A call costs work only for links that were used, or whose timer fired.
#[derive(Debug)]
pub struct Links {
    me: Incarnation,
    identity: Identity,
    links: BTreeMap<Incarnation, Link>,
    /// The secrets shared with the owners of keys, because a key agreement costs as much as hundreds of tags. `None`
    /// for an unusable key. At most [`MAX_LINKS`].
    secrets: BTreeMap<PublicKey, Option<SharedSecret>>,
    dirty: BTreeSet<Incarnation>,
    timers: BTreeSet<(Instant, Incarnation)>,
    scheduled: BTreeMap<Incarnation, Instant>,
    /// The bytes that each link buffered when it was last drained, if any, and their sum.
    buffers: BTreeMap<Incarnation, usize>,
    buffered: usize,
    /// The first number of the next link. It is above all numbers of the links that were closed.
    first_number: u64,
}

impl Links {
    /// A table without links, for the incarnation `me` of the owner of `identity`.
    #[must_use]
    pub fn new(me: Incarnation, identity: Identity) -> Self {
        Self {
            me,
            identity,
            links: BTreeMap::new(),
            secrets: BTreeMap::new(),
            dirty: BTreeSet::new(),
            timers: BTreeSet::new(),
            scheduled: BTreeMap::new(),
            buffers: BTreeMap::new(),
            buffered: 0,
            first_number: 1,
        }
    }

    /// The public key of the owner.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.identity.public()
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

    /// The link to `peer`, whose user has the key `key`. Opens it if there is none. `None` when [`MAX_LINKS`] is
    /// reached, or if the key is unusable.
    pub fn open(&mut self, peer: Incarnation, addr: SocketAddr, key: PublicKey) -> Option<&mut Link> {
        if !self.links.contains_key(&peer) {
            if self.links.len() >= MAX_LINKS {
                return None;
            }
            let keys = self.keys(peer, key)?;
            // The peer may remember an earlier link between these two incarnations. The numbers of this link must be
            // new to the peer, and a late acknowledgement for the earlier link must not count for this one.
            self.links.insert(peer, Link::new(self.me, peer, addr, keys, self.first_number));
        }
        self.get_mut(peer)
    }

    fn keys(&mut self, peer: Incarnation, key: PublicKey) -> Option<LinkKeys> {
        if self.secrets.len() >= MAX_LINKS && !self.secrets.contains_key(&key) {
            self.secrets.clear();
        }
        let identity = &self.identity;
        let secret = self.secrets.entry(key).or_insert_with(|| identity.agree(key)).as_ref()?;
        Some(LinkKeys::new(secret, self.me, peer))
    }

    /// Whether a datagram carries the tag of a link to `peer`, whose user has the key `key`. Opens no link.
    pub fn is_authentic(&mut self, peer: Incarnation, key: PublicKey, datagram: &Datagram<'_>) -> bool {
        let keys = self.keys(peer, key);
        keys.zip(datagram.tag).is_some_and(|(keys, tag)| keys.verify(datagram.signed, tag))
    }

    /// Processes a datagram of `peer` on its link: see [`Link::receive`].
    ///
    /// # Errors
    /// The reason why the datagram was dropped.
    pub fn receive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        peer: Incarnation,
        datagram: &Datagram<'_>,
        takes_contents: bool,
        outcomes: &mut Vec<MessageOutcome>,
    ) -> Result<Vec<Frame>, DropReason> {
        let room = TOTAL_BUFFER.saturating_sub(self.buffered);
        let link = self.get_mut(peer).ok_or(DropReason::NoLink)?;
        let frames = link.receive(now, from, datagram, room, takes_contents, outcomes);
        let buffered = link.buffered();
        self.account(peer, buffered);
        frames
    }

    /// Removes the link to `peer` and everything in flight on it.
    pub fn close(&mut self, peer: Incarnation) {
        if let Some(link) = self.links.remove(&peer) {
            self.first_number = self.first_number.max(link.next_number());
        }
        self.dirty.remove(&peer);
        self.account(peer, 0);
        if let Some(at) = self.scheduled.remove(&peer) {
            self.timers.remove(&(at, peer));
        }
    }

    fn account(&mut self, peer: Incarnation, bytes: usize) {
        let before = if bytes == 0 { self.buffers.remove(&peer) } else { self.buffers.insert(peer, bytes) };
        self.buffered = self.buffered + bytes - before.unwrap_or(0);
    }

    /// The bytes of received contents that all links buffer.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffered
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
            let (deadline, buffered) = (link.deadline(), link.buffered());
            self.dirty.remove(&peer);
            self.account(peer, buffered);
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
    use crate::proto::link::receiver::LINK_BUFFER;
    use crate::proto::wire::{Header, emit, parse};

    fn addr() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 9))
    }

    fn links() -> Links {
        Links::new(Incarnation(1), Identity::from_secret([1; 32]))
    }

    fn key() -> PublicKey {
        Identity::from_secret([2; 32]).public()
    }

    /// The number of the first datagram of a new link to incarnation 2.
    fn first_number(links: &mut Links) -> u64 {
        links.open(Incarnation(2), addr(), key()).unwrap().push(Frame::Unknown, None, None);
        let (_, transmission) = links.transmit(Instant::ZERO).unwrap();
        parse(&transmission.bytes).unwrap().head.pn.unwrap()
    }

    #[test]
    fn a_reopened_link_continues_above_all_earlier_numbers() {
        let mut links = links();
        assert_eq!(first_number(&mut links), 1);
        links.close(Incarnation(2));
        assert_eq!(first_number(&mut links), 2);
        links.close(Incarnation(3));
        links.close(Incarnation(2));
        assert_eq!(first_number(&mut links), 3);
    }

    #[test]
    fn the_number_of_links_is_limited() {
        let mut links = links();
        for incarnation in 0..MAX_LINKS as u128 {
            assert!(links.open(Incarnation(incarnation), addr(), key()).is_some());
        }
        assert!(links.open(Incarnation(u128::MAX), addr(), key()).is_none());
        assert!(links.open(Incarnation(0), addr(), key()).is_some(), "one that is there stays");
        links.close(Incarnation(0));
        assert!(links.open(Incarnation(u128::MAX), addr(), key()).is_some());
    }

    #[test]
    fn a_link_needs_a_usable_key() {
        assert!(links().open(Incarnation(2), addr(), PublicKey([0; 32])).is_none());
    }

    /// Processes a datagram of `peer` with the content `seq`. Its body is not signed, so that it can be longer than a
    /// datagram: a few fill a buffer.
    fn receive(links: &mut Links, peer: u128, pn: u64, seq: u64, body: &[u8]) -> Result<Vec<Frame>, DropReason> {
        let (me, peer) = (Incarnation(1), Incarnation(peer));
        let head = Header { pn: Some(pn), seq: Some(seq), ..Header::new(peer, Some(me)) };
        let secret = Identity::from_secret([2; 32]).agree(links.public_key()).unwrap();
        let signed = emit(&head, []);
        let tag = Some(LinkKeys::new(&secret, peer, me).tag(&signed));
        let datagram = Datagram { head, body, signed: &signed, tag };
        links.receive(Instant::ZERO, addr(), peer, &datagram, true, &mut Vec::new())
    }

    /// The recipients of all datagrams that are to be sent.
    fn transmitted(links: &mut Links) -> Vec<Incarnation> {
        let mut peers = Vec::new();
        while let Some((_, transmission)) = links.transmit(Instant::ZERO) {
            peers.extend(parse(&transmission.bytes).unwrap().head.you);
        }
        peers
    }

    #[test]
    fn the_bytes_that_all_links_buffer_are_limited() {
        const FULL: u128 = (TOTAL_BUFFER / LINK_BUFFER) as u128;
        let (mut links, body) = (links(), vec![b'x'; LINK_BUFFER]);
        let (first, last) = (2, FULL + 2);
        for peer in first..=last {
            links.open(Incarnation(peer), addr(), key()).unwrap();
        }
        // The second content waits for the first one.
        for peer in first..last {
            assert_eq!(receive(&mut links, peer, 1, 2, &body), Ok(vec![]), "{peer}");
        }
        assert_eq!(links.buffered(), TOTAL_BUFFER);
        assert_eq!(transmitted(&mut links), (first..last).map(Incarnation).collect::<Vec<_>>());
        assert_eq!(receive(&mut links, last, 1, 2, b"x"), Err(DropReason::BufferFull));
        assert_eq!((transmitted(&mut links), links.deadline()), (vec![], None), "no acknowledgement");
        assert_eq!(links.buffered(), TOTAL_BUFFER);
        links.close(Incarnation(first));
        assert_eq!(links.buffered(), TOTAL_BUFFER - LINK_BUFFER);
        assert_eq!(receive(&mut links, last, 1, 2, &body), Ok(vec![]), "the same datagram");
        assert_eq!((transmitted(&mut links), links.buffered()), (vec![Incarnation(last)], TOTAL_BUFFER));
        for peer in first..=last {
            links.close(Incarnation(peer));
        }
        assert_eq!(links.buffered(), 0);
    }
}
