//! Parser of templates: texts with holes and variables. Sentences, patterns and profiles use it.
//!
//! It does not allocate, because a template is parsed for each line that is compared with it.

/// A piece of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplatePiece<'a> {
    /// Literal text. `{{` and `}}` stand for one brace, `$${` for `${`, and a single `}` or `$` for itself. Several
    /// pieces of text can follow each other.
    Text(&'a str),
    /// `{name}`: a hole with a name.
    Hole(&'a str),
    /// `{*}`: a hole without a name.
    Anything,
    /// `${name}`: the value of a variable.
    Variable(&'a str),
    /// A `{` that begins no valid piece, with its byte offset in the text. It is the last piece.
    StrayBrace(usize),
}

/// Parses `text` as a template. Returns its pieces in order.
#[must_use]
pub fn pieces(text: &str) -> TemplatePieces<'_> {
    TemplatePieces { text, at: 0, specials: &['{', '}', '$'] }
}

/// Parses `text` as a template without holes: only `${name}` and `$${` are special, and other braces stand for
/// themselves.
#[must_use]
pub fn variable_pieces(text: &str) -> TemplatePieces<'_> {
    TemplatePieces { text, at: 0, specials: &['$'] }
}

/// Iterator over the pieces of a template.
#[derive(Clone, Debug)]
pub struct TemplatePieces<'a> {
    text: &'a str,
    /// The byte offset of the next piece.
    at: usize,
    /// The characters that can begin a special piece.
    specials: &'static [char],
}

impl<'a> Iterator for TemplatePieces<'a> {
    type Item = TemplatePiece<'a>;

    fn next(&mut self) -> Option<TemplatePiece<'a>> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let (piece, bytes) = match rest.find(self.specials) {
            Some(0) => self.special(rest),
            plain => {
                let bytes = plain.unwrap_or(rest.len());
                (TemplatePiece::Text(&rest[..bytes]), bytes)
            }
        };
        self.at += bytes;
        Some(piece)
    }
}

impl<'a> TemplatePieces<'a> {
    /// Parses a piece that begins with a brace or a dollar sign. Returns it with its length in bytes.
    fn special(&self, rest: &'a str) -> (TemplatePiece<'a>, usize) {
        if rest.starts_with("$${") {
            return (TemplatePiece::Text(&rest[1..3]), 3);
        }
        if let Some(behind) = rest.strip_prefix("${") {
            return match name_before_brace(behind) {
                Some(name) => (TemplatePiece::Variable(name), name.len() + 3),
                None => (TemplatePiece::Text(&rest[..2]), 2),
            };
        }
        if rest.starts_with("{{") || rest.starts_with("}}") {
            return (TemplatePiece::Text(&rest[..1]), 2);
        }
        if rest.starts_with("{*}") {
            return (TemplatePiece::Anything, 3);
        }
        match rest.strip_prefix('{').map(name_before_brace) {
            Some(Some(name)) => (TemplatePiece::Hole(name), name.len() + 2),
            Some(None) => (TemplatePiece::StrayBrace(self.at), rest.len()),
            None => (TemplatePiece::Text(&rest[..1]), 1),
        }
    }
}

/// The name at the start of `text`, if a closing brace follows it.
fn name_before_brace(text: &str) -> Option<&str> {
    let name = &text[..text.find('}')?];
    is_name(name).then_some(name)
}

/// Whether `word` is a valid name of a hole or a variable: ASCII letters, digits and `_`, beginning with no digit.
#[must_use]
pub fn is_name(word: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    word.chars().all(fits) && word.starts_with(|c: char| !c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::template::TemplatePiece::{Anything, Hole, StrayBrace, Text, Variable};
    use proptest::prelude::*;

    #[test]
    fn holes_variables_and_braces_are_parsed() {
        for (text, expected) in [
            ("", vec![]),
            ("hi", vec![Text("hi")]),
            ("{who}: {*}!", vec![Hole("who"), Text(": "), Anything, Text("!")]),
            ("{{{who}}}", vec![Text("{"), Hole("who"), Text("}")]),
            ("${a}$${b}$c", vec![Variable("a"), Text("${"), Text("b"), Text("}"), Text("$"), Text("c")]),
            ("${1}", vec![Text("${"), Text("1"), Text("}")]),
            ("a {b c} d", vec![Text("a "), StrayBrace(2)]),
            ("{}", vec![StrayBrace(0)]),
            ("{a", vec![StrayBrace(0)]),
            ("é}", vec![Text("é"), Text("}")]),
        ] {
            assert_eq!(pieces(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn variable_pieces_have_no_holes() {
        let expected = vec![Text("{a} {"), Variable("b"), Text("} "), Text("${"), Text("c}")];
        assert_eq!(variable_pieces("{a} {${b}} $${c}").collect::<Vec<_>>(), expected);
    }

    proptest! {
        #[test]
        fn a_stray_brace_is_the_last_piece_of_any_text(text in "[a1{}$* é]{0,16}") {
            let stray = pieces(&text).position(|piece| matches!(piece, StrayBrace(_)));
            prop_assert!(stray.is_none_or(|at| at + 1 == pieces(&text).count()));
        }
    }
}
