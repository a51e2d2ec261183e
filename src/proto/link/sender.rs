//! The sending half of a link: packs messages into contents, numbers them, and keeps each until it is done.
//!
//! A content is the frames of one datagram. Its number `seq` stays the same when it is sent again. [`Recovery`] decides
//! what is sent again and how much may be in flight.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::proto::link::free_if_empty;
use crate::proto::link::recovery::{Recovery, THIN, UnderWay};
use crate::proto::link::{LONGEST_WAIT, MessageOutcome, Tag};
use crate::proto::time::{Instant, earliest};
use crate::proto::wire::{Frame, Header, MAX_DATAGRAM, MAX_FRAMES, MAX_HEAD, TAG_LINE};

/// The most contents from the oldest one without outcome on: the receiver buffers as many.
pub const SEND_WINDOW: u64 = 512;
/// The most contents that an expired probe timer sends again on a link that is not thin (RFC 9002 §6.2.4).
pub const PROBES: usize = 2;
/// The most datagrams with one content that are remembered.
const REMEMBERED_COPIES: usize = 32;
/// The most copies of a floor that follows an abort.
const FLOOR_NOTICES: u32 = 12;
/// The time between two copies.
const FLOOR_NOTICE_EVERY: Duration = Duration::from_millis(40);
/// The probe timeout after a reader answered "wait".
const WAIT_PROBE: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct QueuedFrame {
    /// A line without its newline. The queues of many links can share it.
    text: Arc<str>,
    ends_message: bool,
}

#[derive(Debug)]
struct QueuedMessage {
    tag: Option<Tag>,
    ack_timeout: Option<Duration>,
    sent_at: Option<Instant>,
    expires: Option<Instant>,
    /// The content with its last line, once that was sent.
    last_seq: Option<u64>,
}

impl QueuedMessage {
    fn begin_of_timeout(&self) -> Option<Instant> {
        let elapsed = self.expires?.since(self.sent_at?).saturating_sub(self.ack_timeout?);
        Some(self.sent_at? + elapsed)
    }
}

#[derive(Debug)]
struct Content {
    /// The lines of the frames. Empty once the content was received.
    body: Vec<u8>,
    copies: u32,
    /// The numbers of the datagrams with it.
    pns: Vec<u64>,
    is_received: bool,
}

/// A content to send.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing {
    /// Its number.
    pub seq: u64,
    /// The floor.
    pub low: u64,
    /// 1 for its first transmission, counting up.
    pub copy: u32,
}

/// The sender of one link.
#[derive(Debug)]
pub struct Sender {
    queue: VecDeque<QueuedFrame>,
    queued_bytes: usize,
    messages: VecDeque<QueuedMessage>,
    /// The number of messages that had an outcome: the position of the first of `messages`.
    settled: u64,
    /// When the acknowledgement timeouts of messages end, with their positions.
    expiries: BTreeSet<(Instant, u64)>,
    /// The positions of messages whose timeout ended.
    timed_out: BTreeMap<Tag, u64>,
    /// The contents that were sent and are not done.
    contents: BTreeMap<u64, Content>,
    unreceived: usize,
    next_seq: u64,
    /// Contents to send again, because a datagram with them was lost.
    lost: BTreeSet<u64>,
    /// Contents to send again, because the probe timer expired. The congestion window does not stop them.
    probes: BTreeSet<u64>,
    recovery: Recovery,
    /// The reader answered "wait": no probe before this time.
    wait_until: Option<Instant>,
    /// The peer has to learn the floor: when to send it next, and how often it was sent.
    floor_notice: Option<(Instant, u32)>,
}

impl Sender {
    /// A sender whose first content has the number `first`.
    #[must_use]
    pub fn new(first: u64) -> Self {
        Self {
            queue: VecDeque::new(),
            queued_bytes: 0,
            messages: VecDeque::new(),
            settled: 0,
            expiries: BTreeSet::new(),
            timed_out: BTreeMap::new(),
            contents: BTreeMap::new(),
            unreceived: 0,
            next_seq: first,
            lost: BTreeSet::new(),
            probes: BTreeSet::new(),
            recovery: Recovery::default(),
            wait_until: None,
            floor_notice: None,
        }
    }

