//! A link to one life at one address: messages arrive whole, in order, once, or their sender learns that they did not.
//!
//! Both roles stand on it. The sender numbers datagrams, sends them again until they are acknowledged, and counts
//! the patience of each message from the moment it left. The receiver ([`crate::proto::link::receiver`]) keeps what came out of
//! order, hands frames on in order, and acknowledges a datagram only when its owner confirmed all that it says.

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

/// What the owner of a link calls one of its messages.
pub type Tag = u64;

/// The most datagrams in flight while losses show: what a slow reader's default socket buffer can hold many times.
pub const WINDOW_LOSSY: usize = 16;
/// The most datagrams in flight while none do.
pub const WINDOW_CLEAR: usize = 128;
/// How long a retransmission makes the link count as lossy.
const LOSSY_FOR: Duration = Duration::from_secs(1);
/// How long a message is kept waiting at most by a reader that answers "wait".
pub const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How often a reader that answered "wait" is tried again.
const WAIT_PROBE: Duration = Duration::from_millis(100);

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageOutcome {
    /// All of it was shown or done.
    Acked {
        /// Which message.
        tag: Tag,
        /// How many times its last datagram was sent.
        copies: u32,
        /// From the moment it left to its acknowledgement.
        took: Duration,
    },
    /// Its patience ended. It is still being sent: the owner withdraws it, or goes on waiting.
    TimedOut {
        /// Which message.
        tag: Tag,
    },
}

/// A datagram to send.
#[derive(Debug)]
pub struct Transmission {
    /// All of it.
    pub bytes: Vec<u8>,
    /// How many times it was sent with this one; `None` when it has no number.
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
    left: Option<Instant>,
    expires: Option<Instant>,
    /// The datagram that carries its last line, once that has left.
    last: Option<u64>,
}

#[derive(Debug)]
struct SentPacket {
    lines: Vec<String>,
    sent: Instant,
    due: Instant,
    copies: u32,
    received: bool,
}

/// One link; see the module.
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
    inbound: Receiver,
    head_due: bool,
    low_due: bool,
    answer_due: Option<u32>,
}

