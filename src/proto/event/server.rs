//! The events of a server and their display lines, which use the catalogue of sentences.
//!
//! Names and order of the members are part of the JSON output.

use serde::Serialize;
use strum::{EnumDiscriminants, EnumString};

use crate::proto::event::reason::{OfflineReason, Problem, Reason, RemovalReason};
use crate::proto::event::sentences::Sentence;
use crate::proto::event::{ClientInfo, MessageKind, aligned, inline, list};
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::name::Name;
use crate::proto::text::Text;

/// An event of a server.
#[derive(Clone, Debug, PartialEq, Serialize, EnumDiscriminants)]
#[serde(tag = "event", rename_all = "snake_case")]
#[strum_discriminants(name(ServerEventKind), derive(EnumString), strum(serialize_all = "snake_case"))]
#[strum_discriminants(doc = "The kind of [`ServerEvent`], as the member `event` names it.")]
#[strum_discriminants(allow(missing_docs, reason = "the kinds are those of the event contract"))]
#[allow(missing_docs, reason = "the members are those of the event contract, by name")]
pub enum ServerEvent {
    /// The server has its socket and accepts datagrams.
    Listening { port: u16, release: &'static str },
    /// The state of an earlier incarnation was loaded from `file`.
    Loaded { names: usize, messages: usize, file: String },
    /// A client registered, possibly again.
    ClientRegistered { name: Name, addr: String },
    /// A client left (`dereg`, `leave`) or did not answer a ping (`silent`).
    ClientOffline { name: Name, reason: OfflineReason },
    /// The table changed.
    Table {
        version: u64,
        #[serde(rename = "life")]
        incarnation: Incarnation,
        changed: Vec<ClientInfo>,
        total: usize,
        online_count: usize,
    },
    /// A direct message was kept.
    Saved { to: Name, from: Name, id: MessageId },
    /// The reader acknowledged a kept message.
    MailDelivered { to: Name, from: Name, id: MessageId },
    /// A group was created.
    GroupCreated { group: Name, name: Name },
    /// A client joined a group.
    Joined { group: Name, name: Name },
    /// A client asked for the groups, or the console did (without `name`).
    Groups {
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<Name>,
        groups: Vec<Name>,
    },
    /// A client asked for the members of its group.
    Members { group: Name, name: Name, members: Vec<Name> },
    /// A client left a group.
    Left { group: Name, name: Name },
    /// A client that did not respond was removed from a group.
    Removed { group: Name, name: Name, reason: RemovalReason },
    /// A channel or group message is on disk, and its delivery begins.
    Accepted {
        kind: MessageKind,
        id: MessageId,
        from: Name,
        recipients: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<Name>,
        #[serde(skip)]
        text: Text,
    },
    /// A request was refused.
    Rejected {
        reason: Reason,
        from: Name,
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<Name>,
    },
    /// The answer to `table` at the console.
    Clients { version: u64, clients: Vec<ClientInfo> },
    /// The answer to `mail`: the number of waiting messages for each reader.
    Mail { waiting: Vec<WaitingMail> },
    /// The answer to `stats`: counters by name.
    Stats { stats: std::collections::BTreeMap<&'static str, u64> },
    /// The answer to `help`.
    Help { message: String },
    /// A condition that is not a failure.
    Warning { code: Problem, message: String, definite: bool },
    /// A failure. `definite` is false if the outcome cannot be known.
    Error { code: Problem, message: String, definite: bool },
    /// The last event, with the exit status.
    Exit { status: u8 },
}

/// The number of waiting messages for one reader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WaitingMail {
    /// The reader.
    pub name: Name,
    /// The number of messages.
    pub messages: usize,
}

impl ServerEvent {
    /// The text to display, without the prompt. Several lines are joined by `\n`. `None` if nothing is displayed.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        Some(match self {
            Self::Listening { port, .. } => Sentence::Listening { port }.to_string(),
            Self::Loaded { names, messages, file } => {
                Sentence::Loaded { names, messages, file: &inline(file) }.to_string()
            }
            Self::ClientRegistered { name, .. } => Sentence::ClientRegistered { name }.to_string(),
            Self::ClientOffline { name, .. } => Sentence::ClientOffline { name }.to_string(),
            Self::GroupCreated { group, name } => Sentence::ClientCreatedGroup { name, group }.to_string(),
            Self::Joined { group, name } => Sentence::ClientJoinedGroup { name, group }.to_string(),
            Self::Groups { name: Some(name), groups } => list(Sentence::ClientListsGroups { name }, groups),
            Self::Groups { name: None, groups } if groups.is_empty() => Sentence::NoGroups.to_string(),
            Self::Groups { name: None, groups } => list(Sentence::AvailableGroups, groups),
            Self::Members { group, name, members } => list(Sentence::ClientListsMembers { name, group }, members),
            Self::Left { group, name } => Sentence::ClientLeftGroup { name, group }.to_string(),
            Self::Removed { group, name, .. } => Sentence::ClientRemoved { name, group }.to_string(),
            Self::Accepted { kind: MessageKind::Group, from, text, .. } => {
                Sentence::ClientSentToGroup { name: from, text: &inline(text.as_str()) }.to_string()
            }
            Self::Rejected { reason: Reason::GroupExists, from, group: Some(group) } => {
                Sentence::ClientGroupExists { name: from, group }.to_string()
            }
            Self::Rejected { reason: Reason::NoSuchGroup, from, group: Some(group) } => {
                Sentence::ClientNoSuchGroup { name: from, group }.to_string()
            }
            Self::Clients { clients, .. } => aligned(clients),
            Self::Mail { waiting } if waiting.is_empty() => Sentence::NoMail.to_string(),
            Self::Mail { waiting } => {
                let rows = waiting.iter().map(|w| format!("{}  {}", w.name, w.messages));
                rows.collect::<Vec<_>>().join("\n")
            }
            Self::Stats { stats } => {
                let width = stats.keys().map(|key| key.len()).max().unwrap_or(0);
                stats.iter().map(|(key, n)| format!("{key:width$}  {n}")).collect::<Vec<_>>().join("\n")
            }
            Self::Help { message } | Self::Warning { message, .. } | Self::Error { message, .. } => message.clone(),
            Self::Table { .. } | Self::Saved { .. } | Self::MailDelivered { .. } | Self::Accepted { .. } => {
                return None;
            }
            Self::Rejected { .. } | Self::Exit { .. } => return None,
        })
    }
}
