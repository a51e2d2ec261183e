//! Coming and going: who may have a name, the welcome, and the ways to be offline.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

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
        life: Incarnation,
        head: &Header,
        frames: &[Frame],
    ) -> bool {
        let [Frame::Reg { cookie, via, .. }, ..] = frames else { return false };
        let is_first = head.n.is_some() && head.n == head.low;
        if !is_first || !self.cookies.check(now, addr, life, cookie) {
            return false;
        }
        // A life that is known elsewhere may move only when nobody answers there any more.
        match self.sessions.get(&life).map(|session| session.standing) {
            None => {}
            Some(SessionState::Left | SessionState::Lost) => self.close(life),
            Some(_) => return false,
        }
        if self.guests.len() >= GUESTS
            && let Some((_, oldest)) = self.guests.pop_front()
        {
            self.forget_guest(oldest);
        }
        if self.links.open(life, addr).is_none() {
            return false;
        }
        self.guests.push_back((now + GUEST_STAYS, life));
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
        self.sessions.insert(life, session);
        true
    }

    pub(super) fn guests_timeout(&mut self, now: Instant) {
        while self.guests.front().is_some_and(|(until, _)| *until <= now)
            && let Some((_, life)) = self.guests.pop_front()
        {
            self.forget_guest(life);
        }
    }

    fn forget_guest(&mut self, life: Incarnation) {
        if self.sessions.get(&life).is_some_and(|session| session.standing == SessionState::Guest) {
            self.close(life);
        }
    }

    /// Forgets a life, with its link.
    fn close(&mut self, life: Incarnation) {
        self.leave_group(life);
        self.sessions.remove(&life);
        self.links.close(life);
    }

    /// A client wants a name.
    pub(super) fn register(&mut self, now: Instant, life: Incarnation, r: u64, name: Name, via: IpAddr) {
        let Some(session) = self.sessions.get_mut(&life) else { return };
        session.via = via;
        if session.name.as_ref().is_some_and(|other| *other != name) {
            return self.refuse(life, r, &name, "other-name");
        }
        let online_elsewhere = match self.table.get(&name) {
            None if self.table.len() >= NAMES => return self.refuse(life, r, &name, "server-full"),
            None => false,
            Some(row) => row.life != life && (row.online || self.is_returning(row.life)),
        };
        if online_elsewhere {
            self.claim(now, &name, Claim { life, r });
        } else {
            self.give_name(now, life, r, name);
        }
    }

    fn is_returning(&self, life: Incarnation) -> bool {
        self.sessions.get(&life).is_some_and(|session| session.standing == SessionState::Returning)
    }

    /// The name is free, or its own: the client is welcome.
    pub(super) fn give_name(&mut self, now: Instant, life: Incarnation, r: u64, name: Name) {
        let Some(session) = self.sessions.get_mut(&life) else { return };
        let addr = session.addr;
        session.name = Some(name.clone());
        let before = self.table.get(&name).map(|row| row.life);
        if let Some(before) = before.filter(|before| *before != life) {
            self.close(before);
        }
        // The others learn of it when it has its mail; a life that never was online is still not.
        let seen = self.door.unix;
        self.table.put(name.clone(), addr, life, false, seen);
        self.persist_row(&name, true, OnPersisted::Nothing);
        self.say(ServerEvent::ClientRegistered { name: name.clone(), addr: addr.to_string() });
        self.resolve_ask(&name);
        self.welcome(now, life, r, &name);
    }

    /// Welcome first, then mail, then the table.
    fn welcome(&mut self, now: Instant, life: Incarnation, r: u64, name: &Name) {
        self.leave_group(life);
        let owed: BTreeSet<u64> = self.mail.waiting(name).map(|(seq, _)| seq).collect();
        let Some(session) = self.sessions.get_mut(&life) else { return };
        let mail = owed.len();
        session.reset();
        session.mail_upto = owed.last().copied().unwrap_or(0);
        session.owed = owed;
        session.standing = SessionState::Returning;
        session.heard = now;
        if !std::mem::replace(&mut session.watched, true) {
            self.silence.insert((now + SILENCE, life));
        }
        if let Some(link) = self.links.get_mut(life) {
            link.withdraw();
            link.push(Frame::Welcome { r, name: name.clone(), mail }, None, None);
        }
        self.hungry.insert(life);
        self.maybe_online(life);
    }

    /// A returning client is online when it has acknowledged the mail that waited.
    pub(super) fn maybe_online(&mut self, life: Incarnation) {
        let Some(session) = self.sessions.get_mut(&life) else { return };
        let Some(name) = session.name.clone() else { return };
        if session.standing != SessionState::Returning || !session.owed.is_empty() {
            return;
        }
        session.standing = SessionState::Online;
        session.table.owed = true;
        let addr = session.addr;
        self.push_receipts(life);
        self.change_row(&name, addr, life, true, OnPersisted::Nothing);
        self.tell(life);
        self.hungry.insert(life);
    }

    /// A client said anything at all.
    pub(super) fn heard(&mut self, now: Instant, life: Incarnation, answer: Option<u32>) {
        let Some(session) = self.sessions.get_mut(&life) else { return };
        session.heard = now;
        let lost = session.standing == SessionState::Lost;
        let Some(name) = session.name.clone() else { return };
        self.answered(life, &name, answer);
        if lost {
            let addr = self.sessions.get(&life).map(|session| session.addr.to_string()).unwrap_or_default();
            self.say(ServerEvent::ClientRegistered { name: name.clone(), addr });
            self.welcome(now, life, 0, &name);
        }
    }

    /// A client was silent for long: it is asked.
    pub(super) fn silence_timeout(&mut self, now: Instant) {
        while let Some((_, life)) = self.silence.first().copied().filter(|(at, _)| *at <= now) {
            self.silence.pop_first();
            let Some(session) = self.sessions.get_mut(&life) else { continue };
            let silent = session.heard + SILENCE <= now;
            let next = if silent { now } else { session.heard };
            if !session.is_reading() && (silent || self.links.get(life).is_none_or(|link| link.unsettled() == 0)) {
                session.watched = false;
                if silent {
                    self.not_listening(life);
                }
                continue;
            }
            self.silence.insert((next + SILENCE, life));
            if silent {
                self.suspect(now, life);
            }
        }
    }

    /// One that left or was lost does not acknowledge what it is sent: that is not sent for ever.
    pub(super) fn not_listening(&mut self, life: Incarnation) {
        let Some(session) = self.sessions.get_mut(&life).filter(|session| !session.is_reading()) else { return };
        session.reset();
        if let Some(link) = self.links.get_mut(life) {
            link.withdraw();
        }
    }

    /// The holder of a name is gone without a word.
    pub(super) fn lost(&mut self, life: Incarnation, name: &Name) {
        if let Some(group) = self.sessions.get_mut(&life).and_then(|session| session.group.take()) {
            self.leave(&group, name);
            self.say(ServerEvent::Removed { group, name: name.clone(), reason: "not-responsive" });
        }
        if let Some(session) = self.sessions.get_mut(&life) {
            session.standing = SessionState::Lost;
        }
        self.not_listening(life);
        self.offline(name, life, "silent", OnPersisted::Nothing);
    }

    fn offline(&mut self, name: &Name, life: Incarnation, reason: &'static str, after: OnPersisted) {
        let Some(addr) = self.table.get(name).filter(|row| row.life == life).map(|row| row.addr) else { return };
        self.say(ServerEvent::ClientOffline { name: name.clone(), reason });
        self.change_row(name, addr, life, false, after);
    }

    /// A client de-registers: told to all, then acknowledged.
    pub(super) fn dereg(&mut self, now: Instant, life: Incarnation, r: u64) {
        self.leave_group(life);
        let Some(session) = self.sessions.get_mut(&life) else { return };
        session.standing = SessionState::Left;
        let Some(name) = session.name.clone() else { return };
        self.offline(&name, life, "dereg", OnPersisted::Answer { life, frame: answer(r, RequestOutcome::Ok) });
        self.asked_in_vain(now, &name);
    }

    /// A client gives notice that it ends.
    pub(super) fn bye(&mut self, now: Instant, life: Incarnation) {
        // One that left or was lost is offline already, and everybody knows.
        let session = self.sessions.get(&life).filter(|session| session.is_reading());
        let name = session.and_then(|session| session.name.clone());
        self.close(life);
        if let Some(name) = name {
            self.offline(&name, life, "leave", OnPersisted::Nothing);
            self.asked_in_vain(now, &name);
        }
    }

    /// Names that were offline for long and have no mail are dropped.
    pub(super) fn purge(&mut self, now: Instant) {
        self.next_purge = now + PURGE_EVERY;
        let kept = i64::try_from(NAME_KEPT.as_micros()).unwrap_or(i64::MAX);
        let old = self.door.unix.micros().saturating_sub(kept);
        let rows = self.table.iter().filter(|(_, row)| !row.online && row.seen.micros() <= old);
        let idle = rows.filter(|(name, row)| !self.mail.concerns(name) && !self.is_returning(row.life));
        let names: Vec<(Name, Incarnation)> = idle.map(|(name, row)| (name.clone(), row.life)).collect();
        for (name, life) in names {
            self.close(life);
            self.drop_name(&name);
        }
    }
}
