//! Direct messages on their way out: in order by reader, each to its outcome, by way of the server if need be.

use std::collections::VecDeque;

use crate::proto::client::requests::RequestKind;
use crate::proto::client::{Client, LIMIT};
use crate::proto::event::MessageKind;
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::{Problem, Reason};
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::link::{MessageOutcome, Tag};
use crate::proto::name::Name;
use crate::proto::text::Text;
use crate::proto::time::{Instant, Timestamp};
use crate::proto::wire::{Frame, RequestOutcome, Row};

/// The most messages to one reader that are on their way at once.
pub const UNDER_WAY: usize = 64;

/// Messages to one reader, in the order typed.
pub type Outbox = VecDeque<OutgoingMessage>;

/// A direct message without outcome.
#[derive(Debug)]
pub struct OutgoingMessage {
    cmd: u64,
    id: MessageId,
    at: Timestamp,
    text: Text,
    stage: SendState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SendState {
    /// Behind others, or nowhere to go yet.
    Waiting,
    /// The server is asked who the reader is.
    Looking,
    /// Left for the reader.
    Sent(Tag),
    /// Left for the reader a second time: the server found it alive.
    SentAgain(Tag),
    /// The server is asked to keep it.
    Saving,
}

impl Client {
    /// The command `send`.
    pub(super) fn send(&mut self, now: Instant, cmd: u64, to: Name, text: Text) {
        let (id, at) = (self.next_message_id(), self.door.unix);
        if to == self.name {
            let (from, sent_at) = (to.clone(), at.exact());
            let kind = MessageKind::Direct;
            let message = ClientEvent::Message { kind, from, text, id, sent_at, stored: None, group: None };
            self.say(Some(cmd), message);
            self.say(Some(cmd), ClientEvent::Delivered { to, id, attempts: 1, rtt_ms: 0.0 });
            return self.done(Some(cmd), None);
        }
        let message = OutgoingMessage { cmd, id, at, text, stage: SendState::Waiting };
        self.outboxes.entry(to.clone()).or_default().push_back(message);
        self.send_waiting(now, &to);
    }

    /// Sends what may leave to `name` now: nothing behind a message that has to go another way.
    fn send_waiting(&mut self, now: Instant, name: &Name) {
        let (row, after) = (self.table.get(name.as_str()), self.kept.get(name).copied());
        let Some(outbox) = self.outboxes.get_mut(name) else { return };
        if outbox.is_empty() {
            self.outboxes.remove(name);
            return;
        }
        match row {
            None => self.look_up(now, name),
            Some(row) if row.online => {
                let Some(link) = self.links.open(row.incarnation, row.addr) else {
                    return self.give_to_server(now, name);
                };
                link.moved(row.addr);
                for message in outbox {
                    match message.stage {
                        SendState::Sent(_) => {}
                        SendState::Waiting if link.unsettled() < UNDER_WAY => {
                            let tag = self.requests.next_number();
                            message.stage = SendState::Sent(tag);
                            self.tags.insert(tag, name.clone());
                            link.push(message.frame(after), Some(tag), Some(LIMIT));
                        }
                        _ => break,
                    }
                }
            }
            Some(_) => self.give_to_server(now, name),
        }
    }

    fn look_up(&mut self, now: Instant, name: &Name) {
        let first = self.outboxes.get_mut(name).and_then(VecDeque::front_mut);
        if let Some(message) = first.filter(|message| message.stage == SendState::Waiting) {
            message.stage = SendState::Looking;
            let (cmd, name) = (Some(message.cmd), name.clone());
            self.request(now, cmd, RequestKind::Lookup { name: name.clone() }, |r| Frame::Lookup { r, name });
        }
    }

    /// The server knows a reader that was not in the table.
    pub(super) fn found_reader(&mut self, now: Instant, name: &Name, row: Option<Row>) {
        if let Some(message) = self.outboxes.get_mut(name).and_then(VecDeque::front_mut) {
            message.stage = SendState::Waiting;
        }
        match row {
            Some(row) => self.learn(now, row),
            None => self.unknown_reader(now, name, true),
        }
        self.send_waiting(now, name);
    }

