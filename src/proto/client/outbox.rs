//! Direct messages: their queues, one for each reader, and their sending to the reader or to the server.
//!
//! A message goes on the link to its reader, or to the server if the reader is offline or does not acknowledge in time.
//! If the server then finds the reader online, it refuses to keep the message. The client sends it to the reader a
//! second and last time, before the server keeps it without a further ping.
//!
//! Only the first message of a queue can be looked up or given to the server. Later messages then wait for its outcome,
//! so that the reader receives all of them in order.

use std::collections::{BTreeMap, VecDeque};

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
use crate::proto::wire::{Frame, RequestOutcome, Row};

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
    /// On the link to the reader for the second time.
    SentAgain(Tag),
    /// The request to keep it is pending at the server.
    Saving,
}

/// Whether a message is on the link to its reader for the first or the second time.
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

    /// The attempt of the first message to `reader`, if it is on the link.
    pub fn first_attempt(&self, reader: &Name) -> Option<DirectAttempt> {
        match self.first(reader)?.state {
            SendState::Sent(_) => Some(DirectAttempt::First),
            SendState::SentAgain(_) => Some(DirectAttempt::Second),
            SendState::Waiting | SendState::LookingUp | SendState::Saving => None,
        }
    }

    /// Puts waiting messages on the link to their reader, up to [`UNDER_WAY`]. Stops at a message that is not on its
    /// first direct attempt, because later messages must not overtake it.
    pub fn send_waiting(&mut self, reader: &Name, link: &mut Link, mut next_tag: impl FnMut() -> Tag) {
        if link.unsettled() >= UNDER_WAY {
            return;
        }
        let after = self.kept.get(reader).copied();
        for message in self.queues.get_mut(reader).into_iter().flatten() {
            match message.state {
                SendState::Sent(_) => {}
                SendState::Waiting if link.unsettled() < UNDER_WAY => {
                    let tag = next_tag();
                    message.state = SendState::Sent(tag);
                    self.tags.insert(tag, reader.clone());
                    link.push(message.frame(after), Some(tag), Some(LIMIT));
                }
                _ => break,
            }
        }
    }

    /// Puts the first message to `reader` on the link for the second and last time.
    pub fn send_again(&mut self, reader: &Name, link: &mut Link, tag: Tag) {
        let after = self.kept.get(reader).copied();
        if let Some(message) = self.set_first(reader, SendState::SentAgain(tag)) {
            link.push(message.frame(after), Some(tag), Some(LIMIT));
            self.tags.insert(tag, reader.clone());
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

    /// Moves the first message to `reader` to the server. Returns it.
    pub fn begin_save(&mut self, reader: &Name) -> Option<&OutgoingMessage> {
        self.set_first(reader, SendState::Saving)
    }

    /// The first message to `reader`, if it waits.
    pub fn first_waiting(&self, reader: &Name) -> Option<&OutgoingMessage> {
        self.first(reader).filter(|message| message.state == SendState::Waiting)
    }

    /// Moves all messages on the link to `reader` back to waiting.
    pub fn take_back(&mut self, reader: &Name) {
        for message in self.queues.get_mut(reader).into_iter().flatten() {
            if let SendState::Sent(tag) | SendState::SentAgain(tag) = message.state {
                self.tags.remove(&tag);
                message.state = SendState::Waiting;
            }
        }
    }

    /// Removes the tag of an acknowledged message. Returns the reader.
    pub fn acked(&mut self, tag: Tag) -> Option<Name> {
        self.tags.remove(&tag)
    }

    /// The reader of a message on a link.
    pub fn reader_of(&self, tag: Tag) -> Option<&Name> {
        self.tags.get(&tag)
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
        if let SendState::Sent(tag) | SendState::SentAgain(tag) = message.state {
            self.tags.remove(&tag);
        }
        message.state = state;
        Some(message)
    }
}

impl OutgoingMessage {
    /// A waiting message.
    pub fn new(cmd: u64, id: MessageId, at: Timestamp, text: Text) -> Self {
        Self { cmd, id, at, text, state: SendState::Waiting }
    }

    fn frame(&self, after: Option<u64>) -> Frame {
        Frame::Msg { id: self.id, at: self.at.micros(), after, text: self.text.clone().into() }
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
    fn send_waiting(&mut self, now: Instant, reader: &Name) {
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
                None => self.fall_back_to_server(now, reader),
            },
            Some(_) => self.fall_back_to_server(now, reader),
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

    /// Processes the outcome of a message on the link to its reader.
    pub(super) fn direct_outcome(&mut self, now: Instant, outcome: MessageOutcome) {
        match outcome {
            MessageOutcome::Acked { tag, copies, took } => {
                let Some(reader) = self.outbox.acked(tag) else { return };
                if let Some(message) = self.outbox.settle(&reader) {
                    let (cmd, to, id) = (Some(message.cmd), reader.clone(), message.id);
                    let rtt_ms = took.as_micros() as f64 / 1000.0;
                    self.say(cmd, ClientEvent::Delivered { to, id, attempts: copies, rtt_ms });
                    self.done(cmd, None);
                }
                self.send_waiting(now, &reader);
            }
            MessageOutcome::TimedOut { tag, .. } => {
                if let Some(reader) = self.outbox.reader_of(tag).cloned() {
                    self.not_acknowledged(now, &reader);
                }
            }
        }
    }

    /// Follows a change of a reader's row. Messages in flight to its ended incarnation are sent to the new one.
    /// Messages to an offline reader go to the server.
    pub(super) fn reader_changed(&mut self, now: Instant, reader: &Name) {
        let Some(attempt) = self.outbox.first_attempt(reader) else { return self.send_waiting(now, reader) };
        match self.table.get(reader.as_str()) {
            Some(row) if !row.online => self.not_acknowledged(now, reader),
            Some(row) if self.links.get(row.incarnation).is_some_and(|link| link.unsettled() > 0) => {
                self.send_waiting(now, reader);
            }
            Some(_) if attempt == DirectAttempt::Second => self.send_again(now, reader),
            _ => {
                self.take_back(reader);
                self.send_waiting(now, reader);
            }
        }
    }

    /// Gives the first message to the server, because the reader did not acknowledge it.
    fn not_acknowledged(&mut self, now: Instant, reader: &Name) {
        let Some(attempt) = self.outbox.first_attempt(reader) else { return };
        self.take_back(reader);
        match attempt {
            DirectAttempt::First => self.fall_back_to_server(now, reader),
            DirectAttempt::Second => self.save(now, reader, true),
        }
    }

    /// Takes all messages to `reader` off its link.
    fn take_back(&mut self, reader: &Name) {
        self.outbox.take_back(reader);
        if let Some(link) = self.table.get(reader.as_str()).and_then(|row| self.links.get_mut(row.incarnation)) {
            link.abort();
        }
    }

    fn fall_back_to_server(&mut self, now: Instant, reader: &Name) {
        if let Some(message) = self.outbox.first_waiting(reader) {
            let (cmd, id) = (Some(message.cmd), message.id);
            self.say(cmd, ClientEvent::NoAck { to: reader.clone(), id });
            self.save(now, reader, false);
        }
    }

    /// Asks the server to keep the first message to `reader`. With `again` the server does not ping the reader first.
    fn save(&mut self, now: Instant, reader: &Name, again: bool) {
        let Some(message) = self.outbox.begin_save(reader) else { return };
        let (cmd, id, at, text) = (Some(message.cmd), message.id, message.at.micros(), message.text.clone().into());
        let to = reader.clone();
        let kind = RequestKind::Save { to: to.clone() };
        self.request(now, cmd, kind, |r| Frame::Save { r, id, to, at, again, text });
    }

    /// Processes the server's answer to the request to keep the first message to `to`.
    pub(super) fn save_answered(&mut self, now: Instant, to: &Name, outcome: RequestOutcome, row: Option<Row>) {
        if outcome == RequestOutcome::Exists {
            let cmd = self.outbox.first(to).map(|message| message.cmd);
            self.say(cmd, ClientEvent::ClientExists { name: to.clone() });
            if let Some(row) = row {
                self.learn(now, row);
            }
            return self.send_again(now, to);
        }
        let Some(message) = self.outbox.settle(to) else { return };
        let (cmd, id) = (Some(message.cmd), message.id);
        match outcome {
            RequestOutcome::Saved => {
                // The receipt may have arrived before this answer. Then later messages do not depend on the message.
                if !self.inbox.has_receipt(to, id) {
                    self.outbox.keep(to, id.number);
                }
                self.say(cmd, ClientEvent::Saved { to: to.clone(), id });
                self.done(cmd, None);
                self.forget_stale(to);
            }
            RequestOutcome::Full => {
                self.fail(cmd, Reason::MailboxFull, Sentence::MailboxFull { name: to });
            }
            RequestOutcome::None => self.fail(cmd, Reason::NoSuchClient, Sentence::NoSuchClient { name: to }),
            _ => self.fail(cmd, Reason::NotSaved, Sentence::MessageNotSaved),
        }
        self.send_waiting(now, to);
    }

    /// Begins the second and last direct attempt of the first message.
    fn send_again(&mut self, now: Instant, reader: &Name) {
        if !self.outbox.has_messages(reader) {
            return;
        }
        let Some(row) = self.table.get(reader.as_str()) else {
            // The name is no longer in the table, so the server looks it up.
            self.outbox.wait(reader);
            return self.send_waiting(now, reader);
        };
        match self.links.open(row.incarnation, row.addr, row.key) {
            Some(link) => {
                link.moved(row.addr);
                self.outbox.send_again(reader, link, self.requests.next_number());
            }
            None => self.save(now, reader, true),
        }
    }

    /// Processes the receipt of a kept message. Receipts for earlier incarnations of this client do not count.
    pub(super) fn kept_reached(&mut self, reader: &Name, id: MessageId) {
        if id.incarnation == self.me {
            self.outbox.kept_reached(reader, id.number);
        }
    }
}
