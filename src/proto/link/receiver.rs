//! The receiving half of a link: puts contents in order, reassembles texts, and decides which contents are done.
//!
//! A content is buffered as the bytes that arrived. Its frames are parsed when it is the next one.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::proto::link::free_if_empty;
use crate::proto::link::sender::SEND_WINDOW;
use crate::proto::text::Text;
use crate::proto::time::Instant;
use crate::proto::wire::{Frame, parse_frames};

/// The most contents from the expected one on that are buffered.
pub const RECEIVE_WINDOW: u64 = SEND_WINDOW;
/// The most bytes of contents that one link buffers. The expected content is buffered in any case.
pub const LINK_BUFFER: usize = 256 * 1024;
/// A sender is asked to wait when its oldest taken frame has been unconfirmed for this time.
pub const SLOW: Duration = Duration::from_millis(50);

/// The receiver of one link. Contents are numbered from 1.
#[derive(Debug)]
pub struct Receiver {
    /// The number of the content with the next frames.
    expected: u64,
    /// The frames of the expected content that are not taken yet, once it was parsed.
    current: Option<VecDeque<Frame>>,
    /// Buffered contents from `expected` on. The expected one is removed when it is parsed.
    arrived: BTreeMap<u64, Box<[u8]>>,
    buffered: usize,
    /// Contents with taken but unconfirmed frames: the number of these frames, and when the first one was taken.
    unconfirmed: BTreeMap<u64, (usize, Instant)>,
    /// All contents up to this number are done.
    done: u64,
    /// The pieces of a text that arrived so far, at most [`Text::MAX`] bytes.
    assembly: String,
    overlong: bool,
    blocked: bool,
    wait_due: bool,
}

/// The next step for a content that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// It is the expected one. Acknowledge it with its `done`, or a little later.
    Expected,
    /// It was buffered before its turn, it arrived before, or the owner is blocked. Acknowledge it at once.
    Other,
    /// No room. It was dropped: do not acknowledge it.
    Dropped,
}

impl Default for Receiver {
    fn default() -> Self {
        Self {
            expected: 1,
            current: None,
            arrived: BTreeMap::new(),
            buffered: 0,
            unconfirmed: BTreeMap::new(),
            done: 0,
            assembly: String::new(),
            overlong: false,
            blocked: false,
            wait_due: false,
        }
    }
}

impl Receiver {
    /// Buffers a content. `room` is the number of bytes that all links may still buffer.
    pub fn arrive(&mut self, now: Instant, seq: u64, body: &[u8], room: usize) -> Arrival {
        let is_current = seq == self.expected && self.current.is_some();
        if seq < self.expected || is_current || self.arrived.contains_key(&seq) {
            self.question(now);
            return Arrival::Other;
        }
        let is_expected = seq == self.expected;
        let has_room = body.len() <= room.min(LINK_BUFFER.saturating_sub(self.buffered));
        if seq - self.expected >= RECEIVE_WINDOW || !(is_expected || has_room) {
            return Arrival::Dropped;
        }
        self.buffered += body.len();
        self.arrived.insert(seq, body.into());
        self.wait_due |= self.blocked;
        if is_expected && !self.blocked { Arrival::Expected } else { Arrival::Other }
    }

    /// Notes that the sender asks about contents that were received before. The answer is "wait" while the owner is
    /// blocked or the oldest taken frame has been unconfirmed for [`SLOW`].
    pub fn question(&mut self, now: Instant) {
        let oldest = self.unconfirmed.values().next();
        let is_slow = oldest.is_some_and(|(_, since)| now.since(*since) >= SLOW);
        self.wait_due |= is_slow || (self.blocked && self.buffered > 0);
    }

    /// Drops the buffered frames of all contents below `low`, because the sender aborted them.
    pub fn advance_floor(&mut self, low: u64) {
        if low <= self.expected {
            return;
        }
        let later = self.arrived.split_off(&low);
        self.clear();
        self.buffered = later.values().map(|body| body.len()).sum();
        self.arrived = later;
        self.expected = low;
        self.done = low - 1;
    }

