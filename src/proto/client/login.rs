//! Registers a client, also again after its server was restarted, and keeps it alive at the server.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::proto::client::phase::{ClientPhase, PendingLogin, RegistrationState};
use crate::proto::client::registration::{Registration, RegistrationTimeout};
use crate::proto::client::{ATTEMPTS, Client, LIMIT};
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::{Problem, Reason, RemovalReason, RequestWord};
use crate::proto::event::sentences::Sentence;
use crate::proto::id::Incarnation;
use crate::proto::status::Status;
use crate::proto::time::Instant;
use crate::proto::wire::{Frame, Header};

/// How often a silent client says that it is there: more often than every 20 s, so that one may be late.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

impl Client {
    /// Begins to register because a user waits for it: from the start, or after the command `reg`.
    pub(super) fn enter(&mut self, now: Instant, cmd: Option<u64>) {
        self.phase = ClientPhase::Connecting { cmd };
        self.register(now);
    }

    /// Begins to register, on the link to the server if there is one. Otherwise looks for a server.
    fn register(&mut self, now: Instant) {
        let token = format!("{:016x}", self.rng.bits());
        self.registration = RegistrationState::Registering(Registration::new(now, token));
        match self.server.incarnation.filter(|incarnation| self.links.get(*incarnation).is_some()) {
            Some(incarnation) => self.send_reg(incarnation, String::new()),
            None => self.registration_timeout(now),
        }
    }

    fn send_reg(&mut self, server: Incarnation, cookie: String) {
        let r = self.requests.next_number();
        let via = self.server.addr.map_or_else(|| Ipv4Addr::LOCALHOST.into(), |addr| addr.ip());
        let frame = Frame::Reg { r, name: self.name.clone(), cookie, via };
        if let Some(link) = self.links.get_mut(server) {
            link.push(frame, Some(r), None);
        }
        if let Some(registration) = self.registration.attempt_mut() {
            registration.requested(r);
        }
    }

    /// A server answered `hello`.
    pub(super) fn challenged(
        &mut self,
        now: Instant,
        from: SocketAddr,
        server: Incarnation,
        token: &str,
        cookie: &str,
    ) {
        if !self.registration.attempt().is_some_and(|registration| registration.expects(token)) {
            return;
        }
        if let Some(old) = self.server.incarnation.filter(|old| *old != server) {
            self.links.close(old);
        }
        self.server.incarnation = Some(server);
        self.server.addr = Some(from);
        self.server.last_sent = now;
        if self.links.open(server, from).is_some() {
            self.send_reg(server, cookie.to_owned());
        }
    }

