//! Requests to the server, with their attempts and timeouts.
//!
//! A request is pending until its answer or its last timeout, also while there is no link to the server. A request that
//! the server received is not sent again, unless the server registers the client anew: one probe asks for all of them.
//! Everything that the server sends restarts the attempts of all requests; only the answer settles one.

use std::collections::{BTreeMap, BTreeSet};

use crate::proto::client::phase::RegistrationState;
use crate::proto::client::{ATTEMPTS, Client, LIMIT};
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::RequestWord;
use crate::proto::id::MessageId;
use crate::proto::link::{Link, PROBE, Tag};
use crate::proto::name::Name;
use crate::proto::time::Instant;
use crate::proto::wire::{Answer, Frame};

/// All requests without outcome, by number.
#[derive(Debug, Default)]
pub struct Requests {
    pending: BTreeMap<u64, Request>,
    /// When an attempt of each request ends, unless the server is heard before.
    timers: BTreeSet<(Instant, u64)>,
    /// The number of pending requests that change the mode.
    mode_changes: usize,
    /// When the server was last heard.
    heard_at: Instant,
    /// The newest number; 0 before the first one.
    last: u64,
}

/// The kind of a request, with the data that its answer needs. `bytes` is the length of the text of a message.
#[derive(Debug)]
pub enum RequestKind {
    Dereg,
    /// The first `count` messages to `to`.
    Save {
        to: Name,
        count: usize,
    },
    SendAll {
        id: MessageId,
        bytes: usize,
    },
    Lookup {
        name: Name,
    },
    Create {
        group: Name,
    },
    Groups,
    Join {
        group: Name,
    },
    Say {
        id: MessageId,
        bytes: usize,
    },
    Members {
        group: Name,
    },
    Leave {
        group: Name,
    },
}

#[derive(Debug)]
struct Request {
    cmd: Option<u64>,
    kind: RequestKind,
    /// The last frame ends the request. It has the number of the request.
    frames: Vec<Frame>,
    attempt: u32,
    /// When the attempt began.
    since: Instant,
    state: RequestState,
    /// The names that have arrived, for a list that spans several answers.
    names: Vec<Name>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestState {
    /// Waits for a link to the server.
    Queued,
    /// On the link and not yet acknowledged.
    OnLink,
    /// The server received it.
    Received,
}

/// A request that is no longer pending, because of its answer or its last timeout.
#[derive(Debug)]
pub struct SettledRequest {
    pub cmd: Option<u64>,
    pub kind: RequestKind,
    /// Whether the frame was still on the link.
    pub is_on_link: bool,
}

/// The end of an attempt.
#[derive(Debug)]
pub enum RequestTimeout {
    /// The next attempt has begun. The caller puts the request on the link unless it is there or was received, and
    /// asks for the received ones.
    Retry {
        cmd: Option<u64>,
        what: RequestWord,
        attempt: u32,
        is_received: bool,
        /// Whether the server left something unanswered in the attempt before.
        is_silent: bool,
    },
    /// That was the last attempt.
    Failed(SettledRequest),
}

impl Requests {
    /// Allocates the number of the next request of this incarnation. Messages use these numbers as tags.
    pub fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Adds the request `r`.
    pub fn add(&mut self, now: Instant, r: u64, cmd: Option<u64>, kind: RequestKind, frames: Vec<Frame>) {
        self.mode_changes += usize::from(kind.changes_mode());
        let state = RequestState::Queued;
        let request = Request { cmd, kind, frames, attempt: 1, since: now, state, names: Vec::new() };
        self.timers.insert((request.ends(), r));
        self.pending.insert(r, request);
    }

    fn remove(&mut self, r: u64) -> Option<Request> {
        let request = self.pending.remove(&r)?;
        self.mode_changes -= usize::from(request.kind.changes_mode());
        self.timers.remove(&(request.ends(), r));
        Some(request)
    }

    /// Puts a request on the link unless it is there.
    pub fn push(&mut self, r: u64, link: &mut Link) {
        if let Some(request) = self.pending.get_mut(&r) {
            request.push(r, link);
        }
    }

    /// Puts all requests on the link in order, except those that are there or were received.
    pub fn push_all(&mut self, link: &mut Link) {
        for (r, request) in &mut self.pending {
            request.push(*r, link);
        }
    }

    /// Notes a datagram of the server. Attempts begin anew when their timers fire.
    pub fn heard(&mut self, now: Instant) {
        self.heard_at = now;
    }

