//! Direct messages: their queues, one for each reader, and their sending to the reader or to the server.
//!
//! A message goes on the link to its reader, or to the server if the reader is offline or does not acknowledge in time.
//! If the server then finds the reader online, it refuses to keep the message. The client sends it to the reader a
//! second and last time, before the server keeps it without a further ping.
//!
//! The server gets the messages that wait for one reader as a list, from the first one on. One list a reader is under
//! way. Later messages wait for its outcome, so that the reader receives all of them in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::proto::client::requests::RequestKind;
use crate::proto::client::{Client, LIMIT};
use crate::proto::event::MessageKind;
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::{Problem, Reason};
use crate::proto::event::sentences::Sentence;
use crate::proto::id::MessageId;
use crate::proto::link::{Link, MessageOutcome, Tag};
use crate::proto::name::Name;
use crate::proto::text::Text;
use crate::proto::time::{Instant, Timestamp};
use crate::proto::wire::{Frame, MAX_LIST, MAX_LIST_BYTES, Row};

/// Maximum number of messages in flight to one reader.
pub const UNDER_WAY: usize = 256;

/// All direct messages without outcome.
#[derive(Debug, Default)]
pub struct Outbox {
    /// The messages of each reader, in the order of the commands. No queue is empty.
    queues: BTreeMap<Name, VecDeque<OutgoingMessage>>,
    /// The readers of the messages that are on links.
    tags: BTreeMap<Tag, Name>,
    /// The number of the last message to each reader that the server keeps or delivers. Later messages must not
    /// overtake it.
    kept: BTreeMap<Name, u64>,
}

/// A direct message.
#[derive(Debug)]
pub struct OutgoingMessage {
    pub cmd: u64,
    pub id: MessageId,
    pub at: Timestamp,
    pub text: Text,
    pub attempt: DirectAttempt,
    state: SendState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendState {
    /// Waits behind other messages, or for a row of its reader.
    Waiting,
    /// The server looks up the reader.
    LookingUp,
    /// On the link to the reader.
    Sent(Tag),
    /// The reader did not acknowledge it in time.
    TimedOut,
    /// The request to keep it is pending at the server.
    Saving,
}

/// Whether a message goes on the link to its reader for the first or the second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectAttempt {
    First,
    Second,
}

impl Outbox {
    /// Appends a message to the queue of its reader.
    pub fn add(&mut self, to: &Name, message: OutgoingMessage) {
        self.queues.entry(to.clone()).or_default().push_back(message);
    }

    /// Whether a message to `reader` has no outcome.
    pub fn has_messages(&self, reader: &Name) -> bool {
        self.queues.contains_key(reader)
    }

