//! Logs: the messages to everybody and to groups, and the cursors of their readers.
//!
//! A message to many is stored once. A reader has intervals of logs: one of the channel that begins with its
//! registration, and one for each stay in a group. An interval stays until it is read. A link confirms messages in
//! order, so one position says what a reader has read of an interval.
//!
//! A log keeps what some reader has not read, up to its [`Retention`]. A reader whose next message was removed because
//! of a limit gets a notice in its place. [`lag`] decides whose answers wait for slow readers.

mod cursors;
mod interval;
mod lag;
mod log;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::proto::config::Retention;
use crate::proto::id::MessageId;
use crate::proto::name::Name;
use crate::proto::record::{CursorRecord, DropNotice, IntervalKey, LogName, Mail, MailHeader, Record};
use crate::proto::server::logs::interval::Interval;
use crate::proto::server::logs::log::MessageLog;
use crate::proto::time::{Instant, Timestamp};

pub use crate::proto::server::logs::interval::INTERVALS;
pub use crate::proto::server::logs::lag::{HELD_ANSWERS, LAG_TIMEOUT};
pub use crate::proto::server::logs::log::LoggedMessage;

/// The most bytes of texts of recent messages that stay in memory. Older texts are read from disk.
pub const RECENT_BYTES: usize = 16 * 1024 * 1024;

/// The bytes that a message counts in addition to its text in the limit of all logs.
const MESSAGE_BYTES: u64 = 256;

/// All logs and cursors of a server.
#[derive(Debug, Default)]
pub struct Logs {
    retention: Retention,
    logs: BTreeMap<LogName, MessageLog>,
    readers: BTreeMap<Name, Vec<Interval>>,
    /// The readers that are online.
    online: BTreeSet<Name>,
    /// The number of recipients of each stored message.
    ids: BTreeMap<MessageId, usize>,
    /// The messages whose texts are in memory, oldest first, and the bytes of these texts.
    recent: VecDeque<(LogName, u64)>,
    recent_bytes: usize,
    /// The logs with messages, by the `seq` of their first one.
    oldest: BTreeSet<(u64, LogName)>,
    /// The bytes of all messages: those of their texts, and [`MESSAGE_BYTES`] for each.
    bytes: u64,
    /// The number of stored messages.
    count: usize,
    /// Logs with new messages since [`Logs::take_grown`].
    grown: BTreeSet<LogName>,
    /// Cursors that differ from their records.
    changed: BTreeSet<(Name, IntervalKey)>,
    /// Logs whose first position differs from its record.
    trimmed: BTreeSet<LogName>,
    /// Logs with readers that lag.
    lagging: BTreeSet<LogName>,
    held_answers: usize,
}

/// The next item for a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upcoming {
    /// A direct message, by its `seq`.
    Direct(u64),
    /// A message of a log.
    Logged {
        /// Its `seq`.
        seq: u64,
        /// The interval of the reader.
        key: IntervalKey,
        /// Its position.
        position: u64,
    },
    /// A notice of dropped messages. Nothing follows in the same batch.
    Notice(IntervalKey),
}

/// The state of a notice that is next for a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextNotice {
    /// This record must be written. Call [`Logs::notice_written`] when it has its outcome.
    Write(Record),
    /// It is being written, or messages before it are in flight.
    Wait,
    /// It can be sent.
    Send(DropNotice),
    /// All dropped messages were the reader's own: there is no notice.
    Nothing,
}

impl Logs {
    /// The logs and cursors that an earlier incarnation persisted. `headers` are those of messages to many.
    #[must_use]
    pub fn new(
        retention: Retention,
        headers: Vec<MailHeader>,
        bases: Vec<(LogName, u64)>,
        cursors: Vec<CursorRecord>,
    ) -> Self {
        let mut logs = Self { retention, ..Self::default() };
        for (name, base) in bases {
            logs.logs.insert(name, MessageLog::starting_at(base));
        }
        for header in headers {
            let Some(name) = header.log() else { continue };
            logs.ids.insert(header.id, header.recipients);
            logs.logs.entry(name).or_default().load(header);
        }
        for cursor in &cursors {
            let reached = cursor.next.max(cursor.end.unwrap_or(0)).max(cursor.key.joined);
            logs.logs.entry(cursor.key.log.clone()).or_default().extend_to(reached);
        }
        for (name, log) in &logs.logs {
            logs.bytes += log.bytes() + log.count() as u64 * MESSAGE_BYTES;
            logs.count += log.count();
            logs.oldest.extend(log.first_seq().map(|seq| (seq, name.clone())));
        }
        let keys: Vec<_> = cursors.iter().map(|cursor| (cursor.reader.clone(), cursor.key.clone())).collect();
        for cursor in cursors {
            logs.load_cursor(cursor);
        }
        // Only now, because a message stays while any cursor needs it.
        for (reader, key) in keys {
            logs.remove_if_read(&reader, &key);
        }
        for name in logs.logs.keys().cloned().collect::<Vec<_>>() {
            logs.remove_read(&name);
        }
        logs
    }

