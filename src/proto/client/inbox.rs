//! What comes in: shown once, acknowledged when shown, held in a group, kept back while its sender is unknown.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::client::dedup::DedupCache;
use crate::proto::client::requests::Answer;
use crate::proto::client::shutdown::ShutdownNotice;
use crate::proto::client::{Client, Presence};
use crate::proto::event::MessageKind;
use crate::proto::event::client::ClientEvent;
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::name::Name;
use crate::proto::text::Text;
use crate::proto::time::{Instant, Timestamp};
use crate::proto::wire::Frame;

/// The most messages handed out and not yet shown; beyond that senders are told to wait.
pub const UNSHOWN: usize = 1_024;
/// The most bytes of text among them.
pub const UNSHOWN_BYTES: usize = 1024 * 1024;
/// The most direct messages held in a group; beyond that they are not acknowledged, so they become mail.
pub const HELD: usize = 64;
/// The most bytes of text among them.
pub const HELD_BYTES: usize = 1024 * 1024;
/// How long a message from an unknown sender waits for the update that explains it.
const STRANGER_WAITS: Duration = Duration::from_millis(500);
/// The most datagrams kept of one unknown sender, which is one life at an address.
pub const UNKNOWN_PEER_DATAGRAMS: u64 = 16;
/// The most unknown senders at once; together they fill 1,024 datagrams.
pub const UNKNOWN_PEERS: usize = 64;

/// The state of what comes in.
#[derive(Debug, Default)]
pub struct Inbox {
    seen: DedupCache,
    pub(super) receipts: DedupCache,
    showing: VecDeque<Showing>,
    showing_bytes: usize,
    shown: u64,
    held: Vec<ClientEvent>,
    held_bytes: usize,
    unknown_peers: BTreeMap<Incarnation, Instant>,
    announced: Option<usize>,
}

/// An event that somebody waits for: when it is shown, a frame is confirmed.
#[derive(Debug)]
struct Showing {
    event: u64,
    incarnation: Incarnation,
    n: u64,
    bytes: usize,
}

impl Inbox {
    /// Mail is coming; it is announced when the first message of it is shown.
    pub fn announce(&mut self, count: usize) {
        self.announced = (count > 0).then_some(count);
    }

    /// When the first unknown sender's time is over.
    pub fn deadline(&self) -> Option<Instant> {
        self.unknown_peers.values().min().copied()
    }

    /// Whether somebody waits to hear that something was shown.
    pub fn is_showing(&self) -> bool {
        !self.showing.is_empty()
    }

    /// Whether nothing waits to be shown, held or explained.
    pub fn is_idle(&self) -> bool {
        self.showing.is_empty() && self.held.is_empty() && self.unknown_peers.is_empty()
    }

    fn holds_enough(&self) -> bool {
        self.held.len() >= HELD || self.held_bytes >= HELD_BYTES
    }

    fn is_full(&self) -> bool {
        self.showing.len() >= UNSHOWN || self.showing_bytes >= UNSHOWN_BYTES
    }
}

/// A message as its frame carries it.
struct IncomingMessage {
    kind: MessageKind,
    from: Name,
    id: MessageId,
    group: Option<Name>,
    at: Timestamp,
    kept: Option<Timestamp>,
    text: String,
}

impl Client {
    /// Reads what the server sent, as far as it can be shown.
    pub(super) fn read_server(&mut self, now: Instant) {
        while let Some(incarnation) = self.home.incarnation {
            let full = self.inbox.is_full();
            let Some(link) = self.links.get_mut(incarnation) else { return };
            link.block(full);
            match link.front() {
                None => return,
                Some((_, Frame::Post { .. })) if full || self.presence != Presence::Online => return,
                Some(_) => {}
            }
            let Some((n, frame)) = link.take(now) else { return };
            let is_shown = matches!(frame, Frame::Post { .. } | Frame::Receipt { .. });
            if !is_shown {
                // Before it is done, not after: it may be the last thing this client does.
                link.confirm(n);
            }
            let waits = self.frame_of_server(now, incarnation, n, frame);
            if let Some(link) = self.links.get_mut(incarnation).filter(|_| is_shown && !waits) {
                link.confirm(n);
            }
        }
    }

