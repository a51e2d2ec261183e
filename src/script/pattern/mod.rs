//! Patterns of scripts and scenarios: a literal for a whole line, `/regex/`, or JSON members that an event must have.
//!
//! A [`Pattern`] is parsed once. Before each use it is filled with the variables, which makes a [`Matcher`].

pub(crate) mod json;
pub(crate) mod literal;
pub mod normalize;
pub(crate) mod rewrite;
pub(crate) mod similarity;

use std::borrow::Cow;
use std::fmt;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

use crate::proto::template::{TemplatePiece, variable_pieces};
use crate::script::pattern::json::{JsonMatcher, JsonPattern};
use crate::script::pattern::literal::{Glob, Literal};
use crate::script::pattern::rewrite::adapt;
use crate::script::syntax_error::SyntaxError;
use crate::script::vars::Vars;

/// The names and values that a pattern captured.
pub type Captures = Vec<(String, String)>;

/// The strictness of text matching.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MatchMode {
    /// Text must match exactly.
    #[default]
    Exact,
    /// Case, brackets, runs of blanks and final punctuation are ignored.
    Loose,
}

/// A parsed pattern with its source text.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    kind: PatternKind,
}

#[derive(Clone, Debug)]
enum PatternKind {
    Literal(Literal),
    /// The text between the slashes.
    Regex(String),
    Json(JsonPattern),
}

impl Pattern {
    /// The most bytes of a compiled regular expression. A larger one is a mistake.
    pub const MAX_REGEX_BYTES: usize = 4 << 20;

    /// Parses a pattern. Surrounding blanks are ignored.
    ///
    /// # Errors
    /// [`SyntaxError`], whose range counts in `text` as given.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let source = text.trim();
        let offset = text.len() - text.trim_start().len();
        let kind = parse_kind(source).map_err(|error| error.shift(offset))?;
        let pattern = Self { source: source.to_owned(), kind };
        let names: Vec<&str> = pattern.names();
        let twice = (1..names.len()).find(|&n| names[..n].contains(&names[n]));
        if let Some(name) = twice.map(|n| names[n]) {
            let help = format!("use another name, or `${{{name}}}` for a value captured by an earlier line");
            let error = SyntaxError::new(format!("`{name}` is captured twice"), 0..source.len());
            return Err(error.help(help).shift(offset));
        }
        Ok(pattern)
    }

    /// Whether it looks at events rather than at lines.
    #[must_use]
    pub fn is_json(&self) -> bool {
        matches!(self.kind, PatternKind::Json(_))
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The names of the captures of a literal or JSON pattern. Empty for a regular expression, because its compiler
    /// rejects duplicate names itself.
    fn names(&self) -> Vec<&str> {
        match &self.kind {
            PatternKind::Literal(literal) => literal.names().collect(),
            PatternKind::Json(json) => json.names(),
            PatternKind::Regex(_) => Vec::new(),
        }
    }

    /// Replaces the variables.
    ///
    /// # Errors
    /// When a regular expression is not valid with these values.
    pub fn fill(&self, vars: &Vars, style: MatchMode) -> Result<Matcher, SyntaxError> {
        let (sketch, kind) = match &self.kind {
            PatternKind::Literal(literal) => {
                let glob = literal.fill(vars, style, true);
                (glob.sketch(), MatcherKind::Glob(glob))
            }
            PatternKind::Regex(source) => (source.clone(), MatcherKind::Regex(compile(source, vars, style)?, style)),
            PatternKind::Json(json) => (self.source.clone(), MatcherKind::Json(json.fill(vars, style))),
        };
        Ok(Matcher { sketch, kind })
    }

    /// Rewrites a literal to match a line and keeps its gaps, captures and, where possible, its variables. `None` for
    /// other patterns, when the pattern already matches, and when no literal matches such a line.
    #[must_use]
    pub fn adapt(&self, vars: &Vars, style: MatchMode, line: &str) -> Option<String> {
        let PatternKind::Literal(literal) = &self.kind else { return None };
        let matches = |pattern: &Pattern| pattern.fill(vars, style).is_ok_and(|matcher| matcher.line(line).is_some());
        if matches(self) {
            return None;
        }
        let source = adapt(literal.pieces(), vars, line)?;
        let adapted = Self::parse(&source).ok()?;
        (matches(&adapted) && adapted.names() == self.names()).then_some(source)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.source)
    }
}

/// A pattern with its variables replaced, ready to match.
#[derive(Clone, Debug)]
pub struct Matcher {
    sketch: String,
    kind: MatcherKind,
}

#[derive(Clone, Debug)]
enum MatcherKind {
    Glob(Glob),
    Regex(Regex, MatchMode),
    Json(JsonMatcher),
}

impl Matcher {
    /// The captures from a line, if it is a text pattern and matches.
    #[must_use]
    pub fn line(&self, line: &str) -> Option<Captures> {
        match &self.kind {
            MatcherKind::Glob(glob) => glob.matches(line),
            MatcherKind::Regex(regex, MatchMode::Exact) => search(regex, line),
            MatcherKind::Regex(regex, MatchMode::Loose) => {
                search(regex, line).or_else(|| search(regex, &unbracketed(line)))
            }
            MatcherKind::Json(_) => None,
        }
    }

