//! What the player knows of an actor: its output, whether it runs, and what it has said of itself and of others.

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

/// How long a client is silent before the server takes it for gone: no acknowledgement came, and then no answer to a
/// ping.
const UNRESPONSIVE_AFTER: Duration = LIMIT.saturating_mul(2);

/// The sentences that tell something of their actor.
const INFORMATIVE: [SentenceKind; 8] = [
    SentenceKind::Registered,
    SentenceKind::Offline,
    SentenceKind::TableUpdated,
    SentenceKind::Exiting,
    SentenceKind::ServerUnreachable,
    SentenceKind::ChannelUnreachable,
    SentenceKind::Listening,
    SentenceKind::NoAck,
];

/// One actor of a case. Its log goes on over `restart`, the rest begins anew.
#[derive(Debug)]
pub(crate) struct ActorState {
    pub(crate) launch: LaunchSpec,
    /// Of what it said in the words of the contract.
    pub(crate) log: Log,
    pub(crate) life: ActorRun,
    speech: Translator,
    /// Its own words for what it said last, by those of the contract.
    originals: BTreeMap<String, String>,
}

/// One life of an actor.
#[derive(Clone, Debug, Default)]
pub(crate) struct ActorRun {
    /// When it was started.
    pub(crate) began: Instant,
    /// When and how it ended.
    pub(crate) end: Option<(Instant, ActorExit)>,
    /// Its ending is no surprise: a directive, `exit`, the end of its input or `[Exiting]` said so.
    pub(crate) asked: bool,
    /// A line has made sure that it has ended.
    pub(crate) buried: bool,
    /// It can neither show nor answer anything for now.
    pub(crate) paused: bool,
    /// It has said where it listens.
    pub(crate) listening: bool,
    /// The stage has said that it is ready.
    pub(crate) ready: bool,
    /// A line without its end that it showed last, as patterns see it.
    unfinished: Option<String>,
    /// It was registered at least once.
    pub(crate) registered: bool,
    /// It was registered, and has not said since that it is offline.
    pub(crate) online: bool,
    /// When its table last named somebody, and whether as online.
    known: BTreeMap<String, (Instant, bool)>,
    /// When its table last changed.
    pub(crate) updated: Option<Instant>,
    /// When it last showed anything.
    pub(crate) heard: Option<Instant>,
    /// When it was last given a line to type.
    pub(crate) typed: Option<Instant>,
}

/// What a piece of output tells the player beyond its text.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct OutputEffect {
    /// So long it had waited for somebody's silence to become certain.
    pub(crate) waited: Option<Duration>,
    /// A line that was taken already went on.
    pub(crate) overtaken: Option<ExtendedAfterMatch>,
}

impl ActorState {
    /// Reports tell so many different lines in the actor's own words; others in those of the contract.
    const MAX_ORIGINALS: usize = 4096;

    pub(crate) fn new(launch: LaunchSpec, began: Instant, speech: Translator) -> Self {
        let log = Log::new(&launch.name);
        Self { launch, log, life: ActorRun { began, ..ActorRun::default() }, speech, originals: BTreeMap::new() }
    }

    /// A line of the log as the actor showed it.
    pub(crate) fn original<'a>(&'a self, line: &'a str) -> &'a str {
        self.originals.get(line).map_or(line, String::as_str)
    }

    /// A sentence of the contract in the actor's own words, if it has other ones.
    pub(crate) fn say(&self, sentence: &str) -> Option<String> {
        self.speech.say(sentence)
    }

    /// A line in the words of the contract.
    fn understand(&mut self, raw: &str) -> String {
        let understood = self.speech.understand(raw).into_owned();
        if let (Some(line), Some(shown)) = (normal(&understood), normal(&self.speech.unprompted(raw)))
            && (self.originals.len() < Self::MAX_ORIGINALS || self.originals.contains_key(&line))
        {
            if line == shown {
                self.originals.remove(&line);
            } else {
                self.originals.insert(line, shown);
            }
        }
        understood
    }

    /// Begins a new life.
    pub(crate) fn begin(&mut self, began: Instant) {
        self.life = ActorRun { began, ..ActorRun::default() };
    }

    /// It runs, is not stopped and believes to be online: changes of the table reach it.
    pub(crate) fn is_reachable(&self) -> bool {
        self.life.end.is_none() && self.life.online && !self.life.paused
    }

    /// It has ended although nothing asked it to.
    pub(crate) fn has_vanished(&self) -> bool {
        self.life.end.is_some() && !self.life.asked
    }

    /// Whether its table has named somebody as online since then. People see only that the table has changed.
    pub(crate) fn names(&self, name: &str, since: Instant) -> bool {
        if self.launch.text {
            return self.life.updated.is_some_and(|at| at >= since);
        }
        self.life.known.get(name).is_some_and(|(at, online)| *online && *at >= since)
    }

    /// Whether its table says that somebody is offline.
    pub(crate) fn believes_offline(&self, name: &str) -> bool {
        self.life.known.get(name).is_some_and(|(_, online)| !online)
    }

    /// Whether this was shown already, as a line without its end.
    pub(crate) fn has_shown(&self, line: &str) -> bool {
        self.life.unfinished.as_deref() == Some(line)
    }

    /// Puts output into the log and learns from it.
    pub(crate) fn hear(&mut self, at: Instant, output: ActorOutput) -> OutputEffect {
        self.life.heard = Some(at);
        match output {
            ActorOutput::Stderr(_) => OutputEffect::default(),
            ActorOutput::Ready => {
                (self.life.ready, self.life.listening) = (true, true);
                OutputEffect::default()
            }
            ActorOutput::Partial(raw) => {
                self.life.unfinished = normal(&raw);
                let raw = self.understand(&raw);
                let overtaken = self.log.partial(at, &raw);
                let waited = normal(&raw).and_then(|line| self.life.learn_from_line(at, &line));
                OutputEffect { waited, overtaken }
            }
            ActorOutput::Line(raw) => {
                self.life.unfinished = None;
                let raw = self.understand(&raw);
                let overtaken = self.log.line(at, &raw);
                let waited = normal(&raw).and_then(|line| self.life.learn_from_line(at, &line));
                OutputEffect { waited, overtaken }
            }
            ActorOutput::Event(event) => {
                let waited = self.life.learn_from_event(at, &event);
                self.log.json(at, event);
                OutputEffect { waited, overtaken: None }
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
            SentenceKind::Exiting => self.asked = true,
            SentenceKind::ServerUnreachable | SentenceKind::ChannelUnreachable => return Some(ATTEMPTS * LIMIT),
            SentenceKind::Listening => self.listening = true,
            SentenceKind::NoAck => return Some(LIMIT),
            _ => {}
        }
        None
    }

    fn learn_from_event(&mut self, at: Instant, event: &Value) -> Option<Duration> {
        let text = |key: &str| event.get(key).and_then(Value::as_str);
        // A kind that both roles have means the same in both.
        let kind = text("event")?;
        match kind.parse() {
            Ok(ClientEventKind::Registered) => (self.registered, self.online) = (true, true),
            Ok(ClientEventKind::Offline) => self.online = false,
            Ok(ClientEventKind::Table) => {
                self.updated = Some(at);
                self.learn_rows(at, event.get("changed"));
            }
            Ok(ClientEventKind::Clients) => self.learn_rows(at, event.get("clients")),
            Ok(ClientEventKind::Exit) if text("line").is_some() => self.asked = true,
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