    /// Notes that the server received a request.
    pub fn received(&mut self, now: Instant, r: Tag) {
        let Some(request) = self.pending.get_mut(&r) else { return };
        request.state = RequestState::Received;
        self.timers.remove(&(request.ends(), r));
        (request.attempt, request.since) = (1, now);
        self.timers.insert((request.ends(), r));
    }

    /// Notes that the link was closed or aborted, so that no request is on it.
    pub fn lost_link(&mut self) {
        for request in self.pending.values_mut().filter(|request| request.state == RequestState::OnLink) {
            request.state = RequestState::Queued;
        }
    }

    /// Notes that the server forgot the requests that it received.
    pub fn forgotten(&mut self) {
        for request in self.pending.values_mut().filter(|request| request.state == RequestState::Received) {
            request.state = RequestState::Queued;
        }
    }

    /// Discards partial lists, because a new incarnation of the server sends every list from its beginning.
    pub fn restart_lists(&mut self) {
        for request in self.pending.values_mut() {
            request.names.clear();
        }
    }

    /// Processes an answer. Returns the settled request and the complete answer, or `None` while more names follow. An
    /// answer with an unknown number is outdated and is ignored.
    pub fn answered(&mut self, mut answer: Answer) -> Option<(SettledRequest, Answer)> {
        let request = self.pending.get_mut(&answer.request)?;
        if answer.more {
            if matches!(request.kind, RequestKind::Groups | RequestKind::Members { .. }) {
                request.names.append(&mut answer.names);
            }
            return None;
        }
        let mut request = self.remove(answer.request)?;
        request.names.append(&mut answer.names);
        answer.names = std::mem::take(&mut request.names);
        Some((request.settle(), answer))
    }

    /// The requests whose timer fired, in order of their timers.
    pub fn due(&self, now: Instant) -> Vec<u64> {
        self.timers.iter().take_while(|(at, _)| *at <= now).map(|(_, r)| *r).collect()
    }

    /// Begins the next attempt of a request whose timer fired, or removes it after its last one. Begins the attempts
    /// anew if the server was heard in this one.
    pub fn expire(&mut self, now: Instant, r: u64) -> Option<RequestTimeout> {
        let heard_at = self.heard_at;
        let request = self.pending.get_mut(&r)?;
        let attempts = request.kind.attempts();
        let is_heard = heard_at > request.since && attempts > 1;
        if !is_heard && request.attempt >= attempts {
            return self.remove(r).map(|request| RequestTimeout::Failed(request.settle()));
        }
        self.timers.remove(&(request.ends(), r));
        let is_received = request.state == RequestState::Received;
        // The first attempt of a received request asks nothing.
        let is_silent = !is_received || request.attempt > 1;
        (request.attempt, request.since) = if is_heard { (1, heard_at) } else { (request.attempt + 1, now) };
        self.timers.insert((request.ends(), r));
        let (cmd, what, attempt) = (request.cmd, request.kind.name(), request.attempt);
        (!is_heard).then_some(RequestTimeout::Retry { cmd, what, attempt, is_received, is_silent })
    }

    /// When the first timer fires.
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Whether the outcome of a pending request decides which commands are allowed next.
    pub fn changes_mode(&self) -> bool {
        self.mode_changes > 0
    }

    /// Whether no request is pending.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Drops all requests.
    pub fn clear(&mut self) {
        self.pending.clear();
        self.timers.clear();
        self.mode_changes = 0;
    }
}

impl Request {
    fn push(&mut self, r: u64, link: &mut Link) {
        if self.state != RequestState::Queued {
            return;
        }
        self.state = RequestState::OnLink;
        if let Some((last, items)) = self.frames.split_last() {
            for item in items {
                link.push(item.clone(), None, None);
            }
            link.push(last.clone(), Some(r), None);
        }
    }

    fn ends(&self) -> Instant {
        self.since + LIMIT
    }

    fn settle(self) -> SettledRequest {
        SettledRequest { cmd: self.cmd, kind: self.kind, is_on_link: self.state == RequestState::OnLink }
    }
}

impl RequestKind {
    /// The command to which such a request belongs.
    pub fn name(&self) -> RequestWord {
        match self {
            Self::Dereg => RequestWord::Dereg,
            Self::Save { .. } => RequestWord::Send,
            Self::SendAll { .. } => RequestWord::SendAll,
            Self::Lookup { .. } => RequestWord::Lookup,
            Self::Create { .. } => RequestWord::CreateGroup,
            Self::Groups => RequestWord::ListGroups,
            Self::Join { .. } => RequestWord::JoinGroup,
            Self::Say { .. } => RequestWord::SendGroup,
            Self::Members { .. } => RequestWord::ListMembers,
            Self::Leave { .. } => RequestWord::LeaveGroup,
        }
    }

