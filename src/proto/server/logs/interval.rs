//! Intervals: the part of a log that one reader reads, and its position there.

use std::collections::VecDeque;

use crate::proto::id::MessageId;
use crate::proto::name::Name;
use crate::proto::record::{CursorRecord, DropNotice, IntervalKey, LogName, Record};
use crate::proto::server::logs::NextNotice;

/// The most intervals of one name: the one of the channel, and those of groups that it has not read to their end.
pub const INTERVALS: usize = 64;

/// An interval of one reader.
#[derive(Clone, Debug)]
pub struct Interval {
    pub key: IntervalKey,
    /// The position of the first message that the reader has not acknowledged.
    pub next: u64,
    /// The position of the first message that was not sent to the reader.
    pub sent: u64,
    /// The items that were sent and not acknowledged.
    pub in_flight: VecDeque<InFlight>,
    /// The end; `None` while the reader reads the log.
    pub end: Option<u64>,
    /// The number of the reader's own dropped messages from `sent` on. The notice does not count them.
    pub own_dropped: u64,
    /// The number of its own dropped messages from `next` on and before the first item in flight.
    own_dropped_first: u64,
    pub notice: Option<DropNotice>,
    pub notice_state: NoticeState,
}

/// An item in flight. A reader's own messages are not sent. A rewind must count the dropped ones, so each item records
/// them.
#[derive(Clone, Copy, Debug)]
pub struct InFlight {
    /// The position of the message, or of the last one of a notice.
    last: u64,
    /// The number of the reader's own dropped messages between this item and the next one.
    own_dropped: u64,
}

/// Whether a notice is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeState {
    Unwritten,
    Written,
}

impl Interval {
    /// An interval that begins at a position.
    pub fn new(log: LogName, joined: u64) -> Self {
        let key = IntervalKey { log, joined };
        Self {
            key,
            next: joined,
            sent: joined,
            in_flight: VecDeque::new(),
            end: None,
            own_dropped: 0,
            own_dropped_first: 0,
            notice: None,
            notice_state: NoticeState::Unwritten,
        }
    }

    pub fn from_record(record: CursorRecord) -> Self {
        let CursorRecord { key, next, end, own_dropped, notice, .. } = record;
        let notice_state = NoticeState::Written;
        let interval = Self::new(key.log.clone(), key.joined);
        Self { next, sent: next, end, own_dropped, notice, notice_state, ..interval }
    }

    pub fn record(&self, reader: &Name) -> Record {
        Record::Cursor(CursorRecord {
            reader: reader.clone(),
            key: self.key.clone(),
            next: self.next,
            end: self.end,
            own_dropped: self.own_dropped_in_all(),
            notice: self.notice,
        })
    }

    /// Whether the reader still reads this log.
    pub fn reads(&self, log: &LogName) -> bool {
        self.end.is_none() && self.key.log == *log
    }

    /// The end of the interval in a log that ends at `log_end`.
    pub fn end_in(&self, log_end: u64) -> u64 {
        self.end.map_or(log_end, |end| end.min(log_end))
    }

    pub fn contains(&self, position: u64) -> bool {
        self.end.is_none_or(|end| position < end)
    }

    /// The number of the reader's own dropped messages from `next` on. The notice does not count them.
    fn own_dropped_in_all(&self) -> u64 {
        self.own_dropped + self.own_dropped_first + self.in_flight.iter().map(|item| item.own_dropped).sum::<u64>()
    }

    /// Counts a dropped message of the reader itself. Returns whether it counts: it is not behind the cursor.
    pub fn note_own_dropped(&mut self, position: u64) -> bool {
        if position < self.next || !self.contains(position) {
            return false;
        }
        let before = self.in_flight.partition_point(|item| item.last < position);
        let count = match before.checked_sub(1).and_then(|at| self.in_flight.get_mut(at)) {
            _ if position >= self.sent => &mut self.own_dropped,
            Some(item) => &mut item.own_dropped,
            None => &mut self.own_dropped_first,
        };
        *count += 1;
        true
    }

    /// Notes that an item up to the position `last` was sent.
    pub fn send(&mut self, last: u64) {
        self.sent = last + 1;
        self.in_flight.push_back(InFlight { last, own_dropped: 0 });
    }

    /// Creates the notice of the messages below `upto`, or returns the one that waits. `gaps` is the number of gaps
    /// among them.
    pub fn prepare_notice(&mut self, reader: &Name, upto: u64, gaps: u64, id: MessageId) -> NextNotice {
        if let Some(notice) = self.notice.filter(|notice| self.sent < notice.upto) {
            let is_written = self.notice_state == NoticeState::Written;
            return if is_written { NextNotice::Send(notice) } else { NextNotice::Wait };
        }
        if !self.in_flight.is_empty() {
            return NextNotice::Wait;
        }
        let others = gaps + std::mem::take(&mut self.own_dropped);
        let count = upto.saturating_sub(self.sent).saturating_sub(others);
        if count == 0 {
            self.sent = upto;
            return NextNotice::Nothing;
        }
        (self.notice, self.notice_state) = (Some(DropNotice { id, count, upto }), NoticeState::Unwritten);
        NextNotice::Write(self.record(reader))
    }

    /// Notes that the oldest item in flight was acknowledged. Returns the new position of the cursor.
    pub fn acknowledge(&mut self) -> Option<u64> {
        let item = self.in_flight.pop_front()?;
        if self.notice.is_some_and(|notice| notice.upto <= item.last + 1) {
            self.notice = None;
        }
        let is_last = self.in_flight.is_empty();
        if is_last {
            self.in_flight = VecDeque::new();
        }
        self.own_dropped_first = if is_last { 0 } else { item.own_dropped };
        Some(if is_last { self.sent } else { item.last + 1 })
    }

    /// Drops what is in flight. It is sent again.
    pub fn rewind(&mut self) {
        self.own_dropped = self.own_dropped_in_all();
        self.own_dropped_first = 0;
        self.in_flight.clear();
        self.sent = self.next;
    }
}
