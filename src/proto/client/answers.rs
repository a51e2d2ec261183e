//! Sends the requests of a client on the link to the server, and reports their outcomes.
//!
//! A request stays in [`Requests`] until its answer or its last timeout, also while there is no link.

use crate::proto::client::phase::RegistrationState;
use crate::proto::client::requests::{RequestKind, RequestTimeout, Requests, SettledRequest};
use crate::proto::client::{ATTEMPTS, Client};
use crate::proto::event::MessageKind;
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::Reason;
use crate::proto::event::sentences::Sentence;
use crate::proto::id::MessageId;
use crate::proto::link::Link;
use crate::proto::name::Name;
use crate::proto::time::Instant;
use crate::proto::wire::{Answer, Frame, RequestOutcome};

impl Client {
    /// Adds a request and sends it as soon as the server knows this client. `frame` receives the request number.
    pub(super) fn request(
        &mut self,
        now: Instant,
        cmd: Option<u64>,
        kind: RequestKind,
        frame: impl FnOnce(u64) -> Frame,
    ) {
        let r = self.requests.add(now, cmd, kind, frame);
        self.ensure_registered(now);
        self.push_request(r);
    }

    fn push_request(&mut self, r: u64) {
        if let Some((requests, link)) = self.requests_and_link() {
            requests.push(r, link);
        }
    }

    fn push_requests(&mut self) {
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
        self.push_requests();
    }

    pub(super) fn requests_timeout(&mut self, now: Instant) {
        for r in self.requests.due(now) {
            match self.requests.expire(now, r) {
                Some(RequestTimeout::Retry { cmd, what, attempt }) => {
                    self.say(cmd, ClientEvent::Retry { what, attempt, of: ATTEMPTS });
                    self.push_request(r);
                }
                Some(RequestTimeout::Failed(request)) => self.request_failed(now, request),
                None => {}
            }
        }
    }

    /// Handles a request without answer after its last attempt. The client ends, except after `send_all` and a look-up.
    fn request_failed(&mut self, now: Instant, SettledRequest { cmd, kind, is_on_link }: SettledRequest) {
        if is_on_link {
            self.abort_requests();
        }
        match kind {
            RequestKind::Lookup { name } => self.unknown_reader(now, &name, false),
            RequestKind::SendAll { .. } => {
                self.say(cmd, ClientEvent::ServerUnreachable { what: kind.name(), attempts: ATTEMPTS });
                self.done(cmd, Some(Reason::ServerUnreachable));
            }
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

    /// Processes an answer of the server.
    pub(super) fn answered(&mut self, now: Instant, answer: Answer) {
        let Some((SettledRequest { cmd, kind, .. }, answer)) = self.requests.answered(answer) else { return };
        match (kind, answer.outcome) {
            (RequestKind::Dereg, _) => self.deregistered(cmd),
            (RequestKind::Save { to }, outcome) => self.save_answered(now, &to, outcome, answer.row),
            (RequestKind::Lookup { name }, RequestOutcome::Exists) => self.found_reader(now, &name, answer.row),
            (RequestKind::Lookup { name }, _) => self.unknown_reader(now, &name, true),
            (RequestKind::SendAll { id }, RequestOutcome::Accepted) => {
                self.accepted(cmd, MessageKind::Channel, id, answer.recipients);
            }
            (RequestKind::Say { id }, RequestOutcome::Accepted) => {
                self.accepted(cmd, MessageKind::Group, id, answer.recipients);
            }
            (RequestKind::SendAll { .. } | RequestKind::Say { .. }, RequestOutcome::Failed) => {
                self.fail(cmd, Reason::NotSaved, Sentence::MessageNotSaved);
            }
            (RequestKind::SendAll { .. } | RequestKind::Say { .. }, _) => {
                self.fail(cmd, Reason::Rejected, Sentence::MessageRejected);
            }
            (kind, _) => self.group_answered(cmd, kind, answer),
        }
    }

    fn group_answered(&mut self, cmd: Option<u64>, kind: RequestKind, Answer { outcome, names, .. }: Answer) {
        match (kind, outcome) {
            (RequestKind::Create { group }, RequestOutcome::Ok) => {
                self.say(cmd, ClientEvent::GroupCreated { group });
                self.done(cmd, None);
            }
            (RequestKind::Create { group }, RequestOutcome::Exists) => {
                self.say(cmd, ClientEvent::GroupExists { group });
                self.done(cmd, Some(Reason::GroupExists));
            }
            (RequestKind::Create { group } | RequestKind::Join { group }, RequestOutcome::Full) => {
                self.fail(cmd, Reason::GroupLimit, Sentence::GroupLimit { group: &group });
            }
            (RequestKind::Create { group }, _) => {
                self.fail(cmd, Reason::NotSaved, Sentence::GroupNotSaved { group: &group });
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
            (RequestKind::Groups, _) => {
                self.say(cmd, ClientEvent::Groups { groups: names });
                self.done(cmd, None);
            }
            (RequestKind::Members { group }, RequestOutcome::Names) => {
                self.say(cmd, ClientEvent::Members { group, members: names });
                self.done(cmd, None);
            }
            (RequestKind::Members { group }, _) => {
                self.fail(cmd, Reason::NotAMember, Sentence::NotAMember { group: &group });
            }
            (RequestKind::Leave { group }, _) => self.left_group(cmd, group),
            _ => {}
        }
    }

    fn accepted(&mut self, cmd: Option<u64>, kind: MessageKind, id: MessageId, recipients: usize) {
        self.say(cmd, ClientEvent::Accepted { kind, id, recipients });
        self.done(cmd, None);
    }

    fn left_group(&mut self, cmd: Option<u64>, group: Name) {
        if self.group.take().is_some() {
            self.say_bare(cmd, ClientEvent::Left { group });
            self.show_held();
        }
        self.done(cmd, None);
    }
}
