//! Tests of loss recovery: thresholds, probes, limits and hostile ranges.

use super::*;
use crate::proto::link::congestion::{INITIAL_WINDOW, MINIMUM_WINDOW};
use crate::proto::link::packets::WINDOW;

/// One content is under way.
const ONE: UnderWay = UnderWay { unreceived: 1, awaits_done: false };
/// One content more than a thin link has.
const MANY: UnderWay = UnderWay { unreceived: THIN + 1, awaits_done: false };
const MICROSECOND: Duration = Duration::from_micros(1);
/// The probe timeout after one round trip of 100 ms: 100 ms + 4 × 50 ms + 2 ms.
const SLOW_TIMEOUT: Duration = Duration::from_millis(302);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1_000)
}

/// The content of a datagram that is not a copy.
fn seq(pn: u64) -> u64 {
    pn + 100
}

fn send(recovery: &mut Recovery, now: Instant, pn: u64) {
    recovery.on_sent(now, pn, seq(pn), DATAGRAM);
}

fn ack(recovery: &mut Recovery, now: Instant, ranges: &[u64]) -> RecoveryOutcome {
    recovery.on_ack(now, ranges, Duration::ZERO)
}

/// The contents of datagrams that were received, and of those that were lost.
fn outcome(received: &[u64], lost: &[u64]) -> RecoveryOutcome {
    let seqs = |pns: &[u64]| pns.iter().map(|pn| seq(*pn)).collect();
    RecoveryOutcome { received: seqs(received), lost: seqs(lost) }
}

/// Datagram 1 was sent at 0 and acknowledged after this round trip.
fn measured(round_trip: Duration) -> Recovery {
    let mut recovery = Recovery::default();
    send(&mut recovery, at(0), 1);
    assert_eq!(ack(&mut recovery, at(0) + round_trip, &[1, 1]), outcome(&[1], &[]));
    recovery
}

/// The probe timeout of a datagram with a content that is sent now.
fn timeout(recovery: &mut Recovery, now: Instant, under_way: UnderWay, pn: u64) -> Duration {
    send(recovery, now, pn);
    recovery.deadline(under_way).unwrap().since(now)
}

/// Lets the probe timer expire `count` times, and sends datagrams from number 1 on. Returns the timeouts.
fn timeouts(recovery: &mut Recovery, under_way: UnderWay, count: u64) -> Vec<Duration> {
    let mut now = at(0);
    let mut expire = |pn| {
        let timeout = timeout(recovery, now, under_way, pn);
        let due = now + timeout;
        assert_eq!(recovery.on_timeout(due - MICROSECOND, under_way, pn + 1), (false, vec![]));
        assert_eq!(recovery.on_timeout(due, under_way, pn + 1), (true, vec![]));
        now = due;
        timeout
    };
    (1..=count).map(&mut expire).collect()
}

#[test]
fn a_datagram_is_lost_when_one_three_numbers_later_is_acknowledged() {
    let mut recovery = Recovery::default();
    (1..=5).for_each(|pn| send(&mut recovery, at(0), pn));
    assert_eq!(ack(&mut recovery, at(8), &[3, 1]), outcome(&[3], &[]));
    assert_eq!(ack(&mut recovery, at(8), &[4, 1]), outcome(&[4], &[1]));
    assert_eq!(ack(&mut recovery, at(8), &[5, 1]), outcome(&[5], &[2]));
}

#[test]
fn the_time_threshold_is_exact_for_a_timer() {
    let mut recovery = Recovery::default();
    (1..=3).for_each(|pn| send(&mut recovery, at(0), pn));
    assert_eq!(ack(&mut recovery, at(8), &[2, 1]), outcome(&[2], &[]));
    // 9/8 of the round trip. Datagram 3 is not overtaken.
    assert_eq!(recovery.deadline(ONE), Some(at(9)));
    assert_eq!(recovery.on_timeout(at(9) - MICROSECOND, ONE, 4), (false, vec![]));
    assert_eq!(recovery.on_timeout(at(9), ONE, 4), (false, vec![seq(1)]));
    assert_eq!(recovery.on_timeout(at(9), ONE, 4), (false, vec![]), "it is lost once");
}

#[test]
fn the_time_threshold_is_exact_for_an_acknowledgement() {
    for (sent_at, lost) in [(at(1), [1].as_slice()), (at(1) + MICROSECOND, &[])] {
        let mut recovery = Recovery::default();
        send(&mut recovery, sent_at, 1);
        send(&mut recovery, at(2), 2);
        assert_eq!(ack(&mut recovery, at(10), &[2, 1]), outcome(&[2], lost), "{sent_at:?}");
    }
}

#[test]
fn the_probe_timeout_doubles_on_a_link_that_is_not_thin() {
    let timeouts = timeouts(&mut Recovery::default(), MANY, 9);
    assert_eq!(timeouts, [20, 40, 80, 160, 320, 640, 1_280, 1_280, 1_280].map(ms));
}

