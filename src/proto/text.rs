//! The text of messages: checked once, then a type; and its escaping for terminals.
//!
//! Text comes from strangers. Control characters, escape sequences and bidirectional overrides are shown escaped.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The text of a message: UTF-8, 1 byte to [`Text::MAX`] bytes, delivered whole and unchanged. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Text(Arc<str>);

/// Why a text is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// Nothing to send.
    #[error("A message must have at least one byte.")]
    Empty,
    /// More than [`Text::MAX`] bytes.
    #[error("A message must have at most 65536 bytes, and this one has {0}.")]
    TooLong(usize),
}

impl Text {
    /// The most bytes that a text may have: 64 KiB.
    pub const MAX: usize = 64 * 1024;

    /// Checks a text.
    ///
    /// # Errors
    /// [`BadText`] when it is empty or too long.
    pub fn new(text: &str) -> Result<Self, BadText> {
        match text.len() {
            0 => Err(BadText::Empty),
            n if n > Self::MAX => Err(BadText::TooLong(n)),
            _ => Ok(Self(text.into())),
        }
    }

    /// The text as it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Text {
    type Error = BadText;
    fn try_from(text: String) -> Result<Self, BadText> {
        Self::new(&text)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> String {
        text.0.as_ref().to_owned()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a terminal obeys this character: control characters, and those that turn the direction of a text or break it.
#[must_use]
pub fn needs_escape(c: char) -> bool {
    let bidirectional =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || bidirectional || matches!(c, '\u{2028}' | '\u{2029}')
}

/// One line for a terminal: `\n`, `\r`, `\t` by those names, other obeyed characters as `\u{1b}`.
#[must_use]
pub fn escape_for_terminal(line: &str) -> Cow<'_, str> {
    escaped(line, |c| match c {
        '\n' | '\r' | '\t' => c.escape_default().to_string(),
        c => c.escape_unicode().to_string(),
    })
}

/// A line of JSON for a terminal: the same text, with what would be obeyed written as JSON's own escapes.
#[must_use]
pub fn escape_json_for_terminal(line: &str) -> Cow<'_, str> {
    escaped(line, |c| {
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    })
}

fn escaped(line: &str, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    if !line.contains(needs_escape) {
        return line.into();
    }
    let mut safe = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if needs_escape(c) {
            safe.push_str(&escape(c));
        } else {
            safe.push(c);
        }
    }
    safe.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(escape_for_terminal("y: \u{1b}[31mred\u{7}"), "y: \\u{1b}[31mred\\u{7}");
        assert_eq!(
            escape_for_terminal("\u{9b}2J a\tb\r\u{202e}cba\u{2066}"),
            "\\u{9b}2J a\\tb\\r\\u{202e}cba\\u{2066}"
        );
        assert!(matches!(escape_for_terminal("y: grüße 你好 👩‍💻"), Cow::Borrowed("y: grüße 你好 👩‍💻")));
    }

    #[test]
    fn json_stays_the_same_json() {
        let line = serde_json::to_string("a\u{1b}b\u{7f}\u{9b}\u{202e}é").unwrap();
        let safe = escape_json_for_terminal(&line);
        assert_eq!(safe, r#""a\u001bb\u007f\u009b\u202eé""#);
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), "a\u{1b}b\u{7f}\u{9b}\u{202e}é");
    }

    #[test]
    fn texts_at_their_limits() {
        assert_eq!(Text::new(""), Err(BadText::Empty));
        assert!(Text::new(&"a".repeat(Text::MAX)).is_ok());
        assert_eq!(Text::new(&"a".repeat(Text::MAX + 1)), Err(BadText::TooLong(65_537)));
    }
}
