//! Queue of events to write. Beyond its limit it drops and counts events that a reader can miss.

use std::collections::VecDeque;

use crate::proto::event::client::ClientEvent;
use crate::proto::event::server::ServerEvent;
use crate::proto::event::{Body, Event};

/// Approximate bytes of queued events beyond which events are dropped. From half of it on, no commands are read.
pub const LIMIT: usize = 8 * 1024 * 1024;

/// Queued events, and the numbers of dropped ones.
#[derive(Debug, Default)]
pub struct Backlog {
    events: VecDeque<(Event, u64)>,
    weight: usize,
    /// Dropped events that no warning has reported yet.
    dropped: u64,
    /// Dropped events that the machine counts. They count as displayed with the next event.
    dropped_counted: u64,
}

/// Events to write at once.
#[derive(Debug, Default, PartialEq)]
pub struct Batch {
    /// The events, in order.
    pub events: Vec<Event>,
    /// The number of the machine's events that count as displayed with these.
    pub counts: u64,
    /// The number of events that were dropped since the last warning.
    pub dropped: u64,
}

impl Backlog {
    /// Adds an event. `is_counted` is true if the machine waits until it is displayed.
    pub fn push(&mut self, event: Event, is_counted: bool) {
        let counts = u64::from(is_counted);
        if self.weight >= LIMIT && !is_needed(&event.body) {
            self.dropped = self.dropped.saturating_add(1);
            self.dropped_counted += counts;
            return;
        }
        self.weight += event.approximate_bytes();
        self.events.push_back((event, counts + std::mem::take(&mut self.dropped_counted)));
    }

    /// Removes up to `events_max` events. An empty batch means that the queue is empty.
    pub fn take(&mut self, events_max: usize) -> Batch {
        let count = self.events.len().min(events_max);
        let (events, counts): (Vec<Event>, Vec<u64>) = self.events.drain(..count).unzip();
        self.weight -= events.iter().map(Event::approximate_bytes).sum::<usize>();
        let mut batch = Batch { events, counts: counts.iter().sum(), dropped: 0 };
        if self.events.is_empty() {
            batch.counts += std::mem::take(&mut self.dropped_counted);
            batch.dropped = std::mem::take(&mut self.dropped);
        }
        batch
    }

    /// Removes all events if none of them has a text line. Returns the number of removed events that the machine
    /// counts.
    pub fn take_silent(&mut self) -> Option<u64> {
        let silent = self.dropped == 0 && self.events.iter().all(|(event, _)| event.line().is_none());
        silent.then(|| self.take(usize::MAX).counts)
    }

    /// Whether nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.dropped == 0
    }

    /// Whether the queue is so long that no more input should be read.
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.weight >= LIMIT / 2
    }
}

/// Whether an event must not be dropped. Their number is limited too: commands are not read while the backlog is long,
/// and the machine limits messages that are not displayed yet.
fn is_needed(body: &Body) -> bool {
    use ClientEvent as C;
    match body {
        Body::Client(event) => !matches!(event, C::Table { .. } | C::Retry { .. } | C::Warning { .. }),
        Body::Server(event) => matches!(event, ServerEvent::Exit { .. }),
        Body::Trace(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::event::reason::RequestWord;
    use crate::proto::time::Timestamp;

    fn event(body: ClientEvent) -> Event {
        Event { at: Timestamp::default(), cmd: None, group: None, body: Body::Client(body) }
    }

    fn retry() -> Event {
        event(ClientEvent::Retry { what: RequestWord::Reg, attempt: 1, of: 5 })
    }

    fn done() -> Event {
        event(ClientEvent::Done { ok: true, reason: None })
    }

    #[test]
    fn events_beyond_the_limit_are_dropped_and_counted() {
        let mut backlog = Backlog::default();
        let fit = LIMIT / retry().approximate_bytes();
        for _ in 0..fit + 5 {
            backlog.push(retry(), true);
        }
        backlog.push(done(), true);
        assert!(backlog.is_long());
        let first = backlog.take(fit);
        assert_eq!((first.events.len(), first.counts, first.dropped), (fit, fit as u64, 0));
        let last = backlog.take(10);
        assert_eq!(last, Batch { events: vec![done()], counts: 6, dropped: 5 });
        assert!(backlog.is_empty() && !backlog.is_long());
        assert_eq!(backlog.weight, 0);
        assert_eq!(backlog.take(10), Batch::default());
    }

    #[test]
    fn only_events_without_a_line_are_silent() {
        let mut backlog = Backlog::default();
        backlog.push(done(), true);
        backlog.push(retry(), true);
        assert_eq!(backlog.take_silent(), Some(2));
        backlog.push(done(), true);
        backlog.push(event(ClientEvent::Mail { count: 1 }), true);
        assert_eq!(backlog.take_silent(), None);
        assert_eq!(backlog.take(9).counts, 2);
    }

    #[test]
    fn every_counted_event_is_counted_once() {
        let mut backlog = Backlog::default();
        backlog.push(retry(), true);
        backlog.push(retry(), false);
        backlog.push(done(), true);
        assert_eq!(backlog.take(2).counts, 1);
        assert_eq!(backlog.take(2).counts, 1);
    }
}
