//! Recognises the sentences of the catalogue in the left sides of a profile's wordings.

use std::sync::LazyLock;

use regex::Regex;
use strum::IntoEnumIterator;

use crate::proto::event::sentences::{HoleKind, SentenceKind};
use crate::proto::suggest::nearest;
use crate::proto::template::{TemplatePiece, pieces};
use crate::runner::profile::template::{PlaceholderKind, Template};

/// The names and kinds of the holes of a sentence in a profile, in order.
pub(crate) type Holes = Vec<(String, PlaceholderKind)>;

/// The holes of a text that is a sentence of the catalogue. The text may have a hole `{name}` or a literal value in the
/// place of each hole of the sentence.
///
/// # Errors
/// The template of the most similar sentence, if there is one.
pub(crate) fn recognise(text: &str, template: &Template) -> Result<Holes, Option<String>> {
    static FORMS: LazyLock<Vec<SentencePattern>> =
        LazyLock::new(|| SentenceKind::iter().filter_map(SentencePattern::of).collect());
    let holes: Vec<&str> = template.holes().collect();
    for form in FORMS.iter() {
        if let Some(found) = form.whole.captures(text) {
            let values = found.iter().skip(1).map(|value| value.map_or("", |value| value.as_str()));
            let named = values.zip(&form.kinds).filter_map(|(value, kind)| {
                let name = value.strip_prefix('{')?.strip_suffix('}')?;
                Some((name.to_owned(), *kind))
            });
            let named: Holes = named.collect();
            // A doubled brace is text. The counts differ when the regex took one for a hole.
            if named.len() == holes.len() {
                return Ok(named);
            }
        }
    }
    Err(nearest(text, SentenceKind::iter().map(SentenceKind::template)).map(str::to_owned))
}

/// A regular expression for the texts that stand for a sentence.
struct SentencePattern {
    whole: Regex,
    kinds: Vec<PlaceholderKind>,
}

impl SentencePattern {
    fn of(sentence: SentenceKind) -> Option<Self> {
        let (mut pattern, mut kinds) = ("^".to_owned(), Vec::new());
        for piece in pieces(sentence.template()) {
            match piece {
                TemplatePiece::Text(text) => pattern += &regex::escape(text),
                TemplatePiece::Hole(name) => {
                    let (kind, regex) = hole(sentence.hole(name)?);
                    kinds.push(kind);
                    pattern += regex;
                }
                TemplatePiece::Anything | TemplatePiece::Variable(_) | TemplatePiece::StrayBrace(_) => return None,
            }
        }
        Some(Self { whole: Regex::new(&(pattern + "$")).ok()?, kinds })
    }
}

/// The kind of a hole, and the regular expression for its two spellings: `{name}` or a literal value.
fn hole(kind: HoleKind) -> (PlaceholderKind, &'static str) {
    match kind {
        HoleKind::Name => (PlaceholderKind::Name, r"(\{\w+\}|[A-Za-z0-9][\w.-]*)"),
        HoleKind::Time => (PlaceholderKind::Text, r"(\{\w+\}|[^{}]+?)"),
        HoleKind::Text | HoleKind::Number => (PlaceholderKind::Text, r"(\{\w+\}|[^{}]+)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holes(text: &str) -> Result<Holes, Option<String>> {
        recognise(text, &Template::parse(text).unwrap())
    }

    #[test]
    fn each_template_of_the_catalogue_is_recognised() {
        for sentence in SentenceKind::iter() {
            let expected: Vec<_> =
                sentence.holes().iter().map(|(name, kind)| ((*name).to_owned(), hole(*kind).0)).collect();
            let mut found = holes(sentence.template()).unwrap();
            found.sort_by_key(|(name, _)| expected.iter().position(|(other, _)| other == name));
            assert_eq!(found, expected, "{}", sentence.template());
        }
    }

    #[test]
    fn names_and_texts_are_distinguished() {
        let hole = |name: &str, kind| (name.to_owned(), kind);
        assert_eq!(
            holes("{who}: {text}"),
            Ok(vec![hole("who", PlaceholderKind::Name), hole("text", PlaceholderKind::Text)])
        );
        let three =
            vec![hole("a", PlaceholderKind::Name), hole("b", PlaceholderKind::Text), hole("c", PlaceholderKind::Text)];
        assert_eq!(holes("Group_Message {a}: {b} {c}"), Ok(three));
        assert_eq!(holes("[Message received by y.]"), Ok(vec![]));
        assert_eq!(holes("[Message received by {who}]"), Err(Some("[Message received by {name}.]".to_owned())));
        assert_eq!(holes("hello"), Err(None));
    }
}
