//! Message texts, and their escaping for terminals.
//!
//! A text can come from any client. A terminal would interpret control characters, escape sequences and bidirectional
//! overrides in it, so they are displayed escaped.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::proto::event::sentences::Sentence;

/// The text of a message: UTF-8, 1 to [`Text::MAX`] bytes. It is checked when it is created, and is delivered complete
/// and unchanged. A clone shares the string.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Text(Arc<str>);

/// The reason why a string is not a message text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadText {
    /// The string is empty.
    #[error("{}", Sentence::MessageEmpty)]
    Empty,
    /// The string is longer than [`Text::MAX`]. The value is its length in bytes.
    #[error("{}", Sentence::MessageTooLong { count: &format_args!("{}", .0) })]
    TooLong(usize),
}

impl Text {
    /// Maximum length of a text, in bytes: 64 KiB.
    pub const MAX: usize = 64 * 1024;

    /// Checks a string and converts it to a message text.
    ///
    /// # Errors
    /// [`BadText`] if the string is empty or too long.
    pub fn new(text: &str) -> Result<Self, BadText> {
        match text.len() {
            0 => Err(BadText::Empty),
            n if n > Self::MAX => Err(BadText::TooLong(n)),
            _ => Ok(Self(text.into())),
        }
    }

    /// The text as a string, unchanged and not escaped.
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

// By hand, because `into` would clone the string.
impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a terminal interprets this character instead of displaying it: control characters, bidirectional controls,
/// and the line and paragraph separators U+2028 and U+2029.
#[must_use]
pub fn needs_escape(c: char) -> bool {
    let bidirectional =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || bidirectional || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Escapes one line for a terminal: `\n`, `\r` and `\t` in that form, other characters that [need it](needs_escape) as
/// `\u{1b}`.
#[must_use]
pub fn escape_for_terminal(line: &str) -> Cow<'_, str> {
    escape_with(line, |c| match c {
        '\n' | '\r' | '\t' => c.escape_default().to_string(),
        c => c.escape_unicode().to_string(),
    })
}

/// Escapes one line of JSON for a terminal. Uses JSON's own escapes, so that the JSON value stays the same.
#[must_use]
pub fn escape_json_for_terminal(line: &str) -> Cow<'_, str> {
    escape_with(line, |c| {
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    })
}

fn escape_with(line: &str, escape: impl Fn(char) -> String) -> Cow<'_, str> {
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
    fn control_characters_are_escaped() {
        assert_eq!(escape_for_terminal("y: \u{1b}[31mred\u{7}"), "y: \\u{1b}[31mred\\u{7}");
        assert_eq!(
            escape_for_terminal("\u{9b}2J a\tb\r\u{202e}cba\u{2066}"),
            "\\u{9b}2J a\\tb\\r\\u{202e}cba\\u{2066}"
        );
        assert!(matches!(escape_for_terminal("y: grüße 你好 👩‍💻"), Cow::Borrowed("y: grüße 你好 👩‍💻")));
    }

    #[test]
    fn escaped_json_has_the_same_value() {
        let line = serde_json::to_string("a\u{1b}b\u{7f}\u{9b}\u{202e}é").unwrap();
        let safe = escape_json_for_terminal(&line);
        assert_eq!(safe, r#""a\u001bb\u007f\u009b\u202eé""#);
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), "a\u{1b}b\u{7f}\u{9b}\u{202e}é");
    }

    #[test]
    fn texts_are_checked_at_their_limits() {
        assert_eq!(Text::new(""), Err(BadText::Empty));
        assert!(Text::new(&"a".repeat(Text::MAX)).is_ok());
        assert_eq!(Text::new(&"a".repeat(Text::MAX + 1)), Err(BadText::TooLong(65_537)));
    }
}
