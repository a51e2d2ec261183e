//! A link to one incarnation at one address. It delivers messages whole, in order and once, or reports a timeout to
//! their sender. Clients and servers use it.
//!
//! Two numbers do this. Each datagram has a new packet number `pn`, which the peer acknowledges when it arrives. Each
//! content, the frames of one datagram, has a number `seq`, which it keeps when it is sent again. The peer reports the
//! contents that are *done*, displayed or processed, and only this decides the outcome of a message.
//!
//! [`sender`] keeps contents until they are done, [`recovery`] decides what was lost, and [`receiver`] puts contents in
//! order. This file authenticates datagrams and decides when to acknowledge.

pub mod congestion;
pub mod packets;
pub mod receiver;
pub mod recovery;
pub mod rtt;
pub mod sender;
pub mod table;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::event::reason::DropReason;
use crate::proto::id::Incarnation;
use crate::proto::keys::{LinkKeys, PublicKey};
use crate::proto::link::packets::ReceivedPackets;
use crate::proto::link::receiver::{Arrival, Receiver};
use crate::proto::link::rtt::Rtt;
use crate::proto::link::sender::{Outgoing, Sender};
use crate::proto::time::{Instant, earliest};
use crate::proto::wire::{self, Datagram, Frame, Header, MAX_BARE_RANGES, MAX_DELAY, MAX_RANGES};

/// The number by which the owner identifies a message that it sends.
pub type Tag = u64;

/// The longest acknowledgement timeout of a message whose reader answers "wait".
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The question that needs an acknowledgement, but no answer.
pub const PROBE: u32 = 0;

/// The outcome of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageOutcome {
    /// The receiver displayed or processed the whole message.
    Acked {
        /// The message.
        tag: Tag,
        /// The number of times that its last datagram was sent.
        copies: u32,
        /// The time from its first transmission to its acknowledgement.
        took: Duration,
    },
    /// Its acknowledgement timeout ended. The link continues to send it until the owner aborts the link.
    TimedOut {
        /// The message.
        tag: Tag,
        /// When the timeout began.
        since: Instant,
    },
}

/// A datagram to send.
#[derive(Debug)]
pub struct Transmission {
    /// The payload.
    pub bytes: Vec<u8>,
    /// 1 for the first transmission of a content, counting up; `None` for a datagram without content.
    pub copy: Option<u32>,
}

/// The header keys by which a client opens a link to a server.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The client's public key.
    pub key: PublicKey,
    /// The cookie of the server.
    pub cookie: String,
}

/// A link to one peer.
#[derive(Debug)]
pub struct Link {
    me: Incarnation,
    peer: Incarnation,
    addr: SocketAddr,
    /// The source of the peer's last authentic datagram: the first one's, or `addr`.
    source: Option<SocketAddr>,
    keys: LinkKeys,
    /// Stands in all headers until an authentic datagram of the peer arrives.
    opening: Option<Opening>,
    next_pn: u64,
    /// Whether any datagram was sent.
    has_sent: bool,
    sender: Sender,
    packets: ReceivedPackets,
    /// When the datagram with the highest number arrived.
    highest_at: Instant,
    receiver: Receiver,
    /// When an acknowledgement is due.
    ack_at: Option<Instant>,
    answer_due: Option<u32>,
    /// Questions to ask, each in a datagram of its own.
    asks: VecDeque<u32>,
    /// Lines of frames without number, each for a datagram of its own that asks `ask`.
    unnumbered: VecDeque<(Arc<str>, Option<u32>)>,
}

impl Link {
    /// A new link from the incarnation `me` to the incarnation `peer`. Its first numbers are `first`, which must be
    /// above all numbers of earlier links between the two.
    #[must_use]
    pub fn new(me: Incarnation, peer: Incarnation, addr: SocketAddr, keys: LinkKeys, first: u64) -> Self {
        Self {
            me,
            peer,
            addr,
            source: None,
            keys,
            opening: None,
            next_pn: first,
            has_sent: false,
            sender: Sender::new(first),
            packets: ReceivedPackets::default(),
            highest_at: Instant::ZERO,
            receiver: Receiver::default(),
            ack_at: None,
            answer_due: None,
            asks: VecDeque::new(),
            unnumbered: VecDeque::new(),
        }
    }

