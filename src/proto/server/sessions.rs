//! Sessions: the clients that proved their address, the state of each, and the timers of their silence.
//!
//! A session never changes its name. Its state decides whether messages may be sent to it; only the verbs of this
//! file change the state.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::proto::id::Incarnation;
use crate::proto::link::Tag;
use crate::proto::name::Name;
use crate::proto::server::acks::{AckAction, PendingAcks};
use crate::proto::server::delivery::DeliveryState;
use crate::proto::server::replay_window::ReplayWindow;
use crate::proto::server::replies::REPLY_BYTES;
use crate::proto::server::table::TableCursor;
use crate::proto::time::{Instant, earliest};

/// The most clients without a name.
pub const UNREGISTERED: usize = 1_024;
/// Time limit for a client to get a name.
const UNREGISTERED_TIMEOUT: Duration = Duration::from_secs(10);
/// A client is pinged after this silence. It sends a keep-alive every 20 s, so that two may be lost.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(50);

/// The sessions of a server.
#[derive(Debug, Default)]
pub struct Sessions {
    sessions: BTreeMap<Incarnation, Session>,
    /// New sessions, in order of their time limit. A session stays here until then, also when it got a name.
    unregistered: VecDeque<(Instant, Incarnation)>,
    /// When to look at the silence of a session next.
    silence: BTreeSet<(Instant, Incarnation)>,
}

/// A client that proved its address.
#[derive(Debug)]
pub struct Session {
    addr: SocketAddr,
    /// The address at which the client reaches this server.
    via: IpAddr,
    name: Option<Name>,
    state: SessionState,
    heard_at: Instant,
    has_silence_timer: bool,
    requests: ReplayWindow,
    acks: PendingAcks,
    /// The messages of this reader.
    pub(super) delivery: DeliveryState,
    /// Its copy of the table.
    pub(super) table: TableCursor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionState {
    /// Without a name.
    Unregistered,
    /// Welcomed, with stored mail to acknowledge.
    Returning,
    Online,
    Deregistered,
    /// It did not answer. Any datagram makes it return.
    Lost,
}

/// The consequence of a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// None: the client was heard meanwhile, or its timer ended.
    Nothing,
    /// Ask the client whether it is still there.
    Ping,
    /// Give up what is in flight to a client that is offline.
    StopSending,
}

impl Sessions {
    /// The session of a client.
    #[must_use]
    pub fn get(&self, client: Incarnation) -> Option<&Session> {
        self.sessions.get(&client)
    }

    /// The session of a client, to change it.
    pub fn get_mut(&mut self, client: Incarnation) -> Option<&mut Session> {
        self.sessions.get_mut(&client)
    }

    /// Whether the client has a session that it did not end and that was not found silent.
    #[must_use]
    pub fn is_active(&self, client: Incarnation) -> bool {
        self.get(client)
            .is_some_and(|session| !matches!(session.state, SessionState::Deregistered | SessionState::Lost))
    }

    /// Whether the client is online.
    #[must_use]
    pub fn is_online(&self, client: Incarnation) -> bool {
        self.get(client).is_some_and(Session::is_online)
    }

    /// Whether messages may be sent to the client.
    #[must_use]
    pub fn is_reading(&self, client: Incarnation) -> bool {
        self.get(client).is_some_and(Session::is_reading)
    }

    /// Whether the client acknowledges its stored mail before it is online.
    #[must_use]
    pub fn is_returning(&self, client: Incarnation) -> bool {
        self.get(client).is_some_and(|session| session.state == SessionState::Returning)
    }

    /// All clients that are online.
    pub fn online(&self) -> impl Iterator<Item = Incarnation> {
        self.sessions.iter().filter(|(_, session)| session.is_online()).map(|(client, _)| *client)
    }

    /// Ends the time limit of the oldest new session when [`UNREGISTERED`] is reached. Returns the client to close, if it
    /// has no name.
    pub fn make_room(&mut self) -> Option<Incarnation> {
        let oldest = if self.unregistered.len() < UNREGISTERED { None } else { self.unregistered.pop_front() };
        oldest.map(|(_, client)| client).filter(|client| self.is_unregistered(*client))
    }

