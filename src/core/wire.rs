//! The wire format: what stands in a datagram, exactly, so that a client can be written in another language.
//!
//! # Datagrams
//!
//! A datagram is at most [`MAX_DATAGRAM`] bytes: one or more lines of UTF-8 JSON, each ended by `\n`. The first line
//! is the [`Head`], the others are [`Frame`]s. Nothing is padded, nothing is binary; a server answers to
//! `printf '{"chat":1,"me":"…32 hexadecimal digits…"}\n{"t":"hello","token":"1"}\n' | nc -u -w1 HOST PORT`.
//!
//! | head | meaning |
//! | --- | --- |
//! | `chat` | the version, 1. Another one is answered by `{"chat":1,"no":"version"}` if that is no longer than the question |
//! | `me` | id of the sender's life: 32 hexadecimal digits, random at each start |
//! | `you` | id of the life that is meant. Not that life any more: the answer to a datagram with `n` or `ask` is `{"chat":1,"gone":"YOU","you":"ME"}`, once, if that is no longer than the question |
//! | `n` | number of this datagram on the link from `me` to `you`, from 1, or from above all that these two lives used before; absent when its frames are not acknowledged |
//! | `low` | with `n`: the sender no longer sends anything below this number |
//! | `ack` | all datagrams up to this number were received, and what they say was shown or done |
//! | `got` | datagrams beyond `ack` that were received, as distances from `ack` |
//! | `wait` | received, but its reader cannot take it yet: have patience |
//! | `ask` | a number: repeat it in `answer` at once, whatever else you are doing; a bare head will do |
//! | `answer` | the number of a question: what came on another occasion proves nothing |
//!
//! # Links
//!
//! A link is two lives that talk. Its datagrams are numbered, kept by the receiver until all before them came,
//! handed on in order, acknowledged when what they say was shown or done, and sent again until then (see
//! [`super::link`] for the times). A sender that gives up raises `low`: what was not handed on by then never is.
//! A text too long for a datagram travels in `part` frames; the next frame that has a text ends it.
//!
//! # A conversation with a server
//!
//! 1. `hello` with a random token, without number. The answer `challenge` repeats the token and holds a cookie: it
//!    proves that the client receives at its address, before it is sent more. A longer token than [`MAX_TOKEN`] bytes
//!    or a longer cookie than [`MAX_COOKIE`] is ignored.
//! 2. `reg` with the cookie is the first datagram of the link. The answer is `welcome` or `refused`, after it the kept
//!    messages as `post` frames, then the table as `rows`.
//! 3. Requests have a number `r`, rising; the `answer` repeats it. A request that was received is not done twice.
//! 4. `alive` at least every 20 s, without number, with `ask`.
//! 5. `bye` without number says that the client ends; the answer is `bye`.
//!
//! Direct messages go from client to client as `msg` frames on a link of their own.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::event::Kind;
use super::id::{Life, MessageId};
use super::name::Name;

/// The version of the wire format.
pub const VERSION: u32 = 1;

/// The most bytes of a datagram: below the smallest MTU of IPv6 (1,280) less its headers, so that nothing is fragmented.
pub const MAX_DATAGRAM: usize = 1_200;

/// The most bytes of a head with its newline.
pub const MAX_HEAD: usize = 320;

/// The most bytes of a frame with its newline, so that any one fits behind any head.
pub const MAX_FRAME: usize = MAX_DATAGRAM - MAX_HEAD;

/// The most entries of `got` in a head.
pub const MAX_GOT: usize = 16;

/// The most bytes of a token of `hello`.
pub const MAX_TOKEN: usize = 16;

/// The most bytes of a cookie, so that a `reg` frame that repeats it fits into a datagram.
pub const MAX_COOKIE: usize = 64;

