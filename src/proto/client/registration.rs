//! Coming: registration, coming back, and the keep-alive.

use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::client::{ATTEMPTS, Client, LIMIT, Presence};
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::{Problem, Reason, RemovalReason, RequestWord};
use crate::proto::id::Incarnation;
use crate::proto::link::rtt::Rtt;
use crate::proto::status::Status;
use crate::proto::time::{Instant, earliest};
use crate::proto::wire::{Frame, Header};

/// How often a silent client says that it is there: more often than every 20 s, so that one may be late.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A registration under way.
#[derive(Debug)]
pub struct Registration {
    attempt: u32,
    ends: Instant,
    token: String,
    /// While the server's challenge is awaited: how many copies of `hello` left, and when the next does.
    hello: Option<(u32, Instant)>,
    /// The number of the `reg` request, once it is on its link.
    r: Option<u64>,
}

/// A user waits to be let in: from the start, or from `reg`, to the first whole table.
#[derive(Debug)]
pub struct PendingLogin {
    /// The command `reg`, if that is why.
    pub cmd: Option<u64>,
    /// After the welcome: the attempts to hear from the server, whose mail and table are to come.
    attempt: u32,
    ends: Instant,
}

impl Client {
    /// Begins to register because a user waits for it.
    pub(super) fn enter(&mut self, now: Instant, cmd: Option<u64>) {
        self.entering = Some(PendingLogin { cmd, attempt: 1, ends: now + LIMIT });
        self.register(now);
    }

    /// Begins to register: with the link to the server if there is one, else by looking for the server.
    fn register(&mut self, now: Instant) {
        self.home.registered = false;
        let token = format!("{:016x}", self.rng.bits());
        let known = self.home.incarnation.filter(|incarnation| self.links.get(*incarnation).is_some());
        let registration = Registration { attempt: 1, ends: now + LIMIT, token, hello: None, r: None };
        self.registration = Some(registration);
        match known {
            Some(incarnation) => self.send_reg(incarnation, String::new()),
            None => self.look_for_server(now),
        }
    }

    fn look_for_server(&mut self, now: Instant) {
        if let Some(registration) = &mut self.registration {
            registration.hello = Some((0, now));
            registration.r = None;
            self.registration_timeout(now);
        }
    }

