//! Plays one case on a stage, line by line, and tells what came of it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::Value;

use crate::proto::status::Status;
use crate::proto::time::Instant;
use crate::runner::backend::{ActorExit, ActorOutput, Backend, BackendError, BackendEvent, NetworkChange};
use crate::runner::exec::actor::ActorState;
use crate::runner::exec::idle_time::IdleTime;
use crate::runner::exec::observer::Observer;
use crate::runner::lang::ast::{ActorId, Case, Need, Statement, Step, Who};
use crate::runner::report::outcome::{
    CaseFailure, CaseInfo, CaseResult, Cause, CheckResult, StepResult, TranscriptEntry, TranscriptKind, Verdict,
};
use crate::script::pattern::MatchMode;
use crate::script::pattern::normalize::normal;
use crate::script::vars::{BadVariable, Vars};

/// How cases are played.
#[derive(Clone, Debug)]
pub struct ExecSettings {
    /// How exactly text must match.
    pub style: MatchMode,
    /// Limits, windows and readiness are stretched by this; `sleep` is not.
    pub time_scale: f64,
    /// Every actor is played as people see it, without `--json`.
    pub text: bool,
    /// Actors that show events also show one for each of their datagrams (`--trace`).
    pub trace: bool,
    /// When the whole run must be over, in the time of the backend.
    pub deadline: Option<Instant>,
}

impl Default for ExecSettings {
    fn default() -> Self {
        Self { style: MatchMode::Exact, time_scale: 1.0, text: false, trace: false, deadline: None }
    }
}

/// The statuses of a program of ours that has a fault of its own: its last resort, and a panic.
pub(super) const FAULTS: [u8; 2] = [Status::Internal.code(), 101];

/// Why a case goes on no more.
pub(crate) type Abort = Box<CaseFailure>;

pub(crate) type Executed<T = ()> = Result<T, Abort>;

/// A case being played.
pub(crate) struct CaseExecutor<'a> {
    pub(super) stage: &'a mut dyn Backend,
    pub(super) observer: &'a mut dyn Observer,
    pub(super) settings: &'a ExecSettings,
    pub(super) cast: BTreeMap<ActorId, ActorState>,
    pub(super) vars: Vars,
    pub(super) transcript: VecDeque<TranscriptEntry>,
    pub(super) waits: IdleTime,
    pub(super) checks: Vec<CheckResult>,
    /// The first failure that ended a check and not the case.
    pub(super) failed: Option<Box<CaseFailure>>,
    /// When somebody last was started, typed or got a signal.
    pub(super) acted: Instant,
    /// The line being played.
    pub(super) now_playing: &'a Statement,
    /// The lines behind it.
    pub(super) coming: &'a [&'a Statement],
}

/// Plays a case.
pub fn play(
    info: CaseInfo,
    setup: &[Statement],
    case: &Case,
    stage: &mut dyn Backend,
    settings: &ExecSettings,
    observer: &mut dyn Observer,
) -> CaseResult {
    let began = stage.now();
    let mut result = CaseResult {
        case: info,
        verdict: Verdict::Passed,
        steps: Vec::new(),
        checks: Vec::new(),
        transcript: Vec::new(),
        began,
        took: Duration::ZERO,
        overhead: Duration::ZERO,
        replay: String::new(),
        plays: 1,
    };
    if let Some(reason) = lacking(setup, case, stage) {
        result.verdict = Verdict::Skipped(reason);
        return result;
    }
    let statements: Vec<&Statement> = setup.iter().chain(&case.statements).collect();
    let Some(first) = statements.first() else {
        return result;
    };
    let mut player = CaseExecutor {
        stage,
        observer,
        settings,
        cast: BTreeMap::new(),
        vars: Vars::default(),
        transcript: VecDeque::new(),
        waits: IdleTime::default(),
        checks: Vec::new(),
        failed: None,
        acted: began,
        now_playing: first,
        coming: &statements,
    };
    let stopped = player.play_all(&statements, &mut result.steps).err();
    let end = player.stage.now();
    match &stopped {
        None => player.pass_check(),
        Some(failure) => player.fail_check(failure),
    }
    player.announce_unreached();
    result.took = end.since(began);
    result.overhead = player.waits.overhead(began, end);
    result.transcript = player.transcript.into();
    result.checks = player.checks;
    // The first line that fails decides.
    if let Some(failure) = player.failed.or(stopped) {
        result.verdict = Verdict::Failed(failure);
    }
    result
}

