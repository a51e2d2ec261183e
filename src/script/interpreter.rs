//! The script of one client: decides when its next line is read, what is given to the client, and whether it failed.

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

/// How a script is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Options {
    /// Messages are sent without waiting for the outcome of the one before. Other commands wait for all of them.
    pub pipeline: bool,
    /// The first command that fails ends the script.
    pub fail_fast: bool,
}

/// What a script wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum ScriptOutput {
    /// Give this to the client. It is the next number, counted from 1.
    Command(Result<Command, CommandError>),
    /// The script has failed and wants no more lines: show the event, and leave with this status.
    Failed {
        /// An `error`: code `expected` for an expectation, `script` for a line that cannot be parsed.
        event: ClientEvent,
        /// [`Status::Expected`] where a `<` found nothing, [`Status::Failed`] where a `!<` matched,
        /// [`Status::Parse`] for a mistake.
        status: Status,
    },
    /// Nothing more will come from the script: the client may wait for its outcomes and leave.
    Finished,
}

/// A running script. Feed it lines while [`Script::wants_line`], every event of the client, and the time; drain
/// [`Script::poll`] after each.
#[derive(Debug)]
pub struct Script {
    options: Options,
    vars: Vars,
    log: Log,
    /// Events so far.
    seq: u64,
    /// Lines so far.
    lines: u64,
    /// Commands so far.
    given: u64,
    /// Commands without outcome, by number.
    outstanding: BTreeSet<u64>,
    pending: Pending,
    outputs: VecDeque<ScriptOutput>,
    input: ScriptInput,
}

/// What the next line waits for.
#[derive(Debug)]
enum Pending {
    Nothing,
    /// Every command has its outcome.
    Outcomes,
    /// The same, and then this command.
    Turn(Result<Command, CommandError>),
    /// An expectation is met, or its time is over.
    Expect {
        watch: ExpectCursor,
        until: Instant,
        limit: Duration,
        pattern: String,
    },
    Sleep(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ScriptInput {
    Open,
    /// `exit` was given: what follows it is not read.
    Left,
    Ended,
    /// The script has said its last word.
    Over,
}

impl Script {
    /// The most commands without outcome, where commands may overlap.
    pub const MAX_OUTSTANDING: usize = 1024;

    /// A script of the client with this name.
    #[must_use]
    pub fn new(me: &str, options: Options) -> Self {
        Self {
            options,
            vars: Vars::default(),
            log: Log::new(me),
            seq: 0,
            lines: 0,
            given: 0,
            outstanding: BTreeSet::new(),
            pending: Pending::Nothing,
            outputs: VecDeque::new(),
            input: ScriptInput::Open,
        }
    }

    /// Whether it can take a line now.
    #[must_use]
    pub fn wants_line(&self) -> bool {
        self.input == ScriptInput::Open
            && matches!(self.pending, Pending::Nothing)
            && self.outstanding.len() < Self::MAX_OUTSTANDING
    }

    /// Takes the next line, with or without its end. One that is not wanted is taken all the same, and what was
    /// waited for is forgotten.
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

    /// Takes a line that is longer than any line may be, with what is wrong with it.
    pub fn long_line(&mut self, mistake: CommandError) {
        if self.input == ScriptInput::Open {
            self.lines += 1;
            self.command(Err(mistake));
        }
    }

    /// Takes an event of the client; all of them, in order.
    pub fn event(&mut self, now: Instant, event: &Event) {
        self.timeout(now);
        self.seq += 1;
        if self.input == ScriptInput::Over {
            return;
        }
        self.log.event(now, self.seq, event);
        if let (Some(cmd), Body::Client(ClientEvent::Done { ok, .. })) = (event.cmd, &event.body) {
            self.outstanding.remove(&cmd);
            if !ok && self.options.fail_fast {
                return self.end(ScriptOutput::Finished);
            }
        }
        self.proceed();
    }

    /// No more lines will come.
    pub fn end_of_input(&mut self, now: Instant) {
        self.timeout(now);
        if matches!(self.input, ScriptInput::Open | ScriptInput::Left) {
            self.input = ScriptInput::Ended;
        }
        self.proceed();
    }

    /// Looks at the time: a limit may have passed.
    pub fn timeout(&mut self, now: Instant) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Expect { watch, limit, pattern, .. } if watch.how() != ExpectMode::Never => {
                self.not_found(&watch, limit, &pattern);
            }
            _ => self.proceed(),
        }
    }

    /// The client has ended: what is still expected will never come.
    pub fn client_ended(&mut self) {
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Expect { watch, limit, pattern, .. } if watch.how() != ExpectMode::Never => {
                self.not_found(&watch, limit, &pattern);
            }
            _ if self.input != ScriptInput::Over => self.end(ScriptOutput::Finished),
            _ => {}
        }
    }

    /// When [`Script::timeout`] is to be called, if nothing comes before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match &self.pending {
            Pending::Expect { until, .. } | Pending::Sleep(until) => Some(*until),
            Pending::Nothing | Pending::Outcomes | Pending::Turn(_) => None,
        }
    }

    /// The next thing to do; drain until `None`.
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
        let limit = expectation.limit.unwrap_or(expectation.how.default_limit());
        let watch = ExpectCursor::new(expectation.how, matcher);
        let pattern = expectation.pattern.to_string();
        self.pending = Pending::Expect { watch, until: now + limit, limit, pattern };
        self.proceed();
    }

    fn command(&mut self, command: Result<Command, CommandError>) {
        let sends = matches!(command, Ok(Command::Send(..) | Command::SendAll(_) | Command::SendGroup(_)));
        if self.options.pipeline && sends {
            self.give(command);
        } else {
            self.pending = Pending::Turn(command);
            self.proceed();
        }
    }

    fn give(&mut self, command: Result<Command, CommandError>) {
        self.given += 1;
        self.outstanding.insert(self.given);
        if command == Ok(Command::Exit) {
            self.input = ScriptInput::Left;
        }
        self.outputs.push_back(ScriptOutput::Command(command));
    }

    /// Goes on as far as it can without time or events.
    fn proceed(&mut self) {
        match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Outcomes if self.outstanding.is_empty() => {}
            Pending::Turn(command) if self.outstanding.is_empty() => {
                self.give(command);
                self.pending = Pending::Outcomes;
            }
            Pending::Expect { mut watch, until, limit, pattern } => match (watch.look(&mut self.log), watch.how()) {
                (None, _) => self.pending = Pending::Expect { watch, until, limit, pattern },
                (Some(found), ExpectMode::Never) => return self.forbidden(&found, limit, &pattern),
                (Some(found), _) => {
                    if let Err(bad) = self.vars.capture(&found.captures) {
                        return self.mistake(bad.to_string().trim_end_matches('.'));
                    }
                }
            },
            other => self.pending = other,
        }
        if self.input == ScriptInput::Ended && matches!(self.pending, Pending::Nothing) {
            self.end(ScriptOutput::Finished);
        }
    }

    fn not_found(&mut self, watch: &ExpectCursor, limit: Duration, pattern: &str) {
        let why = if self.log.taken(watch.matcher()).is_some() {
            "only what an earlier line had taken already".to_owned()
        } else if let Some(nearest) = self.log.nearest(watch.matcher()) {
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
        self.input = ScriptInput::Over;
        self.outputs.push_back(last);
    }
}