    fn load_cursor(&mut self, cursor: CursorRecord) {
        let reader = cursor.reader.clone();
        let Some(log) = self.logs.get_mut(&cursor.key.log) else { return };
        // Membership in a group ended with the earlier incarnation.
        let was_member = cursor.end.is_none() && cursor.key.log != LogName::Channel;
        let end = if was_member { Some(log.reserved()) } else { cursor.end };
        let interval = Interval::from_record(CursorRecord { end, ..cursor });
        if was_member {
            self.changed.insert((reader.clone(), interval.key.clone()));
        }
        log.add_cursor(interval.next);
        self.readers.entry(reader).or_default().push(interval);
    }

    /// The limits.
    #[must_use]
    pub fn retention(&self) -> Retention {
        self.retention
    }

    /// The number of stored messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// The number of recipients of a stored message.
    #[must_use]
    pub fn known(&self, id: MessageId) -> Option<usize> {
        self.ids.get(&id).copied()
    }

    /// Reserves the next position of a log for a message that is being written.
    pub fn reserve(&mut self, name: &LogName) -> u64 {
        self.logs.entry(name.clone()).or_default().reserve()
    }

    /// Fills the oldest reserved position of a log: with a message that was written, or with a gap if it was refused.
    pub fn append(&mut self, now: Instant, name: &LogName, mail: Option<Mail>) {
        let Some(log) = self.logs.get_mut(name) else { return };
        let Some(Mail { header, text }) = mail else {
            log.append_gap();
            // Readers skip the gap at their next delivery.
            self.grown.insert(name.clone());
            return self.enforce_limits(name);
        };
        let (id, seq, from, position) = (header.id, header.seq, header.from.clone(), log.end());
        self.ids.insert(id, header.recipients);
        self.bytes += header.text_bytes as u64 + MESSAGE_BYTES;
        self.recent_bytes += header.text_bytes;
        self.count += 1;
        if log.count() == 0 {
            self.oldest.insert((seq, name.clone()));
        }
        log.append(header, text);
        self.recent.push_back((name.clone(), position));
        // Removed messages leave the queue when they are first in it, or here.
        if self.recent.len() > 2 * self.count + 1_024 {
            let logs = &self.logs;
            self.recent.retain(|(name, position)| logs.get(name).is_some_and(|log| log.base() <= *position));
        }
        self.grown.insert(name.clone());
        self.skip_own(&from, name, position);
        self.forget_texts();
        self.remove_read(name);
        self.enforce_limits(name);
        if let Some(log) = self.logs.get_mut(name)
            && log.check_lag(now, &self.retention)
        {
            self.lagging.insert(name.clone());
        }
    }

    /// Drops the oldest texts from memory, down to [`RECENT_BYTES`].
    fn forget_texts(&mut self) {
        while self.recent_bytes > RECENT_BYTES
            && let Some((name, position)) = self.recent.pop_front()
        {
            let text = self.logs.get_mut(&name).and_then(|log| log.forget_text(position));
            self.recent_bytes -= text.map_or(0, |text| text.as_str().len());
        }
    }

    /// Removes the messages that all readers have read.
    pub(super) fn remove_read(&mut self, name: &LogName) {
        while let Some(log) = self.logs.get(name)
            && log.is_first_read()
        {
            self.remove_first(name);
        }
    }

    fn enforce_limits(&mut self, name: &LogName) {
        let (messages, bytes) = (self.retention.messages, self.retention.bytes);
        // Gaps count too, so that they are limited.
        let positions = 2 * messages as u64;
        let exceeds =
            |log: &MessageLog| log.count() > messages || log.bytes() > bytes || log.end() - log.base() > positions;
        while self.logs.get(name).is_some_and(exceeds) {
            self.drop_first(name);
        }
        while self.bytes > self.retention.total_bytes
            && let Some((_, name)) = self.oldest.first().cloned()
        {
            self.drop_first(&name);
        }
    }

