//! Delivery: sends stored messages to their readers, in order, and receipts to their senders.
//!
//! The number of messages under way to a client is limited. A message is sent from memory right after it was written if
//! no older one waits for its reader. Otherwise it is read from disk later.

use std::collections::BTreeSet;

use crate::proto::event::MessageKind;
use crate::proto::event::reason::Problem;
use crate::proto::event::sentences::Sentence;
use crate::proto::event::server::ServerEvent;
use crate::proto::id::Incarnation;
use crate::proto::link::Tag;
use crate::proto::machine::{Output, ServerEffect};
use crate::proto::name::Name;
use crate::proto::record::{Mail, Record};
use crate::proto::server::acks::AckAction;
use crate::proto::server::intake::OnPersisted;
use crate::proto::server::{LIMIT, Server};
use crate::proto::time::Instant;
use crate::proto::wire::Frame;

/// The most messages under way to one reader.
pub const POSTS_UNDER_WAY: usize = 64;
/// The most bytes of text that one fetch reads for a reader.
pub const FETCH_BYTES: usize = 256 * 1024;
/// The most receipts under way to one sender.
pub const RECEIPTS_UNDER_WAY: usize = 64;

/// The messages and receipts under way to one client.
#[derive(Debug, Default)]
pub struct DeliveryState {
    /// Messages up to this number waited when the client registered, and are sent as stored mail.
    stored_upto: u64,
    /// The stored mail that the client has not acknowledged. The client goes online when this is empty.
    backlog: BTreeSet<u64>,
    in_flight: BTreeSet<u64>,
    is_fetching: bool,
    receipts_in_flight: BTreeSet<u64>,
}

/// Messages that were requested from the disk for one reader.
#[derive(Debug)]
pub struct Fetch {
    client: Incarnation,
    seqs: Vec<u64>,
}

impl DeliveryState {
    /// Starts the delivery of the mail that waits for a client that registered.
    pub fn start(&mut self, backlog: BTreeSet<u64>) {
        self.stored_upto = backlog.last().copied().unwrap_or(0);
        self.backlog = backlog;
    }

    /// Whether stored mail is not acknowledged.
    #[must_use]
    pub fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Drops everything in flight. A fetch continues, because its answer will still arrive.
    pub fn abort(&mut self) {
        self.in_flight.clear();
        self.receipts_in_flight.clear();
        self.backlog.clear();
    }
}

impl Server {
    /// Sends a message that was just written to its readers that are reading. A reader with older waiting messages or
    /// without room becomes ready instead.
    pub(super) fn hand_out(&mut self, mail: Mail) {
        for name in &mail.header.undelivered_to {
            let Some(client) = self.table.get(name).map(|row| row.incarnation) else { continue };
            let Some(session) = self.sessions.get(client).filter(|session| session.is_reading()) else {
                continue;
            };
            let delivery = &session.delivery;
            let has_room = delivery.in_flight.len() < POSTS_UNDER_WAY && !delivery.is_fetching;
            if has_room && self.mail.count(name) == delivery.in_flight.len() + 1 {
                self.post(client, &mail);
            } else {
                self.ready_readers.insert(client);
            }
        }
    }

    fn post(&mut self, client: Incarnation, mail: &Mail) {
        let Some(session) = self.sessions.get_mut(client) else { return };
        let Some(link) = self.links.get_mut(client) else { return };
        let Mail { header, text } = mail;
        let stored = header.seq <= session.delivery.stored_upto;
        let tag = session.next_tag();
        session.expect_ack(tag, AckAction::Post { seq: header.seq, stored });
        session.delivery.in_flight.insert(header.seq);
        let frame = Frame::Post {
            id: header.id,
            kind: header.kind,
            from: header.from.clone(),
            group: header.group.clone(),
            at: header.sent_at.micros(),
            kept: stored.then_some(header.kept_at.micros()),
            text: text.clone().into(),
        };
        link.push(frame, Some(tag), Some(LIMIT));
    }

    /// Fetches undelivered messages for ready readers that have room.
    pub(super) fn schedule_deliveries(&mut self) {
        for client in std::mem::take(&mut self.ready_readers) {
            let Some(session) = self.sessions.get_mut(client) else { continue };
            if !session.is_reading() || session.delivery.is_fetching {
                continue;
            }
            let Some(name) = session.name() else { continue };
            let mut bytes = 0;
            let room = POSTS_UNDER_WAY.saturating_sub(session.delivery.in_flight.len());
            let waiting = self.mail.waiting(name).filter(|(seq, _)| !session.delivery.in_flight.contains(seq));
            let seqs = waiting.take(room).take_while(|(_, size)| {
                let fits = bytes == 0 || bytes + size <= FETCH_BYTES;
                bytes += size;
                fits
            });
            let seqs: Vec<u64> = seqs.map(|(seq, _)| seq).collect();
            if !seqs.is_empty() {
                session.delivery.is_fetching = true;
                self.fetches.push_back(Fetch { client, seqs: seqs.clone() });
                self.output.push(Output::Effect(ServerEffect::Fetch(seqs)));
            }
        }
    }