    fn send_reg(&mut self, server: Incarnation, cookie: String) {
        let r = self.requests.next_number();
        let via = self.home.addr.map_or_else(|| std::net::Ipv4Addr::LOCALHOST.into(), |addr| addr.ip());
        let frame = Frame::Reg { r, name: self.name.clone(), cookie, via };
        if let Some(link) = self.links.get_mut(server) {
            link.push(frame, Some(r), None);
        }
        if let Some(registration) = &mut self.registration {
            registration.hello = None;
            registration.r = Some(r);
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
        let ours = |registration: &&Registration| registration.hello.is_some() && registration.token == token;
        if self.registration.as_ref().filter(ours).is_none() {
            return;
        }
        if let Some(old) = self.home.incarnation.filter(|old| *old != server) {
            self.links.close(old);
        }
        self.home.incarnation = Some(server);
        self.home.addr = Some(from);
        self.home.last_sent = now;
        if self.links.open(server, from).is_some() {
            self.send_reg(server, cookie.to_owned());
        }
    }

    /// The server received a request: it is being worked on, and the attempts are counted anew.
    pub(super) fn worked_on(&mut self, now: Instant, r: u64) {
        match &mut self.registration {
            Some(registration) if registration.r == Some(r) => {
                registration.attempt = 1;
                registration.ends = now + LIMIT;
            }
            _ => self.requests.worked_on(now, r, LIMIT),
        }
    }

    pub(super) fn registration_timeout(&mut self, now: Instant) {
        let Some(registration) = &mut self.registration else { return };
        if registration.ends <= now {
            if registration.attempt >= ATTEMPTS {
                return self.registration_failed(now);
            }
            registration.attempt += 1;
            registration.ends = now + LIMIT;
            let attempt = registration.attempt;
            let is_asked = registration.r.is_some();
            let cmd = self.entering.as_ref().and_then(|entering| entering.cmd);
            self.say(cmd, ClientEvent::Retry { what: RequestWord::Reg, attempt, of: ATTEMPTS });
            if is_asked {
                // Perhaps it is another server by now, that knows nothing of this: it will say so.
                self.send_alive(now);
            }
        }
        let Some(registration) = &mut self.registration else { return };
        if let Some((copies, due)) = &mut registration.hello
            && *due <= now
        {
            *copies += 1;
            *due = now + Rtt::default().timeout(*copies);
            let token = registration.token.clone();
            let head = Header::new(self.me, None);
            for to in self.home.candidates.clone() {
                self.door.send(to, &head, Some(Frame::Hello { token: token.clone() }));
            }
        }
    }

    /// Between the welcome and the first table: a server that says nothing any more is lost.
    pub(super) fn entering_timeout(&mut self, now: Instant) {
        let Some(entering) = self.entering.as_mut().filter(|_| self.registration.is_none()) else { return };
        if entering.ends > now {
            return;
        }
        let cmd = entering.cmd;
        if entering.attempt >= ATTEMPTS {
            self.entering = None;
            return self.lost_server(now, RequestWord::Reg, cmd);
        }
        entering.attempt += 1;
        entering.ends = now + LIMIT;
        let attempt = entering.attempt;
        self.say(cmd, ClientEvent::Retry { what: RequestWord::Reg, attempt, of: ATTEMPTS });
        self.send_alive(now);
    }

    /// Word of the server: what it owes to a user that is being let in is still to come.
    pub(super) fn server_is_there(&mut self, now: Instant) {
        self.home.unanswered = 0;
        if let Some(entering) = &mut self.entering {
            entering.attempt = 1;
            entering.ends = now + LIMIT;
        }
    }

    pub(super) fn registration_deadline(&self) -> Option<Instant> {
        match &self.registration {
            Some(registration) => earliest(Some(registration.ends), registration.hello.map(|(_, due)| due)),
            None => self.entering.as_ref().map(|entering| entering.ends),
        }
    }

    fn registration_failed(&mut self, now: Instant) {
        self.registration = None;
        // A client that only lost its server goes on without it; one that a user waits for does not.
        if let Some(entering) = self.entering.take() {
            return self.lost_server(now, RequestWord::Reg, entering.cmd);
        }
        // A link repeats what it has for ever, and whoever speaks has no need of a keep-alive, which tries again.
        self.requests.lost_link();
        if let Some(link) = self.home.incarnation.and_then(|incarnation| self.links.get_mut(incarnation)) {
            link.abort();
        }
    }

    /// `welcome` came, for `reg` or unasked.
    pub(super) fn welcomed(&mut self, now: Instant, mail: usize) {
        self.registration = None;
        self.home.registered = true;
        self.home.last_sent = now;
        if matches!(self.presence, Presence::Starting | Presence::Offline) {
            self.presence = Presence::Online;
        }
        let cmd = self.entering.as_ref().and_then(|entering| entering.cmd);
        self.say(cmd, ClientEvent::Registered { name: self.name.clone() });
        if let Some(group) = self.group.take() {
            self.say(cmd, ClientEvent::Removed { group, reason: RemovalReason::RegisteredAgain });
            self.show_held();
        }
        self.inbox.announce(mail);
        self.requests_again();
    }

    /// The first table after the welcome is there: the user may go on.
    pub(super) fn entered(&mut self) {
        if self.home.registered
            && let Some(entering) = self.entering.take()
        {
            self.done(entering.cmd, None);
        }
    }

    pub(super) fn refused(&mut self, now: Instant, reason: &str) {
        self.registration = None;
        let reason = match reason.parse() {
            Ok(reason @ (Reason::NameInUse | Reason::ServerFull)) => reason,
            _ => Reason::Refused,
        };
        let cmd = self.entering.take().and_then(|entering| entering.cmd);
        self.say(cmd, ClientEvent::Refused { name: self.name.clone(), reason, definite: true });
        self.status = self.status.or(Status::Failed);
        self.done(cmd, Some(reason));
        match self.presence {
            Presence::Starting => {
                self.drop_commands(reason);
                self.end(now, false, None);
            }
            _ => {
                self.presence = Presence::Offline;
                self.table.left(self.name.as_str());
                if let Some(group) = self.group.take() {
                    self.say_bare(None, ClientEvent::Removed { group, reason: RemovalReason::Refused(reason) });
                    self.show_held();
                }
                self.drop_under_way(reason);
            }
        }
    }

    /// What was asked of the server or sent by now has no way any more: it failed.
    fn drop_under_way(&mut self, reason: Reason) {
        self.requests.clear();
        self.outboxes.clear();
        self.tags.clear();
        for link in self.links.iter_mut() {
            link.abort();
        }
        let waiting = self.backlog.iter().map(|(cmd, _)| *cmd).chain(self.finishing.flatten());
        let waiting: Vec<u64> = waiting.collect();
        for cmd in self.open.clone().into_iter().filter(|cmd| !waiting.contains(cmd)) {
            self.done(Some(cmd), Some(reason));
        }
    }

    /// Whoever was addressed as `gone` is not there: the server that knew us, or a reader's earlier life.
    pub(super) fn not_there(&mut self, now: Instant, from: SocketAddr, gone: Incarnation) {
        if Some(gone) == self.home.incarnation {
            if Some(from) == self.home.addr {
                self.forgotten(now);
            }
        } else if self.links.get(gone).is_some_and(|link| link.addr() == from) {
            self.reader_gone(now, gone);
        }
    }

    /// A datagram came from the server's address, of another life than the one we know: it was restarted.
    pub(super) fn other_server(&mut self, now: Instant, head: &Header) {
        if head.ask.is_some() {
            self.forgotten(now);
        }
    }

    fn forgotten(&mut self, now: Instant) {
        // This was word of a server. If it is lost again, the next keep-alive looks for it, and that has its time.
        self.home.unanswered = 0;
        if let Some(incarnation) = self.home.incarnation.take() {
            self.links.close(incarnation);
        }
        self.requests.lost_link();
        match self.presence {
            Presence::Leaving => self.end(now, false, None),
            Presence::Online if self.home.registered => {
                let message = "[The server was restarted, registering again.]".to_owned();
                self.say(None, ClientEvent::Warning { code: Problem::ServerRestarted, message, definite: true });
                self.register(now);
            }
            _ if self.registration.is_some() => self.look_for_server(now),
            _ => {}
        }
    }

    /// A request waits and no server knows us: look for one.
    pub(super) fn need_server(&mut self, now: Instant) {
        if !self.home.registered && self.registration.is_none() && self.presence == Presence::Online {
            self.register(now);
        }
    }

    /// The server did not answer what a user waits for: the program ends.
    pub(super) fn lost_server(&mut self, now: Instant, what: RequestWord, cmd: Option<u64>) {
        self.say(cmd, ClientEvent::ServerUnreachable { what, attempts: ATTEMPTS });
        self.status = self.status.or(Status::Environment);
        self.done(cmd, Some(Reason::ServerUnreachable));
        self.drop_commands(Reason::ServerUnreachable);
        let group = self.group.clone();
        self.show_held();
        self.end(now, true, group);
    }

    /// Every command without outcome has one now: it failed.
    fn drop_commands(&mut self, reason: Reason) {
        self.backlog.clear();
        for cmd in self.open.clone() {
            self.done(Some(cmd), Some(reason));
        }
    }

    pub(super) fn keep_alive(&mut self, now: Instant) {
        if self.keep_alive_deadline().is_none_or(|at| at > now) {
            return;
        }
        self.home.last_sent = now;
        if self.home.registered && self.home.incarnation.is_some() {
            self.home.unanswered = self.home.unanswered.saturating_add(1);
            self.send_alive(now);
        } else {
            self.need_server(now);
        }
    }

    /// A word to the server that it answers, one way or the other.
    fn send_alive(&mut self, now: Instant) {
        if let (Some(incarnation), Some(addr)) = (self.home.incarnation, self.home.addr) {
            self.home.last_sent = now;
            let head = Header { ask: Some(0), ..Header::new(self.me, Some(incarnation)) };
            self.door.send(addr, &head, Some(Frame::Alive { table: self.table.version() }));
        }
    }

    pub(super) fn keep_alive_deadline(&self) -> Option<Instant> {
        // One that was not answered may be lost: five attempts each time, as with everything that is asked of the server.
        let wait = if self.home.unanswered.is_multiple_of(ATTEMPTS) { KEEP_ALIVE } else { LIMIT };
        (self.presence == Presence::Online).then_some(self.home.last_sent + wait)
    }
}