    /// Drops the messages that were accepted before `limit`.
    pub fn drop_older(&mut self, limit: Timestamp) {
        for name in self.logs.keys().cloned().collect::<Vec<_>>() {
            while self.logs.get(&name).and_then(MessageLog::first).is_some_and(|entry| entry.header.kept_at < limit) {
                self.drop_first(&name);
            }
        }
    }

    /// Removes the first message of a log although some reader has not read it.
    fn drop_first(&mut self, name: &LogName) {
        let Some((position, from)) = self.remove_first(name) else { return };
        let Some(from) = from else {
            if let Some(log) = self.logs.get_mut(name) {
                log.drop_gap(position);
            }
            return;
        };
        for interval in self.readers.get_mut(&from).into_iter().flatten() {
            if interval.key.log == *name && interval.note_own_dropped(position) {
                self.changed.insert((from.clone(), interval.key.clone()));
            }
        }
    }

    /// Removes the first position of a log. Returns it, and the sender of its message.
    fn remove_first(&mut self, name: &LogName) -> Option<(u64, Option<Name>)> {
        let log = self.logs.get_mut(name)?;
        let (position, entry) = log.pop_first()?;
        self.trimmed.insert(name.clone());
        let Some(LoggedMessage { header, text, .. }) = entry else { return Some((position, None)) };
        self.oldest.remove(&(header.seq, name.clone()));
        self.oldest.extend(log.first_seq().map(|seq| (seq, name.clone())));
        self.ids.remove(&header.id);
        self.bytes -= header.text_bytes as u64 + MESSAGE_BYTES;
        self.count -= 1;
        self.recent_bytes -= text.map_or(0, |text| text.as_str().len());
        while self.recent.front().is_some_and(|(other, old)| other == name && *old <= position) {
            self.recent.pop_front();
        }
        Some((position, Some(header.from)))
    }

    /// A message of a log, if it is stored.
    pub fn get_mut(&mut self, name: &LogName, position: u64) -> Option<&mut LoggedMessage> {
        self.logs.get_mut(name)?.get_mut(position)
    }

    /// Replaces a message whose text is lost by a gap.
    pub fn lose(&mut self, name: &LogName, position: u64) {
        let Some(log) = self.logs.get_mut(name) else { return };
        let Some(LoggedMessage { header, text, .. }) = log.lose(position) else { return };
        self.oldest.remove(&(header.seq, name.clone()));
        self.oldest.extend(log.first_seq().map(|seq| (seq, name.clone())));
        self.ids.remove(&header.id);
        self.bytes -= header.text_bytes as u64 + MESSAGE_BYTES;
        self.recent_bytes -= text.map_or(0, |text| text.as_str().len());
        self.count -= 1;
    }

    /// Takes the logs that have new messages since the last call.
    pub fn take_grown(&mut self) -> BTreeSet<LogName> {
        std::mem::take(&mut self.grown)
    }

    /// Notes that the record of a cursor must be written.
    pub fn mark_changed(&mut self, reader: Name, key: IntervalKey) {
        self.changed.insert((reader, key));
    }

    /// Whether [`Logs::take_records`] returns some.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty() || !self.trimmed.is_empty()
    }

    /// The records of everything that changed since the last call.
    pub fn take_records(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        for (reader, key) in std::mem::take(&mut self.changed) {
            let interval = self.readers.get(&reader).and_then(|all| all.iter().find(|one| one.key == key));
            records.push(match interval {
                Some(interval) => interval.record(&reader),
                None => Record::CursorRemoved { reader, key },
            });
        }
        for log in std::mem::take(&mut self.trimmed) {
            let base = self.logs.get(&log).map_or(0, MessageLog::base);
            records.push(Record::Trimmed { log, base });
        }
        records
    }

    /// Whether nothing is to be written, no item is in flight and no answer is held.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.has_changes()
            && self.grown.is_empty()
            && self.held_answers == 0
            && self.logs.values().all(|log| log.reserved() == log.end())
            && self.readers.values().flatten().all(|interval| interval.in_flight.is_empty())
    }
}
