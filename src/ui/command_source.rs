//! Turns the input lines of a client into commands. A line from a keyboard becomes a command at once; a line of a
//! script waits until the interpreter asks for it.

use crate::cli::{ClientOptions, OnEof};
use crate::io::input::{InputLine, Lines};
use crate::proto::command::{Command, CommandError, parse};
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::Problem;
use crate::proto::event::sentences::Sentence;
use crate::proto::event::{Body, Event};
use crate::proto::status::Status;
use crate::proto::text::BadText;
use crate::proto::time::{Instant, Now, earliest};
use crate::script::interpreter::{Options, Script, ScriptOutput};

/// The commands of a client.
pub enum CommandSource {
    /// A person types them.
    Keyboard(Keyboard),
    /// A script gives them.
    Script(Box<ScriptReader>),
}

/// Output of a [`CommandSource`].
#[derive(Debug, PartialEq)]
pub enum SourceEvent {
    /// The next command, or the mistake in its line.
    Command(Result<Command, CommandError>),
    /// A line without a command: an empty one, or a directive of the script.
    Nothing,
    /// No more commands will come.
    End,
    /// No more commands will come, because the input failed.
    Failed(ScriptFailure),
}

/// A failed script, or an input that cannot be read.
#[derive(Debug, PartialEq)]
pub struct ScriptFailure {
    /// The event to display.
    pub event: ClientEvent,
    /// The exit status.
    pub status: Status,
}

impl CommandSource {
    /// Reads commands from `lines`. `is_typed` is true if a person types them.
    #[must_use]
    pub fn new(lines: Lines, is_typed: bool, options: &ClientOptions) -> Self {
        let input = CommandInput { lines, on_eof: options.on_eof, end: InputEnd::Open };
        if is_typed {
            return Self::Keyboard(Keyboard { input, fail_fast: options.fail_fast, outstanding: 0, has_exited: false });
        }
        let script_options = Options { pipeline: options.pipeline, fail_fast: options.fail_fast };
        let script = Script::new(options.name.as_str(), script_options);
        Self::Script(Box::new(ScriptReader { input, script }))
    }

    /// The next event, if there is one. Never blocks.
    pub fn next(&mut self, now: Now) -> Option<SourceEvent> {
        match self {
            Self::Keyboard(keyboard) => keyboard.next(now),
            Self::Script(reader) => reader.next(now),
        }
    }

    /// Handles an event that the client displays. The caller passes every event, in order.
    pub fn event(&mut self, now: Now, event: &Event) {
        match self {
            Self::Keyboard(keyboard) => keyboard.event(now, event),
            Self::Script(reader) => reader.script.event(now.mono, event),
        }
    }

    /// Handles the end of the client. A script that still expects output fails.
    pub fn client_ended(&mut self) -> Option<ScriptFailure> {
        match self {
            Self::Keyboard(_) => None,
            Self::Script(reader) => reader.client_ended(),
        }
    }

    /// When to call [`CommandSource::next`] at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Keyboard(keyboard) => keyboard.input.deadline(),
            Self::Script(reader) => earliest(reader.script.deadline(), reader.input.deadline()),
        }
    }
}

/// Commands that a person types. No command waits for the outcome of an earlier one, and variables are not replaced.
pub struct Keyboard {
    input: CommandInput,
    /// The first failed command ends the input.
    fail_fast: bool,
    /// Commands without outcome.
    outstanding: usize,
    /// `exit` was typed. Lines after it are not read.
    has_exited: bool,
}

impl Keyboard {
    /// The most commands without outcome.
    const MAX_OUTSTANDING: usize = Script::MAX_OUTSTANDING;

    fn next(&mut self, now: Now) -> Option<SourceEvent> {
        if self.input.end != InputEnd::Open {
            return self.input.poll_end(now);
        }
        if self.has_exited || self.outstanding >= Self::MAX_OUTSTANDING {
            return None;
        }
        let parsed = match self.input.lines.take()? {
            InputLine::Whole(line) => parse(&line).transpose(),
            InputLine::Long { head, bytes } => Some(Err(too_long(&head, bytes))),
            InputLine::Broken(kind) => return Some(self.input.fail(unreadable(kind))),
            InputLine::End => {
                self.input.schedule_end(now);
                None
            }
        };
        let Some(command) = parsed else { return Some(SourceEvent::Nothing) };
        self.outstanding += 1;
        self.has_exited = command == Ok(Command::Exit);
        Some(SourceEvent::Command(command))
    }

