//! Records: the changes that a server writes to disk, and the state that it reads at start.
//!
//! The machine creates records, and the store reports when they are on disk.

use std::net::SocketAddr;

use crate::proto::event::MessageKind;
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::keys::PublicKey;
use crate::proto::name::Name;
use crate::proto::text::Text;
use crate::proto::time::Timestamp;

/// One change of the persisted state. A record is atomic. All records of one turn are atomic together, unless one of
/// them is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A name was added, or its row changed.
    Name(NameRecord),
    /// A name was removed.
    NameRemoved(Name),
    /// A group was created.
    Group(GroupRecord),
    /// A message was accepted.
    Mail(Mail),
    /// The reader of a direct message acknowledged it. The message is removed.
    Delivered {
        /// The number of the message.
        seq: u64,
        /// The receipt for the sender.
        receipt: Option<Receipt>,
    },
    /// A reader has a new interval of a log, or moved in one.
    Cursor(CursorRecord),
    /// A reader has read an interval.
    CursorRemoved {
        /// The reader.
        reader: Name,
        /// The interval.
        key: IntervalKey,
    },
    /// The messages of a log below position `base` are removed.
    Trimmed {
        /// The log.
        log: LogName,
        /// The position of the first message that stays.
        base: u64,
    },
    /// A receipt was acknowledged.
    ReceiptGone {
        /// The number of the receipt.
        seq: u64,
    },
}

/// A row of the table, as it is persisted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRecord {
    /// The name.
    pub name: Name,
    /// The last address of its client.
    pub addr: SocketAddr,
    /// The last incarnation of its client.
    pub incarnation: Incarnation,
    /// Whether the client is online.
    pub online: bool,
    /// When the client was last online or went offline.
    pub seen: Timestamp,
    /// The key of its user, or [`PublicKey::NONE`].
    pub key: PublicKey,
}

/// A group and the request that created it. The server recognises a retry of that request after its answer was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRecord {
    /// The name of the group.
    pub group: Name,
    /// The client that created it.
    pub creator: Name,
    /// The creator's incarnation.
    pub incarnation: Incarnation,
    /// The number of the request in that incarnation.
    pub request: u64,
}

/// A log: the messages to everybody, or those to one group, in the order in which the server accepted them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogName {
    /// The messages to everybody.
    Channel,
    /// The messages to this group.
    Group(Name),
}

impl LogName {
    /// The group; `None` for the channel.
    #[must_use]
    pub fn group(&self) -> Option<&Name> {
        match self {
            Self::Channel => None,
            Self::Group(group) => Some(group),
        }
    }

    /// The kind of its messages.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Channel => MessageKind::Channel,
            Self::Group(_) => MessageKind::Group,
        }
    }
}

/// An interval of one reader. A reader has at most one interval of a log that begins at a given position.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IntervalKey {
    /// The log.
    pub log: LogName,
    /// The position of the first message for this reader.
    pub joined: u64,
}

/// The cursor of a reader in an interval of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CursorRecord {
    /// The reader.
    pub reader: Name,
    /// The interval.
    pub key: IntervalKey,
    /// The position of the first message that the reader has not acknowledged.
    pub next: u64,
    /// The end of the interval: the position after its last message. `None` while the reader reads the log.
    pub end: Option<u64>,
    /// The number of the reader's own messages that were removed from `next` on.
    pub own_dropped: u64,
    /// The notice of dropped messages that the reader has not acknowledged.
    pub notice: Option<DropNotice>,
}

/// Reports to a reader that messages were removed before it read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropNotice {
    /// The id, so that the reader displays the notice once.
    pub id: MessageId,
    /// The number of messages.
    pub count: u64,
    /// The position after the last one.
    pub upto: u64,
}

/// The metadata of a message in the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailHeader {
    /// The position in the order of acceptance by the server, from 1, never reused. 0 before acceptance.
    pub seq: u64,
    /// The id from the sender.
    pub id: MessageId,
    /// Whether it goes to one client, to all clients or to a group.
    pub kind: MessageKind,
    /// The sender.
    pub from: Name,
    /// The group, for a group message.
    pub group: Option<Name>,
    /// When the sender sent it, by the sender's clock.
    pub sent_at: Timestamp,
    /// When the server accepted it.
    pub kept_at: Timestamp,
    /// The reader of a direct message.
    pub to: Option<Name>,
    /// The position in its log of a message to many.
    pub position: u64,
    /// The number of readers at its acceptance.
    pub recipients: usize,
    /// The length of the text in bytes. Limits count bytes, while texts stay on disk.
    pub text_bytes: usize,
}

impl MailHeader {
    /// The reader of a direct message.
    #[must_use]
    pub fn reader(&self) -> Option<&Name> {
        self.to.as_ref()
    }

    /// The log of a message to many; `None` for a direct message.
    #[must_use]
    pub fn log(&self) -> Option<LogName> {
        match (self.kind, &self.group) {
            (MessageKind::Direct, _) => None,
            (MessageKind::Group, Some(group)) => Some(LogName::Group(group.clone())),
            _ => Some(LogName::Channel),
        }
    }
}

/// A message with its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The metadata.
    pub header: MailHeader,
    /// The text.
    pub text: Text,
}

impl Mail {
    /// Creates a message. Sets `text_bytes` in the header to the length of the text.
    #[must_use]
    pub fn new(header: MailHeader, text: Text) -> Self {
        Self { header: MailHeader { text_bytes: text.as_str().len(), ..header }, text }
    }
}

/// A receipt: reports to a sender that its kept direct message reached the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The `seq` of the message, unique among receipts.
    pub seq: u64,
    /// The sender of the message, which receives the receipt.
    pub owner: Name,
    /// The id of the message.
    pub id: MessageId,
    /// The reader of the message.
    pub reader: Name,
    /// When the server accepted the message.
    pub kept_at: Timestamp,
}

/// The state that earlier incarnations of the server persisted, as the store reads it at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersistedState {
    /// The rows of the table, in order of name.
    pub names: Vec<NameRecord>,
    /// The groups, in order of name.
    pub groups: Vec<GroupRecord>,
    /// The metadata of kept messages, in order of `seq`.
    pub mail: Vec<MailHeader>,
    /// The position of the first kept message of each log, where one was removed.
    pub bases: Vec<(LogName, u64)>,
    /// The cursors, in order of reader.
    pub cursors: Vec<CursorRecord>,
    /// The receipts that were not acknowledged, in order of `seq`.
    pub receipts: Vec<Receipt>,
    /// The highest `seq` of all messages so far, including removed ones; 0 if there was none.
    pub last_seq: u64,
}
