//! Sessions: the clients that proved their address, the state of each, and the timers of their silence.
//!
//! A session never changes its name. Its state decides whether messages may be sent to it. Only the methods in this
//! file change the state.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::proto::id::Incarnation;
use crate::proto::keys::PublicKey;
use crate::proto::link::Tag;
use crate::proto::name::Name;
use crate::proto::server::acks::{AckAction, PendingAcks};
use crate::proto::server::delivery::DeliveryState;
use crate::proto::server::replay_window::ReplayWindow;
use crate::proto::server::replies::REPLY_BYTES;
use crate::proto::server::table::Holder;
use crate::proto::server::updates::TableCursor;
use crate::proto::time::{Instant, earliest};

/// The most clients without a name.
pub const UNREGISTERED: usize = 1_024;
/// Time limit for a client to get a name.
const UNREGISTERED_TIMEOUT: Duration = Duration::from_secs(10);
/// A session that gave notice stays for this time. It is longer than a cookie is valid, so that a replayed registration
/// finds the session and its window of received numbers.
pub const LEFT_TIMEOUT: Duration = Duration::from_secs(10);
/// The most clients that lost their name and are remembered. Beyond it the oldest is forgotten.
const DISPLACED: usize = 4_096;
/// The least time between two whole tables that a client gets because its version is wrong.
pub const VERSION_CHECK_EVERY: Duration = Duration::from_secs(5);
/// A client is pinged after this silence. It sends a keep-alive every 15 s, so two lost ones in a row have no effect.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(50);

/// The sessions of a server.
#[derive(Debug, Default)]
pub struct Sessions {
    /// Boxed, because the nodes of the map are partly empty.
    sessions: BTreeMap<Incarnation, Box<Session>>,
    /// New sessions, in order of their time limit. A session stays here until then, even if it has a name by now.
    unregistered: VecDeque<(Instant, Incarnation)>,
    /// Sessions that gave notice, in order of their time limit.
    left: VecDeque<(Instant, Incarnation)>,
    /// The highest number that was received of each client that lost its name to another one. Its cookie can still be
    /// valid, and a replayed registration of that client must not open a session.
    displaced: BTreeMap<Incarnation, u64>,
    /// The entries of `displaced`, in order of their time limit.
    displaced_until: VecDeque<(Instant, Incarnation)>,
    /// The next check of each session for silence.
    silence: BTreeSet<(Instant, Incarnation)>,
}

/// A client that proved its address.
#[derive(Debug)]
pub struct Session {
    addr: SocketAddr,
    /// The public key of the client's user.
    key: PublicKey,
    /// The address at which the client reaches this server.
    via: IpAddr,
    name: Option<Name>,
    state: SessionState,
    heard_at: Instant,
    has_silence_timer: bool,
    /// When the client last got the whole table because its version was wrong.
    version_checked: Option<Instant>,
    requests: ReplayWindow,
    acks: PendingAcks,
    /// The messages under way to this client.
    pub(super) delivery: DeliveryState,
    /// The position of the client's copy of the table.
    pub(super) table: TableCursor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionState {
    /// The client has no name yet.
    Unregistered,
    /// The client is welcomed and has not acknowledged all its stored mail.
    Returning,
    Online,
    Deregistered,
    /// The client did not answer a ping. Any datagram makes it return.
    Lost,
    /// The client gave notice and ends.
    Left,
}

/// The action that follows when a silence timer fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// No action: the client was heard since the timer was set, or nothing is owed to it.
    Nothing,
    /// Ping the client.
    Ping,
    /// Give up what is in flight to a client that is offline.
    StopSending,
}

impl Sessions {
    /// The session of a client.
    #[must_use]
    pub fn get(&self, client: Incarnation) -> Option<&Session> {
        self.sessions.get(&client).map(Box::as_ref)
    }

