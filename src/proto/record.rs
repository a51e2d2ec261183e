//! Records: the changes that a server writes to disk, and the state that it reads at start.
//!
//! The machine creates records, and the store reports when they are on disk.

use std::collections::BTreeSet;
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
    /// Some readers acknowledged a message. The message is removed when all readers have acknowledged it.
    Delivered {
        /// The number of the message.
        seq: u64,
        /// The readers that have not acknowledged it yet.
        undelivered_to: BTreeSet<Name>,
        /// The receipt for the sender of a direct message.
        receipt: Option<Receipt>,
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

/// The metadata of a message in the server. A kept message is one record, independent of the number of its readers.
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
    /// The readers that have not acknowledged it yet.
    pub undelivered_to: BTreeSet<Name>,
    /// The length of the text in bytes. Mailboxes have a limit in bytes, while texts stay on disk.
    pub text_bytes: usize,
}

impl MailHeader {
    /// The reader of an undelivered direct message.
    #[must_use]
    pub fn reader(&self) -> Option<&Name> {
        self.undelivered_to.first()
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
    /// The receipts that were not acknowledged, in order of `seq`.
    pub receipts: Vec<Receipt>,
    /// The highest `seq` of all messages so far, including removed ones; 0 if there was none.
    pub last_seq: u64,
}
