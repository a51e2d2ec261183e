//! Interprets the script of one client: decides when its next line is read, which commands the client gets, and whether
//! the script has failed.
//!
//! It performs no I/O. After every call, drain [`Script::poll`].

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::proto::command::{self, Command, CommandError};
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::Problem;
use crate::proto::event::sentences::Sentence;
use crate::proto::event::{Body, Event};
use crate::proto::status::Status;
use crate::proto::time::Instant;
use crate::script::directive::{ExpectMode, Expectation, ScriptLine, spell};
use crate::script::expect::ExpectCursor;
use crate::script::log::{Log, LogMatch};
use crate::script::pattern::MatchMode;
use crate::script::vars::Vars;

/// Options of a script run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Options {
    /// A message does not wait for the outcomes of earlier messages. Other commands wait for all outcomes.
    pub pipeline: bool,
    /// The first command that fails ends the script.
    pub fail_fast: bool,
}

/// An action that the caller performs for the script.
#[derive(Clone, Debug, PartialEq)]
pub enum ScriptOutput {
    /// Pass this command, or its mistake, to the client. Commands are numbered from 1 in this order.
    Command(Result<Command, CommandError>),
    /// The script has failed and reads no more lines. Show the event and exit with this status.
    Failed {
        /// An `error` with the code `expected` for an expectation, or `script` for a line that cannot be run.
        event: ClientEvent,
        /// [`Status::Expected`] when `<` or `<~` found nothing, [`Status::Failed`] when `!<` matched,
        /// [`Status::Parse`] for a mistake.
        status: Status,
    },
    /// The script is over. The client may wait for outcomes and exit.
    Finished,
}

/// A running script. Pass it lines while [`Script::wants_line`], every event of the client, and the time. Drain
/// [`Script::poll`] after each call.
#[derive(Debug)]
pub struct Script {
    options: Options,
    vars: Vars,
    log: Log,
    /// The number of events so far.
    seq: u64,
    /// The number of lines so far.
    lines: u64,
    /// The number of commands so far.
    commands: u64,
    /// The numbers of the commands without an outcome.
    outstanding: BTreeSet<u64>,
    pending: Pending,
    outputs: VecDeque<ScriptOutput>,
    input: ScriptInput,
}

