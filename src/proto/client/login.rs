//! Registers a client, registers it again after a restart of the server, and sends keep-alives.
//!
//! `welcome` registers the client. Its login is complete only when the first table after `welcome` was applied.

use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::client::phase::{ClientPhase, PendingLogin, RegistrationState};
use crate::proto::client::registration::{Registration, RegistrationStep, RegistrationTimeout};
use crate::proto::client::{ATTEMPTS, Client, LIMIT};
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::{Problem, Reason, RemovalReason, RequestWord};
use crate::proto::event::sentences::Sentence;
use crate::proto::id::Incarnation;
use crate::proto::keys::PublicKey;
use crate::proto::link::{Opening, PROBE};
use crate::proto::status::Status;
use crate::proto::time::Instant;
use crate::proto::wire::{self, Frame};

/// Interval of keep-alives of a client that sends nothing else. The wire format allows 20 s, so that one can be late.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

impl Client {
    /// Begins a registration for which the user waits: at the start, or after the command `reg`.
    pub(super) fn enter(&mut self, now: Instant, cmd: Option<u64>) {
        self.phase = ClientPhase::Connecting { cmd };
        self.register(now);
    }

    /// Begins a registration: sends `reg` on the link to the server, or `hello` if there is no link.
    fn register(&mut self, now: Instant) {
        let token = self.new_token();
        self.registration = RegistrationState::Registering(Registration::new(now, token));
        match self.server.incarnation.filter(|incarnation| self.links.get(*incarnation).is_some()) {
            Some(incarnation) => self.send_reg(incarnation),
            None => self.registration_timeout(now),
        }
    }

    fn new_token(&mut self) -> String {
        format!("{:016x}", self.rng.bits())
    }

    fn send_reg(&mut self, server: Incarnation) {
        let r = self.requests.next_number();
        if let Some(link) = self.links.get_mut(server) {
            link.push(Frame::Reg { r, name: self.name.clone(), via: link.addr().ip() }, Some(r), None);
        }
        if let Some(registration) = self.registration.attempt_mut() {
            registration.requested(r);
        }
    }

    /// Processes the answer of a server to `hello`. The server must have the key of the first one that answered.
    pub(super) fn challenged(
        &mut self,
        now: Instant,
        from: SocketAddr,
        server: Incarnation,
        key: PublicKey,
        token: &str,
        cookie: String,
    ) {
        let is_known = Some(server) == self.server.incarnation;
        // An eavesdropper can answer first, in the name of an incarnation that does not exist. A challenge of the
        // incarnation that registered this client still counts.
        let is_overtaken = is_known && self.server.next.is_some();
        let registration = self.registration.attempt_mut();
        let Some(registration) = registration.filter(|attempt| attempt.expects(token, is_overtaken)) else { return };
        if *self.server.key.get_or_insert(key) != key {
            return;
        }
        if let Some((old, _)) = self.server.next.take_if(|(next, _)| *next != server) {
            self.links.close(old);
        }
        if is_known && registration.is_again {
            // The address of the link stays: the source of a challenge can be forged.
            registration.check(cookie);
            return self.send_alive(now);
        }
        self.server.next = Some((server, from)).filter(|_| !is_known);
        if self.links.open(server, from, key).is_some() {
            self.open_link(server, cookie);
            self.send_reg(server);
        }
    }

    fn open_link(&mut self, server: Incarnation, cookie: String) {
        let key = self.links.public_key();
        if let Some(link) = self.links.get_mut(server) {
            link.open_with(Opening { key, cookie });
        }
    }

    /// Notes an authentic datagram of the server. It ends the search for a restarted one, or it is the first datagram
    /// of a restarted one, which replaces the earlier incarnation.
    pub(super) fn server_authenticated(&mut self, now: Instant, peer: Incarnation) {
        if let Some((next, addr)) = self.server.next.filter(|(next, _)| *next == peer) {
            self.server.next = None;
            self.server.addr = Some(addr);
            self.server.last_sent = now;
            if let Some(old) = self.server.incarnation.replace(next) {
                self.links.close(old);
            }
            self.requests.lost_link();
            if !matches!(self.phase, ClientPhase::Connecting { .. }) {
                let message = Sentence::ServerRestarted.to_string();
                self.say(None, ClientEvent::Warning { code: Problem::ServerRestarted, message, definite: true });
            }
        } else if self.registration.attempt().is_some_and(Registration::is_checking) {
            self.registration = RegistrationState::Registered;
            self.push_requests();
        }
    }

