//! Congestion control of one link: NewReno in bytes, after RFC 9002 §7 and Appendix B. It only computes the window; the
//! sender keeps the bytes in flight below it.

use crate::proto::time::Instant;
use crate::proto::wire::MAX_DATAGRAM;

/// The datagram size in which the windows are counted.
pub const DATAGRAM: usize = MAX_DATAGRAM;
/// The window of a new link (RFC 9002 §7.2).
pub const INITIAL_WINDOW: usize = 10 * DATAGRAM;
/// The least window (RFC 9002 §7.2).
pub const MINIMUM_WINDOW: usize = 2 * DATAGRAM;

/// The congestion window of one link.
#[derive(Debug)]
pub struct NewReno {
    window: usize,
    /// At and above this window, growth is congestion avoidance. `None` before the first loss.
    slow_start_threshold: Option<usize>,
    /// When the current recovery period began. It ends with the acknowledgement of a datagram that was sent later.
    recovery_start: Option<Instant>,
    /// Bytes that were acknowledged in congestion avoidance since the window last grew.
    acked_bytes: usize,
    /// Window and threshold before the last reduction.
    before: (usize, Option<usize>),
    /// Datagrams that were declared lost since then, without those that arrived after all.
    losses: usize,
}

impl Default for NewReno {
    fn default() -> Self {
        Self {
            window: INITIAL_WINDOW,
            slow_start_threshold: None,
            recovery_start: None,
            acked_bytes: 0,
            before: (INITIAL_WINDOW, None),
            losses: 0,
        }
    }
}

impl NewReno {
    /// The most bytes in flight.
    #[must_use]
    pub fn window(&self) -> usize {
        self.window
    }

    /// Processes the acknowledgement of one datagram of `bytes` bytes. `is_limited` says whether the window kept the
    /// sender from sending more; otherwise the window does not grow (RFC 9002 §7.8).
    pub fn on_ack(&mut self, sent_at: Instant, bytes: usize, is_limited: bool) {
        if !is_limited || self.is_in_recovery(sent_at) {
            return;
        }
        if self.slow_start_threshold.is_none_or(|threshold| self.window < threshold) {
            self.window = self.window.saturating_add(bytes);
            return;
        }
        // One datagram for each acknowledged window (RFC 9002 §7.3.3). Counting bytes avoids that a rounded fraction
        // of a datagram stops the growth of a large window.
        self.acked_bytes = self.acked_bytes.saturating_add(bytes);
        if self.acked_bytes >= self.window {
            self.acked_bytes -= self.window;
            self.window = self.window.saturating_add(DATAGRAM);
        }
    }

    /// Processes the loss of `count` datagrams. `sent_at` is the time of transmission of the newest one. Halves the
    /// window, at most once in a recovery period (RFC 9002 §7.3.2).
    pub fn on_loss(&mut self, now: Instant, sent_at: Instant, count: usize) {
        if self.is_in_recovery(sent_at) {
            self.losses += count;
            return;
        }
        self.before = (self.window, self.slow_start_threshold);
        self.losses = count;
        self.recovery_start = Some(now);
        self.window = (self.window / 2).max(MINIMUM_WINDOW);
        self.slow_start_threshold = Some(self.window);
        self.acked_bytes = 0;
    }

    /// Notes that `count` datagrams that were declared lost arrived after all. Takes the last reduction back if that is
    /// true of all its losses: the path reorders datagrams, and is not congested.
    pub fn on_wrong_loss(&mut self, count: usize) {
        let is_all = self.losses > 0 && count >= self.losses;
        self.losses = self.losses.saturating_sub(count);
        if is_all {
            let (window, threshold) = self.before;
            self.window = self.window.max(window);
            self.slow_start_threshold = threshold;
            self.recovery_start = None;
        }
    }

    /// Reduces the window to its minimum and ends the recovery period (RFC 9002 §7.6.2). The window grows from there by
    /// slow start up to the threshold of the last loss.
    pub fn on_persistent_congestion(&mut self) {
        self.window = MINIMUM_WINDOW;
        self.recovery_start = None;
        self.acked_bytes = 0;
    }

    /// Whether a datagram was sent before the current recovery period or at its start. Its loss or acknowledgement
    /// says nothing about the reduced window.
    fn is_in_recovery(&self, sent_at: Instant) -> bool {
        self.recovery_start.is_some_and(|start| sent_at <= start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1_000)
    }