impl Link {
    /// A link from the life `me` to the life `peer`, on which nothing was said yet. Its
    /// first datagram has the number `first`, above those of earlier links of the two.
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
            inbound: Receiver::default(),
            head_due: false,
            low_due: false,
            answer_due: None,
        }
    }

    /// Where the peer is.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The peer was found at another address.
    pub fn moved(&mut self, addr: SocketAddr) {
        self.addr = addr;
    }

    /// Queues a message. With a tag, its fate is told; with patience too, also that it has had none so long after
    /// it left. The owner bounds what it queues by [`Link::queued_bytes`] or [`Link::unsettled`].
    pub fn push(&mut self, frame: Frame, tag: Option<Tag>, ack_timeout: Option<Duration>) {
        let lines = frame.lines();
        let last = lines.len().saturating_sub(1);
        for (at, text) in lines.into_iter().enumerate() {
            self.queued_bytes += text.len();
            self.queue.push_back(QueuedFrame { text, ends_message: at == last });
        }
        self.messages.push_back(QueuedMessage { tag, ack_timeout, left: None, expires: None, last: None });
    }

    /// How many bytes wait to leave for the first time.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// How many messages have no fate yet.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.messages.len()
    }

    /// Gives up everything that is not acknowledged. What the peer was not handed by now it never will be.
    /// Returns the tags, in order.
    pub fn abort(&mut self) -> Vec<Tag> {
        if self.messages.is_empty() {
            return Vec::new();
        }
        self.queue.clear();
        self.queued_bytes = 0;
        self.in_flight.clear();
        // One number is skipped, so that the peer notices although the rest of a long text never had a number.
        self.next_number += 1;
        self.low_due = true;
        self.messages.drain(..).filter_map(|message| message.tag).collect()
    }

    /// Takes in a datagram of the peer. The fates of messages are added to `fates`.
    pub fn receive(&mut self, now: Instant, head: &Header, frames: Vec<Frame>, fates: &mut Vec<MessageOutcome>) {
        if let Some(ack) = head.ack.filter(|&ack| ack < self.next_number) {
            self.acknowledged(now, ack, &head.got, fates);
        }
        if head.wait {
            self.extend_timeouts(now);
        }
        if let Some(low) = head.low {
            self.inbound.advance_floor(low);
        }
        if let Some(n) = head.n {
            self.head_due |= self.inbound.arrive(now, n, frames);
        }
        self.answer_due = head.ask.or(self.answer_due);
    }

    fn acknowledged(&mut self, now: Instant, ack: u64, got: &[u16], fates: &mut Vec<MessageOutcome>) {
        let beyond = self.in_flight.split_off(&(ack + 1));
        let settled = std::mem::replace(&mut self.in_flight, beyond);
        if let Some((_, flight)) = settled.last_key_value()
            && flight.copies == 1
            && !flight.received
        {
            self.rtt.measured(now.since(flight.sent));
        }
        for distance in got {
            if let Some(flight) = self.in_flight.get_mut(&(ack + u64::from(*distance))) {
                flight.received = true;
            }
        }
        while let Some(message) = self.messages.front()
            && let Some(last) = message.last.filter(|last| *last <= ack)
        {
            if let Some(tag) = message.tag {
                let took = message.left.map_or(Duration::ZERO, |left| now.since(left));
                let copies = settled.get(&last).map_or(1, |flight| flight.copies);
                fates.push(MessageOutcome::Acked { tag, copies, took });
            }
            self.messages.pop_front();
        }
    }

    fn extend_timeouts(&mut self, now: Instant) {
        for message in &mut self.messages {
            if let (Some(left), Some(expires), Some(ack_timeout)) =
                (message.left, &mut message.expires, message.ack_timeout)
            {
                *expires = (now + ack_timeout).min(left + LONGEST_WAIT).max(*expires);
            }
        }
        for flight in self.in_flight.values_mut() {
            flight.due = flight.due.max(now + WAIT_PROBE);
        }
    }

    /// The next frame that came, in order, and the number of its datagram for [`Link::confirm`]. It stays until
    /// [`Link::take`].
    pub fn front(&mut self) -> Option<(u64, &Frame)> {
        self.head_due |= self.inbound.prepare();
        self.inbound.front()
    }

    /// Takes the frame that [`Link::front`] shows.
    pub fn take(&mut self, now: Instant) -> Option<(u64, Frame)> {
        self.head_due |= self.inbound.prepare();
        self.inbound.take(now)
    }

    /// A frame of datagram `n` that was taken is shown or done.
    pub fn confirm(&mut self, n: u64) {
        self.head_due |= self.inbound.confirm(n);
    }

    /// The owner cannot take more now: the peer is told to wait.
    pub fn block(&mut self, blocked: bool) {
        self.inbound.block(blocked);
    }

    /// The owner does not know the peer yet: no more than so many datagrams are kept for it.
    pub fn limit(&mut self, datagrams: u64) {
        self.inbound.limit(datagrams);
    }

    /// How many datagrams came and were not handed on.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inbound.waiting()
    }

    /// Tells which messages ran out of patience.
    pub fn expire(&mut self, now: Instant, fates: &mut Vec<MessageOutcome>) {
        for message in &mut self.messages {
            if message.expires.is_some_and(|expires| expires <= now) {
                message.expires = None;
                fates.extend(message.tag.map(|tag| MessageOutcome::TimedOut { tag }));
            }
        }
    }

    /// The next datagram to send, if any; call until `None`.
    pub fn transmit(&mut self, now: Instant) -> Option<Transmission> {
        if let Some(n) = self.due(now) {
            return Some(self.retransmit(now, n));
        }
        let lossy = self.lossy_until.is_some_and(|until| now < until);
        let window = if lossy { WINDOW_LOSSY } else { WINDOW_CLEAR };
        if !self.queue.is_empty() && self.in_flight.len() < window {
            return Some(self.transmit_new(now));
        }
        if self.head_due || self.low_due || self.answer_due.is_some() {
            let low = self.low_due.then_some(self.next_number);
            let head = Header { low, ..self.head() };
            return Some(Transmission { bytes: wire::emit(&head, []), copy: None });
        }
        None
    }

    /// Those datagrams that may be sent again: at most [`WINDOW_LOSSY`] at a time, and the oldest even when the peer
    /// has it, since only its answer tells when it was shown.
    fn repeatable(&self) -> impl Iterator<Item = (u64, Instant)> {
        let oldest = self.in_flight.keys().next().copied();
        let flights = self.in_flight.iter().filter(move |(n, flight)| !flight.received || Some(**n) == oldest);
        flights.take(WINDOW_LOSSY).map(|(n, flight)| (*n, flight.due))
    }

    fn due(&self, now: Instant) -> Option<u64> {
        self.repeatable().find(|(_, due)| *due <= now).map(|(n, _)| n)
    }

    fn retransmit(&mut self, now: Instant, n: u64) -> Transmission {
        let head = self.numbered(n);
        self.lossy_until = Some(now + LOSSY_FOR);
        let Some(flight) = self.in_flight.get_mut(&n) else {
            return Transmission { bytes: wire::emit(&head, []), copy: None };
        };
        flight.copies += 1;
        flight.due = now + self.rtt.timeout(flight.copies);
        let bytes = wire::emit(&head, flight.lines.iter().map(String::as_str));
        Transmission { bytes, copy: Some(flight.copies) }
    }

    fn transmit_new(&mut self, now: Instant) -> Transmission {
        let n = self.next_number;
        self.next_number += 1;
        let mut lines = Vec::new();
        let mut room = MAX_DATAGRAM - MAX_HEAD;
        let mut current = self.messages.iter().position(|message| message.last.is_none());
        while self.queue.front().is_some_and(|line| line.text.len() < room)
            && let Some(line) = self.queue.pop_front()
        {
            room -= line.text.len() + 1;
            self.queued_bytes -= line.text.len();
            if let Some(message) = current.and_then(|at| self.messages.get_mut(at)) {
                if message.left.is_none() {
                    message.left = Some(now);
                    message.expires = message.ack_timeout.map(|ack_timeout| now + ack_timeout);
                }
                if line.ends_message {
                    message.last = Some(n);
                    current = current.map(|at| at + 1);
                }
            }
            lines.push(line.text);
        }
        let due = now + self.rtt.timeout(1);
        self.in_flight.insert(n, SentPacket { lines, sent: now, due, copies: 1, received: false });
        let head = self.numbered(n);
        let lines = self.in_flight.get(&n).map(|flight| &flight.lines).into_iter().flatten();
        Transmission { bytes: wire::emit(&head, lines.map(String::as_str)), copy: Some(1) }
    }

    fn numbered(&mut self, n: u64) -> Header {
        let low = self.in_flight.keys().next().copied().unwrap_or(n);
        Header { n: Some(n), low: Some(low), ..self.head() }
    }

    /// A head with all that is due in it; nothing is due afterwards.
    fn head(&mut self) -> Header {
        self.head_due = false;
        self.low_due = false;
        let (ack, got, wait) = self.inbound.report();
        let answer = self.answer_due.take();
        Header {
            ack: Some(ack).filter(|ack| *ack > 0 || !got.is_empty()),
            got,
            wait,
            answer,
            ..Header::new(self.me, Some(self.peer))
        }
    }

    /// When [`Link::expire`] or [`Link::transmit`] has something to do, if nothing comes before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let repeat = self.repeatable().map(|(_, due)| due).min();
        let expiry = self.messages.iter().filter_map(|message| message.expires).min();
        earliest(repeat, expiry)
    }

    /// Whether nothing is in flight, queued, half assembled or unconfirmed.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.messages.is_empty() && self.in_flight.is_empty() && self.inbound.is_idle()
    }
}
