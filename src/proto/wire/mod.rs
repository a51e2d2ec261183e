//! The wire format: parses and emits datagrams.
//!
#![doc = include_str!("../README.md")]

mod frame;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::proto::id::Incarnation;
pub use crate::proto::wire::frame::{Answer, Frame, RequestOutcome, Row};

/// The highest number of a datagram on a link. No sender reaches it, and arithmetic on valid numbers cannot overflow.
pub const MAX_NUMBER: u64 = 1 << 62;

/// The version of the wire format.
pub const VERSION: u32 = 1;

/// Maximum length of a datagram, in bytes: below the smallest MTU of IPv6 (1,280, RFC 8200 §5) less its headers, so
/// that no datagram is fragmented.
pub const MAX_DATAGRAM: usize = 1_200;

/// Maximum length of a header with its newline, in bytes.
pub const MAX_HEAD: usize = 320;

/// Maximum length of a frame with its newline, in bytes. Any frame fits into a datagram with any header.
pub const MAX_FRAME: usize = MAX_DATAGRAM - MAX_HEAD;

/// Maximum number of entries of `got` in a header.
pub const MAX_GOT: usize = 16;

/// Maximum length of the token of `hello`, in bytes, so that `challenge` fits into a frame.
pub const MAX_TOKEN: usize = 16;

/// Maximum length of a cookie, in bytes, so that `reg` fits into a frame.
pub const MAX_COOKIE: usize = 64;

/// The header: the first line of a datagram. The module documentation describes its keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Header {
    /// The version of the wire format, [`VERSION`]; 0 if the key is absent.
    pub chat: u32,
    /// A refusal. `"version"`: the datagram had another version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no: Option<String>,
    /// The answer to a datagram that was addressed to this incarnation, which has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gone: Option<Incarnation>,
    /// The incarnation of the sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub me: Option<Incarnation>,
    /// The incarnation of the receiver; absent if the sender does not know it yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub you: Option<Incarnation>,
    /// The number of the datagram on the link, from 1 to [`MAX_NUMBER`]; absent if it needs no acknowledgement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<u64>,
    /// The floor: the sender no longer sends numbers below this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<u64>,
    /// Cumulative acknowledgement: all datagrams up to this number were received, and their frames displayed or
    /// processed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack: Option<u64>,
    /// Datagrams beyond `ack` that were received, as distances from `ack`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub got: Vec<u16>,
    /// A datagram was received but cannot be displayed yet: the sender should extend its timeout.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
    /// A question: the receiver must answer at once, with this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask: Option<u32>,
    /// The number of the question that this datagram answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<u32>,
}

impl Header {
    /// A header from `me` to `you`; `None` if the receiver's incarnation is not known yet.
    #[must_use]
    pub fn new(me: Incarnation, you: Option<Incarnation>) -> Self {
        Self { chat: VERSION, me: Some(me), you, ..Self::default() }
    }

    /// Whether the sender expects an answer, so that `gone` may be sent to it.
    ///
    /// A bare acknowledgement expects none: it may arrive before the datagram that makes its sender known.
    #[must_use]
    pub fn wants_answer(&self) -> bool {
        self.n.is_some() || self.ask.is_some()
    }

    /// The answer to a datagram for the incarnation `gone`, which has ended; `you` sent that datagram.
    #[must_use]
    pub fn gone(gone: Incarnation, you: Incarnation) -> Self {
        Self { chat: VERSION, gone: Some(gone), you: Some(you), ..Self::default() }
    }
}

/// A parsed datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The first line.
    pub head: Header,
    /// The other lines, in order. Empty lines are left out.
    pub frames: Vec<Frame>,
}

/// The reason why bytes are not a datagram of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The datagram is longer than [`MAX_DATAGRAM`].
    TooLong,
    /// The bytes are not UTF-8, the first line is not a header, or a value of the header exceeds its limit.
    NotOurs,
    /// The header has another version.
    Version,
}

/// Parses a datagram. A line that is not a known frame, or exceeds a limit, becomes [`Frame::Unknown`]: one bad frame
/// does not affect the others.
///
/// # Errors
/// [`Malformed`] if the header cannot be used.
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

/// Reads only the version of a header: the other keys of a later version may have other types.
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

/// Emits a datagram from its header and encoded frames without newlines. The caller
/// ensures that the result has at most [`MAX_DATAGRAM`] bytes.
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

/// The refusal of a datagram of another version. `None` if the refusal would be longer than `question`, so that it
/// cannot be used for amplification, or if `question` is itself a refusal.
#[must_use]
pub fn refuse_version(question: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct VersionRefusal {
        #[serde(rename = "no")]
        _no: serde::de::IgnoredAny,
    }
    let first = question.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if serde_json::from_slice::<VersionRefusal>(first).is_ok() {
        // Otherwise two programs could refuse each other's refusals for ever.
        return None;
    }
    let head = Header { chat: VERSION, no: Some("version".to_owned()), ..Header::default() };
    Some(emit(&head, [])).filter(|answer| answer.len() <= question.len())
}
