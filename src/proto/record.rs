//! Records: the changes that a server writes to disk, and the state that it finds there.
//!
//! The machine decides what to write, and the store reports when it is on disk.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::proto::event::MessageKind;
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::name::Name;
use crate::proto::text::Text;
use crate::proto::time::Timestamp;

/// One change of the persisted state. A record is atomic; so are all records of one turn, unless one of them is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A name was added, or its row changed.
    Name(NameRecord),
    /// A name was dropped.
    NameRemoved(Name),
    /// A group was created.
    Group(GroupRecord),
    /// A message was accepted.
    Mail(Mail),
    /// Some readers acknowledged a message. It is dropped when all of them did.
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
    /// When it was last online or went offline.
    pub seen: Timestamp,
}

/// A group and the request that created it. When the answer to that request is lost, its repetition is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRecord {
    /// Its name.
    pub group: Name,
    /// The name that created it.
    pub creator: Name,
    /// The creator's incarnation.
    pub incarnation: Incarnation,
    /// The number of the request in that incarnation.
    pub request: u64,
}

/// The metadata of a message, everywhere on its way through the server. Kept messages are one record each, whatever the
/// number of their readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailHeader {
    /// The place in the order in which the server accepted messages, from 1; never given twice. 0 before the server
    /// accepted the message.
    pub seq: u64,
    /// The id that the sender gave.
    pub id: MessageId,
    /// To one, to everybody or to a group.
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
    /// The length of the text in bytes: mailboxes have a limit in bytes, and texts stay on disk.
    pub text_bytes: usize,
}

impl MailHeader {
    /// The reader of a direct message that is not delivered yet.
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
    /// A message. Sets the length in the header to that of the text.
    #[must_use]
    pub fn new(header: MailHeader, text: Text) -> Self {
        Self { header: MailHeader { text_bytes: text.as_str().len(), ..header }, text }
    }
}

/// A receipt: tells a sender that its kept direct message reached its reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Unique among receipts: the `seq` of the message.
    pub seq: u64,
    /// The sender of the message.
    pub owner: Name,
    /// The id of the message.
    pub id: MessageId,
    /// The reader of the message.
    pub reader: Name,
    /// When the server accepted the message.
    pub kept_at: Timestamp,
}

/// The state that an earlier incarnation of the server persisted, as the store reads it at start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PersistedState {
    /// In order of name.
    pub names: Vec<NameRecord>,
    /// In order of name.
    pub groups: Vec<GroupRecord>,
    /// In order of `seq`.
    pub mail: Vec<MailHeader>,
    /// In order of `seq`.
    pub receipts: Vec<Receipt>,
    /// The highest `seq` ever given to a message, also when that message is gone; 0 for none.
    pub last_seq: u64,
}
