//! Frames: the lines of a datagram after its header. The module documentation of [`wire`](crate::proto::wire) describes
//! each frame; the comments here are short forms.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize, Serializer};

use crate::proto::event::MessageKind;
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::keys::PublicKey;
use crate::proto::name::Name;
use crate::proto::wire::{MAX_COOKIE, MAX_FRAME, MAX_TOKEN, is_word};

/// A row of the table. On the wire it is an array of its fields, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "(Name, SocketAddr, Incarnation, PublicKey, bool)")]
pub struct Row {
    /// The client's name.
    pub name: Name,
    /// The client's address, as the reader of the table can reach it.
    pub addr: SocketAddr,
    /// The client's incarnation.
    pub incarnation: Incarnation,
    /// The client's public key.
    pub key: PublicKey,
    /// Whether the server believes that the client can be reached.
    pub online: bool,
}

impl From<(Name, SocketAddr, Incarnation, PublicKey, bool)> for Row {
    fn from((name, addr, incarnation, key, online): (Name, SocketAddr, Incarnation, PublicKey, bool)) -> Self {
        Self { name, addr, incarnation, key, online }
    }
}

impl Row {
    /// The length of the row in JSON, in bytes, as an upper bound.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        // `[ADDRESS]:PORT` of IPv6 has at most 47 bytes, and of IPv4 21. Quotes, commas and brackets are 14 bytes.
        let address = if self.addr.is_ipv4() { 21 } else { 47 };
        self.name.as_str().len() + address + 32 + 64 + "false".len() + 14
    }
}

// By hand, because `into` would clone the name of every row.
impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.name, self.addr, self.incarnation, self.key, self.online).serialize(serializer)
    }
}

/// The content of an `answer` frame. Every member but the request and the outcome has a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The number of the request.
    #[serde(rename = "r")]
    pub request: u64,
    /// The result of the request.
    #[serde(rename = "is")]
    pub outcome: RequestOutcome,
    /// The number of other clients that an accepted message goes to. Of a list that is not saved as a whole: the number
    /// of messages on disk, from the first one on.
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    pub recipients: usize,
    /// The row of the client that the request names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<Row>,
    /// Names of groups or members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Name>,
    /// Whether another answer with further names follows.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub more: bool,
}

impl Answer {
    /// An answer with an outcome and nothing else.
    #[must_use]
    pub const fn new(request: u64, outcome: RequestOutcome) -> Self {
        Self { request, outcome, recipients: 0, row: None, names: Vec::new(), more: false }
    }
}

/// The result of a request, in an `answer`. The name before each colon is the frame of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequestOutcome {
    /// `dereg`, `create`, `join`, `leave`: done.
    Ok,
    /// `save`, `saves`: all messages of the request are on disk.
    Saved,
    /// `save`, `saves`: the reader is online, in `row`. `lookup`: the name is known, in `row`. `create`: the group
    /// exists already.
    Exists,
    /// `save`, `saves`, `lookup`: the name is unknown. `join`: no such group. Other requests about a group: no such
    /// group, or the client is not a member.
    None,
    /// `save`, `saves`: the mailbox is full. `create`, `join`: a limit is reached.
    Full,
    /// `save`, `saves`, `all`, `say`, `create`: the store could not write the record.
    Failed,
    /// `all`, `say`: the message is on disk, for `n` readers.
    Accepted,
    /// `groups`, `members`: a part of the list, in `names`. With `more`, another `answer` follows.
    Names,
}

