//! Messages on their way out: in order, a few at a time, from disk unless the text is still at hand.

use crate::proto::event::MessageKind;
use crate::proto::event::reason::Problem;
use crate::proto::event::server::ServerEvent;
use crate::proto::id::Incarnation;
use crate::proto::link::Tag;
use crate::proto::machine::{Output, ServerEffect};
use crate::proto::name::Name;
use crate::proto::record::{Mail, Record};
use crate::proto::server::intake::OnPersisted;
use crate::proto::server::sessions::AckAction;
use crate::proto::server::{LIMIT, Server};
use crate::proto::time::Instant;
use crate::proto::wire::Frame;

/// The most messages under way to one reader.
pub const POSTS_UNDER_WAY: usize = 64;
/// The most bytes of text that are fetched for one reader at a time.
pub const FETCH_BYTES: usize = 256 * 1024;
/// The most receipts under way to one sender.
pub const RECEIPTS_UNDER_WAY: usize = 64;

/// Texts that were asked of the disk for one reader.
#[derive(Debug)]
pub struct Fetch {
    incarnation: Incarnation,
    seqs: Vec<u64>,
}

impl Server {
    /// A message is kept: those who can be reached get it at once, unless older ones wait before it.
    pub(super) fn hand_out(&mut self, mail: Mail) {
        for name in &mail.header.undelivered_to {
            let Some(incarnation) = self.table.get(name).map(|row| row.incarnation) else { continue };
            let Some(session) = self.sessions.get(&incarnation).filter(|session| session.is_reading()) else {
                continue;
            };
            let room = session.under_way.len() < POSTS_UNDER_WAY && !session.fetching;
            if room && self.mail.count(name) == session.under_way.len() + 1 {
                self.post(incarnation, &mail);
            } else {
                self.ready_readers.insert(incarnation);
            }
        }
    }

    fn post(&mut self, incarnation: Incarnation, mail: &Mail) {
        let Some(session) = self.sessions.get_mut(&incarnation) else { return };
        let Some(link) = self.links.get_mut(incarnation) else { return };
        let Mail { header, text } = mail;
        let as_mail = header.seq <= session.mail_upto;
        self.next_tag += 1;
        session.tags.insert(self.next_tag, AckAction::Post { seq: header.seq, mail: as_mail });
        session.under_way.insert(header.seq);
        let frame = Frame::Post {
            id: header.id,
            kind: header.kind,
            from: header.from.clone(),
            group: header.group.clone(),
            at: header.sent_at.micros(),
            kept: as_mail.then_some(header.kept_at.micros()),
            text: text.clone().into(),
        };
        link.push(frame, Some(self.next_tag), Some(LIMIT));
    }

    /// Asks the disk for what readers lack and nobody has in hand.
    pub(super) fn schedule_deliveries(&mut self) {
        for incarnation in std::mem::take(&mut self.ready_readers) {
            let Some(session) = self.sessions.get_mut(&incarnation) else { continue };
            let Some(name) = session.name.as_ref().filter(|_| session.is_reading() && !session.fetching) else {
                continue;
            };
            let mut bytes = 0;
            let room = POSTS_UNDER_WAY.saturating_sub(session.under_way.len());
            let lacked = self.mail.waiting(name).filter(|(seq, _)| !session.under_way.contains(seq));
            let seqs = lacked.take(room).take_while(|(_, size)| {
                let fits = bytes == 0 || bytes + size <= FETCH_BYTES;
                bytes += size;
                fits
            });
            let seqs: Vec<u64> = seqs.map(|(seq, _)| seq).collect();
            if !seqs.is_empty() {
                session.fetching = true;
                self.fetches.push_back(Fetch { incarnation, seqs: seqs.clone() });
                self.door.push(Output::Effect(ServerEffect::Fetch(seqs)));
            }
        }
    }

