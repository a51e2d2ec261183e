//! Presence: moves clients online and offline. It routes between sessions, pings, groups and the table.
//!
//! A name has one holder. Another client gets the name of an online holder only after the holder failed to answer a
//! ping.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::proto::event::reason::{OfflineReason, Reason, RemovalReason};
use crate::proto::event::server::ServerEvent;
use crate::proto::id::Incarnation;
use crate::proto::keys::PublicKey;
use crate::proto::name::Name;
use crate::proto::server::intake::OnPersisted;
use crate::proto::server::ping::{PingDatagram, PingTimeout, PingWaiters};
use crate::proto::server::replies::{RequestId, answer};
use crate::proto::server::saves::SaveList;
use crate::proto::server::sessions::{Session, Silence};
use crate::proto::server::table::{Holder, NAMES, TableRow};
use crate::proto::server::{LIMIT, Server};
use crate::proto::time::{Instant, Timestamp};
use crate::proto::wire::{Datagram, Frame, Header, RequestOutcome};

/// A name without mail is dropped after this time offline: 30 days.
pub const NAME_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// The time between two searches for names to drop.
pub(super) const PURGE_EVERY: Duration = Duration::from_secs(3600);
/// Time limit for a client to answer the ping that a restarted server sends it.
const RESTART_LIMIT: Duration = Duration::from_secs(1);