    /// Does what a frame says. Returns whether its confirmation has to wait.
    fn frame_of_server(&mut self, now: Instant, incarnation: Incarnation, n: u64, frame: Frame) -> bool {
        match frame {
            Frame::Welcome { mail, .. } if !matches!(self.presence, Presence::Leaving) => self.welcomed(now, mail),
            Frame::Refused { reason, .. } if self.registration.is_some() => self.refused(now, &reason),
            Frame::Rows { upto, whole, last, rows, gone, .. } => {
                if let Some(change) = self.table.incoming(upto, whole, last, rows, gone) {
                    if !change.is_empty() && self.presence == Presence::Online {
                        let (total, online_count) = self.table.counts();
                        let (version, changed) = (upto, change.changed.clone());
                        self.say(None, ClientEvent::Table { version, incarnation, changed, total, online_count });
                    }
                    self.table_changed(now, &change);
                    self.entered();
                }
            }
            Frame::Answer { r, is, n, row, names, more } => self.answered(now, r, Answer { is, n, row, names, more }),
            Frame::Post { id, kind, from, group, at, kept, text } => {
                let (at, kept) = (Timestamp::from_micros(at), kept.map(Timestamp::from_micros));
                let waits = self.incoming(incarnation, n, IncomingMessage { kind, from, id, group, at, kept, text });
                // Later messages of the sender may have overtaken this one.
                self.read_peer(now, id.incarnation);
                return waits;
            }
            Frame::Receipt { id, reader, .. } if !self.inbox.receipts.insert(&reader, id) => {
                return self.confirm_when_shown(self.door.events, incarnation, n, 0);
            }
            Frame::Receipt { id, reader, kept } => {
                let kept_at = Timestamp::from_micros(kept).seconds();
                self.reached(&reader, id);
                let event = self.say(None, ClientEvent::Receipt { to: reader, id, kept_at });
                return self.confirm_when_shown(event, incarnation, n, 0);
            }
            _ => {}
        }
        false
    }

    /// Reads what another client sent, as far as it can be shown.
    pub(super) fn read_peer(&mut self, now: Instant, incarnation: Incarnation) {
        if self.presence != Presence::Online {
            return;
        }
        while let Some(from) = self.table.name_of(incarnation).cloned() {
            let full = self.inbox.is_full();
            let held_full = self.group.is_some() && self.inbox.holds_enough();
            let Some(link) = self.links.get_mut(incarnation) else { return };
            link.block(full && !held_full);
            if let Some((_, Frame::Msg { after, .. })) = link.front() {
                let first = after.map(|number| MessageId { incarnation, number });
                if full || held_full || first.is_some_and(|first| !self.inbox.seen.contains(&from, first)) {
                    return;
                }
            }
            let waits = match link.take(now) {
                Some((n, Frame::Msg { id, at, text, .. })) => {
                    let (kind, at) = (MessageKind::Direct, Timestamp::from_micros(at));
                    let message = IncomingMessage { kind, from, id, group: None, at, kept: None, text };
                    (n, self.incoming(incarnation, n, message))
                }
                Some((n, _)) => (n, false),
                None => return,
            };
            if let ((n, false), Some(link)) = (waits, self.links.get_mut(incarnation)) {
                link.confirm(n);
            }
        }
    }

    /// Shows or holds a message, unless it was before. Returns whether its confirmation has to wait.
    fn incoming(&mut self, incarnation: Incarnation, n: u64, message: IncomingMessage) -> bool {
        let IncomingMessage { kind, from, id, group, at, kept, text } = message;
        let Ok(text) = Text::new(&text) else { return false };
        if !self.inbox.seen.insert(&from, id) {
            // Perhaps its first copy is still on its way to the screen.
            return self.confirm_when_shown(self.door.events, incarnation, n, 0);
        }
        if kept.is_some()
            && let Some(count) = self.inbox.announced.take()
        {
            self.say(None, ClientEvent::Mail { count });
        }
        let bytes = text.as_str().len();
        let (sent_at, stored) = (at.exact(), kept.map(Timestamp::seconds));
        let event = ClientEvent::Message { kind, from, text, id, sent_at, stored, group };
        if kind == MessageKind::Direct && self.group.is_some() && kept.is_none() {
            if !self.inbox.holds_enough() {
                self.inbox.held_bytes += bytes;
                self.inbox.held.push(event);
                return false;
            }
            // What comes through the server although no more can be held is shown rather than left to block its link,
            // behind what is held: in order.
            self.show_held();
        }
        let event = self.say(None, event);
        self.confirm_when_shown(event, incarnation, n, bytes)
    }

