//! Words of a directive, split and unquoted as a shell does it, each with its place in the line.

use std::ops::Range;

use crate::script::syntax_error::SyntaxError;

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// Without its quotes.
    pub(crate) text: String,
    /// Where it stands, quotes included, in bytes.
    pub(crate) range: Range<usize>,
}

/// The words of a line from byte `from` on; a `#` that begins a word begins a comment.
///
/// shlex does the unquoting, a word at a time: it tells no places, and those are found here.
pub(crate) fn words(line: &str, from: usize) -> Result<Vec<Word>, SyntaxError> {
    let mut words = Vec::new();
    let mut at = from;
    while let Some(begin) = line[at..].find(|c| !is_blank(c)).map(|skip| at + skip) {
        if line[begin..].starts_with('#') {
            break;
        }
        at = begin + length(&line[begin..]).map_err(|wrong| wrong.shift(begin))?;
        let raw = &line[begin..at];
        let whole = || SyntaxError::new("this word cannot be read", begin..at);
        let text = shlex::split(raw).ok_or_else(whole)?.pop().ok_or_else(whole)?;
        words.push(Word { text, range: begin..at });
    }
    Ok(words)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// How many bytes the first word of a text takes.
fn length(text: &str) -> Result<usize, SyntaxError> {
    let mut quote: Option<(char, usize)> = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            ('\'', Some(('\'', _))) | ('"', Some(('"', _))) => quote = None,
            (_, Some(('\'', _))) => {}
            ('\\', _) if chars.next().is_none() => {
                return Err(SyntaxError::new("a character is missing behind this backslash", at..at + 1));
            }
            ('\\', _) | (_, Some(_)) => {}
            ('\'' | '"', None) => quote = Some((c, at)),
            _ if is_blank(c) => return Ok(at),
            _ => {}
        }
    }
    match quote {
        Some((_, at)) => Err(SyntaxError::new("this quote is not closed", at..text.len())),
        None => Ok(text.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_are_unquoted_and_keep_their_places() {
        let line = r#"case "two  words" it\'s'"'  # "comment"#;
        let found: Vec<_> = words(line, 0).unwrap().into_iter().map(|word| (word.text, word.range)).collect();
        let expected = [("case", 0..4), ("two  words", 5..17), ("it's\"", 18..26)];
        assert_eq!(found, expected.map(|(text, range)| (text.to_owned(), range)));
        assert_eq!(words("a ''", 1).unwrap(), [Word { text: String::new(), range: 2..4 }]);
        assert_eq!(words("a#b", 0).unwrap().len(), 1);
        assert!(words("", 0).unwrap().is_empty());
    }

    #[test]
    fn what_is_open_is_told_with_its_place() {
        for (line, message, range) in [
            (r#"a "b c"#, "this quote is not closed", 2..6),
            ("a 'b", "this quote is not closed", 2..4),
            (r"a b\", "a character is missing behind this backslash", 3..4),
            (r#"a "b\"#, "a character is missing behind this backslash", 4..5),
        ] {
            assert_eq!(words(line, 0), Err(SyntaxError::new(message, range)), "{line}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_shlex_wherever_both_read(line in "[ab'\"\\\\ #\té]*") {
            if let (Ok(words), Some(expected)) = (words(&line, 0), shlex::split(&line)) {
                let texts: Vec<_> = words.into_iter().map(|word| word.text).collect();
                prop_assert_eq!(texts, expected);
            }
        }
    }
}
