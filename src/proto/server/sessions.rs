//! Coming and going: who may have a name, the welcome, and the ways to be offline.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::proto::event::reason::{OfflineReason, Reason, RemovalReason};
use crate::proto::event::server::ServerEvent;
use crate::proto::id::Incarnation;
use crate::proto::link::Tag;
use crate::proto::name::Name;
use crate::proto::server::Server;
use crate::proto::server::intake::OnPersisted;
use crate::proto::server::ping::Claim;
use crate::proto::server::replay_window::ReplayWindow;
use crate::proto::server::replies::answer;
use crate::proto::server::table::{NAMES, TableCursor};
use crate::proto::time::Instant;
use crate::proto::wire::{Frame, Header, RequestOutcome};

/// The most clients that have proven their address and have no name yet.
pub const GUESTS: usize = 1_024;
/// How long such a client is remembered.
const GUEST_STAYS: Duration = Duration::from_secs(10);
/// After how long a silence a client is asked: it promised a word every 20 s, and two may be lost.
const SILENCE: Duration = Duration::from_secs(50);
/// For how long a name that is offline and has no mail is kept: 30 days.
pub const NAME_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often names are looked through for that.
const PURGE_EVERY: Duration = Duration::from_secs(3600);

/// What a message to a client was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckAction {
    /// A kept message; whether in the form of mail.
    Post { seq: u64, mail: bool },
    /// An update of the table.
    Rows,
    /// A receipt.
    Receipt { seq: u64 },
    /// The answer to a request, of so many bytes.
    Reply { bytes: usize },
}

/// A life that has proven its address.
#[derive(Debug)]
pub struct Session {
    pub(super) addr: SocketAddr,
    /// The address at which it reaches this server.
    pub(super) via: IpAddr,
    /// Its name, once it has one.
    pub(super) name: Option<Name>,
    /// The requests done since it was let in.
    pub(super) taken: ReplayWindow,
    heard: Instant,
    /// Whether its silence is timed.
    watched: bool,
    standing: SessionState,
    /// Mail up to here waited when it registered, and is shown as such.
    pub(super) mail_upto: u64,
    /// That mail, as far as it has not acknowledged it: it comes back when there is none.
    pub(super) owed: BTreeSet<u64>,
    pub(super) under_way: BTreeSet<u64>,
    pub(super) fetching: bool,
    pub(super) receipts_under_way: BTreeSet<u64>,
    pub(super) table: TableCursor,
    pub(super) tags: BTreeMap<Tag, AckAction>,
    /// How much of what it asked was answered and is not acknowledged.
    pub(super) reply_bytes: usize,
    pub(super) group: Option<Name>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SessionState {
    /// No name yet.
    Guest,
    /// Has its welcome, and mail to acknowledge.
    Returning,
    Online,
    /// De-registered.
    Left,
    /// Found silent; any word makes it come back.
    Lost,
}

impl Session {
    pub(super) fn is_online(&self) -> bool {
        self.standing == SessionState::Online
    }

    /// Whether it may be handed messages.
    pub(super) fn is_reading(&self) -> bool {
        matches!(self.standing, SessionState::Online | SessionState::Returning)
    }

    /// Nothing that was under way is any more; what the client still wants it asks for again.
    fn reset(&mut self) {
        self.tags.clear();
        self.reply_bytes = 0;
        self.under_way.clear();
        self.receipts_under_way.clear();
        self.owed.clear();
        self.table = TableCursor::default();
        self.taken = ReplayWindow::default();
    }
}

impl Server {
    /// A datagram of a life without link. Returns whether it proves its address and asks for a name.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        incarnation: Incarnation,
        head: &Header,
        frames: &[Frame],
    ) -> bool {
        let [Frame::Reg { cookie, via, .. }, ..] = frames else { return false };
        let is_first = head.n.is_some() && head.n == head.low;
        if !is_first || !self.cookies.check(now, addr, incarnation, cookie) {
            return false;
        }
        // A life that is known elsewhere may move only when nobody answers there any more.
        match self.sessions.get(&incarnation).map(|session| session.standing) {
            None => {}
            Some(SessionState::Left | SessionState::Lost) => self.close(incarnation),
            Some(_) => return false,
        }
        if self.unregistered.len() >= GUESTS
            && let Some((_, oldest)) = self.unregistered.pop_front()
        {
            self.forget_guest(oldest);
        }
        if self.links.open(incarnation, addr).is_none() {
            return false;
        }
        self.unregistered.push_back((now + GUEST_STAYS, incarnation));
        let session = Session {
            addr,
            via: *via,
            name: None,
            taken: ReplayWindow::default(),
            heard: now,
            watched: false,
            standing: SessionState::Guest,
            mail_upto: 0,
            owed: BTreeSet::new(),
            under_way: BTreeSet::new(),
            fetching: false,
            receipts_under_way: BTreeSet::new(),
            table: TableCursor::default(),
            tags: BTreeMap::new(),
            reply_bytes: 0,
            group: None,
        };
        self.sessions.insert(incarnation, session);
        true
    }