    /// Nobody has that name.
    pub(super) fn unknown_reader(&mut self, now: Instant, name: &Name, definite: bool) {
        if let Some(message) = self.settle(name) {
            let (cmd, reason) = (Some(message.cmd), Reason::NoSuchClient);
            let message = format!("[Client {name} does not exist.]");
            self.error(cmd, Problem::Command(reason), message, definite);
            self.done(cmd, Some(reason));
        }
        self.send_waiting(now, name);
    }

    fn learn(&mut self, now: Instant, row: Row) {
        let change = self.table.learn(row);
        self.table_changed(now, &change);
    }

    /// What became of a message that left for its reader.
    pub(super) fn fate_at_peer(&mut self, now: Instant, fate: MessageOutcome) {
        match fate {
            MessageOutcome::Acked { tag, copies, took } => {
                let Some(name) = self.tags.remove(&tag) else { return };
                if let Some(message) = self.settle(&name) {
                    let (cmd, to, id) = (Some(message.cmd), name.clone(), message.id);
                    let rtt_ms = took.as_micros() as f64 / 1000.0;
                    self.say(cmd, ClientEvent::Delivered { to, id, attempts: copies, rtt_ms });
                    self.done(cmd, None);
                }
                self.send_waiting(now, &name);
            }
            MessageOutcome::TimedOut { tag } => {
                if let Some(name) = self.tags.get(&tag).cloned() {
                    self.not_acknowledged(now, &name);
                }
            }
        }
    }

    /// The reader's row is different: what was sent to an old life or to somebody offline has to go another way.
    pub(super) fn reader_changed(&mut self, now: Instant, name: &Name) {
        let row = self.table.get(name.as_str());
        let first = self.outboxes.get(name).and_then(VecDeque::front).map(|message| message.stage);
        match (row, first) {
            (Some(row), Some(SendState::Sent(_) | SendState::SentAgain(_))) if !row.online => {
                self.not_acknowledged(now, name)
            }
            (Some(row), Some(SendState::Sent(_)))
                if self.links.get(row.incarnation).is_none_or(|link| link.unsettled() == 0) =>
            {
                self.take_back(name);
                self.send_waiting(now, name);
            }
            (Some(row), Some(SendState::SentAgain(_)))
                if self.links.get(row.incarnation).is_none_or(|link| link.unsettled() == 0) =>
            {
                self.send_again(now, name);
            }
            (None, Some(SendState::Sent(_) | SendState::SentAgain(_))) => {
                self.take_back(name);
                self.send_waiting(now, name);
            }
            _ => self.send_waiting(now, name),
        }
    }

    /// The life that was addressed is not there any more.
    pub(super) fn reader_gone(&mut self, now: Instant, gone: Incarnation) {
        if let Some(name) = self.table.name_of(gone).cloned() {
            self.not_acknowledged(now, &name);
        }
    }

    /// The first message to `name` was sent in vain: it goes to the server, those behind it wait.
    fn not_acknowledged(&mut self, now: Instant, name: &Name) {
        let first = self.outboxes.get(name).and_then(VecDeque::front).map(|message| message.stage);
        if !matches!(first, Some(SendState::Sent(_) | SendState::SentAgain(_))) {
            return;
        }
        self.take_back(name);
        match first {
            Some(SendState::SentAgain(_)) => self.save(now, name, true),
            _ => self.give_to_server(now, name),
        }
    }

    /// Takes everything that is under way to `name` off its link.
    fn take_back(&mut self, name: &Name) {
        let Some(outbox) = self.outboxes.get_mut(name) else { return };
        for message in outbox {
            if let SendState::Sent(tag) | SendState::SentAgain(tag) = message.stage {
                self.tags.remove(&tag);
                message.stage = SendState::Waiting;
            }
        }
        if let Some(link) = self.table.get(name.as_str()).and_then(|row| self.links.get_mut(row.incarnation)) {
            link.abort();
        }
    }

