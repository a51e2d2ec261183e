//! The wire format: parses and emits datagrams.
//!
#![doc = include_str!("../README.md")]

mod frame;
mod tagged;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::proto::hex::{hex_digits, parse_hex};
use crate::proto::id::Incarnation;
use crate::proto::keys::{PublicKey, TAG};
pub use crate::proto::wire::frame::{Answer, Frame, RequestOutcome, Row};

/// The highest number of a datagram or of a content on a link. No sender reaches it, and arithmetic on valid numbers
/// cannot overflow.
pub const MAX_NUMBER: u64 = 1 << 62;

/// The version of the wire format.
pub const VERSION: u32 = 2;

/// Maximum length of a datagram, in bytes: below the smallest MTU of IPv6 (1,280, RFC 8200 §5) less its headers, so
/// that no datagram is fragmented.
pub const MAX_DATAGRAM: usize = 1_200;

/// Minimum length of a datagram with `hello`, in bytes. It is longer than any `challenge`, so that a forged source
/// address receives less than was sent in its name.
pub const MIN_HELLO: usize = 256;

/// Maximum length of a header beside frames, with its newline, in bytes.
pub const MAX_HEAD: usize = 344;

/// Maximum length of a header without frames, with its newline, in bytes: it has room for [`MAX_BARE_RANGES`].
pub const MAX_BARE_HEAD: usize = 456;

/// Length of the last line of a datagram of a link, with its newline, in bytes: `#` and the tag in hexadecimal digits.
pub const TAG_LINE: usize = 2 + 2 * TAG;

/// Maximum length of a frame with its newline, in bytes. Any frame fits into a datagram with any header and a tag.
pub const MAX_FRAME: usize = MAX_DATAGRAM - MAX_HEAD - TAG_LINE;

/// Maximum number of frames in a datagram. Later lines are ignored.
pub const MAX_FRAMES: usize = 64;

/// Maximum number of messages in a list for `saves`.
pub const MAX_LIST: usize = 1_024;

/// Maximum number of bytes of text in a list for `saves`. It has room for any single text.
pub const MAX_LIST_BYTES: usize = 256 * 1024;

/// Maximum number of acknowledged ranges in a header beside frames.
pub const MAX_RANGES: usize = 8;

/// Maximum number of acknowledged ranges in a header without frames.
pub const MAX_BARE_RANGES: usize = 32;

/// Maximum of `delay` in a header, in microseconds.
pub const MAX_DELAY: u64 = 9_999_999;

/// Maximum length of a token, in bytes. It consists of ASCII letters and digits.
pub const MAX_TOKEN: usize = 16;

/// Maximum length of a cookie, in bytes. It consists of ASCII letters and digits.
pub const MAX_COOKIE: usize = 32;

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
    /// The public key of a client that opens a link to a server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PublicKey>,
    /// The cookie of a client that opens a link to a server. It proves that the client receives at its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// The number of the datagram, from 1 to [`MAX_NUMBER`], new at each transmission; absent outside links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pn: Option<u64>,
    /// The number of the content, from 1 to [`MAX_NUMBER`]. A retransmission has the same number. Absent if the frames
    /// are not retransmitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The floor: the sender no longer sends contents below this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<u64>,
    /// The ranges of received `pn`, newest first, in the form of
    /// [`ReceivedPackets::ranges`](crate::proto::link::packets::ReceivedPackets::ranges).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ack: Vec<u64>,
    /// The time between the arrival of the largest number in `ack` and this header, in microseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub delay: u64,
    /// All contents up to this number were displayed, processed or aborted; 0 for none.
    #[serde(skip_serializing_if = "is_zero")]
    pub done: u64,
    /// A content was received but cannot be displayed yet: the sender should extend its timeout.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub wait: bool,
    /// A question: the receiver must answer at once, with this number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ask: Option<u32>,
    /// The number of the question that this datagram answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<u32>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Header {
    /// A header from `me` to `you`; `None` if the receiver's incarnation is not known yet.
    #[must_use]
    pub fn new(me: Incarnation, you: Option<Incarnation>) -> Self {
        Self { chat: VERSION, me: Some(me), you, ..Self::default() }
    }

    /// Whether the receiver must acknowledge the datagram. Only such a datagram may be answered by `gone`: a bare
    /// acknowledgement may arrive before the datagram that makes its sender known.
    #[must_use]
    pub fn elicits_ack(&self) -> bool {
        self.seq.is_some() || self.ask.is_some()
    }

    /// The answer to a datagram for the incarnation `gone`, which has ended; `you` sent that datagram.
    #[must_use]
    pub fn gone(gone: Incarnation, you: Incarnation) -> Self {
        Self { chat: VERSION, gone: Some(gone), you: Some(you), ..Self::default() }
    }

    fn is_within_limits(&self) -> bool {
        let numbers = [self.pn, self.seq, self.low, self.ack.first().copied(), Some(self.done)];
        numbers.into_iter().flatten().all(|number| number <= MAX_NUMBER)
            && self.ack.len() <= 2 * MAX_BARE_RANGES
            && self.delay <= MAX_DELAY
            && self.cookie.as_ref().is_none_or(|cookie| is_word(cookie, MAX_COOKIE))
    }
}

