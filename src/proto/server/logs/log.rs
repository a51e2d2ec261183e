//! One log: messages by position, and how many readers are at each position.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::proto::config::Retention;
use crate::proto::name::Name;
use crate::proto::record::MailHeader;
use crate::proto::server::logs::lag::Lag;
use crate::proto::text::Text;
use crate::proto::time::Instant;

/// The last messages of a log among which the messages of one sender are counted.
const FILL_WINDOW: u64 = 5_000;
/// A sender with more messages among them fills the log.
const FILL_MESSAGES: usize = 64;

/// The most dropped gaps of a log that are remembered. A forgotten one counts as a message.
const DROPPED_GAPS: usize = 4_096;

/// A message of a log.
#[derive(Debug)]
pub struct LoggedMessage {
    /// The metadata.
    pub header: MailHeader,
    /// The text, while it is recent.
    pub(super) text: Option<Text>,
    /// The lines of its frame as a live message, once it was sent.
    pub(super) lines: Option<Arc<[Arc<str>]>>,
    /// The bytes of all earlier texts of the log.
    bytes_before: u64,
}

impl LoggedMessage {
    /// The text, if it is in memory.
    #[must_use]
    pub fn text(&self) -> Option<&Text> {
        self.text.as_ref()
    }

    /// The lines of its frame as a live message. `encode` runs once, and all readers share its result.
    pub fn live_lines(&mut self, encode: impl FnOnce() -> Arc<[Arc<str>]>) -> Arc<[Arc<str>]> {
        let lines = self.lines.get_or_insert_with(encode);
        Arc::clone(lines)
    }
}

/// A log.
#[derive(Debug, Default)]
pub struct MessageLog {
    /// The position of the first entry.
    base: u64,
    /// `None` is a gap: the message was refused by the disk, or its text is lost.
    entries: VecDeque<Option<LoggedMessage>>,
    /// The positions of gaps that were dropped before every reader passed them: they are no dropped messages.
    dropped_gaps: BTreeSet<u64>,
    /// The position of the next message to accept.
    reserved: u64,
    count: usize,
    bytes: u64,
    bytes_ever: u64,
    /// The number of cursors at each position.
    cursors: BTreeMap<u64, usize>,
    /// The positions of the messages of each sender.
    senders: BTreeMap<Name, BTreeSet<u64>>,
    pub lag: Lag,
}

impl MessageLog {
    pub fn starting_at(base: u64) -> Self {
        Self { base, reserved: base, ..Self::default() }
    }

    /// Adds a stored message. Missing positions before it become gaps.
    pub fn load(&mut self, header: MailHeader) {
        self.extend_to(header.position);
        self.reserved = header.position + 1;
        self.push(header, None);
    }

    /// Adds gaps up to a position.
    pub fn extend_to(&mut self, end: u64) {
        while self.end() < end {
            self.entries.push_back(None);
        }
        self.reserved = self.reserved.max(end);
    }

    pub fn base(&self) -> u64 {
        self.base
    }

    /// The position after the last written message.
    pub fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// The position after the last accepted message.
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn reserve(&mut self) -> u64 {
        self.reserved += 1;
        self.reserved - 1
    }

    pub fn append_gap(&mut self) {
        self.entries.push_back(None);
    }

    pub fn append(&mut self, header: MailHeader, text: Text) {
        self.push(header, Some(text));
    }

    fn push(&mut self, header: MailHeader, text: Option<Text>) {
        let position = self.end();
        self.senders.entry(header.from.clone()).or_default().insert(position);
        let bytes_before = self.bytes_ever;
        self.count += 1;
        self.bytes += header.text_bytes as u64;
        self.bytes_ever += header.text_bytes as u64;
        self.entries.push_back(Some(LoggedMessage { header, text, lines: None, bytes_before }));
    }

    /// Removes the first position.
    pub fn pop_first(&mut self) -> Option<(u64, Option<LoggedMessage>)> {
        let entry = self.entries.pop_front()?;
        self.base += 1;
        if let Some(entry) = &entry {
            self.forget(self.base - 1, &entry.header.from.clone(), entry.header.text_bytes);
        }
        Some((self.base - 1, entry))
    }

    /// Remembers a gap that was dropped.
    pub fn drop_gap(&mut self, position: u64) {
        self.dropped_gaps.insert(position);
        if self.dropped_gaps.len() > DROPPED_GAPS {
            self.dropped_gaps.pop_first();
        }
    }

