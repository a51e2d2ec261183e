//! What a server keeps on disk, as data: the core says what, the store says when it is there.

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
        undelivered_to: Vec<Name>,
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

/// A kept message, one record whatever the number of its readers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Its place in the order in which the server accepted messages, from 1; never given twice.
    pub seq: u64,
    /// The id that its sender gave it.
    pub id: MessageId,
    /// To one, to everybody or to a group.
    pub kind: MessageKind,
    /// Who sent it.
    pub from: Name,
    /// The group, for a group message.
    pub group: Option<Name>,
    /// What it says.
    pub text: Text,
    /// When its sender sent it, by the sender's clock.
    pub sent_at: Timestamp,
    /// When the server kept it.
    pub kept_at: Timestamp,
    /// Who still lacks it, in order of name.
    pub undelivered_to: Vec<Name>,
}

/// All of a kept message but its text, which stays on disk until somebody is there to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailHeader {
    /// As in [`Mail`].
    pub seq: u64,
    /// As in [`Mail`].
    pub id: MessageId,
    /// As in [`Mail`].
    pub kind: MessageKind,
    /// As in [`Mail`].
    pub from: Name,
    /// As in [`Mail`].
    pub kept_at: Timestamp,
    /// As in [`Mail`].
    pub undelivered_to: Vec<Name>,
    /// The length of the text in bytes.
    pub bytes: usize,
}

impl From<&Mail> for MailHeader {
    fn from(mail: &Mail) -> Self {
        Self {
            seq: mail.seq,
            id: mail.id,
            kind: mail.kind,
            from: mail.from.clone(),
            kept_at: mail.kept_at,
            undelivered_to: mail.undelivered_to.clone(),
            bytes: mail.text.as_str().len(),
        }
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