/// Whether a word can be repeated in a datagram: at most `max` ASCII letters and digits.
fn is_word(word: &str, max: usize) -> bool {
    word.len() <= max && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// A received datagram. Only its header is parsed: a datagram of a link is authenticated before its frames are parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// The first line.
    pub head: Header,
    /// The lines of the frames.
    pub body: &'a [u8],
    /// The bytes that the tag authenticates: header and frames.
    pub signed: &'a [u8],
    /// The tag, if the datagram has one.
    pub tag: Option<[u8; TAG]>,
}

impl Datagram<'_> {
    /// Parses the frames, at most [`MAX_FRAMES`]. A line that is not a known frame, or exceeds a limit, becomes
    /// [`Frame::Unknown`]: one bad frame does not affect the others.
    #[must_use]
    pub fn frames(&self) -> Vec<Frame> {
        parse_frames(self.body)
    }

    /// The frame of a datagram with one line after its header. `None` with more lines: parsing many lines of a stranger
    /// would cost too much.
    #[must_use]
    pub fn only_frame(&self) -> Option<Frame> {
        let (b'\n', line) = self.body.split_last()? else { return None };
        if line.contains(&b'\n') { None } else { parse_frames(line).pop() }
    }
}

/// The reason why bytes are not a datagram of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// The datagram is longer than [`MAX_DATAGRAM`].
    TooLong,
    /// The first line is not a header, or the header or one of its values exceeds its limit.
    NotOurs,
    /// The header has another version.
    Version,
}

/// Parses the header of a datagram and separates its tag.
///
/// # Errors
/// [`Malformed`] if the header cannot be used.
pub fn parse(bytes: &[u8]) -> Result<Datagram<'_>, Malformed> {
    if bytes.len() > MAX_DATAGRAM {
        return Err(Malformed::TooLong);
    }
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(Malformed::NotOurs)? + 1;
    let (first, rest) = bytes.split_at(end);
    let (body, tag) = split_tag(rest);
    if first.len() > if body.is_empty() { MAX_BARE_HEAD } else { MAX_HEAD } {
        return Err(Malformed::NotOurs);
    }
    let head: Header = serde_json::from_slice(first).map_err(|_| other_version(first))?;
    match head.chat {
        VERSION => {}
        0 => return Err(Malformed::NotOurs),
        _ => return Err(Malformed::Version),
    }
    if !head.is_within_limits() {
        return Err(Malformed::NotOurs);
    }
    Ok(Datagram { head, body, signed: &bytes[..end + body.len()], tag })
}

/// Separates the tag line from the end of a datagram.
fn split_tag(rest: &[u8]) -> (&[u8], Option<[u8; TAG]>) {
    let Some((body, [b'#', digits @ .., b'\n'])) = rest.split_last_chunk::<TAG_LINE>() else { return (rest, None) };
    match parse_hex(digits) {
        Some(tag) => (body, Some(tag)),
        None => (rest, None),
    }
}

/// Parses the lines of frames: see [`Datagram::frames`].
#[must_use]
pub fn parse_frames(body: &[u8]) -> Vec<Frame> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let frame = |line| tagged::parse(line).filter(Frame::is_repeatable).unwrap_or(Frame::Unknown);
    lines.take(MAX_FRAMES).map(frame).collect()
}

/// Reads only the version of a header: the other keys of another version may have other types.
fn other_version(line: &[u8]) -> Malformed {
    #[derive(Deserialize)]
    struct Version {
        chat: u64,
    }
    match serde_json::from_slice::<Version>(line) {
        Ok(Version { chat }) if chat != 0 && chat != u64::from(VERSION) => Malformed::Version,
        _ => Malformed::NotOurs,
    }
}

/// Emits a datagram without a tag, from its header and encoded frames without newlines. The caller ensures that the
/// result, with a tag, has at most [`MAX_DATAGRAM`] bytes.
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

/// Appends the tag line to a datagram.
pub fn append_tag(bytes: &mut Vec<u8>, tag: [u8; TAG]) {
    bytes.push(b'#');
    bytes.extend(hex_digits(&tag));
    bytes.push(b'\n');
}

/// Emits a request for a challenge, padded to [`MIN_HELLO`].
#[must_use]
pub fn emit_hello(me: Incarnation, token: &str) -> Vec<u8> {
    let hello = |pad: usize| {
        let lines = Frame::Hello { token: token.to_owned(), pad: "0".repeat(pad) }.lines();
        emit(&Header::new(me, None), lines.iter().map(String::as_str))
    };
    hello(MIN_HELLO.saturating_sub(hello(0).len()))
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
