//! The log of one actor's output: its lines and events, the cursor, the last mark, and the matches that were taken.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::VecDeque;

use serde_json::Value;

use crate::proto::event::Event;
use crate::proto::time::Instant;
use crate::script::pattern::normalize::normal;
use crate::script::pattern::similarity::likeness;
use crate::script::pattern::{Captures, Matcher};

/// The output of one actor.
///
/// Beyond [`Log::MAX_ENTRIES`] or [`Log::MAX_BYTES`] the oldest entries are dropped and can no longer match.
/// [`Log::lost`] counts the dropped entries that the cursor had not passed.
#[derive(Clone, Debug, Default)]
pub struct Log {
    me: String,
    entries: VecDeque<LogEntry>,
    /// The number of dropped entries, which is the number of the first kept entry.
    dropped: u64,
    lost: u64,
    bytes: usize,
    cursor: LogPosition,
    marked: LogPosition,
    /// The last entry is a line without an end.
    open: bool,
}

/// One piece of output: a line of text, or an event with its display lines.
#[derive(Clone, Debug)]
pub struct LogEntry {
    at: Instant,
    /// The lines of an event of this process are made only when a search needs them.
    lines: OnceCell<Vec<LogLine>>,
    object: LoggedEvent,
    taken: bool,
    weight: usize,
}

#[derive(Clone, Debug)]
struct LogLine {
    text: String,
    taken: bool,
}

impl LogLine {
    fn new(text: String) -> Self {
        Self { text, taken: false }
    }
}

#[derive(Clone, Debug)]
enum LoggedEvent {
    None,
    Json(Value),
    /// Serialized only when a JSON pattern needs it. The number is the event's `seq`.
    Event(Box<Event>, u64),
}

/// A position between lines: the number of an entry, counted from the first ever, and the index of a line in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct LogPosition {
    entry: u64,
    line: usize,
}

/// A match of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct LogMatch {
    /// The time at which the output arrived.
    pub at: Instant,
    /// The line, or the whole event as JSON for a JSON pattern.
    pub text: String,
    pub captures: Captures,
    pub(crate) place: LogPosition,
}

/// The line or event that is most like the pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Nearest {
    /// The time at which it arrived.
    pub at: Instant,
    /// The line, or the event as JSON.
    pub text: String,
    /// From 0 to 1, and more than [`Log::LEAST_LIKENESS`].
    pub likeness: f64,
}

/// A line that was taken while it had no end, and was extended afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtendedAfterMatch {
    /// The text that was taken.
    pub taken: String,
    /// The present text of the line.
    pub now: String,
}

impl LogEntry {
    /// The time at which it arrived.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.at
    }

    /// The lines that text patterns see.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.log_lines().iter().map(|line| line.text.as_str())
    }

    /// Whether the entry or one of its lines was taken.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        // Without lines none of them was taken.
        self.taken || self.lines.get().is_some_and(|lines| lines.iter().any(|line| line.taken))
    }

    fn log_lines(&self) -> &[LogLine] {
        self.lines.get_or_init(|| match &self.object {
            LoggedEvent::Event(event, _) => event.line().as_deref().map(lines).unwrap_or_default(),
            LoggedEvent::None | LoggedEvent::Json(_) => Vec::new(),
        })
    }
}

impl Log {
    /// The most entries that are kept.
    pub const MAX_ENTRIES: usize = 65_536;
    /// The most bytes that are kept, roughly.
    pub const MAX_BYTES: usize = 64 << 20;
    /// A line must be more like the pattern than this to count as near.
    pub const LEAST_LIKENESS: f64 = 0.3;
    /// The number of latest entries that are searched for the nearest line.
    const NEAR_ENTRIES: usize = 4096;

    /// An empty log. `me` is the name of the actor in the JSON of its events.
    #[must_use]
    pub fn new(me: &str) -> Self {
        Self { me: me.to_owned(), ..Self::default() }
    }

    /// Adds a finished line of text output, without its end. It replaces the line of an earlier [`Log::partial`], so
    /// pass it from its beginning.
    pub fn line(&mut self, at: Instant, raw: &str) -> Option<ExtendedAfterMatch> {
        let extended = self.partial(at, raw);
        self.open = false;
        extended
    }