/// The condition for which the next line waits.
#[derive(Debug)]
enum Pending {
    Nothing,
    /// Every command has an outcome.
    Outcomes,
    /// Every command has an outcome. Then this one is passed to the client.
    Command(Result<Command, CommandError>),
    /// The expectation is met, or its limit passes.
    Expect {
        cursor: ExpectCursor,
        until: Instant,
        limit: Duration,
        pattern: String,
    },
    Sleep(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ScriptInput {
    Open,
    /// `exit` was passed to the client. Further lines are not read.
    AfterExit,
    Ended,
    /// The last output was produced.
    Finished,
}

impl Script {
    /// The most commands without an outcome in a pipeline.
    pub const MAX_OUTSTANDING: usize = 1024;

    /// A script for the client with this name.
    #[must_use]
    pub fn new(me: &str, options: Options) -> Self {
        Self {
            options,
            vars: Vars::default(),
            log: Log::new(me),
            seq: 0,
            lines: 0,
            commands: 0,
            outstanding: BTreeSet::new(),
            pending: Pending::Nothing,
            outputs: VecDeque::new(),
            input: ScriptInput::Open,
        }
    }

    /// Whether it can take the next line now.
    #[must_use]
    pub fn wants_line(&self) -> bool {
        self.input == ScriptInput::Open
            && matches!(self.pending, Pending::Nothing)
            && self.outstanding.len() < Self::MAX_OUTSTANDING
    }

    /// Takes the next line, with or without its end. Call it only while [`Script::wants_line`]: an early line replaces
    /// the condition that the script waits for.
    pub fn line(&mut self, now: Instant, bytes: &[u8]) {
        if self.input != ScriptInput::Open {
            return;
        }
        self.lines += 1;
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        match std::str::from_utf8(bytes) {
            Ok(line) => self.script_line(now, line),
            Err(_) => self.command(Err(CommandError::NotUtf8)),
        }
    }

    /// Takes a line beyond the length limit, as its mistake.
    pub fn long_line(&mut self, mistake: CommandError) {
        if self.input == ScriptInput::Open {
            self.lines += 1;
            self.command(Err(mistake));
        }
    }

    /// Takes an event of the client. The caller passes all events, in order.
    pub fn event(&mut self, now: Instant, event: &Event) {
        self.timeout(now);
        self.seq += 1;
        if self.input == ScriptInput::Finished {
            return;
        }
        // A later line may expect this event. After the last line only a running expectation can.
        if self.input == ScriptInput::Open || matches!(self.pending, Pending::Expect { .. }) {
            self.log.event(now, self.seq, event);
        }
        if let (Some(cmd), Body::Client(ClientEvent::Done { ok, .. })) = (event.cmd, &event.body) {
            self.outstanding.remove(&cmd);
            if !ok && self.options.fail_fast {
                return self.end(ScriptOutput::Finished);
            }
        }
        self.proceed();
    }

    /// The input has ended: no more lines follow.
    pub fn end_of_input(&mut self, now: Instant) {
        self.timeout(now);
        if matches!(self.input, ScriptInput::Open | ScriptInput::AfterExit) {
            self.input = ScriptInput::Ended;
        }
        self.proceed();
    }

    /// Ends a limit, window or `sleep` whose deadline has passed.
    pub fn timeout(&mut self, now: Instant) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Expect { cursor, limit, pattern, .. } if cursor.mode() != ExpectMode::Never => {
                self.not_found(&cursor, limit, &pattern);
            }
            _ => self.proceed(),
        }
    }