    /// Opens a session. See [`Sessions::make_room`].
    pub fn open(&mut self, now: Instant, client: Incarnation, addr: SocketAddr, via: IpAddr) {
        self.unregistered.push_back((now + UNREGISTERED_TIMEOUT, client));
        let session = Session {
            addr,
            via,
            name: None,
            state: SessionState::Unregistered,
            heard_at: now,
            has_silence_timer: false,
            requests: ReplayWindow::default(),
            acks: PendingAcks::default(),
            delivery: DeliveryState::default(),
            table: TableCursor::default(),
        };
        self.sessions.insert(client, session);
    }

    /// Forgets a session.
    pub fn close(&mut self, client: Incarnation) {
        self.sessions.remove(&client);
    }

    /// The clients to close, because they have no name at their time limit.
    pub fn expire_unregistered(&mut self, now: Instant) -> Vec<Incarnation> {
        let mut expired = Vec::new();
        while self.unregistered.front().is_some_and(|(until, _)| *until <= now)
            && let Some((_, client)) = self.unregistered.pop_front()
        {
            expired.extend(Some(client).filter(|client| self.is_unregistered(*client)));
        }
        expired
    }

    fn is_unregistered(&self, client: Incarnation) -> bool {
        self.get(client).is_some_and(|session| session.state == SessionState::Unregistered)
    }

    /// A client with a name returns: nothing of before is in flight, and this mail waits. Starts the silence timer.
    pub fn welcome(&mut self, now: Instant, client: Incarnation, backlog: BTreeSet<u64>) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        session.abort();
        session.delivery.start(backlog);
        session.state = SessionState::Returning;
        session.heard_at = now;
        if !std::mem::replace(&mut session.has_silence_timer, true) {
            self.silence.insert((now + SILENCE_TIMEOUT, client));
        }
    }

    /// The clients whose silence timer fired, each for one call of [`Sessions::silence_timeout`].
    pub fn take_silence_timers(&mut self, now: Instant) -> Vec<Incarnation> {
        let later = self.silence.split_off(&(now + Duration::from_micros(1), Incarnation(0)));
        std::mem::replace(&mut self.silence, later).into_iter().map(|(_, client)| client).collect()
    }

    /// Judges the silence of a client whose timer fired, and sets the timer again unless nothing is owed to the client.
    pub fn silence_timeout(&mut self, now: Instant, client: Incarnation, is_sending: bool) -> Silence {
        let Some(session) = self.sessions.get_mut(&client) else { return Silence::Nothing };
        let is_silent = session.heard_at + SILENCE_TIMEOUT <= now;
        if !session.is_reading() && (is_silent || !is_sending) {
            session.has_silence_timer = false;
            return if is_silent { Silence::StopSending } else { Silence::Nothing };
        }
        let since = if is_silent { now } else { session.heard_at };
        self.silence.insert((since + SILENCE_TIMEOUT, client));
        if is_silent { Silence::Ping } else { Silence::Nothing }
    }

    /// When the first timer fires.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let silence = self.silence.first().map(|(at, _)| *at);
        earliest(silence, self.unregistered.front().map(|(at, _)| *at))
    }
}

impl Session {
    /// The address of the client.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address at which the client reaches this server.
    #[must_use]
    pub fn via(&self) -> IpAddr {
        self.via
    }

    /// The client reaches this server at this address.
    pub fn set_via(&mut self, via: IpAddr) {
        self.via = via;
    }

    /// The name, once the client has one.
    #[must_use]
    pub fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// The client got its name.
    pub fn set_name(&mut self, name: Name) {
        self.name = Some(name);
    }

    /// Whether the client may have this name: it has none yet, or this one.
    #[must_use]
    pub fn accepts_name(&self, name: &Name) -> bool {
        self.name.as_ref().is_none_or(|own| own == name)
    }

