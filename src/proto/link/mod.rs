//! A link to one incarnation at one address. It delivers messages whole, in order and once, or reports a timeout to
//! their sender. Clients and servers use it.
//!
//! The sender numbers datagrams and retransmits them until they are acknowledged. The acknowledgement timeout of a
//! message starts with its first transmission. The receiver ([`crate::proto::link::receiver`]) buffers datagrams that
//! arrive out of order, returns frames in order, and acknowledges a datagram only when its owner confirmed all frames
//! in it.

pub mod congestion;
pub mod packets;
pub mod receiver;
pub mod rtt;
pub mod table;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::id::Incarnation;
use crate::proto::link::receiver::Receiver;
use crate::proto::link::rtt::Rtt;
use crate::proto::time::{Instant, earliest};
use crate::proto::wire::{self, Frame, Header, MAX_DATAGRAM, MAX_HEAD};

/// The number by which the owner identifies a message that it sends.
pub type Tag = u64;

/// The most datagrams in flight after a recent loss. The default socket buffer of a slow reader has room for many times
/// this number.
pub const WINDOW_LOSSY: usize = 16;
/// The most datagrams in flight without a recent loss.
pub const WINDOW_CLEAR: usize = 128;
/// How long a retransmission makes the link count as lossy.
const LOSSY_FOR: Duration = Duration::from_secs(1);
/// The longest acknowledgement timeout of a message whose reader answers "wait".
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The retransmission timeout after a reader answered "wait".
const WAIT_PROBE: Duration = Duration::from_millis(100);

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
    },
}

/// A datagram to send.
#[derive(Debug)]
pub struct Transmission {
    /// The payload.
    pub bytes: Vec<u8>,
    /// 1 for the first transmission, counting up; `None` for a datagram without a number.
    pub copy: Option<u32>,
}

#[derive(Debug)]
struct QueuedFrame {
    text: String,
    ends_message: bool,
}

#[derive(Debug)]
struct QueuedMessage {
    tag: Option<Tag>,
    ack_timeout: Option<Duration>,
    sent_at: Option<Instant>,
    expires: Option<Instant>,
    /// The number of the datagram with its last line, once that was sent.
    last_packet: Option<u64>,
}

#[derive(Debug)]
struct SentPacket {
    lines: Vec<String>,
    sent_at: Instant,
    retransmit_at: Instant,
    copies: u32,
    received: bool,
}

/// A link to one peer.
#[derive(Debug)]
pub struct Link {
    me: Incarnation,
    peer: Incarnation,
    addr: SocketAddr,
    queue: VecDeque<QueuedFrame>,
    queued_bytes: usize,
    in_flight: BTreeMap<u64, SentPacket>,
    messages: VecDeque<QueuedMessage>,
    next_number: u64,
    rtt: Rtt,
    lossy_until: Option<Instant>,
    receiver: Receiver,
    ack_due: bool,
    floor_due: bool,
    answer_due: Option<u32>,
}

impl Link {
    /// A new link from the incarnation `me` to the incarnation `peer`. Its first datagram has the number `first`, which
    /// must be above all numbers of earlier links between the two.
    #[must_use]
    pub fn new(me: Incarnation, peer: Incarnation, addr: SocketAddr, first: u64) -> Self {
        Self {
            me,
            peer,
            addr,
            queue: VecDeque::new(),
            queued_bytes: 0,
            in_flight: BTreeMap::new(),
            messages: VecDeque::new(),
            next_number: first,
            rtt: Rtt::default(),
            lossy_until: None,
            receiver: Receiver::default(),
            ack_due: false,
            floor_due: false,
            answer_due: None,
        }
    }

    /// The address of the peer.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets the address of a peer that moved.
    pub fn moved(&mut self, addr: SocketAddr) {
        self.addr = addr;
    }

    /// Queues a message. A message with a tag has an outcome. It can time out only if it also has an acknowledgement
    /// timeout. The queue has no limit: the owner limits it by [`Link::queued_bytes`] or [`Link::unsettled`].
    pub fn push(&mut self, frame: Frame, tag: Option<Tag>, ack_timeout: Option<Duration>) {
        let lines = frame.lines();
        let last = lines.len().saturating_sub(1);
        for (at, text) in lines.into_iter().enumerate() {
            self.queued_bytes += text.len();
            self.queue.push_back(QueuedFrame { text, ends_message: at == last });
        }
        self.messages.push_back(QueuedMessage { tag, ack_timeout, sent_at: None, expires: None, last_packet: None });
    }