    /// The disk has answered.
    pub(super) fn fetched(&mut self, mail: Vec<Mail>) {
        let Some(Fetch { incarnation, seqs }) = self.fetches.pop_front() else { return };
        let Some(session) = self.sessions.get_mut(&incarnation) else { return };
        session.fetching = false;
        let Some(name) = session.name.clone().filter(|_| session.is_reading()) else { return };
        for mail in &mail {
            let lacks = self.mail.get(mail.header.seq).is_some_and(|header| header.undelivered_to.contains(&name));
            let under_way =
                self.sessions.get(&incarnation).is_some_and(|session| session.under_way.contains(&mail.header.seq));
            if lacks && !under_way {
                self.post(incarnation, mail);
            }
        }
        for seq in seqs {
            if !mail.iter().any(|mail| mail.header.seq == seq) && self.mail.get(seq).is_some() {
                self.warn(Problem::MailLost, format!("Message {seq} is not on disk any more."));
                self.give_up(seq);
            }
        }
        self.ready_readers.insert(incarnation);
        self.maybe_online(incarnation);
    }

    /// Nobody will have this message: whoever came back and waits for it waits no longer.
    fn give_up(&mut self, seq: u64) {
        let undelivered_to = self.mail.get(seq).map(|header| header.undelivered_to.clone()).unwrap_or_default();
        self.mail.remove(seq);
        for name in undelivered_to {
            let Some(incarnation) = self.table.get(&name).map(|row| row.incarnation) else { continue };
            if let Some(session) = self.sessions.get_mut(&incarnation) {
                session.owed.remove(&seq);
                self.maybe_online(incarnation);
            }
        }
    }

    /// A client acknowledged a message of ours.
    pub(super) fn post_acked(&mut self, now: Instant, incarnation: Incarnation, tag: Tag) {
        let Some(session) = self.sessions.get_mut(&incarnation) else { return };
        let purpose = session.tags.remove(&tag);
        if let Some(AckAction::Reply { bytes }) = purpose {
            session.reply_bytes -= bytes;
        }
        let Some(name) = session.name.clone() else { return };
        match purpose {
            Some(AckAction::Post { seq, mail }) => {
                session.under_way.remove(&seq);
                session.owed.remove(&seq);
                self.delivered_to(now, seq, &name, mail);
                self.ready_readers.insert(incarnation);
                self.maybe_online(incarnation);
            }
            Some(AckAction::Rows) => self.table_acked(incarnation),
            Some(AckAction::Receipt { seq }) => {
                session.receipts_under_way.remove(&seq);
                if self.mail.drop_receipt(&name, seq) {
                    self.persist(Record::ReceiptGone { seq }, OnPersisted::Nothing);
                }
                self.push_receipts(incarnation);
            }
            Some(AckAction::Reply { .. }) | None => {}
        }
    }

    fn delivered_to(&mut self, now: Instant, seq: u64, reader: &Name, as_mail: bool) {
        let Some(header) = self.mail.deliver(now, seq, reader) else { return };
        self.counters.delivered += 1;
        let (from, id, direct) = (header.from.clone(), header.id, header.kind == MessageKind::Direct);
        self.delivered.insert(seq);
        if direct {
            self.readers_of_direct.insert(seq, reader.clone());
        }
        if direct || as_mail {
            self.say(ServerEvent::MailDelivered { to: reader.clone(), from, id });
        }
    }

    /// Tells a sender what was read of its kept messages.
    pub(super) fn push_receipts(&mut self, incarnation: Incarnation) {
        let Some(session) = self.sessions.get_mut(&incarnation).filter(|session| session.is_online()) else { return };
        let Some(name) = session.name.clone() else { return };
        let Some(link) = self.links.get_mut(incarnation) else { return };
        for receipt in self.mail.receipts(&name) {
            if session.receipts_under_way.len() >= RECEIPTS_UNDER_WAY {
                return;
            }
            if !session.receipts_under_way.insert(receipt.seq) {
                continue;
            }
            self.next_tag += 1;
            session.tags.insert(self.next_tag, AckAction::Receipt { seq: receipt.seq });
            let (id, reader, kept) = (receipt.id, receipt.reader.clone(), receipt.kept_at.micros());
            link.push(Frame::Receipt { id, reader, kept }, Some(self.next_tag), Some(LIMIT));
        }
    }
}
