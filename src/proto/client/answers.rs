//! Answers of the server: reports the outcomes of requests.

use crate::proto::client::Client;
use crate::proto::client::requests::{RequestKind, SettledRequest};
use crate::proto::event::MessageKind;
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::Reason;
use crate::proto::event::sentences::Sentence;
use crate::proto::id::MessageId;
use crate::proto::name::Name;
use crate::proto::time::Instant;
use crate::proto::wire::{Answer, RequestOutcome};

impl Client {
    /// Processes an answer of the server.
    pub(super) fn answered(&mut self, now: Instant, answer: Answer) {
        let Some((SettledRequest { cmd, kind, .. }, answer)) = self.requests.answered(answer) else { return };
        let post = kind.post_bytes();
        self.request_answered(now, cmd, kind, answer);
        if let Some(bytes) = post {
            self.post_settled(now, bytes);
        }
    }

    fn request_answered(&mut self, now: Instant, cmd: Option<u64>, kind: RequestKind, answer: Answer) {
        match (kind, answer.outcome) {
            (RequestKind::Dereg, _) => self.deregistered(cmd),
            (RequestKind::Save { to, count }, _) => self.save_answered(now, &to, count, answer),
            (RequestKind::Lookup { name }, RequestOutcome::Exists) => self.found_reader(now, &name, answer.row),
            (RequestKind::Lookup { name }, _) => self.unknown_reader(now, &name, true),
            (RequestKind::SendAll { id, .. }, RequestOutcome::Accepted) => {
                self.accepted(cmd, MessageKind::Channel, id, answer.recipients);
            }
            (RequestKind::Say { id, .. }, RequestOutcome::Accepted) => {
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
