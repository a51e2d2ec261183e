//! Received frames: reads them from the links of the server and of other clients, and decides whether a message is
//! displayed, held or a duplicate.
//!
//! A message is displayed once. While the user is in a group, direct messages from other clients are held.
//!
//! A frame is taken from its link only when the client can display it. It is confirmed after its display, or after its
//! effect if it is not displayed. A held message is confirmed when it is held.

use std::collections::VecDeque;

use crate::proto::client::Client;
use crate::proto::client::dedup::DedupCache;
use crate::proto::client::directory::{TableUpdate, Totals};
use crate::proto::event::MessageKind;
use crate::proto::event::client::ClientEvent;
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::name::Name;
use crate::proto::text::Text;
use crate::proto::time::{Instant, Timestamp};
use crate::proto::wire::Frame;

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
    /// The ids of notices of dropped messages that were displayed, by own name.
    notices: DedupCache,
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

    /// Takes the number of mail messages to announce now.
    pub fn take_announcement(&mut self) -> Option<usize> {
        self.announced.take()
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

    /// Records a notice of dropped messages. Returns whether it is new.
    pub fn receive_notice(&mut self, me: &Name, id: MessageId) -> bool {
        self.notices.insert(me, id)
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

impl Client {
    /// Reads the frames of the server until one cannot be displayed now.
    pub(super) fn read_server(&mut self, now: Instant) {
        while let Some(incarnation) = self.server.incarnation {
            let full = self.inbox.is_full();
            let Some(link) = self.links.get_mut(incarnation) else { return };
            link.block(full);
            match link.front() {
                None => return,
                Some((_, Frame::Post { .. } | Frame::Dropped { .. })) if full || !self.phase.is_online() => return,
                // The server no longer hears an acknowledgement after the notice, and would send the receipt again.
                Some((_, Frame::Receipt { .. })) if self.phase.is_closing() => return,
                Some(_) => {}
            }
            let Some((number, frame)) = link.take(now) else { return };
            let is_displayed = matches!(frame, Frame::Post { .. } | Frame::Dropped { .. } | Frame::Receipt { .. });
            if !is_displayed {
                // Confirmed before its effect, because the frame may end the client.
                link.confirm(number);
            }
            let waits = self.frame_of_server(now, FrameId { link: incarnation, number }, frame);
            if let Some(link) = self.links.get_mut(incarnation).filter(|_| is_displayed && !waits) {
                link.confirm(number);
            }
        }
    }

    /// Processes a frame. Returns whether its confirmation waits for a display.
    fn frame_of_server(&mut self, now: Instant, source: FrameId, frame: Frame) -> bool {
        match frame {
            Frame::Welcome { mail, .. } if !self.phase.is_closing() => self.welcomed(now, mail),
            Frame::Refused { reason, .. } if self.registration.attempt().is_some() => self.refused(now, &reason),
            Frame::Rows { upto, whole, last, total, online, rows, gone } => {
                let totals = online.map(|online| Totals { total, online });
                self.rows_arrived(now, source.link, TableUpdate { upto, whole, last, totals, rows, gone });
            }
            Frame::Row { row } => self.learn(now, row),
            Frame::Answer(answer) => self.answered(now, answer),
            Frame::Post { id, kind, from, group, at, kept, text } => {
                let (at, kept) = (Timestamp::from_micros(at), kept.map(Timestamp::from_micros));
                let waits = self.receive(source, IncomingMessage { kind, from, id, group, at, kept, text });
                // Later messages on the sender's own link may be waiting for this one.
                self.read_peer(now, id.incarnation);
                return waits;
            }
            Frame::Dropped { id, kind, group, n } => {
                if self.inbox.receive_notice(&self.name, id) {
                    if let Some(count) = self.inbox.take_announcement() {
                        self.say(None, ClientEvent::Mail { count });
                    }
                    self.say(None, ClientEvent::MessagesDropped { kind, group, count: n });
                }
                return self.inbox.confirm_when_displayed(self.output.events, source, 0);
            }
            Frame::Receipt { id, reader, kept } => {
                let is_new = self.inbox.receive_receipt(&reader, id);
                let event = if is_new { self.receipt_arrived(id, reader, kept) } else { self.output.events };
                return self.inbox.confirm_when_displayed(event, source, 0);
            }
            _ => {}
        }
        false
    }

    fn receipt_arrived(&mut self, id: MessageId, reader: Name, kept: i64) -> u64 {
        let kept_at = Timestamp::from_micros(kept).seconds();
        self.kept_reached(&reader, id);
        self.say(None, ClientEvent::Receipt { to: reader, id, kept_at })
    }

    /// Reads the frames of another client until one cannot be displayed now.
    pub(super) fn read_peer(&mut self, now: Instant, peer: Incarnation) {
        if !self.phase.is_online() {
            return;
        }
        while let Some(from) = self.table.name_of(peer).cloned() {
            let full = self.inbox.is_full();
            let held_full = self.group.is_some() && self.inbox.is_hold_full();
            let Some(link) = self.links.get_mut(peer) else { return };
            // With all holds in use the sender must not wait: its message times out and becomes mail.
            link.block(full && !held_full);
            if let Some((_, Frame::Msg { after, .. })) = link.front() {
                let earlier = after.map(|number| MessageId { incarnation: peer, number });
                if full || held_full || earlier.is_some_and(|earlier| !self.inbox.has_seen(&from, earlier)) {
                    return;
                }
            }
            let Some((number, frame)) = link.take(now) else { return };
            let waits = match frame {
                Frame::Msg { id, at, text, .. } => {
                    self.table.touch(&from);
                    let (kind, at) = (MessageKind::Direct, Timestamp::from_micros(at));
                    let message = IncomingMessage { kind, from, id, group: None, at, kept: None, text };
                    self.receive(FrameId { link: peer, number }, message)
                }
                _ => false,
            };
            if let Some(link) = self.links.get_mut(peer).filter(|_| !waits) {
                link.confirm(number);
            }
        }
    }

    /// Displays or holds a message. Returns whether its confirmation waits for a display.
    fn receive(&mut self, source: FrameId, message: IncomingMessage) -> bool {
        match self.inbox.receive(message, self.group.is_some()) {
            Reception::Confirm => false,
            Reception::Duplicate => self.inbox.confirm_when_displayed(self.output.events, source, 0),
            Reception::Display { mail, after_held, message, bytes } => {
                if let Some(count) = mail {
                    self.say(None, ClientEvent::Mail { count });
                }
                if after_held {
                    self.show_held();
                }
                let event = self.say(None, message);
                self.inbox.confirm_when_displayed(event, source, bytes)
            }
        }
    }

    /// Confirms the frames of the first `events` events, which are displayed, and reads further frames.
    pub(super) fn displayed(&mut self, now: Instant, events: u64) {
        let was_full = self.inbox.is_full();
        let confirmed = self.inbox.displayed(events);
        for frame in &confirmed {
            if let Some(link) = self.links.get_mut(frame.link) {
                link.confirm(frame.number);
            }
        }
        let mut peers: Vec<Incarnation> = confirmed.iter().map(|frame| frame.link).collect();
        if was_full && !self.inbox.is_full() {
            self.read_server(now);
            peers = self.links.iter().filter(|(_, link)| link.has_frames()).map(|(peer, _)| peer).collect();
        }
        peers.dedup();
        for peer in peers {
            self.read_peer(now, peer);
        }
        self.give_held_notice(now);
    }

    /// Displays the held messages in order, without a group's name in front.
    pub(super) fn show_held(&mut self) {
        for event in self.inbox.take_held() {
            self.say_bare(None, event);
        }
    }
}
