//! Messages on their way in: kept on disk first, answered then.

use crate::proto::event::MessageKind;
use crate::proto::event::reason::{Problem, Reason};
use crate::proto::event::server::ServerEvent;
use crate::proto::id::Incarnation;
use crate::proto::name::Name;
use crate::proto::record::{GroupRecord, Mail, Receipt, Record};
use crate::proto::server::Server;
use crate::proto::server::replies::RequestId;
use crate::proto::time::Instant;
use crate::proto::wire::{Frame, RequestOutcome};

/// What is to be done when a record is on disk.
#[derive(Debug)]
pub enum OnPersisted {
    /// Nothing.
    Nothing,
    /// A client is answered.
    Answer {
        /// Who asked.
        incarnation: Incarnation,
        /// The answer.
        frame: Frame,
    },
    /// A message is kept: its sender is answered, its readers get it.
    Kept {
        /// The sender's request.
        request: RequestId,
        /// The message.
        mail: Box<Mail>,
    },
    /// A group is kept: it exists, and its creator is answered.
    Created(GroupRecord),
    /// Another client wants to create a group that is being written.
    CreateAgain(GroupRecord),
    /// A receipt is owed.
    Owed {
        /// To whom.
        owner: Name,
    },
}

impl Server {
    pub(super) fn look_up(&mut self, incarnation: Incarnation, r: u64, name: &Name) {
        let row = self.row_for(incarnation, name);
        let is = if row.is_some() { RequestOutcome::Exists } else { RequestOutcome::None };
        self.reply(incarnation, Frame::Answer { r, is, n: 0, row, names: Vec::new(), more: false });
    }

    /// A direct message that its sender could not deliver.
    pub(super) fn save(&mut self, now: Instant, request: RequestId, mail: Mail, again: bool) {
        // While it is being written, the answer is on its way.
        if self.unwritten.contains(&mail.header.id) {
            return;
        }
        if self.mail.known(mail.header.id).is_some() {
            return self.answer(request, RequestOutcome::Saved);
        }
        let reader = mail.header.reader().and_then(|name| self.table.get(name));
        let Some(online) = reader.map(|row| row.online) else { return self.answer(request, RequestOutcome::None) };
        if online && !again {
            if let Some(mail) = self.check(now, request, mail) {
                self.keep(request, mail);
            }
        } else {
            self.keep(request, mail);
        }
    }

    /// Keeps a direct message.
    pub(super) fn keep(&mut self, request: RequestId, mut mail: Mail) {
        // The same message may have been kept while its reader was asked.
        if self.unwritten.contains(&mail.header.id) {
            return;
        }
        if self.mail.known(mail.header.id).is_some() {
            return self.answer(request, RequestOutcome::Saved);
        }
        let Some(reader) = mail.header.reader() else { return self.answer(request, RequestOutcome::None) };
        if self.mail.is_full(reader, mail.header.text_bytes, false) {
            self.say(ServerEvent::Rejected { reason: Reason::MailboxFull, from: mail.header.from, group: None });
            return self.answer(request, RequestOutcome::Full);
        }
        mail.header.seq = self.mail.next_seq();
        self.record_mail(request, mail);
    }

    /// A message to everybody, or to the other members of a group.
    pub(super) fn accept(&mut self, now: Instant, request: RequestId, mut mail: Mail) {
        let Mail { header, .. } = &mut mail;
        if self.unwritten.contains(&header.id) {
            return;
        }
        if let Some(n) = self.mail.known(header.id) {
            return self.reply(request.client, accepted(request, n));
        }
        let readers: Vec<Name> = match &header.group {
            None => self.table.iter().map(|(name, _)| name.clone()).collect(),
            Some(group) if self.in_group(request.client, group) => self.members(group),
            Some(_) => return self.answer(request, RequestOutcome::None),
        };
        let online = |name: &Name| self.table.get(name).is_some_and(|row| row.online);
        let takes = |name: &Name| *name != header.from && !self.mail.is_full(name, header.text_bytes, online(name));
        header.undelivered_to = readers.into_iter().filter(takes).collect();
        header.seq = self.mail.next_seq();
        if header.undelivered_to.is_empty() {
            self.mail.remember(now, header.id, 0);
            self.say_accepted(&mail);
            return self.reply(request.client, accepted(request, 0));
        }
        self.record_mail(request, mail);
    }

