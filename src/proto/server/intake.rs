//! Intake: accepts messages for everybody and for groups, and continues when records are on disk.
//!
//! A message is on disk before its sender is answered and before a reader gets it.

use crate::proto::event::MessageKind;
use crate::proto::event::reason::Problem;
use crate::proto::event::sentences::Sentence;
use crate::proto::event::server::ServerEvent;
use crate::proto::id::Incarnation;
use crate::proto::name::Name;
use crate::proto::record::{GroupRecord, Mail, MailHeader, Receipt, Record};
use crate::proto::server::Server;
use crate::proto::server::replies::RequestId;
use crate::proto::server::saves::ListOutcome;
use crate::proto::text::Text;
use crate::proto::time::Instant;
use crate::proto::wire::{Answer, Frame, RequestOutcome};

/// The step that follows when a record has its outcome.
#[derive(Debug)]
pub enum OnPersisted {
    /// No step follows.
    Nothing,
    /// Answer a request.
    Reply {
        /// The client that sent the request.
        client: Incarnation,
        /// The answer.
        frame: Frame,
    },
    /// Answer the sender of a message, and send it to its readers.
    MailAccepted {
        /// The sender's request.
        request: RequestId,
        /// The message.
        mail: Box<Mail>,
    },
    /// Note whether a message of a list is on disk.
    SaveWritten {
        /// The sender's request.
        request: RequestId,
        /// The position of the message in the list.
        index: usize,
    },
    /// Answer the sender of a list, and send its messages to their reader.
    ListWritten {
        /// The sender's request.
        request: RequestId,
        /// The messages that were written, with their positions in the list.
        written: Vec<(usize, Mail)>,
        /// The answer, unless the disk refused one of them.
        outcome: ListOutcome,
    },
    /// Answer the creator of a group.
    GroupCreated(GroupRecord),
    /// Process a request to create a group. It waited because a group of that name was being written.
    CreateGroup(GroupRecord),
    /// Send the waiting receipts to a sender.
    SendReceipts {
        /// The sender of the messages.
        owner: Name,
    },
}

impl Server {
    /// Accepts a message to everybody, or to the other members of a group.
    pub(super) fn accept(&mut self, now: Instant, request: RequestId, header: MailHeader, text: &str) {
        if self.unwritten.contains(&header.id) {
            return;
        }
        if let Some(n) = self.mail.known(header.id) {
            return self.reply(request.client, accepted(request, n));
        }
        let Ok(text) = Text::new(text) else { return self.answer(request, RequestOutcome::Failed) };
        let mut mail = Mail::new(header, text);
        let Mail { header, .. } = &mut mail;
        let readers: Vec<Name> = match &header.group {
            None => self.table.iter().map(|(name, _)| name.clone()).collect(),
            Some(group) if self.groups.is_member(request.client, group) => self.groups.members(group),
            Some(_) => return self.answer(request, RequestOutcome::None),
        };
        let is_online = |name: &Name| self.table.get(name).is_some_and(|row| row.online);
        let has_room = |name: &Name| !self.mail.is_full(name, header.text_bytes, is_online(name));
        header.undelivered_to = readers.into_iter().filter(|name| *name != header.from && has_room(name)).collect();
        if header.undelivered_to.is_empty() {
            self.mail.remember(now, header.id, 0);
            self.say_accepted(&mail);
            return self.reply(request.client, accepted(request, 0));
        }
        self.write_mail(request, mail);
    }

    fn write_mail(&mut self, request: RequestId, mut mail: Mail) {
        self.begin_write(&mut mail.header);
        let then = OnPersisted::MailAccepted { request, mail: Box::new(mail.clone()) };
        self.persist(Record::Mail(mail), then);
    }

    /// Numbers a message that is written now, and reserves its room in the mailboxes.
    pub(super) fn begin_write(&mut self, header: &mut MailHeader) {
        header.seq = self.mail.next_seq();
        header.kept_at = self.output.unix;
        self.unwritten.insert(header.id);
        self.mail.reserve(header);
    }

