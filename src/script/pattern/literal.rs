//! Literals with gaps: `{*}` and `{name}` match any text, `${name}` is replaced by a value. A literal is parsed once,
//! filled with values, and matched in linear time.

use std::ops::Range;

use crate::proto::template::{TemplatePiece, is_name, pieces};
use crate::script::pattern::{Captures, MatchMode};
use crate::script::syntax_error::SyntaxError;
use crate::script::vars::Vars;

/// A literal as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Literal(Vec<LiteralPart>);

/// A part of a literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LiteralPart {
    Text(String),
    /// `{*}`, or `{name}` with its name.
    Gap(Option<String>),
    Var(String),
}

impl Literal {
    /// Parses a literal. With `verbatim_first` its first character is always text.
    pub(crate) fn parse(text: &str, verbatim_first: bool) -> Result<Self, SyntaxError> {
        let first = text.chars().next().filter(|_| verbatim_first).map_or(0, char::len_utf8);
        let mut parts = LiteralParts(Vec::new());
        parts.text(&text[..first]);
        for piece in pieces(&text[first..]) {
            match piece {
                TemplatePiece::Text(text) => parts.text(text),
                TemplatePiece::Anything => parts.0.push(LiteralPart::Gap(None)),
                TemplatePiece::Hole(name) => parts.0.push(LiteralPart::Gap(Some(name.to_owned()))),
                TemplatePiece::Variable(name) => parts.0.push(LiteralPart::Var(name.to_owned())),
                TemplatePiece::StrayBrace(at) => return Err(stray_brace(text, first + at)),
            }
        }
        Ok(Self(parts.0))
    }

    /// The parts in order.
    pub(crate) fn pieces(&self) -> &[LiteralPart] {
        &self.0
    }

    /// The names of its captures, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            LiteralPart::Gap(Some(name)) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Replaces the variables. With `line`, blanks at the end are dropped, because lines have none there.
    pub(crate) fn fill(&self, vars: &Vars, style: MatchMode, line: bool) -> Glob {
        let mut first = String::new();
        let mut gaps: Vec<(Option<String>, String)> = Vec::new();
        for piece in &self.0 {
            let text = gaps.last_mut().map_or(&mut first, |(_, text)| text);
            match piece {
                LiteralPart::Text(piece) => text.push_str(piece),
                LiteralPart::Var(name) => match vars.get(name) {
                    Some(value) => text.push_str(value),
                    None => text.extend(["${", name, "}"]),
                },
                LiteralPart::Gap(name) => gaps.push((name.clone(), String::new())),
            }
        }
        let last = gaps.last_mut().map_or(&mut first, |(_, text)| text);
        if line {
            last.truncate(last.trim_end().len());
        }
        Glob::new(first, gaps, style)
    }
}

struct LiteralParts(Vec<LiteralPart>);

impl LiteralParts {
    fn text(&mut self, more: &str) {
        match self.0.last_mut() {
            Some(LiteralPart::Text(text)) => text.push_str(more),
            _ if more.is_empty() => {}
            _ => self.0.push(LiteralPart::Text(more.to_owned())),
        }
    }
}

fn stray_brace(text: &str, at: usize) -> SyntaxError {
    let end = text[at..].find('}').map_or(text.len(), |close| at + close + 1);
    let inside = text[at..end].trim_matches(['{', '}', ' ']);
    let help = if is_name(inside) && !inside.is_empty() {
        format!("write `{{{inside}}}` to capture, `{{{{` for a brace")
    } else {
        "write `{{` for a brace, `{*}` for anything, `{name}` to capture".to_owned()
    };
    SyntaxError::new("this brace is neither `{*}` nor a capture `{name}`", at..end).help(help)
}

/// A literal with its variables replaced: text, then gaps, each followed by text.
#[derive(Clone, Debug)]
pub(crate) struct Glob {
    first: String,
    gaps: Vec<(Option<String>, String)>,
    style: MatchMode,
    /// Whether it ends with text. Then a loose match ignores the final punctuation of a line.
    ends_with_text: bool,
}

