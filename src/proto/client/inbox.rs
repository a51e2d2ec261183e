//! Received messages: decides whether a message is displayed, held or a duplicate.
//!
//! A message is displayed once. It is acknowledged after its display, or when it is held. While the user is in a group,
//! direct messages from other clients are held.

use std::collections::VecDeque;

use crate::proto::client::dedup::DedupCache;
use crate::proto::event::MessageKind;
use crate::proto::event::client::ClientEvent;
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::name::Name;
use crate::proto::text::Text;
use crate::proto::time::Timestamp;

/// Limit on frames whose event is not yet displayed. At the limit no further message is read, and the links ask their
/// peers to wait.
pub const UNSHOWN: usize = 1_024;
/// Limit on the bytes of text in these frames; same effect.
pub const UNSHOWN_BYTES: usize = 1024 * 1024;
/// Maximum number of direct messages held while the user is in a group. Further ones are not acknowledged, so their
/// senders give them to the server, which keeps them as mail.
pub const HELD: usize = 64;
/// Limit on the bytes of text in held messages; same effect.
pub const HELD_BYTES: usize = 1024 * 1024;

/// Messages that are being displayed or held, and the ids of earlier messages.
#[derive(Debug, Default)]
pub struct Inbox {
    /// The ids of messages that were displayed or held.
    seen: DedupCache,
    /// The ids of own messages whose receipts were displayed, by reader.
    receipts: DedupCache,
    displaying: VecDeque<PendingDisplay>,
    displaying_bytes: usize,
    /// The number of displayed events.
    displayed: u64,
    held: Vec<ClientEvent>,
    held_bytes: usize,
    /// The number of mail messages to announce before the first of them.
    announced: Option<usize>,
}

/// A frame to confirm when `event` is displayed.
#[derive(Debug)]
struct PendingDisplay {
    event: u64,
    source: FrameId,
    bytes: usize,
}

/// A frame to confirm: its link and the number of its datagram there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameId {
    pub link: Incarnation,
    pub number: u64,
}

/// A message in its frame.
#[derive(Debug)]
pub struct IncomingMessage {
    pub kind: MessageKind,
    pub from: Name,
    pub id: MessageId,
    pub group: Option<Name>,
    pub at: Timestamp,
    /// The time at which the server accepted it, if it is mail.
    pub kept: Option<Timestamp>,
    pub text: String,
}

/// The next step for a received message.
#[derive(Debug)]
pub enum Reception {
    /// Confirm its frame now: the message is held, or its text is invalid.
    Confirm,
    /// Confirm its frame when all events so far are displayed: its first copy may still be among them.
    Duplicate,
    /// Display it.
    Display {
        /// The number of mail messages to announce first.
        mail: Option<usize>,
        /// Whether to display the held messages first: no more can be held, and the order must not change.
        after_held: bool,
        message: ClientEvent,
        bytes: usize,
    },
}

impl Inbox {
    /// Sets the number of mail messages that the server will send. They are announced with the first of them.
    pub fn announce(&mut self, count: usize) {
        self.announced = (count > 0).then_some(count);
    }

    /// Records a message and decides the next step.
    pub fn receive(&mut self, message: IncomingMessage, in_group: bool) -> Reception {
        let IncomingMessage { kind, from, id, group, at, kept, text } = message;
        let Ok(text) = Text::new(&text) else { return Reception::Confirm };
        if !self.seen.insert(&from, id) {
            return Reception::Duplicate;
        }
        let mail = if kept.is_some() { self.announced.take() } else { None };
        let bytes = text.as_str().len();
        let (sent_at, stored) = (at.exact(), kept.map(Timestamp::seconds));
        let message = ClientEvent::Message { kind, from, text, id, sent_at, stored, group };
        let may_be_held = kind == MessageKind::Direct && in_group && kept.is_none();
        if may_be_held && !self.is_hold_full() {
            self.held_bytes += bytes;
            self.held.push(message);
            return Reception::Confirm;
        }
        // A message from the server is displayed although the user is in a group: if it waited, it would block all
        // later frames on the server's link.
        Reception::Display { mail, after_held: may_be_held, message, bytes }
    }

    /// Whether this message was displayed or held.
    pub fn has_seen(&self, from: &Name, id: MessageId) -> bool {
        self.seen.contains(from, id)
    }

    /// Records a receipt. Returns whether it is new.
    pub fn receive_receipt(&mut self, reader: &Name, id: MessageId) -> bool {
        self.receipts.insert(reader, id)
    }

    /// Whether the receipt of this message was displayed.
    pub fn has_receipt(&self, reader: &Name, id: MessageId) -> bool {
        self.receipts.contains(reader, id)
    }

    /// Schedules the confirmation of a frame for the display of `event`. Returns false if `event` is already displayed.
    pub fn confirm_when_displayed(&mut self, event: u64, source: FrameId, bytes: usize) -> bool {
        if event <= self.displayed {
            return false;
        }
        self.displaying_bytes += bytes;
        self.displaying.push_back(PendingDisplay { event, source, bytes });
        true
    }

    /// Records that the first `events` events are displayed. Returns the frames to confirm, in order.
    pub fn displayed(&mut self, events: u64) -> Vec<FrameId> {
        self.displayed = self.displayed.max(events);
        let mut confirmed = Vec::new();
        while self.displaying.front().is_some_and(|pending| pending.event <= events)
            && let Some(pending) = self.displaying.pop_front()
        {
            self.displaying_bytes -= pending.bytes;
            confirmed.push(pending.source);
        }
        confirmed
    }

    /// Takes the held messages, in order.
    pub fn take_held(&mut self) -> Vec<ClientEvent> {
        self.held_bytes = 0;
        std::mem::take(&mut self.held)
    }

    /// Whether [`HELD`] or [`HELD_BYTES`] is reached.
    pub fn is_hold_full(&self) -> bool {
        self.held.len() >= HELD || self.held_bytes >= HELD_BYTES
    }

    /// Whether [`UNSHOWN`] or [`UNSHOWN_BYTES`] is reached.
    pub fn is_full(&self) -> bool {
        self.displaying.len() >= UNSHOWN || self.displaying_bytes >= UNSHOWN_BYTES
    }

    /// Whether a frame waits for the display of an event.
    pub fn is_displaying(&self) -> bool {
        !self.displaying.is_empty()
    }

    /// Whether no frame waits for a display and no message is held.
    pub fn is_idle(&self) -> bool {
        self.displaying.is_empty() && self.held.is_empty()
    }
}