    /// Releases the room of a message whose record has its outcome.
    pub(super) fn end_write(&mut self, header: &MailHeader) {
        self.unwritten.remove(&header.id);
        self.mail.release(header);
    }

    fn say_accepted(&mut self, mail: &Mail) {
        let Mail { header, text } = mail;
        self.counters.accepted += 1;
        self.say(ServerEvent::Accepted {
            kind: header.kind,
            id: header.id,
            from: header.from.clone(),
            recipients: header.undelivered_to.len(),
            group: header.group.clone(),
            text: text.clone(),
        });
    }

    /// Performs the steps that waited for the records up to number `through`. These records are on disk, except those
    /// in `refused`.
    pub(super) fn persisted(&mut self, through: u64, refused: &[u64]) {
        while self.on_persisted.front().is_some_and(|(record, _)| *record <= through)
            && let Some((record, then)) = self.on_persisted.pop_front()
        {
            let is_written = !refused.contains(&record);
            match then {
                OnPersisted::Nothing => {}
                OnPersisted::Reply { client, frame } => {
                    if !is_written && matches!(&frame, Frame::Answer(answer) if answer.outcome == RequestOutcome::Ok) {
                        self.warn(Problem::NotSaved, Sentence::ChangeNotSaved);
                    }
                    self.reply(client, frame);
                }
                OnPersisted::MailAccepted { request, mail } => {
                    self.end_write(&mail.header);
                    if is_written {
                        self.mail_accepted(request, *mail);
                    } else {
                        self.answer(request, RequestOutcome::Failed);
                    }
                }
                OnPersisted::SaveWritten { request, index } => {
                    if !is_written {
                        self.saves.refuse(request, index);
                    }
                }
                OnPersisted::ListWritten { request, written, outcome } => {
                    self.list_written(request, written, outcome);
                }
                OnPersisted::GroupCreated(record) => self.group_created(record, is_written),
                OnPersisted::CreateGroup(new) => self.create_group(new),
                OnPersisted::SendReceipts { owner } => {
                    let row = self.table.get(&owner).filter(|row| row.online);
                    if let Some(client) = row.map(|row| row.incarnation) {
                        self.push_receipts(client);
                    }
                }
            }
        }
    }

    /// Answers the sender of a message that is on disk, and sends the message to its readers.
    fn mail_accepted(&mut self, request: RequestId, mail: Mail) {
        self.mail.insert(mail.header.clone());
        self.say_accepted(&mail);
        self.reply(request.client, accepted(request, mail.header.undelivered_to.len()));
        self.hand_out(mail);
    }

    /// Writes one record for each message that was delivered to readers since the last call.
    pub(super) fn write_delivered(&mut self) {
        for seq in std::mem::take(&mut self.delivered) {
            let Some(header) = self.mail.get(seq) else { continue };
            let undelivered_to = header.undelivered_to.clone();
            let is_read = header.kind == MessageKind::Direct && undelivered_to.is_empty();
            let receipt = is_read.then(|| self.receipt_of(seq)).flatten();
            let then = match &receipt {
                Some(receipt) => OnPersisted::SendReceipts { owner: receipt.owner.clone() },
                None => OnPersisted::Nothing,
            };
            if undelivered_to.is_empty() {
                self.mail.remove(seq);
            }
            if let Some(dropped) = receipt.clone().and_then(|receipt| self.mail.add_receipt(receipt)) {
                self.persist(Record::ReceiptGone { seq: dropped }, OnPersisted::Nothing);
            }
            self.persist(Record::Delivered { seq, undelivered_to, receipt }, then);
        }
    }

    fn receipt_of(&mut self, seq: u64) -> Option<Receipt> {
        let reader = self.readers_of_direct.remove(&seq)?;
        let header = self.mail.get(seq)?;
        Some(Receipt { seq, owner: header.from.clone(), id: header.id, reader, kept_at: header.kept_at })
    }
}

/// The answer to an accepted message.
fn accepted(request: RequestId, recipients: usize) -> Frame {
    Frame::Answer(Answer { recipients, ..Answer::new(request.number, RequestOutcome::Accepted) })
}