    pub(super) fn guests_timeout(&mut self, now: Instant) {
        while self.unregistered.front().is_some_and(|(until, _)| *until <= now)
            && let Some((_, incarnation)) = self.unregistered.pop_front()
        {
            self.forget_guest(incarnation);
        }
    }

    fn forget_guest(&mut self, incarnation: Incarnation) {
        if self.sessions.get(&incarnation).is_some_and(|session| session.standing == SessionState::Guest) {
            self.close(incarnation);
        }
    }

    /// Forgets a life, with its link.
    fn close(&mut self, incarnation: Incarnation) {
        self.leave_group(incarnation);
        self.sessions.remove(&incarnation);
        self.links.close(incarnation);
    }

    /// A client wants a name.
    pub(super) fn register(&mut self, now: Instant, incarnation: Incarnation, r: u64, name: Name, via: IpAddr) {
        let Some(session) = self.sessions.get_mut(&incarnation) else { return };
        session.via = via;
        if session.name.as_ref().is_some_and(|other| *other != name) {
            return self.refuse(incarnation, r, &name, Reason::OtherName);
        }
        let online_elsewhere = match self.table.get(&name) {
            None if self.table.len() >= NAMES => return self.refuse(incarnation, r, &name, Reason::ServerFull),
            None => false,
            Some(row) => row.incarnation != incarnation && (row.online || self.is_returning(row.incarnation)),
        };
        if online_elsewhere {
            self.claim(now, &name, Claim { incarnation, r });
        } else {
            self.give_name(now, incarnation, r, name);
        }
    }

    fn is_returning(&self, incarnation: Incarnation) -> bool {
        self.sessions.get(&incarnation).is_some_and(|session| session.standing == SessionState::Returning)
    }

    /// The name is free, or its own: the client is welcome.
    pub(super) fn give_name(&mut self, now: Instant, incarnation: Incarnation, r: u64, name: Name) {
        let Some(session) = self.sessions.get_mut(&incarnation) else { return };
        let addr = session.addr;
        session.name = Some(name.clone());
        let before = self.table.get(&name).map(|row| row.incarnation);
        if let Some(before) = before.filter(|before| *before != incarnation) {
            self.close(before);
        }
        // The others learn of it when it has its mail; a life that never was online is still not.
        let seen = self.door.unix;
        self.table.put(name.clone(), addr, incarnation, false, seen);
        self.persist_row(&name, true, OnPersisted::Nothing);
        self.say(ServerEvent::ClientRegistered { name: name.clone(), addr: addr.to_string() });
        self.resolve_ask(&name);
        self.welcome(now, incarnation, r, &name);
    }

    /// Welcome first, then mail, then the table.
    fn welcome(&mut self, now: Instant, incarnation: Incarnation, r: u64, name: &Name) {
        self.leave_group(incarnation);
        let owed: BTreeSet<u64> = self.mail.waiting(name).map(|(seq, _)| seq).collect();
        let Some(session) = self.sessions.get_mut(&incarnation) else { return };
        let mail = owed.len();
        session.reset();
        session.mail_upto = owed.last().copied().unwrap_or(0);
        session.owed = owed;
        session.standing = SessionState::Returning;
        session.heard = now;
        if !std::mem::replace(&mut session.watched, true) {
            self.silence.insert((now + SILENCE, incarnation));
        }
        if let Some(link) = self.links.get_mut(incarnation) {
            link.abort();
            link.push(Frame::Welcome { r, name: name.clone(), mail }, None, None);
        }
        self.ready_readers.insert(incarnation);
        self.maybe_online(incarnation);
    }

    /// A returning client is online when it has acknowledged the mail that waited.
    pub(super) fn maybe_online(&mut self, incarnation: Incarnation) {
        let Some(session) = self.sessions.get_mut(&incarnation) else { return };
        let Some(name) = session.name.clone() else { return };
        if session.standing != SessionState::Returning || !session.owed.is_empty() {
            return;
        }
        session.standing = SessionState::Online;
        session.table.owed = true;
        let addr = session.addr;
        self.push_receipts(incarnation);
        self.change_row(&name, addr, incarnation, true, OnPersisted::Nothing);
        self.tell(incarnation);
        self.ready_readers.insert(incarnation);
    }