    /// Acknowledges datagrams of full size that were sent at `sent_at`.
    fn ack(reno: &mut NewReno, sent_at: Instant, datagrams: usize) {
        for _ in 0..datagrams {
            reno.on_ack(sent_at, DATAGRAM, true);
        }
    }

    #[test]
    fn a_reduction_is_taken_back_when_all_its_losses_prove_wrong() {
        let mut reno = NewReno::default();
        reno.on_loss(at(5), at(1), 2);
        assert_eq!(reno.window(), 6_000);
        reno.on_wrong_loss(1);
        assert_eq!(reno.window(), 6_000, "the other one is lost");
        reno.on_wrong_loss(1);
        assert_eq!(reno.window(), 12_000);
        reno.on_wrong_loss(1);
        assert_eq!(reno.window(), 12_000);
    }

    #[test]
    fn slow_start_doubles_the_window_each_round_trip() {
        let mut reno = NewReno::default();
        assert_eq!(reno.window(), 12_000);
        ack(&mut reno, at(0), 10);
        assert_eq!(reno.window(), 24_000);
        reno.on_ack(at(1), 100, true);
        assert_eq!(reno.window(), 24_100);
    }

    #[test]
    fn the_window_does_not_grow_while_it_does_not_limit_the_sender() {
        let mut reno = NewReno::default();
        reno.on_ack(at(0), DATAGRAM, false);
        assert_eq!(reno.window(), INITIAL_WINDOW);
        reno.on_loss(at(2), at(1), 1);
        for _ in 0..100 {
            reno.on_ack(at(3), DATAGRAM, false);
        }
        assert_eq!(reno.window(), INITIAL_WINDOW / 2);
    }

    #[test]
    fn a_loss_halves_the_window_once_in_a_recovery_period() {
        let mut reno = NewReno::default();
        reno.on_loss(at(10), at(5), 1);
        assert_eq!(reno.window(), 6_000);
        for sent_at in [at(6), at(9), at(10)] {
            reno.on_loss(at(12), sent_at, 1);
        }
        assert_eq!(reno.window(), 6_000);
        reno.on_loss(at(20), at(11), 1);
        assert_eq!(reno.window(), 3_000);
    }

    #[test]
    fn the_window_never_falls_below_its_minimum() {
        let mut reno = NewReno::default();
        for loss in 1..20 {
            reno.on_loss(at(loss * 10), at(loss * 10 - 1), 1);
        }
        assert_eq!(reno.window(), MINIMUM_WINDOW);
        reno.on_persistent_congestion();
        assert_eq!(reno.window(), MINIMUM_WINDOW);
    }

    #[test]
    fn congestion_avoidance_adds_one_datagram_for_each_acknowledged_window() {
        let mut reno = NewReno::default();
        reno.on_loss(at(10), at(5), 1);
        ack(&mut reno, at(11), 4);
        assert_eq!(reno.window(), 6_000);
        ack(&mut reno, at(11), 1);
        assert_eq!(reno.window(), 7_200);
        ack(&mut reno, at(12), 6);
        assert_eq!(reno.window(), 8_400);
    }

    #[test]
    fn congestion_avoidance_also_grows_a_window_above_the_square_of_a_datagram() {
        let mut reno = NewReno { window: 4 * DATAGRAM * DATAGRAM, ..NewReno::default() };
        reno.on_loss(at(10), at(5), 1);
        let before = reno.window();
        ack(&mut reno, at(11), before / DATAGRAM);
        assert_eq!(reno.window(), before + DATAGRAM);
    }

    #[test]
    fn acknowledgements_of_datagrams_from_before_the_recovery_period_do_not_grow_the_window() {
        let mut reno = NewReno::default();
        reno.on_loss(at(10), at(5), 1);
        ack(&mut reno, at(9), 100);
        ack(&mut reno, at(10), 100);
        assert_eq!(reno.window(), 6_000);
    }

    #[test]
    fn persistent_congestion_restarts_slow_start_up_to_the_old_threshold() {
        let mut reno = NewReno::default();
        reno.on_loss(at(10), at(5), 1);
        reno.on_persistent_congestion();
        assert_eq!(reno.window(), MINIMUM_WINDOW);
        // Datagrams sent before the former recovery period count again.
        ack(&mut reno, at(6), 3);
        assert_eq!(reno.window(), 6_000);
        ack(&mut reno, at(6), 5);
        assert_eq!(reno.window(), 7_200);
    }
}