    /// The client has ended. A running `<` or `<~` fails, because no more output follows.
    pub fn client_ended(&mut self) {
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Expect { cursor, limit, pattern, .. } if cursor.mode() != ExpectMode::Never => {
                self.not_found(&cursor, limit, &pattern);
            }
            _ if self.input != ScriptInput::Finished => self.end(ScriptOutput::Finished),
            _ => {}
        }
    }

    /// The time at which to call [`Script::timeout`], unless an event or a line arrives earlier.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.pending {
            Pending::Expect { until, .. } | Pending::Sleep(until) => Some(*until),
            Pending::Nothing | Pending::Outcomes | Pending::Command(_) => None,
        }
    }

    /// The next output. Drain until `None`.
    pub fn poll(&mut self) -> Option<ScriptOutput> {
        self.outputs.pop_front()
    }

    fn script_line(&mut self, now: Instant, line: &str) {
        let parsed = match ScriptLine::parse(line) {
            Ok(parsed) => parsed,
            Err(error) => {
                let help = error.help.map(|help| format!(": {help}")).unwrap_or_default();
                return self.mistake(&format!("{}{help}", error.message));
            }
        };
        match parsed {
            ScriptLine::Nothing => {}
            ScriptLine::Wait => self.pending = Pending::Outcomes,
            ScriptLine::Sleep(duration) => self.pending = Pending::Sleep(now + duration),
            ScriptLine::Set { name, value } => {
                let set = self.vars.replace(&value).and_then(|value| self.vars.set(&name, &value));
                if let Err(bad) = set {
                    return self.mistake(bad.to_string().trim_end_matches('.'));
                }
            }
            ScriptLine::Expect(expectation) => return self.expect(now, &expectation),
            ScriptLine::Command => match self.vars.replace(line) {
                Ok(line) => {
                    // A replacement may leave an empty line.
                    if let Some(command) = command::parse(line.as_bytes()).transpose() {
                        self.command(command);
                    }
                    return;
                }
                Err(bad) => return self.mistake(bad.to_string().trim_end_matches('.')),
            },
        }
        self.proceed();
    }

    fn expect(&mut self, now: Instant, expectation: &Expectation) {
        let matcher = match expectation.pattern.fill(&self.vars, MatchMode::Exact) {
            Ok(matcher) => matcher,
            Err(error) => return self.mistake(&error.message),
        };
        let limit = expectation.limit.unwrap_or(expectation.mode.default_limit());
        let cursor = ExpectCursor::new(expectation.mode, matcher);
        let pattern = expectation.pattern.to_string();
        self.pending = Pending::Expect { cursor, until: now + limit, limit, pattern };
        self.proceed();
    }

    fn command(&mut self, command: Result<Command, CommandError>) {
        let sends = matches!(command, Ok(Command::Send(..) | Command::SendAll(_) | Command::SendGroup(_)));
        if self.options.pipeline && sends {
            self.emit_command(command);
        } else {
            self.pending = Pending::Command(command);
            self.proceed();
        }
    }

    fn emit_command(&mut self, command: Result<Command, CommandError>) {
        self.commands += 1;
        self.outstanding.insert(self.commands);
        if command == Ok(Command::Exit) {
            self.input = ScriptInput::AfterExit;
        }
        self.outputs.push_back(ScriptOutput::Command(command));
    }

    /// Resolves the pending condition if it is met, and finishes the script after its last line.
    fn proceed(&mut self) {
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Outcomes if self.outstanding.is_empty() => {}
            Pending::Command(command) if self.outstanding.is_empty() => {
                self.emit_command(command);
                self.pending = Pending::Outcomes;
            }
            Pending::Expect { mut cursor, until, limit, pattern } => {
                match (cursor.look(&mut self.log), cursor.mode()) {
                    (None, _) => self.pending = Pending::Expect { cursor, until, limit, pattern },
                    (Some(found), ExpectMode::Never) => return self.forbidden(&found, limit, &pattern),
                    (Some(found), _) => {
                        if let Err(bad) = self.vars.capture(&found.captures) {
                            return self.mistake(bad.to_string().trim_end_matches('.'));
                        }
                    }
                }
            }
            other => self.pending = other,
        }
        if self.input == ScriptInput::Ended && matches!(self.pending, Pending::Nothing) {
            self.end(ScriptOutput::Finished);
        }
    }

    fn not_found(&mut self, cursor: &ExpectCursor, limit: Duration, pattern: &str) {
        let why = if self.log.taken(cursor.matcher()).is_some() {
            "only what an earlier line had taken already".to_owned()
        } else if let Some(nearest) = self.log.nearest(cursor.matcher()) {
            format!("the nearest was {:?}", nearest.text)
        } else {
            "nothing like it came".to_owned()
        };
        let (limit, pattern) = (spell(limit), format!("{pattern:?}"));
        let (line, limit, pattern, reason) = (&self.lines, &limit, &pattern, &why);
        let message = Sentence::ScriptExpected { line, limit, pattern, reason }.to_string();
        self.fail(Problem::Expected, message, false, Status::Expected);
    }

    fn forbidden(&mut self, found: &LogMatch, limit: Duration, pattern: &str) {
        let (limit, pattern, text) = (spell(limit), format!("{pattern:?}"), format!("{:?}", found.text));
        let (line, limit, pattern, text) = (&self.lines, &limit, &pattern, &text);
        let message = Sentence::ScriptForbidden { line, pattern, limit, text }.to_string();
        self.fail(Problem::Expected, message, true, Status::Failed);
    }

    fn mistake(&mut self, mistake: &str) {
        let message = Sentence::ScriptMistake { line: &self.lines, mistake: &mistake }.to_string();
        self.fail(Problem::Script, message, true, Status::Parse);
    }

    fn fail(&mut self, code: Problem, message: String, definite: bool, status: Status) {
        self.end(ScriptOutput::Failed { event: ClientEvent::Error { code, message, definite }, status });
    }

    fn end(&mut self, last: ScriptOutput) {
        self.pending = Pending::Nothing;
        self.input = ScriptInput::Finished;
        self.outputs.push_back(last);
    }
}