impl Glob {
    fn new(mut first: String, mut gaps: Vec<(Option<String>, String)>, style: MatchMode) -> Self {
        let ends_with_text = gaps.last().is_none_or(|(_, text)| !text.is_empty());
        if style == MatchMode::Loose {
            first = Loose::of(&first).text;
            for (_, text) in &mut gaps {
                *text = Loose::of(text).text;
            }
            first.drain(..first.len() - first.trim_start().len());
            let last = gaps.last_mut().map_or(&mut first, |(_, text)| text);
            last.truncate(trim_sentence_end(last).len());
        }
        Self { first, gaps, style, ends_with_text }
    }

    /// The captures, if it matches the whole text.
    pub(crate) fn matches(&self, text: &str) -> Option<Captures> {
        if self.style == MatchMode::Exact {
            let named = |(name, range): (&str, Range<usize>)| (name.to_owned(), text[range].to_owned());
            return Some(self.ranges(text)?.into_iter().map(named).collect());
        }
        let loose = Loose::of(text);
        let begin = loose.text.len() - loose.text.trim_start().len();
        let end = if self.ends_with_text { trim_sentence_end(&loose.text).len() } else { loose.text.trim_end().len() };
        let ranges = self.ranges(loose.text.get(begin..end).unwrap_or(""))?;
        let named = |(name, range): (&str, Range<usize>)| {
            let original = loose.original(begin + range.start..begin + range.end);
            (name.to_owned(), text[original].to_owned())
        };
        Some(ranges.into_iter().map(named).collect())
    }

    /// The ranges of the named gaps. Each gap is as short as possible, except the last one: it extends to the final
    /// text, which must end the line.
    fn ranges(&self, text: &str) -> Option<Vec<(&str, Range<usize>)>> {
        let Some(((last_name, last_text), middle)) = self.gaps.split_last() else {
            return (text == self.first).then(Vec::new);
        };
        let mut at = text.starts_with(&self.first).then_some(self.first.len())?;
        let mut found = Vec::new();
        for (name, after) in middle {
            let start = at + text[at..].find(after.as_str())?;
            found.extend(name.as_deref().map(|name| (name, at..start)));
            at = start + after.len();
        }
        let end = at + text[at..].strip_suffix(last_text.as_str())?.len();
        found.extend(last_name.as_deref().map(|name| (name, at..end)));
        Some(found)
    }

    /// The text without the gaps, for computing likeness.
    pub(crate) fn sketch(&self) -> String {
        self.gaps.iter().fold(self.first.clone(), |all, (_, text)| all + text)
    }
}

/// A text reduced for loose matching, with the original range of each byte.
struct Loose {
    text: String,
    from: Vec<Range<usize>>,
}

impl Loose {
    /// Lower case, no brackets, and one blank for each run of blanks.
    fn of(text: &str) -> Self {
        let mut loose = Self { text: String::with_capacity(text.len()), from: Vec::with_capacity(text.len()) };
        for (at, c) in text.char_indices() {
            if matches!(c, '[' | ']' | '(' | ')' | '{' | '}' | '<' | '>') {
                continue;
            }
            let range = at..at + c.len_utf8();
            if !c.is_whitespace() {
                c.to_lowercase().for_each(|small| loose.push(small, range.clone()));
            } else if !loose.text.ends_with(' ') {
                loose.push(' ', range);
            }
        }
        loose
    }

    fn push(&mut self, c: char, from: Range<usize>) {
        self.text.push(c);
        self.from.resize(self.text.len(), from);
    }

    fn original(&self, range: Range<usize>) -> Range<usize> {
        let inside = self.from.get(range).unwrap_or(&[]);
        match (inside.first(), inside.last()) {
            (Some(first), Some(last)) => first.start..last.end,
            _ => 0..0,
        }
    }
}