    /// The session of a client, to change it.
    pub fn get_mut(&mut self, client: Incarnation) -> Option<&mut Session> {
        self.sessions.get_mut(&client).map(Box::as_mut)
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

    /// Whether the client has stored mail to acknowledge before it goes online.
    #[must_use]
    pub fn is_returning(&self, client: Incarnation) -> bool {
        self.get(client).is_some_and(|session| session.state == SessionState::Returning)
    }

    /// Whether an authentic datagram of the client arrived after `since`.
    #[must_use]
    pub fn was_heard_since(&self, client: Incarnation, since: Instant) -> bool {
        self.get(client).is_some_and(|session| session.heard_at > since)
    }

    /// All clients to which messages may be sent.
    pub fn reading(&self) -> impl Iterator<Item = Incarnation> {
        self.sessions.iter().filter(|(_, session)| session.is_reading()).map(|(client, _)| *client)
    }

    /// All clients that are online.
    pub fn online(&self) -> impl Iterator<Item = Incarnation> {
        self.sessions.iter().filter(|(_, session)| session.is_online()).map(|(client, _)| *client)
    }

    /// Takes the oldest session from the list of new ones when the list has [`UNREGISTERED`] entries. Returns its
    /// client if that has no name: the caller closes it.
    pub fn make_room(&mut self) -> Option<Incarnation> {
        let oldest = if self.unregistered.len() < UNREGISTERED { None } else { self.unregistered.pop_front() };
        oldest
            .map(|(_, client)| client)
            .filter(|client| self.get(*client).is_some_and(|session| session.name.is_none()))
    }

    /// Opens a session. Call [`Sessions::make_room`] first.
    pub fn open(&mut self, now: Instant, client: Incarnation, addr: SocketAddr, key: PublicKey) {
        self.unregistered.push_back((now + UNREGISTERED_TIMEOUT, client));
        let session = Session {
            addr,
            key,
            via: addr.ip(),
            name: None,
            state: SessionState::Unregistered,
            heard_at: now,
            has_silence_timer: false,
            version_checked: None,
            requests: ReplayWindow::default(),
            acks: PendingAcks::default(),
            delivery: DeliveryState::default(),
            table: TableCursor::default(),
        };
        self.sessions.insert(client, Box::new(session));
    }

    /// Marks the session of a client that ends. It stays for [`LEFT_TIMEOUT`].
    pub fn leave(&mut self, now: Instant, client: Incarnation) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        session.abort();
        if session.state != SessionState::Left {
            session.state = SessionState::Left;
            self.left.push_back((now + LEFT_TIMEOUT, client));
        }
    }

    /// Remembers for [`LEFT_TIMEOUT`] a client that lost its name, with the highest number received on its link.
    pub fn displace(&mut self, now: Instant, client: Incarnation, highest_pn: u64) {
        if self.displaced.insert(client, highest_pn).is_some() {
            self.displaced_until.retain(|(_, other)| *other != client);
        } else if self.displaced_until.len() >= DISPLACED
            && let Some((_, oldest)) = self.displaced_until.pop_front()
        {
            self.displaced.remove(&oldest);
        }
        self.displaced_until.push_back((now + LEFT_TIMEOUT, client));
    }

    /// Whether a datagram with this number may open a session of the client: it is no replay from before the client
    /// lost its name.
    #[must_use]
    pub fn may_open(&self, client: Incarnation, pn: Option<u64>) -> bool {
        self.displaced.get(&client).is_none_or(|highest| pn.is_some_and(|pn| pn > *highest))
    }

    /// Removes a session.
    pub fn close(&mut self, client: Incarnation) {
        self.sessions.remove(&client);
    }

    /// Returns the clients that have no name at their time limit, and those that left [`LEFT_TIMEOUT`] ago: the caller
    /// closes them.
    pub fn expire_finished(&mut self, now: Instant) -> Vec<Incarnation> {
        for client in due(&mut self.displaced_until, now) {
            self.displaced.remove(&client);
        }
        let mut expired = due(&mut self.unregistered, now);
        expired.retain(|client| self.is_unregistered(*client));
        // The client may have a new session since then.
        let left = due(&mut self.left, now).into_iter();
        expired.extend(left.filter(|client| self.get(*client).is_some_and(Session::has_left)));
        expired
    }

    fn is_unregistered(&self, client: Incarnation) -> bool {
        self.get(client).is_some_and(|session| session.state == SessionState::Unregistered)
    }

    /// Makes a client with a name return. Its mail up to the number `stored_upto` is stored mail. Aborts everything in
    /// flight and starts the silence timer.
    pub fn welcome(&mut self, now: Instant, client: Incarnation, stored_upto: u64) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        session.abort();
        session.delivery.start(stored_upto);
        session.state = SessionState::Returning;
        session.heard_at = now;
        if !std::mem::replace(&mut session.has_silence_timer, true) {
            self.silence.insert((now + SILENCE_TIMEOUT, client));
        }
    }

    /// Takes the clients whose silence timer fired. Call [`Sessions::silence_timeout`] once for each.
    pub fn take_silence_timers(&mut self, now: Instant) -> Vec<Incarnation> {
        let later = self.silence.split_off(&(now + Duration::from_micros(1), Incarnation(0)));
        std::mem::replace(&mut self.silence, later).into_iter().map(|(_, client)| client).collect()
    }

    /// Notes that an authentic datagram of the client arrived, and starts its silence timer: the client may get an
    /// answer, which is retransmitted. Returns whether the client was lost.
    pub fn hear(&mut self, now: Instant, client: Incarnation) -> bool {
        let Some(session) = self.sessions.get_mut(&client) else { return false };
        session.heard_at = now;
        if session.name.is_some() && !std::mem::replace(&mut session.has_silence_timer, true) {
            self.silence.insert((now + SILENCE_TIMEOUT, client));
        }
        session.state == SessionState::Lost
    }

    /// Decides on the silence of a client whose timer fired. Sets the timer again, unless the client is silent and not
    /// reading.
    pub fn silence_timeout(&mut self, now: Instant, client: Incarnation) -> Silence {
        let Some(session) = self.sessions.get_mut(&client) else { return Silence::Nothing };
        let is_silent = session.heard_at + SILENCE_TIMEOUT <= now;
        if !session.is_reading() && is_silent {
            session.has_silence_timer = false;
            return Silence::StopSending;
        }
        let since = if is_silent { now } else { session.heard_at };
        self.silence.insert((since + SILENCE_TIMEOUT, client));
        if is_silent { Silence::Ping } else { Silence::Nothing }
    }

    /// When the first timer fires.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let silence = self.silence.first().map(|(at, _)| *at);
        let queues = [&self.unregistered, &self.left, &self.displaced_until];
        let finished = queues.into_iter().filter_map(|queue| queue.front());
        earliest(silence, finished.map(|(at, _)| *at).min())
    }
}

