//! Events: the output of a program as data, as lines for display and as a line of JSON.
//!
#![doc = include_str!("README.md")]

pub mod client;
pub mod reason;
pub mod sentences;
pub mod server;
pub mod trace;

use serde::Serialize;

use crate::proto::event::client::ClientEvent;
use crate::proto::event::sentences::Sentence;
use crate::proto::event::server::ServerEvent;
use crate::proto::event::trace::TraceEvent;
use crate::proto::name::Name;
use crate::proto::time::Timestamp;

/// The version of the JSON format. New keys do not change it. Any other change increases it.
pub const VERSION: u32 = 1;

/// An event of a client or a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When it happened. An event of a machine has the time of the input that caused it.
    pub at: Timestamp,
    /// The number of the command that caused it, from 1.
    pub cmd: Option<u64>,
    /// The group whose name is displayed in the prompt before the line.
    pub group: Option<Name>,
    /// The content.
    pub body: Body,
}

/// The content of an event, by role.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Body {
    /// An event of a client.
    Client(ClientEvent),
    /// An event of a server.
    Server(ServerEvent),
    /// An event of one datagram, in a client or a server.
    Trace(TraceEvent),
}

/// The kind of a message: to one client, to all clients or to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// From client to client.
    Direct,
    /// To all other clients.
    Channel,
    /// To the other members of a group.
    Group,
}

/// A row of the table in an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientInfo {
    /// The name of the client.
    pub name: Name,
    /// The address, `IP:PORT`, with an IPv6 address in brackets.
    pub addr: String,
    /// Whether the server considers the client reachable.
    pub online: bool,
}

#[derive(Serialize)]
struct Envelope<'a> {
    v: u32,
    seq: u64,
    ts: String,
    me: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmd: Option<u64>,
    #[serde(flatten)]
    body: &'a Body,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<String>,
}

impl Event {
    /// The text to display, without the prompt. Several lines are joined by `\n`. `None` if nothing is displayed.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        match &self.body {
            Body::Client(body) => body.line(),
            Body::Server(body) => body.line(),
            Body::Trace(_) => None,
        }
    }

    /// The prompt to display before each of its lines.
    #[must_use]
    pub fn prompt(&self) -> String {
        prompt(self.group.as_ref())
    }

    /// The line of JSON, without a newline. `seq` counts from 1 without gaps. `me` is the client's name, or `server`.
    #[must_use]
    pub fn json(&self, seq: u64, me: &str) -> String {
        let mut line = Vec::new();
        self.write_json(seq, me, &mut line);
        String::from_utf8(line).unwrap_or_default()
    }

    /// Appends the line of [`Event::json`].
    pub fn write_json(&self, seq: u64, me: &str, to: &mut Vec<u8>) {
        let (cmd, body, line) = (self.cmd, &self.body, self.line());
        let envelope = Envelope { v: VERSION, seq, ts: self.at.exact(), me, cmd, body, line };
        // Writing to a vector never fails.
        let _ = serde_json::to_writer(to, &envelope);
    }

    /// Its approximate size in memory, in bytes.
    #[must_use]
    pub fn approximate_bytes(&self) -> usize {
        use {ClientEvent as C, ServerEvent as S};
        /// An event without its texts and lists.
        const BASE: usize = 256;
        let rows = |count: usize| count * 96;
        BASE + match &self.body {
            Body::Client(C::Message { text, .. }) | Body::Server(S::Accepted { text, .. }) => text.as_str().len(),
            Body::Client(C::Table { changed, .. }) | Body::Server(S::Table { changed, .. }) => rows(changed.len()),
            Body::Client(C::Clients { clients, .. }) | Body::Server(S::Clients { clients, .. }) => rows(clients.len()),
            Body::Client(C::Groups { groups }) | Body::Server(S::Groups { groups, .. }) => rows(groups.len()),
            Body::Client(C::Members { members, .. }) | Body::Server(S::Members { members, .. }) => rows(members.len()),
            Body::Server(S::Mail { waiting }) => rows(waiting.len()),
            _ => 0,
        }
    }
}

/// The prompt: `>>> `, or `>>> (group) ` while the user is in a group.
#[must_use]
pub fn prompt(group: Option<&Name>) -> String {
    group.map_or_else(|| ">>> ".to_owned(), |group| format!(">>> ({group}) "))
}

/// Escapes the line breaks of a text from outside, so that it cannot begin a line of output. Leaves the rest unchanged.
#[must_use]
pub fn inline(text: &str) -> std::borrow::Cow<'_, str> {
    let ends_line = |c: char| matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    // Nearly all texts are plain ASCII, which is quick to recognise.
    if text.bytes().all(|byte| (b' '..0x80).contains(&byte)) || !text.contains(ends_line) {
        return text.into();
    }
    let escape = |c: char| if ends_line(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect::<String>().into()
}

/// The sentence, followed by one line for each name.
pub(crate) fn list<'a>(head: Sentence<'_>, names: impl IntoIterator<Item = &'a Name>) -> String {
    names.into_iter().fold(head.to_string(), |lines, name| format!("{lines}\n{name}"))
}

/// The table for display: name, address and state in aligned columns.
pub(crate) fn aligned(rows: &[ClientInfo]) -> String {
    let width = |of: fn(&ClientInfo) -> usize| rows.iter().map(of).max().unwrap_or(0);
    let (name, addr) = (width(|row| row.name.as_str().len()).max(4), width(|row| row.addr.len()).max(7));
    let mut lines = vec![format!("{:name$}  {:addr$}  state", "name", "address")];
    for row in rows {
        let state = if row.online { "online" } else { "offline" };
        lines.push(format!("{:name$}  {:addr$}  {state}", row.name.as_str(), row.addr));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_documented_order_of_members() {
        let body = Body::Client(ClientEvent::Done { ok: true, reason: None });
        let event = Event { at: Timestamp::from_micros(0), cmd: Some(3), group: None, body };
        let expected =
            r#"{"v":1,"seq":7,"ts":"1970-01-01T00:00:00.000000Z","me":"x","cmd":3,"event":"done","ok":true}"#;
        assert_eq!(event.json(7, "x"), expected);
        assert_eq!(event.line(), None);
    }

    #[test]
    fn line_breaks_in_texts_are_escaped() {
        assert_eq!(inline("a\n>>> [b]\r"), "a\\n>>> [b]\\r");
        assert_eq!(inline("tab\tand \u{1b}[31m stay"), "tab\tand \u{1b}[31m stay");
    }

    #[test]
    fn the_columns_of_the_table_are_aligned() {
        let row = |name: &str, online| ClientInfo { name: name.parse().unwrap(), addr: "127.0.0.1:9".into(), online };
        let shown = aligned(&[row("x", true), row("longer", false)]);
        assert_eq!(shown, "name    address      state\nx       127.0.0.1:9  online\nlonger  127.0.0.1:9  offline");
    }
}
