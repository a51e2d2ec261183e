//! Requests to the server: each is repeated until its outcome, and its answer ends a command.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::proto::client::{ATTEMPTS, Client, LIMIT};
use crate::proto::event::MessageKind;
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::{Reason, RequestWord};
use crate::proto::id::MessageId;
use crate::proto::link::Tag;
use crate::proto::name::Name;
use crate::proto::time::Instant;
use crate::proto::wire::{Frame, RequestOutcome, Row};

/// What a request asks, and what its answer needs.
#[derive(Debug)]
pub enum RequestKind {
    Dereg,
    Save { to: Name },
    SendAll { id: MessageId },
    Lookup { name: Name },
    Create { group: Name },
    Groups { groups: Vec<Name> },
    Join { group: Name },
    Say { id: MessageId },
    Members { group: Name, members: Vec<Name> },
    Leave { group: Name },
}

impl RequestKind {
    fn name(&self) -> RequestWord {
        match self {
            Self::Dereg => RequestWord::Dereg,
            Self::Save { .. } => RequestWord::Send,
            Self::SendAll { .. } => RequestWord::SendAll,
            Self::Lookup { .. } => RequestWord::Lookup,
            Self::Create { .. } => RequestWord::CreateGroup,
            Self::Groups { .. } => RequestWord::ListGroups,
            Self::Join { .. } => RequestWord::JoinGroup,
            Self::Say { .. } => RequestWord::SendGroup,
            Self::Members { .. } => RequestWord::ListMembers,
            Self::Leave { .. } => RequestWord::LeaveGroup,
        }
    }

    fn attempts(&self) -> u32 {
        if matches!(self, Self::Lookup { .. }) { 1 } else { ATTEMPTS }
    }

    fn changes_mode(&self) -> bool {
        matches!(self, Self::Dereg | Self::Join { .. } | Self::Leave { .. })
    }
}

#[derive(Debug)]
struct Request {
    cmd: Option<u64>,
    what: RequestKind,
    frame: Frame,
    attempt: u32,
    ends: Instant,
    /// Whether the frame is on the link and not yet received.
    under_way: bool,
}

/// All requests without outcome, by number.
#[derive(Debug, Default)]
pub struct Requests {
    pending: BTreeMap<u64, Request>,
    last: u64,
}

impl Requests {
    /// The number of the next request of this life.
    pub fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether one of them decides what may be typed next.
    pub fn changes_mode(&self) -> bool {
        self.pending.values().any(|request| request.what.changes_mode())
    }

    /// The server received this one: its attempts are counted anew.
    pub fn worked_on(&mut self, now: Instant, r: Tag, limit: Duration) {
        if let Some(request) = self.pending.get_mut(&r) {
            request.under_way = false;
            request.attempt = 1;
            request.ends = now + limit;
        }
    }

    /// The link is gone, with all that was on it.
    pub fn lost_link(&mut self) {
        for request in self.pending.values_mut() {
            request.under_way = false;
        }
    }

    /// Nothing is asked any more.
    pub fn clear(&mut self) {
        self.pending.clear();
    }

    /// When the next attempt ends.
    pub fn deadline(&self) -> Option<Instant> {
        self.pending.values().map(|request| request.ends).min()
    }
}

impl Client {
    /// Asks the server. `frame` is given the request's number.
    pub(super) fn request(
        &mut self,
        now: Instant,
        cmd: Option<u64>,
        what: RequestKind,
        frame: impl FnOnce(u64) -> Frame,
    ) {
        let r = self.requests.next_number();
        let frame = frame(r);
        let request = Request { cmd, what, frame, attempt: 1, ends: now + LIMIT, under_way: false };
        self.requests.pending.insert(r, request);
        self.need_server(now);
        self.push_request(r);
    }

    fn push_request(&mut self, r: u64) {
        let Some(request) = self.requests.pending.get_mut(&r).filter(|request| !request.under_way) else { return };
        // A de-registered or forgotten client has a link too, but only what was begun before is still asked on it.
        let server = self.home.incarnation.filter(|_| self.registration.is_none());
        if let Some(link) = server.and_then(|incarnation| self.links.get_mut(incarnation)) {
            link.push(request.frame.clone(), Some(r), None);
            request.under_way = true;
        }
    }

    /// The server knows us (again): what has no outcome is asked (again), in order.
    pub(super) fn requests_again(&mut self) {
        for request in self.requests.pending.values_mut() {
            // A list that was cut off comes again from its beginning.
            if let RequestKind::Groups { groups: names } | RequestKind::Members { members: names, .. } =
                &mut request.what
            {
                names.clear();
            }
        }
        let pending: Vec<u64> = self.requests.pending.keys().copied().collect();
        for r in pending {
            self.push_request(r);
        }
    }

    pub(super) fn requests_timeout(&mut self, now: Instant) {
        let due = self.requests.pending.iter().filter(|(_, request)| request.ends <= now);
        let due: Vec<u64> = due.map(|(r, _)| *r).collect();
        for r in due {
            let Some(request) = self.requests.pending.get_mut(&r) else { continue };
            if request.attempt >= request.what.attempts() {
                self.unanswered(now, r);
                continue;
            }
            request.attempt += 1;
            request.ends = now + LIMIT;
            let (cmd, what, attempt) = (request.cmd, request.what.name(), request.attempt);
            self.say(cmd, ClientEvent::Retry { what, attempt, of: ATTEMPTS });
            self.push_request(r);
        }
    }