    /// Restarts the attempts of a request that the server has acknowledged and processes now.
    pub(super) fn request_received(&mut self, now: Instant, r: u64) {
        let registration = self.registration.attempt_mut();
        if !registration.is_some_and(|registration| registration.received(now, r)) {
            self.requests.received(now, r);
        }
    }

    pub(super) fn registration_timeout(&mut self, now: Instant) {
        let Some(registration) = self.registration.attempt_mut() else { return };
        match registration.expire(now) {
            Some(RegistrationTimeout::Failed) => return self.registration_failed(now),
            Some(RegistrationTimeout::Retry { attempt, next }) => {
                let what = RequestWord::Reg;
                self.say(self.phase.reg_command(), ClientEvent::Retry { what, attempt, of: ATTEMPTS });
                match (next, self.server.incarnation) {
                    (RegistrationStep::Register { cookie }, Some(server)) => {
                        self.open_link(server, cookie);
                        self.send_reg(server);
                    }
                    (RegistrationStep::KeepAlive, _) => self.send_alive(now),
                    _ => {}
                }
            }
            None => {}
        }
        let registration = self.registration.attempt_mut();
        if let Some(token) = registration.and_then(|registration| registration.next_hello(now)) {
            let hello = wire::emit_hello(self.me, &token);
            for to in &self.server.candidates {
                self.output.send_bytes(*to, hello.clone());
            }
        }
    }

    /// Limits the wait between `welcome` and the first table. A server that is silent in all attempts is unreachable.
    pub(super) fn login_timeout(&mut self, now: Instant) {
        let ClientPhase::LoggingIn(login) = &mut self.phase else { return };
        if self.registration.attempt().is_some() || login.ends > now {
            return;
        }
        let cmd = login.cmd;
        if login.attempt >= ATTEMPTS {
            return self.lost_server(now, RequestWord::Reg, cmd);
        }
        login.attempt += 1;
        login.ends = now + LIMIT;
        let attempt = login.attempt;
        self.say(cmd, ClientEvent::Retry { what: RequestWord::Reg, attempt, of: ATTEMPTS });
        self.send_alive(now);
    }

    /// Notes a datagram of the server. It restarts the attempts of a login, because mail and table can still follow.
    pub(super) fn server_alive(&mut self, now: Instant) {
        self.server.unanswered = 0;
        self.requests.heard(now);
        if let ClientPhase::LoggingIn(login) = &mut self.phase {
            login.attempt = 1;
            login.ends = now + LIMIT;
        }
    }

    /// The next timeout of the registration, or of the login if no registration is in progress.
    pub(super) fn login_deadline(&self) -> Option<Instant> {
        match (&self.registration, &self.phase) {
            (RegistrationState::Registering(registration), _) => registration.deadline(),
            (_, ClientPhase::LoggingIn(login)) => Some(login.ends),
            _ => None,
        }
    }

    fn registration_failed(&mut self, now: Instant) {
        self.registration = RegistrationState::Unregistered;
        // The client ends only if the user waits for the registration. Otherwise it continues without its server.
        if self.phase.is_entering() {
            return self.lost_server(now, RequestWord::Reg, self.phase.reg_command());
        }
        if let Some((next, _)) = self.server.next.take() {
            self.links.close(next);
        }
        // A link retransmits without limit, and the keep-alive that registers again is due only when nothing is sent.
        self.requests.lost_link();
        if let Some(link) = self.server.incarnation.and_then(|incarnation| self.links.get_mut(incarnation)) {
            link.abort();
        }
    }

    /// Processes `welcome`, which answers `reg` or comes unrequested.
    pub(super) fn welcomed(&mut self, now: Instant, mail: usize) {
        self.registration = RegistrationState::Registered;
        self.server.last_sent = now;
        self.table.discard_incoming();
        let cmd = self.phase.reg_command();
        match self.phase {
            ClientPhase::Connecting { cmd } => {
                self.phase = ClientPhase::LoggingIn(PendingLogin { cmd, attempt: 1, ends: now + LIMIT });
            }
            ClientPhase::Offline => self.phase = ClientPhase::Online,
            _ => {}
        }
        self.say(cmd, ClientEvent::Registered { name: self.name.clone() });
        if let Some(group) = self.group.take() {
            self.say(cmd, ClientEvent::Removed { group, reason: RemovalReason::RegisteredAgain });
            self.show_held();
        }
        self.inbox.announce(mail);
        self.retry_requests();
    }

    /// Completes the login when the first update of the table after `welcome` was applied.
    pub(super) fn login_completed(&mut self) {
        if let ClientPhase::LoggingIn(PendingLogin { cmd, .. }) = self.phase
            && self.registration.is_registered()
        {
            self.phase = ClientPhase::Online;
            self.done(cmd, None);
        }
    }