    /// A client said anything at all.
    pub(super) fn heard(&mut self, now: Instant, incarnation: Incarnation, answer: Option<u32>) {
        let Some(session) = self.sessions.get_mut(&incarnation) else { return };
        session.heard = now;
        let lost = session.standing == SessionState::Lost;
        let Some(name) = session.name.clone() else { return };
        self.answered(incarnation, &name, answer);
        if lost {
            let addr = self.sessions.get(&incarnation).map(|session| session.addr.to_string()).unwrap_or_default();
            self.say(ServerEvent::ClientRegistered { name: name.clone(), addr });
            self.welcome(now, incarnation, 0, &name);
        }
    }

    /// A client was silent for long: it is asked.
    pub(super) fn silence_timeout(&mut self, now: Instant) {
        while let Some((_, incarnation)) = self.silence.first().copied().filter(|(at, _)| *at <= now) {
            self.silence.pop_first();
            let Some(session) = self.sessions.get_mut(&incarnation) else { continue };
            let silent = session.heard + SILENCE <= now;
            let next = if silent { now } else { session.heard };
            if !session.is_reading() && (silent || self.links.get(incarnation).is_none_or(|link| link.unsettled() == 0))
            {
                session.watched = false;
                if silent {
                    self.not_listening(incarnation);
                }
                continue;
            }
            self.silence.insert((next + SILENCE, incarnation));
            if silent {
                self.start_ping(now, incarnation);
            }
        }
    }

    /// One that left or was lost does not acknowledge what it is sent: that is not sent for ever.
    pub(super) fn not_listening(&mut self, incarnation: Incarnation) {
        let Some(session) = self.sessions.get_mut(&incarnation).filter(|session| !session.is_reading()) else { return };
        session.reset();
        if let Some(link) = self.links.get_mut(incarnation) {
            link.abort();
        }
    }

    /// The holder of a name is gone without a word.
    pub(super) fn lost(&mut self, incarnation: Incarnation, name: &Name) {
        if let Some(group) = self.sessions.get_mut(&incarnation).and_then(|session| session.group.take()) {
            self.leave(&group, name);
            self.say(ServerEvent::Removed { group, name: name.clone(), reason: RemovalReason::NotResponsive });
        }
        if let Some(session) = self.sessions.get_mut(&incarnation) {
            session.standing = SessionState::Lost;
        }
        self.not_listening(incarnation);
        self.offline(name, incarnation, OfflineReason::Silent, OnPersisted::Nothing);
    }

    fn offline(&mut self, name: &Name, incarnation: Incarnation, reason: OfflineReason, after: OnPersisted) {
        let Some(addr) = self.table.get(name).filter(|row| row.incarnation == incarnation).map(|row| row.addr) else {
            return;
        };
        self.say(ServerEvent::ClientOffline { name: name.clone(), reason });
        self.change_row(name, addr, incarnation, false, after);
    }

    /// A client de-registers: told to all, then acknowledged.
    pub(super) fn dereg(&mut self, now: Instant, incarnation: Incarnation, r: u64) {
        self.leave_group(incarnation);
        let Some(session) = self.sessions.get_mut(&incarnation) else { return };
        session.standing = SessionState::Left;
        let Some(name) = session.name.clone() else { return };
        self.offline(
            &name,
            incarnation,
            OfflineReason::Dereg,
            OnPersisted::Answer { incarnation, frame: answer(r, RequestOutcome::Ok) },
        );
        self.ping_failed(now, &name);
    }

    /// A client gives notice that it ends.
    pub(super) fn bye(&mut self, now: Instant, incarnation: Incarnation) {
        // One that left or was lost is offline already, and everybody knows.
        let session = self.sessions.get(&incarnation).filter(|session| session.is_reading());
        let name = session.and_then(|session| session.name.clone());
        self.close(incarnation);
        if let Some(name) = name {
            self.offline(&name, incarnation, OfflineReason::Leave, OnPersisted::Nothing);
            self.ping_failed(now, &name);
        }
    }

    /// Names that were offline for long and have no mail are dropped.
    pub(super) fn purge(&mut self, now: Instant) {
        self.next_purge = now + PURGE_EVERY;
        let kept = i64::try_from(NAME_KEPT.as_micros()).unwrap_or(i64::MAX);
        let old = self.door.unix.micros().saturating_sub(kept);
        let rows = self.table.iter().filter(|(_, row)| !row.online && row.seen.micros() <= old);
        let idle = rows.filter(|(name, row)| !self.mail.concerns(name) && !self.is_returning(row.incarnation));
        let names: Vec<(Name, Incarnation)> = idle.map(|(name, row)| (name.clone(), row.incarnation)).collect();
        for (name, incarnation) in names {
            self.close(incarnation);
            self.drop_name(&name);
        }
    }
}