    /// A request had all its attempts. Only `send_all` and a look-up leave the program running.
    fn unanswered(&mut self, now: Instant, r: u64) {
        let Some(request) = self.requests.pending.remove(&r) else { return };
        if request.under_way {
            self.withdraw_requests();
        }
        match request.what {
            RequestKind::Lookup { name } => self.unknown_reader(now, &name, false),
            RequestKind::SendAll { .. } => {
                let what = request.what.name();
                self.say(request.cmd, ClientEvent::ServerUnreachable { what, attempts: ATTEMPTS });
                self.done(request.cmd, Some(Reason::ServerUnreachable));
            }
            _ => self.lost_server(now, request.what.name(), request.cmd),
        }
    }

    /// Takes everything off the link and puts back what is still wanted.
    fn withdraw_requests(&mut self) {
        if let Some(link) = self.home.incarnation.and_then(|incarnation| self.links.get_mut(incarnation)) {
            link.abort();
        }
        self.requests.lost_link();
        let pending: Vec<u64> = self.requests.pending.keys().copied().collect();
        for r in pending {
            self.push_request(r);
        }
    }

    /// An answer came. One to a request without number here is old, and ignored.
    pub(super) fn answered(&mut self, now: Instant, r: u64, answer: Answer) {
        let Some(mut request) = self.requests.pending.remove(&r) else { return };
        if answer.more {
            if let RequestKind::Groups { groups: names } | RequestKind::Members { members: names, .. } =
                &mut request.what
            {
                names.extend(answer.names);
            }
            self.requests.pending.insert(r, request);
            return;
        }
        let cmd = request.cmd;
        match (request.what, answer.is) {
            (RequestKind::Dereg, _) => self.deregistered(cmd),
            (RequestKind::Save { to }, outcome) => self.save_answered(now, &to, outcome, answer.row),
            (RequestKind::Lookup { name }, RequestOutcome::Exists) => self.found_reader(now, &name, answer.row),
            (RequestKind::Lookup { name }, _) => self.unknown_reader(now, &name, true),
            (RequestKind::SendAll { id }, RequestOutcome::Accepted) => {
                self.accepted(cmd, MessageKind::Channel, id, answer.n)
            }
            (RequestKind::Say { id }, RequestOutcome::Accepted) => self.accepted(cmd, MessageKind::Group, id, answer.n),
            (RequestKind::SendAll { .. } | RequestKind::Say { .. }, RequestOutcome::Failed) => {
                self.fail(cmd, Reason::NotSaved, "[The server could not save the message.]".to_owned());
            }
            (RequestKind::SendAll { .. } | RequestKind::Say { .. }, _) => {
                self.fail(cmd, Reason::Rejected, "[The server did not accept the message.]".to_owned());
            }
            (RequestKind::Create { group }, RequestOutcome::Ok) => {
                self.say(cmd, ClientEvent::GroupCreated { group });
                self.done(cmd, None);
            }
            (RequestKind::Create { group }, RequestOutcome::Exists) => {
                self.say(cmd, ClientEvent::GroupExists { group });
                self.done(cmd, Some(Reason::GroupExists));
            }
            (RequestKind::Create { group } | RequestKind::Join { group }, RequestOutcome::Full) => {
                let message = format!("[Group {group}: a limit of the server is reached.]");
                self.fail(cmd, Reason::GroupLimit, message);
            }
            (RequestKind::Create { group }, _) => {
                self.fail(cmd, Reason::NotSaved, format!("[The server could not save the group {group}.]"));
            }
            (RequestKind::Join { group }, RequestOutcome::Ok) => {
                self.say(cmd, ClientEvent::Joined { group: group.clone() });
                self.group = Some(group);
                self.done(cmd, None);
            }
            (RequestKind::Join { group }, _) => {
                self.say(cmd, ClientEvent::NoSuchGroup { group });
                self.done(cmd, Some(Reason::NoSuchGroup));
            }
            (RequestKind::Groups { mut groups }, _) => {
                groups.extend(answer.names);
                self.say(cmd, ClientEvent::Groups { groups });
                self.done(cmd, None);
            }
            (RequestKind::Members { group, mut members }, RequestOutcome::Names) => {
                members.extend(answer.names);
                self.say(cmd, ClientEvent::Members { group, members });
                self.done(cmd, None);
            }
            (RequestKind::Members { group, .. }, _) => {
                self.fail(cmd, Reason::NotAMember, format!("[The server does not know you in the group {group}.]"));
            }
            (RequestKind::Leave { group }, _) => self.left(cmd, group),
        }
    }

    fn accepted(&mut self, cmd: Option<u64>, kind: MessageKind, id: MessageId, recipients: usize) {
        self.say(cmd, ClientEvent::Accepted { kind, id, recipients });
        self.done(cmd, None);
    }

    fn left(&mut self, cmd: Option<u64>, group: Name) {
        if self.group.take().is_some() {
            self.say_bare(cmd, ClientEvent::Left { group });
            self.show_held();
        }
        self.done(cmd, None);
    }
}

/// The members of an `answer` frame that requests look at.
#[derive(Debug)]
pub struct Answer {
    /// What became of it.
    pub is: RequestOutcome,
    /// A count.
    pub n: usize,
    /// A row of the table.
    pub row: Option<Row>,
    /// Some names.
    pub names: Vec<Name>,
    /// Whether further names follow.
    pub more: bool,
}
