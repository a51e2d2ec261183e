//! What a server keeps on disk, as data: the core says what, the store says when it is there.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::proto::event::MessageKind;
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::name::Name;
use crate::proto::text::Text;
use crate::proto::time::Timestamp;

/// One change of what is kept. A record is atomic; so are all records of one turn, unless one of them is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A name, new or changed.
    Name(NameRecord),
    /// A name is dropped.
    NameRemoved(Name),
    /// A group was created.
    Group(GroupRecord),
    /// A message is kept.
    Mail(Mail),
    /// Some readers of a message have it; it is dropped when nobody lacks it any more.
    Delivered {
        /// Which message.
        seq: u64,
        /// Who still lacks it.
        undelivered_to: BTreeSet<Name>,
        /// The receipt that is owed to its sender from now on.
        receipt: Option<Receipt>,
    },
    /// A receipt was acknowledged.
    ReceiptGone {
        /// Which.
        seq: u64,
    },
}

/// A row of the table, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRecord {
    /// Whose.
    pub name: Name,
    /// Where it was.
    pub addr: SocketAddr,
    /// Which life it had.
    pub incarnation: Incarnation,
    /// Whether it was online.
    pub online: bool,
    /// When it was last online or went offline.
    pub seen: Timestamp,
}

/// A group and the request that created it, by which the same request is known when its answer was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRecord {
    /// Its name.
    pub group: Name,
    /// Who created it.
    pub creator: Name,
    /// The creator's life.
    pub incarnation: Incarnation,
    /// The number of the request in that life.
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

/// Word for a sender that its kept direct message reached its reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Unique among receipts: the `seq` of the message.
    pub seq: u64,
    /// Who is to be told.
    pub owner: Name,
    /// The message.
    pub id: MessageId,
    /// Who read it.
    pub reader: Name,
    /// When the server had kept the message.
    pub kept_at: Timestamp,
}

/// Everything that an earlier life of the server left, as the store reads it at start.
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
    /// The highest `seq` ever given to a message, 0 if none was, also when that message is gone.
    pub last_seq: u64,
}