impl Server {
    /// Opens a session for a client that proved its address and its key, or moves its session to this address. Returns
    /// whether the datagram does so.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        client: Incarnation,
        datagram: &Datagram<'_>,
    ) -> bool {
        let (Some(key), Some(cookie)) = (datagram.head.key, &datagram.head.cookie) else { return false };
        if !self.cookies.check(now, addr, client, cookie) || !self.sessions.may_open(client, datagram.head.pn) {
            return false;
        }
        // The incarnations in the table are public. Only the key in the row may use one.
        let known = self.table.name_of(client).and_then(|name| self.table.get(name)).map(|row| row.key);
        if known.is_some_and(|known| known != PublicKey::NONE && known != key) {
            return false;
        }
        if let Some(session) = self.sessions.get_mut(client) {
            let Some(link) = self.links.get_mut(client).filter(|link| link.is_new(datagram)) else { return false };
            link.moved(addr);
            session.set_addr(addr);
            return true;
        }
        if !self.links.is_authentic(client, key, datagram) {
            return false;
        }
        if let Some(oldest) = self.sessions.make_room() {
            self.close(oldest);
        }
        if self.links.open(client, addr, key).is_none() {
            return false;
        }
        self.sessions.open(now, client, addr, key);
        true
    }

    /// Closes the sessions that have no name at their time limit, and those that left some time ago.
    pub(super) fn finished_timeout(&mut self, now: Instant) {
        for client in self.sessions.expire_finished(now) {
            self.close(client);
        }
    }

    /// Removes a client, with its link.
    fn close(&mut self, client: Incarnation) {
        self.leave_group(client);
        self.saves.forget(client);
        self.sessions.close(client);
        self.links.close(client);
    }

    /// Handles a request to register.
    pub(super) fn register(&mut self, now: Instant, request: RequestId, name: Name, via: IpAddr) {
        let Some(session) = self.sessions.get_mut(request.client) else { return };
        session.set_via(via);
        if !session.accepts_name(&name) {
            return self.refuse(request, &name, Reason::OtherName);
        }
        let has_other_holder = match self.table.get(&name) {
            None if self.table.len() >= NAMES => return self.refuse(request, &name, Reason::ServerFull),
            None => false,
            Some(row) => {
                row.incarnation != request.client && (row.online || self.sessions.is_returning(row.incarnation))
            }
        };
        if has_other_holder {
            self.ping(now, &name, LIMIT);
            if !self.pings.add_claim(&name, request) {
                self.refuse(request, &name, Reason::NameInUse);
            }
        } else {
            self.give_name(now, request, name);
        }
    }

    /// Registers a client under a name that is free or its own.
    fn give_name(&mut self, now: Instant, request: RequestId, name: Name) {
        let client = request.client;
        let Some(session) = self.sessions.get_mut(client) else { return };
        let (addr, key) = (session.addr(), session.key());
        session.set_name(name.clone());
        let before = self.table.get(&name).map(|row| row.incarnation);
        if let Some(before) = before.filter(|before| *before != client) {
            if let Some(link) = self.links.get(before) {
                self.sessions.displace(now, before, link.highest_received());
            }
            self.close(before);
        }
        // The other clients get the row when the client is online. The record already marks it online, so that it is
        // pinged after a crash.
        self.table.put(name.clone(), Holder { addr, incarnation: client, key }, false, self.output.unix);
        self.persist_row(&name, true, OnPersisted::Nothing);
        self.read_channel(&name);
        self.say(ServerEvent::ClientRegistered { name: name.clone(), addr: addr.to_string() });
        if let Some(waiters) = self.pings.end(&name) {
            self.ping_answered(&name, waiters);
        }
        self.welcome(now, request, &name);
    }

    /// Lets a name read the channel from now on, unless it does already.
    pub(super) fn read_channel(&mut self, name: &Name) {
        if let Some(cursor) = self.logs.register(name) {
            self.persist_cursor(cursor);
        }
    }

    /// Sends the welcome. The stored mail follows, and the table when the client has acknowledged the mail.
    fn welcome(&mut self, now: Instant, request: RequestId, name: &Name) {
        let client = request.client;
        self.leave_group(client);
        if self.sessions.get(client).is_none() {
            return;
        }
        self.logs.set_online(name, false);
        self.logs.rewind(name);
        let mail = self.mail.count(name) + self.logs.waiting(name);
        self.sessions.welcome(now, client, self.last_written);
        if let Some(link) = self.links.get_mut(client) {
            link.abort();
            link.push(Frame::Welcome { r: request.number, name: name.clone(), mail }, None, None);
        }
        self.ready_readers.insert(client);
        self.try_go_online(client);
    }

    /// Moves a returning client online if it has acknowledged its stored mail.
    pub(super) fn try_go_online(&mut self, client: Incarnation) {
        if !self.sessions.is_returning(client) || self.has_backlog(client) {
            return;
        }
        let Some(session) = self.sessions.get_mut(client) else { return };
        let Some(name) = session.name().cloned() else { return };
        session.go_online();
        let holder = session.holder(client);
        self.logs.set_online(&name, true);
        self.push_receipts(client);
        self.change_row(&name, holder, true, OnPersisted::Nothing);
        self.schedule_update(client);
        self.ready_readers.insert(client);
    }

    /// Notes that a datagram of a client arrived. `answer` is the number of the ping that it answers.
    pub(super) fn heard(&mut self, now: Instant, client: Incarnation, answer: Option<u32>) {
        let was_lost = self.sessions.hear(now, client);
        let Some(session) = self.sessions.get(client) else { return };
        let addr = session.addr();
        let Some(name) = session.name().cloned() else { return };
        if answer.is_some_and(|number| self.pings.is_answer(&name, client, number))
            && let Some(waiters) = self.pings.end(&name)
        {
            self.ping_answered(&name, waiters);
        }
        if was_lost {
            self.say(ServerEvent::ClientRegistered { name: name.clone(), addr: addr.to_string() });
            self.welcome(now, RequestId { client, number: 0 }, &name);
        }
    }

    /// Pings the clients whose silence timer fired, and stops sending to offline ones.
    pub(super) fn silence_timeout(&mut self, now: Instant) {
        for client in self.sessions.take_silence_timers(now) {
            match self.sessions.silence_timeout(now, client) {
                Silence::Nothing => {}
                Silence::Ping => self.start_ping(now, client),
                Silence::StopSending => {
                    self.saves.forget(client);
                    self.stop_sending(client);
                }
            }
        }
    }

    /// Aborts everything in flight to an offline client, because it will not acknowledge.
    fn stop_sending(&mut self, client: Incarnation) {
        let Some(session) = self.sessions.get_mut(client).filter(|session| !session.is_reading()) else { return };
        session.abort();
        if let Some(name) = session.name() {
            self.logs.rewind(name);
        }
        if let Some(link) = self.links.get_mut(client) {
            link.abort();
        }
    }

    /// Moves the holder of a name offline, because it did not answer a ping.
    fn lose(&mut self, client: Incarnation, name: &Name) {
        if let Some((group, name)) = self.end_membership(client) {
            self.say(ServerEvent::Removed { group, name, reason: RemovalReason::NotResponsive });
        }
        if let Some(session) = self.sessions.get_mut(client) {
            session.lose();
        }
        self.stop_sending(client);
        self.go_offline(name, client, OfflineReason::Silent, OnPersisted::Nothing);
    }

    fn go_offline(&mut self, name: &Name, client: Incarnation, reason: OfflineReason, then: OnPersisted) {
        let Some(holder) = self.table.get(name).map(TableRow::holder).filter(|holder| holder.incarnation == client)
        else {
            return;
        };
        self.logs.set_online(name, false);
        self.say(ServerEvent::ClientOffline { name: name.clone(), reason });
        self.change_row(name, holder, false, then);
    }

    /// De-registers a client. The answer is sent when the record is on disk.
    pub(super) fn deregister(&mut self, now: Instant, request: RequestId) {
        let RequestId { client, number } = request;
        self.leave_group(client);
        let Some(session) = self.sessions.get_mut(client) else { return };
        session.deregister();
        let Some(name) = session.name().cloned() else { return };
        let frame = answer(number, RequestOutcome::Ok);
        self.go_offline(&name, client, OfflineReason::Dereg, OnPersisted::Reply { client, frame });
        self.end_ping(now, &name);
    }

    /// Handles the notice of a client that shuts down.
    pub(super) fn bye(&mut self, now: Instant, client: Incarnation) {
        // A client that is not reading is already offline.
        let session = self.sessions.get(client);
        if let Some(name) = session.and_then(Session::name) {
            self.logs.rewind(name);
        }
        let name = session.filter(|session| session.is_reading()).and_then(|session| session.name().cloned());
        self.leave_group(client);
        self.saves.forget(client);
        self.sessions.leave(now, client);
        if let Some(link) = self.links.get_mut(client) {
            link.abort();
            link.discard_received();
            // The session stays for a while, so that a repeated notice gets an answer.
            link.push_unnumbered(Frame::Bye, None);
        }
        if let Some(name) = name {
            self.go_offline(&name, client, OfflineReason::Leave, OnPersisted::Nothing);
            self.end_ping(now, &name);
        }
    }

    /// Drops the names that were offline for [`NAME_KEPT`] and have no mail.
    pub(super) fn purge(&mut self, now: Instant) {
        self.next_purge = now + PURGE_EVERY;
        self.drop_old_messages();
        let kept = i64::try_from(NAME_KEPT.as_micros()).unwrap_or(i64::MAX);
        let old = self.output.unix.micros().saturating_sub(kept);
        let rows = self.table.iter().filter(|(_, row)| !row.online && row.seen.micros() <= old);
        let has_mail = |name: &Name| self.mail.concerns(name) || self.logs.waiting(name) > 0;
        let is_unused = |name: &Name, holder| !has_mail(name) && !self.sessions.is_returning(holder);
        let unused = rows.filter(|(name, row)| is_unused(name, row.incarnation));
        let names: Vec<(Name, Incarnation)> = unused.map(|(name, row)| (name.clone(), row.incarnation)).collect();
        for (name, client) in names {
            self.close(client);
            self.logs.remove_reader(&name);
            self.drop_name(&name);
        }
    }

    fn drop_old_messages(&mut self) {
        let age = i64::try_from(self.logs.retention().age.as_micros()).unwrap_or(i64::MAX);
        self.logs.drop_older(Timestamp::from_micros(self.output.unix.micros().saturating_sub(age)));
    }

    /// Pings all clients that were online before the server restarted.
    pub(super) fn ping_all(&mut self, now: Instant) {
        let online = self.table.iter().filter(|(_, row)| row.online);
        let names: Vec<Name> = online.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.ping(now, &name, RESTART_LIMIT);
        }
    }

    /// Pings a client that did not acknowledge a message in time, or was silent for too long.
    pub(super) fn start_ping(&mut self, now: Instant, client: Incarnation) {
        let session = self.sessions.get(client).filter(|session| session.is_reading());
        if let Some(name) = session.and_then(|session| session.name().cloned()) {
            self.ping(now, &name, LIMIT);
        }
    }

    /// Makes a list wait until its reader answers a ping. Returns the list if too many wait already.
    pub(super) fn ping_reader(&mut self, now: Instant, list: SaveList) -> Option<SaveList> {
        self.ping(now, &list.to, LIMIT);
        self.pings.add_list(list)
    }

    fn ping(&mut self, now: Instant, name: &Name, limit: Duration) {
        let Some(row) = self.table.get(name) else { return };
        if let Some(ping) = self.pings.start(now, name, row.incarnation, limit) {
            self.send_ping(row.addr, ping);
        }
    }

    fn send_ping(&mut self, to: SocketAddr, ping: PingDatagram) {
        match self.links.get_mut(ping.client) {
            Some(link) => link.ask(ping.number),
            // After a restart there is no link. The client does not trust the datagram, and looks for the server.
            None => {
                let head = Header { ask: Some(ping.number), ..Header::new(self.me, Some(ping.client)) };
                self.output.send(to, &head, None);
            }
        }
    }

    /// Retransmits the pings that are due, and ends the pings that failed.
    pub(super) fn ping_timeout(&mut self, now: Instant) {
        for (name, timeout) in self.pings.expired(now) {
            match timeout {
                PingTimeout::Failed => self.end_ping(now, &name),
                PingTimeout::Retransmit => {
                    if let Some(addr) = self.table.get(&name).map(|row| row.addr)
                        && let Some(ping) = self.pings.transmit(now, &name)
                    {
                        self.send_ping(addr, ping);
                    }
                }
            }
        }
    }

    /// Makes a ping of this name fail now, because its holder is gone.
    fn end_ping(&mut self, now: Instant, name: &Name) {
        if let Some(waiters) = self.pings.end(name) {
            self.ping_failed(now, name, waiters);
        }
    }

    /// Ends a ping without an answer. The holder goes offline, the messages are stored, and the first client that still
    /// wants the name gets it.
    fn ping_failed(&mut self, now: Instant, name: &Name, waiters: PingWaiters) {
        let PingWaiters { holder, claims, lists, .. } = waiters;
        let is_online = self.table.get(name).is_some_and(|row| row.incarnation == holder && row.online);
        if is_online || self.sessions.is_reading(holder) {
            self.lose(holder, name);
        }
        for list in lists {
            self.keep(list);
        }
        // A client may have left since its claim, or have got another name that it claimed too.
        let still_wants =
            |claim: &RequestId| self.sessions.get(claim.client).is_some_and(|session| session.accepts_name(name));
        let first = claims.iter().position(still_wants);
        for (at, claim) in claims.into_iter().enumerate() {
            if Some(at) == first {
                self.give_name(now, claim, name.clone());
            } else {
                self.refuse(claim, name, Reason::NameInUse);
            }
        }
    }

    /// Ends a ping because the name has a holder that answers: the client that was pinged, or a new one. Refuses the
    /// claims of other clients. Senders get the holder's row, to send their messages directly.
    fn ping_answered(&mut self, name: &Name, waiters: PingWaiters) {
        for claim in waiters.claims {
            if self.table.get(name).is_some_and(|row| row.incarnation != claim.client) {
                self.refuse(claim, name, Reason::NameInUse);
            }
        }
        for list in waiters.lists {
            match self.row_for(list.request.client, name).filter(|row| row.online) {
                Some(row) => {
                    self.introduce(list.request.client, name);
                    self.answer_list(list.request, self.known_of(&list), RequestOutcome::Exists, Some(row));
                }
                None => self.keep(list),
            }
        }
    }
}