    /// Whether all messages have their outcomes.
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty() && self.tags.is_empty()
    }

    /// Drops all messages.
    pub fn clear(&mut self) {
        self.queues.clear();
        self.tags.clear();
    }

    /// The first message to `reader`.
    pub fn first(&self, reader: &Name) -> Option<&OutgoingMessage> {
        self.queues.get(reader)?.front()
    }

    /// Whether the first message to `reader` is on the link.
    pub fn is_first_sent(&self, reader: &Name) -> bool {
        self.first(reader).is_some_and(|message| matches!(message.state, SendState::Sent(_) | SendState::TimedOut))
    }

    /// Puts waiting messages on the link to their reader, up to [`UNDER_WAY`]. Stops at a message that is not on the
    /// same direct attempt as the first one, because later messages must not overtake it.
    pub fn send_waiting(&mut self, reader: &Name, link: &mut Link, mut next_tag: impl FnMut() -> Tag) {
        if link.unsettled() >= UNDER_WAY {
            return;
        }
        let after = self.kept.get(reader).copied();
        let Some(queue) = self.queues.get_mut(reader) else { return };
        let attempt = queue.front().map(|message| message.attempt);
        // The messages on the link are the first ones.
        let sent = queue.partition_point(|message| matches!(message.state, SendState::Sent(_)));
        for message in queue.range_mut(sent..) {
            if message.state != SendState::Waiting || Some(message.attempt) != attempt || link.unsettled() >= UNDER_WAY
            {
                break;
            }
            let tag = next_tag();
            message.state = SendState::Sent(tag);
            self.tags.insert(tag, reader.clone());
            link.push(message.frame(after), Some(tag), Some(LIMIT));
        }
    }

    /// Moves the first message to `reader` from waiting to the look-up. Returns it; `None` if it does not wait.
    pub fn begin_lookup(&mut self, reader: &Name) -> Option<&OutgoingMessage> {
        self.first_waiting(reader)?;
        self.set_first(reader, SendState::LookingUp)
    }

    /// Moves the first message to `reader` back to waiting, because the table has or lacks the reader now.
    pub fn wait(&mut self, reader: &Name) {
        self.set_first(reader, SendState::Waiting);
    }

    /// Moves messages from the first one on to the server, as one list. All of them had the same number of direct
    /// attempts. They timed out, or `all` says that waiting ones need not be sent. The other messages wait.
    pub fn begin_save(&mut self, reader: &Name, all: bool) -> Vec<&OutgoingMessage> {
        let (mut list, mut bytes, mut is_open) = (Vec::new(), 0, true);
        let attempt = self.first(reader).map(|message| message.attempt);
        for message in self.queues.get_mut(reader).into_iter().flatten() {
            bytes += message.text.as_str().len();
            is_open &= message.state == SendState::TimedOut || (all && message.state == SendState::Waiting);
            is_open &= list.len() < MAX_LIST && bytes <= MAX_LIST_BYTES && Some(message.attempt) == attempt;
            if is_open {
                message.state = SendState::Saving;
                list.push(&*message);
            } else if message.state == SendState::TimedOut {
                message.state = SendState::Waiting;
            }
        }
        list
    }

    /// Moves the messages at the server back to waiting, for their second direct attempt.
    pub fn begin_second_attempt(&mut self, reader: &Name) {
        let queue = self.queues.get_mut(reader).into_iter().flatten();
        for message in queue.take_while(|message| message.state == SendState::Saving) {
            message.state = SendState::Waiting;
            message.attempt = DirectAttempt::Second;
        }
    }

    /// The first message to `reader`, if it waits.
    pub fn first_waiting(&self, reader: &Name) -> Option<&OutgoingMessage> {
        self.first(reader).filter(|message| message.state == SendState::Waiting)
    }

    /// Moves all messages on the link to `reader` back to waiting.
    pub fn take_back(&mut self, reader: &Name) {
        for message in self.queues.get_mut(reader).into_iter().flatten() {
            if let SendState::Sent(tag) = message.state {
                self.tags.remove(&tag);
                message.state = SendState::Waiting;
            }
        }
    }

    /// Notes that the acknowledgement timeout of a message ended, and with it that of all earlier ones to the same
    /// reader. Returns the reader.
    pub fn timed_out(&mut self, tag: Tag) -> Option<Name> {
        let reader = self.tags.get(&tag)?.clone();
        for message in self.queues.get_mut(&reader).into_iter().flatten() {
            if let SendState::Sent(sent) = message.state {
                self.tags.remove(&sent);
                message.state = SendState::TimedOut;
                if sent == tag {
                    break;
                }
            }
        }
        Some(reader)
    }

    /// Removes the tag of an acknowledged message. Returns the reader.
    pub fn acked(&mut self, tag: Tag) -> Option<Name> {
        self.tags.remove(&tag)
    }

    /// Removes the first message to `reader`, which has its outcome. Returns it.
    pub fn settle(&mut self, reader: &Name) -> Option<OutgoingMessage> {
        let queue = self.queues.get_mut(reader)?;
        let message = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(reader);
        }
        message
    }

    /// Notes that the server keeps the message `number`. The reader must display later messages after it.
    pub fn keep(&mut self, reader: &Name, number: u64) {
        self.kept.insert(reader.clone(), number);
    }

    /// Notes that a kept message reached its reader. Later messages no longer depend on it.
    pub fn kept_reached(&mut self, reader: &Name, number: u64) {
        if self.kept.get(reader).is_some_and(|kept| *kept <= number) {
            self.kept.remove(reader);
        }
    }

    fn set_first(&mut self, reader: &Name, state: SendState) -> Option<&OutgoingMessage> {
        let message = self.queues.get_mut(reader)?.front_mut()?;
        if let SendState::Sent(tag) = message.state {
            self.tags.remove(&tag);
        }
        message.state = state;
        Some(message)
    }
}

impl OutgoingMessage {
    /// A waiting message.
    pub fn new(cmd: u64, id: MessageId, at: Timestamp, text: Text) -> Self {
        Self { cmd, id, at, text, attempt: DirectAttempt::First, state: SendState::Waiting }
    }

    fn frame(&self, after: Option<u64>) -> Frame {
        Frame::Msg { id: self.id, at: self.at.micros(), after, text: self.text.clone().into() }
    }

    /// The message in a list for the server.
    pub fn item(&self) -> Frame {
        Frame::Item { id: self.id, at: self.at.micros(), text: self.text.clone().into() }
    }
}

impl Client {
    /// Runs the command `send`.
    pub(super) fn send(&mut self, now: Instant, cmd: u64, to: Name, text: Text) {
        let (id, at) = (self.next_message_id(), self.output.unix);
        if to == self.name {
            let (from, sent_at) = (to.clone(), at.exact());
            let kind = MessageKind::Direct;
            let message = ClientEvent::Message { kind, from, text, id, sent_at, stored: None, group: None };
            self.say(Some(cmd), message);
            self.say(Some(cmd), ClientEvent::Delivered { to, id, attempts: 1, rtt_ms: 0.0 });
            return self.done(Some(cmd), None);
        }
        self.outbox.add(&to, OutgoingMessage::new(cmd, id, at, text));
        self.send_waiting(now, &to);
    }

