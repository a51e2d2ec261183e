//! Replies: the answers to requests. A client that does not acknowledge them is not served any more.

use crate::proto::event::reason::Reason;
use crate::proto::event::server::ServerEvent;
use crate::proto::id::Incarnation;
use crate::proto::name::Name;
use crate::proto::server::Server;
use crate::proto::server::acks::AckAction;
use crate::proto::wire::{Frame, RequestOutcome};

/// The bytes of unacknowledged replies to a client beyond which no more of its requests are processed: room for one
/// reply to each of the 4,096 requests that a client has open. A link has no limit of its own. Beyond this one there
/// are at most the reply to the last request, and the replies that wait for the disk or for a ping.
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
    /// Whether requests of this client are processed.
    pub(super) fn accepts_requests(&self, client: Incarnation) -> bool {
        self.sessions.get(client).is_some_and(|session| session.has_room_for_replies())
    }

    /// Sends a frame that answers a request.
    pub(super) fn reply(&mut self, client: Incarnation, frame: Frame) {
        let Some(session) = self.sessions.get_mut(client) else { return };
        let Some(link) = self.links.get_mut(client) else { return };
        let before = link.queued_bytes();
        let tag = session.next_tag();
        link.push(frame, Some(tag), None);
        session.expect_ack(tag, AckAction::Reply { bytes: link.queued_bytes() - before });
    }

    /// Replies with no more than an outcome.
    pub(super) fn answer(&mut self, request: RequestId, outcome: RequestOutcome) {
        self.reply(request.client, answer(request.number, outcome));
    }

    /// Refuses a registration.
    pub(super) fn refuse(&mut self, request: RequestId, name: &Name, reason: Reason) {
        if self.links.get(request.client).is_some() {
            self.reply(request.client, Frame::Refused { r: request.number, reason: reason.to_string() });
            self.say(ServerEvent::Rejected { reason, from: name.clone(), group: None });
        }
    }
}

/// An answer that is no more than its outcome.
pub(super) fn answer(r: u64, is: RequestOutcome) -> Frame {
    Frame::Answer { r, is, n: 0, row: None, names: Vec::new(), more: false }
}
