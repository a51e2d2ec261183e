//! The receiving half of a link: puts datagrams in order, reassembles texts, and decides which datagrams to
//! acknowledge.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::proto::text::Text;
use crate::proto::time::Instant;
use crate::proto::wire::{Frame, MAX_GOT};

/// The most datagram numbers from the expected one on that are buffered: twice the largest window of a sender.
pub const RECEIVE_WINDOW: u64 = 256;
/// A sender is asked to wait when its oldest taken frame has been unconfirmed for this time.
pub const SLOW: Duration = Duration::from_millis(50);

/// The receiver of one link. Datagram numbers count from 1.
#[derive(Debug)]
pub struct Receiver {
    /// The number of the datagram with the next frames.
    expected: u64,
    /// Buffered datagrams from `expected` on, with the frames that are not taken yet.
    arrived: BTreeMap<u64, VecDeque<Frame>>,
    /// Datagrams with taken but unconfirmed frames: the number of these frames, and when the first one was taken.
    unconfirmed: BTreeMap<u64, (usize, Instant)>,
    /// All datagrams up to this number are confirmed.
    acked: u64,
    limit: u64,
    /// The pieces of a text that arrived so far, at most [`Text::MAX`] bytes.
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
    /// Buffers a numbered datagram. Returns whether to acknowledge at once: when its number is below or above the
    /// expected one, or while the owner is blocked. Otherwise the datagram is acknowledged when its frames are
    /// confirmed. A datagram beyond the limit is dropped and not acknowledged.
    pub fn arrive(&mut self, now: Instant, n: u64, frames: Vec<Frame>) -> bool {
        if n < self.expected {
            self.wait_due |= n > self.acked && self.is_slow(now);
            return true;
        }
        if n - self.expected >= self.limit {
            return false;
        }
        let is_duplicate = self.arrived.contains_key(&n);
        if !is_duplicate {
            self.arrived.insert(n, frames.into());
        }
        self.wait_due |= self.blocked;
        self.blocked || n > self.expected
    }

    /// Whether the oldest taken frame has been unconfirmed for [`SLOW`].
    fn is_slow(&self, now: Instant) -> bool {
        self.unconfirmed.values().next().is_some_and(|(_, since)| now.since(*since) >= SLOW)
    }

    /// Drops the buffered frames of all datagrams below `low`, because the sender aborted them.
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

    /// Advances to the next frame for the owner: collects pieces of texts and skips datagrams without frames. Returns
    /// whether to acknowledge at once.
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

    /// The next frame and the number of its datagram. Call [`Receiver::prepare`] first.
    pub fn front(&self) -> Option<(u64, &Frame)> {
        Some((self.expected, self.arrived.get(&self.expected)?.front()?))
    }

    /// Takes the next frame. Call [`Receiver::prepare`] first.
    pub fn take(&mut self, now: Instant) -> Option<(u64, Frame)> {
        let n = self.expected;
        let frame = self.arrived.get_mut(&n)?.pop_front()?;
        self.unconfirmed.entry(n).or_insert((0, now)).0 += 1;
        Some((n, frame))
    }

    /// Confirms one taken frame of datagram `n`. Returns whether there are more datagrams to acknowledge than before.
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

    /// The fields `ack`, `got` and `wait` of a header.
    pub fn report(&mut self) -> (u64, Vec<u16>, bool) {
        let taken = (self.acked + 1..self.expected).take(MAX_GOT);
        let got = taken.chain(self.arrived.keys().copied()).take(MAX_GOT);
        let got = got.filter_map(|n| u16::try_from(n - self.acked).ok()).filter(|distance| *distance > 0).collect();
        (self.acked, got, std::mem::take(&mut self.wait_due))
    }

    /// Whether nothing is buffered, partly assembled or unconfirmed.
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

    fn next(receiver: &mut Receiver) -> Option<(u64, Frame)> {
        receiver.prepare();
        receiver.take(Instant::ZERO)
    }

