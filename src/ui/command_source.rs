//! Lines of input become commands: as they are typed at a terminal, or as a script that waits and looks.

use crate::cli::{ClientOptions, OnEof};
use crate::io::input::{InputLine, Lines};
use crate::proto::command::{Command, CommandError, parse};
use crate::proto::event::Event;
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::Problem;
use crate::proto::status::Status;
use crate::proto::text::BadText;
use crate::proto::time::{Instant, Now, earliest};
use crate::script::interpreter::{Options, Script, ScriptOutput};

/// What comes out of the input.
#[derive(Debug, PartialEq)]
pub enum SourceEvent {
    /// The next command, or what was typed instead of one.
    Command(Result<Command, CommandError>),
    /// A line that is no command: an empty one, or one of the script's own.
    Nothing,
    /// There will be no more commands.
    End,
    /// There will be no more commands, since the script failed.
    Failed(ScriptFailure),
}

/// How a script failed.
#[derive(Debug, PartialEq)]
pub struct ScriptFailure {
    /// What to show.
    pub event: ClientEvent,
    /// The exit status.
    pub status: Status,
}

/// The input cannot be read any further.
fn unreadable(kind: std::io::ErrorKind) -> ScriptFailure {
    let message = format!("The input could not be read: {kind}.");
    ScriptFailure {
        event: ClientEvent::Error { code: Problem::Unreadable, message, definite: true },
        status: Status::Environment,
    }
}

/// The input of a client.
pub struct CommandSource {
    lines: Lines,
    script: Script,
    on_eof: OnEof,
    end: InputEnd,
}

/// How far the end of the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InputEnd {
    NotYet,
    /// The last line was read.
    Read,
    /// To be told then, or never.
    At(Option<Instant>),
    Told,
}

impl CommandSource {
    /// The input in these lines; `typed` where they mean what they mean at a terminal.
    #[must_use]
    pub fn new(lines: Lines, typed: bool, options: &ClientOptions) -> Self {
        let how = Options { typed, pipeline: options.pipeline, fail_fast: options.fail_fast };
        Self { lines, script: Script::new(options.name.as_str(), how), on_eof: options.on_eof, end: InputEnd::NotYet }
    }

    /// What is next, if anything is there already.
    pub fn next(&mut self, now: Now) -> Option<SourceEvent> {
        self.script.timeout(now.mono);
        if let Some(output) = self.script.poll() {
            return self.put_out(output, now);
        }
        match self.end {
            InputEnd::NotYet if self.script.wants_line() => {
                let line = self.lines.take()?;
                if let InputLine::Broken(kind) = line {
                    self.end = InputEnd::Told;
                    return Some(SourceEvent::Failed(unreadable(kind)));
                }
                self.line(&line, now);
                self.script.poll().map_or(Some(SourceEvent::Nothing), |output| self.put_out(output, now))
            }
            InputEnd::At(Some(at)) if at <= now.mono => {
                self.end = InputEnd::Told;
                Some(SourceEvent::End)
            }
            _ => None,
        }
    }

    fn line(&mut self, line: &InputLine, now: Now) {
        match line {
            InputLine::Whole(line) => self.script.line(now.mono, line),
            InputLine::Long { head, bytes } => self.script.long_line(too_long(head, *bytes)),
            InputLine::Broken(_) | InputLine::End => {
                self.end = InputEnd::Read;
                self.script.end_of_input(now.mono);
            }
        }
    }

    fn put_out(&mut self, output: ScriptOutput, now: Now) -> Option<SourceEvent> {
        match output {
            ScriptOutput::Command(command) => return Some(SourceEvent::Command(command)),
            ScriptOutput::Failed { event, status } => {
                self.end = InputEnd::Told;
                return Some(SourceEvent::Failed(ScriptFailure { event, status }));
            }
            ScriptOutput::Finished => {}
        }
        let at = match self.on_eof {
            // It ended before its input did.
            _ if self.end == InputEnd::NotYet => Some(now.mono),
            OnEof::Exit => Some(now.mono),
            OnEof::Stay => None,
            OnEof::Linger(time) => Some(now.mono + time),
        };
        self.end = InputEnd::At(at);
        Some(SourceEvent::Nothing)
    }

    /// Takes in what the client shows; all of it, in order.
    pub fn event(&mut self, now: Now, event: &Event) {
        self.script.event(now.mono, event);
    }

    /// The client has ended: what the script still waited for will never come.
    pub fn client_ended(&mut self) -> Option<ScriptFailure> {
        self.script.client_ended();
        while let Some(output) = self.script.poll() {
            if let ScriptOutput::Failed { event, status } = output {
                return Some(ScriptFailure { event, status });
            }
        }
        None
    }

    /// When to look again at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let end = if let InputEnd::At(at) = self.end { at } else { None };
        earliest(self.script.deadline(), end)
    }
}

/// The mistake in a line whose first bytes alone are over the limit of a text, with the true length of the text.
#[must_use]
pub fn too_long(head: &[u8], bytes: usize) -> CommandError {
    match parse(head) {
        Err(CommandError::BadText(BadText::TooLong(kept))) => {
            CommandError::BadText(BadText::TooLong(kept.saturating_add(bytes.saturating_sub(head.len()))))
        }
        Err(mistake) => mistake,
        // Only a text can be that long; a short command with many blanks behind it is none of ours.
        Ok(_) => CommandError::Invalid(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::input::read_line;
    use crate::proto::text::Text;

    fn read(line: &str) -> CommandError {
        match read_line(&mut line.as_bytes()) {
            Some(InputLine::Long { head, bytes }) => too_long(&head, bytes),
            other => panic!("not too long: {other:?}"),
        }
    }

    #[test]
    fn a_line_of_any_length_is_refused_with_the_length_of_its_text() {
        for length in [Text::MAX + 1_000, 3_000_000] {
            let expected = CommandError::BadText(BadText::TooLong(length));
            assert_eq!(read(&format!("send y {}", "a".repeat(length))), expected);
            assert_eq!(read(&format!("send_all {}\n", "a".repeat(length))), expected);
        }
        assert_eq!(read(&"a".repeat(3_000_000)), CommandError::Invalid(None));
        assert_eq!(read(&format!("exit{}", " ".repeat(3_000_000))), CommandError::Invalid(None));
    }

    #[test]
    fn a_long_line_of_wide_characters_is_still_text() {
        let length = 100_000 * "é".len();
        let expected = CommandError::BadText(BadText::TooLong(length));
        assert_eq!(read(&format!("send y {}", "é".repeat(100_000))), expected);
    }
}
