//! The wire format: what stands in a datagram, exactly, so that a client can be written in another language.
//!
//! # Datagrams
//!
//! A datagram is at most [`MAX_DATAGRAM`] bytes: one or more lines of UTF-8 JSON, each ended by `\n`. The first line
//! is the [`Header`], the others are [`Frame`]s. Nothing is padded, nothing is binary; a server answers to
//! `printf '{"chat":1,"me":"…32 hexadecimal digits…"}\n{"t":"hello","token":"1"}\n' | nc -u -w1 HOST PORT`.
//!
//! | head | meaning |
//! | --- | --- |
//! | `chat` | the version, 1. Another one is answered by `{"chat":1,"no":"version"}` if that is no longer than the question |
//! | `me` | id of the sender's life: 32 hexadecimal digits, random at each start |
//! | `you` | id of the life that is meant. Not that life any more: the answer to a datagram with `n` or `ask` is `{"chat":1,"gone":"YOU","you":"ME"}`, once, if that is no longer than the question |
//! | `n` | number of this datagram on the link from `me` to `you`, from 1, or from above all that these two lives used before, up to [`MAX_NUMBER`]; absent when its frames are not acknowledged |
//! | `low` | the sender no longer sends anything below this number |
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
//! [`crate::proto::link`] for the times). A sender that gives up raises `low`: what was not handed on by then never is.
//! A text too long for a datagram travels in `part` frames; the next frame that has a text ends it.
//!
//! # A conversation with a server
//!
//! 1. `hello` with a random token, without number. The answer `challenge` repeats the token and holds a cookie: it
//!    proves that the client receives at its address, before it is sent more. A longer token than [`MAX_TOKEN`] bytes
//!    or a longer cookie than [`MAX_COOKIE`] is ignored.
//! 2. `reg` with the cookie is the first datagram of the link. The answer is `welcome` or `refused`, after it the kept
//!    messages as `post` frames, then the table as `rows`.
//! 3. Requests have a number `r`, rising; the `answer` repeats it. A request that was received is not done twice. Those
//!    of a client that leaves a MiB of answers unacknowledged are taken when it has acknowledged them. A message has an
//!    id of its sender's life, or is not taken.
//! 4. `alive` at least every 20 s, without number, with `ask`.
//! 5. `bye` without number says that the client ends; the answer is `bye`.
//!
//! Direct messages go from client to client as `msg` frames on a link of their own, from the port by which the server
//! knows their sender: what comes from another one is ignored.

mod frame;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::proto::id::Incarnation;
pub use crate::proto::wire::frame::{Frame, RequestOutcome, Row};

/// The highest number of a datagram: far beyond what anybody sends, and far enough from the end of the numbers.
pub const MAX_NUMBER: u64 = 1 << 62;

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
pub struct Header {
    /// The version.
    pub chat: u32,
    /// A refusal: what is not understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no: Option<String>,
    /// Not here: this life, which was addressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone: Option<Incarnation>,
    /// Whose datagram it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub me: Option<Incarnation>,
    /// Whom it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub you: Option<Incarnation>,
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

impl Header {
    /// A head from `me`, to `you` if that life is known.
    #[must_use]
    pub fn new(me: Incarnation, you: Option<Incarnation>) -> Self {
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
    pub fn gone(gone: Incarnation, you: Incarnation) -> Self {
        Self { chat: VERSION, gone: Some(gone), you: Some(you), ..Self::default() }
    }
}

/// A datagram, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Its first line.
    pub head: Header,
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
    let head: Header = serde_json::from_str(first).map_err(|_| other_version(first))?;
    match head.chat {
        VERSION => {}
        0 => return Err(Malformed::NotOurs),
        _ => return Err(Malformed::Version),
    }
    if head.got.len() > MAX_GOT || head.n.max(head.low).max(head.ack) > Some(MAX_NUMBER) {
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
pub fn emit<'a>(head: &Header, lines: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
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
    #[derive(Deserialize)]
    struct VersionRefusal {
        #[serde(rename = "no")]
        _no: serde::de::IgnoredAny,
    }
    let first = question.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if serde_json::from_slice::<VersionRefusal>(first).is_ok() {
        // Two that refuse each other's refusals would never end.
        return None;
    }
    let head = Header { chat: VERSION, no: Some("version".to_owned()), ..Header::default() };
    Some(emit(&head, [])).filter(|answer| answer.len() <= question.len())
}
