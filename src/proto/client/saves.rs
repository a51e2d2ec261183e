//! Direct messages that the server keeps for their reader, because it is offline or did not acknowledge them.
//!
//! A list of one message is the frame `save`. A longer one is `item` frames and `saves`.

use crate::proto::client::Client;
use crate::proto::client::outbox::DirectAttempt;
use crate::proto::client::requests::RequestKind;
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::Reason;
use crate::proto::event::sentences::Sentence;
use crate::proto::id::MessageId;
use crate::proto::name::Name;
use crate::proto::time::Instant;
use crate::proto::wire::{Answer, Frame, RequestOutcome};

impl Client {
    /// Asks the server to keep the messages to `reader` that timed out, or `all` that wait. The server pings the reader
    /// first, unless the messages already had their second direct attempt.
    pub(super) fn fall_back_to_server(&mut self, now: Instant, reader: &Name, all: bool) {
        let (r, to) = (self.requests.next_number(), reader.clone());
        let list = self.outbox.begin_save(reader, all);
        let Some(first) = list.first() else { return };
        let (cmd, count, again) = (Some(first.cmd), list.len(), first.attempt == DirectAttempt::Second);
        let frames = if let [only] = list[..] {
            let (id, at, text) = (only.id, only.at.micros(), only.text.clone().into());
            vec![Frame::Save { r, id, to: to.clone(), at, again, text }]
        } else {
            let items = list.iter().map(|message| message.item());
            items.chain([Frame::Saves { r, to: to.clone(), n: count, again }]).collect()
        };
        let commands: Vec<(u64, MessageId)> = list.iter().map(|message| (message.cmd, message.id)).collect();
        if !again {
            for (cmd, id) in commands {
                self.say(Some(cmd), ClientEvent::NoAck { to: to.clone(), id });
            }
        }
        self.add_request(now, r, cmd, RequestKind::Save { to, count }, frames);
    }

    /// Processes the server's answer to the request to keep the first `count` messages to `to`.
    pub(super) fn save_answered(&mut self, now: Instant, to: &Name, count: usize, answer: Answer) {
        let kept = if answer.outcome == RequestOutcome::Saved { count } else { answer.recipients.min(count) };
        for _ in 0..kept {
            let Some(message) = self.outbox.settle(to) else { return };
            let (cmd, id) = (Some(message.cmd), message.id);
            // The receipt may have arrived before this answer. Then later messages do not depend on the message.
            if !self.inbox.has_receipt(to, id) {
                self.outbox.keep(to, id.number);
            }
            self.say(cmd, ClientEvent::Saved { to: to.clone(), id });
            self.done(cmd, None);
        }
        if kept > 0 || answer.outcome != RequestOutcome::Exists {
            self.forget_stale(to);
        }
        if answer.outcome == RequestOutcome::Exists && kept < count {
            let cmd = self.outbox.first(to).map(|message| message.cmd);
            self.say(cmd, ClientEvent::ClientExists { name: to.clone() });
            self.outbox.begin_second_attempt(to);
            if let Some(row) = answer.row {
                self.learn(now, row);
            }
        } else {
            for _ in kept..count {
                let Some(message) = self.outbox.settle(to) else { return };
                self.not_kept(Some(message.cmd), to, answer.outcome);
            }
        }
        self.send_waiting(now, to);
    }

    fn not_kept(&mut self, cmd: Option<u64>, to: &Name, outcome: RequestOutcome) {
        match outcome {
            RequestOutcome::Full => self.fail(cmd, Reason::MailboxFull, Sentence::MailboxFull { name: to }),
            RequestOutcome::None => self.fail(cmd, Reason::NoSuchClient, Sentence::NoSuchClient { name: to }),
            _ => self.fail(cmd, Reason::NotSaved, Sentence::MessageNotSaved),
        }
    }
}
