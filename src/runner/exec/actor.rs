//! The state of an actor: its log, whether it runs, and the facts that its output reports.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::proto::client::{ATTEMPTS, LIMIT};
use crate::proto::event::client::ClientEventKind;
use crate::proto::event::reason::OfflineReason;
use crate::proto::event::sentences::SentenceKind;
use crate::proto::event::server::ServerEventKind;
use crate::proto::time::Instant;
use crate::runner::backend::{ActorExit, ActorOutput, LaunchSpec};
use crate::runner::profile::Translator;
use crate::script::log::{ExtendedAfterMatch, Log};
use crate::script::pattern::normalize::normal;

/// The silence after which the server takes a client offline: one limit without an acknowledgement, one without an
/// answer to a ping.
const UNRESPONSIVE_AFTER: Duration = LIMIT.saturating_mul(2);

/// The sentences that change the state of their actor.
const INFORMATIVE: [SentenceKind; 9] = [
    SentenceKind::Registered,
    SentenceKind::Offline,
    SentenceKind::TableUpdated,
    SentenceKind::Exiting,
    SentenceKind::ServerUnreachable,
    SentenceKind::ChannelUnreachable,
    SentenceKind::Listening,
    SentenceKind::NoAck,
    SentenceKind::PartialTables,
];

/// One actor of a case. A `restart` keeps its log and resets the rest.
#[derive(Debug)]
pub(crate) struct ActorState {
    pub(crate) launch: LaunchSpec,
    /// Its output, translated into the sentences of the contract.
    pub(crate) log: Log,
    pub(crate) run: ActorRun,
    translator: Translator,
    /// Its last lines as it printed them, keyed by their translations.
    originals: BTreeMap<String, String>,
}

/// One run of an actor, from a start to its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct ActorRun {
    /// The time of its start.
    pub(crate) began: Instant,
    /// The time and the kind of its end.
    pub(crate) end: Option<(Instant, ActorExit)>,
    /// Its end is expected: because of a directive, `exit`, the end of its input, or `[Exiting]`.
    pub(crate) end_expected: bool,
    /// A statement has already waited for its end.
    pub(crate) end_awaited: bool,
    /// It is stopped (SIGSTOP) and produces no output.
    pub(crate) paused: bool,
    /// It has reported its port.
    pub(crate) listening: bool,
    /// The backend has reported it as ready.
    pub(crate) ready: bool,
    /// Its last line without an end, normalized as for patterns.
    unfinished: Option<String>,
    /// It was registered at least once.
    pub(crate) registered: bool,
    /// It was registered and has not reported going offline since.
    pub(crate) online: bool,
    /// It has reported that the tables of clients are partial.
    pub(crate) has_partial_tables: bool,
    /// The clients in its table: the time of the last update of each, and whether it is online.
    known: BTreeMap<String, (Instant, bool)>,
    /// The time of the last change of its table.
    pub(crate) updated: Option<Instant>,
    /// The time of its last output.
    pub(crate) last_output: Option<Instant>,
    /// The time at which a line was last typed to it.
    pub(crate) typed: Option<Instant>,
}

/// The consequences of one output for the executor.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct OutputEffect {
    /// The time that the actor spent waiting for a peer that does not respond.
    pub(crate) waited: Option<Duration>,
    /// A line was extended after a pattern had taken it.
    pub(crate) extended: Option<ExtendedAfterMatch>,
}

impl ActorState {
    /// The most lines that are kept as printed. Reports show the translation of any further line.
    const MAX_ORIGINALS: usize = 4096;

    pub(crate) fn new(launch: LaunchSpec, began: Instant, translator: Translator) -> Self {
        let log = Log::new(&launch.name);
        Self { launch, log, run: ActorRun { began, ..ActorRun::default() }, translator, originals: BTreeMap::new() }
    }

    /// A line of the log as the actor printed it.
    pub(crate) fn original<'a>(&'a self, line: &'a str) -> &'a str {
        self.originals.get(line).map_or(line, String::as_str)
    }

    /// A sentence of the contract in the actor's wording, if that differs.
    pub(crate) fn translate_back(&self, sentence: &str) -> Option<String> {
        self.translator.translate_back(sentence)
    }

    /// Translates a line into a sentence of the contract and keeps the original for reports.
    fn translate(&mut self, raw: &str) -> String {
        let translated = self.translator.understand(raw).into_owned();
        if let (Some(line), Some(shown)) = (normal(&translated), normal(&self.translator.unprompted(raw)))
            && (self.originals.len() < Self::MAX_ORIGINALS || self.originals.contains_key(&line))
        {
            if line == shown {
                self.originals.remove(&line);
            } else {
                self.originals.insert(line, shown);
            }
        }
        translated
    }

    /// Begins a new run.
    pub(crate) fn begin(&mut self, began: Instant) {
        self.run = ActorRun { began, ..ActorRun::default() };
    }

    /// Whether table updates reach it: it runs, is not stopped and reports itself online.
    pub(crate) fn is_reachable(&self) -> bool {
        self.run.end.is_none() && self.run.online && !self.run.paused
    }

