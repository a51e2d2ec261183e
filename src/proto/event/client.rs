//! The events of a client and their display lines, which use the catalogue of sentences.
//!
//! Names and order of the members are part of the JSON output.

use serde::Serialize;
use strum::{EnumDiscriminants, EnumString};

use crate::proto::command::Usage;
use crate::proto::event::reason::{OfflineReason, Problem, Reason, RemovalReason, RequestWord};
use crate::proto::event::sentences::Sentence;
use crate::proto::event::{ClientInfo, MessageKind, aligned, inline, list};
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::name::Name;
use crate::proto::text::Text;

/// An event of a client.
#[derive(Clone, Debug, PartialEq, Serialize, EnumDiscriminants)]
#[serde(tag = "event", rename_all = "snake_case")]
#[strum_discriminants(name(ClientEventKind), derive(EnumString), strum(serialize_all = "snake_case"))]
#[strum_discriminants(doc = "The kind of [`ClientEvent`], as the member `event` names it.")]
#[strum_discriminants(allow(missing_docs, reason = "the kinds are those of the event contract"))]
#[allow(missing_docs, reason = "the members are those of the event contract, by name")]
pub enum ClientEvent {
    /// The client has its socket. `free_port` is the port that the system chose, if the user asked for a free one. It
    /// is displayed.
    Started {
        server: String,
        addr: String,
        release: &'static str,
        #[serde(skip)]
        free_port: Option<u16>,
    },
    /// The server registered this client.
    Registered { name: Name },
    /// The server refused the name.
    Refused { name: Name, reason: Reason, definite: bool },
    /// An update changed the table. A partial table has only some of the `total` rows. When only the totals of such a
    /// table changed, nothing is displayed.
    Table {
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        partial: bool,
        version: u64,
        #[serde(rename = "life")]
        incarnation: Incarnation,
        changed: Vec<ClientInfo>,
        total: usize,
        online_count: usize,
    },
    /// The answer to the command `table`.
    Clients {
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        partial: bool,
        version: u64,
        clients: Vec<ClientInfo>,
    },
    /// A message to display. `stored` is the time at which the server kept it, and absent for a live message.
    Message {
        kind: MessageKind,
        from: Name,
        text: Text,
        id: MessageId,
        sent_at: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        stored: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<Name>,
    },
    /// `count` kept messages follow.
    Mail { count: usize },
    /// A kept direct message reached its reader.
    Receipt { to: Name, id: MessageId, kept_at: String },
    /// The reader acknowledged a direct message. `attempts` counts the transmissions of its last
    /// datagram.
    Delivered { to: Name, id: MessageId, attempts: u32, rtt_ms: f64 },
    /// The reader did not acknowledge a direct message. The message goes to the server.
    NoAck { to: Name, id: MessageId },
    /// The server kept a direct message.
    Saved { to: Name, id: MessageId },
    /// The server found the reader online, so it did not keep the message.
    ClientExists { name: Name },
    /// The server has a channel or group message on disk.
    Accepted { kind: MessageKind, id: MessageId, recipients: usize },
    /// The server dropped channel or group messages before this client read them.
    MessagesDropped {
        kind: MessageKind,
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<Name>,
        count: u64,
    },
    /// A group was created.
    GroupCreated { group: Name },
    /// The group to create exists already.
    GroupExists { group: Name },
    /// This client entered a group.
    Joined { group: Name },
    /// The group to join does not exist.
    NoSuchGroup { group: Name },
    /// All groups, in order of name.
    Groups { groups: Vec<Name> },
    /// The members of the group, in the order in which they joined.
    Members { group: Name, members: Vec<Name> },
    /// This client left the group.
    Left { group: Name },
    /// The server removed this client from the group.
    Removed { group: Name, reason: RemovalReason },
    /// This client is de-registered.
    Offline { name: Name, reason: OfflineReason },
    /// A request is repeated: attempt `attempt` of `of`.
    Retry { what: RequestWord, attempt: u32, of: u32 },
    /// The server answered none of the attempts.
    ServerUnreachable { what: RequestWord, attempts: u32 },
    /// A condition that is not a failure.
    Warning { code: Problem, message: String, definite: bool },
    /// A failure. `definite` is false if the outcome cannot be known.
    Error { code: Problem, message: String, definite: bool },
    /// The answer to `help`.
    Help { commands: Vec<CommandHelp> },
    /// A command has its outcome.
    Done {
        ok: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<Reason>,
    },
    /// The last event. `shown` displays `[Exiting]`, because the server was unreachable.
    Exit {
        status: u8,
        #[serde(skip)]
        shown: bool,
    },
}

