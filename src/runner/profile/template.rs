//! Texts with holes in profiles: `{name}` is a value that is kept, `{*}` is one that is ignored.

use crate::proto::template::{TemplatePiece, pieces};
use crate::script::pattern::{Captures, Pattern};

/// The kind of value that a hole accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlaceholderKind {
    /// The name of a client or of a group.
    Name,
    /// Any text that is not empty.
    Text,
}

impl PlaceholderKind {
    /// The regular expression for a value. With `may_lack` the value may be empty or cut short.
    pub(crate) fn regex(self, may_lack: bool) -> &'static str {
        match (self, may_lack) {
            (Self::Name, false) => "[A-Za-z0-9][A-Za-z0-9_.-]{0,31}",
            (Self::Name, true) => "[A-Za-z0-9_.-]{0,32}",
            (Self::Text, false) => ".+?",
            (Self::Text, true) => ".*?",
        }
    }
}

/// A text with holes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<TemplatePart>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    Text(String),
    /// `{name}`, or `{*}` without one.
    Hole(Option<String>),
}

impl Template {
    /// Parses a text by the rules for literals in scenarios, but without variables.
    ///
    /// # Errors
    /// The message, and help if there is any.
    pub(crate) fn parse(text: &str) -> Result<Self, (String, Option<String>)> {
        if text.contains("${") {
            let help = "a hole is written `{name}`, and anything `{*}`".to_owned();
            return Err(("a profile has no variables".to_owned(), Some(help)));
        }
        // A leading backslash makes the next character text. The form of a regular expression or of JSON is text here.
        let escaped = text.strip_prefix('\\').filter(|rest| rest.starts_with(['/', '{']));
        let is_text = escaped.is_some() || text.starts_with('/') || text.starts_with("{\"");
        let text = escaped.unwrap_or(text);
        let literal = if is_text { format!("\\{text}") } else { text.to_owned() };
        Pattern::parse(&literal).map_err(|error| (error.message, error.help))?;
        let first = usize::from(is_text);
        let mut template = Self(Vec::new());
        template.text(&text[..first]);
        for piece in pieces(&text[first..]) {
            match piece {
                TemplatePiece::Text(text) => template.text(text),
                TemplatePiece::Anything => template.0.push(TemplatePart::Hole(None)),
                TemplatePiece::Hole(name) => template.0.push(TemplatePart::Hole(Some(name.to_owned()))),
                // `Pattern::parse` has already rejected both.
                TemplatePiece::Variable(_) | TemplatePiece::StrayBrace(_) => {}
            }
        }
        Ok(template)
    }

    fn text(&mut self, more: &str) {
        match self.0.last_mut() {
            Some(TemplatePart::Text(text)) => text.push_str(more),
            _ if more.is_empty() => {}
            _ => self.0.push(TemplatePart::Text(more.to_owned())),
        }
    }

    /// The names of the holes, in order.
    pub(crate) fn holes(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter_map(|piece| if let TemplatePart::Hole(Some(name)) = piece { Some(name.as_str()) } else { None })
    }

    /// Whether it contains `{*}`.
    pub(crate) fn has_any(&self) -> bool {
        self.0.contains(&TemplatePart::Hole(None))
    }

    /// The number of fixed characters, without blanks.
    pub(crate) fn weight(&self) -> usize {
        let texts = self.0.iter().map(|piece| if let TemplatePart::Text(text) = piece { text.as_str() } else { "" });
        texts.map(|text| text.chars().filter(|c| !c.is_whitespace()).count()).sum()
    }

    /// The regular expression for its texts, not anchored. Each named hole is a group of that name with the regular
    /// expression that `gap` returns.
    pub(crate) fn regex(&self, gap: impl Fn(&str) -> &'static str) -> String {
        let piece = |piece: &TemplatePart| match piece {
            TemplatePart::Text(text) => regex::escape(text),
            TemplatePart::Hole(None) => "(?:.*?)".to_owned(),
            TemplatePart::Hole(Some(name)) => format!("(?<{name}>{})", gap(name)),
        };
        self.0.iter().map(piece).collect()
    }

    /// The template as a literal pattern of a scenario.
    pub(crate) fn literal(&self) -> String {
        let piece = |piece: &TemplatePart| match piece {
            TemplatePart::Text(text) => text.replace('{', "{{").replace('}', "}}"),
            TemplatePart::Hole(name) => format!("{{{}}}", name.as_deref().unwrap_or("*")),
        };
        let literal: String = self.0.iter().map(piece).collect();
        if literal.starts_with('/') { format!("\\{literal}") } else { literal }
    }

    /// The shape: its fixed texts, and `None` for each hole. Two templates of one shape match the same lines.
    pub(crate) fn shape(&self) -> Vec<Option<String>> {
        self.0
            .iter()
            .map(|piece| if let TemplatePart::Text(text) = piece { Some(text.clone()) } else { None })
            .collect()
    }

    /// The text with these values in its holes. `{*}` becomes empty.
    pub(crate) fn fill(&self, values: &Captures) -> String {
        let value = |name: &str| values.iter().find(|(of, _)| of == name).map_or("", |(_, value)| value.as_str());
        let piece = |piece: &TemplatePart| match piece {
            TemplatePart::Text(text) => text.clone(),
            TemplatePart::Hole(name) => name.as_deref().map_or("", value).to_owned(),
        };
        self.0.iter().map(piece).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_leading_backslash_escapes_a_brace_or_a_slash() {
        let text = |template: &str| Template::parse(template).map(|template| template.fill(&Captures::default()));
        assert_eq!(text("\\/etc"), Ok("/etc".to_owned()));
        assert_eq!(text("\\{a"), Ok("{a".to_owned()));
        assert_eq!(text("\\n"), Ok("\\n".to_owned()));
        assert_eq!(text("\\{}"), Ok("{}".to_owned()));
        assert!(text("\\{a {").is_err(), "the second brace is not a hole");
    }

    #[test]
    fn holes_and_braces_are_distinguished() {
        let template = Template::parse("{{{who}}} said {*}{text}").unwrap();
        assert_eq!(template.holes().collect::<Vec<_>>(), ["who", "text"]);
        assert!(template.has_any());
        assert_eq!(template.weight(), 6);
        let values = vec![("who".to_owned(), "y".to_owned()), ("text".to_owned(), "hi".to_owned())];
        assert_eq!(template.fill(&values), "{y} said hi");
        for text in ["{a b}", "{x", "${x}", "{x}{x}", "", " "] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_regex_of_a_template_matches_its_filled_text(text in "[a-z/{}\"*$\\\\()\\[\\]. ]{0,12}") {
            if let Ok(template) = Template::parse(&text) {
                let values: Captures = template.holes().map(|name| (name.to_owned(), "v".to_owned())).collect();
                let regex = regex::Regex::new(&format!("^{}$", template.regex(|_| PlaceholderKind::Text.regex(false)))).unwrap();
                prop_assert!(regex.is_match(&template.fill(&values)), "{}", regex);
            }
        }
    }
}
