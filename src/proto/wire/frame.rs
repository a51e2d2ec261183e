//! Frames: what the lines of a datagram behind its head say.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::proto::event::MessageKind;
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::name::Name;
use crate::proto::wire::{MAX_COOKIE, MAX_FRAME, MAX_TOKEN};

/// A row of the table: name, address, life, online.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row(pub Name, pub SocketAddr, pub Incarnation, pub bool);

/// What a server answers to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestOutcome {
    /// Done: `dereg`, `create`, `join`, `leave`.
    Ok,
    /// `save`: on disk.
    Saved,
    /// `save`: the reader is alive, in `row`. `lookup`: it is known, in `row`. `create`: the group was there.
    Exists,
    /// `save`, `lookup`: nobody has that name. `join`: no such group. Group requests: not in that group.
    None,
    /// `save`: the mailbox is full. `create`, `join`: a limit is reached.
    Full,
    /// `save`, `all`, `say`, `create`: it could not be written.
    Failed,
    /// `all`, `say`: on disk; `n` readers.
    Accepted,
    /// `groups`, `members`: some of `names`, the last ones unless `more`.
    Names,
}

/// A line of a datagram behind its head.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t", rename_all = "snake_case")]
#[allow(missing_docs, reason = "the members are explained at their frames")]
pub enum Frame {
    /// To a server, without number: who are you? The token is repeated in the answer.
    Hello { token: String },
    /// From a server, without number: prove that you receive.
    Challenge { token: String, cookie: String },
    /// Register under this name. `via` is the address at which the client reaches the server.
    Reg { r: u64, name: Name, cookie: String, via: std::net::IpAddr },
    /// Registered; `mail` messages follow.
    Welcome { r: u64, name: Name, mail: usize },
    /// Not registered.
    Refused { r: u64, reason: String },
    /// De-register.
    Dereg { r: u64 },
    /// Without number, from either side: the client ends.
    Bye,
    /// Without number: still here, with the table of this version.
    Alive { table: u64 },
    /// Some rows of the table that changed, and names that were dropped; `last` ends an update to version `upto`.
    /// `whole` begins one that replaces everything.
    Rows {
        upto: u64,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        whole: bool,
        last: bool,
        total: usize,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rows: Vec<Row>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gone: Vec<Name>,
    },
    /// From client to client: a direct message, sent at `at` (microseconds since 1970). To be shown after the message
    /// with the number `after` of the same life, which comes by way of the server; not acknowledged before.
    Msg {
        id: MessageId,
        at: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
        text: String,
    },
    /// A piece of a text; the next frame with a text ends it.
    Part { text: String },
    /// Keep a direct message; without asking its reader if `again`.
    Save {
        r: u64,
        id: MessageId,
        to: Name,
        at: i64,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
        text: String,
    },
    /// A message to everybody.
    All { r: u64, id: MessageId, at: i64, text: String },
    /// A message to the other members of a group.
    Say { r: u64, id: MessageId, group: Name, at: i64, text: String },
    /// Does the server know this name?
    Lookup { r: u64, name: Name },
    /// Create a group.
    Create { r: u64, group: Name },
    /// List the groups.
    Groups { r: u64 },
    /// Join a group.
    Join { r: u64, group: Name },
    /// List the members of a group.
    Members { r: u64, group: Name },
    /// Leave a group.
    Leave { r: u64, group: Name },
    /// The answer to the request `r`.
    Answer {
        r: u64,
        is: RequestOutcome,
        #[serde(default, skip_serializing_if = "is_zero")]
        n: usize,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        row: Option<Row>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        names: Vec<Name>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        more: bool,
    },
    /// From a server: a message for this client; `kept` (microseconds since 1970) when it comes as mail.
    Post {
        id: MessageId,
        kind: MessageKind,
        from: Name,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<Name>,
        at: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kept: Option<i64>,
        text: String,
    },
    /// From a server: the kept direct message `id` reached `reader`.
    Receipt { id: MessageId, reader: Name, kept: i64 },
    /// A frame of a later edition, or a malformed one: ignored.
    #[serde(other)]
    Unknown,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Frame {
    /// The frame's name on the wire.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Challenge { .. } => "challenge",
            Self::Reg { .. } => "reg",
            Self::Welcome { .. } => "welcome",
            Self::Refused { .. } => "refused",
            Self::Dereg { .. } => "dereg",
            Self::Bye => "bye",
            Self::Alive { .. } => "alive",
            Self::Rows { .. } => "rows",
            Self::Msg { .. } => "msg",
            Self::Part { .. } => "part",
            Self::Save { .. } => "save",
            Self::All { .. } => "all",
            Self::Say { .. } => "say",
            Self::Lookup { .. } => "lookup",
            Self::Create { .. } => "create",
            Self::Groups { .. } => "groups",
            Self::Join { .. } => "join",
            Self::Members { .. } => "members",
            Self::Leave { .. } => "leave",
            Self::Answer { .. } => "answer",
            Self::Post { .. } => "post",
            Self::Receipt { .. } => "receipt",
            Self::Unknown => "unknown",
        }
    }

    /// Whether what its receiver repeats fits into an answer.
    pub(super) fn is_repeatable(&self) -> bool {
        match self {
            Self::Hello { token } => token.len() <= MAX_TOKEN,
            Self::Challenge { token, cookie } => token.len() <= MAX_TOKEN && cookie.len() <= MAX_COOKIE,
            Self::Reg { cookie, .. } => cookie.len() <= MAX_COOKIE,
            _ => true,
        }
    }

    /// The text of a frame that has one and ends what `part` frames began.
    pub fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Msg { text, .. } | Self::Save { text, .. } | Self::All { text, .. } => Some(text),
            Self::Say { text, .. } | Self::Post { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The frame as lines without their ends, none longer than [`MAX_FRAME`] less one byte: a text that does not
    /// fit is cut into `part` frames before it.
    #[must_use]
    pub fn lines(mut self) -> Vec<String> {
        let whole = self.line();
        if whole.len() < MAX_FRAME {
            return vec![whole];
        }
        let text = self.text_mut().map(std::mem::take).unwrap_or_default();
        let mut lines: Vec<String> = cut(&text).map(|text| Frame::Part { text: text.to_owned() }.line()).collect();
        lines.push(self.line());
        lines
    }

    fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The text in pieces, each of which fits into a `part` frame when it is encoded; cut at character boundaries.
fn cut(mut text: &str) -> impl Iterator<Item = &str> {
    const ROOM: usize = MAX_FRAME - r#"{"t":"part","text":""}"#.len() - 1;
    std::iter::from_fn(move || {
        let mut room = ROOM;
        let end = text.char_indices().find_map(|(at, c)| {
            let bytes = encoded(c);
            if bytes > room {
                return Some(at);
            }
            room -= bytes;
            None
        });
        let (piece, rest) = text.split_at(end.unwrap_or(text.len()));
        text = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// How many bytes a character takes in a JSON string.
fn encoded(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    }
}