    /// See [`crate::proto::link::Link::push`].
    pub fn push(&mut self, frame: Frame, tag: Option<Tag>, ack_timeout: Option<Duration>) {
        self.push_lines(frame.lines().into_iter().map(Arc::from), tag, ack_timeout);
    }

    /// See [`crate::proto::link::Link::push_shared`].
    pub fn push_shared(&mut self, lines: &[Arc<str>], tag: Option<Tag>, ack_timeout: Option<Duration>) {
        self.push_lines(lines.iter().cloned(), tag, ack_timeout);
    }

    fn push_lines(
        &mut self,
        lines: impl ExactSizeIterator<Item = Arc<str>>,
        tag: Option<Tag>,
        ack_timeout: Option<Duration>,
    ) {
        let last = lines.len().saturating_sub(1);
        for (at, text) in lines.enumerate() {
            self.queued_bytes += text.len();
            self.queue.push_back(QueuedFrame { text, ends_message: at == last });
        }
        self.messages.push_back(QueuedMessage { tag, ack_timeout, sent_at: None, expires: None, last_seq: None });
    }

    /// See [`crate::proto::link::Link::restart_timeout`].
    pub fn restart_timeout(&mut self, now: Instant, tag: Tag) {
        if let Some(position) = self.timed_out.remove(&tag) {
            self.begin_timeout(now, position);
        }
    }

    /// Begins the acknowledgement timeout of the message at this position, if it has one.
    fn begin_timeout(&mut self, now: Instant, position: u64) {
        let Some(message) = message_at(&mut self.messages, position - self.settled) else { return };
        message.expires = message.ack_timeout.map(|ack_timeout| now + ack_timeout);
        self.expiries.extend(message.expires.map(|expires| (expires, position)));
    }

