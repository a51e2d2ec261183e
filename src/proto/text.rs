//! What a terminal obeys instead of showing it: nothing of that kind from strangers may reach one.

/// Whether a terminal obeys this character: control characters, and those that turn the direction of a text or break it.
#[must_use]
pub fn is_obeyed(c: char) -> bool {
    let bidirectional =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || bidirectional || matches!(c, '\u{2028}' | '\u{2029}')
}
