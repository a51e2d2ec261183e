//! Tests of sessions: their limits and the timers of their silence.

use super::*;

const X: Incarnation = Incarnation(1);

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

/// One session, opened at 0.
fn sessions() -> Sessions {
    let mut sessions = Sessions::default();
    open(&mut sessions, X);
    sessions
}

fn open(sessions: &mut Sessions, client: Incarnation) {
    sessions.open(at(0), client, SocketAddr::from(([10, 0, 0, 2], 7000)), PublicKey([7; 32]));
}

fn register(sessions: &mut Sessions, now: Instant) {
    sessions.get_mut(X).unwrap().set_name(Name::new("x").unwrap());
    sessions.welcome(now, X, 0);
    sessions.get_mut(X).unwrap().go_online();
}

#[test]
fn a_session_without_a_name_ends_exactly_at_its_time_limit() {
    let mut sessions = sessions();
    assert_eq!(sessions.deadline(), Some(at(10)));
    assert_eq!(sessions.expire_finished(Instant::from_micros(9_999_999)), []);
    assert_eq!(sessions.expire_finished(at(10)), [X]);
    open(&mut sessions, X);
    register(&mut sessions, at(1));
    assert_eq!(sessions.expire_finished(at(10)), []);
}

#[test]
fn the_oldest_session_without_a_name_makes_room() {
    let mut sessions = Sessions::default();
    for client in 1..UNREGISTERED as u128 {
        open(&mut sessions, Incarnation(client));
    }
    assert_eq!(sessions.make_room(), None);
    open(&mut sessions, Incarnation(UNREGISTERED as u128));
    assert_eq!(sessions.make_room(), Some(X));
}

#[test]
fn a_client_that_left_without_a_name_makes_room_too() {
    let mut sessions = Sessions::default();
    (1..=UNREGISTERED as u128).for_each(|client| open(&mut sessions, Incarnation(client)));
    sessions.leave(at(1), X);
    assert_eq!(sessions.make_room(), Some(X));
}

#[test]
fn an_answer_to_a_client_that_de_registered_is_not_sent_for_ever() {
    let mut sessions = sessions();
    register(&mut sessions, at(0));
    sessions.get_mut(X).unwrap().deregister();
    assert_eq!(sessions.take_silence_timers(at(50)), [X]);
    assert_eq!(sessions.silence_timeout(at(50), X), Silence::StopSending);
    sessions.hear(at(60), X);
    assert_eq!(sessions.take_silence_timers(at(110)), [X]);
    assert_eq!(sessions.silence_timeout(at(110), X), Silence::StopSending);
}

#[test]
fn a_client_is_pinged_after_50_s_of_silence() {
    let mut sessions = sessions();
    register(&mut sessions, at(0));
    assert!(!sessions.hear(at(20), X));
    assert_eq!(sessions.take_silence_timers(Instant::from_micros(49_999_999)), []);
    assert_eq!(sessions.take_silence_timers(at(50)), [X]);
    assert_eq!(sessions.silence_timeout(at(50), X), Silence::Nothing);
    assert_eq!(sessions.take_silence_timers(at(70)), [X]);
    assert_eq!(sessions.silence_timeout(at(70), X), Silence::Ping);
    sessions.get_mut(X).unwrap().lose();
    assert_eq!(sessions.take_silence_timers(at(120)), [X]);
    assert_eq!(sessions.silence_timeout(at(120), X), Silence::StopSending);
    assert_eq!(sessions.take_silence_timers(at(1_000)), []);
}

#[test]
fn a_returning_client_goes_online_when_it_has_acknowledged_its_mail() {
    let mut sessions = sessions();
    sessions.get_mut(X).unwrap().set_name(Name::new("x").unwrap());
    sessions.welcome(at(0), X, 3);
    assert!(sessions.is_returning(X) && sessions.is_reading(X));
    sessions.get_mut(X).unwrap().delivery.abort();
    sessions.get_mut(X).unwrap().go_online();
    assert!(sessions.online().eq([X]));
    sessions.get_mut(X).unwrap().lose();
    assert!(sessions.hear(at(1), X) && !sessions.is_reading(X));
}

const MICROSECOND: Duration = Duration::from_micros(1);

#[test]
fn a_session_that_gave_notice_ends_exactly_at_its_time_limit() {
    let mut sessions = sessions();
    register(&mut sessions, at(0));
    sessions.leave(at(20), X);
    sessions.leave(at(25), X);
    let end = at(20) + LEFT_TIMEOUT;
    assert_eq!(sessions.expire_finished(end - MICROSECOND), []);
    assert_eq!(sessions.deadline(), Some(end));
    assert_eq!(sessions.expire_finished(end), [X]);
    assert_eq!(sessions.expire_finished(at(1_000)), [], "it ends once");
}

#[test]
fn a_client_that_lost_its_name_opens_a_session_only_with_a_new_number() {
    let mut sessions = Sessions::default();
    assert!(sessions.may_open(X, Some(1)) && sessions.may_open(X, None));
    sessions.displace(at(0), X, 5);
    assert!(!sessions.may_open(X, None) && !sessions.may_open(X, Some(1)) && !sessions.may_open(X, Some(5)));
    assert!(sessions.may_open(X, Some(6)));
    assert!(sessions.may_open(Incarnation(2), Some(1)), "another client");
}

#[test]
fn a_client_that_lost_its_name_is_remembered_exactly_until_its_time_limit() {
    let mut sessions = Sessions::default();
    sessions.displace(at(0), X, 5);
    sessions.displace(at(3), X, 7);
    let end = at(3) + LEFT_TIMEOUT;
    assert_eq!(sessions.deadline(), Some(end), "the second loss counts");
    assert_eq!(sessions.expire_finished(end - MICROSECOND), []);
    assert!(!sessions.may_open(X, Some(7)));
    assert_eq!(sessions.expire_finished(end), []);
    assert!(sessions.may_open(X, Some(7)));
    assert_eq!(sessions.deadline(), None);
}

#[test]
fn the_clients_that_lost_their_name_are_limited() {
    let mut sessions = Sessions::default();
    for client in 0..DISPLACED as u128 {
        sessions.displace(at(0), Incarnation(client), 5);
    }
    assert!(!sessions.may_open(Incarnation(0), Some(5)));
    sessions.displace(at(0), Incarnation(DISPLACED as u128), 5);
    assert!(sessions.may_open(Incarnation(0), Some(5)), "the oldest is forgotten");
    assert!((1..=DISPLACED as u128).all(|client| !sessions.may_open(Incarnation(client), Some(5))));
    assert_eq!((sessions.displaced.len(), sessions.displaced_until.len()), (DISPLACED, DISPLACED));
    sessions.displace(at(0), Incarnation(DISPLACED as u128), 6);
    assert!(!sessions.may_open(Incarnation(1), Some(5)), "a client that is remembered needs no room");
}
