//! Tests of the sender of a link: its limits, the floor, wait and probes.

use super::*;

/// Sends everything that can be sent now, as datagrams from the number `pn` on. Returns the next number.
fn send(sender: &mut Sender, now: Instant, mut pn: u64) -> u64 {
    while let Some(outgoing) = sender.next(now) {
        sender.on_sent(now, pn, outgoing.seq, MAX_DATAGRAM);
        pn += 1;
    }
    pn
}

#[test]
fn copies_of_a_content_that_was_received_are_not_in_flight() {
    // The second acknowledgement has no ranges, because the datagram with them was lost.
    let done = Header { done: 1, ..Header::default() };
    let acked = Header { ack: vec![1, 1], ..Header::default() };
    for (copies, header) in [(11, acked), (11, done.clone()), (REMEMBERED_COPIES as u64 + 20, done)] {
        let (mut sender, mut now, mut outcomes) = (Sender::new(1), Instant::ZERO, Vec::new());
        sender.push(Frame::Bye, None, None);
        let mut pn = send(&mut sender, now, 1);
        for _ in 1..copies {
            now = sender.deadline().unwrap();
            sender.expire(now, pn, &mut outcomes);
            pn = send(&mut sender, now, pn);
        }
        assert_eq!(pn, copies + 1);
        assert!(!sender.recovery.has_room());
        sender.receive(now, &header, &mut outcomes);
        assert!(sender.recovery.has_room());
        sender.push(Frame::Bye, None, None);
        assert_eq!(send(&mut sender, now, pn), copies + 2);
    }
}

const MICROSECOND: Duration = Duration::from_micros(1);

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1_000)
}

/// A frame that fills a content alone.
fn long() -> Frame {
    Frame::Part { text: "x".repeat(500) }
}

/// Processes a header. Returns the outcomes of messages.
fn receive(sender: &mut Sender, now: Instant, header: &Header) -> Vec<MessageOutcome> {
    let mut outcomes = Vec::new();
    sender.receive(now, header, &mut outcomes);
    outcomes
}

fn done(done: u64) -> Header {
    Header { done, ..Header::default() }
}

#[test]
fn the_contents_without_outcome_are_limited() {
    let mut sender = Sender::new(1);
    for _ in 0..SEND_WINDOW + 2 {
        sender.push(long(), None, None);
    }
    let mut sent = 0;
    while let Some(outgoing) = sender.next(at(0)) {
        sent += 1;
        assert_eq!((outgoing.seq, outgoing.low, outgoing.copy), (sent, 1, 1));
        sender.on_sent(at(0), sent, outgoing.seq, MAX_DATAGRAM);
        // Received and not done, so that the congestion window has room.
        receive(&mut sender, at(0), &Header { ack: vec![sent, 1], ..Header::default() });
    }
    assert_eq!(sent, SEND_WINDOW);
    assert!(sender.recovery.has_room() && sender.queued_bytes() > 0);
    receive(&mut sender, at(0), &done(1));
    assert_eq!(send(&mut sender, at(0), sent + 1), sent + 2, "one is done, one may follow");
}

#[test]
fn a_content_has_a_limited_number_of_frames() {
    let mut sender = Sender::new(1);
    for _ in 0..=MAX_FRAMES {
        sender.push(Frame::Bye, None, None);
    }
    assert_eq!(send(&mut sender, at(0), 1), 3);
    let frames = |seq| sender.body(seq).iter().filter(|byte| **byte == b'\n').count();
    assert_eq!((frames(1), frames(2)), (MAX_FRAMES, 1));
}

#[test]
fn an_abort_raises_the_floor_above_all_contents() {
    let mut sender = Sender::new(1);
    for tag in 1..=20 {
        sender.push(long(), Some(tag), None);
    }
    let pn = send(&mut sender, at(0), 1);
    assert_eq!((sender.floor(), pn), (1, 11), "the congestion window holds ten");
    assert_eq!(receive(&mut sender, at(0), &done(1)).len(), 1);
    assert_eq!(send(&mut sender, at(0), pn), 12);
    assert_eq!(sender.floor(), 2);
    assert_eq!(sender.abort(), (2..=20).collect::<Vec<_>>());
    // 11 contents were sent, and one number is skipped.
    assert_eq!((sender.floor(), sender.queued_bytes(), sender.is_idle()), (13, 0, true));
    assert!(sender.take_floor_notice(at(0)) && !sender.take_floor_notice(at(39)) && sender.take_floor_notice(at(40)));
    receive(&mut sender, at(41), &done(11));
    assert_eq!(sender.deadline(), Some(at(80)), "the peer has not skipped the last number");
    receive(&mut sender, at(42), &done(12));
    assert_eq!(sender.deadline(), None);
    let late = Header { ack: vec![11, 11], ..done(11) };
    assert_eq!(receive(&mut sender, at(1), &late), []);
    for tag in 21..=40 {
        sender.push(long(), Some(tag), None);
    }
    let outgoing = sender.next(at(1)).unwrap();
    assert_eq!((outgoing.seq, outgoing.low, outgoing.copy), (13, 13, 1));
    sender.on_sent(at(1), 12, 13, MAX_DATAGRAM);
    assert_eq!(send(&mut sender, at(1), 13), 22, "the aborted contents are not in flight");
}

