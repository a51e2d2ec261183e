//! The wire format: what stands in a datagram, exactly, so that a client can be written in another language.
//!
#![doc = include_str!("../README.md")]

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