    /// Whether the client is online.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.state == SessionState::Online
    }

    /// Whether messages may be sent to the client.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        matches!(self.state, SessionState::Online | SessionState::Returning)
    }

    /// A datagram of the client arrived. Returns whether the client was lost.
    pub fn hear(&mut self, now: Instant) -> bool {
        self.heard_at = now;
        self.state == SessionState::Lost
    }

    /// A returning client without stored mail goes online. Returns whether it did. It is owed the table then.
    pub fn go_online(&mut self) -> bool {
        let goes = self.state == SessionState::Returning && self.name.is_some() && !self.delivery.has_backlog();
        if goes {
            self.state = SessionState::Online;
            self.table.owed = true;
        }
        goes
    }

    /// The client de-registers.
    pub fn deregister(&mut self) {
        self.state = SessionState::Deregistered;
    }

    /// The client did not answer a ping.
    pub fn lose(&mut self) {
        self.state = SessionState::Lost;
    }

    /// Forgets everything in flight. The client repeats the requests that it still wants.
    pub fn abort(&mut self) {
        self.acks.clear();
        self.delivery.abort();
        self.table = TableCursor::default();
        self.requests = ReplayWindow::default();
    }

    /// A request of the client arrived. Returns whether it is new.
    pub fn take_request(&mut self, number: u64) -> bool {
        self.requests.insert(number)
    }

    /// Whether more requests of this client are processed.
    #[must_use]
    pub fn has_room_for_replies(&self) -> bool {
        self.acks.reply_bytes() < REPLY_BYTES
    }

    /// A tag for the next message to the client. Register its meaning by [`Session::expect_ack`].
    pub fn next_tag(&mut self) -> Tag {
        self.acks.next_tag()
    }

    /// A message with this tag was sent to the client.
    pub fn expect_ack(&mut self, tag: Tag, action: AckAction) {
        self.acks.insert(tag, action);
    }

    /// The client acknowledged a message.
    pub fn take_ack(&mut self, tag: Tag) -> Option<AckAction> {
        self.acks.take(tag)
    }
}

#[cfg(test)]
mod tests {
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
        sessions.open(at(0), client, SocketAddr::from(([10, 0, 0, 2], 7000)), IpAddr::from([10, 0, 0, 1]));
    }

    fn register(sessions: &mut Sessions, now: Instant) {
        sessions.get_mut(X).unwrap().set_name(Name::new("x").unwrap());
        sessions.welcome(now, X, BTreeSet::new());
        assert!(sessions.get_mut(X).unwrap().go_online());
    }

    #[test]
    fn a_session_without_a_name_ends_at_its_time_limit_and_not_before() {
        let mut sessions = sessions();
        assert_eq!(sessions.deadline(), Some(at(10)));
        assert_eq!(sessions.expire_unregistered(Instant::from_micros(9_999_999)), []);
        assert_eq!(sessions.expire_unregistered(at(10)), [X]);
        open(&mut sessions, X);
        register(&mut sessions, at(1));
        assert_eq!(sessions.expire_unregistered(at(10)), []);
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
    fn a_client_is_pinged_after_its_silence_and_not_before() {
        let mut sessions = sessions();
        register(&mut sessions, at(0));
        assert!(!sessions.get_mut(X).unwrap().hear(at(20)));
        assert_eq!(sessions.take_silence_timers(Instant::from_micros(49_999_999)), []);
        assert_eq!(sessions.take_silence_timers(at(50)), [X]);
        assert_eq!(sessions.silence_timeout(at(50), X, false), Silence::Nothing);
        assert_eq!(sessions.take_silence_timers(at(70)), [X]);
        assert_eq!(sessions.silence_timeout(at(70), X, false), Silence::Ping);
        sessions.get_mut(X).unwrap().lose();
        assert_eq!(sessions.take_silence_timers(at(120)), [X]);
        assert_eq!(sessions.silence_timeout(at(120), X, true), Silence::StopSending);
        assert_eq!(sessions.take_silence_timers(at(1_000)), []);
    }

    #[test]
    fn a_returning_client_goes_online_when_it_has_its_mail() {
        let mut sessions = sessions();
        sessions.get_mut(X).unwrap().set_name(Name::new("x").unwrap());
        sessions.welcome(at(0), X, BTreeSet::from([3]));
        assert!(!sessions.get_mut(X).unwrap().go_online() && sessions.is_returning(X) && sessions.is_reading(X));
        sessions.get_mut(X).unwrap().delivery.abort();
        assert!(sessions.get_mut(X).unwrap().go_online() && sessions.online().eq([X]));
        sessions.get_mut(X).unwrap().lose();
        assert!(sessions.get_mut(X).unwrap().hear(at(1)) && !sessions.is_active(X) && !sessions.is_reading(X));
    }
}
