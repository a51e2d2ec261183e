//! The lexer: splits a file into lines and a line into tokens, each with its place.
//!
//! Tokens depend on the line. A line begins with a head and an optional sign. After a sign, the rest of the line is
//! verbatim text or a pattern. Otherwise the rest is words, unquoted as in a shell.

use std::ops::Range;

use crate::script::syntax_error::SyntaxError;

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// The text without quotes and escapes.
    pub(crate) text: String,
    /// Its place in the line, quotes included, in bytes.
    pub(crate) range: Range<usize>,
}

/// One line of a file.
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: usize,
    /// Offset of its first byte in the file.
    pub(crate) start: usize,
    /// The text without the end of the line.
    pub(crate) text: &'a str,
}

/// The beginning of a line, which decides how the rest is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LineHead {
    /// A directive, or the actors of an actor line.
    pub(crate) word: Word,
    pub(crate) sign: Option<Sign>,
}

/// The sign directly behind the actors of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// `>`
    Type,
    /// `<`, `<~` or `!<`
    Expect,
}

impl Sign {
    /// The spellings of the signs, without `~`.
    pub(crate) const SPELLINGS: [&str; 3] = ["<", ">", "!<"];

    /// The spelling of the sign at the beginning of a text.
    pub(crate) fn prefix_of(text: &str) -> Option<&'static str> {
        Self::SPELLINGS.into_iter().find(|sign| text.starts_with(sign))
    }
}

/// Splits a file into lines. A byte order mark at the beginning is skipped.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    text[start..].split('\n').zip(1..).map(move |(line, number)| {
        let begin = start;
        start += line.len() + 1;
        Line { number, start: begin, text: line.strip_suffix('\r').unwrap_or(line) }
    })
}

/// The head of a line. `None` for blank lines and comments.
pub(crate) fn head(line: &str) -> Option<LineHead> {
    let begin = line.len() - line.trim_start().len();
    let text = &line[begin..];
    if text.is_empty() || text.starts_with('#') {
        return None;
    }
    let length = text.find([' ', '\t', '<', '>', '!']).unwrap_or(text.len());
    let word = Word { text: text[..length].to_owned(), range: begin..begin + length };
    let sign = Sign::prefix_of(&text[length..]).map(|sign| if sign == ">" { Sign::Type } else { Sign::Expect });
    Some(LineHead { word, sign })
}

/// The words of a line from byte `from` on. A `#` at the beginning of a word begins a comment.
///
/// Words are delimited here because shlex reports no places. It only unquotes one word at a time.
pub(crate) fn words(line: &str, from: usize) -> Result<Vec<Word>, SyntaxError> {
    let mut words = Vec::new();
    let mut at = from;
    while let Some(begin) = line[at..].find(|c| !is_blank(c)).map(|skip| at + skip) {
        if line[begin..].starts_with('#') {
            break;
        }
        at = begin + length(&line[begin..]).map_err(|error| error.shift(begin))?;
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

/// The length in bytes of the first word of a text.
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
    fn an_open_quote_is_reported_with_its_place() {
        for (line, message, range) in [
            (r#"a "b c"#, "this quote is not closed", 2..6),
            ("a 'b", "this quote is not closed", 2..4),
            (r"a b\", "a character is missing behind this backslash", 3..4),
            (r#"a "b\"#, "a character is missing behind this backslash", 4..5),
        ] {
            assert_eq!(words(line, 0), Err(SyntaxError::new(message, range)), "{line}");
        }
    }

    #[test]
    fn lines_and_heads_have_places() {
        let found: Vec<_> = lines("\u{feff}a\r\n\nb").map(|line| (line.number, line.start, line.text)).collect();
        assert_eq!(found, [(1, 3, "a"), (2, 6, ""), (3, 7, "b")]);
        for (line, word, sign) in [
            ("  x> hi", "x", Some(Sign::Type)),
            ("x,y!<5s a", "x,y", Some(Sign::Expect)),
            ("*<~ a", "*", Some(Sign::Expect)),
            ("heal # all", "heal", None),
            ("x > a", "x", None),
            ("a!b", "a", None),
        ] {
            let found = head(line).unwrap();
            assert_eq!((found.word.text.as_str(), found.sign), (word, sign), "{line}");
            assert_eq!(&line[found.word.range], word);
        }
        assert!(head("").is_none() && head(" \t").is_none() && head("  # a").is_none());
    }

    proptest! {
        #[test]
        fn words_agree_with_shlex(line in "[ab'\"\\\\ #\té]*") {
            if let (Ok(words), Some(expected)) = (words(&line, 0), shlex::split(&line)) {
                let texts: Vec<_> = words.into_iter().map(|word| word.text).collect();
                prop_assert_eq!(texts, expected);
            }
        }
    }
}