    /// The number of dropped gaps from `from` on and below `end`.
    pub fn dropped_gaps(&self, from: u64, end: u64) -> u64 {
        self.dropped_gaps.range(from..end.max(from)).count() as u64
    }

    fn forget(&mut self, position: u64, from: &Name, bytes: usize) {
        self.count -= 1;
        self.bytes -= bytes as u64;
        if let Some(positions) = self.senders.get_mut(from) {
            positions.remove(&position);
            if positions.is_empty() {
                self.senders.remove(from);
            }
        }
    }

    fn index(&self, position: u64) -> Option<usize> {
        usize::try_from(position.checked_sub(self.base)?).ok()
    }

    pub fn get_mut(&mut self, position: u64) -> Option<&mut LoggedMessage> {
        let index = self.index(position)?;
        self.entries.get_mut(index)?.as_mut()
    }

    /// Replaces a message by a gap.
    pub fn lose(&mut self, position: u64) -> Option<LoggedMessage> {
        let index = self.index(position)?;
        let entry = self.entries.get_mut(index)?.take()?;
        self.forget(position, &entry.header.from, entry.header.text_bytes);
        Some(entry)
    }

    /// Drops a text, and the lines that contain it, from memory.
    pub fn forget_text(&mut self, position: u64) -> Option<Text> {
        let entry = self.get_mut(position)?;
        entry.lines = None;
        entry.text.take()
    }

    /// The first message.
    pub fn first(&self) -> Option<&LoggedMessage> {
        self.entries.iter().flatten().next()
    }

    pub fn first_seq(&self) -> Option<u64> {
        self.first().map(|entry| entry.header.seq)
    }

    /// The first message from `position` on and below `end` that `reader` did not send itself.
    pub fn next(&self, position: u64, end: u64, reader: &Name) -> Option<&LoggedMessage> {
        let (first, last) = (self.index(position)?, self.index(end)?);
        self.entries.range(first..last).flatten().find(|entry| entry.header.from != *reader)
    }

    /// The number of messages from `next` on and below `end` that `reader` did not send itself.
    pub fn count_for(&self, reader: &Name, next: u64, end: u64) -> usize {
        let (Some(first), Some(last)) = (self.index(next.max(self.base)), self.index(end)) else { return 0 };
        if first >= last {
            return 0;
        }
        let gaps = if self.count == self.entries.len() {
            0
        } else {
            self.entries.range(first..last).filter(|entry| entry.is_none()).count()
        };
        let own = self.senders.get(reader).map_or(0, |own| own.range(next..end).count());
        last - first - gaps - own
    }

    /// Whether a sender sent so many of the last messages that it should wait for slow readers.
    pub fn fills(&self, sender: &Name) -> bool {
        let from = self.end().saturating_sub(FILL_WINDOW);
        self.senders.get(sender).is_some_and(|own| own.range(from..).take(FILL_MESSAGES + 1).count() > FILL_MESSAGES)
    }

    pub fn add_cursor(&mut self, position: u64) {
        *self.cursors.entry(position).or_default() += 1;
    }

    pub fn remove_cursor(&mut self, position: u64) {
        if let Some(count) = self.cursors.get_mut(&position) {
            *count -= 1;
            if *count == 0 {
                self.cursors.remove(&position);
            }
        }
    }

    /// Whether no reader needs the first position.
    pub fn is_first_read(&self) -> bool {
        !self.entries.is_empty() && self.cursors.keys().next().is_none_or(|lowest| *lowest > self.base)
    }

    /// Notes the readers that lack more than half of the retention. Returns whether some do.
    pub fn check_lag(&mut self, now: Instant, retention: &Retention) -> bool {
        while let Some(lowest) = self.lag.lowest_ahead()
            && self.lacks_more(lowest, retention, 2)
        {
            self.lag.begin(now);
        }
        self.lag.has_lagging()
    }

    /// Notes the new position of a reader.
    pub fn move_lag(&mut self, reader: &Name, next: u64, retention: &Retention) {
        let (over_half, over_quarter) = (self.lacks_more(next, retention, 2), self.lacks_more(next, retention, 4));
        self.lag.move_to(reader, next, over_half, over_quarter);
    }

    /// Whether a reader at this position lacks more than a part of the retention.
    fn lacks_more(&self, next: u64, retention: &Retention, part: u64) -> bool {
        let first =
            self.index(next).and_then(|index| self.entries.range(index.min(self.entries.len())..).flatten().next());
        let bytes = first.map_or(0, |entry| self.bytes_ever - entry.bytes_before);
        self.end().saturating_sub(next) > retention.messages as u64 / part || bytes > retention.bytes / part
    }
}