#[test]
fn nothing_under_way_needs_no_probe() {
    let mut recovery = Recovery::default();
    assert_eq!(recovery.deadline(ONE), None, "nothing was sent");
    send(&mut recovery, at(0), 1);
    assert_eq!(recovery.deadline(UnderWay { unreceived: 0, awaits_done: false }), None);
    assert_eq!(recovery.deadline(UnderWay { unreceived: 0, awaits_done: true }), Some(at(20)));
    recovery.on_probe_sent(at(5));
    assert_eq!(recovery.deadline(ONE), Some(at(25)));
}

#[test]
fn a_thin_link_probes_every_40_ms_until_its_first_acknowledgement() {
    let thin = UnderWay { unreceived: THIN, awaits_done: false };
    let mut recovery = Recovery::default();
    assert_eq!(timeouts(&mut recovery, thin, 5), [20, 40, 40, 40, 40].map(ms));
    // 10 s after the first of these probe timers, the peer may be gone.
    assert_eq!(timeout(&mut recovery, at(20) + THIN_FOR - MICROSECOND, thin, 6), THIN_PROBE);
    assert_eq!(timeout(&mut recovery, at(20) + THIN_FOR, thin, 6), ms(640));
    ack(&mut recovery, at(60_100), &[6, 6]);
    assert!(timeout(&mut recovery, at(60_200), thin, 7) > THIN_PROBE);
}

#[test]
fn a_thin_link_probes_every_40_ms_for_10_s_after_a_loss() {
    let mut recovery = Recovery::default();
    (1..=2).for_each(|pn| send(&mut recovery, at(0), pn));
    ack(&mut recovery, at(100), &[2, 1]);
    assert_eq!(timeout(&mut measured(ms(100)), at(100), ONE, 3), SLOW_TIMEOUT, "no loss");
    let lost_at = recovery.deadline(ONE).unwrap();
    assert_eq!(recovery.on_timeout(lost_at, ONE, 3), (false, vec![seq(1)]));
    let end = lost_at + THIN_FOR;
    assert_eq!(timeout(&mut recovery, lost_at, ONE, 3), THIN_PROBE);
    assert_eq!(timeout(&mut recovery, lost_at, MANY, 4), SLOW_TIMEOUT);
    assert_eq!(timeout(&mut recovery, end - MICROSECOND, ONE, 5), THIN_PROBE);
    assert_eq!(timeout(&mut recovery, end, ONE, 6), SLOW_TIMEOUT);
}

#[test]
fn a_thin_link_probes_every_40_ms_for_10_s_after_a_probe_timer_and_doubles_then() {
    let mut recovery = measured(ms(100));
    assert_eq!(timeout(&mut recovery, at(200), ONE, 2), SLOW_TIMEOUT);
    let mut expired = at(200) + SLOW_TIMEOUT;
    let end = expired + THIN_FOR;
    for pn in 3..=4 {
        assert_eq!(recovery.on_timeout(expired, ONE, pn), (true, vec![]));
        assert_eq!(timeout(&mut recovery, expired, ONE, pn), THIN_PROBE);
        expired = expired + THIN_PROBE;
    }
    assert_eq!(timeout(&mut recovery, end - MICROSECOND, ONE, 5), THIN_PROBE);
    assert_eq!(timeout(&mut recovery, end, ONE, 6), SLOW_TIMEOUT * 4, "two timers expired");
}

#[test]
fn a_needless_probe_ends_the_exception_of_a_thin_link() {
    // The original arrives while its probe is under way; then both.
    for (ranges, is_needless) in [([2, 1], true), ([3, 2], false)] {
        let mut recovery = measured(ms(100));
        send(&mut recovery, at(200), 2);
        let expired = recovery.deadline(ONE).unwrap();
        assert_eq!(recovery.on_timeout(expired, ONE, 3), (true, vec![]));
        recovery.on_sent(expired, 3, seq(2), DATAGRAM);
        assert_eq!(recovery.deadline(ONE), Some(expired + THIN_PROBE));
        let outcome = ack(&mut recovery, expired + ms(100), &ranges);
        assert_eq!((outcome.received.first(), outcome.lost), (Some(&seq(2)), vec![]));
        let timeout = timeout(&mut recovery, expired + ms(200), ONE, 4);
        let long = recovery.rtt.probe_timeout();
        assert!(long > THIN_PROBE);
        assert_eq!(timeout, if is_needless { long } else { THIN_PROBE }, "{ranges:?}");
    }
}