/// Declares [`Frame`], and the same enum once more without a tag: serde would copy every member of a tagged enum before
/// it knows the variant, but [`tagged`](crate::proto::wire::tagged) knows the kind beforehand.
macro_rules! frames {
    ($(#[doc = $doc:literal])* #[allow($($allowed:tt)*)] pub enum Frame { $($variants:tt)* }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "t", rename_all = "snake_case")]
        #[allow($($allowed)*)]
        pub enum Frame { $($variants)* }

        #[derive(Deserialize)]
        #[serde(remote = "Frame", rename_all = "snake_case")]
        #[allow(dead_code, reason = "serde only reads its declaration")]
        pub(super) enum UntaggedFrame { $($variants)* }
    };
}

frames! {
/// A line of a datagram after its header. `r` is the number of a request. "Without number" means that the header of the
/// datagram has no `seq`, so that the link does not retransmit it.
#[allow(missing_docs, reason = "the members are explained at their frames")]
pub enum Frame {
    /// To a server, outside a link: a request for a challenge. The answer repeats the token. `pad` makes the datagram
    /// long enough for an answer.
    Hello {
        token: String,
        #[serde(default)]
        pad: String,
    },
    /// From a server, outside a link: the cookie that the first datagrams of the link must repeat, and the server's
    /// public key.
    Challenge { token: String, cookie: String, key: PublicKey },
    /// Register under `name`. `via` is the address at which the client reaches the server.
    Reg { r: u64, name: Name, via: std::net::IpAddr },
    /// The client is registered; `mail` saved messages follow.
    Welcome { r: u64, name: Name, mail: usize },
    /// The client is not registered.
    Refused { r: u64, reason: String },
    /// De-register.
    Dereg { r: u64 },
    /// Without number: the client ends. The server answers with `bye`.
    Bye,
    /// Without number: keep-alive. `table` is the version of the client's table.
    Alive { table: u64 },
    /// Changed rows of the table, and dropped names (`gone`). `last` ends the update to version `upto`. `whole` begins
    /// an update that replaces the whole table. With `online`, the number of online clients, the table is partial, and
    /// the only row is the client's own.
    Rows {
        upto: u64,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        whole: bool,
        last: bool,
        total: usize,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        online: Option<usize>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rows: Vec<Row>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        gone: Vec<Name>,
    },
    /// Without number: the table of the client is partial. At version `upto` the server has `total` rows, `online` of
    /// them online.
    Totals { upto: u64, total: usize, online: usize },
    /// The row of a client that may send to this one, whose table is partial.
    Row { row: Row },
    /// From client to client: a direct message, sent at `at` (microseconds since 1970).
    ///
    /// With `after`, it is displayed and acknowledged only after the message of the same incarnation with that number,
    /// which comes through the server.
    Msg {
        id: MessageId,
        at: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<u64>,
        text: String,
    },
    /// A part of a text. The next frame with a text has the last part.
    Part { text: String },
    /// Save a direct message. With `again`, the server does not check whether the reader is online.
    Save {
        r: u64,
        id: MessageId,
        to: Name,
        at: i64,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
        text: String,
    },
    /// A message of the list that the next `saves` ends.
    Item { id: MessageId, at: i64, text: String },
    /// Save the last `n` messages of `item` frames, all for one reader. `again` is as in `save`.
    Saves {
        r: u64,
        to: Name,
        n: usize,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        again: bool,
    },
    /// A message to everybody.
    All { r: u64, id: MessageId, at: i64, text: String },
    /// A message to the other members of a group.
    Say { r: u64, id: MessageId, group: Name, at: i64, text: String },
    /// Ask for the row of a name.
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
    /// The answer to a request.
    Answer(Answer),
    /// From a server: a message for this client. A saved message has `kept`, the time at which it was saved
    /// (microseconds since 1970).
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
    /// From a server: `n` messages to everybody or to a group were dropped before this client read them.
    Dropped {
        id: MessageId,
        kind: MessageKind,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<Name>,
        n: u64,
    },
    /// From a server: the saved direct message `id` reached `reader`. `kept` is as in `post`.
    Receipt { id: MessageId, reader: Name, kept: i64 },
    /// A frame of an unknown kind, or a malformed frame. It is ignored, so that later releases can add frames.
    #[serde(other)]
    Unknown,
}
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

impl Frame {
    /// The kind of the frame: the value of `t` on the wire.
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
            Self::Totals { .. } => "totals",
            Self::Row { .. } => "row",
            Self::Msg { .. } => "msg",
            Self::Part { .. } => "part",
            Self::Save { .. } => "save",
            Self::Item { .. } => "item",
            Self::Saves { .. } => "saves",
            Self::All { .. } => "all",
            Self::Say { .. } => "say",
            Self::Lookup { .. } => "lookup",
            Self::Create { .. } => "create",
            Self::Groups { .. } => "groups",
            Self::Join { .. } => "join",
            Self::Members { .. } => "members",
            Self::Leave { .. } => "leave",
            Self::Answer(_) => "answer",
            Self::Post { .. } => "post",
            Self::Dropped { .. } => "dropped",
            Self::Receipt { .. } => "receipt",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the receiver can repeat the token and the cookie: the answer must fit into a datagram.
    pub(super) fn is_repeatable(&self) -> bool {
        match self {
            Self::Hello { token, .. } => is_word(token, MAX_TOKEN),
            Self::Challenge { token, cookie, .. } => is_word(token, MAX_TOKEN) && is_word(cookie, MAX_COOKIE),
            _ => true,
        }
    }

    /// The text of a frame that ends a sequence of `part` frames; `None` for other frames and for `part` itself.
    pub fn text_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::Msg { text, .. } | Self::Save { text, .. } | Self::All { text, .. } => Some(text),
            Self::Say { text, .. } | Self::Post { text, .. } | Self::Item { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Encodes the frame as lines without newlines. Each line is shorter than [`MAX_FRAME`], so that it fits with its
    /// newline. A text that is too long is split into `part` frames, which precede the frame itself.
    #[must_use]
    pub fn lines(mut self) -> Vec<String> {
        let whole = self.line();
        if whole.len() < MAX_FRAME {
            return vec![whole];
        }
        let text = self.text_mut().map(std::mem::take).unwrap_or_default();
        let mut lines: Vec<String> =
            split_text(&text).map(|text| Frame::Part { text: text.to_owned() }.line()).collect();
        lines.push(self.line());
        lines
    }

    fn line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Splits a text at character boundaries, so that each part fits into a `part` frame after it is encoded.
fn split_text(mut text: &str) -> impl Iterator<Item = &str> {
    const ROOM: usize = MAX_FRAME - r#"{"t":"part","text":""}"#.len() - 1;
    std::iter::from_fn(move || {
        let mut room = ROOM;
        let end = text.char_indices().find_map(|(at, c)| {
            let bytes = encoded_len(c);
            if bytes > room {
                return Some(at);
            }
            room -= bytes;
            None
        });
        let (part, rest) = text.split_at(end.unwrap_or(text.len()));
        text = rest;
        (!part.is_empty()).then_some(part)
    })
}

/// The number of bytes of a character in a JSON string, as `serde_json` writes it.
fn encoded_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        c if c < ' ' => 6,
        c => c.len_utf8(),
    }
}