    /// The address of the peer.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets the address of a peer that registered at another one.
    pub fn moved(&mut self, addr: SocketAddr) {
        if self.addr != addr {
            self.addr = addr;
            self.source = None;
        }
    }

    /// The highest number of the peer's datagrams that were received; 0 for none.
    #[must_use]
    pub fn highest_received(&self) -> u64 {
        self.packets.highest()
    }

    /// Whether an authentic datagram of the peer has a number that was not received yet.
    #[must_use]
    pub fn is_new(&self, datagram: &Datagram<'_>) -> bool {
        self.is_authentic(datagram) && datagram.head.pn.is_some_and(|pn| self.packets.is_new(pn))
    }

    /// Sets the header keys that open the link at a server. The next authentic datagram of the server removes them.
    pub fn open_with(&mut self, opening: Opening) {
        self.opening = Some(opening);
    }

    /// Queues a message. A message with a tag has an outcome. It can time out only if it also has an acknowledgement
    /// timeout. The queue has no limit: the owner limits it by [`Link::queued_bytes`] or [`Link::unsettled`].
    pub fn push(&mut self, frame: Frame, tag: Option<Tag>, ack_timeout: Option<Duration>) {
        self.sender.push(frame, tag, ack_timeout);
    }

    /// Queues a message like [`Link::push`], from the lines of [`Frame::lines`]. The queues of all links that get the
    /// message share them, so that it is encoded once. There must be at least one line.
    pub fn push_shared(&mut self, lines: &[Arc<str>], tag: Option<Tag>, ack_timeout: Option<Duration>) {
        self.sender.push_shared(lines, tag, ack_timeout);
    }

    /// Queues a frame that is sent once and not acknowledged. With `ask`, the datagram asks this question.
    pub fn push_unnumbered(&mut self, frame: Frame, ask: Option<u32>) {
        for line in frame.lines() {
            self.push_unnumbered_line(&line.into(), ask);
        }
    }

    /// Queues a frame like [`Link::push_unnumbered`], from its only line, which the queues of many links can share.
    pub fn push_unnumbered_line(&mut self, line: &Arc<str>, ask: Option<u32>) {
        self.unnumbered.push_back((Arc::clone(line), ask));
    }

    /// Asks the peer a question, in a datagram without frames.
    pub fn ask(&mut self, number: u32) {
        self.asks.push_back(number);
    }