/// A command of `help`, as an event carries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommandHelp {
    /// The command and its arguments.
    pub usage: String,
    /// The effect of the command.
    pub does: &'static str,
}

impl From<&Usage> for CommandHelp {
    fn from(usage: &Usage) -> Self {
        Self { usage: format!("{} {}", usage.name, usage.words).trim_end().to_owned(), does: usage.does }
    }
}

impl ClientEvent {
    /// The text to display, without the prompt. Several lines are joined by `\n`. `None` if nothing is displayed.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        Some(match self {
            Self::Started { free_port: Some(port), .. } => Sentence::ClientListening { port }.to_string(),
            Self::Registered { .. } => Sentence::Registered.to_string(),
            Self::Refused { name, reason, .. } => match reason {
                Reason::NameInUse => Sentence::NameInUse { name }.to_string(),
                Reason::ServerFull => Sentence::ServerFull.to_string(),
                reason => Sentence::NameRefused { name, reason }.to_string(),
            },
            Self::Table { partial: true, changed, .. } if changed.is_empty() => return None,
            Self::Table { .. } => Sentence::TableUpdated.to_string(),
            Self::Clients { clients, .. } => aligned(clients),
            Self::Message { kind, from, text, stored, .. } => {
                let (name, text) = (from, &inline(text.as_str()));
                let sentence = match (kind, stored) {
                    (MessageKind::Direct, None) => Sentence::DirectMessage { name, text },
                    (MessageKind::Direct, Some(time)) => Sentence::DirectMail { name, time, text },
                    (MessageKind::Channel, None) => Sentence::ChannelMessage { name, text },
                    (MessageKind::Channel, Some(time)) => Sentence::ChannelMail { name, time, text },
                    (MessageKind::Group, None) => Sentence::GroupMessage { name, text },
                    (MessageKind::Group, Some(time)) => Sentence::GroupMail { name, time, text },
                };
                sentence.to_string()
            }
            Self::Mail { .. } => Sentence::HaveMessages.to_string(),
            Self::Receipt { to, kept_at, .. } => Sentence::MailReceived { time: kept_at, name: to }.to_string(),
            Self::Delivered { to, .. } => Sentence::Delivered { name: to }.to_string(),
            Self::NoAck { to, .. } => Sentence::NoAck { name: to }.to_string(),
            Self::Saved { .. } => Sentence::Saved.to_string(),
            Self::ClientExists { name } => Sentence::ClientExists { name }.to_string(),
            Self::Accepted { .. } => Sentence::Accepted.to_string(),
            Self::MessagesDropped { group: None, count, .. } => Sentence::ChannelDropped { count }.to_string(),
            Self::MessagesDropped { group: Some(group), count, .. } => {
                Sentence::GroupDropped { count, group }.to_string()
            }
            Self::GroupCreated { group } => Sentence::GroupCreated { group }.to_string(),
            Self::GroupExists { group } => Sentence::GroupExists { group }.to_string(),
            Self::Joined { group } => Sentence::GroupEntered { group }.to_string(),
            Self::NoSuchGroup { group } => Sentence::NoSuchGroup { group }.to_string(),
            Self::Groups { groups } if groups.is_empty() => Sentence::NoGroups.to_string(),
            Self::Groups { groups } => list(Sentence::AvailableGroups, groups),
            Self::Members { group, members } => list(Sentence::GroupMembers { group }, members),
            Self::Left { group } => Sentence::GroupLeft { group }.to_string(),
            Self::Removed { group, .. } => Sentence::RemovedFromGroup { group }.to_string(),
            Self::Offline { .. } => Sentence::Offline.to_string(),
            Self::ServerUnreachable { what: RequestWord::SendAll, .. } => Sentence::ChannelUnreachable.to_string(),
            Self::ServerUnreachable { .. } => Sentence::ServerUnreachable.to_string(),
            Self::Warning { message, .. } | Self::Error { message, .. } => message.clone(),
            Self::Help { commands } => {
                let width = commands.iter().map(|c| c.usage.len()).max().unwrap_or(0);
                let rows = commands.iter().map(|c| format!("{:width$}  {}", c.usage, c.does));
                rows.collect::<Vec<_>>().join("\n")
            }
            Self::Exit { shown: true, .. } => Sentence::Exiting.to_string(),
            Self::Exit { .. } | Self::Started { .. } | Self::Retry { .. } | Self::Done { .. } => return None,
        })
    }
}
