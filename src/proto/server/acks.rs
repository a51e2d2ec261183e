//! Pending acknowledgements of one client: the action that follows when it acknowledges a message on its link.

use std::collections::VecDeque;

use crate::proto::link::Tag;

/// The meaning of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckAction {
    /// The oldest message in flight reached its reader.
    Post,
    /// An update of the table arrived.
    Rows,
    /// A receipt arrived.
    Receipt {
        /// The number of the message that was read.
        seq: u64,
    },
    /// A reply arrived.
    Reply {
        /// The size of the reply on the link.
        bytes: usize,
    },
}

/// Messages in flight to one client, by tag.
#[derive(Debug, Default)]
pub struct PendingAcks {
    /// In order of tag: messages of a link have their outcomes in the order in which they were sent.
    actions: VecDeque<(Tag, AckAction)>,
    reply_bytes: usize,
    last_tag: Tag,
}

impl PendingAcks {
    /// Returns a tag that no message to this client had before.
    pub fn next_tag(&mut self) -> Tag {
        self.last_tag += 1;
        self.last_tag
    }

    /// Forgets all messages in flight.
    pub fn clear(&mut self) {
        self.actions.clear();
        self.reply_bytes = 0;
    }

    /// Registers the action for a message that was sent.
    pub fn insert(&mut self, tag: Tag, action: AckAction) {
        if let AckAction::Reply { bytes } = action {
            self.reply_bytes += bytes;
        }
        self.actions.push_back((tag, action));
    }

    /// Takes the action for an acknowledged message. `None` if it was taken before or cleared.
    pub fn take(&mut self, tag: Tag) -> Option<AckAction> {
        let at = self.actions.binary_search_by_key(&tag, |(tag, _)| *tag).ok()?;
        let (_, action) = self.actions.remove(at)?;
        if self.actions.is_empty() {
            self.actions = VecDeque::new();
        }
        if let AckAction::Reply { bytes } = action {
            self.reply_bytes -= bytes;
        }
        Some(action)
    }

    /// Bytes of replies that are not acknowledged.
    #[must_use]
    pub fn reply_bytes(&self) -> usize {
        self.reply_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_counts_once_and_frees_the_bytes_of_its_reply() {
        let mut acks = PendingAcks::default();
        acks.insert(1, AckAction::Reply { bytes: 10 });
        acks.insert(2, AckAction::Rows);
        acks.insert(3, AckAction::Reply { bytes: 5 });
        assert_eq!(acks.reply_bytes(), 15);
        assert_eq!(acks.take(1), Some(AckAction::Reply { bytes: 10 }));
        assert_eq!((acks.take(1), acks.reply_bytes()), (None, 5));
        assert_eq!((acks.take(2), acks.reply_bytes()), (Some(AckAction::Rows), 5));
    }
}