    fn attempts(&self) -> u32 {
        if matches!(self, Self::Lookup { .. }) { 1 } else { ATTEMPTS }
    }

    /// The bytes of text of a message to everybody or to a group.
    pub fn post_bytes(&self) -> Option<usize> {
        if let Self::SendAll { bytes, .. } | Self::Say { bytes, .. } = self { Some(*bytes) } else { None }
    }

    fn changes_mode(&self) -> bool {
        matches!(self, Self::Dereg | Self::Join { .. } | Self::Leave { .. })
    }
}

impl Client {
    /// Adds a request and sends it as soon as the server knows this client. `frame` receives the request number.
    pub(super) fn request(
        &mut self,
        now: Instant,
        cmd: Option<u64>,
        kind: RequestKind,
        frame: impl FnOnce(u64) -> Frame,
    ) {
        let r = self.requests.next_number();
        self.add_request(now, r, cmd, kind, vec![frame(r)]);
    }

    /// Adds the request `r`, which consists of several frames.
    pub(super) fn add_request(
        &mut self,
        now: Instant,
        r: u64,
        cmd: Option<u64>,
        kind: RequestKind,
        frames: Vec<Frame>,
    ) {
        self.requests.add(now, r, cmd, kind, frames);
        self.ensure_registered(now);
        self.push_request(r);
    }

    fn push_request(&mut self, r: u64) {
        if let Some((requests, link)) = self.requests_and_link() {
            requests.push(r, link);
        }
    }

    pub(super) fn push_requests(&mut self) {
        if let Some((requests, link)) = self.requests_and_link() {
            requests.push_all(link);
        }
    }

    /// The pending requests and the link to the server. `None` during a registration, when requests have to wait. A
    /// de-registered client keeps its link: earlier requests are still sent on it.
    fn requests_and_link(&mut self) -> Option<(&mut Requests, &mut Link)> {
        if matches!(self.registration, RegistrationState::Registering(_)) {
            return None;
        }
        Some((&mut self.requests, self.links.get_mut(self.server.incarnation?)?))
    }

    /// Sends all pending requests in order, after the server has registered this client.
    pub(super) fn retry_requests(&mut self) {
        self.requests.restart_lists();
        self.requests.forgotten();
        self.push_requests();
    }

    pub(super) fn requests_timeout(&mut self, now: Instant) {
        let (mut is_probe_due, mut has_failed_post, mut has_failed_on_link) = (false, false, false);
        for r in self.requests.due(now) {
            match self.requests.expire(now, r) {
                Some(RequestTimeout::Retry { cmd, what, attempt, is_received, is_silent }) => {
                    if is_silent {
                        self.say(cmd, ClientEvent::Retry { what, attempt, of: ATTEMPTS });
                    }
                    is_probe_due |= is_received;
                    self.push_request(r);
                }
                Some(RequestTimeout::Failed(request)) => {
                    has_failed_post |= request.kind.post_bytes().is_some();
                    has_failed_on_link |= request.is_on_link;
                    self.request_failed(now, request);
                }
                None => {}
            }
        }
        if has_failed_post {
            self.posts_failed(now);
        }
        // Once for all of them, because it encodes all pending requests again.
        if has_failed_on_link {
            self.abort_requests();
        }
        if let Some((_, link)) = self.requests_and_link().filter(|_| is_probe_due) {
            link.ask(PROBE);
        }
    }

    /// Handles a request without answer after its last attempt. The client ends, except after `send_all` and a look-up.
    fn request_failed(&mut self, now: Instant, SettledRequest { cmd, kind, .. }: SettledRequest) {
        match kind {
            RequestKind::Lookup { name } => self.unknown_reader(now, &name, false),
            RequestKind::SendAll { bytes, .. } => self.post_failed(cmd, bytes),
            _ => self.lost_server(now, kind.name(), cmd),
        }
    }

    /// Drops all requests from the link, then sends the pending ones again. A link retransmits without limit, so a
    /// failed request would otherwise stay on it.
    fn abort_requests(&mut self) {
        if let Some(link) = self.server.incarnation.and_then(|incarnation| self.links.get_mut(incarnation)) {
            link.abort();
        }
        self.requests.lost_link();
        self.push_requests();
    }
}
