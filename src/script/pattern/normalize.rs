//! Normalizes raw output to the lines that patterns see: without terminal sequences, prompts and blanks at the end.

use std::borrow::Cow;

use crate::proto::name::Name;

/// Normalizes one raw line, given without its `\n`. `None` when nothing is left.
///
/// Carriage returns at the end are dropped. A carriage return inside the line discards the text before it, as on a
/// terminal. ANSI sequences, any number of prompts (`>>> `, `>>> (group) `) and blanks at the end are removed.
#[must_use]
pub fn normal(raw: &str) -> Option<String> {
    let plain = strip_ansi(raw);
    let visible = plain.trim_end_matches('\r');
    let visible = visible.rsplit('\r').next().unwrap_or(visible);
    let line = strip_prompt(visible).trim_end();
    (!line.is_empty()).then(|| line.to_owned())
}

/// Removes prompts from the beginning of a line. A prompt that is the whole line may lack its last blank.
#[must_use]
pub fn strip_prompt(mut line: &str) -> &str {
    while let Some(rest) = line.strip_prefix(">>>") {
        line = match rest.strip_prefix(' ') {
            Some(rest) => strip_group(rest),
            None if rest.is_empty() => rest,
            None => return line,
        };
    }
    line
}

/// Removes `(group) ` if it contains a valid group name.
fn strip_group(line: &str) -> &str {
    let Some((group, rest)) = line.strip_prefix('(').and_then(|rest| rest.split_once(')')) else {
        return line;
    };
    if Name::new(group).is_err() {
        return line;
    }
    match rest.strip_prefix(' ') {
        Some(rest) => rest,
        None if rest.is_empty() => rest,
        None => line,
    }
}

/// Removes escape sequences: CSI (`ESC [`), strings (OSC, DCS, SOS, PM, APC) and short ones. An incomplete sequence at
/// the end is removed too.
#[must_use]
pub fn strip_ansi(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return text.into();
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\u{1b}' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
            Some(']' | 'P' | 'X' | '^' | '_') => {
                // A string ends with BEL or `ESC \`.
                while let Some(c) = chars.next() {
                    if c == '\u{7}' || c == '\u{1b}' && chars.next_if_eq(&'\\').is_some() {
                        break;
                    }
                }
            }
            // Intermediate characters, then a final one: `ESC ( B`.
            Some(' '..='/') => while chars.next().is_some_and(|c| (' '..='/').contains(&c)) {},
            _ => {}
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn terminal_sequences_prompts_and_final_blanks_are_removed() {
        for (raw, line) in [
            ("[Welcome, You are registered.]\r", "[Welcome, You are registered.]"),
            (">>> x: hi \t", "x: hi"),
            (">>> (g.1) x: hi", "x: hi"),
            (">>> >>> (g) >>> x: hi", "x: hi"),
            ("\u{1b}[2K\r>>> \u{1b}[1;32mx\u{1b}[0m: hi\u{1b}(B", "x: hi"),
            ("\u{1b}]0;title\u{7}a\u{1b}]8;;url\u{1b}\\b", "ab"),
            ("half a line\rwhole", "whole"),
            ("  leading blanks stay", "  leading blanks stay"),
            (">>> (not a group) x", "(not a group) x"),
            (">>> (g)x", "(g)x"),
            (">>>x", ">>>x"),
            ("a >>> b", "a >>> b"),
        ] {
            assert_eq!(normal(raw).as_deref(), Some(line), "{raw:?}");
        }
    }

    #[test]
    fn a_prompt_alone_is_not_a_line() {
        for raw in ["", "  ", "\r", ">>> ", ">>>", ">>> (g) ", ">>> (g)", ">>> >>> ", "\u{1b}[0m", "\u{1b}[", "\u{1b}"]
        {
            assert_eq!(normal(raw), None, "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn normalizing_never_panics_and_is_idempotent(raw in "[>() ga\u{1b}\\[\\]0;m\u{7}\r\\\\é]*") {
            if let Some(line) = normal(&raw) {
                prop_assert_eq!(normal(&line), Some(line.clone()));
            }
        }
    }
}