    fn confirm_when_shown(&mut self, event: u64, incarnation: Incarnation, n: u64, bytes: usize) -> bool {
        if event <= self.inbox.shown {
            return false;
        }
        self.inbox.showing_bytes += bytes;
        self.inbox.showing.push_back(Showing { event, incarnation, n, bytes });
        true
    }

    /// The first so many events are where their reader can have them.
    pub(super) fn shown(&mut self, now: Instant, events: u64) {
        self.inbox.shown = self.inbox.shown.max(events);
        let was_full = self.inbox.is_full();
        let mut lives = Vec::new();
        while self.inbox.showing.front().is_some_and(|showing| showing.event <= events)
            && let Some(showing) = self.inbox.showing.pop_front()
        {
            self.inbox.showing_bytes -= showing.bytes;
            if let Some(link) = self.links.get_mut(showing.incarnation) {
                link.confirm(showing.n);
            }
            lives.push(showing.incarnation);
        }
        if was_full && !self.inbox.is_full() {
            self.read_server(now);
            lives =
                self.links.iter().filter(|(_, link)| link.waiting() > 0).map(|(incarnation, _)| incarnation).collect();
        }
        lives.dedup();
        for incarnation in lives {
            self.read_peer(now, incarnation);
        }
        if !self.inbox.is_showing() && self.leaving.as_ref().is_some_and(ShutdownNotice::is_held) {
            self.give_notice(now);
        }
    }

    /// Shows what was held in a group, without the group in front, in order.
    pub(super) fn show_held(&mut self) {
        self.inbox.held_bytes = 0;
        for event in std::mem::take(&mut self.inbox.held) {
            self.say_bare(None, event);
        }
    }

    /// A datagram of a life that the table does not name: returns whether it may wait for the update.
    pub(super) fn admit_stranger(&mut self, now: Instant, from: SocketAddr, incarnation: Incarnation) -> bool {
        if self.inbox.unknown_peers.contains_key(&incarnation) {
            return true;
        }
        let there = |other: &&Incarnation| self.links.get(**other).is_some_and(|link| link.addr() == from);
        if let Some(earlier) = self.inbox.unknown_peers.keys().find(there).copied() {
            // An address has one life at a time.
            self.forget_stranger(earlier);
        }
        if self.inbox.unknown_peers.len() >= UNKNOWN_PEERS || self.presence != Presence::Online {
            return false;
        }
        self.inbox.unknown_peers.insert(incarnation, now + STRANGER_WAITS);
        if let Some(link) = self.links.open(incarnation, from) {
            link.limit(UNKNOWN_PEER_DATAGRAMS);
        }
        true
    }

    /// The table is different: strangers that it names now are none any more.
    pub(super) fn known_strangers(&mut self, now: Instant) {
        let unknown_peers = self.inbox.unknown_peers.keys().copied();
        let known: Vec<Incarnation> =
            unknown_peers.filter(|incarnation| self.table.name_of(*incarnation).is_some()).collect();
        for incarnation in known {
            if self.links.get(incarnation).is_some_and(|link| !self.can_be_at(incarnation, link.addr())) {
                self.forget_stranger(incarnation);
                continue;
            }
            self.inbox.unknown_peers.remove(&incarnation);
            if let Some(link) = self.links.get_mut(incarnation) {
                link.limit(u64::MAX);
            }
            self.read_peer(now, incarnation);
        }
    }

    pub(super) fn strangers_timeout(&mut self, now: Instant) {
        let over: Vec<Incarnation> = self
            .inbox
            .unknown_peers
            .iter()
            .filter(|(_, until)| **until <= now)
            .map(|(incarnation, _)| *incarnation)
            .collect();
        for incarnation in over {
            self.forget_stranger(incarnation);
        }
    }

    fn forget_stranger(&mut self, incarnation: Incarnation) {
        self.inbox.unknown_peers.remove(&incarnation);
        self.links.close(incarnation);
    }
}