    /// The number of bytes that were not sent yet.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// The number of messages that are not acknowledged.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.messages.len()
    }

    /// Drops every message that is not acknowledged. The peer ignores these from now on. Returns their tags, in order.
    pub fn abort(&mut self) -> Vec<Tag> {
        if self.messages.is_empty() {
            return Vec::new();
        }
        self.queue.clear();
        self.queued_bytes = 0;
        self.in_flight.clear();
        // Skips one number, so that the peer notices the abort even if the rest of a long text never had a number.
        self.next_number += 1;
        self.floor_due = true;
        self.messages.drain(..).filter_map(|message| message.tag).collect()
    }

    /// Processes a datagram of the peer. Appends the outcomes of messages to `outcomes`.
    pub fn receive(&mut self, now: Instant, header: &Header, frames: Vec<Frame>, outcomes: &mut Vec<MessageOutcome>) {
        if let Some(ack) = header.ack.filter(|&ack| ack < self.next_number) {
            self.acknowledged(now, ack, &header.got, outcomes);
        }
        if header.wait {
            self.extend_timeouts(now);
        }
        if let Some(low) = header.low {
            self.receiver.advance_floor(low);
        }
        if let Some(n) = header.n {
            self.ack_due |= self.receiver.arrive(now, n, frames);
        }
        self.answer_due = header.ask.or(self.answer_due);
    }

    fn acknowledged(&mut self, now: Instant, ack: u64, got: &[u16], outcomes: &mut Vec<MessageOutcome>) {
        let beyond = self.in_flight.split_off(&(ack + 1));
        let acked = std::mem::replace(&mut self.in_flight, beyond);
        if let Some((_, packet)) = acked.last_key_value()
            && packet.copies == 1
            && !packet.received
        {
            self.rtt.measured(now.since(packet.sent_at));
        }
        for distance in got {
            if let Some(packet) = self.in_flight.get_mut(&(ack + u64::from(*distance))) {
                packet.received = true;
            }
        }
        while let Some(message) = self.messages.front()
            && let Some(last) = message.last_packet.filter(|last| *last <= ack)
        {
            if let Some(tag) = message.tag {
                let took = message.sent_at.map_or(Duration::ZERO, |sent_at| now.since(sent_at));
                let copies = acked.get(&last).map_or(1, |packet| packet.copies);
                outcomes.push(MessageOutcome::Acked { tag, copies, took });
            }
            self.messages.pop_front();
        }
    }

    fn extend_timeouts(&mut self, now: Instant) {
        for message in &mut self.messages {
            if let (Some(sent_at), Some(expires), Some(ack_timeout)) =
                (message.sent_at, &mut message.expires, message.ack_timeout)
            {
                *expires = (now + ack_timeout).min(sent_at + LONGEST_WAIT).max(*expires);
            }
        }
        for packet in self.in_flight.values_mut() {
            packet.retransmit_at = packet.retransmit_at.max(now + WAIT_PROBE);
        }
    }

    /// The next frame of the peer, in order, and the number of its datagram for [`Link::confirm`]. The frame stays
    /// until [`Link::take`].
    pub fn front(&mut self) -> Option<(u64, &Frame)> {
        self.ack_due |= self.receiver.prepare();
        self.receiver.front()
    }

    /// Takes the frame that [`Link::front`] returns.
    pub fn take(&mut self, now: Instant) -> Option<(u64, Frame)> {
        self.ack_due |= self.receiver.prepare();
        self.receiver.take(now)
    }

    /// Confirms that one taken frame of datagram `n` was displayed or processed.
    pub fn confirm(&mut self, n: u64) {
        self.ack_due |= self.receiver.confirm(n);
    }

    /// Sets whether the owner is unable to take more frames. While it is, the link asks the peer to wait.
    pub fn block(&mut self, blocked: bool) {
        self.receiver.block(blocked);
    }

    /// Limits the number of buffered datagrams, for a peer that the owner does not know yet.
    pub fn limit(&mut self, datagrams: u64) {
        self.receiver.limit(datagrams);
    }

    /// The number of buffered datagrams.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.receiver.waiting()
    }

    /// Reports the messages whose acknowledgement timeout ended.
    pub fn expire(&mut self, now: Instant, outcomes: &mut Vec<MessageOutcome>) {
        for message in &mut self.messages {
            if message.expires.is_some_and(|expires| expires <= now) {
                message.expires = None;
                outcomes.extend(message.tag.map(|tag| MessageOutcome::TimedOut { tag }));
            }
        }
    }

    /// The next datagram to send, if any. Call until `None`.
    pub fn transmit(&mut self, now: Instant) -> Option<Transmission> {
        if let Some(n) = self.next_retransmission(now) {
            return Some(self.retransmit(now, n));
        }
        let lossy = self.lossy_until.is_some_and(|until| now < until);
        let window = if lossy { WINDOW_LOSSY } else { WINDOW_CLEAR };
        if !self.queue.is_empty() && self.in_flight.len() < window {
            return Some(self.transmit_new(now));
        }
        if self.ack_due || self.floor_due || self.answer_due.is_some() {
            let low = self.floor_due.then_some(self.next_number);
            let header = Header { low, ..self.header() };
            return Some(Transmission { bytes: wire::emit(&header, []), copy: None });
        }
        None
    }

    /// The datagrams that may be retransmitted: at most [`WINDOW_LOSSY`] at a time. The oldest one is included even
    /// if the peer received it, because its retransmission makes the peer report whether it was displayed.
    fn retransmittable(&self) -> impl Iterator<Item = (u64, Instant)> {
        let oldest = self.in_flight.keys().next().copied();
        let packets = self.in_flight.iter().filter(move |(n, packet)| !packet.received || Some(**n) == oldest);
        packets.take(WINDOW_LOSSY).map(|(n, packet)| (*n, packet.retransmit_at))
    }

    fn next_retransmission(&self, now: Instant) -> Option<u64> {
        self.retransmittable().find(|(_, due)| *due <= now).map(|(n, _)| n)
    }

    fn retransmit(&mut self, now: Instant, n: u64) -> Transmission {
        let header = self.numbered_header(n);
        self.lossy_until = Some(now + LOSSY_FOR);
        let Some(packet) = self.in_flight.get_mut(&n) else {
            return Transmission { bytes: wire::emit(&header, []), copy: None };
        };
        packet.copies += 1;
        packet.retransmit_at = now + self.rtt.timeout(packet.copies);
        let bytes = wire::emit(&header, packet.lines.iter().map(String::as_str));
        Transmission { bytes, copy: Some(packet.copies) }
    }

    fn transmit_new(&mut self, now: Instant) -> Transmission {
        let n = self.next_number;
        self.next_number += 1;
        let mut lines = Vec::new();
        let mut room = MAX_DATAGRAM - MAX_HEAD;
        let mut current = self.messages.iter().position(|message| message.last_packet.is_none());
        while self.queue.front().is_some_and(|line| line.text.len() < room)
            && let Some(line) = self.queue.pop_front()
        {
            room -= line.text.len() + 1;
            self.queued_bytes -= line.text.len();
            if let Some(message) = current.and_then(|at| self.messages.get_mut(at)) {
                if message.sent_at.is_none() {
                    message.sent_at = Some(now);
                    message.expires = message.ack_timeout.map(|ack_timeout| now + ack_timeout);
                }
                if line.ends_message {
                    message.last_packet = Some(n);
                    current = current.map(|at| at + 1);
                }
            }
            lines.push(line.text);
        }
        let retransmit_at = now + self.rtt.timeout(1);
        self.in_flight.insert(n, SentPacket { lines, sent_at: now, retransmit_at, copies: 1, received: false });
        let header = self.numbered_header(n);
        let lines = self.in_flight.get(&n).map(|packet| &packet.lines).into_iter().flatten();
        Transmission { bytes: wire::emit(&header, lines.map(String::as_str)), copy: Some(1) }
    }

    fn numbered_header(&mut self, n: u64) -> Header {
        let low = self.in_flight.keys().next().copied().unwrap_or(n);
        Header { n: Some(n), low: Some(low), ..self.header() }
    }

    /// A header with the acknowledgement and everything else that is due. Nothing is due afterwards.
    fn header(&mut self) -> Header {
        self.ack_due = false;
        self.floor_due = false;
        let (ack, got, wait) = self.receiver.report();
        let answer = self.answer_due.take();
        Header {
            ack: Some(ack).filter(|ack| *ack > 0 || !got.is_empty()),
            got,
            wait,
            answer,
            ..Header::new(self.me, Some(self.peer))
        }
    }

    /// When to call [`Link::expire`] and [`Link::transmit`] if no datagram arrives earlier.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let retransmission = self.retransmittable().map(|(_, due)| due).min();
        let expiry = self.messages.iter().filter_map(|message| message.expires).min();
        earliest(retransmission, expiry)
    }

    /// Whether nothing is queued, in flight, partly assembled or unconfirmed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.messages.is_empty() && self.in_flight.is_empty() && self.receiver.is_idle()
    }
}
