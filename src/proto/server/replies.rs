//! Replies: sends the answers to requests.
//!
//! While a client leaves [`REPLY_BYTES`] of replies unacknowledged, its further requests stay queued.

use crate::proto::event::reason::Reason;
use crate::proto::event::server::ServerEvent;
use crate::proto::id::Incarnation;
use crate::proto::name::Name;
use crate::proto::server::Server;
use crate::proto::server::acks::AckAction;
use crate::proto::wire::{Answer, Frame, RequestOutcome};

/// The bytes of unacknowledged replies to a client at which no more of its requests are processed. They have room for
/// one reply to each of the 4,096 requests that a client may have open. A link has no limit of its own. This limit
/// can be exceeded only by the reply to the last request and by replies that wait for the disk or for a ping.
pub const REPLY_BYTES: usize = 1024 * 1024;

/// A request of a client. Its replies carry the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId {
    /// The client that sent the request.
    pub client: Incarnation,
    /// The number that the client gave the request.
    pub number: u64,
}

impl Server {
    /// Whether requests of this client are processed; see [`REPLY_BYTES`].
    pub(super) fn accepts_requests(&self, client: Incarnation) -> bool {
        self.sessions.get(client).is_some_and(|session| session.has_room_for_replies())
    }

    /// Sends a frame that answers a request, unless the client is gone.
    pub(super) fn reply(&mut self, client: Incarnation, frame: Frame) {
        let Some(session) = self.sessions.get_mut(client).filter(|session| !session.has_left()) else { return };
        let Some(link) = self.links.get_mut(client) else { return };
        let before = link.queued_bytes();
        let tag = session.next_tag();
        link.push(frame, Some(tag), None);
        session.expect_ack(tag, AckAction::Reply { bytes: link.queued_bytes() - before });
    }

    /// Replies with an outcome and nothing else.
    pub(super) fn answer(&mut self, request: RequestId, outcome: RequestOutcome) {
        self.reply(request.client, answer(request.number, outcome));
    }

    /// Refuses a registration, unless the client is gone.
    pub(super) fn refuse(&mut self, request: RequestId, name: &Name, reason: Reason) {
        if self.sessions.get(request.client).is_some_and(|session| !session.has_left()) {
            self.reply(request.client, Frame::Refused { r: request.number, reason: reason.to_string() });
            self.say(ServerEvent::Rejected { reason, from: name.clone(), group: None });
        }
    }
}

/// An answer with an outcome and nothing else. `r` is the number of the request.
pub(super) fn answer(r: u64, is: RequestOutcome) -> Frame {
    Frame::Answer(Answer::new(r, is))
}
