//! All links of one machine: tracks which links may have something to send, serves them in turn, and knows the first
//! timer of all.
//!
//! Drain [`Links::transmit`] before [`Links::deadline`] is valid.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use crate::proto::event::reason::DropReason;
use crate::proto::id::Incarnation;
use crate::proto::keys::{Identity, LinkKeys, PublicKey, SharedSecret};
use crate::proto::link::{Link, MessageOutcome, Transmission};
use crate::proto::time::Instant;
use crate::proto::wire::{Datagram, Frame};

/// The links of one machine beside those to clients with a name.
const UNNAMED_LINKS: usize = 4_096;
/// The most links of one machine. A server has one for each name that it can store, and room for clients that ask for
/// a name.
pub const MAX_LINKS: usize = 65_536 + UNNAMED_LINKS;
/// The most bytes of received contents that all links buffer. Beyond it, a link buffers only its expected content.
pub const TOTAL_BUFFER: usize = 64 * 1024 * 1024;

/// Links by the incarnation of the peer. A call costs work only for links that were used, or whose timer fired.
#[derive(Debug)]
pub struct Links {
    me: Incarnation,
    identity: Identity,
    /// Boxed, because the nodes of the map are partly empty.
    links: BTreeMap<Incarnation, Box<Link>>,
    /// The secrets shared with the owners of keys, because a key agreement costs as much as hundreds of tags. `None`
    /// for an unusable key. At most [`MAX_LINKS`].
    secrets: BTreeMap<PublicKey, Option<SharedSecret>>,
    /// Links that were used since they were last examined.
    used: LinkQueue,
    /// Links that may have something to send, except what is urgent. Each sends one datagram, then it waits behind all
    /// others.
    sending: LinkQueue,
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
            used: LinkQueue::default(),
            sending: LinkQueue::default(),
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
        self.links.get(&peer).map(Box::as_ref)
    }

    /// The link to `peer`, if there is one. Marks the link as used.
    pub fn get_mut(&mut self, peer: Incarnation) -> Option<&mut Link> {
        let link = self.links.get_mut(&peer)?;
        self.used.push(peer);
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
            let link = Link::new(self.me, peer, addr, keys, self.first_number);
            self.links.insert(peer, Box::new(link));
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
        self.account(peer, 0);
        self.schedule(peer, None);
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
        self.links.iter().map(|(peer, link)| (*peer, link.as_ref()))
    }

    /// All links. Marks all of them as used.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Link> {
        self.links.keys().for_each(|peer| self.used.push(*peer));
        self.links.values_mut().map(Box::as_mut)
    }

    /// Reports the messages whose acknowledgement timeout ended.
    pub fn expire(&mut self, now: Instant) -> Vec<(Incarnation, MessageOutcome)> {
        let mut timed_out = Vec::new();
        let due: Vec<Incarnation> =
            self.timers.range(..=(now, Incarnation(u128::MAX))).map(|(_, peer)| *peer).collect();
        for peer in due {
            let mut outcomes = Vec::new();
            let mut later = None;
            if let Some(link) = self.get_mut(peer) {
                link.expire(now, &mut outcomes);
                later = link.deadline().filter(|at| *at > now);
            }
            // The host may send much before it drains this link. The same timer must not fire again meanwhile.
            self.schedule(peer, later);
            timed_out.extend(outcomes.into_iter().map(|outcome| (peer, outcome)));
        }
        timed_out
    }

    /// The next datagram to send, if any. Urgent ones come first (see [`Link::is_urgent`]); the other ones come in
    /// turn, one of each link.
    pub fn transmit(&mut self, now: Instant) -> Option<(SocketAddr, Transmission)> {
        while let Some(peer) = self.used.pop() {
            let Some(link) = self.links.get_mut(&peer) else { continue };
            self.sending.push(peer);
            if link.is_urgent(now)
                && let Some(transmission) = link.transmit(now)
            {
                self.used.push(peer);
                return Some((link.addr(), transmission));
            }
        }
        while let Some(peer) = self.sending.pop() {
            let Some(link) = self.links.get_mut(&peer) else { continue };
            if let Some(transmission) = link.transmit(now) {
                self.sending.push(peer);
                return Some((link.addr(), transmission));
            }
            link.free_unused();
            let (deadline, buffered) = (link.deadline(), link.buffered());
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

/// A queue in which each link waits at most once.
#[derive(Debug, Default)]
struct LinkQueue {
    order: VecDeque<Incarnation>,
    waiting: BTreeSet<Incarnation>,
}

impl LinkQueue {
    fn push(&mut self, peer: Incarnation) {
        if self.waiting.insert(peer) {
            self.order.push_back(peer);
        }
    }

    fn pop(&mut self) -> Option<Incarnation> {
        let peer = self.order.pop_front()?;
        self.waiting.remove(&peer);
        Some(peer)
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

    /// Opens links to these peers, each with contents in several datagrams, and sends the first one of each.
    fn open_with_contents(links: &mut Links, peers: std::ops::RangeInclusive<u128>, datagrams: usize) {
        for peer in peers.clone() {
            let link = links.open(Incarnation(peer), addr(), key()).unwrap();
            (0..datagrams).for_each(|_| link.push(Frame::Part { text: "x".repeat(700) }, None, None));
        }
        for peer in peers {
            let (_, first) = links.transmit(Instant::ZERO).unwrap();
            assert_eq!(parse(&first.bytes).unwrap().head.you, Some(Incarnation(peer)));
        }
    }

    #[test]
    fn links_send_in_turn() {
        let mut links = links();
        open_with_contents(&mut links, 2..=4, 5);
        // One datagram, queued last, leaves within a round.
        links.open(Incarnation(5), addr(), key()).unwrap().push(Frame::Unknown, None, None);
        let peers = |peers: &[u128]| peers.iter().copied().map(Incarnation).collect::<Vec<_>>();
        let sent = transmitted(&mut links);
        assert_eq!(sent, peers(&[5, 2, 3, 4, 2, 3, 4, 2, 3, 4, 2, 3, 4]), "the first datagram of a link is urgent");
        links.get_mut(Incarnation(2)).unwrap().push(Frame::Part { text: "x".repeat(700) }, None, None);
        links.get_mut(Incarnation(2)).unwrap().push(Frame::Part { text: "x".repeat(700) }, None, None);
        links.get_mut(Incarnation(5)).unwrap().push(Frame::Unknown, None, None);
        assert_eq!(transmitted(&mut links), peers(&[2, 5, 2]));
    }

    #[test]
    fn an_acknowledgement_goes_before_the_contents_of_others_and_in_a_content_if_there_is_one() {
        let mut links = links();
        open_with_contents(&mut links, 2..=3, 4);
        links.open(Incarnation(4), addr(), key()).unwrap();
        // A gap in the numbers makes both acknowledgements due at once.
        for peer in 3..=4 {
            receive(&mut links, peer, 2, 2, b"").unwrap();
        }
        let mut sent = Vec::new();
        while let Some((_, transmission)) = links.transmit(Instant::ZERO) {
            let head = parse(&transmission.bytes).unwrap().head;
            sent.push((head.you.unwrap().0, head.seq.is_some(), !head.ack.is_empty()));
        }
        assert_eq!(sent[..3], [(3, true, true), (4, false, true), (2, true, false)]);
        assert!(sent[3..].iter().all(|(_, has_content, has_ack)| *has_content && !has_ack), "{sent:?}");
        assert_eq!(sent.len(), 2 * 3 + 1);
    }

    #[test]
    fn a_timer_fires_once_although_its_link_was_not_drained() {
        let mut links = links();
        let timeout = std::time::Duration::from_millis(500);
        links.open(Incarnation(2), addr(), key()).unwrap().push(Frame::Bye, Some(7), Some(timeout));
        transmitted(&mut links);
        let at = links.deadline().unwrap();
        links.expire(at);
        assert!(links.deadline().is_none_or(|next| next > at));
        assert_eq!(transmitted(&mut links), [Incarnation(2)], "the probe");
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
