//! An honest peer of a machine under test: a client or a server that consists of nothing but its links. The tests
//! decide what it says, and its links number, acknowledge and sign that.

use std::net::SocketAddr;

use chat::proto::id::Incarnation;
use chat::proto::keys::{Identity, LinkKeys, PublicKey};
use chat::proto::link::table::Links;
use chat::proto::link::{MessageOutcome, Opening};
use chat::proto::machine::{Input, Machine};
use chat::proto::name::Name;
use chat::proto::time::{Instant, Now};
use chat::proto::wire::{self, Frame, Header, Row};

/// A peer with one address.
pub struct Peer {
    pub incarnation: Incarnation,
    pub addr: SocketAddr,
    identity: Identity,
    links: Links,
    /// The outcomes of its messages. A message has the tag that [`Peer::push`] returned.
    pub outcomes: Vec<MessageOutcome>,
    messages: u64,
}

impl Peer {
    /// A peer at this address. Its key depends on its incarnation.
    pub fn new(incarnation: Incarnation, addr: SocketAddr) -> Self {
        let mut secret = [1; 32];
        secret[..16].copy_from_slice(&incarnation.0.to_le_bytes());
        Self::with_identity(incarnation, addr, Identity::from_secret(secret))
    }

    /// A peer of the user with this key pair.
    pub fn with_identity(incarnation: Incarnation, addr: SocketAddr, identity: Identity) -> Self {
        let links = Links::new(incarnation, identity.clone());
        Self { incarnation, addr, identity, links, outcomes: Vec::new(), messages: 0 }
    }

    pub fn key(&self) -> PublicKey {
        self.identity.public()
    }

    /// Its row in the table.
    pub fn row(&self, name: &str) -> Row {
        let name = Name::new(name).expect("a name");
        Row { name, addr: self.addr, incarnation: self.incarnation, key: self.key(), online: true }
    }

    /// Opens a link to a machine of the user with this key.
    pub fn open(&mut self, to: Incarnation, addr: SocketAddr, key: PublicKey) {
        assert!(self.links.open(to, addr, key).is_some(), "a usable key");
    }

    /// Opens a link to the server that sent this challenge.
    pub fn answer_challenge(&mut self, server: Incarnation, addr: SocketAddr, challenge: &Frame) {
        let Frame::Challenge { cookie, key, .. } = challenge else { panic!("no challenge: {challenge:?}") };
        self.open(server, addr, *key);
        let opening = Opening { key: self.key(), cookie: cookie.clone() };
        self.links.get_mut(server).expect("a link").open_with(opening);
    }

    /// Queues a message. Returns its tag.
    pub fn push(&mut self, to: Incarnation, frame: Frame) -> u64 {
        self.messages += 1;
        self.links.get_mut(to).expect("a link").push(frame, Some(self.messages), None);
        self.messages
    }

    /// Queues a frame that is neither acknowledged nor sent again.
    pub fn push_unnumbered(&mut self, to: Incarnation, frame: Frame) {
        self.links.get_mut(to).expect("a link").push_unnumbered(frame, None);
    }

    /// The datagrams that its links have to send now.
    pub fn transmit(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.outcomes.extend(self.links.expire(now).into_iter().map(|(_, outcome)| outcome));
        std::iter::from_fn(|| self.links.transmit(now)).map(|(_, transmission)| transmission.bytes).collect()
    }

    /// Passes a machine the datagrams that its links have to send now. The caller drains the machine.
    pub fn deliver<M: Machine>(&mut self, now: Now, machine: &mut M) {
        for bytes in self.transmit(now.mono) {
            machine.handle(now, Input::Datagram { from: self.addr, bytes: &bytes });
        }
    }

    /// Processes a datagram for this peer, and confirms its contents. Returns the frames that the machine said.
    pub fn receive(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) -> Vec<Frame> {
        let datagram = wire::parse(bytes).expect("a datagram");
        let (Some(sender), Some(you)) = (datagram.head.me, datagram.head.you) else { return datagram.frames() };
        assert_eq!(you, self.incarnation, "a datagram for somebody else");
        let received = self.links.receive(now, from, sender, &datagram, true, &mut self.outcomes);
        let mut frames = received.expect("an authentic datagram");
        while let Some(link) = self.links.get_mut(sender)
            && let Some((seq, frame)) = link.take(now)
        {
            link.confirm(seq);
            frames.push(frame);
        }
        frames
    }

    /// An authentic datagram to a machine of the user with this key, with any header and frames: its links do not know
    /// it.
    pub fn seal(&self, to: PublicKey, head: &Header, frames: Vec<Frame>) -> Vec<u8> {
        let you = head.you.expect("a receiver");
        let secret = self.identity.agree(to).expect("a usable key");
        let mut bytes = emit(head, frames);
        let tag = LinkKeys::new(&secret, self.incarnation, you).tag(&bytes);
        wire::append_tag(&mut bytes, tag);
        bytes
    }
}

/// A datagram without tag.
pub fn emit(head: &Header, frames: Vec<Frame>) -> Vec<u8> {
    let lines: Vec<String> = frames.into_iter().flat_map(Frame::lines).collect();
    wire::emit(head, lines.iter().map(String::as_str))
}
