//! The numbers of the datagrams that arrived on one direction of a link: the replay window, and the source of the
//! acknowledgement ranges on the wire.

use std::ops::RangeInclusive;

/// How many numbers are remembered, up to the highest one received. Lower numbers count as received.
pub const WINDOW: u64 = 1_024;

const WORD_BITS: u64 = u64::BITS as u64;
const WORDS: usize = (WINDOW / WORD_BITS) as usize;

/// The packet numbers of one direction that were received: a replay window after RFC 4303 §3.4.3. Numbers start at 1.
#[derive(Debug, Default)]
pub struct ReceivedPackets {
    highest: u64,
    /// A ring of one bit for each number of the window, at the number modulo [`WINDOW`].
    received: [u64; WORDS],
}

impl ReceivedPackets {
    /// Whether a packet number was not received and is not below the window. 0 is never new.
    #[must_use]
    pub fn is_new(&self, pn: u64) -> bool {
        pn > self.highest || (self.is_in_window(pn) && self.received[word(pn)] & mask(pn) == 0)
    }

    /// Adds a packet number. Numbers below the window change nothing.
    pub fn insert(&mut self, pn: u64) {
        if pn > self.highest {
            if pn - self.highest >= WINDOW {
                self.received.fill(0);
            } else {
                for missing in self.highest + 1..pn {
                    self.received[word(missing)] &= !mask(missing);
                }
            }
            self.highest = pn;
        }
        if self.is_in_window(pn) {
            self.received[word(pn)] |= mask(pn);
        }
    }

    /// The highest number that was received; 0 for none.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// The newest ranges of received numbers, at most `max`, as `[largest, count, gap, count, …]`: each gap is the
    /// number of missing ones between two ranges. Empty if nothing was received.
    #[must_use]
    pub fn ranges(&self, max: usize) -> Vec<u64> {
        let mut ranges = Vec::new();
        // The first pair starts with the largest number in place of a gap.
        let (mut pn, mut gap) = (self.highest, self.highest);
        for _ in 0..max {
            let count = self.run(pn, true);
            if count == 0 {
                break;
            }
            ranges.extend([gap, count]);
            pn -= count;
            gap = self.run(pn, false);
            pn -= gap;
        }
        ranges
    }

    /// How many numbers of the window from `pn` downwards were received, or not received, without interruption.
    fn run(&self, pn: u64, received: bool) -> u64 {
        let mut at = pn;
        while self.is_in_window(at) {
            let bits = self.received[word(at)];
            let bits = if received { bits } else { !bits };
            let position = at % WORD_BITS;
            // Shifted so that the bit of `at` is the highest one.
            let run = u64::from((bits << (WORD_BITS - 1 - position)).leading_ones());
            at -= run.min(at);
            if run <= position {
                break;
            }
        }
        // The last word may also have bits of numbers beyond the end of the window.
        pn - at.max(self.below_window()).min(pn)
    }

    fn is_in_window(&self, pn: u64) -> bool {
        pn > self.below_window() && pn <= self.highest
    }

    /// The highest number below the window.
    fn below_window(&self) -> u64 {
        self.highest.saturating_sub(WINDOW)
    }
}

fn word(pn: u64) -> usize {
    (pn % WINDOW / WORD_BITS) as usize
}

fn mask(pn: u64) -> u64 {
    1 << (pn % WORD_BITS)
}