    fn record_mail(&mut self, request: RequestId, mut mail: Mail) {
        mail.header.kept_at = self.door.unix;
        self.unwritten.insert(mail.header.id);
        self.mail.reserve(&mail.header);
        let after = OnPersisted::Kept { request, mail: Box::new(mail.clone()) };
        self.persist(Record::Mail(mail), after);
    }

    fn say_accepted(&mut self, mail: &Mail) {
        self.counters.accepted += 1;
        self.say(ServerEvent::Accepted {
            kind: mail.header.kind,
            id: mail.header.id,
            from: mail.header.from.clone(),
            recipients: mail.header.undelivered_to.len(),
            group: mail.header.group.clone(),
            text: mail.text.clone(),
        });
    }

    /// Records are on disk, but for the refused ones: what waited for them is done.
    pub(super) fn persisted(&mut self, through: u64, refused: &[u64]) {
        while self.after.front().is_some_and(|(record, _)| *record <= through)
            && let Some((record, after)) = self.after.pop_front()
        {
            let kept = !refused.contains(&record);
            match after {
                OnPersisted::Nothing => {}
                OnPersisted::Answer { incarnation, frame } => {
                    let failed = matches!(frame, Frame::Answer { is: RequestOutcome::Ok, .. }) && !kept;
                    if failed {
                        self.warn(Problem::NotSaved, "The last change could not be written to disk.".to_owned());
                    }
                    self.reply(incarnation, frame);
                }
                OnPersisted::Kept { request, mail } => {
                    self.unwritten.remove(&mail.header.id);
                    self.mail.release(&mail.header);
                    if kept {
                        self.kept(request, *mail);
                    } else {
                        self.answer(request, RequestOutcome::Failed);
                    }
                }
                OnPersisted::Created(new) => self.created(new, kept),
                OnPersisted::CreateAgain(new) => self.create_group(new),
                OnPersisted::Owed { owner } => {
                    let online = self.table.get(&owner).filter(|row| row.online).map(|row| row.incarnation);
                    if let Some(incarnation) = online {
                        self.push_receipts(incarnation);
                    }
                }
            }
        }
    }

    /// A message is on disk: its sender may know, its readers get it.
    fn kept(&mut self, request: RequestId, mail: Mail) {
        self.mail.insert(mail.header.clone());
        if let (MessageKind::Direct, Some(to)) = (mail.header.kind, mail.header.reader()) {
            self.counters.saved += 1;
            let (to, from, id) = (to.clone(), mail.header.from.clone(), mail.header.id);
            self.say(ServerEvent::Saved { to, from, id });
            self.answer(request, RequestOutcome::Saved);
        } else {
            self.say_accepted(&mail);
            self.reply(request.client, accepted(request, mail.header.undelivered_to.len()));
        }
        self.hand_out(mail);
    }

    /// One record for each message whose readers changed in this turn.
    pub(super) fn write_delivered(&mut self) {
        for seq in std::mem::take(&mut self.delivered) {
            let Some(header) = self.mail.get(seq) else { continue };
            let undelivered_to = header.undelivered_to.clone();
            let direct = header.kind == MessageKind::Direct && undelivered_to.is_empty();
            let receipt = direct.then(|| self.receipt_of(seq)).flatten();
            let after = match &receipt {
                Some(receipt) => OnPersisted::Owed { owner: receipt.owner.clone() },
                None => OnPersisted::Nothing,
            };
            if undelivered_to.is_empty() {
                self.mail.remove(seq);
            }
            if let Some(dropped) = receipt.clone().and_then(|receipt| self.mail.add_receipt(receipt)) {
                self.persist(Record::ReceiptGone { seq: dropped }, OnPersisted::Nothing);
            }
            self.persist(Record::Delivered { seq, undelivered_to, receipt }, after);
        }
    }

    fn receipt_of(&mut self, seq: u64) -> Option<Receipt> {
        let reader = self.readers_of_direct.remove(&seq)?;
        let header = self.mail.get(seq)?;
        Some(Receipt { seq, owner: header.from.clone(), id: header.id, reader, kept_at: header.kept_at })
    }
}

fn accepted(request: RequestId, n: usize) -> Frame {
    Frame::Answer { r: request.number, is: RequestOutcome::Accepted, n, row: None, names: Vec::new(), more: false }
}