    /// The number of bytes that were not sent yet.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// The number of messages without outcome.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.messages.len()
    }

    /// The number of the next new content.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The lowest number of a content that may still be sent.
    #[must_use]
    pub fn floor(&self) -> u64 {
        self.contents.keys().next().copied().unwrap_or(self.next_seq)
    }

    /// Drops every message without outcome. Returns their tags, in order.
    pub fn abort(&mut self) -> Vec<Tag> {
        self.queue = VecDeque::new();
        self.queued_bytes = 0;
        self.contents.clear();
        self.unreceived = 0;
        self.lost.clear();
        self.probes.clear();
        self.recovery.abort();
        // Skips one number, so that the peer notices the abort even if the rest of a long text never had a number.
        self.next_seq += 1;
        self.floor_notice = Some((Instant::ZERO, 0));
        self.settled += self.messages.len() as u64;
        self.expiries.clear();
        self.timed_out.clear();
        std::mem::take(&mut self.messages).into_iter().filter_map(|message| message.tag).collect()
    }

    /// Processes the acknowledgement in a header of the peer. Appends the outcomes of messages to `outcomes`.
    pub fn receive(&mut self, now: Instant, header: &Header, outcomes: &mut Vec<MessageOutcome>) {
        let outcome = self.recovery.on_ack(now, &header.ack, Duration::from_micros(header.delay));
        for seq in outcome.received {
            self.received(seq);
        }
        self.lose(outcome.lost);
        if header.done < self.next_seq {
            self.done(now, header.done, outcomes);
            if header.done >= self.floor() - 1 {
                self.floor_notice = None;
            }
        }
        if header.wait {
            self.extend_timeouts(now);
        }
    }

    fn received(&mut self, seq: u64) {
        if let Some(content) = self.contents.get_mut(&seq).filter(|content| !content.is_received) {
            content.is_received = true;
            content.body = Vec::new();
            self.recovery.forget(&std::mem::take(&mut content.pns));
            self.unreceived -= 1;
            self.lost.remove(&seq);
            self.probes.remove(&seq);
        }
    }

    fn lose(&mut self, lost: Vec<u64>) {
        let is_missing = |seq: &u64| self.contents.get(seq).is_some_and(|content| !content.is_received);
        self.lost.extend(lost.into_iter().filter(is_missing));
    }

    fn done(&mut self, now: Instant, done: u64, outcomes: &mut Vec<MessageOutcome>) {
        let open = self.contents.split_off(&(done + 1));
        let finished = std::mem::replace(&mut self.contents, open);
        for (seq, content) in &finished {
            self.recovery.on_done(&content.pns);
            self.unreceived -= usize::from(!content.is_received);
            self.lost.remove(seq);
            self.probes.remove(seq);
        }
        while let Some(message) = self.messages.front()
            && let Some(last) = message.last_seq.filter(|last| *last <= done)
        {
            if let Some(expires) = message.expires {
                self.expiries.remove(&(expires, self.settled));
            }
            if let Some(tag) = message.tag {
                self.timed_out.remove(&tag);
                let took = message.sent_at.map_or(Duration::ZERO, |sent_at| now.since(sent_at));
                let copies = finished.get(&last).map_or(1, |content| content.copies);
                outcomes.push(MessageOutcome::Acked { tag, copies, took });
            }
            self.messages.pop_front();
            self.settled += 1;
        }
        if self.messages.is_empty() {
            self.queue.shrink_to(0);
            self.messages.shrink_to(0);
        }
    }

    fn extend_timeouts(&mut self, now: Instant) {
        for (_, position) in std::mem::take(&mut self.expiries) {
            let Some(message) = message_at(&mut self.messages, position - self.settled) else { continue };
            if let (Some(sent_at), Some(expires), Some(ack_timeout)) =
                (message.sent_at, &mut message.expires, message.ack_timeout)
            {
                *expires = (now + ack_timeout).min(sent_at + LONGEST_WAIT).max(*expires);
                self.expiries.insert((*expires, position));
            }
        }
        self.recovery.on_wait();
        self.wait_until = Some(now + WAIT_PROBE);
    }

    fn under_way(&self) -> UnderWay {
        UnderWay { unreceived: self.unreceived, awaits_done: self.contents.len() > self.unreceived }
    }

    /// Reports the messages whose acknowledgement timeout ended, and schedules what is lost or due as a probe. Returns
    /// whether a probe without content is due: it makes the peer report whether a received content is done. `next_pn`
    /// is the number of the next datagram.
    pub fn expire(&mut self, now: Instant, next_pn: u64, outcomes: &mut Vec<MessageOutcome>) -> bool {
        while self.expiries.first().is_some_and(|(at, _)| *at <= now)
            && let Some((_, position)) = self.expiries.pop_first()
        {
            let Some(message) = message_at(&mut self.messages, position - self.settled) else { continue };
            let since = message.begin_of_timeout().unwrap_or(now);
            message.expires = None;
            if let Some(tag) = message.tag {
                self.timed_out.insert(tag, position);
                outcomes.push(MessageOutcome::TimedOut { tag, since });
            }
        }
        if self.wait_until.is_some_and(|until| now < until) {
            return false;
        }
        self.wait_until = None;
        let (is_probe_due, lost) = self.recovery.on_timeout(now, self.under_way(), next_pn);
        self.lose(lost);
        if !is_probe_due {
            return false;
        }
        let probes = if self.unreceived <= THIN { THIN } else { PROBES };
        let missing = self.contents.iter().filter(|(_, content)| !content.is_received);
        self.probes.extend(missing.map(|(seq, _)| *seq).take(probes));
        self.probes.is_empty()
    }

    /// Whether [`Sender::take_floor_notice`] has one.
    #[must_use]
    pub fn is_floor_notice_due(&self, now: Instant) -> bool {
        self.floor_notice.is_some_and(|(at, _)| at <= now)
    }

    /// Whether to send the floor now. An aborted content that the peer keeps would otherwise be displayed after later
    /// messages. The peer may be gone, so that the notice ends after [`FLOOR_NOTICES`].
    pub fn take_floor_notice(&mut self, now: Instant) -> bool {
        let Some((at, copies)) = self.floor_notice.filter(|(at, _)| *at <= now) else { return false };
        let again = (at.max(now) + FLOOR_NOTICE_EVERY, copies + 1);
        self.floor_notice = Some(again).filter(|(_, copies)| *copies < FLOOR_NOTICES);
        true
    }

    /// The next content to send, if any. Call [`Sender::on_sent`] when its datagram is complete.
    pub fn next(&mut self, now: Instant) -> Option<Outgoing> {
        let has_room = self.recovery.has_room();
        let again = self.probes.pop_first().or_else(|| if has_room { self.lost.pop_first() } else { None });
        let seq = match again {
            Some(seq) => seq,
            None if has_room && !self.queue.is_empty() && self.next_seq - self.floor() < SEND_WINDOW => self.pack(now),
            None => return None,
        };
        let low = self.floor();
        let content = self.contents.get_mut(&seq)?;
        self.lost.remove(&seq);
        content.copies += 1;
        Some(Outgoing { seq, low, copy: content.copies })
    }

    /// The lines of the frames of a content.
    #[must_use]
    pub fn body(&self, seq: u64) -> &[u8] {
        self.contents.get(&seq).map_or(&[], |content| &content.body)
    }

    /// Notes that a content was sent in the datagram `pn` of this length.
    pub fn on_sent(&mut self, now: Instant, pn: u64, seq: u64, bytes: usize) {
        self.recovery.on_sent(now, pn, seq, bytes);
        if let Some(content) = self.contents.get_mut(&seq) {
            if content.pns.len() >= REMEMBERED_COPIES {
                self.recovery.forget(&[content.pns.remove(0)]);
            }
            content.pns.push(pn);
        }
    }

    /// Notes that a probe without content was sent.
    pub fn on_probe_sent(&mut self, now: Instant) {
        self.recovery.on_probe_sent(now);
    }

    /// Packs queued frames into a new content. Returns its number.
    fn pack(&mut self, now: Instant) -> u64 {
        let seq = self.next_seq;
        self.next_seq += 1;
        let mut body = Vec::new();
        let mut frames = 0;
        let mut begun = Vec::new();
        let mut current = self.messages.partition_point(|message| message.last_seq.is_some());
        while self.queue.front().is_some_and(|frame| body.len() + frame.text.len() < MAX_DATAGRAM - MAX_HEAD - TAG_LINE)
            && frames < MAX_FRAMES
            && let Some(frame) = self.queue.pop_front()
        {
            frames += 1;
            self.queued_bytes -= frame.text.len();
            if let Some(message) = self.messages.get_mut(current) {
                if message.sent_at.is_none() {
                    message.sent_at = Some(now);
                    begun.push(self.settled + current as u64);
                }
                if frame.ends_message {
                    message.last_seq = Some(seq);
                    current += 1;
                }
            }
            body.extend_from_slice(frame.text.as_bytes());
            body.push(b'\n');
        }
        for position in begun {
            self.begin_timeout(now, position);
        }
        self.unreceived += 1;
        self.contents.insert(seq, Content { body, copies: 0, pns: Vec::new(), is_received: false });
        seq
    }

    /// When to call [`Sender::expire`] if no datagram arrives earlier.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let expiry = self.expiries.first().map(|(at, _)| *at);
        let recovery = self.recovery.deadline(self.under_way());
        let own = earliest(expiry, self.floor_notice.map(|(at, _)| at));
        earliest(own, recovery.map(|at| self.wait_until.map_or(at, |until| at.max(until))))
    }

    /// Frees the memory of empty queues and maps.
    pub fn free_unused(&mut self) {
        self.queue.shrink_to(0);
        self.messages.shrink_to(0);
        free_if_empty(&mut self.contents);
        for set in [&mut self.lost, &mut self.probes] {
            if set.is_empty() {
                *set = BTreeSet::new();
            }
        }
        if self.expiries.is_empty() {
            self.expiries = BTreeSet::new();
        }
        self.recovery.free_unused();
    }

    /// Whether nothing is queued or in flight.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.messages.is_empty() && self.contents.is_empty()
    }
}

/// The message `offset` messages after the first one.
fn message_at(messages: &mut VecDeque<QueuedMessage>, offset: u64) -> Option<&mut QueuedMessage> {
    messages.get_mut(usize::try_from(offset).ok()?)
}
