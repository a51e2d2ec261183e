//! Tests of a link whose datagrams are dropped after they were authenticated.

use super::*;
use crate::proto::id::MessageId;
use crate::proto::keys::Identity;
use crate::proto::wire::parse;

const X: Incarnation = Incarnation(1);
const Y: Incarnation = Incarnation(2);
const NOW: Instant = Instant::ZERO;

fn addr() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 9))
}

fn link(me: Incarnation, own: u8, peer: Incarnation, other: u8) -> Link {
    let secret = Identity::from_secret([own; 32]).agree(Identity::from_secret([other; 32]).public()).unwrap();
    Link::new(me, peer, addr(), LinkKeys::new(&secret, me, peer), 1)
}

fn receive(link: &mut Link, sent: &Transmission, room: usize) -> Result<Vec<MessageOutcome>, DropReason> {
    let mut outcomes = Vec::new();
    link.receive(NOW, addr(), &parse(&sent.bytes).unwrap(), room, true, &mut outcomes).map(|_| outcomes)
}

#[test]
fn a_content_without_room_is_dropped_with_its_acknowledgement_and_its_retransmission_brings_both() {
    let (mut x, mut y) = (link(X, 1, Y, 2), link(Y, 2, X, 1));
    x.push(Frame::Bye, Some(7), None);
    receive(&mut y, &x.transmit(NOW).unwrap(), usize::MAX).unwrap();
    let (seq, _) = y.take(NOW).unwrap();
    y.confirm(seq);
    let long = Frame::Part { text: "x".repeat(700) };
    y.push(long.clone(), None, None);
    y.push(long, None, None);
    let [first, second] = [(); 2].map(|()| y.transmit(NOW).unwrap());
    assert_eq!(receive(&mut x, &second, 0), Err(DropReason::BufferFull));
    assert_eq!(x.unsettled(), 1, "the outcome would be lost");
    let acked = receive(&mut x, &first, 0).unwrap();
    assert!(matches!(acked[..], [MessageOutcome::Acked { tag: 7, .. }]), "{acked:?}");
    assert_eq!(receive(&mut x, &second, usize::MAX), Ok(vec![]), "its number was not received");
    assert_eq!(receive(&mut x, &second, usize::MAX), Err(DropReason::Replayed));
}

#[test]
fn a_shared_message_is_sent_like_one_that_is_encoded_for_the_link() {
    let frame = Frame::Msg { id: MessageId { incarnation: X, number: 1 }, at: 0, after: None, text: "x".repeat(2_000) };
    let lines: Vec<Arc<str>> = frame.clone().lines().into_iter().map(Arc::from).collect();
    assert!(lines.len() > 1);
    let (mut own, mut shared) = (link(X, 1, Y, 2), link(X, 1, Y, 2));
    own.push(frame, Some(7), None);
    shared.push_shared(&lines, Some(7), None);
    assert_eq!((own.queued_bytes(), own.unsettled()), (shared.queued_bytes(), shared.unsettled()));
    loop {
        let [own, shared] = [&mut own, &mut shared].map(|link| link.transmit(NOW).map(|sent| sent.bytes));
        assert_eq!(own, shared);
        if own.is_none() {
            break;
        }
    }
}
