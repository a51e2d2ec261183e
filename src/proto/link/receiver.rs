//! The receiving half of a link: puts datagrams in order, texts together, and knows what may be acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::proto::text::Text;
use crate::proto::time::Instant;
use crate::proto::wire::{Frame, MAX_GOT};

/// The most datagrams ahead of the next expected one that are kept. Twice the largest window of a sender.
pub const RECEIVE_WINDOW: u64 = 256;
/// How long it may take to show something before its sender is told to wait.
pub const SLOW: Duration = Duration::from_millis(50);

/// See the module. Numbers count from 1.
#[derive(Debug)]
pub struct Receiver {
    /// The number of the datagram whose frames are handed on next.
    expected: u64,
    /// Datagrams from `expected` on that came, with the frames not yet handed on.
    arrived: BTreeMap<u64, VecDeque<Frame>>,
    /// Datagrams of which frames were handed on and not confirmed: how many, and since when.
    unconfirmed: BTreeMap<u64, (usize, Instant)>,
    /// All up to here is confirmed.
    acked: u64,
    limit: u64,
    /// The pieces of a text that came so far, at most [`Text::MAX`] bytes.
    assembly: String,
    overlong: bool,
    blocked: bool,
    wait_due: bool,
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            expected: 1,
            arrived: BTreeMap::new(),
            unconfirmed: BTreeMap::new(),
            acked: 0,
            limit: RECEIVE_WINDOW,
            assembly: String::new(),
            overlong: false,
            blocked: false,
            wait_due: false,
        }
    }
}

impl Receiver {
    /// A numbered datagram came. Returns whether a head is due for an answer: it is when the datagram is old, doubled
    /// or out of order; when it is the expected one, confirming it will say so.
    pub fn arrive(&mut self, now: Instant, n: u64, frames: Vec<Frame>) -> bool {
        if n < self.expected {
            self.wait_due |= n > self.acked && self.is_slow(now);
            return true;
        }
        if n - self.expected >= self.limit {
            return false;
        }
        let doubled = self.arrived.contains_key(&n);
        if !doubled {
            self.arrived.insert(n, frames.into());
        }
        self.wait_due |= self.blocked;
        self.blocked || n > self.expected
    }

    /// Whether what was handed on first should have been shown by now.
    fn is_slow(&self, now: Instant) -> bool {
        self.unconfirmed.values().next().is_some_and(|(_, since)| now.since(*since) >= SLOW)
    }

    /// The sender sends nothing below `low` any more. What was not handed on by now never is.
    pub fn advance_floor(&mut self, low: u64) {
        if low <= self.expected {
            return;
        }
        self.arrived = self.arrived.split_off(&low);
        self.unconfirmed.clear();
        self.expected = low;
        self.acked = low - 1;
        self.assembly.clear();
        self.overlong = false;
    }

    /// Goes to the next frame that its owner has to see, through pieces of texts and empty datagrams. Returns
    /// whether a head is due.
    pub fn prepare(&mut self) -> bool {
        let before = self.acked;
        while let Some(frames) = self.arrived.get_mut(&self.expected) {
            match frames.front_mut() {
                None => {
                    self.arrived.remove(&self.expected);
                    self.expected += 1;
                    self.advance();
                }
                Some(Frame::Part { text }) => {
                    self.overlong |= self.assembly.len() + text.len() > Text::MAX;
                    if !self.overlong {
                        self.assembly.push_str(text);
                    }
                    frames.pop_front();
                }
                Some(frame) => {
                    if let Some(text) = frame.text_mut()
                        && (self.overlong || !self.assembly.is_empty())
                    {
                        let whole = std::mem::take(&mut self.assembly) + text;
                        *text = whole;
                        if std::mem::take(&mut self.overlong) {
                            *frame = Frame::Unknown;
                        }
                    }
                    break;
                }
            }
        }
        self.acked > before
    }

    /// The next frame, after [`Receiver::prepare`].
    pub fn front(&self) -> Option<(u64, &Frame)> {
        Some((self.expected, self.arrived.get(&self.expected)?.front()?))
    }

    /// Takes the next frame, after [`Receiver::prepare`].
    pub fn take(&mut self, now: Instant) -> Option<(u64, Frame)> {
        let n = self.expected;
        let frame = self.arrived.get_mut(&n)?.pop_front()?;
        self.unconfirmed.entry(n).or_insert((0, now)).0 += 1;
        Some((n, frame))
    }

    /// A frame of datagram `n` is shown or done. Returns whether more can be acknowledged than before.
    pub fn confirm(&mut self, n: u64) -> bool {
        let before = self.acked;
        if let Some((count, _)) = self.unconfirmed.get_mut(&n) {
            *count -= 1;
            if *count == 0 {
                self.unconfirmed.remove(&n);
            }
        }
        self.prepare();
        self.advance();
        self.acked > before
    }

    fn advance(&mut self) {
        let open = self.unconfirmed.keys().next().copied().unwrap_or(u64::MAX);
        self.acked = self.acked.max(open.min(self.expected) - 1);
    }

    /// See [`crate::proto::link::Link::block`].
    pub fn block(&mut self, blocked: bool) {
        self.blocked = blocked;
    }

    /// See [`crate::proto::link::Link::limit`].
    pub fn limit(&mut self, datagrams: u64) {
        self.limit = datagrams.min(RECEIVE_WINDOW);
    }