    fn event(&mut self, now: Now, event: &Event) {
        if let (Some(_), Body::Client(ClientEvent::Done { ok, .. })) = (event.cmd, &event.body) {
            self.outstanding = self.outstanding.saturating_sub(1);
            if !ok && self.fail_fast && self.input.end == InputEnd::Open {
                self.input.end = InputEnd::At(Some(now.mono));
            }
        }
    }
}

/// Lines of a script. A line is read when the interpreter asks for it.
pub struct ScriptReader {
    input: CommandInput,
    script: Script,
}

impl ScriptReader {
    fn next(&mut self, now: Now) -> Option<SourceEvent> {
        self.script.timeout(now.mono);
        if let Some(output) = self.script.poll() {
            return Some(self.source_event(output, now));
        }
        if self.input.end != InputEnd::Open {
            return self.input.poll_end(now);
        }
        if !self.script.wants_line() {
            return None;
        }
        match self.input.lines.take()? {
            InputLine::Whole(line) => self.script.line(now.mono, &line),
            InputLine::Long { head, bytes } => self.script.long_line(too_long(&head, bytes)),
            InputLine::Broken(kind) => return Some(self.input.fail(unreadable(kind))),
            InputLine::End => {
                self.input.end = InputEnd::Read;
                self.script.end_of_input(now.mono);
            }
        }
        Some(self.script.poll().map_or(SourceEvent::Nothing, |output| self.source_event(output, now)))
    }

    fn source_event(&mut self, output: ScriptOutput, now: Now) -> SourceEvent {
        match output {
            ScriptOutput::Command(command) => SourceEvent::Command(command),
            ScriptOutput::Failed { event, status } => self.input.fail(ScriptFailure { event, status }),
            // The script ended before its input.
            ScriptOutput::Finished if self.input.end == InputEnd::Open => {
                self.input.end = InputEnd::At(Some(now.mono));
                SourceEvent::Nothing
            }
            ScriptOutput::Finished => {
                self.input.schedule_end(now);
                SourceEvent::Nothing
            }
        }
    }

    fn client_ended(&mut self) -> Option<ScriptFailure> {
        self.script.client_ended();
        while let Some(output) = self.script.poll() {
            if let ScriptOutput::Failed { event, status } = output {
                return Some(ScriptFailure { event, status });
            }
        }
        None
    }
}

/// The lines of a client, and the time at which it leaves after the last one.
struct CommandInput {
    lines: Lines,
    on_eof: OnEof,
    end: InputEnd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InputEnd {
    Open,
    /// The last line was read.
    Read,
    /// [`SourceEvent::End`] is due at this time, or never.
    At(Option<Instant>),
    Reported,
}

impl CommandInput {
    fn schedule_end(&mut self, now: Now) {
        self.end = InputEnd::At(match self.on_eof {
            OnEof::Exit => Some(now.mono),
            OnEof::Stay => None,
            OnEof::Linger(time) => Some(now.mono + time),
        });
    }

    fn poll_end(&mut self, now: Now) -> Option<SourceEvent> {
        self.deadline().filter(|at| *at <= now.mono)?;
        self.end = InputEnd::Reported;
        Some(SourceEvent::End)
    }

    fn fail(&mut self, failure: ScriptFailure) -> SourceEvent {
        self.end = InputEnd::Reported;
        SourceEvent::Failed(failure)
    }

