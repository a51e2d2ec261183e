//! Reads the frames of the server and of other clients from their links, processes them, and confirms them.
//!
//! A frame is taken from its link only when the client can display it. It is confirmed after its display, or after its
//! effect if it is not displayed.

use crate::proto::client::Client;
use crate::proto::client::inbox::{FrameId, IncomingMessage, Reception};
use crate::proto::event::MessageKind;
use crate::proto::event::client::ClientEvent;
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::name::Name;
use crate::proto::time::{Instant, Timestamp};
use crate::proto::wire::{Frame, Row};

impl Client {
    /// Reads the frames of the server until one cannot be displayed now.
    pub(super) fn read_server(&mut self, now: Instant) {
        while let Some(incarnation) = self.server.incarnation {
            let full = self.inbox.is_full();
            let Some(link) = self.links.get_mut(incarnation) else { return };
            link.block(full);
            match link.front() {
                None => return,
                Some((_, Frame::Post { .. })) if full || !self.phase.is_online() => return,
                Some(_) => {}
            }
            let Some((number, frame)) = link.take(now) else { return };
            let is_displayed = matches!(frame, Frame::Post { .. } | Frame::Receipt { .. });
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
            Frame::Rows { upto, whole, last, rows, gone, .. } => {
                self.rows_arrived(now, source.link, (upto, whole, last), rows, gone);
            }
            Frame::Answer(answer) => self.answered(now, answer),
            Frame::Post { id, kind, from, group, at, kept, text } => {
                let (at, kept) = (Timestamp::from_micros(at), kept.map(Timestamp::from_micros));
                let waits = self.receive(source, IncomingMessage { kind, from, id, group, at, kept, text });
                // Later messages on the sender's own link may be waiting for this one.
                self.read_peer(now, id.incarnation);
                return waits;
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

    fn rows_arrived(
        &mut self,
        now: Instant,
        incarnation: Incarnation,
        (upto, whole, last): (u64, bool, bool),
        rows: Vec<Row>,
        gone: Vec<Name>,
    ) {
        let Some(change) = self.table.incoming(upto, whole, last, rows, gone) else { return };
        if !change.is_empty() && self.phase.is_online() {
            let (total, online_count) = self.table.counts();
            let (version, changed) = (upto, change.changed.clone());
            self.say(None, ClientEvent::Table { version, incarnation, changed, total, online_count });
        }
        self.table_changed(now, &change);
        self.login_completed();
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
            peers = self.links.iter().filter(|(_, link)| link.waiting() > 0).map(|(peer, _)| peer).collect();
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
