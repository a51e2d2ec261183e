//! Pending requests to the server, with their attempts and timeouts. Each ends with an answer or with its last timeout.
//!
//! An acknowledgement by the server restarts the attempts of a request; only the answer settles it.

use std::collections::BTreeMap;

use crate::proto::client::{ATTEMPTS, LIMIT};
use crate::proto::event::reason::RequestWord;
use crate::proto::id::MessageId;
use crate::proto::link::{Link, Tag};
use crate::proto::name::Name;
use crate::proto::time::Instant;
use crate::proto::wire::{Answer, Frame};

/// All requests without outcome, by number.
#[derive(Debug, Default)]
pub struct Requests {
    pending: BTreeMap<u64, Request>,
    /// The newest number; 0 before the first one.
    last: u64,
}

/// The kind of a request, with the data that its answer needs.
#[derive(Debug)]
pub enum RequestKind {
    Dereg,
    Save { to: Name },
    SendAll { id: MessageId },
    Lookup { name: Name },
    Create { group: Name },
    Groups,
    Join { group: Name },
    Say { id: MessageId },
    Members { group: Name },
    Leave { group: Name },
}

#[derive(Debug)]
struct Request {
    cmd: Option<u64>,
    kind: RequestKind,
    frame: Frame,
    attempt: u32,
    ends: Instant,
    /// Whether the frame is on the link and not yet acknowledged.
    is_on_link: bool,
    /// The names that have arrived, for a list that spans several answers.
    names: Vec<Name>,
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
    /// The next attempt has begun. The caller puts the request on the link unless it is there.
    Retry { cmd: Option<u64>, what: RequestWord, attempt: u32 },
    /// That was the last attempt.
    Failed(SettledRequest),
}

impl Requests {
    /// Allocates the number of the next request of this incarnation. Messages use these numbers as tags.
    pub fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Adds a request and returns its number, which `frame` receives.
    pub fn add(&mut self, now: Instant, cmd: Option<u64>, kind: RequestKind, frame: impl FnOnce(u64) -> Frame) -> u64 {
        let r = self.next_number();
        let (frame, ends) = (frame(r), now + LIMIT);
        let request = Request { cmd, kind, frame, attempt: 1, ends, is_on_link: false, names: Vec::new() };
        self.pending.insert(r, request);
        r
    }

    /// Puts a request on the link unless it is there.
    pub fn push(&mut self, r: u64, link: &mut Link) {
        if let Some(request) = self.pending.get_mut(&r) {
            request.push(r, link);
        }
    }

    /// Puts all requests on the link in order, except those that are there.
    pub fn push_all(&mut self, link: &mut Link) {
        for (r, request) in &mut self.pending {
            request.push(*r, link);
        }
    }

    /// Restarts the attempts of a request that the server has acknowledged.
    pub fn received(&mut self, now: Instant, r: Tag) {
        if let Some(request) = self.pending.get_mut(&r) {
            request.is_on_link = false;
            request.attempt = 1;
            request.ends = now + LIMIT;
        }
    }

    /// Notes that the link was closed or aborted, so that no request is on it.
    pub fn lost_link(&mut self) {
        for request in self.pending.values_mut() {
            request.is_on_link = false;
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
        let mut request = self.pending.remove(&answer.request)?;
        request.names.append(&mut answer.names);
        answer.names = std::mem::take(&mut request.names);
        Some((request.settle(), answer))
    }

    /// The requests whose attempt has ended, in order.
    pub fn due(&self, now: Instant) -> Vec<u64> {
        self.pending.iter().filter(|(_, request)| request.ends <= now).map(|(r, _)| *r).collect()
    }

    /// Begins the next attempt of a request, or removes it after its last one.
    pub fn expire(&mut self, now: Instant, r: u64) -> Option<RequestTimeout> {
        let request = self.pending.get_mut(&r)?;
        if request.attempt >= request.kind.attempts() {
            return self.pending.remove(&r).map(|request| RequestTimeout::Failed(request.settle()));
        }
        request.attempt += 1;
        request.ends = now + LIMIT;
        Some(RequestTimeout::Retry { cmd: request.cmd, what: request.kind.name(), attempt: request.attempt })
    }

    /// The earliest end of an attempt.
    pub fn deadline(&self) -> Option<Instant> {
        self.pending.values().map(|request| request.ends).min()
    }

    /// Whether the outcome of a pending request decides which commands are allowed next.
    pub fn changes_mode(&self) -> bool {
        self.pending.values().any(|request| request.kind.changes_mode())
    }

    /// Whether no request is pending.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Drops all requests.
    pub fn clear(&mut self) {
        self.pending.clear();
    }
}

impl Request {
    fn push(&mut self, r: u64, link: &mut Link) {
        if !self.is_on_link {
            link.push(self.frame.clone(), Some(r), None);
            self.is_on_link = true;
        }
    }

    fn settle(self) -> SettledRequest {
        SettledRequest { cmd: self.cmd, kind: self.kind, is_on_link: self.is_on_link }
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

    fn changes_mode(&self) -> bool {
        matches!(self, Self::Dereg | Self::Join { .. } | Self::Leave { .. })
    }
}