/// The ranges in a list of the form that [`ReceivedPackets::ranges`] returns. Stops at the first invalid range: one
/// that reaches below 1, whose count is not 1 to [`WINDOW`], or that follows a gap of 0.
pub fn decode(ranges: &[u64]) -> impl Iterator<Item = RangeInclusive<u64>> {
    let mut next_largest = ranges.first().copied();
    let mut rest = ranges.get(1..).unwrap_or_default().iter().copied();
    std::iter::from_fn(move || {
        let largest = next_largest.take()?;
        let count = rest.next().filter(|count| (1..=WINDOW).contains(count))?;
        let smallest = largest.checked_sub(count - 1).filter(|smallest| *smallest > 0)?;
        next_largest = rest.next().filter(|gap| *gap > 0).and_then(|gap| (smallest - 1).checked_sub(gap));
        Some(smallest..=largest)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// More ranges than a window can hold.
    const ALL: usize = WINDOW as usize;

    fn received(numbers: impl IntoIterator<Item = u64>) -> ReceivedPackets {
        let mut packets = ReceivedPackets::default();
        numbers.into_iter().for_each(|pn| packets.insert(pn));
        packets
    }

    fn decoded(ranges: &[u64]) -> Vec<RangeInclusive<u64>> {
        decode(ranges).collect()
    }

    #[test]
    fn nothing_received_has_no_ranges() {
        let packets = ReceivedPackets::default();
        assert_eq!((packets.highest(), packets.ranges(ALL)), (0, vec![]));
        assert!(packets.is_new(1) && packets.is_new(u64::MAX) && !packets.is_new(0));
    }

    #[test]
    fn the_ranges_are_those_of_the_document() {
        let packets = received((105..=110).chain([100, 101]));
        assert_eq!(packets.ranges(8), [110, 6, 3, 2]);
        assert_eq!(packets.ranges(1), [110, 6]);
        assert_eq!(packets.ranges(0), [0; 0]);
        assert_eq!(decoded(&[110, 6, 3, 2]), [105..=110, 100..=101]);
    }

    #[test]
    fn a_number_is_new_once_and_0_never() {
        let mut packets = ReceivedPackets::default();
        for pn in [9, 8, 1, 3, 64, 63, 65, 1_023, 1_024] {
            assert!(packets.is_new(pn), "{pn}");
            packets.insert(pn);
            assert!(!packets.is_new(pn), "{pn}");
        }
        packets.insert(0);
        assert!(!packets.is_new(0));
        assert_eq!(packets.ranges(ALL), [1_024, 2, 957, 3, 53, 2, 4, 1, 1, 1]);
    }

    #[test]
    fn the_window_has_1024_numbers_up_to_the_highest() {
        let mut packets = received([10, 10 + WINDOW - 1]);
        assert!(packets.is_new(11) && !packets.is_new(10) && !packets.is_new(9));
        assert_eq!(packets.ranges(ALL), [10 + WINDOW - 1, 1, WINDOW - 2, 1]);
        packets.insert(10 + WINDOW);
        assert!(!packets.is_new(10));
        assert_eq!(packets.ranges(ALL), [10 + WINDOW, 2]);
        packets.insert(10);
        assert_eq!(packets.ranges(ALL), [10 + WINDOW, 2], "numbers below the window change nothing");
    }

    #[test]
    fn a_full_window_is_one_range() {
        assert_eq!(received(1..=5_000).ranges(ALL), [5_000, WINDOW]);
        assert_eq!(received(1..=WINDOW).ranges(ALL), [WINDOW, WINDOW]);
        let every_second = received((1..=5_000).step_by(2)).ranges(ALL);
        assert_eq!((every_second.len() as u64, every_second[1..].iter().all(|n| *n == 1)), (WINDOW, true));
    }

    #[test]
    fn a_jump_forgets_all_lower_numbers() {
        for jump in [WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW, u64::MAX - 200] {
            let mut packets = received(1..=200);
            packets.insert(200 + jump);
            assert!((201..200 + jump).rev().take(ALL - 1).all(|pn| packets.is_new(pn)), "{jump}");
            let rest = if jump < WINDOW { vec![200 + jump, 1, jump - 1, WINDOW - jump] } else { vec![200 + jump, 1] };
            assert_eq!(packets.ranges(ALL), rest);
        }
    }

    #[test]
    fn decoding_stops_at_the_first_invalid_range() {
        const MAX: u64 = u64::MAX;
        for (ranges, valid) in [
            (&[][..], &[][..]),
            (&[5], &[]),
            (&[0, 1], &[]),
            (&[5, 0], &[]),
            (&[5, 6], &[]),
            (&[5, MAX], &[]),
            (&[MAX, WINDOW + 1], &[]),
            (&[MAX, WINDOW], &[MAX - WINDOW + 1..=MAX]),
            (&[MAX, 1, MAX - 2, 1], &[MAX..=MAX, 1..=1]),
            (&[MAX, 1, MAX - 1, 1], &[MAX..=MAX]),
            (&[MAX, 1, MAX, 1], &[MAX..=MAX]),
            (&[5, 5], &[1..=5]),
            (&[5, 5, 1, 1], &[1..=5]),
            (&[9, 2, 0, 3], &[8..=9]),
            (&[9, 2, 3], &[8..=9]),
            (&[9, 2, 3, 0, 1, 1], &[8..=9]),
            (&[9, 2, 3, 4, 1], &[8..=9, 1..=4]),
        ] {
            assert_eq!(decoded(ranges), valid, "{ranges:?}");
        }
    }

    proptest! {
        #[test]
        fn ranges_and_decode_agree_with_a_set(
            start in prop_oneof![Just(0), any::<u64>().prop_map(|start| start / 2)],
            steps in prop::collection::vec((0u64..4, 0u64..150, 0u64..1_200), 0..300),
            max in 0usize..40,
        ) {
            let (mut packets, mut model) = (ReceivedPackets::default(), BTreeSet::new());
            let mut position = start;
            for (kind, small, large) in steps {
                // Mostly in order; sometimes behind, ahead, or far ahead.
                let pn = match kind {
                    0 => position.saturating_sub(small),
                    1 if large % 16 == 0 => position + large,
                    1 => position + small,
                    _ => position + 1,
                };
                position = position.max(pn);
                let highest = model.last().copied().unwrap_or(0);
                let is_new = pn > 0 && pn + WINDOW > highest && !model.contains(&pn);
                prop_assert_eq!(packets.is_new(pn), is_new, "{}", pn);
                packets.insert(pn);
                if is_new {
                    model.insert(pn);
                }
            }
            let highest = model.last().copied().unwrap_or(0);
            model.retain(|pn| pn + WINDOW > highest);
            prop_assert_eq!(packets.highest(), highest);
            let all: Vec<u64> = decode(&packets.ranges(ALL)).flat_map(Iterator::rev).collect();
            prop_assert_eq!(&all, &model.into_iter().rev().collect::<Vec<_>>());
            let ranges = packets.ranges(max);
            prop_assert_eq!(&ranges[..], &packets.ranges(ALL)[..ranges.len()]);
            prop_assert_eq!(ranges.len(), packets.ranges(ALL).len().min(max * 2));
            prop_assert_eq!(decode(&ranges).count() * 2, ranges.len());
        }

        #[test]
        fn decoding_any_numbers_yields_falling_ranges_above_0(
            ranges in prop::collection::vec(prop_oneof![0u64..5, 0u64..2_000, any::<u64>()], 0..70),
        ) {
            let mut above = None;
            for range in decode(&ranges) {
                prop_assert!(*range.start() >= 1 && range.start() <= range.end());
                prop_assert!(range.end() - range.start() < WINDOW);
                prop_assert!(above.is_none_or(|above| range.end() + 1 < above));
                above = Some(*range.start());
            }
        }
    }
}