/// The first line of a datagram.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// The version.
    pub chat: u32,
    /// A refusal: what is not understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no: Option<String>,
    /// Not here: this life, which was addressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone: Option<Life>,
    /// Whose datagram it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub me: Option<Life>,
    /// Whom it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub you: Option<Life>,
    /// Its number on the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// Nothing below is sent any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<u64>,
    /// All up to here is shown or done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack: Option<u64>,
    /// What came beyond, as distances from `ack`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub got: Vec<u16>,
    /// It came and is not shown yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
    /// Answer at once, with this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask: Option<u32>,
    /// The answer to that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<u32>,
}

impl Head {
    /// A head from `me`, to `you` if that life is known.
    #[must_use]
    pub fn new(me: Life, you: Option<Life>) -> Self {
        Self { chat: VERSION, me: Some(me), you, ..Self::default() }
    }

    /// Whether its sender waits for an answer. A bare acknowledgement does not, and may overtake the datagram that
    /// would make its sender known.
    #[must_use]
    pub fn wants_answer(&self) -> bool {
        self.n.is_some() || self.ask.is_some()
    }

    /// The answer to what was sent to a life that is gone.
    #[must_use]
    pub fn gone(gone: Life, you: Life) -> Self {
        Self { chat: VERSION, gone: Some(gone), you: Some(you), ..Self::default() }
    }
}

/// A row of the table: name, address, life, online.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row(pub Name, pub SocketAddr, pub Life, pub bool);

/// What a server answers to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
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
        is: Outcome,
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
        kind: Kind,
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
    fn is_repeatable(&self) -> bool {
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

/// A datagram, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Its first line.
    pub head: Head,
    /// The others.
    pub frames: Vec<Frame>,
}

/// Why bytes are no datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Longer than [`MAX_DATAGRAM`].
    TooLong,
    /// Not lines of UTF-8 JSON with a head in front.
    NotOurs,
    /// A head of another version.
    Version,
}

/// Takes a datagram apart. A line that is no known frame becomes [`Frame::Unknown`].
///
/// # Errors
/// [`Malformed`] says why it is none.
pub fn parse(bytes: &[u8]) -> Result<Datagram, Malformed> {
    if bytes.len() > MAX_DATAGRAM {
        return Err(Malformed::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed::NotOurs)?;
    let mut lines = text.split('\n').filter(|line| !line.trim().is_empty());
    let first = lines.next().ok_or(Malformed::NotOurs)?;
    let head: Head = serde_json::from_str(first).map_err(|_| other_version(first))?;
    match head.chat {
        VERSION => {}
        0 => return Err(Malformed::NotOurs),
        _ => return Err(Malformed::Version),
    }
    if head.got.len() > MAX_GOT {
        return Err(Malformed::NotOurs);
    }
    let frame = |line| serde_json::from_str(line).ok().filter(Frame::is_repeatable).unwrap_or(Frame::Unknown);
    Ok(Datagram { head, frames: lines.map(frame).collect() })
}

/// A head of a later version may look otherwise; all it must have is its version.
fn other_version(line: &str) -> Malformed {
    #[derive(Deserialize)]
    struct Version {
        chat: u64,
    }
    match serde_json::from_str::<Version>(line) {
        Ok(Version { chat }) if chat != 0 && chat != u64::from(VERSION) => Malformed::Version,
        _ => Malformed::NotOurs,
    }
}

/// Puts a datagram together from its head and lines of frames.
#[must_use]
pub fn emit<'a>(head: &Head, lines: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(head).unwrap_or_default();
    bytes.push(b'\n');
    for line in lines {
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
    }
    bytes
}

/// What a datagram is, in a word: the kind of its first frame, or `head` when it has none.
#[must_use]
pub fn summary(bytes: &[u8]) -> String {
    let first = parse(bytes).ok().map(|datagram| datagram.frames.first().map_or("head", Frame::kind));
    first.unwrap_or("malformed").to_owned()
}

/// The refusal of a datagram of another version, unless it would be longer than the question.
#[must_use]
pub fn refuse_version(question: &[u8]) -> Option<Vec<u8>> {
    let head = Head { chat: VERSION, no: Some("version".to_owned()), ..Head::default() };
    Some(emit(&head, [])).filter(|answer| answer.len() <= question.len())
}

#[cfg(test)]
mod tests;
