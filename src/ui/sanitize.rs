//! Text that strangers sent, made harmless for a terminal: control characters, escape sequences and bidirectional
//! overrides are shown escaped, never obeyed.

use std::borrow::Cow;

use crate::proto::text::is_obeyed;

/// One line for a terminal: `\n`, `\r`, `\t` by those names, other obeyed characters as `\u{1b}`.
#[must_use]
pub fn for_terminal(line: &str) -> Cow<'_, str> {
    escaped(line, |c| match c {
        '\n' | '\r' | '\t' => c.escape_default().to_string(),
        c => c.escape_unicode().to_string(),
    })
}

/// A line of JSON for a terminal: the same text, with what would be obeyed written as JSON's own escapes.
#[must_use]
pub fn json_for_terminal(line: &str) -> Cow<'_, str> {
    escaped(line, |c| {
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    })
}

fn escaped(line: &str, escape: impl Fn(char) -> String) -> Cow<'_, str> {
    if !line.contains(is_obeyed) {
        return line.into();
    }
    let mut safe = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if is_obeyed(c) {
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
        assert_eq!(for_terminal("y: \u{1b}[31mred\u{7}"), "y: \\u{1b}[31mred\\u{7}");
        assert_eq!(for_terminal("\u{9b}2J a\tb\r\u{202e}cba\u{2066}"), "\\u{9b}2J a\\tb\\r\\u{202e}cba\\u{2066}");
        assert!(matches!(for_terminal("y: grüße 你好 👩‍💻"), Cow::Borrowed("y: grüße 你好 👩‍💻")));
    }

    #[test]
    fn json_stays_the_same_json() {
        let line = serde_json::to_string("a\u{1b}b\u{7f}\u{9b}\u{202e}é").unwrap();
        let safe = json_for_terminal(&line);
        assert_eq!(safe, r#""a\u001bb\u007f\u009b\u202eé""#);
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), "a\u{1b}b\u{7f}\u{9b}\u{202e}é");
    }
}