    fn deadline(&self) -> Option<Instant> {
        if let InputEnd::At(at) = self.end { at } else { None }
    }
}

fn unreadable(kind: std::io::ErrorKind) -> ScriptFailure {
    let message = Sentence::InputUnreadable { reason: &kind }.to_string();
    ScriptFailure {
        event: ClientEvent::Error { code: Problem::Unreadable, message, definite: true },
        status: Status::Environment,
    }
}

/// The error for a line of `bytes` bytes when only `head` was kept. The error reports the full length of a text.
fn too_long(head: &[u8], bytes: usize) -> CommandError {
    match parse(head) {
        Err(CommandError::BadText(BadText::TooLong(kept))) => {
            CommandError::BadText(BadText::TooLong(kept.saturating_add(bytes.saturating_sub(head.len()))))
        }
        Err(mistake) => mistake,
        // A short command with many trailing blanks is no command either.
        Ok(_) => CommandError::Invalid(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::NetworkFaults;
    use crate::io::input::{LineSender, read_line};
    use crate::proto::text::Text;
    use crate::proto::time::Timestamp;
    use std::sync::Arc;
    use std::time::Duration;

    fn keyboard(fail_fast: bool, on_eof: OnEof) -> (LineSender, CommandSource) {
        let options = ClientOptions {
            name: "x".parse().unwrap(),
            host: "127.0.0.1".to_owned(),
            server_port: 8888,
            port: 0,
            identity: None,
            json: false,
            typed: true,
            script: None,
            pipeline: false,
            fail_fast,
            on_eof,
            silent_leave: false,
            trace: false,
            faults: NetworkFaults::default(),
        };
        let (sender, lines) = Lines::queue(Arc::new(|| ()));
        (sender, CommandSource::new(lines, true, &options))
    }

    fn at(millis: u64) -> Now {
        Now { mono: Instant::ZERO + Duration::from_millis(millis), unix: Timestamp::default() }
    }

    fn type_line(sender: &LineSender, line: &str) {
        assert!(sender.send(InputLine::Whole(line.as_bytes().to_vec())));
    }

    fn done(cmd: u64, ok: bool) -> Event {
        let body = Body::Client(ClientEvent::Done { ok, reason: None });
        Event { at: Timestamp::default(), cmd: Some(cmd), group: None, body }
    }

    #[test]
    fn a_keyboard_accepts_only_chat_commands() {
        let (sender, mut source) = keyboard(false, OnEof::Linger(Duration::from_millis(20)));
        for line in ["wait", "# hi", "send y ${a}$${a}", ""] {
            type_line(&sender, line);
        }
        assert!(sender.send(InputLine::End));
        let invalid = || Some(SourceEvent::Command(Err(CommandError::Invalid(None))));
        assert_eq!((source.next(at(0)), source.next(at(0))), (invalid(), invalid()));
        let sent = Command::Send("y".parse().unwrap(), Text::new("${a}$${a}").unwrap());
        assert_eq!(source.next(at(0)), Some(SourceEvent::Command(Ok(sent))));
        assert_eq!(source.next(at(0)), Some(SourceEvent::Nothing), "an empty line");
        assert_eq!(source.next(at(0)), Some(SourceEvent::Nothing), "the end of the input");
        assert_eq!((source.next(at(19)), source.deadline()), (None, Some(at(20).mono)));
        assert_eq!((source.next(at(20)), source.next(at(20))), (Some(SourceEvent::End), None));
        assert_eq!(source.client_ended(), None);
    }

    #[test]
    fn a_keyboard_limits_commands_without_outcome() {
        let (sender, mut source) = keyboard(false, OnEof::Exit);
        for _ in 0..Keyboard::MAX_OUTSTANDING {
            type_line(&sender, "table");
            assert_eq!(source.next(at(0)), Some(SourceEvent::Command(Ok(Command::Table))));
        }
        type_line(&sender, "table");
        assert_eq!(source.next(at(0)), None);
        source.event(at(0), &done(7, true));
        assert_eq!(source.next(at(0)), Some(SourceEvent::Command(Ok(Command::Table))));
    }

    #[test]
    fn a_keyboard_is_not_read_after_exit_or_with_fail_fast_after_a_failure() {
        let (sender, mut source) = keyboard(true, OnEof::Stay);
        type_line(&sender, "exit");
        type_line(&sender, "table");
        assert_eq!(source.next(at(0)), Some(SourceEvent::Command(Ok(Command::Exit))));
        assert_eq!((source.next(at(0)), source.deadline()), (None, None));
        source.event(at(1), &done(1, false));
        assert_eq!((source.next(at(1)), source.next(at(1))), (Some(SourceEvent::End), None));
    }

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
