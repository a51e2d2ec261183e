//! Cursors: registers the readers of logs, decides what each gets next, and moves its cursor when it acknowledges.

use std::collections::BTreeMap;

use crate::proto::id::MessageId;
use crate::proto::name::Name;
use crate::proto::record::{IntervalKey, LogName, MailHeader, Record};
use crate::proto::server::logs::interval::{INTERVALS, Interval, NoticeState};
use crate::proto::server::logs::log::MessageLog;
use crate::proto::server::logs::{Logs, NextNotice, Upcoming};

/// An interval of a reader. Borrows only the readers, so that logs stay usable.
fn find_interval<'a>(
    readers: &'a mut BTreeMap<Name, Vec<Interval>>,
    reader: &Name,
    key: &IntervalKey,
) -> Option<&'a mut Interval> {
    readers.get_mut(reader)?.iter_mut().find(|interval| interval.key == *key)
}

impl Logs {
    /// Lets a reader read the channel from now on, unless it does already. Returns the record to write.
    pub fn register(&mut self, reader: &Name) -> Option<Record> {
        let intervals = self.readers.get(reader);
        let reads = intervals.into_iter().flatten().any(|interval| interval.reads(&LogName::Channel));
        (!reads).then(|| self.open(reader, LogName::Channel))
    }

    /// Opens an interval of a group. Returns the record to write, or `None` if the reader has [`INTERVALS`] unread
    /// ones.
    pub fn join(&mut self, reader: &Name, group: &Name) -> Option<Record> {
        let unread = self.readers.get(reader).map_or(0, Vec::len);
        (unread < INTERVALS).then(|| self.open(reader, LogName::Group(group.clone())))
    }

    fn open(&mut self, reader: &Name, name: LogName) -> Record {
        let is_online = self.online.contains(reader);
        let log = self.logs.entry(name.clone()).or_default();
        let interval = Interval::new(name, log.reserved());
        log.add_cursor(interval.next);
        if is_online {
            log.lag.insert(reader, interval.next);
        }
        let record = interval.record(reader);
        // Most names have one interval.
        self.readers.entry(reader.clone()).or_insert_with(|| Vec::with_capacity(1)).push(interval);
        record
    }

    /// Ends the interval of a group. Returns the record to write and the interval, if the reader was reading the group.
    pub fn leave(&mut self, reader: &Name, group: &Name) -> Option<(Record, IntervalKey)> {
        let name = LogName::Group(group.clone());
        let log = self.logs.get_mut(&name)?;
        let interval = self.readers.get_mut(reader)?.iter_mut().find(|interval| interval.reads(&name))?;
        interval.end = Some(log.reserved());
        log.lag.remove(reader);
        let key = interval.key.clone();
        let record = interval.record(reader);
        if self.remove_if_read(reader, &key) {
            self.changed.remove(&(reader.clone(), key.clone()));
            return Some((Record::CursorRemoved { reader: reader.clone(), key: key.clone() }, key));
        }
        Some((record, key))
    }

    /// Removes a reader.
    pub fn remove_reader(&mut self, reader: &Name) {
        self.set_online(reader, false);
        for interval in self.readers.remove(reader).unwrap_or_default() {
            self.changed.remove(&(reader.clone(), interval.key.clone()));
            if let Some(log) = self.logs.get_mut(&interval.key.log) {
                log.remove_cursor(interval.next);
            }
            self.remove_read(&interval.key.log);
        }
    }

    /// Sets whether a reader is online. Senders wait only for readers that are.
    pub fn set_online(&mut self, reader: &Name, is_online: bool) {
        let changes = if is_online { self.online.insert(reader.clone()) } else { self.online.remove(reader) };
        if !changes {
            return;
        }
        for interval in self.readers.get(reader).into_iter().flatten().filter(|interval| interval.end.is_none()) {
            let Some(log) = self.logs.get_mut(&interval.key.log) else { continue };
            if is_online {
                log.lag.insert(reader, interval.next);
            } else {
                log.lag.remove(reader);
            }
        }
    }