    /// Drops all buffered frames, because the owner takes no more.
    pub fn clear(&mut self) {
        self.current = None;
        self.arrived.clear();
        self.buffered = 0;
        self.unconfirmed.clear();
        self.assembly = String::new();
        self.overlong = false;
    }

    /// Advances to the next frame for the owner: parses the expected content, collects pieces of texts and skips
    /// contents without frames. Returns whether more contents are done than before.
    pub fn prepare(&mut self) -> bool {
        let before = self.done;
        loop {
            if self.current.is_none() {
                let Some(body) = self.arrived.remove(&self.expected) else { break };
                self.buffered -= body.len();
                self.current = Some(parse_frames(&body).into());
            }
            let Some(frames) = &mut self.current else { break };
            match frames.front_mut() {
                None => {
                    self.current = None;
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
        self.done > before
    }

    /// The next frame and the number of its content. Call [`Receiver::prepare`] first.
    pub fn front(&self) -> Option<(u64, &Frame)> {
        Some((self.expected, self.current.as_ref()?.front()?))
    }

    /// Takes the next frame. Call [`Receiver::prepare`] first.
    pub fn take(&mut self, now: Instant) -> Option<(u64, Frame)> {
        let seq = self.expected;
        let frame = self.current.as_mut()?.pop_front()?;
        self.unconfirmed.entry(seq).or_insert((0, now)).0 += 1;
        Some((seq, frame))
    }

    /// Confirms one taken frame of content `seq`. Returns whether more contents are done than before.
    pub fn confirm(&mut self, seq: u64) -> bool {
        let before = self.done;
        if let Some((count, _)) = self.unconfirmed.get_mut(&seq) {
            *count -= 1;
            if *count == 0 {
                self.unconfirmed.remove(&seq);
            }
        }
        self.prepare();
        self.advance();
        self.done > before
    }

    fn advance(&mut self) {
        let open = self.unconfirmed.keys().next().copied().unwrap_or(u64::MAX);
        self.done = self.done.max(open.min(self.expected) - 1);
    }

    /// See [`crate::proto::link::Link::block`].
    pub fn block(&mut self, blocked: bool) {
        self.blocked = blocked;
    }

    /// See [`crate::proto::link::Link::has_frames`].
    pub fn has_frames(&self) -> bool {
        self.current.is_some() || !self.arrived.is_empty()
    }

    /// The bytes of buffered contents and of the pieces of a text.
    pub fn buffered(&self) -> usize {
        self.buffered + self.assembly.len()
    }

    /// All contents up to this number are done.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Whether to ask the sender to wait. The question is answered once.
    pub fn take_wait(&mut self) -> bool {
        std::mem::take(&mut self.wait_due)
    }

    /// Frees the memory of empty maps.
    pub fn free_unused(&mut self) {
        free_if_empty(&mut self.arrived);
        free_if_empty(&mut self.unconfirmed);
        self.assembly.shrink_to(0);
    }

    /// Whether nothing is buffered, partly assembled or unconfirmed.
    pub fn is_idle(&self) -> bool {
        !self.has_frames() && self.unconfirmed.is_empty() && self.assembly.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ZERO;

    fn body(frames: impl IntoIterator<Item = Frame>) -> Vec<u8> {
        frames.into_iter().flat_map(Frame::lines).flat_map(|line| (line + "\n").into_bytes()).collect()
    }

    fn arrive(receiver: &mut Receiver, seq: u64, frames: impl IntoIterator<Item = Frame>) -> Arrival {
        receiver.arrive(NOW, seq, &body(frames), usize::MAX)
    }

    fn part(text: &str) -> Frame {
        Frame::Part { text: text.to_owned() }
    }

    fn all(text: &str) -> Frame {
        let id = crate::proto::id::MessageId { incarnation: crate::proto::id::Incarnation(1), number: 1 };
        Frame::All { r: 1, id, at: 0, text: text.to_owned() }
    }

    fn next(receiver: &mut Receiver) -> Option<(u64, Frame)> {
        receiver.prepare();
        receiver.take(NOW)
    }

    #[test]
    fn frames_are_returned_in_order_and_done_when_confirmed() {
        let mut receiver = Receiver::default();
        assert_eq!(arrive(&mut receiver, 2, [Frame::Bye]), Arrival::Other);
        assert_eq!(next(&mut receiver), None);
        assert_eq!(arrive(&mut receiver, 1, [Frame::Bye, Frame::Unknown]), Arrival::Expected);
        for seq in [1, 1, 2] {
            assert_eq!(next(&mut receiver).map(|(seq, _)| seq), Some(seq));
        }
        assert_eq!(receiver.done(), 0);
        assert!(!receiver.confirm(2));
        assert!(!receiver.confirm(1));
        assert!(receiver.confirm(1));
        assert_eq!(receiver.done(), 2);
        assert_eq!(arrive(&mut receiver, 2, [Frame::Bye]), Arrival::Other);
        assert!(receiver.is_idle());
    }

    #[test]
    fn a_question_about_a_content_that_is_unconfirmed_for_too_long_is_answered_with_wait() {
        let mut receiver = Receiver::default();
        arrive(&mut receiver, 1, [Frame::Bye]);
        let _ = next(&mut receiver);
        receiver.prepare();
        let slow = NOW + SLOW;
        receiver.question(slow - Duration::from_micros(1));
        assert!(!receiver.take_wait(), "it may still be displayed in time");
        receiver.question(slow);
        assert!(receiver.take_wait() && !receiver.take_wait());
        receiver.confirm(1);
        receiver.question(slow);
        assert!(!receiver.take_wait());
    }

    #[test]
    fn a_text_in_pieces_is_reassembled_up_to_its_limit() {
        let mut receiver = Receiver::default();
        arrive(&mut receiver, 1, [part("one "), part("two ")]);
        assert_eq!(next(&mut receiver), None);
        arrive(&mut receiver, 2, [all("three")]);
        assert_eq!(next(&mut receiver), Some((2, all("one two three"))));
        receiver.confirm(2);
        arrive(&mut receiver, 3, [part(&"x".repeat(Text::MAX)), part("y"), all("z")]);
        assert_eq!(next(&mut receiver), Some((3, Frame::Unknown)), "too long to be a text");
        receiver.confirm(3);
        arrive(&mut receiver, 4, [all("whole")]);
        assert_eq!(next(&mut receiver), Some((4, all("whole"))));
        receiver.confirm(4);
        assert!(receiver.is_idle());
    }

    #[test]
    fn aborted_frames_are_never_returned() {
        let mut receiver = Receiver::default();
        arrive(&mut receiver, 1, [part("begun")]);
        receiver.prepare();
        arrive(&mut receiver, 3, [Frame::Bye]);
        receiver.advance_floor(5);
        assert_eq!((arrive(&mut receiver, 3, [Frame::Bye]), receiver.buffered()), (Arrival::Other, 0));
        assert_eq!(next(&mut receiver), None);
        arrive(&mut receiver, 5, [all("new")]);
        assert_eq!(next(&mut receiver), Some((5, all("new"))));
        receiver.confirm(5);
        assert_eq!(receiver.done(), 5);
    }

    #[test]
    fn buffered_contents_are_limited_in_number_and_bytes() {
        let mut receiver = Receiver::default();
        for seq in 2..2_000 {
            receiver.arrive(NOW, seq, b"x", usize::MAX);
        }
        assert_eq!(receiver.buffered() as u64, RECEIVE_WINDOW - 1);
        let mut receiver = Receiver::default();
        for seq in 2..2_000 {
            receiver.arrive(NOW, seq, &[b'x'; 1_000], usize::MAX);
        }
        assert!((LINK_BUFFER - 1_000..=LINK_BUFFER).contains(&receiver.buffered()));
        assert_eq!(receiver.arrive(NOW, 1, &[b'x'; 1_000], 0), Arrival::Expected, "otherwise nothing could go on");
        let mut receiver = Receiver::default();
        assert_eq!(receiver.arrive(NOW, 2, b"xx", 1), Arrival::Dropped);
        assert_eq!(receiver.arrive(NOW, 2, b"xx", 2), Arrival::Other);
    }
}
