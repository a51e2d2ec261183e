//! Messages to everybody and to the group: limits those without answer, and queues the others in order.

use std::collections::VecDeque;

use crate::proto::client::requests::RequestKind;
use crate::proto::client::{ATTEMPTS, Client, LIMIT};
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::{Reason, RequestWord};
use crate::proto::id::MessageId;
use crate::proto::name::Name;
use crate::proto::text::Text;
use crate::proto::time::{Instant, Timestamp};
use crate::proto::wire::Frame;

/// Maximum number of messages to everybody and to groups that the server has not answered. Further ones wait.
pub const UNANSWERED: usize = 256;
/// Maximum number of bytes of their texts.
pub const UNANSWERED_BYTES: usize = 1024 * 1024;

/// The messages to everybody and to groups without outcome.
#[derive(Debug, Default)]
pub struct PostQueue {
    /// Messages that have not been sent, in order.
    waiting: VecDeque<OutgoingPost>,
    /// The number of requests without answer.
    unanswered: usize,
    /// The bytes of their texts.
    bytes: usize,
}

/// A message to everybody, or to the members of `group`.
#[derive(Debug)]
pub struct OutgoingPost {
    pub cmd: u64,
    pub id: MessageId,
    pub at: Timestamp,
    pub group: Option<Name>,
    pub text: Text,
    /// When the command ran.
    pub since: Instant,
}

impl PostQueue {
    /// Appends a message.
    pub fn push(&mut self, post: OutgoingPost) {
        self.waiting.push_back(post);
    }

    /// Takes the next message if the limits allow it. Its request is then without answer.
    pub fn next(&mut self) -> Option<OutgoingPost> {
        let bytes = self.bytes + self.waiting.front()?.text.as_str().len();
        if self.unanswered >= UNANSWERED || bytes > UNANSWERED_BYTES {
            return None;
        }
        self.bytes = bytes;
        self.unanswered += 1;
        self.waiting.pop_front()
    }

    /// Notes that a request with this number of bytes has its outcome.
    pub fn settle(&mut self, bytes: usize) {
        self.unanswered -= 1;
        self.bytes -= bytes;
    }

    /// Takes the next message if it is for everybody, and waits since `since` or longer.
    pub fn pop_older(&mut self, since: Instant) -> Option<OutgoingPost> {
        let is_older = self.waiting.front().is_some_and(|post| post.group.is_none() && post.since <= since);
        if is_older { self.waiting.pop_front() } else { None }
    }

    /// Whether a message waits.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether all messages have their outcomes.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.unanswered == 0
    }

    /// Drops all messages.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Client {
    /// Runs `send_all`, or `send_group` if there is a group.
    pub(super) fn post(&mut self, now: Instant, cmd: u64, group: Option<Name>, text: Text) {
        let (id, at) = (self.next_message_id(), self.output.unix);
        self.posts.push(OutgoingPost { cmd, id, at, group, text, since: now });
        self.send_posts(now);
    }

    fn send_posts(&mut self, now: Instant) {
        while let Some(OutgoingPost { cmd, id, at, group, text, .. }) = self.posts.next() {
            let (at, bytes) = (at.micros(), text.as_str().len());
            let text = text.into();
            match group {
                None => {
                    self.request(now, Some(cmd), RequestKind::SendAll { id, bytes }, |r| Frame::All { r, id, at, text })
                }
                Some(group) => {
                    let kind = RequestKind::Say { id, bytes };
                    self.request(now, Some(cmd), kind, |r| Frame::Say { r, id, group, at, text });
                }
            }
        }
    }

    /// Notes that a message of this number of bytes has its outcome, and sends the next ones.
    pub(super) fn post_settled(&mut self, now: Instant, bytes: usize) {
        self.posts.settle(bytes);
        self.send_posts(now);
    }

    /// Fails a message to everybody that the silent server did not answer.
    pub(super) fn post_failed(&mut self, cmd: Option<u64>, bytes: usize) {
        self.posts.settle(bytes);
        self.unreachable(cmd);
    }

    /// Fails the messages that waited behind failed ones for as long as these, and sends the next ones.
    pub(super) fn posts_failed(&mut self, now: Instant) {
        while let Some(post) = self.posts.pop_older(now - LIMIT * ATTEMPTS) {
            self.unreachable(Some(post.cmd));
        }
        self.send_posts(now);
    }

    fn unreachable(&mut self, cmd: Option<u64>) {
        self.say(cmd, ClientEvent::ServerUnreachable { what: RequestWord::SendAll, attempts: ATTEMPTS });
        self.done(cmd, Some(Reason::ServerUnreachable));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::id::Incarnation;

    #[test]
    fn the_messages_without_answer_are_limited_in_number_and_bytes() {
        for (text, most) in [("m".to_owned(), UNANSWERED), ("m".repeat(65_536), UNANSWERED_BYTES / 65_536)] {
            let mut posts = PostQueue::default();
            for number in 1..=most as u64 + 1 {
                let id = MessageId { incarnation: Incarnation(1), number };
                let (at, text) = (Timestamp::default(), Text::new(&text).unwrap());
                posts.push(OutgoingPost { cmd: number, id, at, group: None, text, since: Instant::ZERO });
            }
            assert!((1..=most as u64).all(|cmd| posts.next().is_some_and(|post| post.cmd == cmd)));
            assert!(posts.next().is_none() && posts.has_waiting());
            posts.settle(text.len());
            assert_eq!(posts.next().map(|post| post.cmd), Some(most as u64 + 1));
            (0..most).for_each(|_| posts.settle(text.len()));
            assert!(posts.is_empty());
        }
    }
}