    /// Adds a line that has no end yet, from its beginning. It counts as a line until more of it arrives. Then the
    /// whole line is searched again. If it was already taken, the extension is returned.
    pub fn partial(&mut self, at: Instant, raw: &str) -> Option<ExtendedAfterMatch> {
        let now = normal(raw);
        let marked = self.marked == self.end();
        if self.open
            && let Some(last) = self.entries.back_mut()
        {
            let line = last.lines.get_mut()?.first_mut()?;
            let now = now.unwrap_or_default();
            if line.text == now {
                return None;
            }
            if marked {
                // A mark hides the shown part. The extended line came after the mark, so it is a new entry.
                self.push(at, vec![LogLine::new(now)].into(), LoggedEvent::None, raw.len());
                self.open = true;
                return None;
            }
            self.bytes = self.bytes.saturating_sub(line.text.len()) + now.len();
            last.weight = last.weight.saturating_sub(line.text.len()) + now.len();
            let before = std::mem::replace(&mut line.text, now);
            return line.taken.then(|| ExtendedAfterMatch { taken: before, now: line.text.clone() });
        }
        if let Some(text) = now {
            let weight = text.len();
            self.push(at, vec![LogLine::new(text)].into(), LoggedEvent::None, weight);
            self.open = true;
        }
        None
    }

    /// Adds a JSON event. Text patterns see its `line`.
    pub fn json(&mut self, at: Instant, object: Value) {
        let lines = object.get("line").and_then(Value::as_str).map(lines).unwrap_or_default().into();
        let weight = weight(&object);
        self.push(at, lines, LoggedEvent::Json(object), weight);
    }

    /// Adds an event of this process, with its number in the output.
    pub fn event(&mut self, at: Instant, seq: u64, event: &Event) {
        let object = LoggedEvent::Event(Box::new(event.clone()), seq);
        self.push(at, OnceCell::new(), object, event.approximate_bytes());
    }

    /// Hides all output so far from searches.
    pub fn mark(&mut self) {
        self.cursor = self.end();
        self.marked = self.cursor;
    }