    fn give_to_server(&mut self, now: Instant, name: &Name) {
        let first = self.outboxes.get(name).and_then(VecDeque::front);
        if let Some(message) = first.filter(|message| message.stage == SendState::Waiting) {
            let (cmd, id) = (Some(message.cmd), message.id);
            self.say(cmd, ClientEvent::NoAck { to: name.clone(), id });
            self.save(now, name, false);
        }
    }

    fn save(&mut self, now: Instant, name: &Name, again: bool) {
        let Some(message) = self.outboxes.get_mut(name).and_then(VecDeque::front_mut) else { return };
        message.stage = SendState::Saving;
        let (cmd, id, at, text) = (Some(message.cmd), message.id, message.at.micros(), message.text.clone().into());
        let to = name.clone();
        let what = RequestKind::Save { to: to.clone() };
        self.request(now, cmd, what, |r| Frame::Save { r, id, to, at, again, text });
    }

    /// The server's answer to a request to keep the first message to `to`.
    pub(super) fn save_answered(&mut self, now: Instant, to: &Name, outcome: RequestOutcome, row: Option<Row>) {
        if outcome == RequestOutcome::Exists {
            let cmd = self.outboxes.get(to).and_then(VecDeque::front).map(|message| message.cmd);
            self.say(cmd, ClientEvent::ClientExists { name: to.clone() });
            if let Some(row) = row {
                self.learn(now, row);
            }
            return self.send_again(now, to);
        }
        let Some(message) = self.settle(to) else { return };
        let (cmd, id) = (Some(message.cmd), message.id);
        match outcome {
            RequestOutcome::Saved => {
                // Its receipt may have overtaken this answer: then nothing needs to wait for it.
                if !self.inbox.receipts.contains(to, id) {
                    self.kept.insert(to.clone(), id.number);
                }
                self.say(cmd, ClientEvent::Saved { to: to.clone(), id });
                self.done(cmd, None);
            }
            RequestOutcome::Full => {
                self.fail(cmd, Reason::MailboxFull, format!("[Mailbox of {to} is full, message not saved.]"))
            }
            RequestOutcome::None => self.fail(cmd, Reason::NoSuchClient, format!("[Client {to} does not exist.]")),
            _ => self.fail(cmd, Reason::NotSaved, "[The server could not save the message.]".to_owned()),
        }
        self.send_waiting(now, to);
    }

    /// The second and last direct try.
    fn send_again(&mut self, now: Instant, name: &Name) {
        let after = self.kept.get(name).copied();
        let Some(message) = self.outboxes.get_mut(name).and_then(VecDeque::front_mut) else { return };
        let Some(row) = self.table.get(name.as_str()) else {
            // The name is not in the table any more: the server is asked for it.
            message.stage = SendState::Waiting;
            return self.send_waiting(now, name);
        };
        if let SendState::SentAgain(tag) = message.stage {
            self.tags.remove(&tag);
        }
        match self.links.open(row.incarnation, row.addr) {
            Some(link) => {
                let tag = self.requests.next_number();
                message.stage = SendState::SentAgain(tag);
                link.moved(row.addr);
                link.push(message.frame(after), Some(tag), Some(LIMIT));
                self.tags.insert(tag, name.clone());
            }
            None => self.save(now, name, true),
        }
    }

    /// A kept message reached its reader: what follows needs not wait for it.
    pub(super) fn reached(&mut self, reader: &Name, id: MessageId) {
        if id.incarnation == self.me && self.kept.get(reader).is_some_and(|number| *number <= id.number) {
            self.kept.remove(reader);
        }
    }

    /// Removes the first message to `name`: it has its outcome.
    fn settle(&mut self, name: &Name) -> Option<OutgoingMessage> {
        self.outboxes.get_mut(name)?.pop_front()
    }
}

impl OutgoingMessage {
    fn frame(&self, after: Option<u64>) -> Frame {
        Frame::Msg { id: self.id, at: self.at.micros(), after, text: self.text.clone().into() }
    }
}