    /// See [`crate::proto::link::Link::waiting`].
    pub fn waiting(&self) -> usize {
        self.arrived.len()
    }

    /// What a head says: `ack`, `got` and `wait`.
    pub fn report(&mut self) -> (u64, Vec<u16>, bool) {
        let handed = (self.acked + 1..self.expected).take(MAX_GOT);
        let got = handed.chain(self.arrived.keys().copied()).take(MAX_GOT);
        let got = got.filter_map(|n| u16::try_from(n - self.acked).ok()).filter(|distance| *distance > 0).collect();
        (self.acked, got, std::mem::take(&mut self.wait_due))
    }

    /// Whether nothing is kept, half assembled or unconfirmed.
    pub fn is_idle(&self) -> bool {
        self.arrived.is_empty() && self.unconfirmed.is_empty() && self.assembly.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(text: &str) -> Frame {
        Frame::Part { text: text.to_owned() }
    }

    fn all(text: &str) -> Frame {
        let id = crate::proto::id::MessageId { incarnation: crate::proto::id::Incarnation(1), number: 1 };
        Frame::All { r: 1, id, at: 0, text: text.to_owned() }
    }

    fn next(inbound: &mut Receiver) -> Option<(u64, Frame)> {
        inbound.prepare();
        inbound.take(Instant::ZERO)
    }

    #[test]
    fn frames_come_out_in_order_and_are_acknowledged_when_confirmed() {
        let mut inbound = Receiver::default();
        assert!(inbound.arrive(Instant::ZERO, 2, vec![Frame::Bye]), "out of order is answered");
        assert_eq!(next(&mut inbound), None);
        assert_eq!(inbound.report(), (0, vec![2], false));
        assert!(
            !inbound.arrive(Instant::ZERO, 1, vec![Frame::Bye, Frame::Unknown]),
            "the expected one waits for its confirmation"
        );
        for n in [1, 1, 2] {
            assert_eq!(next(&mut inbound).map(|(n, _)| n), Some(n));
        }
        assert_eq!(inbound.report().0, 0);
        assert!(!inbound.confirm(2));
        assert!(!inbound.confirm(1));
        assert!(inbound.confirm(1));
        assert_eq!(inbound.report(), (2, vec![], false));
        assert!(inbound.is_idle());
    }

    #[test]
    fn a_doubled_datagram_that_is_not_confirmed_for_long_is_answered_by_wait() {
        let mut inbound = Receiver::default();
        inbound.arrive(Instant::ZERO, 1, vec![Frame::Bye]);
        let _ = next(&mut inbound);
        inbound.prepare();
        let slow = Instant::ZERO + SLOW;
        assert!(inbound.arrive(slow - Duration::from_micros(1), 1, vec![Frame::Bye]));
        assert!(!inbound.report().2, "it may still be shown in time");
        assert!(inbound.arrive(slow, 1, vec![Frame::Bye]));
        assert!(inbound.report().2);
        inbound.confirm(1);
        assert!(inbound.arrive(slow, 1, vec![Frame::Bye]));
        assert_eq!(inbound.report(), (1, vec![], false));
    }

    #[test]
    fn a_text_in_pieces_is_put_together_up_to_its_limit() {
        let mut inbound = Receiver::default();
        inbound.arrive(Instant::ZERO, 1, vec![part("one "), part("two ")]);
        assert_eq!(next(&mut inbound), None);
        inbound.arrive(Instant::ZERO, 2, vec![all("three")]);
        assert_eq!(next(&mut inbound), Some((2, all("one two three"))));
        inbound.confirm(2);
        inbound.arrive(Instant::ZERO, 3, vec![part(&"x".repeat(Text::MAX)), part("y"), all("z")]);
        assert_eq!(next(&mut inbound), Some((3, Frame::Unknown)), "too long to be a text");
        inbound.confirm(3);
        inbound.arrive(Instant::ZERO, 4, vec![all("whole")]);
        assert_eq!(next(&mut inbound), Some((4, all("whole"))));
        inbound.confirm(4);
        assert!(inbound.is_idle());
    }

    #[test]
    fn what_was_withdrawn_is_never_handed_on() {
        let mut inbound = Receiver::default();
        inbound.arrive(Instant::ZERO, 1, vec![part("begun")]);
        inbound.prepare();
        inbound.arrive(Instant::ZERO, 3, vec![Frame::Bye]);
        inbound.advance_floor(5);
        inbound.arrive(Instant::ZERO, 3, vec![Frame::Bye]);
        assert_eq!(next(&mut inbound), None);
        inbound.arrive(Instant::ZERO, 5, vec![all("new")]);
        assert_eq!(next(&mut inbound), Some((5, all("new"))));
        inbound.confirm(5);
        assert_eq!(inbound.report(), (5, vec![], false));
    }

    #[test]
    fn no_more_is_kept_than_the_window() {
        let mut inbound = Receiver::default();
        for n in 2..2000 {
            inbound.arrive(Instant::ZERO, n, vec![Frame::Bye]);
        }
        assert_eq!(inbound.waiting() as u64, RECEIVE_WINDOW - 1);
        let mut inbound = Receiver::default();
        inbound.limit(16);
        for n in 1..2000 {
            inbound.arrive(Instant::ZERO, n, vec![Frame::Bye]);
        }
        assert_eq!(inbound.waiting(), 16);
    }
}