/// Removes blanks and punctuation at the end of a text.
fn trim_sentence_end(text: &str) -> &str {
    text.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '.' | '!' | '?' | ',' | ';' | ':' | '…'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn captures(pattern: &str, text: &str, style: MatchMode) -> Option<String> {
        let glob = Literal::parse(pattern, false).unwrap().fill(&Vars::default(), style, true);
        let found = glob.matches(text)?;
        Some(found.iter().map(|(name, value)| format!("{name}={value};")).collect())
    }

    #[test]
    fn gaps_take_as_little_as_they_can_and_the_whole_text_must_match() {
        let exact = |pattern, text| captures(pattern, text, MatchMode::Exact);
        assert_eq!(exact("x: hi", "x: hi").as_deref(), Some(""));
        assert_eq!(exact("x: hi", "x: hi!"), None);
        assert_eq!(exact("{who}: {what}", "x: y: hi").as_deref(), Some("who=x;what=y: hi;"));
        assert_eq!(exact("{*}b{x}", "abab").as_deref(), Some("x=ab;"));
        assert_eq!(exact("a{x}a", "a"), None);
        assert_eq!(exact("a{x}a", "aa").as_deref(), Some("x=;"));
        assert_eq!(exact("{{{x}}}", "{5}").as_deref(), Some("x=5;"));
        assert_eq!(exact("{*}", "").as_deref(), Some(""));
        assert_eq!(exact("cost: $5 }", "cost: $5 }").as_deref(), Some(""));
        assert_eq!(exact("ends in blanks  ", "ends in blanks").as_deref(), Some(""));
    }

    #[test]
    fn values_match_literally() {
        let mut vars = Vars::default();
        vars.set("v", "{*}").unwrap();
        let fill = |pattern: &str| Literal::parse(pattern, false).unwrap().fill(&vars, MatchMode::Exact, true);
        assert!(fill("a ${v}").matches("a {*}").is_some());
        assert!(fill("a ${v}").matches("a b").is_none());
        assert!(fill("a ${unset}").matches("a ${unset}").is_some());
        assert!(fill("a $${v}").matches("a ${v}").is_some());
    }

    #[test]
    fn loose_ignores_case_brackets_blanks_and_final_punctuation() {
        let loose = |pattern, text| captures(pattern, text, MatchMode::Loose);
        for text in
            ["[Welcome, You are registered.]", "welcome,  you are REGISTERED", "> Welcome, you are registered!!"]
        {
            assert_eq!(loose("[Welcome, You are registered.]", text).as_deref(), Some(""), "{text}");
        }
        assert_eq!(loose("[Welcome, You are registered.]", "Welcome, you are not registered."), None);
        assert_eq!(loose("[Client {n} exists!!]", "CLIENT  Yvonne exists").as_deref(), Some("n=Yvonne;"));
        assert_eq!(loose("y: {text}", "[Y: Are  you there?]").as_deref(), Some("text=Are  you there?;"));
        assert_eq!(loose("{*}", "").as_deref(), Some(""));
        assert_eq!(loose("{a}.", "...").as_deref(), Some("a=;"));
    }

    #[test]
    fn a_stray_brace_is_a_mistake_with_its_place() {
        for (pattern, range) in [("a {b", 2..4), ("{ b } c", 0..5), ("{1}", 0..3), ("{}", 0..2)] {
            assert_eq!(Literal::parse(pattern, false).unwrap_err().range, range, "{pattern}");
        }
        assert!(
            Literal::parse("{1}", true)
                .unwrap()
                .fill(&Vars::default(), MatchMode::Exact, true)
                .matches("{1}")
                .is_some()
        );
    }

    proptest! {
        #[test]
        fn a_text_with_doubled_braces_matches_only_itself(text in "[^$]*", other in ".*") {
            let pattern = text.replace('{', "{{").replace('}', "}}");
            let glob = Literal::parse(&pattern, false).unwrap().fill(&Vars::default(), MatchMode::Exact, false);
            prop_assert!(glob.matches(&text).is_some());
            prop_assert_eq!(glob.matches(&other).is_some(), text == other);
        }

        #[test]
        fn nothing_panics(pattern in ".*", braces in "[{}a$* .]*", text in "[{}a$* .İß]*") {
            for pattern in [pattern, braces] {
                let Ok(literal) = Literal::parse(&pattern, false) else { continue };
                for style in [MatchMode::Exact, MatchMode::Loose] {
                    let _ = literal.fill(&Vars::default(), style, true).matches(&text);
                }
            }
        }
    }
}
