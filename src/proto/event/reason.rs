//! The words in events that say why or what: one enum for each meaning. No code compares these words as text.
//!
//! A word is derived from the name of its variant and stands in the JSON of events and on the wire. Renaming a variant
//! changes both.

use std::fmt;

use serde::{Serialize, Serializer};
use strum::{EnumIter, EnumString, IntoStaticStr};

/// Why a command or a request failed: in `done`, `refused` and `rejected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Reason {
    /// A word is no name.
    BadName,
    /// The group exists.
    GroupExists,
    /// A limit on groups or their members is reached.
    GroupLimit,
    /// The program was told to end before the command had an outcome.
    Interrupted,
    /// The line is no command, or none of this mode.
    InvalidCommand,
    /// The client is leaving.
    Leaving,
    /// The mailbox of the reader is full.
    MailboxFull,
    /// The name belongs to a client that is online.
    NameInUse,
    /// Nobody has the name.
    NoSuchClient,
    /// There is no such group.
    NoSuchGroup,
    /// The server does not know the client in the group.
    NotAMember,
    /// The server could not write to its disk.
    NotSaved,
    /// The line is not UTF-8.
    #[strum(serialize = "not-utf8")]
    NotUtf8,
    /// The client is de-registered.
    Offline,
    /// One start of a client asks for a second name.
    OtherName,
    /// The server refused the name for a reason that this client does not know.
    Refused,
    /// The server did not accept the message.
    Rejected,
    /// The server knows as many names as it can.
    ServerFull,
    /// The server did not answer.
    ServerUnreachable,
    /// The text is over its limit.
    TooLong,
    /// Too many commands have no outcome yet.
    TooManyCommands,
    /// `dereg` or `reg` with the name of somebody else.
    WrongName,
}

/// The code of a `warning` or an `error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Problem {
    /// A command failed.
    Command(Reason),
    /// A script expected something that did not come, or forbade something that came.
    Expected,
    /// A message that a reader is owed is not on disk any more.
    MailLost,
    /// A change could not be written to disk.
    NotSaved,
    /// The output was blocked, and events were dropped.
    OutputBlocked,
    /// A line of a script cannot be parsed.
    Script,
    /// The server had forgotten the client, which registers again.
    ServerRestarted,
    /// The store had to recover, or failed.
    Store,
    /// The input could not be read.
    Unreadable,
}

/// Why a client is not in a group any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum RemovalReason {
    /// It did not acknowledge a message, nor answer a ping.
    NotResponsive,
    /// The server refused its name.
    Refused(Reason),
    /// The server had forgotten it.
    RegisteredAgain,
}

/// Why a client is offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum OfflineReason {
    /// It de-registered.
    Dereg,
    /// It gave notice and ended.
    Leave,
    /// It did not answer a ping.
    Silent,
}

/// Why a received datagram, or a request in it, was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum DropReason {
    /// A request carries the message id of another client.
    ForeignId,
    /// It is no datagram of this protocol.
    Malformed,
    /// A client that is not registered asks for something.
    NotRegistered,
    /// It claims to come from a client that has another port.
    #[strum(serialize = "another port than its sender has")]
    OtherPort,
    /// It has another version of the wire format.
    Version,
}

/// The kind of fault that dropped a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum FaultKind {
    /// The path is cut.
    Cut,
    /// It was among the next datagrams to drop.
    Drop,
    /// A loss by chance.
    Loss,
}

/// The command to which a request to the server belongs; `lookup` belongs to `send`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[allow(missing_docs, reason = "the names are those of the commands")]
pub enum RequestWord {
    CreateGroup,
    Dereg,
    JoinGroup,
    LeaveGroup,
    ListGroups,
    ListMembers,
    Lookup,
    Reg,
    Send,
    SendAll,
    SendGroup,
}

impl Problem {
    /// The word that stands in events.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Command(reason) => reason.code(),
            other => other.into(),
        }
    }
}

impl RemovalReason {
    /// The word that stands in events.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Refused(reason) => reason.code(),
            other => other.into(),
        }
    }
}

macro_rules! derived_codes {
    ($($word:ty),*) => {$(
        impl $word {
            /// The word that stands in events.
            #[must_use]
            pub fn code(self) -> &'static str {
                self.into()
            }
        }
    )*};
}

derived_codes!(Reason, OfflineReason, DropReason, FaultKind, RequestWord);

macro_rules! written_as_codes {
    ($($word:ty),*) => {$(
        impl fmt::Display for $word {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.code())
            }
        }

        impl Serialize for $word {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.code())
            }
        }
    )*};
}

written_as_codes!(Reason, Problem, RemovalReason, OfflineReason, DropReason, FaultKind, RequestWord);