    /// Sends the messages to `reader` that do not have to wait.
    pub(super) fn send_waiting(&mut self, now: Instant, reader: &Name) {
        if !self.outbox.has_messages(reader) {
            return;
        }
        self.table.touch(reader);
        match self.table.get(reader.as_str()) {
            None => self.look_up(now, reader),
            Some(row) if row.online => match self.links.open(row.incarnation, row.addr, row.key) {
                Some(link) => {
                    link.moved(row.addr);
                    self.outbox.send_waiting(reader, link, || self.requests.next_number());
                }
                None => self.fall_back_to_server(now, reader, true),
            },
            Some(_) => self.fall_back_to_server(now, reader, true),
        }
    }

    fn look_up(&mut self, now: Instant, reader: &Name) {
        if let Some(message) = self.outbox.begin_lookup(reader) {
            let (cmd, name) = (Some(message.cmd), reader.clone());
            self.request(now, cmd, RequestKind::Lookup { name: name.clone() }, |r| Frame::Lookup { r, name });
        }
    }

    /// Processes the look-up of a reader that the server knows.
    pub(super) fn found_reader(&mut self, now: Instant, reader: &Name, row: Option<Row>) {
        self.outbox.wait(reader);
        match row {
            Some(row) => self.learn(now, row),
            None => self.unknown_reader(now, reader, true),
        }
        self.send_waiting(now, reader);
    }

    /// Fails the first message to a reader that no server knows. `definite` is false if the server did not answer.
    pub(super) fn unknown_reader(&mut self, now: Instant, reader: &Name, definite: bool) {
        if let Some(message) = self.outbox.settle(reader) {
            let (cmd, reason) = (Some(message.cmd), Reason::NoSuchClient);
            let message = Sentence::NoSuchClient { name: reader };
            self.error(cmd, Problem::Command(reason), message, definite);
            self.done(cmd, Some(reason));
        }
        self.send_waiting(now, reader);
    }

    /// Processes the outcomes of messages on links to their readers.
    pub(super) fn direct_outcomes(&mut self, now: Instant, outcomes: Vec<MessageOutcome>) {
        let mut timed_out = BTreeSet::new();
        for outcome in outcomes {
            match outcome {
                MessageOutcome::Acked { tag, copies, took } => self.delivered(now, tag, copies, took),
                MessageOutcome::TimedOut { tag, .. } => timed_out.extend(self.outbox.timed_out(tag)),
            }
        }
        for reader in timed_out {
            self.not_acknowledged(now, &reader);
        }
    }

    fn delivered(&mut self, now: Instant, tag: Tag, copies: u32, took: Duration) {
        let Some(reader) = self.outbox.acked(tag) else { return };
        if let Some(message) = self.outbox.settle(&reader) {
            let (cmd, to, id) = (Some(message.cmd), reader.clone(), message.id);
            let rtt_ms = took.as_micros() as f64 / 1000.0;
            self.say(cmd, ClientEvent::Delivered { to, id, attempts: copies, rtt_ms });
            self.done(cmd, None);
        }
        self.send_waiting(now, &reader);
    }

    /// Follows a change of a reader's row. Messages in flight to its ended incarnation are sent to the new one.
    /// Messages to an offline reader go to the server.
    pub(super) fn reader_changed(&mut self, now: Instant, reader: &Name) {
        if !self.outbox.is_first_sent(reader) {
            return self.send_waiting(now, reader);
        }
        match self.table.get(reader.as_str()) {
            Some(row) if !row.online => self.not_acknowledged(now, reader),
            Some(row) if self.links.get(row.incarnation).is_some_and(|link| link.unsettled() > 0) => {
                self.send_waiting(now, reader);
            }
            _ => {
                self.take_back(reader);
                self.send_waiting(now, reader);
            }
        }
    }

    /// Takes the messages to `reader` off its link, because it did not acknowledge the first one. The server gets those
    /// that timed out, or all if the reader is offline.
    fn not_acknowledged(&mut self, now: Instant, reader: &Name) {
        if self.outbox.is_first_sent(reader) {
            self.take_back(reader);
            let is_online = self.table.get(reader.as_str()).is_some_and(|row| row.online);
            self.fall_back_to_server(now, reader, !is_online);
        }
    }

    /// Takes all messages to `reader` off its link.
    fn take_back(&mut self, reader: &Name) {
        self.outbox.take_back(reader);
        if let Some(link) = self.table.get(reader.as_str()).and_then(|row| self.links.get_mut(row.incarnation)) {
            link.abort();
        }
    }

    /// Processes the receipt of a kept message. Receipts for earlier incarnations of this client do not count.
    pub(super) fn kept_reached(&mut self, reader: &Name, id: MessageId) {
        if id.incarnation == self.me {
            self.outbox.kept_reached(reader, id.number);
        }
    }
}