    /// The captures from an event, if it is a JSON pattern and matches.
    #[must_use]
    pub fn event(&self, event: &Value) -> Option<Captures> {
        match &self.kind {
            MatcherKind::Json(json) => json.matches(event),
            _ => None,
        }
    }

    /// Whether it looks at events rather than at lines.
    #[must_use]
    pub fn is_json(&self) -> bool {
        matches!(self.kind, MatcherKind::Json(_))
    }

    /// The share of a JSON pattern that an event has, from 0 to 1. It is 0 for a text pattern.
    #[must_use]
    pub fn share(&self, event: &Value) -> f64 {
        match &self.kind {
            MatcherKind::Json(json) => json.share(event),
            _ => 0.0,
        }
    }

    /// An approximation of a matching line, for finding the nearest one.
    #[must_use]
    pub fn sketch(&self) -> &str {
        &self.sketch
    }
}

fn parse_kind(source: &str) -> Result<PatternKind, SyntaxError> {
    if source.is_empty() {
        return Err(SyntaxError::new("a pattern is missing", 0..0).help("`{*}` matches any line"));
    }
    if let Some(literal) = source.strip_prefix('\\').filter(|rest| rest.starts_with(['/', '{'])) {
        return Literal::parse(literal, true).map(PatternKind::Literal).map_err(|error| error.shift(1));
    }
    if source.starts_with("{\"") {
        return JsonPattern::parse(source).map(PatternKind::Json);
    }
    let Some(rest) = source.strip_prefix('/') else {
        return Literal::parse(source, false).map(PatternKind::Literal);
    };
    let Some(inner) = rest.strip_suffix('/') else {
        let help = "end it with `/`, or write `\\/` to begin a literal with a slash";
        return Err(SyntaxError::new("this regular expression has no closing `/`", 0..source.len()).help(help));
    };
    compile(inner, &Vars::default(), MatchMode::Exact)?;
    Ok(PatternKind::Regex(inner.to_owned()))
}

/// Compiles the text between the slashes. Values are escaped, so they match literally.
fn compile(source: &str, vars: &Vars, style: MatchMode) -> Result<Regex, SyntaxError> {
    let plain = variable_pieces(source).all(|piece| matches!(piece, TemplatePiece::Text(text) if text != "${"));
    let text: String = variable_pieces(source)
        .map(|piece| match piece {
            TemplatePiece::Text("${") => regex::escape("${").into(),
            TemplatePiece::Text(text) => Cow::Borrowed(text),
            TemplatePiece::Variable(name) => match vars.get(name) {
                Some(value) => regex::escape(value).into(),
                None => regex::escape(&format!("${{{name}}}")).into(),
            },
            // `variable_pieces` yields no such pieces.
            TemplatePiece::Hole(_) | TemplatePiece::Anything | TemplatePiece::StrayBrace(_) => Cow::Borrowed(""),
        })
        .collect();
    let built = RegexBuilder::new(&text)
        .case_insensitive(style == MatchMode::Loose)
        .size_limit(Pattern::MAX_REGEX_BYTES)
        .build();
    built.map_err(|error| {
        let (message, at) = explain(&error);
        let at = at.filter(|at| plain && *at <= source.chars().count());
        let byte = at.map(|at| 1 + source.chars().take(at).map(char::len_utf8).sum::<usize>());
        let range = byte.map_or(0..source.len() + 2, |byte| byte..byte + 1);
        SyntaxError::new(format!("bad regular expression: {message}"), range)
    })
}

/// The last sentence of the compiler's report, and the index of the character at its caret.
fn explain(error: &regex::Error) -> (String, Option<usize>) {
    let regex::Error::Syntax(report) = error else {
        return ("it needs more than 4 MiB".to_owned(), None);
    };
    let message = report.lines().last().unwrap_or("").trim_start_matches("error: ");
    let caret = report.lines().find(|line| line.trim_start().starts_with('^'));
    (message.to_owned(), caret.and_then(|line| line.find('^')).and_then(|at| at.checked_sub(4)))
}

fn search(regex: &Regex, line: &str) -> Option<Captures> {
    let found = regex.captures(line)?;
    let named = regex.capture_names().flatten();
    Some(named.filter_map(|name| Some((name.to_owned(), found.name(name)?.as_str().to_owned()))).collect())
}