/// Takes the entries whose time has come from a queue in order of time.
fn due(queue: &mut VecDeque<(Instant, Incarnation)>, now: Instant) -> Vec<Incarnation> {
    let count = queue.iter().take_while(|(until, _)| *until <= now).count();
    queue.drain(..count).map(|(_, client)| client).collect()
}

impl Session {
    /// The address of the client.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets the address of a client that registered at another one.
    pub fn set_addr(&mut self, addr: SocketAddr) {
        self.addr = addr;
    }

    /// The public key of the client's user.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        self.key
    }

    /// The session of `client` as the table has it.
    #[must_use]
    pub fn holder(&self, client: Incarnation) -> Holder {
        Holder { addr: self.addr, incarnation: client, key: self.key }
    }

    /// Whether the client may get the whole table because its version is wrong: once in [`VERSION_CHECK_EVERY`].
    pub fn take_version_check(&mut self, now: Instant) -> bool {
        let may = self.version_checked.is_none_or(|at| at + VERSION_CHECK_EVERY <= now);
        if may {
            self.version_checked = Some(now);
        }
        may
    }

    /// The address at which the client reaches this server.
    #[must_use]
    pub fn via(&self) -> IpAddr {
        self.via
    }

    /// Sets the address at which the client reaches this server.
    pub fn set_via(&mut self, via: IpAddr) {
        self.via = via;
    }

    /// The name, once the client has one.
    #[must_use]
    pub fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    /// Sets the name of the client.
    pub fn set_name(&mut self, name: Name) {
        self.name = Some(name);
    }

    /// Whether the client may have this name: it has not left, and it has no name yet, or this one.
    #[must_use]
    pub fn accepts_name(&self, name: &Name) -> bool {
        !self.has_left() && self.name.as_ref().is_none_or(|own| own == name)
    }

    /// Whether the client gave notice.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.state == SessionState::Left
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

    /// Moves a returning client that has acknowledged its stored mail online, and owes it an update of the table.
    pub fn go_online(&mut self) {
        self.state = SessionState::Online;
        self.table.owed = true;
    }

    /// Marks the client as de-registered.
    pub fn deregister(&mut self) {
        self.state = SessionState::Deregistered;
    }

    /// Marks the client as lost: it did not answer a ping.
    pub fn lose(&mut self) {
        self.state = SessionState::Lost;
    }

    /// Drops everything in flight. The client repeats the requests that it still wants.
    pub fn abort(&mut self) {
        self.acks.clear();
        self.delivery.abort();
        self.table = TableCursor::default();
        self.requests = ReplayWindow::default();
    }

    /// Adds the number of a request to the replay window. Returns whether the request is new.
    pub fn take_request(&mut self, number: u64) -> bool {
        self.requests.insert(number)
    }

    /// Whether the unacknowledged replies leave room to process more requests of this client.
    #[must_use]
    pub fn has_room_for_replies(&self) -> bool {
        self.acks.reply_bytes() < REPLY_BYTES
    }

    /// A tag for the next message to the client. Register its meaning by [`Session::expect_ack`].
    pub fn next_tag(&mut self) -> Tag {
        self.acks.next_tag()
    }

    /// Registers the action for the acknowledgement of a message.
    pub fn expect_ack(&mut self, tag: Tag, action: AckAction) {
        self.acks.insert(tag, action);
    }

    /// Takes the action for an acknowledged message.
    pub fn take_ack(&mut self, tag: Tag) -> Option<AckAction> {
        self.acks.take(tag)
    }
}