    /// The number of bytes that were not sent yet.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.sender.queued_bytes()
    }

    /// The number of messages without outcome.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.sender.unsettled()
    }

    /// Begins the acknowledgement timeout of a message anew, after it ended.
    pub fn restart_timeout(&mut self, now: Instant, tag: Tag) {
        self.sender.restart_timeout(now, tag);
    }

    /// Drops every message without outcome. The peer ignores these from now on. Returns their tags, in order.
    pub fn abort(&mut self) -> Vec<Tag> {
        if self.unsettled() == 0 {
            return Vec::new();
        }
        self.sender.abort()
    }

    /// Whether a datagram carries the tag of this link.
    #[must_use]
    pub fn is_authentic(&self, datagram: &Datagram<'_>) -> bool {
        datagram.tag.is_some_and(|tag| self.keys.verify(datagram.signed, tag))
    }

    /// Processes a datagram of the peer. Appends the outcomes of messages to `outcomes`. Returns its frames if it has
    /// no `seq`. `room` is the number of bytes that all links may still buffer. An owner that does not take contents
    /// learns only about its own messages: the peer gets no acknowledgement.
    ///
    /// # Errors
    /// The reason why the datagram was dropped. Then it has no outcomes. Before a datagram is authenticated it changes
    /// nothing, and its frames are not parsed.
    pub fn receive(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &Datagram<'_>,
        room: usize,
        takes_contents: bool,
        outcomes: &mut Vec<MessageOutcome>,
    ) -> Result<Vec<Frame>, DropReason> {
        // A host can have several addresses, so that the first source may differ from the address in the table. No
        // other program of that host has the port. The address in the table always counts: otherwise a replay that
        // overtakes the first datagram would set another source for good.
        let has_right_source = self.source.map_or(self.addr.port() == from.port(), |source| source == from);
        if from != self.addr && !has_right_source {
            return Err(DropReason::OtherAddress);
        }
        if !self.is_authentic(datagram) {
            return Err(DropReason::BadTag);
        }
        let header = &datagram.head;
        let Some(pn) = header.pn.filter(|pn| self.packets.is_new(*pn)) else { return Err(DropReason::Replayed) };
        self.source = Some(from);
        self.opening = None;
        let mut arrival = None;
        if takes_contents || !header.elicits_ack() {
            if let Some(low) = header.low {
                self.receiver.advance_floor(low);
            }
            arrival = header.seq.map(|seq| self.receiver.arrive(now, seq, datagram.body, room));
            if arrival == Some(Arrival::Dropped) {
                // The number is not received, so that a retransmission brings the acknowledgement again.
                return Err(DropReason::BufferFull);
            }
        }
        if header.ack.first().is_none_or(|largest| *largest < self.next_pn) {
            self.sender.receive(now, header, outcomes);
        }
        if header.elicits_ack() && !takes_contents {
            return Ok(Vec::new());
        }
        if header.elicits_ack() {
            // RFC 9000 §13.2.1: an acknowledgement is due at once if a number is missing.
            let is_prompt = arrival == Some(Arrival::Expected) && pn == self.packets.highest() + 1;
            let delay = if is_prompt && header.ask.is_none() { Rtt::MAX_ACK_DELAY } else { Duration::ZERO };
            self.ack_at = earliest(self.ack_at, Some(now + delay));
        }
        if pn > self.packets.highest() {
            self.highest_at = now;
        }
        self.packets.insert(pn);
        if let Some(number) = header.ask {
            self.answer_due = Some(number).filter(|number| *number != PROBE).or(self.answer_due);
            self.receiver.question(now);
        }
        Ok(if header.seq.is_none() { datagram.frames() } else { Vec::new() })
    }

    /// The next frame of the peer, in order, and the number of its content for [`Link::confirm`]. The frame stays
    /// until [`Link::take`].
    pub fn front(&mut self) -> Option<(u64, &Frame)> {
        let is_done = self.receiver.prepare();
        self.acknowledge_if(is_done);
        self.receiver.front()
    }

    /// Takes the frame that [`Link::front`] returns.
    pub fn take(&mut self, now: Instant) -> Option<(u64, Frame)> {
        let is_done = self.receiver.prepare();
        self.acknowledge_if(is_done);
        self.receiver.take(now)
    }

    /// Confirms that one taken frame of content `seq` was displayed or processed.
    pub fn confirm(&mut self, seq: u64) {
        let is_done = self.receiver.confirm(seq);
        self.acknowledge_if(is_done);
    }

    fn acknowledge_if(&mut self, is_done: bool) {
        if is_done {
            self.ack_at = Some(Instant::ZERO);
        }
    }

    /// Sets whether the owner is unable to take more frames. While it is, the link asks the peer to wait.
    pub fn block(&mut self, blocked: bool) {
        self.receiver.block(blocked);
    }

    /// Whether frames of the peer wait for the owner or for an earlier content.
    #[must_use]
    pub fn has_frames(&self) -> bool {
        self.receiver.has_frames()
    }

    /// Drops what was received and not taken, because the peer has left.
    pub fn discard_received(&mut self) {
        self.receiver.clear();
    }

    /// The bytes of received contents that are buffered.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.receiver.buffered()
    }

    /// Reports the messages whose acknowledgement timeout ended, and schedules what is lost or due as a probe.
    pub fn expire(&mut self, now: Instant, outcomes: &mut Vec<MessageOutcome>) {
        if self.sender.expire(now, self.next_pn, outcomes) {
            self.sender.on_probe_sent(now);
            self.ask(PROBE);
        }
    }

    /// Whether the next datagram goes before the contents of other links: it carries an acknowledgement, a question, an
    /// answer or a frame without number, or it is the first one of the link, which a registration waits for.
    #[must_use]
    pub fn is_urgent(&self, now: Instant) -> bool {
        !self.unnumbered.is_empty()
            || !self.asks.is_empty()
            || self.ack_at.is_some_and(|at| at <= now)
            || self.answer_due.is_some()
            || self.sender.is_floor_notice_due(now)
            || !self.has_sent
    }

    /// The next datagram to send, if any. Call until `None`.
    pub fn transmit(&mut self, now: Instant) -> Option<Transmission> {
        if let Some((line, ask)) = self.unnumbered.pop_front() {
            let header = Header { ask, ..self.header(now, MAX_RANGES) };
            let body = [line.as_bytes(), b"\n"].concat();
            return Some(Transmission { bytes: seal(&self.keys, &header, &body), copy: None });
        }
        if let Some(ask) = self.asks.pop_front() {
            let header = Header { ask: Some(ask), ..self.header(now, MAX_BARE_RANGES) };
            return Some(Transmission { bytes: seal(&self.keys, &header, &[]), copy: None });
        }
        if self.sender.take_floor_notice(now) {
            let low = Some(self.sender.floor());
            let header = Header { low, ask: Some(PROBE), ..self.header(now, MAX_BARE_RANGES) };
            return Some(Transmission { bytes: seal(&self.keys, &header, &[]), copy: None });
        }
        if let Some(outgoing) = self.sender.next(now) {
            return Some(self.transmit_content(now, outgoing));
        }
        if self.ack_at.is_some_and(|at| at <= now) || self.answer_due.is_some() {
            let header = self.header(now, MAX_BARE_RANGES);
            return Some(Transmission { bytes: seal(&self.keys, &header, &[]), copy: None });
        }
        None
    }

    fn transmit_content(&mut self, now: Instant, Outgoing { seq, low, copy }: Outgoing) -> Transmission {
        let pn = self.next_pn;
        let header = Header { seq: Some(seq), low: Some(low), ..self.header(now, MAX_RANGES) };
        let bytes = seal(&self.keys, &header, self.sender.body(seq));
        self.sender.on_sent(now, pn, seq, bytes.len());
        Transmission { bytes, copy: Some(copy) }
    }

    /// A header with the next number, the acknowledgement and everything else that is due. Nothing is due afterwards.
    fn header(&mut self, now: Instant, ranges: usize) -> Header {
        let mut header = Header::new(self.me, Some(self.peer));
        header.pn = Some(self.next_pn);
        self.next_pn += 1;
        self.has_sent = true;
        let is_ack_due = self.ack_at.take().is_some();
        if let Some(Opening { key, cookie }) = self.opening.clone() {
            // No acknowledgement beside them: the header would be too long, and the peer forgot the link.
            (header.key, header.cookie) = (Some(key), Some(cookie));
        } else if is_ack_due {
            header.ack = self.packets.ranges(ranges);
            let delay = now.since(self.highest_at).as_micros();
            header.delay = u64::try_from(delay).unwrap_or(MAX_DELAY).min(MAX_DELAY);
        }
        header.done = self.receiver.done();
        header.wait = self.receiver.take_wait();
        header.answer = self.answer_due.take();
        header
    }

    /// When to call [`Link::expire`] and [`Link::transmit`] if no datagram arrives earlier.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        earliest(self.sender.deadline(), self.ack_at)
    }

    /// A number above all that the link has used.
    #[must_use]
    pub fn next_number(&self) -> u64 {
        self.next_pn.max(self.sender.next_seq())
    }

    /// Frees the memory of empty queues and maps. A map keeps a node for its next entry otherwise, and most links of a
    /// large server are idle.
    pub fn free_unused(&mut self) {
        if self.is_idle() {
            self.sender.free_unused();
            self.receiver.free_unused();
            self.asks.shrink_to(0);
            self.unnumbered.shrink_to(0);
        }
    }

    /// Whether nothing is queued, in flight, partly assembled or unconfirmed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.sender.is_idle() && self.receiver.is_idle()
    }
}

/// Frees the node that an empty map keeps.
fn free_if_empty<K, V>(map: &mut BTreeMap<K, V>) {
    if map.is_empty() {
        *map = BTreeMap::new();
    }
}

/// Emits a datagram with its tag.
fn seal(keys: &LinkKeys, header: &Header, body: &[u8]) -> Vec<u8> {
    let mut bytes = wire::emit(header, []);
    bytes.extend_from_slice(body);
    let tag = keys.tag(&bytes);
    wire::append_tag(&mut bytes, tag);
    bytes
}