/// Removes brackets from a line and joins runs of blanks.
fn unbracketed(line: &str) -> String {
    let text: String = line.chars().filter(|c| !matches!(c, '[' | ']' | '(' | ')' | '{' | '}' | '<' | '>')).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn fill(pattern: &str, style: MatchMode) -> Matcher {
        let mut vars = Vars::default();
        vars.set("v", "a.b").unwrap();
        Pattern::parse(pattern).unwrap().fill(&vars, style).unwrap()
    }

    fn line(pattern: &str, text: &str) -> Option<Captures> {
        fill(pattern, MatchMode::Exact).line(text)
    }

    fn one(name: &str, value: &str) -> Option<Captures> {
        Some(vec![(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn a_regex_searches_and_its_named_groups_capture() {
        assert_eq!(line("/port (?<port>\\d+)/", "listening on port 8888]"), one("port", "8888"));
        assert_eq!(line("/^(?<a>x)|(?<b>y)/", "y"), one("b", "y"));
        assert_eq!(line("/a/b/", "x a/b y"), Some(vec![]));
        assert_eq!(line("/^${v}$/", "a.b"), Some(vec![]));
        assert_eq!(line("/^${v}$/", "aXb"), None, "a value stands for itself");
        assert_eq!(line("/^${unset}$/", "${unset}"), Some(vec![]));
        assert_eq!(line("/^$${v}/", "${v}"), Some(vec![]));
    }

    #[test]
    fn a_backslash_makes_a_literal() {
        for (pattern, text) in
            [("\\/usr/", "/usr/"), ("\\{\"a\":1}", "{\"a\":1}"), ("\\{*}", "{*}"), ("\\n", "\\n"), ("  hi \t", "hi")]
        {
            assert_eq!(line(pattern, text), Some(vec![]), "{pattern}");
        }
        assert_eq!(line("\\/{x}", "/etc"), one("x", "etc"));
    }

    #[test]
    fn json_is_a_subset_with_gaps_in_its_strings() {
        let event = json!({"event": "table", "changed": [{"name": "x", "online": true}], "n": 3, "text": "a.b {y}"});
        let holds = |pattern: &str| fill(pattern, MatchMode::Exact).event(&event);
        for pattern in [
            r#"{"event":"table"}"#,
            r#"{"changed":[{"online":true}],"n":3.0}"#,
            r#"{"text":"${v} {{y}}"}"#,
            r#"{"text":"{*}"}"#,
        ] {
            assert_eq!(holds(pattern), Some(vec![]), "{pattern}");
        }
        for pattern in [
            r#"{"event":"tabl"}"#,
            r#"{"changed":[]}"#,
            r#"{"changed":[{"name":"x"},{}]}"#,
            r#"{"n":"3"}"#,
            r#"{"n":4}"#,
            r#"{"missing":null}"#,
            r#"{"event":{}}"#,
        ] {
            assert_eq!(holds(pattern), None, "{pattern}");
        }
        assert_eq!(holds(r#"{"changed":[{"name":"{who}"}]}"#), one("who", "x"));
        assert_eq!(fill(r#"{"event":"TABLE."}"#, MatchMode::Loose).event(&event), Some(vec![]));
        assert_eq!(fill(r#"{"event":"table"}"#, MatchMode::Exact).line(r#"{"event":"table"}"#), None);
        assert!((fill(r#"{"event":"table","n":4}"#, MatchMode::Exact).share(&event) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_loose_regex_ignores_case_and_brackets_too() {
        assert!(fill("/group g created/", MatchMode::Loose).line("[Group (g)  Created]").is_some());
        assert!(fill("/^\\[group/", MatchMode::Loose).line("[Group]").is_some());
    }

    #[test]
    fn mistakes_are_reported_with_their_place() {
        for (pattern, message, range) in [
            ("", "a pattern is missing", 0..0),
            (" /a(b/", "bad regular expression: unclosed group", 3..4),
            ("/é(/", "bad regular expression: unclosed group", 3..4),
            ("/a", "this regular expression has no closing `/`", 0..2),
            ("/", "this regular expression has no closing `/`", 0..1),
            ("/\\w{9999}/", "bad regular expression: it needs more than 4 MiB", 0..10),
            ("{\"a\":}", "bad JSON: expected value", 5..6),
            ("{\"a\":\"{x\"}", "this brace is neither `{*}` nor a capture `{name}`", 6..8),
            ("\\{a {b", "this brace is neither `{*}` nor a capture `{name}`", 4..6),
            ("{a} {a}", "`a` is captured twice", 0..7),
            ("{\"a\":\"{x}\",\"b\":\"{x}\"}", "`x` is captured twice", 0..21),
        ] {
            let bad = Pattern::parse(pattern).unwrap_err();
            assert_eq!((bad.message.as_str(), bad.range), (message, range), "{pattern}");
        }
    }

    #[test]
    fn a_value_that_makes_a_regex_invalid_is_an_error() {
        let pattern = Pattern::parse("/[${v}]/").unwrap();
        let mut vars = Vars::default();
        vars.set("v", "").unwrap();
        assert!(pattern.fill(&vars, MatchMode::Exact).is_err());
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_every_mistake_is_inside_the_text(pattern in "[/{}\"a:\\\\$\\[(é *0-9,]*|\\PC*", text in "\\PC*") {
            match Pattern::parse(&pattern) {
                Ok(pattern) => for style in [MatchMode::Exact, MatchMode::Loose] {
                    if let Ok(matcher) = pattern.fill(&Vars::default(), style) {
                        let _ = (matcher.line(&text), matcher.event(&json!({"a": text})), matcher.share(&json!(1)));
                    }
                },
                Err(bad) => prop_assert!(bad.range.start <= bad.range.end && bad.range.end <= pattern.len() + 1),
            }
        }
    }
}
