//! Codes for reasons, problems and kinds in events, with one enum for each meaning. No code compares them as text.
//!
//! The code of a variant is derived from its name. It is part of the JSON of events and of the wire format, so renaming
//! a variant changes both.

use std::fmt;

use serde::{Serialize, Serializer};
use strum::{EnumIter, EnumString, IntoStaticStr};

/// The reason why a command or a request failed, in `done`, `refused` and `rejected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Reason {
    /// The name is invalid.
    BadName,
    /// The group exists.
    GroupExists,
    /// A limit on groups or their members is reached.
    GroupLimit,
    /// The program ended before the command had an outcome.
    Interrupted,
    /// The line is not a valid command, or the command is not allowed in the current mode.
    InvalidCommand,
    /// The client is shutting down.
    Leaving,
    /// The mailbox of the reader is full.
    MailboxFull,
    /// The name belongs to a client that is online.
    NameInUse,
    /// No client has the name.
    NoSuchClient,
    /// The group does not exist.
    NoSuchGroup,
    /// The client is not a member of the group at the server.
    NotAMember,
    /// The server could not write to its disk.
    NotSaved,
    /// The line is not UTF-8.
    #[strum(serialize = "not-utf8")]
    NotUtf8,
    /// The client is de-registered.
    Offline,
    /// An incarnation asks for a second name.
    OtherName,
    /// The server refused the name for a reason that this client does not know.
    Refused,
    /// The server did not accept the message.
    Rejected,
    /// The server has reached its limit on names.
    ServerFull,
    /// The server did not answer.
    ServerUnreachable,
    /// The text is longer than its limit.
    TooLong,
    /// Too many commands have no outcome.
    TooManyCommands,
    /// `dereg` or `reg` with another name than the client's own.
    WrongName,
}

/// The code of a `warning` or an `error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Problem {
    /// A command failed.
    Command(Reason),
    /// An expected line of a script did not arrive, or a forbidden one did.
    Expected,
    /// An undelivered message is no longer on disk.
    MailLost,
    /// A change could not be written to disk.
    NotSaved,
    /// The output was blocked, and events were dropped.
    OutputBlocked,
    /// There are more names than fit into whole tables.
    PartialTables,
    /// A line of a script cannot be parsed.
    Script,
    /// The server was restarted and does not know the client, which registers again.
    ServerRestarted,
    /// The store had to recover, or failed.
    Store,
    /// The input could not be read.
    Unreadable,
}

/// The reason why a client is no longer in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum RemovalReason {
    /// It acknowledged neither a message nor a ping.
    NotResponsive,
    /// The server refused its name.
    Refused(Reason),
    /// It registered again, because the server did not know it.
    RegisteredAgain,
}

/// The reason why a client is offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum OfflineReason {
    /// It de-registered.
    Dereg,
    /// It gave notice (`bye`) and ended.
    Leave,
    /// It did not answer a ping.
    Silent,
}

/// The reason why a received datagram, or a request in it, was ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum DropReason {
    /// Its tag is wrong or missing.
    BadTag,
    /// The buffer of its link, or of all links, is full.
    BufferFull,
    /// A request carries the message id of another client.
    ForeignId,
    /// It is not a valid datagram of this protocol.
    Malformed,
    /// It belongs to no link.
    NoLink,
    /// The request comes from a client that is not registered.
    NotRegistered,
    /// Its source is not the address of its sender.
    OtherAddress,
    /// It comes from this program itself.
    OwnIncarnation,
    /// Its number was received before, or is too old to know.
    Replayed,
    /// It has another version of the wire format.
    Version,
}

/// The kind of fault that dropped a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, EnumString, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum FaultKind {
    /// The path is cut.
    Cut,
    /// It was one of a requested number of datagrams to drop.
    Drop,
    /// A random loss.
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
    /// The code in events.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Command(reason) => reason.code(),
            other => other.into(),
        }
    }
}

impl RemovalReason {
    /// The code in events.
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
            /// The code in events.
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
