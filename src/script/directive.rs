//! Parses the lines of a client script, and the expectations, durations and assignments that scenarios share with it.

use std::time::Duration;

use crate::proto::template::is_name;
use crate::proto::time::{DurationError, parse_duration};
use crate::script::pattern::Pattern;
use crate::script::syntax_error::SyntaxError;

/// The mode of an expectation: the part of the log that it searches, and its effect on a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectMode {
    /// `<`: takes the first match at or after the cursor, and moves the cursor behind it.
    Next,
    /// `<~`: takes the first match since the last mark that was not taken yet. The cursor stays.
    Any,
    /// `!<`: fails on a match between the cursor and the end of the window. It takes nothing, and the cursor stays.
    Never,
}

impl ExpectMode {
    /// Default limit of `<` and `<~`: longer than five attempts of 500 ms.
    pub const LIMIT: Duration = Duration::from_secs(4);
    /// Default window of `!<`: longer than one ack timeout.
    pub const QUIET: Duration = Duration::from_millis(700);

    /// The limit or window of a line that states none.
    #[must_use]
    pub const fn default_limit(self) -> Duration {
        match self {
            Self::Next | Self::Any => Self::LIMIT,
            Self::Never => Self::QUIET,
        }
    }

    /// The sign in a script or scenario.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Next => "<",
            Self::Any => "<~",
            Self::Never => "!<",
        }
    }
}

/// `< PATTERN`, `<~ PATTERN` or `!< PATTERN`
#[derive(Clone, Debug)]
pub struct Expectation {
    pub mode: ExpectMode,
    /// The limit or window of the line. `None` means [`ExpectMode::default_limit`].
    pub limit: Option<Duration>,
    pub pattern: Pattern,
}

/// One line of a script of one client.
#[derive(Clone, Debug)]
pub enum ScriptLine {
    /// A blank line or a comment.
    Nothing,
    /// `<`, `<~` or `!<`.
    Expect(Expectation),
    /// `wait`
    Wait,
    /// `sleep D`
    Sleep(Duration),
    /// `set NAME=VALUE`
    Set {
        /// The variable.
        name: String,
        /// As written. `${NAME}` in it is replaced when the line runs.
        value: String,
    },
    /// Anything else: a chat command.
    Command,
}

impl ScriptLine {
    /// Parses a line, without its end.
    ///
    /// # Errors
    /// [`SyntaxError`], when the line begins with a script word and the rest does not fit it.
    pub fn parse(line: &str) -> Result<Self, SyntaxError> {
        let text = line.trim_start();
        let offset = line.len() - text.len();
        if text.is_empty() || text.starts_with('#') {
            return Ok(Self::Nothing);
        }
        if text.starts_with('<') || text.starts_with("!<") {
            return Expectation::parse(text).map(Self::Expect).map_err(|error| error.shift(offset));
        }
        let (head, rest) = text.split_once([' ', '\t']).unwrap_or((text.trim_end(), ""));
        let offset = line.len() - rest.len();
        match head {
            "wait" if rest.trim().is_empty() => Ok(Self::Wait),
            "wait" => Err(SyntaxError::new("`wait` stands alone", 0..rest.len()).shift(offset)),
            "sleep" => duration(rest).map(Self::Sleep).map_err(|error| error.shift(offset)),
            "set" => {
                let (name, value) = assignment(rest).map_err(|error| error.shift(offset))?;
                Ok(Self::Set { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Ok(Self::Command),
        }
    }
}

impl Expectation {
    /// Parses an expectation. The text begins with its `<` or `!<`.
    ///
    /// # Errors
    /// [`SyntaxError`], for a bad limit or pattern.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let (mode, rest) = match text.strip_prefix("!<") {
            Some(rest) => (ExpectMode::Never, rest),
            None => {
                let rest = text.strip_prefix('<').unwrap_or(text);
                rest.strip_prefix('~').map_or((ExpectMode::Next, rest), |rest| (ExpectMode::Any, rest))
            }
        };
        let offset = text.len() - rest.len();
        let word = rest.split([' ', '\t']).next().unwrap_or("");
        let limit = match word.chars().next() {
            None => None,
            Some('0'..='9' | '-' | '+' | '.') => Some(duration(word).map_err(|error| error.shift(offset))?),
            Some(_) => {
                let sign = mode.word();
                let help = format!("write `{sign} PATTERN`, or `{sign}5s PATTERN` with a time");
                return Err(SyntaxError::new(format!("a blank must follow `{sign}`"), 0..word.len())
                    .help(help)
                    .shift(offset));
            }
        };
        let offset = offset + word.len();
        let pattern = Pattern::parse(&rest[word.len()..]).map_err(|error| error.shift(offset))?;
        Ok(Self { mode, limit, pattern })
    }
}

/// Parses a duration: a number and a unit, such as `250ms`, `5s`, `1.5s` or `2m`. The most is
/// [`crate::proto::time::MAX_DURATION`].
///
/// # Errors
/// [`SyntaxError`], whose range counts in `text` as given.
pub fn duration(text: &str) -> Result<Duration, SyntaxError> {
    let word = text.trim();
    let begin = text.len() - text.trim_start().len();
    let mistake = |message: String| SyntaxError::new(message, begin..begin + word.len());
    let right = "write a number and a unit, such as `250ms`, `5s` or `2m`";
    if word.is_empty() {
        return Err(SyntaxError::new("a duration is missing", 0..text.len()).help(right));
    }
    parse_duration(word).map_err(|error| match error {
        DurationError::Malformed => mistake(format!("`{word}` is no duration")).help(right),
        DurationError::TooLong => mistake(format!("`{word}` is too long")).help("at most `24h` can be waited"),
    })
}

/// Formats a duration as scripts write it: `1s 500ms`.
#[must_use]
pub fn spell(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration)
        .map_or_else(|_| format!("{duration:?}"), |duration| format!("{duration:#}"))
}