#[test]
fn an_acknowledgement_and_a_done_content_end_the_doubling() {
    for is_ack in [true, false] {
        let mut recovery = Recovery::default();
        timeouts(&mut recovery, MANY, 3);
        if is_ack {
            let sent_at = recovery.last_sent.unwrap();
            assert_eq!(ack(&mut recovery, sent_at + ms(8), &[3, 3]), outcome(&[1, 2, 3], &[]));
        } else {
            recovery.on_done(&[1, 2, 3]);
        }
        let expected = recovery.rtt.probe_timeout();
        assert_eq!(timeout(&mut recovery, at(1_000), MANY, 4), expected);
    }
}

#[test]
fn bytes_in_flight_return_to_0() {
    let ends: [fn(&mut Recovery); 5] = [
        |recovery| assert_eq!(ack(recovery, at(8), &[6, 6]).received.len(), 6),
        // Three are lost by number and two by time.
        |recovery| {
            assert_eq!(ack(recovery, at(8), &[6, 1]).lost.len(), 3);
            assert_eq!(recovery.on_timeout(at(9), ONE, 7).1.len(), 2);
        },
        |recovery| recovery.on_done(&[1, 2, 3, 4, 5, 6]),
        |recovery| recovery.forget(&[1, 2, 3, 4, 5, 6, 6, 7]),
        Recovery::abort,
    ];
    for (case, end) in ends.into_iter().enumerate() {
        let mut recovery = Recovery::default();
        (1..=6).for_each(|pn| recovery.on_sent(at(0), pn, seq(pn), 100 + pn as usize));
        assert_eq!(recovery.bytes_in_flight, 621);
        end(&mut recovery);
        assert_eq!((recovery.bytes_in_flight, recovery.packets.len()), (0, 0), "case {case}");
        assert_eq!(recovery.loss_at, None, "case {case}");
    }
}

#[test]
fn the_window_limits_the_bytes_in_flight() {
    let mut recovery = Recovery::default();
    for pn in 1..=(INITIAL_WINDOW / DATAGRAM) as u64 {
        assert!(recovery.has_room(), "{pn}");
        send(&mut recovery, at(0), pn);
    }
    assert!(!recovery.has_room());
    recovery.forget(&[1]);
    assert!(recovery.has_room());
}

#[test]
fn the_tracked_datagrams_are_limited() {
    let count = TRACKED as u64;
    let mut recovery = Recovery::default();
    (1..=count).for_each(|pn| recovery.on_sent(at(0), pn, seq(pn), 100));
    assert_eq!((recovery.packets.len(), recovery.bytes_in_flight), (TRACKED, TRACKED * 100));
    recovery.on_sent(at(0), count + 1, seq(count + 1), 50);
    assert_eq!((recovery.packets.len(), recovery.bytes_in_flight), (TRACKED, TRACKED * 100 - 50));
    assert_eq!(ack(&mut recovery, at(8), &[1, 1]), outcome(&[], &[]), "the oldest is forgotten");
    assert_eq!(ack(&mut recovery, at(8), &[2, 1]), outcome(&[2], &[]));
}

#[test]
fn a_wrong_loss_counts_as_received_and_restores_the_window() {
    let mut recovery = Recovery::default();
    (1..=4).for_each(|pn| send(&mut recovery, at(0), pn));
    assert_eq!(ack(&mut recovery, at(100), &[4, 1]), outcome(&[4], &[1]));
    assert_eq!(recovery.congestion.window(), INITIAL_WINDOW / 2);
    assert_eq!(ack(&mut recovery, at(100), &[1, 1]), outcome(&[1], &[]));
    assert_eq!(recovery.congestion.window(), INITIAL_WINDOW);
    assert_eq!(ack(&mut recovery, at(100), &[1, 1]), outcome(&[], &[]), "it is received once");
    assert_eq!(ack(&mut recovery, at(100), &[3, 2]), outcome(&[2, 3], &[]));
    // No exception of a thin link remains. The second sample of 100 ms: 100 ms + 4 × 37.5 ms + 2 ms.
    assert_eq!(timeout(&mut recovery, at(101), ONE, 5), ms(252));
}

#[test]
fn after_a_wrong_loss_only_the_time_threshold_counts() {
    let mut recovery = Recovery::default();
    (1..=4).for_each(|pn| send(&mut recovery, at(0), pn));
    assert_eq!(ack(&mut recovery, at(8), &[4, 1]), outcome(&[4], &[1]));
    assert_eq!(ack(&mut recovery, at(8), &[3, 3]), outcome(&[2, 3, 1], &[]));
    (5..=20).for_each(|pn| send(&mut recovery, at(10), pn));
    assert_eq!(ack(&mut recovery, at(18), &[20, 1]), outcome(&[20], &[]));
    // 9/8 of the round trip of 8 ms, and an eighth more.
    let lost_at = at(10) + Duration::from_micros(10_125);
    assert_eq!(recovery.deadline(MANY), Some(lost_at));
    assert_eq!(recovery.on_timeout(lost_at - MICROSECOND, MANY, 21), (false, vec![]));
    assert_eq!(recovery.on_timeout(lost_at, MANY, 21), (false, (5..20).map(seq).collect()));
}

