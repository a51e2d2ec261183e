//! Lines of input become commands: as they are typed at a terminal, or as a script that waits and looks.

use super::cli::{ClientOptions, OnEof};
use crate::core::command::{Command, Mistake, parse};
use crate::core::event::Event;
use crate::core::name::BadText;
use crate::core::status::Status;
use crate::core::time::{Instant, Now};
use crate::io::input::{Line, Lines};

/// What comes out of the input.
#[derive(Debug)]
pub enum Fed {
    /// The next command, or what was typed instead of one.
    Command(Result<Command, Mistake>),
    /// An empty line.
    Nothing,
    /// There will be no more commands.
    End,
    /// There will be no more commands, since the script failed.
    Failed(Status),
}

/// The input of a client.
pub struct Feed {
    lines: Lines,
    on_eof: OnEof,
    end: End,
}

/// How far the end of the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    NotYet,
    /// To be told then, or never.
    At(Option<Instant>),
    Told,
}

impl Feed {
    /// The input in these lines.
    #[must_use]
    pub fn new(lines: Lines, _typed: bool, options: &ClientOptions, _now: Now) -> Self {
        Self { lines, on_eof: options.on_eof, end: End::NotYet }
    }

    /// What is next, if anything is there already.
    pub fn next(&mut self, now: Now) -> Option<Fed> {
        if self.end == End::NotYet {
            let line = self.lines.take()?;
            if line != Line::End {
                return Some(typed(&line).map_or(Fed::Nothing, Fed::Command));
            }
            self.end = End::At(match self.on_eof {
                OnEof::Exit => Some(now.mono),
                OnEof::Stay => None,
                OnEof::Linger(time) => Some(now.mono + time),
            });
        }
        match self.end {
            End::At(Some(at)) if at <= now.mono => {
                self.end = End::Told;
                Some(Fed::End)
            }
            _ => None,
        }
    }

    /// Takes in what the client shows.
    pub fn event(&mut self, _now: Now, _event: &Event) {}

    /// When to look again at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.end {
            End::At(at) => at,
            _ => None,
        }
    }
}

/// What a line means where lines mean what they mean at a terminal; `None` for an empty one.
pub fn typed(line: &Line) -> Option<Result<Command, Mistake>> {
    match line {
        Line::Whole(line) => parse(line).transpose(),
        Line::Long { head, bytes } => Some(Err(too_long(head, *bytes))),
        Line::End => None,
    }
}

/// The mistake in a line whose first bytes alone are over the limit of a text, with the true length of the text.
#[must_use]
pub fn too_long(head: &[u8], bytes: usize) -> Mistake {
    match parse(head) {
        Err(Mistake::BadText(BadText::TooLong(kept))) => {
            Mistake::BadText(BadText::TooLong(kept.saturating_add(bytes.saturating_sub(head.len()))))
        }
        Err(mistake) => mistake,
        // Only a text can be that long; a short command with many blanks behind it is none of ours.
        Ok(_) => Mistake::Invalid(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::name::Text;
    use crate::io::input::read_line;

    fn read(line: &str) -> Option<Result<Command, Mistake>> {
        typed(&read_line(&mut line.as_bytes()).unwrap())
    }

    #[test]
    fn a_line_of_any_length_is_refused_with_the_length_of_its_text() {
        for length in [Text::MAX + 1, Text::MAX + 1_000, 3_000_000] {
            let expected = Some(Err(Mistake::BadText(BadText::TooLong(length))));
            assert_eq!(read(&format!("send y {}", "a".repeat(length))), expected);
            assert_eq!(read(&format!("send_all {}\n", "a".repeat(length))), expected);
        }
        assert_eq!(read(&"a".repeat(3_000_000)), Some(Err(Mistake::Invalid(None))));
        assert_eq!(read(&format!("exit{}", " ".repeat(3_000_000))), Some(Err(Mistake::Invalid(None))));
    }

    #[test]
    fn a_long_line_of_wide_characters_is_still_text() {
        let length = 100_000 * "é".len();
        let expected = Some(Err(Mistake::BadText(BadText::TooLong(length))));
        assert_eq!(read(&format!("send y {}", "é".repeat(100_000))), expected);
    }
}
