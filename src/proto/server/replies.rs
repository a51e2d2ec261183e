//! Replies: what a client asked is answered on its link, and who does not acknowledge the answers is not heard on.

use crate::proto::event::reason::Reason;
use crate::proto::event::server::ServerEvent;
use crate::proto::id::Incarnation;
use crate::proto::name::Name;
use crate::proto::server::Server;
use crate::proto::server::sessions::AckAction;
use crate::proto::wire::{Frame, RequestOutcome};

/// How many bytes of replies a client leaves unacknowledged before no more of its requests are taken: room for one to
/// each of the 4,096 that a client has open. They wait for its acknowledgements on its link, which leaves the limit to
/// its owner: beyond this one there is the answer to the last request taken, and to those that wait for the disk or for
/// a reader.
pub const REPLY_BYTES: usize = 1024 * 1024;

/// A request of a client; its replies carry the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId {
    /// The client that asks.
    pub client: Incarnation,
    /// The number that the client gave the request.
    pub number: u64,
}

impl Server {
    /// Whether requests of this client are taken.
    pub(super) fn takes_requests(&self, incarnation: Incarnation) -> bool {
        self.sessions.get(&incarnation).is_some_and(|session| session.reply_bytes < REPLY_BYTES)
    }

    pub(super) fn reply(&mut self, incarnation: Incarnation, frame: Frame) {
        let Some(session) = self.sessions.get_mut(&incarnation) else { return };
        let Some(link) = self.links.get_mut(incarnation) else { return };
        let before = link.queued_bytes();
        self.next_tag += 1;
        link.push(frame, Some(self.next_tag), None);
        let bytes = link.queued_bytes() - before;
        session.tags.insert(self.next_tag, AckAction::Reply { bytes });
        session.reply_bytes += bytes;
    }

    /// Replies with no more than an outcome.
    pub(super) fn answer(&mut self, request: RequestId, outcome: RequestOutcome) {
        self.reply(request.client, answer(request.number, outcome));
    }

    pub(super) fn answer_ok(&mut self, incarnation: Incarnation, r: u64) {
        self.reply(incarnation, answer(r, RequestOutcome::Ok));
    }

    pub(super) fn refuse(&mut self, incarnation: Incarnation, r: u64, name: &Name, reason: Reason) {
        if self.links.get(incarnation).is_some() {
            self.reply(incarnation, Frame::Refused { r, reason: reason.to_string() });
            self.say(ServerEvent::Rejected { reason, from: name.clone(), group: None });
        }
    }
}

/// An answer that is no more than its outcome.
pub(super) fn answer(r: u64, is: RequestOutcome) -> Frame {
    Frame::Answer { r, is, n: 0, row: None, names: Vec::new(), more: false }
}