    /// The next items for a reader, in order, up to `room` items and `bytes_max` bytes of text, but at least one.
    /// `direct` are its direct messages that were not sent, in order: number and bytes of each.
    pub fn upcoming(
        &mut self,
        reader: &Name,
        direct: impl Iterator<Item = (u64, usize)>,
        room: usize,
        bytes_max: usize,
    ) -> Vec<Upcoming> {
        self.skip(reader);
        let intervals = self.readers.get(reader).map(Vec::as_slice).unwrap_or_default();
        let mut heads: Vec<_> = intervals.iter().map(|one| self.head(reader, one, one.sent)).collect();
        let (mut direct, mut items, mut bytes) = (direct.peekable(), Vec::new(), 0);
        while items.len() < room {
            let logged = heads.iter().enumerate().filter_map(|(at, head)| Some((head.as_ref()?.0, at))).min();
            let size = match (direct.peek(), logged) {
                (Some((seq, size)), logged) if logged.is_none_or(|(order, _)| *seq < order) => {
                    items.push(Upcoming::Direct(*seq));
                    let size = *size;
                    direct.next();
                    size
                }
                (_, Some((_, at))) => {
                    let Some((_, size, item)) = heads[at].take() else { break };
                    if let Upcoming::Logged { position, .. } = &item {
                        let from = position + 1;
                        heads[at] = self.head(reader, &intervals[at], from);
                    }
                    let is_notice = matches!(item, Upcoming::Notice(_));
                    items.push(item);
                    if is_notice {
                        break;
                    }
                    size
                }
                (_, None) => break,
            };
            bytes += size;
            if bytes > bytes_max && items.len() > 1 {
                items.pop();
                break;
            }
        }
        items
    }

    /// The next item of an interval from position `from` on: its place in the order, its bytes, and the item.
    fn head(&self, reader: &Name, interval: &Interval, from: u64) -> Option<(u64, usize, Upcoming)> {
        let log = self.logs.get(&interval.key.log)?;
        let end = interval.end_in(log.end());
        if from >= end {
            return None;
        }
        if interval.notice.is_some_and(|notice| from < notice.upto) || from < log.base() {
            // Without a later message, the notice comes last.
            return Some((log.first_seq().unwrap_or(u64::MAX), 0, Upcoming::Notice(interval.key.clone())));
        }
        let entry = log.next(from, end, reader)?;
        let MailHeader { seq, position, text_bytes, .. } = entry.header;
        Some((seq, text_bytes, Upcoming::Logged { seq, key: interval.key.clone(), position }))
    }

    /// Moves the cursors of a reader with nothing in flight over its own messages and over gaps.
    fn skip(&mut self, reader: &Name) {
        let mut moved = Vec::new();
        for interval in self.readers.get_mut(reader).into_iter().flatten() {
            let Some(log) = self.logs.get(&interval.key.log) else { continue };
            let end = interval.end_in(log.end());
            let is_blocked = !interval.in_flight.is_empty() || interval.notice.is_some();
            if is_blocked || interval.sent < log.base() || interval.sent >= end {
                continue;
            }
            let next = log.next(interval.sent, end, reader).map_or(end, |entry| entry.header.position);
            if next > interval.sent {
                interval.sent = next;
                moved.push((interval.key.clone(), next));
            }
        }
        for (key, next) in moved {
            self.move_cursor(reader, &key, next);
        }
    }

    /// Prepares the notice that is next in an interval. `id` becomes the id of a new notice.
    pub fn next_notice(&mut self, reader: &Name, key: &IntervalKey, id: MessageId) -> NextNotice {
        let Some(interval) = find_interval(&mut self.readers, reader, key) else { return NextNotice::Wait };
        let upto = interval.end_in(self.logs.get(&key.log).map_or(0, MessageLog::base));
        let gaps = self.logs.get(&key.log).map_or(0, |log| log.dropped_gaps(interval.sent, upto));
        let next = interval.prepare_notice(reader, upto, gaps, id);
        if next == NextNotice::Nothing {
            let sent = interval.sent;
            self.move_cursor(reader, key, sent);
        }
        next
    }

