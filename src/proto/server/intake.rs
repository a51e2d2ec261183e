//! Intake: accepts messages for everybody and for groups, and continues when records are on disk.
//!
//! A message is on disk before its sender is answered and before a reader gets it.

use std::time::Duration;

use crate::proto::event::reason::Problem;
use crate::proto::event::sentences::Sentence;
use crate::proto::event::server::ServerEvent;
use crate::proto::id::Incarnation;
use crate::proto::name::Name;
use crate::proto::record::{CursorRecord, GroupRecord, IntervalKey, Mail, MailHeader, Receipt, Record};
use crate::proto::server::Server;
use crate::proto::server::replies::RequestId;
use crate::proto::server::saves::{ListOutcome, SaveList};
use crate::proto::text::Text;
use crate::proto::time::Instant;
use crate::proto::wire::{Answer, Frame, RequestOutcome};

/// The time after which cursors are written again that the disk refused.
const CURSOR_RETRY: Duration = Duration::from_secs(1);

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
    /// Keep a list. It waited because some of its messages were being written for another request.
    Keep(SaveList),
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
    /// Note that the record of a cursor was written or refused.
    CursorWritten {
        /// Its reader.
        reader: Name,
        /// Its interval.
        key: IntervalKey,
    },
    /// Send the rest of an interval that ended, whose messages are on disk now.
    IntervalEnded {
        /// Its reader.
        reader: Name,
        /// The interval.
        key: IntervalKey,
    },
    /// Write the cursors that moved meanwhile.
    CursorsWritten,
    /// Send a notice of dropped messages.
    NoticeWritten {
        /// Its reader.
        reader: Name,
        /// The interval that has it.
        key: IntervalKey,
    },
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
        if let Some(n) = self.logs.known(header.id).or_else(|| self.mail.known(header.id)) {
            return self.reply(request.client, accepted(request, n));
        }
        let Ok(text) = Text::new(text) else { return self.answer(request, RequestOutcome::Failed) };
        let Some(log) = header.log() else { return };
        let mut mail = Mail::new(header, text);
        let readers = match log.group() {
            None => self.table.len(),
            Some(group) if self.groups.is_member(request.client, group) => self.groups.count_members(group),
            Some(_) => return self.answer(request, RequestOutcome::None),
        };
        mail.header.recipients = readers.saturating_sub(1);
        if mail.header.recipients == 0 {
            self.mail.remember(now, mail.header.id, 0);
            self.say_accepted(&mail);
            return self.reply(request.client, accepted(request, 0));
        }
        mail.header.position = self.logs.reserve(&log);
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
        self.last_written = self.last_written.max(header.seq);
    }

    fn say_accepted(&mut self, mail: &Mail) {
        let Mail { header, text } = mail;
        self.counters.accepted += 1;
        self.say(ServerEvent::Accepted {
            kind: header.kind,
            id: header.id,
            from: header.from.clone(),
            recipients: header.recipients,
            group: header.group.clone(),
            text: text.clone(),
        });
    }

    /// Performs the steps that waited for the records up to number `through`. These records are on disk, except those
    /// in `refused`.
    pub(super) fn persisted(&mut self, now: Instant, through: u64, refused: &[u64]) {
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
                        self.mail_accepted(now, request, *mail);
                    } else {
                        if let Some(log) = mail.header.log() {
                            self.logs.append(now, &log, None);
                        }
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
                OnPersisted::Keep(list) => self.keep(list),
                OnPersisted::CursorWritten { reader, key } => self.cursor_written(now, reader, key, is_written),
                OnPersisted::IntervalEnded { reader, key } => {
                    self.ready_readers.extend(self.table.get(&reader).map(|row| row.incarnation));
                    self.cursor_written(now, reader, key, is_written);
                }
                OnPersisted::CursorsWritten => self.is_writing_cursors = false,
                OnPersisted::NoticeWritten { reader, key } => {
                    self.logs.notice_written(&reader, &key);
                    self.ready_readers.extend(self.table.get(&reader).map(|row| row.incarnation));
                }
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
    fn mail_accepted(&mut self, now: Instant, request: RequestId, mail: Mail) {
        let MailHeader { id, recipients, ref from, .. } = mail.header;
        let Some(log) = mail.header.log() else { return };
        let from = from.clone();
        self.mail.remember(now, id, recipients);
        self.say_accepted(&mail);
        self.logs.append(now, &log, Some(mail));
        if !self.logs.hold_answer(&log, &from, request, recipients) {
            self.reply(request.client, accepted(request, recipients));
        }
    }

    /// Sends the answers that no longer wait for slow readers.
    pub(super) fn send_held_answers(&mut self) {
        for (request, recipients) in self.logs.take_answers() {
            self.reply(request.client, accepted(request, recipients));
        }
    }

    /// Writes the cursors that moved and the logs that became shorter.
    pub(super) fn write_cursors(&mut self, now: Instant) {
        if self.is_writing_cursors || now < self.next_cursor_write {
            return;
        }
        for record in self.logs.take_records() {
            self.is_writing_cursors = true;
            self.persist_cursor(record);
        }
        if self.is_writing_cursors {
            self.after_records(OnPersisted::CursorsWritten);
        }
    }

    /// Writes a record of a log. A cursor that the disk refuses is written again later.
    pub(super) fn persist_cursor(&mut self, record: Record) {
        let then = match &record {
            Record::Cursor(CursorRecord { reader, key, .. }) | Record::CursorRemoved { reader, key } => {
                OnPersisted::CursorWritten { reader: reader.clone(), key: key.clone() }
            }
            _ => OnPersisted::Nothing,
        };
        self.persist(record, then);
    }

    fn cursor_written(&mut self, now: Instant, reader: Name, key: IntervalKey, is_written: bool) {
        if !is_written {
            self.logs.mark_changed(reader, key);
            self.next_cursor_write = now + CURSOR_RETRY;
        }
    }

    /// Removes a direct message that its reader acknowledged, and keeps the receipt for its sender.
    pub(super) fn remove_delivered(&mut self, header: &MailHeader) {
        let MailHeader { seq, id, kept_at, from: owner, .. } = header.clone();
        let receipt =
            header.reader().map(|reader| Receipt { seq, owner: owner.clone(), id, reader: reader.clone(), kept_at });
        if let Some(dropped) = receipt.clone().and_then(|receipt| self.mail.add_receipt(receipt)) {
            self.persist(Record::ReceiptGone { seq: dropped }, OnPersisted::Nothing);
        }
        self.persist(Record::Delivered { seq, receipt }, OnPersisted::SendReceipts { owner });
    }
}

/// The answer to an accepted message.
fn accepted(request: RequestId, recipients: usize) -> Frame {
    Frame::Answer(Answer { recipients, ..Answer::new(request.number, RequestOutcome::Accepted) })
}