    pub(super) fn refused(&mut self, now: Instant, reason: &str) {
        self.registration = RegistrationState::Unregistered;
        let reason = match reason.parse() {
            Ok(reason @ (Reason::NameInUse | Reason::ServerFull)) => reason,
            _ => Reason::Refused,
        };
        let cmd = self.phase.reg_command();
        self.say(cmd, ClientEvent::Refused { name: self.name.clone(), reason, definite: true });
        self.status = self.status.or(Status::Failed);
        self.done(cmd, Some(reason));
        if matches!(self.phase, ClientPhase::Connecting { cmd: None }) {
            self.fail_commands(reason);
            return self.end(now, false, None);
        }
        self.phase = ClientPhase::Offline;
        self.table.set_offline(self.name.as_str());
        if let Some(group) = self.group.take() {
            self.say_bare(None, ClientEvent::Removed { group, reason: RemovalReason::Refused(reason) });
            self.show_held();
        }
        self.fail_begun(reason);
    }

    /// Drops pending requests and messages, and fails the commands that have begun.
    fn fail_begun(&mut self, reason: Reason) {
        self.requests.clear();
        self.posts.clear();
        self.outbox.clear();
        for link in self.links.iter_mut() {
            link.abort();
        }
        for cmd in self.commands.begun() {
            self.done(Some(cmd), Some(reason));
        }
    }

    /// Follows a hint, which anybody can forge, that the server was restarted: looks for it by `hello`. Nothing else
    /// changes before an authentic datagram arrives.
    pub(super) fn suspect_restart(&mut self, now: Instant) {
        match (&self.phase, &mut self.registration) {
            (ClientPhase::LoggingIn(_) | ClientPhase::Online, RegistrationState::Registered) => {
                if self.server.suspected_at.is_some_and(|at| now < at + LIMIT) {
                    return;
                }
                self.server.suspected_at = Some(now);
                // A server may have answered, so the next keep-alive is due only after the full interval.
                self.server.unanswered = 0;
                let token = self.new_token();
                self.registration = RegistrationState::Registering(Registration::again(now, token));
            }
            (_, RegistrationState::Registering(registration)) => registration.look_again(now),
            _ => return,
        }
        self.registration_timeout(now);
    }

    /// Registers an online client that no server knows, because a request waits.
    pub(super) fn ensure_registered(&mut self, now: Instant) {
        if matches!(self.registration, RegistrationState::Unregistered) && self.phase.is_online() {
            self.register(now);
        }
    }

    /// Ends the program: the server answered none of the attempts, and the user waits for it.
    pub(super) fn lost_server(&mut self, now: Instant, what: RequestWord, cmd: Option<u64>) {
        self.say(cmd, ClientEvent::ServerUnreachable { what, attempts: ATTEMPTS });
        self.status = self.status.or(Status::Environment);
        self.done(cmd, Some(Reason::ServerUnreachable));
        self.fail_commands(Reason::ServerUnreachable);
        let group = self.group.clone();
        self.show_held();
        self.end(now, true, group);
    }

    /// Fails all commands without outcome.
    fn fail_commands(&mut self, reason: Reason) {
        for cmd in self.commands.drop_backlog() {
            self.done(Some(cmd), Some(reason));
        }
    }

    pub(super) fn keep_alive(&mut self, now: Instant) {
        if self.keep_alive_deadline().is_none_or(|at| at > now) {
            return;
        }
        self.server.last_sent = now;
        if self.registration.is_registered() && self.server.incarnation.is_some() {
            self.server.unanswered = self.server.unanswered.saturating_add(1);
            self.send_alive(now);
        } else {
            self.ensure_registered(now);
        }
    }

    /// Sends `alive`. The server answers it even if it does not know this client.
    fn send_alive(&mut self, now: Instant) {
        let server = self.server.next.map(|(next, _)| next).or(self.server.incarnation);
        if let Some(link) = server.and_then(|server| self.links.get_mut(server)) {
            self.server.last_sent = now;
            link.push_unnumbered(Frame::Alive { table: self.table.version() }, Some(PROBE));
        }
    }

    pub(super) fn keep_alive_deadline(&self) -> Option<Instant> {
        // An unanswered keep-alive may be lost. It is sent up to `ATTEMPTS` times, like every request to the server,
        // before the long interval follows.
        let wait = if self.server.unanswered.is_multiple_of(ATTEMPTS) { KEEP_ALIVE } else { LIMIT };
        self.phase.is_online().then_some(self.server.last_sent + wait)
    }
}
