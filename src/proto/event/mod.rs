//! Events: the output of a program, as data, as a line for display and as a line of JSON.
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

/// The version of the envelope. New keys leave it alone; anything else raises it.
pub const VERSION: u32 = 1;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// The number of the command that caused it, from 1.
    pub cmd: Option<u64>,
    /// The group whose name stands in front of the line, for people.
    pub group: Option<Name>,
    /// What.
    pub body: Body,
}

/// What happened, by role.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Body {
    /// In a client.
    Client(ClientEvent),
    /// In a server.
    Server(ServerEvent),
    /// To a datagram, in either.
    Trace(TraceEvent),
}

/// What a message is: to one, to everybody or to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageKind {
    /// From client to client.
    Direct,
    /// To everybody.
    Channel,
    /// To the other members of a group.
    Group,
}

/// A row of the table, as events show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClientInfo {
    /// Whose row it is.
    pub name: Name,
    /// `IP:PORT`, IPv6 in brackets.
    pub addr: String,
    /// Whether the server believes it can be reached.
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
    /// What a person reads, without the prompt; several lines are joined by `\n`.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        match &self.body {
            Body::Client(body) => body.line(),
            Body::Server(body) => body.line(),
            Body::Trace(_) => None,
        }
    }

    /// The prompt in front of each of its lines.
    #[must_use]
    pub fn prompt(&self) -> String {
        prompt(self.group.as_ref())
    }

    /// The line of JSON, without its end. `seq` counts from 1 without gaps; `me` is the client's name, or `server`.
    #[must_use]
    pub fn json(&self, seq: u64, me: &str) -> String {
        let (cmd, body, line) = (self.cmd, &self.body, self.line());
        let envelope = Envelope { v: VERSION, seq, ts: self.at.exact(), me, cmd, body, line };
        serde_json::to_string(&envelope).unwrap_or_default()
    }
}

/// `>>> `, inside a group `>>> (group) `.
#[must_use]
pub fn prompt(group: Option<&Name>) -> String {
    group.map_or_else(|| ">>> ".to_owned(), |group| format!(">>> ({group}) "))
}

/// A stranger's text inside a line of output: what would end the line is shown escaped, the rest unchanged.
#[must_use]
pub fn inline(text: &str) -> std::borrow::Cow<'_, str> {
    let ends_line = |c: char| matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    if !text.contains(ends_line) {
        return text.into();
    }
    let escape = |c: char| if ends_line(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escape).collect::<String>().into()
}

/// The sentence, and a name a line behind it.
pub(crate) fn list<'a>(head: Sentence<'_>, names: impl IntoIterator<Item = &'a Name>) -> String {
    names.into_iter().fold(head.to_string(), |lines, name| format!("{lines}\n{name}"))
}

/// The table for people: name, address and state, aligned.
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
    fn an_event_is_one_line_of_json_in_the_documented_order() {
        let body = Body::Client(ClientEvent::Done { ok: true, reason: None });
        let event = Event { at: Timestamp::from_micros(0), cmd: Some(3), group: None, body };
        let expected =
            r#"{"v":1,"seq":7,"ts":"1970-01-01T00:00:00.000000Z","me":"x","cmd":3,"event":"done","ok":true}"#;
        assert_eq!(event.json(7, "x"), expected);
        assert_eq!(event.line(), None);
    }

    #[test]
    fn a_strangers_text_cannot_begin_a_line() {
        assert_eq!(inline("a\n>>> [b]\r"), "a\\n>>> [b]\\r");
        assert_eq!(inline("tab\tand \u{1b}[31m stay"), "tab\tand \u{1b}[31m stay");
    }

    #[test]
    fn the_table_is_aligned() {
        let row = |name: &str, online| ClientInfo { name: name.parse().unwrap(), addr: "127.0.0.1:9".into(), online };
        let shown = aligned(&[row("x", true), row("longer", false)]);
        assert_eq!(shown, "name    address      state\nx       127.0.0.1:9  online\nlonger  127.0.0.1:9  offline");
    }
}