    /// The server received a request: it is being processed, and its attempts are counted anew.
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
            Some(RegistrationTimeout::Retry { attempt, is_requested }) => {
                self.say(
                    self.phase.reg_command(),
                    ClientEvent::Retry { what: RequestWord::Reg, attempt, of: ATTEMPTS },
                );
                if is_requested {
                    // A server that was restarted knows nothing of the request, and says so in its answer.
                    self.send_alive(now);
                }
            }
            None => {}
        }
        let registration = self.registration.attempt_mut();
        if let Some(token) = registration.and_then(|registration| registration.next_hello(now)) {
            let head = Header::new(self.me, None);
            for to in &self.server.candidates {
                self.door.send(*to, &head, Some(Frame::Hello { token: token.clone() }));
            }
        }
    }

    /// Between the welcome and the first table, a server that is silent for all attempts is lost.
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

    /// A datagram of the server arrived. During a login it counts its attempts anew: mail and table may still come.
    pub(super) fn server_is_there(&mut self, now: Instant) {
        self.server.unanswered = 0;
        if let ClientPhase::LoggingIn(login) = &mut self.phase {
            login.attempt = 1;
            login.ends = now + LIMIT;
        }
    }

    /// When the registration, or else the login, has its next timeout.
    pub(super) fn login_deadline(&self) -> Option<Instant> {
        match (&self.registration, &self.phase) {
            (RegistrationState::Registering(registration), _) => registration.deadline(),
            (_, ClientPhase::LoggingIn(login)) => Some(login.ends),
            _ => None,
        }
    }

    fn registration_failed(&mut self, now: Instant) {
        self.registration = RegistrationState::Unregistered;
        // A client that only lost its server goes on without it. It ends if its user waits for the registration.
        if self.phase.is_entering() {
            return self.lost_server(now, RequestWord::Reg, self.phase.reg_command());
        }
        // A link repeats its frames without end, and the keep-alive, which registers again, waits for a silent client.
        self.requests.lost_link();
        if let Some(link) = self.server.incarnation.and_then(|incarnation| self.links.get_mut(incarnation)) {
            link.abort();
        }
    }

    /// `welcome` came, for `reg` or unasked.
    pub(super) fn welcomed(&mut self, now: Instant, mail: usize) {
        self.registration = RegistrationState::Registered;
        self.server.last_sent = now;
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

    /// A whole table arrived. The first one after the welcome completes the login.
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
            self.drop_commands(reason);
            return self.end(now, false, None);
        }
        self.phase = ClientPhase::Offline;
        self.table.left(self.name.as_str());
        if let Some(group) = self.group.take() {
            self.say_bare(None, ClientEvent::Removed { group, reason: RemovalReason::Refused(reason) });
            self.show_held();
        }
        self.drop_begun(reason);
    }

    /// Requests and messages that have begun cannot reach the server any more: they fail.
    fn drop_begun(&mut self, reason: Reason) {
        self.requests.clear();
        self.outbox.clear();
        for link in self.links.iter_mut() {
            link.abort();
        }
        for cmd in self.commands.begun() {
            self.done(Some(cmd), Some(reason));
        }
    }

    /// Nobody is at `from` with the incarnation `gone`: the server was restarted, or the reader was.
    pub(super) fn not_there(&mut self, now: Instant, from: SocketAddr, gone: Incarnation) {
        if Some(gone) == self.server.incarnation {
            if Some(from) == self.server.addr {
                self.forgotten(now);
            }
        } else if self.links.get(gone).is_some_and(|link| link.addr() == from) {
            self.reader_gone(now, gone);
        }
    }

    /// A datagram came from the server's address, of another incarnation: the server was restarted.
    pub(super) fn other_server(&mut self, now: Instant, head: &Header) {
        if head.ask.is_some() {
            self.forgotten(now);
        }
    }

    fn forgotten(&mut self, now: Instant) {
        // A server answered. If it is lost again, the next keep-alive looks for it, and that has its time.
        self.server.unanswered = 0;
        if let Some(incarnation) = self.server.incarnation.take() {
            self.links.close(incarnation);
        }
        self.requests.lost_link();
        match (&self.phase, &mut self.registration) {
            (ClientPhase::Closing(_), _) => self.end(now, false, None),
            (ClientPhase::LoggingIn(_) | ClientPhase::Online, RegistrationState::Registered) => {
                let message = Sentence::ServerRestarted.to_string();
                self.say(None, ClientEvent::Warning { code: Problem::ServerRestarted, message, definite: true });
                self.register(now);
            }
            (_, RegistrationState::Registering(registration)) => {
                registration.look_again(now);
                self.registration_timeout(now);
            }
            _ => {}
        }
    }

    /// A request waits. If no server knows this client, it registers again.
    pub(super) fn need_server(&mut self, now: Instant) {
        if matches!(self.registration, RegistrationState::Unregistered) && self.phase.is_online() {
            self.register(now);
        }
    }

    /// The server did not answer in all attempts, and the user waits for it: the program ends.
    pub(super) fn lost_server(&mut self, now: Instant, what: RequestWord, cmd: Option<u64>) {
        self.say(cmd, ClientEvent::ServerUnreachable { what, attempts: ATTEMPTS });
        self.status = self.status.or(Status::Environment);
        self.done(cmd, Some(Reason::ServerUnreachable));
        self.drop_commands(Reason::ServerUnreachable);
        let group = self.group.clone();
        self.show_held();
        self.end(now, true, group);
    }

    /// Every command without outcome fails.
    fn drop_commands(&mut self, reason: Reason) {
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
            self.need_server(now);
        }
    }

    /// Sends a frame that the server answers, whether it knows this client or not.
    fn send_alive(&mut self, now: Instant) {
        if let (Some(incarnation), Some(addr)) = (self.server.incarnation, self.server.addr) {
            self.server.last_sent = now;
            let head = Header { ask: Some(0), ..Header::new(self.me, Some(incarnation)) };
            self.door.send(addr, &head, Some(Frame::Alive { table: self.table.version() }));
        }
    }

    pub(super) fn keep_alive_deadline(&self) -> Option<Instant> {
        // One that was not answered may be lost: five attempts each time, as with every request to the server.
        let wait = if self.server.unanswered.is_multiple_of(ATTEMPTS) { KEEP_ALIVE } else { LIMIT };
        self.phase.is_online().then_some(self.server.last_sent + wait)
    }
}
