//! Direct messages without outcome, queued in order for each reader.
//!
//! Messages go on the link to the reader. Only the first message of a queue can be looked up or given to the server.
//! Later messages then wait for its outcome, so that the reader receives all of them in order.

use std::collections::{BTreeMap, VecDeque};

use crate::proto::client::LIMIT;
use crate::proto::id::MessageId;
use crate::proto::link::{Link, Tag};
use crate::proto::name::Name;
use crate::proto::text::Text;
use crate::proto::time::Timestamp;
use crate::proto::wire::Frame;

/// Maximum number of messages in flight to one reader.
pub const UNDER_WAY: usize = 64;

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
    /// On the link to the reader for the second time, because the server found the reader online.
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