    #[test]
    fn frames_are_returned_in_order_and_acknowledged_when_confirmed() {
        let mut receiver = Receiver::default();
        assert!(receiver.arrive(Instant::ZERO, 2, vec![Frame::Bye]), "out of order is answered");
        assert_eq!(next(&mut receiver), None);
        assert_eq!(receiver.report(), (0, vec![2], false));
        assert!(
            !receiver.arrive(Instant::ZERO, 1, vec![Frame::Bye, Frame::Unknown]),
            "the expected one waits for its confirmation"
        );
        for n in [1, 1, 2] {
            assert_eq!(next(&mut receiver).map(|(n, _)| n), Some(n));
        }
        assert_eq!(receiver.report().0, 0);
        assert!(!receiver.confirm(2));
        assert!(!receiver.confirm(1));
        assert!(receiver.confirm(1));
        assert_eq!(receiver.report(), (2, vec![], false));
        assert!(receiver.is_idle());
    }

    #[test]
    fn a_duplicate_of_a_datagram_that_is_unconfirmed_for_too_long_is_answered_with_wait() {
        let mut receiver = Receiver::default();
        receiver.arrive(Instant::ZERO, 1, vec![Frame::Bye]);
        let _ = next(&mut receiver);
        receiver.prepare();
        let slow = Instant::ZERO + SLOW;
        assert!(receiver.arrive(slow - Duration::from_micros(1), 1, vec![Frame::Bye]));
        assert!(!receiver.report().2, "it may still be displayed in time");
        assert!(receiver.arrive(slow, 1, vec![Frame::Bye]));
        assert!(receiver.report().2);
        receiver.confirm(1);
        assert!(receiver.arrive(slow, 1, vec![Frame::Bye]));
        assert_eq!(receiver.report(), (1, vec![], false));
    }

    #[test]
    fn a_text_in_pieces_is_reassembled_up_to_its_limit() {
        let mut receiver = Receiver::default();
        receiver.arrive(Instant::ZERO, 1, vec![part("one "), part("two ")]);
        assert_eq!(next(&mut receiver), None);
        receiver.arrive(Instant::ZERO, 2, vec![all("three")]);
        assert_eq!(next(&mut receiver), Some((2, all("one two three"))));
        receiver.confirm(2);
        receiver.arrive(Instant::ZERO, 3, vec![part(&"x".repeat(Text::MAX)), part("y"), all("z")]);
        assert_eq!(next(&mut receiver), Some((3, Frame::Unknown)), "too long to be a text");
        receiver.confirm(3);
        receiver.arrive(Instant::ZERO, 4, vec![all("whole")]);
        assert_eq!(next(&mut receiver), Some((4, all("whole"))));
        receiver.confirm(4);
        assert!(receiver.is_idle());
    }

    #[test]
    fn aborted_frames_are_never_returned() {
        let mut receiver = Receiver::default();
        receiver.arrive(Instant::ZERO, 1, vec![part("begun")]);
        receiver.prepare();
        receiver.arrive(Instant::ZERO, 3, vec![Frame::Bye]);
        receiver.advance_floor(5);
        receiver.arrive(Instant::ZERO, 3, vec![Frame::Bye]);
        assert_eq!(next(&mut receiver), None);
        receiver.arrive(Instant::ZERO, 5, vec![all("new")]);
        assert_eq!(next(&mut receiver), Some((5, all("new"))));
        receiver.confirm(5);
        assert_eq!(receiver.report(), (5, vec![], false));
    }

    #[test]
    fn the_number_of_buffered_datagrams_is_limited_to_the_window() {
        let mut receiver = Receiver::default();
        for n in 2..2000 {
            receiver.arrive(Instant::ZERO, n, vec![Frame::Bye]);
        }
        assert_eq!(receiver.waiting() as u64, RECEIVE_WINDOW - 1);
        let mut receiver = Receiver::default();
        receiver.limit(16);
        for n in 1..2000 {
            receiver.arrive(Instant::ZERO, n, vec![Frame::Bye]);
        }
        assert_eq!(receiver.waiting(), 16);
    }
}