    /// The kept entries, in order.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &LogEntry> {
        self.entries.iter()
    }

    /// The number of entries that were dropped for space before the cursor had passed them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The line or event since the last mark that was not taken and is most like the pattern. The earliest wins among
    /// equals. Only the latest entries are searched.
    #[must_use]
    pub fn nearest(&self, matcher: &Matcher) -> Option<Nearest> {
        let mut best: Option<Nearest> = None;
        let far = self.entries.len().saturating_sub(Self::NEAR_ENTRIES);
        let since = self.marked.max(LogPosition { entry: self.dropped + far as u64, line: 0 });
        for (entry, text) in self.since(since).flat_map(|(_, entry)| self.untaken(entry, matcher)) {
            let likeness = if matcher.is_json() {
                self.value(entry).map_or(0.0, |value| matcher.share(&value))
            } else {
                likeness(matcher.sketch(), &text)
            };
            if likeness > best.as_ref().map_or(Self::LEAST_LIKENESS, |best| best.likeness) {
                best = Some(Nearest { at: entry.at, text: text.into_owned(), likeness });
            }
        }
        best
    }

    /// The time of the latest taken output that the pattern matches, if any. A further match is a duplicate.
    #[must_use]
    pub fn taken(&self, matcher: &Matcher) -> Option<Instant> {
        let matches = |entry: &&LogEntry| {
            let line = |line: &LogLine| line.taken && matcher.line(&line.text).is_some();
            entry.log_lines().iter().any(line) || entry.taken && self.matches(entry, matcher).is_some()
        };
        self.entries.iter().rev().find(matches).map(|entry| entry.at)
    }

    pub(crate) fn cursor(&self) -> LogPosition {
        self.cursor
    }

    pub(crate) fn marked(&self) -> LogPosition {
        self.marked
    }

    /// The position at which a search of everything so far continues. A line without an end is searched again.
    pub(crate) fn seen(&self) -> LogPosition {
        let end = self.end();
        if self.open { LogPosition { entry: end.entry - 1, line: 0 } } else { end }
    }

    /// The first match at or after a position that was not taken.
    pub(crate) fn find(&self, matcher: &Matcher, from: LogPosition) -> Option<LogMatch> {
        self.since(from).find_map(|(number, entry)| {
            let begin = if number == from.entry { from.line } else { 0 };
            if matcher.is_json() {
                let captures = (begin == 0 && !entry.is_taken()).then(|| self.matches(entry, matcher))??;
                let text = self.value(entry)?.to_string();
                // The position after the whole event.
                let place = LogPosition { entry: number + 1, line: 0 };
                return Some(LogMatch { at: entry.at, text, captures, place });
            }
            let takable = |line: &LogLine| !line.taken && !entry.taken && !line.text.is_empty();
            let mut open = entry.log_lines().iter().enumerate().skip(begin).filter(|(_, line)| takable(line));
            open.find_map(|(n, line)| {
                let captures = matcher.line(&line.text)?;
                let place = LogPosition { entry: number, line: n + 1 };
                Some(LogMatch { at: entry.at, text: line.text.clone(), captures, place })
            })
        })
    }

    /// Takes a match. With `move_cursor` the cursor moves behind it.
    pub(crate) fn take(&mut self, found: &LogMatch, move_cursor: bool) {
        let place = found.place;
        let (number, line) =
            if place.line == 0 { (place.entry - 1, None) } else { (place.entry, Some(place.line - 1)) };
        let index = number.checked_sub(self.dropped).and_then(|index| usize::try_from(index).ok());
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
            match line.and_then(|line| entry.lines.get_mut()?.get_mut(line)) {
                Some(line) => line.taken = true,
                None => entry.taken = true,
            }
        }
        if move_cursor {
            self.cursor = self.cursor.max(place);
        }
    }

    fn end(&self) -> LogPosition {
        LogPosition { entry: self.dropped + self.entries.len() as u64, line: 0 }
    }

    fn since(&self, place: LogPosition) -> impl Iterator<Item = (u64, &LogEntry)> {
        let skip = usize::try_from(place.entry.saturating_sub(self.dropped)).unwrap_or(usize::MAX);
        (self.dropped..).zip(&self.entries).skip(skip)
    }

    fn untaken<'a>(&self, entry: &'a LogEntry, matcher: &Matcher) -> Vec<(&'a LogEntry, Cow<'a, str>)> {
        if matcher.is_json() {
            let value = self.value(entry).filter(|_| !entry.is_taken());
            return value.map(|value| (entry, value.to_string().into())).into_iter().collect();
        }
        let lines = entry.log_lines().iter().filter(|line| !line.taken && !entry.taken && !line.text.is_empty());
        lines.map(|line| (entry, line.text.as_str().into())).collect()
    }

    fn value<'a>(&self, entry: &'a LogEntry) -> Option<Cow<'a, Value>> {
        match &entry.object {
            LoggedEvent::None => None,
            LoggedEvent::Json(value) => Some(Cow::Borrowed(value)),
            LoggedEvent::Event(event, seq) => serde_json::from_str(&event.json(*seq, &self.me)).ok().map(Cow::Owned),
        }
    }

    fn matches(&self, entry: &LogEntry, matcher: &Matcher) -> Option<Captures> {
        matcher.event(self.value(entry)?.as_ref())
    }

    fn push(&mut self, at: Instant, lines: OnceCell<Vec<LogLine>>, object: LoggedEvent, weight: usize) {
        /// Approximate size of an entry without its text.
        const OVERHEAD: usize = 256;
        let weight = weight + OVERHEAD;
        self.entries.push_back(LogEntry { at, lines, object, taken: false, weight });
        self.open = false;
        self.bytes += weight;
        while self.entries.len() > Self::MAX_ENTRIES || self.bytes > Self::MAX_BYTES && self.entries.len() > 1 {
            let Some(first) = self.entries.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(first.weight);
            let has_passed = match self.cursor.entry.cmp(&self.dropped) {
                Ordering::Less => false,
                Ordering::Equal => self.cursor.line >= first.log_lines().len().max(1),
                Ordering::Greater => true,
            };
            self.lost += u64::from(!has_passed);
            self.dropped += 1;
        }
    }
}

/// The normalized lines of an event.
fn lines(text: &str) -> Vec<LogLine> {
    text.split('\n').filter_map(normal).map(LogLine::new).collect()
}

/// The approximate size of a value in bytes.
fn weight(value: &Value) -> usize {
    const NODE: usize = 32;
    NODE + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(weight).sum(),
        Value::Object(members) => members.iter().map(|(key, value)| key.len() + NODE + weight(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}