    /// Sends the messages that the disk returned for the oldest fetch.
    pub(super) fn fetched(&mut self, mail: Vec<Mail>) {
        let Some(Fetch { client, seqs }) = self.fetches.pop_front() else { return };
        let Some(session) = self.sessions.get_mut(client) else { return };
        session.delivery.is_fetching = false;
        if !session.is_reading() {
            return;
        }
        let Some(name) = session.name().cloned() else { return };
        for mail in &mail {
            let seq = mail.header.seq;
            let is_undelivered = self.mail.get(seq).is_some_and(|header| header.undelivered_to.contains(&name));
            let session = self.sessions.get(client);
            let is_in_flight = session.is_some_and(|session| session.delivery.in_flight.contains(&seq));
            if is_undelivered && !is_in_flight {
                self.post(client, mail);
            }
        }
        for seq in seqs {
            if !mail.iter().any(|mail| mail.header.seq == seq) && self.mail.get(seq).is_some() {
                self.warn(Problem::MailLost, Sentence::MailLost { number: &seq });
                self.give_up(seq);
            }
        }
        self.ready_readers.insert(client);
        self.try_go_online(client);
    }

    /// Removes a message whose text is lost, so that no returning reader waits for it.
    fn give_up(&mut self, seq: u64) {
        let undelivered_to = self.mail.get(seq).map(|header| header.undelivered_to.clone()).unwrap_or_default();
        self.mail.remove(seq);
        for name in undelivered_to {
            let Some(client) = self.table.get(&name).map(|row| row.incarnation) else { continue };
            if let Some(session) = self.sessions.get_mut(client) {
                session.delivery.backlog.remove(&seq);
                self.try_go_online(client);
            }
        }
    }

    /// Performs the action of a message that a client acknowledged.
    pub(super) fn acknowledged(&mut self, now: Instant, client: Incarnation, tag: Tag) {
        let Some(session) = self.sessions.get_mut(client) else { return };
        let action = session.take_ack(tag);
        let Some(name) = session.name().cloned() else { return };
        match action {
            Some(AckAction::Post { seq, stored }) => {
                session.delivery.in_flight.remove(&seq);
                session.delivery.backlog.remove(&seq);
                self.delivered_to(now, seq, &name, stored);
                self.ready_readers.insert(client);
                self.try_go_online(client);
            }
            Some(AckAction::Rows) => self.update_acknowledged(client),
            Some(AckAction::Receipt { seq }) => {
                session.delivery.receipts_in_flight.remove(&seq);
                if self.mail.drop_receipt(&name, seq) {
                    self.persist(Record::ReceiptGone { seq }, OnPersisted::Nothing);
                }
                self.push_receipts(client);
            }
            Some(AckAction::Reply { .. }) | None => {}
        }
    }

    fn delivered_to(&mut self, now: Instant, seq: u64, reader: &Name, stored: bool) {
        let Some(header) = self.mail.deliver(now, seq, reader) else { return };
        self.counters.delivered += 1;
        let (from, id, is_direct) = (header.from.clone(), header.id, header.kind == MessageKind::Direct);
        self.delivered.insert(seq);
        if is_direct {
            self.readers_of_direct.insert(seq, reader.clone());
        }
        if is_direct || stored {
            self.say(ServerEvent::MailDelivered { to: reader.clone(), from, id });
        }
    }

    /// Sends an online client the receipts that wait for it, up to [`RECEIPTS_UNDER_WAY`].
    pub(super) fn push_receipts(&mut self, client: Incarnation) {
        let Some(session) = self.sessions.get_mut(client).filter(|session| session.is_online()) else { return };
        let Some(name) = session.name().cloned() else { return };
        let Some(link) = self.links.get_mut(client) else { return };
        for receipt in self.mail.receipts(&name) {
            if session.delivery.receipts_in_flight.len() >= RECEIPTS_UNDER_WAY {
                return;
            }
            if !session.delivery.receipts_in_flight.insert(receipt.seq) {
                continue;
            }
            let tag = session.next_tag();
            session.expect_ack(tag, AckAction::Receipt { seq: receipt.seq });
            let (id, reader, kept) = (receipt.id, receipt.reader.clone(), receipt.kept_at.micros());
            link.push(Frame::Receipt { id, reader, kept }, Some(tag), Some(LIMIT));
        }
    }
}