#[test]
fn wrong_losses_at_most_double_the_time_threshold() {
    let mut recovery = Recovery::default();
    for round in 0..12 {
        let (now, pn) = (at(round * 1_000), round * 2 + 1);
        send(&mut recovery, now, pn);
        send(&mut recovery, now, pn + 1);
        assert_eq!(ack(&mut recovery, now + ms(8), &[pn + 1, 1]), outcome(&[pn + 1], &[]));
        let lost_at = now + Duration::from_micros(9_000 + 1_125 * round.min(8));
        assert_eq!(recovery.deadline(ONE), Some(lost_at), "round {round}");
        assert_eq!(recovery.on_timeout(lost_at, ONE, pn + 2), (false, vec![seq(pn)]));
        assert_eq!(ack(&mut recovery, lost_at, &[pn, 1]), outcome(&[pn], &[]));
    }
}

#[test]
fn the_remembered_losses_are_limited() {
    let last = REMEMBERED as u64 + 1 + PACKET_THRESHOLD;
    let mut recovery = Recovery::default();
    (1..=last).for_each(|pn| send(&mut recovery, at(0), pn));
    assert_eq!(ack(&mut recovery, at(8), &[last, 1]).lost.len(), REMEMBERED + 1);
    assert_eq!(ack(&mut recovery, at(8), &[1, 1]), outcome(&[], &[]), "the oldest is forgotten");
    assert_eq!(ack(&mut recovery, at(8), &[2, 1]), outcome(&[2], &[]));
}

#[test]
fn persistent_congestion_sets_the_minimum_window() {
    // Three probe timeouts after two round trips of 8 ms: 3 × (8 ms + 4 × 3 ms + 2 ms).
    let duration = ms(66);
    for (apart, window) in [(duration, INITIAL_WINDOW / 2), (duration + MICROSECOND, MINIMUM_WINDOW)] {
        let mut recovery = measured(ms(8));
        send(&mut recovery, at(100), 2);
        send(&mut recovery, at(100) + apart, 3);
        send(&mut recovery, at(200), 4);
        assert_eq!(ack(&mut recovery, at(208), &[4, 1]), outcome(&[4], &[2, 3]));
        assert_eq!(recovery.congestion.window(), window, "{apart:?}");
    }
}

#[test]
fn an_acknowledgement_between_the_losses_prevents_persistent_congestion() {
    // The one between them is acknowledged together with the last one, or earlier, or it is lost too.
    for (early, ranges, window) in [
        (None, [5, 1, 1, 1].as_slice(), INITIAL_WINDOW / 2),
        (Some([3, 1]), &[5, 1], INITIAL_WINDOW / 2),
        (None, &[5, 1], MINIMUM_WINDOW),
    ] {
        let mut recovery = measured(ms(8));
        send(&mut recovery, at(100), 2);
        send(&mut recovery, at(101), 3);
        if let Some(early) = early {
            assert_eq!(ack(&mut recovery, at(101), &early), outcome(&[3], &[]));
        }
        send(&mut recovery, at(190), 4);
        send(&mut recovery, at(200), 5);
        assert_eq!(ack(&mut recovery, at(208), ranges).lost.first(), Some(&seq(2)));
        assert_eq!(recovery.packets.len(), 0);
        assert_eq!(recovery.congestion.window(), window, "{early:?} {ranges:?}");
    }
}

#[test]
fn hostile_ranges_do_nothing() {
    let hostile: [&[u64]; 12] = [
        &[],
        &[3],
        &[0, 1],
        &[0, 0],
        &[3, 0],
        &[3, 4],
        &[3, u64::MAX],
        &[u64::MAX, WINDOW + 1],
        &[u64::MAX, WINDOW, u64::MAX, 1],
        &[9, 1, 0, 6],
        &[9, 1, 9, 1],
        &[u64::MAX, 1, 1, u64::MAX],
    ];
    for ranges in hostile {
        let mut recovery = Recovery::default();
        (1..=3).for_each(|pn| send(&mut recovery, at(0), pn));
        let before = format!("{recovery:?}");
        assert_eq!(recovery.on_ack(at(8), ranges, Duration::MAX), outcome(&[], &[]), "{ranges:?}");
        assert_eq!(format!("{recovery:?}"), before, "{ranges:?}");
    }
}

#[test]
fn valid_ranges_before_a_hostile_one_count() {
    let mut recovery = Recovery::default();
    (1..=3).for_each(|pn| send(&mut recovery, at(0), pn));
    assert_eq!(ack(&mut recovery, at(8), &[3, 1, 0, 2]), outcome(&[3], &[]));
    assert_eq!(recovery.packets.len(), 2);
}