/// Splits `NAME=VALUE`. The value is the rest of the line, byte for byte, and may be empty.
///
/// # Errors
/// [`SyntaxError`], whose range counts in `text` as given.
pub fn assignment(text: &str) -> Result<(&str, &str), SyntaxError> {
    let begin = text.len() - text.trim_start().len();
    let Some((name, value)) = text[begin..].split_once('=') else {
        return Err(
            SyntaxError::new("`set` needs a name and a value", begin..text.len()).help("write `set NAME=VALUE`")
        );
    };
    if !is_name(name) {
        let error = SyntaxError::new(format!("{name:?} is no name of a variable"), begin..begin + name.len());
        return Err(error.help("use letters, digits and `_`, not beginning with a digit, and no blank before the `=`"));
    }
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expect(line: &str) -> (ExpectMode, Option<u128>, String) {
        let Ok(ScriptLine::Expect(found)) = ScriptLine::parse(line) else { panic!("{line} is no expectation") };
        (found.mode, found.limit.map(|limit| limit.as_millis()), found.pattern.to_string())
    }

    #[test]
    fn every_script_word_is_parsed() {
        assert_eq!(expect("< [You are Offline. Bye.]"), (ExpectMode::Next, None, "[You are Offline. Bye.]".to_owned()));
        assert_eq!(expect("  <5s\tx: hi "), (ExpectMode::Next, Some(5000), "x: hi".to_owned()));
        assert_eq!(expect("<~ a"), (ExpectMode::Any, None, "a".to_owned()));
        assert_eq!(expect("<~1.5s a"), (ExpectMode::Any, Some(1500), "a".to_owned()));
        assert_eq!(expect("!< a"), (ExpectMode::Never, None, "a".to_owned()));
        assert_eq!(expect("!<2s a < b"), (ExpectMode::Never, Some(2000), "a < b".to_owned()));
        assert!(matches!(ScriptLine::parse("wait "), Ok(ScriptLine::Wait)));
        assert!(matches!(ScriptLine::parse("sleep 250ms"), Ok(ScriptLine::Sleep(d)) if d.as_millis() == 250));
        let set = ScriptLine::parse("set a_1=two  words = it's ");
        assert!(matches!(set, Ok(ScriptLine::Set { name, value }) if name == "a_1" && value == "two  words = it's "));
        for nothing in ["", "  ", "# < x", "  #"] {
            assert!(matches!(ScriptLine::parse(nothing), Ok(ScriptLine::Nothing)));
        }
        for command in ["send y < hi", "waiting", "sleepy", "!send", "settle"] {
            assert!(matches!(ScriptLine::parse(command), Ok(ScriptLine::Command)));
        }
    }

    #[test]
    fn mistakes_are_reported_with_their_place() {
        for (line, message, range) in [
            ("<[Welcome]", "a blank must follow `<`", 1..10),
            (" <~x y", "a blank must follow `<~`", 3..4),
            ("!<~ x", "a blank must follow `!<`", 2..3),
            ("<5 x", "`5` is no duration", 1..2),
            ("<-5s x", "`-5s` is no duration", 1..4),
            ("<5s", "a pattern is missing", 3..3),
            ("<99h x", "`99h` is too long", 1..4),
            ("< a {b", "this brace is neither `{*}` nor a capture `{name}`", 4..6),
            ("wait y", "`wait` stands alone", 5..6),
            ("sleep", "a duration is missing", 5..5),
            ("sleep  5 parsecs", "`5 parsecs` is no duration", 7..16),
            ("set", "`set` needs a name and a value", 3..3),
            ("set  a b", "`set` needs a name and a value", 5..8),
            ("set a =b", "\"a \" is no name of a variable", 4..6),
            ("set =b", "\"\" is no name of a variable", 4..4),
        ] {
            let error = ScriptLine::parse(line).unwrap_err();
            assert_eq!((error.message.as_str(), error.range), (message, range), "{line}");
        }
    }

    #[test]
    fn formatted_durations_parse_to_the_same_value() {
        for word in ["250ms", "5s", "1m 30s", "24h", "0s", "1s 500ms"] {
            let read = duration(word).unwrap();
            assert_eq!(duration(&spell(read)), Ok(read), "{word}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(line in "[<!~ 0-9smh#a={}/.-]*|(sleep|set|wait) \\PC*") {
            if let Err(error) = ScriptLine::parse(&line) {
                prop_assert!(error.range.start <= error.range.end && error.range.end <= line.len() + 1);
            }
        }
    }
}
