//! Received messages: each is displayed once, acknowledged when displayed, and held back while the user is in a group.

use std::collections::VecDeque;

use crate::proto::client::dedup::DedupCache;
use crate::proto::event::MessageKind;
use crate::proto::event::client::ClientEvent;
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::name::Name;
use crate::proto::text::Text;
use crate::proto::time::Timestamp;

/// The most messages handed out and not yet displayed. Beyond that senders have to wait.
pub const UNSHOWN: usize = 1_024;
/// The most bytes of text among them.
pub const UNSHOWN_BYTES: usize = 1024 * 1024;
/// The most direct messages held in a group. Beyond that they are not acknowledged, so they become mail.
pub const HELD: usize = 64;
/// The most bytes of text among them.
pub const HELD_BYTES: usize = 1024 * 1024;

/// Messages that are being displayed or held, and the ids of earlier ones.
#[derive(Debug, Default)]
pub struct Inbox {
    /// The messages that were displayed or held.
    seen: DedupCache,
    /// The kept messages whose receipts were displayed.
    receipts: DedupCache,
    displaying: VecDeque<PendingDisplay>,
    displaying_bytes: usize,
    /// How many events are displayed.
    displayed: u64,
    held: Vec<ClientEvent>,
    held_bytes: usize,
    /// The count of mail to announce before its first message.
    announced: Option<usize>,
}

/// When this event is displayed, a frame is confirmed.
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
    /// Since when the server kept it, if it comes as mail.
    pub kept: Option<Timestamp>,
    pub text: String,
}

/// What to do with a message.
#[derive(Debug)]
pub enum Reception {
    /// Confirm its frame now: it is held, or its text is no text.
    Confirm,
    /// Confirm its frame when all events so far are displayed: its first copy may still be among them.
    Duplicate,
    /// Display it.
    Display {
        /// First announce so many messages of mail.
        mail: Option<usize>,
        /// First display the held messages: no more can be held, and the order stays.
        after_held: bool,
        message: ClientEvent,
        bytes: usize,
    },
}

impl Inbox {
    /// Mail is coming. It is announced when its first message is displayed.
    pub fn announce(&mut self, count: usize) {
        self.announced = (count > 0).then_some(count);
    }

    /// Takes in a message.
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
        if may_be_held && !self.holds_enough() {
            self.held_bytes += bytes;
            self.held.push(message);
            return Reception::Confirm;
        }
        // A message through the server would block the server's link if it waited: it is displayed although the user is
        // in a group.
        Reception::Display { mail, after_held: may_be_held, message, bytes }
    }

    /// Whether this message was displayed or held.
    pub fn has_seen(&self, from: &Name, id: MessageId) -> bool {
        self.seen.contains(from, id)
    }

    /// Takes in a receipt. Returns whether it is new.
    pub fn receive_receipt(&mut self, reader: &Name, id: MessageId) -> bool {
        self.receipts.insert(reader, id)
    }

    /// Whether the receipt of this message was displayed.
    pub fn has_receipt(&self, reader: &Name, id: MessageId) -> bool {
        self.receipts.contains(reader, id)
    }

    /// Confirms a frame when `event` is displayed. Returns whether that is still to come.
    pub fn confirm_when_displayed(&mut self, event: u64, source: FrameId, bytes: usize) -> bool {
        if event <= self.displayed {
            return false;
        }
        self.displaying_bytes += bytes;
        self.displaying.push_back(PendingDisplay { event, source, bytes });
        true
    }

    /// The first so many events are displayed. Returns the frames to confirm, in order.
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

    /// Whether no more direct messages can be held.
    pub fn holds_enough(&self) -> bool {
        self.held.len() >= HELD || self.held_bytes >= HELD_BYTES
    }

    /// Whether as much waits to be displayed as may.
    pub fn is_full(&self) -> bool {
        self.displaying.len() >= UNSHOWN || self.displaying_bytes >= UNSHOWN_BYTES
    }

    /// Whether a frame is confirmed when an event is displayed.
    pub fn is_displaying(&self) -> bool {
        !self.displaying.is_empty()
    }

    /// Whether nothing waits to be displayed or is held.
    pub fn is_idle(&self) -> bool {
        self.displaying.is_empty() && self.held.is_empty()
    }
}