#[test]
fn an_abort_of_a_message_without_content_also_raises_the_floor() {
    let mut sender = Sender::new(1);
    sender.push(Frame::Bye, Some(1), None);
    assert_eq!((sender.abort(), sender.floor()), (vec![1], 2));
    let copies = (0..100).filter(|number| sender.take_floor_notice(at(number * 40))).count();
    assert_eq!((copies, sender.deadline()), (FLOOR_NOTICES as usize, None));
}

#[test]
fn done_beyond_what_was_sent_is_ignored() {
    let mut sender = Sender::new(1);
    sender.push(long(), Some(1), None);
    sender.push(long(), Some(2), None);
    let _ = send(&mut sender, at(0), 1);
    for beyond in [3, u64::MAX] {
        assert_eq!(receive(&mut sender, at(8), &done(beyond)), []);
        assert_eq!((sender.floor(), sender.unsettled()), (1, 2));
    }
    let acked = [1, 2].map(|tag| MessageOutcome::Acked { tag, copies: 1, took: at(8).since(at(0)) });
    assert_eq!(receive(&mut sender, at(8), &done(2)), acked);
    assert!(sender.is_idle() && sender.deadline().is_none());
}

#[test]
fn wait_extends_timeouts_up_to_the_longest_wait() {
    let wait = Header { wait: true, ..Header::default() };
    let mut sender = Sender::new(1);
    let (timeout, mut outcomes) = (Duration::from_millis(500), Vec::new());
    sender.push(Frame::Bye, Some(1), Some(timeout));
    let _ = send(&mut sender, at(0), 1);
    receive(&mut sender, at(400), &wait);
    sender.expire(at(900) - MICROSECOND, 2, &mut outcomes);
    assert_eq!(outcomes, []);
    for ms in (800..40_000).step_by(400) {
        receive(&mut sender, at(ms), &wait);
    }
    let end = at(0) + LONGEST_WAIT;
    sender.expire(end - MICROSECOND, 2, &mut outcomes);
    assert_eq!(outcomes, []);
    sender.expire(end, 2, &mut outcomes);
    assert_eq!(outcomes, [MessageOutcome::TimedOut { tag: 1, since: end - timeout }]);
}

#[test]
fn wait_pauses_probes() {
    let mut sender = Sender::new(1);
    sender.push(Frame::Bye, None, None);
    let _ = send(&mut sender, at(0), 1);
    assert_eq!(sender.deadline(), Some(at(20)));
    receive(&mut sender, at(10), &Header { wait: true, ..Header::default() });
    let until = at(10) + WAIT_PROBE;
    assert_eq!(sender.deadline(), Some(until));
    assert!(!sender.expire(until - MICROSECOND, 2, &mut Vec::new()));
    assert_eq!(send(&mut sender, until - MICROSECOND, 2), 2, "no probe");
    assert!(!sender.expire(until, 2, &mut Vec::new()), "the probe has a content");
    assert_eq!(sender.next(until).map(|outgoing| (outgoing.seq, outgoing.copy)), Some((1, 2)));
}

#[test]
fn a_probe_without_content_is_due_while_a_content_is_received_and_not_done() {
    let mut sender = Sender::new(1);
    sender.push(Frame::Bye, None, None);
    let _ = send(&mut sender, at(0), 1);
    receive(&mut sender, at(8), &Header { ack: vec![1, 1], ..Header::default() });
    // 8 ms + 4 × 4 ms + 2 ms
    assert_eq!(sender.deadline(), Some(at(26)));
    assert!(!sender.expire(at(26) - MICROSECOND, 2, &mut Vec::new()));
    assert!(sender.expire(at(26), 2, &mut Vec::new()));
    sender.on_probe_sent(at(26));
    assert!(sender.next(at(26)).is_none(), "no content is sent again");
    assert_eq!(sender.deadline(), Some(at(26 + 40)));
    receive(&mut sender, at(34), &done(1));
    assert_eq!((sender.deadline(), sender.is_idle()), (None, true));
    assert!(!sender.expire(at(1_000), 3, &mut Vec::new()));
}