    /// Whether it has ended unexpectedly.
    pub(crate) fn has_vanished(&self) -> bool {
        self.run.end.is_some() && !self.run.end_expected
    }

    /// Whether its table has listed a client as online since a time. Text output shows only that the table changed, so
    /// for a text actor any update counts.
    pub(crate) fn lists_online(&self, name: &str, since: Instant) -> bool {
        if self.launch.text {
            return self.run.updated.is_some_and(|at| at >= since);
        }
        self.run.known.get(name).is_some_and(|(at, online)| *online && *at >= since)
    }

    /// Whether its table lists a client as offline.
    pub(crate) fn lists_offline(&self, name: &str) -> bool {
        self.run.known.get(name).is_some_and(|(_, online)| !online)
    }

    /// Whether this line was already shown, without its end.
    pub(crate) fn has_shown(&self, line: &str) -> bool {
        self.run.unfinished.as_deref() == Some(line)
    }

    /// Adds output to the log and updates the state.
    pub(crate) fn observe(&mut self, at: Instant, output: ActorOutput) -> OutputEffect {
        self.run.last_output = Some(at);
        match output {
            ActorOutput::Stderr(_) => OutputEffect::default(),
            ActorOutput::Ready => {
                (self.run.ready, self.run.listening) = (true, true);
                OutputEffect::default()
            }
            ActorOutput::Partial(raw) => {
                self.run.unfinished = normal(&raw);
                let raw = self.translate(&raw);
                let extended = self.log.partial(at, &raw);
                let waited = normal(&raw).and_then(|line| self.run.learn_from_line(at, &line));
                OutputEffect { waited, extended }
            }
            ActorOutput::Line(raw) => {
                self.run.unfinished = None;
                let raw = self.translate(&raw);
                let extended = self.log.line(at, &raw);
                let waited = normal(&raw).and_then(|line| self.run.learn_from_line(at, &line));
                OutputEffect { waited, extended }
            }
            ActorOutput::Event(event) => {
                let waited = self.run.learn_from_event(at, &event);
                self.log.json(at, event);
                OutputEffect { waited, extended: None }
            }
        }
    }
}

impl ActorRun {
    fn learn_from_line(&mut self, at: Instant, line: &str) -> Option<Duration> {
        match INFORMATIVE.into_iter().find(|sentence| sentence.is_begun_by(line))? {
            SentenceKind::Registered => (self.registered, self.online) = (true, true),
            SentenceKind::Offline => self.online = false,
            SentenceKind::TableUpdated => self.updated = Some(at),
            SentenceKind::Exiting => self.end_expected = true,
            SentenceKind::ServerUnreachable | SentenceKind::ChannelUnreachable => return Some(ATTEMPTS * LIMIT),
            SentenceKind::Listening => self.listening = true,
            SentenceKind::NoAck => return Some(LIMIT),
            SentenceKind::PartialTables => self.has_partial_tables = true,
            _ => {}
        }
        None
    }

    fn learn_from_event(&mut self, at: Instant, event: &Value) -> Option<Duration> {
        let text = |key: &str| event.get(key).and_then(Value::as_str);
        // An event kind of both roles has the same meaning in both.
        let kind = text("event")?;
        match kind.parse() {
            Ok(ClientEventKind::Registered) => (self.registered, self.online) = (true, true),
            Ok(ClientEventKind::Offline) => self.online = false,
            Ok(ClientEventKind::Table) => {
                self.updated = Some(at);
                self.learn_rows(at, event.get("changed"));
            }
            Ok(ClientEventKind::Clients) => self.learn_rows(at, event.get("clients")),
            Ok(ClientEventKind::Exit) if text("line").is_some() => self.end_expected = true,
            Ok(ClientEventKind::NoAck | ClientEventKind::Retry) => return Some(LIMIT),
            Ok(ClientEventKind::Removed) => return Some(UNRESPONSIVE_AFTER),
            Ok(ClientEventKind::ServerUnreachable) => {
                let attempts = event.get("attempts").and_then(Value::as_u64).unwrap_or(1).clamp(1, 100);
                return Some(LIMIT * u32::try_from(attempts).unwrap_or(1));
            }
            _ => {}
        }
        match kind.parse() {
            Ok(ServerEventKind::Listening) => self.listening = true,
            Ok(ServerEventKind::Warning) => {
                self.has_partial_tables |=
                    text("line").is_some_and(|line| SentenceKind::PartialTables.is_begun_by(line));
            }
            Ok(ServerEventKind::ClientOffline) => {
                let reason = text("reason")?.parse();
                return (reason == Ok(OfflineReason::Silent)).then_some(UNRESPONSIVE_AFTER);
            }
            _ => {}
        }
        None
    }

    fn learn_rows(&mut self, at: Instant, rows: Option<&Value>) {
        for row in rows.and_then(Value::as_array).into_iter().flatten() {
            if let (Some(name), Some(online)) = (row["name"].as_str(), row["online"].as_bool()) {
                self.known.insert(name.to_owned(), (at, online));
            }
        }
    }
}