/// Why a case cannot be played on this stage, found before anything is started.
pub(super) fn lacking(setup: &[Statement], case: &Case, stage: &dyn Backend) -> Option<String> {
    if let Some(reason) = case.needs.iter().find_map(|need| stage.lacks(*need)) {
        return Some(reason);
    }
    let mut steps = setup.iter().chain(&case.statements).map(|statement| &statement.step);
    let refused = steps.clone().find_map(|step| match step {
        Step::Server { args } | Step::Client { args, .. } => stage.refuses(args),
        _ => None,
    });
    if refused.is_some() {
        return refused;
    }
    steps.any(Step::disturbs).then(|| stage.lacks(Need::Faults)).flatten()
}

impl<'a> CaseExecutor<'a> {
    pub(super) fn play_all(&mut self, statements: &'a [&'a Statement], steps: &mut Vec<StepResult>) -> Executed {
        let mut rest = statements;
        while let [statement, coming @ ..] = rest {
            (self.now_playing, self.coming) = (statement, coming);
            let at = self.stage.now();
            let played = self.settle().and_then(|()| self.play_step(&statement.step));
            let took = self.stage.now().since(at);
            let step = StepResult { span: statement.span.clone(), at, took, ok: played.is_ok() };
            self.observer.step(&step);
            steps.push(step);
            let lost = played.map_or_else(|stop| self.outlive(stop, coming), |()| Ok(0))?;
            rest = coming.get(lost..).unwrap_or_default();
        }
        self.settle()?;
        let vanished = self.cast.iter().find(|(_, part)| part.has_vanished()).map(|(actor, _)| actor.clone());
        vanished.map_or(Ok(()), |actor| Err(self.vanished(&actor)))
    }

    pub(super) fn play_step(&mut self, step: &Step) -> Executed {
        match step {
            Step::Server { args } => self.start_server(args),
            Step::Client { clients, args } => clients.iter().try_for_each(|client| self.start_client(client, args)),
            Step::Signal { actor, signal } => self.signal(actor, *signal),
            Step::Restart(actor) => self.restart(actor),
            Step::Eof(actor) => {
                let part = self.named(actor)?;
                // A server goes on at the end of its input.
                part.life.asked |= *actor != ActorId::Server;
                self.stage.close_input(actor);
                self.note(actor, "its input is closed".to_owned());
                Ok(())
            }
            Step::Fault { way, fault } => self.disturb(&NetworkChange::Fault(way, *fault)),
            Step::Cut(a, b) => self.disturb(&NetworkChange::Cut(a, b)),
            Step::Heal => self.disturb(&NetworkChange::Heal),
            Step::Sleep(duration) => {
                let begin = self.stage.now();
                self.run_until(begin + *duration)?;
                self.waits.add(begin, begin + *duration);
                Ok(())
            }
            Step::Set { name, value } => {
                let value = self.replace(value)?;
                self.vars.set(name, &value).map_err(|why| self.mistaken(&why))
            }
            Step::Mark(actors) => self.mark(actors),
            Step::Check { title, points } => {
                self.begin_check(title, *points);
                Ok(())
            }
            Step::Type { who, line } => self.type_line(who, line),
            Step::Expect { who, how, limit, pattern } => self.expect(who, *how, *limit, pattern),
            Step::Exits { who, status } => self.exits(who, *status),
            Step::Alive(who) => {
                let actors = self.resolve(who)?;
                let ended = actors.iter().find_map(|actor| Some((actor, self.cast.get(actor)?.life.end?.1)));
                ended.map_or(Ok(()), |(actor, end)| Err(self.exited(actor, end)))
            }
        }
    }

    /// Everybody that is meant, or the failure that one of them has ended by itself. `*` leaves out those that ended
    /// because they were asked to.
    pub(super) fn resolve(&mut self, who: &Who) -> Executed<Vec<ActorId>> {
        let actors = self.meant(who, |part| part.life.end.is_none() || part.has_vanished())?;
        for actor in &actors {
            self.named(actor)?;
        }
        Ok(actors)
    }

    /// Everybody that is meant, `*` being every client of this kind.
    pub(super) fn meant(&self, who: &Who, kind: impl Fn(&ActorState) -> bool) -> Executed<Vec<ActorId>> {
        let actors: Vec<ActorId> = match who {
            Who::Each(actors) => actors.clone(),
            Who::EveryClient => {
                let clients = self.cast.iter().filter(|(actor, part)| **actor != ActorId::Server && kind(part));
                clients.map(|(actor, _)| actor.clone()).collect()
            }
        };
        if actors.is_empty() {
            let sentence = "no client is left that could be meant".to_owned();
            return Err(self.fail(None, Cause::Exited(None), Status::Failed, sentence));
        }
        Ok(actors)
    }

    /// The part of somebody that a line names: a failure when it has ended by itself.
    pub(super) fn named(&mut self, actor: &ActorId) -> Executed<&mut ActorState> {
        if self.cast.get(actor).is_some_and(ActorState::has_vanished) {
            return Err(self.vanished(actor));
        }
        let missing = self.fail(Some(actor), Cause::Mistake, Status::Parse, format!("{actor} was not started"));
        self.cast.get_mut(actor).ok_or(missing)
    }

    pub(super) fn has_ended(&self, actor: &ActorId) -> bool {
        self.cast.get(actor).is_none_or(|part| part.life.end.is_some())
    }

    /// Waits for an actor's end, and says whether it came.
    pub(super) fn ends_within(&mut self, actor: &ActorId, limit: Duration) -> Executed<bool> {
        let until = self.stage.now() + limit.mul_f64(self.settings.time_scale);
        while !self.has_ended(actor) {
            if !self.turn(until)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes in what has happened so far.
    pub(super) fn settle(&mut self) -> Executed {
        let now = self.stage.now();
        self.run_until(now)
    }

    pub(super) fn run_until(&mut self, until: Instant) -> Executed {
        while self.turn(until)? {}
        Ok(())
    }

    /// Takes in one happening; false when the time is over.
    pub(super) fn turn(&mut self, until: Instant) -> Executed<bool> {
        let limit = self.settings.deadline.map_or(until, |deadline| deadline.min(until));
        let event = self.stage.next(limit);
        self.observer.backend_event(&event);
        match event {
            BackendEvent::Time if limit < until => {
                let sentence = "the time for the whole run is over (--deadline)".to_owned();
                return Err(self.fail(None, Cause::Deadline, Status::Expected, sentence));
            }
            BackendEvent::Time => return Ok(false),
            BackendEvent::Cancelled(signal) => {
                let sentence = format!("the run was ended by signal {signal}");
                return Err(self.fail(None, Cause::Halted(signal), Status::Signal(signal), sentence));
            }
            BackendEvent::Output { actor, at, output } => self.take_in(actor, at, output)?,
            BackendEvent::Ended { actor, at, end } => self.take_leave(&actor, at, end)?,
            BackendEvent::Flood { actor, reason, .. } => {
                return Err(self.fail(Some(&actor), Cause::Flood, Status::Failed, reason));
            }
        }
        Ok(true)
    }

    pub(super) fn take_in(&mut self, actor: ActorId, at: Instant, output: ActorOutput) -> Executed {
        let (kind, text) = match &output {
            ActorOutput::Line(line) | ActorOutput::Partial(line) => (TranscriptKind::Shown, line.as_str()),
            ActorOutput::Ready => (TranscriptKind::Note, "ready"),
            ActorOutput::Stderr(line) => (TranscriptKind::Complained, line.as_str()),
            ActorOutput::Event(event) => {
                (TranscriptKind::Shown, event.get("line").and_then(Value::as_str).unwrap_or(""))
            }
        };
        let shown = |line: &String| self.cast.get(&actor).is_some_and(|part| part.has_shown(line));
        let lines: Vec<String> = text.split('\n').filter_map(normal).filter(|line| !shown(line)).collect();
        for line in lines {
            self.hear(at, &actor, kind, line);
        }
        let Some(part) = self.cast.get_mut(&actor) else { return Ok(()) };
        let told = part.hear(at, output);
        if let Some(waited) = told.waited {
            // Nothing can have been waited for longer than since it was asked for.
            let asked = part.life.typed.unwrap_or(part.life.began);
            let asked = if actor == ActorId::Server { self.acted } else { asked };
            self.waits.add(asked.max(at - waited), at);
        }
        if let Some(overtaken) = told.overtaken {
            let [taken, now] = [&overtaken.taken, &overtaken.now].map(|line| part.original(line));
            let sentence = format!("{actor} went on after `{taken}`, which was taken: `{now}`");
            return Err(self.fail(Some(&actor), Cause::WrongText, Status::Expected, sentence));
        }
        Ok(())
    }

    pub(super) fn take_leave(&mut self, actor: &ActorId, at: Instant, end: ActorExit) -> Executed {
        self.hear(at, actor, TranscriptKind::Note, end.to_string());
        let Some(part) = self.cast.get_mut(actor) else { return Ok(()) };
        part.life.end = Some((at, end));
        part.life.asked |= is_to_end(actor, self.coming);
        if !self.stage.is_foreign() && end.signal.is_none() && FAULTS.contains(&end.status) {
            let sentence = format!("{actor} {end}, which means a fault of the program itself");
            return Err(self.fail(Some(actor), Cause::Exited(Some(end)), Status::Failed, sentence));
        }
        Ok(())
    }

    pub(super) fn replace(&self, template: &str) -> Executed<String> {
        self.vars.replace(template).map_err(|why| self.mistaken(&why))
    }

    /// Notes what was done to an actor.
    pub(super) fn note(&mut self, actor: &ActorId, text: String) {
        self.acted = self.stage.now();
        self.hear(self.acted, actor, TranscriptKind::Note, text);
    }

    pub(super) fn hear(&mut self, at: Instant, actor: &ActorId, kind: TranscriptKind, text: String) {
        if self.transcript.len() >= CaseResult::MAX_HEARD {
            self.transcript.pop_front();
        }
        self.transcript.push_back(TranscriptEntry { at, actor: actor.clone(), kind, text });
    }

    pub(super) fn fail(&self, actor: Option<&ActorId>, cause: Cause, status: Status, sentence: String) -> Abort {
        let span = self.now_playing.span.clone();
        let (actor, expected, nearest) = (actor.cloned(), None, None);
        Box::new(CaseFailure { span, actor, cause, sentence, expected, nearest, status, remedy: None })
    }

    pub(super) fn vanished(&self, actor: &ActorId) -> Abort {
        let end = self.cast.get(actor).and_then(|part| part.life.end).map(|(_, end)| end);
        let how = end.map_or_else(|| "has ended".to_owned(), |end| end.to_string());
        let sentence = format!("{actor} {how} by itself, and nothing asked it to");
        self.fail(Some(actor), Cause::Exited(end), Status::Failed, sentence)
    }

    pub(super) fn exited(&self, actor: &ActorId, end: ActorExit) -> Abort {
        self.fail(Some(actor), Cause::Exited(Some(end)), Status::Failed, format!("{actor} {end}"))
    }

    pub(super) fn not_started(&self, actor: &ActorId, why: &BackendError) -> Abort {
        self.fail(Some(actor), Cause::NotReady, Status::Environment, why.to_string())
    }

    pub(super) fn mistaken(&self, why: &BadVariable) -> Abort {
        self.fail(None, Cause::Mistake, Status::Parse, why.to_string())
    }
}

/// Whether a later line waits for this life of an actor to end. Then its ending is no surprise, however early it comes:
/// otherwise what a line means would hang on how quickly the one before it was played.
pub(super) fn is_to_end(actor: &ActorId, coming: &[&Statement]) -> bool {
    for statement in coming {
        match &statement.step {
            Step::Restart(other) if other == actor => return false,
            Step::Exits { who: Who::Each(actors), .. } if actors.contains(actor) => return true,
            Step::Exits { who: Who::EveryClient, .. } if *actor != ActorId::Server => return true,
            _ => {}
        }
    }
    false
}
