//! Messages on their way in: kept on disk first, answered then.

use crate::proto::event::MessageKind;
use crate::proto::event::reason::{Problem, Reason};
use crate::proto::event::server::ServerEvent;
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::name::Name;
use crate::proto::record::{GroupRecord, Mail, MailHeader, Receipt, Record};
use crate::proto::server::Server;
use crate::proto::server::replies::answer;
use crate::proto::text::Text;
use crate::proto::time::{Instant, Timestamp};
use crate::proto::wire::{Frame, RequestOutcome};

/// A request to keep a direct message.
#[derive(Clone, Debug)]
pub struct Save {
    pub(super) r: u64,
    pub(super) id: MessageId,
    pub(super) from: Name,
    pub(super) to: Name,
    pub(super) at: Timestamp,
    pub(super) again: bool,
    pub(super) text: String,
}

/// A request to pass a message on to everybody, or to a group.
#[derive(Debug)]
pub struct Accept {
    pub(super) r: u64,
    pub(super) id: MessageId,
    pub(super) from: Name,
    pub(super) group: Option<Name>,
    pub(super) at: Timestamp,
    pub(super) text: String,
}

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
        /// Who asked.
        incarnation: Incarnation,
        /// The number of the request.
        r: u64,
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
    pub(super) fn save(&mut self, now: Instant, incarnation: Incarnation, save: Save) {
        // While it is being written, the answer is on its way.
        if self.unwritten.contains(&save.id) {
            return;
        }
        if self.mail.known(save.id).is_some() {
            return self.reply(incarnation, answer(save.r, RequestOutcome::Saved));
        }
        let Some(online) = self.table.get(&save.to).map(|row| row.online) else {
            return self.reply(incarnation, answer(save.r, RequestOutcome::None));
        };
        if online && !save.again {
            if let Some(save) = self.check(now, incarnation, save) {
                self.keep(incarnation, save);
            }
        } else {
            self.keep(incarnation, save);
        }
    }

    /// Keeps a direct message.
    pub(super) fn keep(&mut self, incarnation: Incarnation, save: Save) {
        let Save { r, id, from, to, at, text, .. } = save;
        // The same message may have been kept while its reader was asked.
        if self.unwritten.contains(&id) {
            return;
        }
        if self.mail.known(id).is_some() {
            return self.reply(incarnation, answer(r, RequestOutcome::Saved));
        }
        let Ok(text) = Text::new(&text) else { return self.reply(incarnation, answer(r, RequestOutcome::Failed)) };
        if self.mail.is_full(&to, text.as_str().len(), false) {
            self.say(ServerEvent::Rejected { reason: Reason::MailboxFull, from, group: None });
            return self.reply(incarnation, answer(r, RequestOutcome::Full));
        }
        let (seq, kept_at) = (self.mail.next_seq(), self.door.unix);
        let kind = MessageKind::Direct;
        let mail = Mail { seq, id, kind, from, group: None, text, sent_at: at, kept_at, undelivered_to: vec![to] };
        self.record_mail(incarnation, r, mail);
    }

    /// A message to everybody, or to the other members of a group.
    pub(super) fn accept(&mut self, now: Instant, incarnation: Incarnation, accept: Accept) {
        let Accept { r, id, from, group, at, text } = accept;
        if self.unwritten.contains(&id) {
            return;
        }
        if let Some(n) = self.mail.known(id) {
            return self.reply(incarnation, accepted(r, n));
        }
        let Ok(text) = Text::new(&text) else { return self.reply(incarnation, answer(r, RequestOutcome::Failed)) };
        let readers: Vec<Name> = match &group {
            None => self.table.iter().map(|(name, _)| name.clone()).collect(),
            Some(group) if self.in_group(incarnation, group) => self.members(group),
            Some(_) => return self.reply(incarnation, answer(r, RequestOutcome::None)),
        };
        let bytes = text.as_str().len();
        let online = |name: &Name| self.table.get(name).is_some_and(|row| row.online);
        let takes = |name: &Name| *name != from && !self.mail.is_full(name, bytes, online(name));
        let undelivered_to: Vec<Name> = readers.into_iter().filter(takes).collect();
        let kind = if group.is_some() { MessageKind::Group } else { MessageKind::Channel };
        let (seq, kept_at) = (self.mail.next_seq(), self.door.unix);
        let mail = Mail { seq, id, kind, from, group, text, sent_at: at, kept_at, undelivered_to };
        if mail.undelivered_to.is_empty() {
            self.mail.remember(now, id, 0);
            self.say_accepted(&mail);
            return self.reply(incarnation, accepted(r, 0));
        }
        self.record_mail(incarnation, r, mail);
    }

    fn record_mail(&mut self, incarnation: Incarnation, r: u64, mut mail: Mail) {
        mail.undelivered_to.sort();
        self.unwritten.insert(mail.id);
        self.mail.reserve(&mail);
        let after = OnPersisted::Kept { incarnation, r, mail: Box::new(mail.clone()) };
        self.persist(Record::Mail(mail), after);
    }

    fn say_accepted(&mut self, mail: &Mail) {
        self.counters.accepted += 1;
        self.say(ServerEvent::Accepted {
            kind: mail.kind,
            id: mail.id,
            from: mail.from.clone(),
            recipients: mail.undelivered_to.len(),
            group: mail.group.clone(),
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
                OnPersisted::Kept { incarnation, r, mail } => {
                    self.unwritten.remove(&mail.id);
                    self.mail.release(&mail);
                    if kept {
                        self.kept(incarnation, r, *mail);
                    } else {
                        self.reply(incarnation, answer(r, RequestOutcome::Failed));
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
    fn kept(&mut self, incarnation: Incarnation, r: u64, mail: Mail) {
        self.mail.insert(MailHeader::from(&mail));
        if mail.kind == MessageKind::Direct {
            self.counters.saved += 1;
            let (to, from, id) = (mail.undelivered_to[0].clone(), mail.from.clone(), mail.id);
            self.say(ServerEvent::Saved { to, from, id });
            self.reply(incarnation, answer(r, RequestOutcome::Saved));
        } else {
            self.say_accepted(&mail);
            self.reply(incarnation, accepted(r, mail.undelivered_to.len()));
        }
        self.hand_out(mail);
    }

    /// One record for each message whose readers changed in this turn.
    pub(super) fn write_delivered(&mut self) {
        for seq in std::mem::take(&mut self.delivered) {
            let Some(item) = self.mail.get(seq) else { continue };
            let undelivered_to: Vec<Name> = item.undelivered_to.iter().cloned().collect();
            let direct = item.kind == MessageKind::Direct && undelivered_to.is_empty();
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
        let item = self.mail.get(seq)?;
        Some(Receipt { seq, owner: item.from.clone(), id: item.id, reader, kept_at: item.kept_at })
    }
}

fn accepted(r: u64, n: usize) -> Frame {
    Frame::Answer { r, is: RequestOutcome::Accepted, n, row: None, names: Vec::new(), more: false }
}