    /// Notes that the record of a notice has its outcome.
    pub fn notice_written(&mut self, reader: &Name, key: &IntervalKey) {
        if let Some(interval) = find_interval(&mut self.readers, reader, key) {
            interval.notice_state = NoticeState::Written;
        }
    }

    /// Notes that items were sent. `positions` has the position of each message, or of the last message that a notice
    /// counts.
    pub fn sent(&mut self, reader: &Name, key: &IntervalKey, positions: impl IntoIterator<Item = u64>) {
        if let Some(interval) = find_interval(&mut self.readers, reader, key) {
            positions.into_iter().for_each(|last| interval.send(last));
        }
    }

    /// Notes that a reader acknowledged the `count` oldest items in flight of an interval.
    pub fn acknowledged(&mut self, reader: &Name, key: &IntervalKey, count: usize) {
        let Some(interval) = find_interval(&mut self.readers, reader, key) else { return };
        if let Some(next) = (0..count).filter_map(|_| interval.acknowledge()).last() {
            self.move_cursor(reader, key, next);
        }
    }

    /// Drops what is in flight to a reader: it is sent again.
    pub fn rewind(&mut self, reader: &Name) {
        self.readers.get_mut(reader).into_iter().flatten().for_each(Interval::rewind);
    }

    fn move_cursor(&mut self, reader: &Name, key: &IntervalKey, next: u64) {
        let Some(interval) = find_interval(&mut self.readers, reader, key) else { return };
        let before = std::mem::replace(&mut interval.next, next);
        let is_open = interval.end.is_none();
        self.changed.insert((reader.clone(), key.clone()));
        if let Some(log) = self.logs.get_mut(&key.log) {
            log.remove_cursor(before);
            log.add_cursor(next);
            if is_open {
                log.move_lag(reader, next, &self.retention);
            }
        }
        self.remove_if_read(reader, key);
        self.remove_read(&key.log);
    }

    /// Removes an interval that has ended and is read. Returns whether it was.
    pub(super) fn remove_if_read(&mut self, reader: &Name, key: &IntervalKey) -> bool {
        let Some(intervals) = self.readers.get_mut(reader) else { return false };
        let Some(at) = intervals.iter().position(|interval| interval.key == *key) else { return false };
        let interval = &intervals[at];
        if interval.end.is_none_or(|end| interval.next < end) || interval.notice.is_some() {
            return false;
        }
        let interval = intervals.remove(at);
        if intervals.is_empty() {
            self.readers.remove(reader);
        }
        self.changed.insert((reader.clone(), key.clone()));
        if let Some(log) = self.logs.get_mut(&key.log) {
            log.remove_cursor(interval.next);
        }
        self.remove_read(&key.log);
        true
    }

    /// The number of messages that wait for a reader.
    #[must_use]
    pub fn waiting(&self, reader: &Name) -> usize {
        let intervals = self.readers.get(reader).into_iter().flatten();
        let count = |interval: &Interval| {
            let log = self.logs.get(&interval.key.log)?;
            Some(log.count_for(reader, interval.next, interval.end_in(log.end())))
        };
        intervals.filter_map(count).sum()
    }

    /// All readers for which messages wait, and their number.
    pub fn waiting_readers(&self) -> impl Iterator<Item = (&Name, usize)> {
        self.readers.keys().map(|reader| (reader, self.waiting(reader))).filter(|(_, count)| *count > 0)
    }

    /// Moves the cursor of a sender over its own message if it has read everything before.
    pub(super) fn skip_own(&mut self, from: &Name, name: &LogName, position: u64) {
        for interval in self.readers.get_mut(from).into_iter().flatten() {
            if interval.key.log == *name && interval.sent == position && interval.contains(position) {
                interval.sent += 1;
                if interval.in_flight.is_empty() {
                    let key = interval.key.clone();
                    return self.move_cursor(from, &key, position + 1);
                }
            }
        }
    }
}
