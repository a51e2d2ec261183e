//! Runs one case on a backend, statement by statement.
//!
//! Time passes only in [`Backend::next`]: the executor has no clock of its own, so a case can run in virtual time.

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

/// The options of every case of a run.
#[derive(Clone, Debug)]
pub struct ExecSettings {
    /// The mode in which text is matched.
    pub style: MatchMode,
    /// Factor for limits, windows and the readiness limit. It does not change `sleep`.
    pub time_scale: f64,
    /// Every actor shows text instead of events: it runs without `--json`.
    pub text: bool,
    /// Actors that show events also show one for each datagram (`--trace`).
    pub trace: bool,
    /// The deadline of the whole run, in the time of the backend.
    pub deadline: Option<Instant>,
}

impl Default for ExecSettings {
    fn default() -> Self {
        Self { style: MatchMode::Exact, time_scale: 1.0, text: false, trace: false, deadline: None }
    }
}

/// The exit statuses of an internal error of our own program: [`Status::Internal`], and a panic.
pub(super) const INTERNAL_ERROR_STATUSES: [u8; 2] = [Status::Internal.code(), 101];

/// The failure that ends a case.
pub(crate) type Abort = Box<CaseFailure>;

pub(crate) type Executed<T = ()> = Result<T, Abort>;

/// A running case.
pub(crate) struct CaseExecutor<'a> {
    pub(super) backend: &'a mut dyn Backend,
    pub(super) observer: &'a mut dyn Observer,
    pub(super) settings: &'a ExecSettings,
    pub(super) actors: BTreeMap<ActorId, ActorState>,
    pub(super) vars: Vars,
    pub(super) transcript: VecDeque<TranscriptEntry>,
    pub(super) idle: IdleTime,
    pub(super) checks: Vec<CheckResult>,
    /// The first failure that ended a check but not the case.
    pub(super) failed: Option<Box<CaseFailure>>,
    /// The time of the last action on an actor.
    pub(super) last_action: Instant,
    /// The statement that is running.
    pub(super) statement: &'a Statement,
    /// The statements after it.
    pub(super) remaining: &'a [&'a Statement],
}

/// Runs a case.
pub fn run_case(
    info: CaseInfo,
    setup: &[Statement],
    case: &Case,
    backend: &mut dyn Backend,
    settings: &ExecSettings,
    observer: &mut dyn Observer,
) -> CaseResult {
    let began = backend.now();
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
        attempts: 1,
    };
    if let Some(reason) = unmet_requirement(setup, case, backend) {
        result.verdict = Verdict::Skipped(reason);
        return result;
    }
    let statements: Vec<&Statement> = setup.iter().chain(&case.statements).collect();
    let Some(first) = statements.first() else {
        return result;
    };
    let mut executor = CaseExecutor {
        backend,
        observer,
        settings,
        actors: BTreeMap::new(),
        vars: Vars::default(),
        transcript: VecDeque::new(),
        idle: IdleTime::default(),
        checks: Vec::new(),
        failed: None,
        last_action: began,
        statement: first,
        remaining: &statements,
    };
    let stopped = executor.run_statements(&statements, &mut result.steps).err();
    let end = executor.backend.now();
    match &stopped {
        None => executor.pass_check(),
        Some(failure) => executor.fail_check(failure),
    }
    executor.add_unreached();
    result.took = end.since(began);
    result.overhead = executor.idle.overhead(began, end);
    result.transcript = executor.transcript.into();
    result.checks = executor.checks;
    // The first failure decides the verdict.
    if let Some(failure) = executor.failed.or(stopped) {
        result.verdict = Verdict::Failed(failure);
    }
    result
}

/// The reason why a case cannot run on this backend, if it cannot. Nothing is started to find out.
pub(super) fn unmet_requirement(setup: &[Statement], case: &Case, backend: &dyn Backend) -> Option<String> {
    if let Some(reason) = case.needs.iter().find_map(|need| backend.unmet_need(*need)) {
        return Some(reason);
    }
    let mut steps = setup.iter().chain(&case.statements).map(|statement| &statement.step);
    let refused = steps.clone().find_map(|step| match step {
        Step::Server { args } | Step::Client { args, .. } => backend.refuses(args),
        _ => None,
    });
    if refused.is_some() {
        return refused;
    }
    steps.any(Step::changes_network).then(|| backend.unmet_need(Need::Faults)).flatten()
}

impl<'a> CaseExecutor<'a> {
    pub(super) fn run_statements(&mut self, statements: &'a [&'a Statement], steps: &mut Vec<StepResult>) -> Executed {
        let mut rest = statements;
        while let [statement, remaining @ ..] = rest {
            (self.statement, self.remaining) = (statement, remaining);
            let at = self.backend.now();
            let result = self.settle().and_then(|()| self.run_step(&statement.step));
            let took = self.backend.now().since(at);
            let step = StepResult { span: statement.span.clone(), at, took, ok: result.is_ok() };
            self.observer.step(&step);
            steps.push(step);
            let skipped = result.map_or_else(|stop| self.skip_failed_check(stop, remaining), |()| Ok(0))?;
            rest = remaining.get(skipped..).unwrap_or_default();
        }
        self.settle()?;
        let vanished = self.actors.iter().find(|(_, state)| state.has_vanished()).map(|(actor, _)| actor.clone());
        vanished.map_or(Ok(()), |actor| Err(self.vanished(&actor)))
    }

    pub(super) fn run_step(&mut self, step: &Step) -> Executed {
        match step {
            Step::Server { args } => self.start_server(args),
            Step::Client { clients, args } => clients.iter().try_for_each(|client| self.start_client(client, args)),
            Step::Signal { actor, signal } => self.signal(actor, *signal),
            Step::Restart(actor) => self.restart(actor),
            Step::Eof(actor) => {
                let state = self.actor_mut(actor)?;
                // A server keeps running at the end of its input.
                state.run.end_expected |= *actor != ActorId::Server;
                self.backend.close_input(actor);
                self.note(actor, "its input is closed".to_owned());
                Ok(())
            }
            Step::Fault { direction, fault } => self.change_network(&NetworkChange::Fault(direction, *fault)),
            Step::Cut(a, b) => self.change_network(&NetworkChange::Cut(a, b)),
            Step::Heal => self.change_network(&NetworkChange::Heal),
            Step::Sleep(duration) => {
                let begin = self.backend.now();
                self.run_until(begin + *duration)?;
                self.idle.add(begin, begin + *duration);
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
            Step::Expect { who, mode, limit, pattern } => self.expect(who, *mode, *limit, pattern),
            Step::Exits { who, status } => self.exits(who, *status),
            Step::Alive(who) => {
                let actors = self.resolve(who)?;
                let ended = actors.iter().find_map(|actor| Some((actor, self.actors.get(actor)?.run.end?.1)));
                ended.map_or(Ok(()), |(actor, end)| Err(self.exited(actor, end)))
            }
        }
    }

    /// The actors of a statement, or a failure when one of them has vanished. `*` leaves out actors that ended as
    /// expected.
    pub(super) fn resolve(&mut self, who: &Who) -> Executed<Vec<ActorId>> {
        let actors = self.select_actors(who, |state| state.run.end.is_none() || state.has_vanished())?;
        for actor in &actors {
            self.actor_mut(actor)?;
        }
        Ok(actors)
    }

    /// The actors of a statement. `*` stands for every client that passes the filter.
    pub(super) fn select_actors(&self, who: &Who, filter: impl Fn(&ActorState) -> bool) -> Executed<Vec<ActorId>> {
        let actors: Vec<ActorId> = match who {
            Who::Each(actors) => actors.clone(),
            Who::EveryClient => {
                let clients = self.actors.iter().filter(|(actor, state)| **actor != ActorId::Server && filter(state));
                clients.map(|(actor, _)| actor.clone()).collect()
            }
        };
        if actors.is_empty() {
            let sentence = "no client is left that could be meant".to_owned();
            return Err(self.fail(None, Cause::Exited(None), Status::Failed, sentence));
        }
        Ok(actors)
    }

    /// The state of an actor, or a failure when it has vanished or was not started.
    pub(super) fn actor_mut(&mut self, actor: &ActorId) -> Executed<&mut ActorState> {
        if self.actors.get(actor).is_some_and(ActorState::has_vanished) {
            return Err(self.vanished(actor));
        }
        let missing = self.fail(Some(actor), Cause::Mistake, Status::Parse, format!("{actor} was not started"));
        self.actors.get_mut(actor).ok_or(missing)
    }

    pub(super) fn has_ended(&self, actor: &ActorId) -> bool {
        self.actors.get(actor).is_none_or(|state| state.run.end.is_some())
    }

    /// Waits until an actor has ended. False when the limit passes first.
    pub(super) fn ends_within(&mut self, actor: &ActorId, limit: Duration) -> Executed<bool> {
        let until = self.backend.now() + limit.mul_f64(self.settings.time_scale);
        while !self.has_ended(actor) {
            if !self.next_event(until)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Processes all events up to now.
    pub(super) fn settle(&mut self) -> Executed {
        let now = self.backend.now();
        self.run_until(now)
    }

    pub(super) fn run_until(&mut self, until: Instant) -> Executed {
        while self.next_event(until)? {}
        Ok(())
    }

    /// Processes one event. False when none came until then.
    pub(super) fn next_event(&mut self, until: Instant) -> Executed<bool> {
        let limit = self.settings.deadline.map_or(until, |deadline| deadline.min(until));
        let event = self.backend.next(limit);
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
            BackendEvent::Output { actor, at, output } => self.process_output(actor, at, output)?,
            BackendEvent::Ended { actor, at, end } => self.process_exit(&actor, at, end)?,
            BackendEvent::Flood { actor, reason, .. } => {
                return Err(self.fail(Some(&actor), Cause::Flood, Status::Failed, reason));
            }
        }
        Ok(true)
    }

    pub(super) fn process_output(&mut self, actor: ActorId, at: Instant, output: ActorOutput) -> Executed {
        let (kind, text) = match &output {
            ActorOutput::Line(line) | ActorOutput::Partial(line) => (TranscriptKind::Shown, line.as_str()),
            ActorOutput::Ready => (TranscriptKind::Note, "ready"),
            ActorOutput::Stderr(line) => (TranscriptKind::Stderr, line.as_str()),
            ActorOutput::Event(event) => {
                (TranscriptKind::Shown, event.get("line").and_then(Value::as_str).unwrap_or(""))
            }
        };
        let shown = |line: &String| self.actors.get(&actor).is_some_and(|state| state.has_shown(line));
        let lines: Vec<String> = text.split('\n').filter_map(normal).filter(|line| !shown(line)).collect();
        for line in lines {
            self.transcribe(at, &actor, kind, line);
        }
        let Some(state) = self.actors.get_mut(&actor) else { return Ok(()) };
        let effect = state.observe(at, output);
        if let Some(waited) = effect.waited {
            // The wait cannot have begun before the request.
            let requested = state.run.typed.unwrap_or(state.run.began);
            let requested = if actor == ActorId::Server { self.last_action } else { requested };
            self.idle.add(requested.max(at - waited), at);
        }
        if let Some(extended) = effect.extended {
            let [taken, now] = [&extended.taken, &extended.now].map(|line| state.original(line));
            let sentence = format!("{actor} went on after `{taken}`, which was taken: `{now}`");
            return Err(self.fail(Some(&actor), Cause::WrongText, Status::Expected, sentence));
        }
        Ok(())
    }

    pub(super) fn process_exit(&mut self, actor: &ActorId, at: Instant, end: ActorExit) -> Executed {
        self.transcribe(at, actor, TranscriptKind::Note, end.to_string());
        let Some(state) = self.actors.get_mut(actor) else { return Ok(()) };
        state.run.end = Some((at, end));
        state.run.end_expected |= is_to_end(actor, self.remaining);
        if !self.backend.is_external() && end.signal.is_none() && INTERNAL_ERROR_STATUSES.contains(&end.status) {
            let sentence = format!("{actor} {end}, which means a fault of the program itself");
            return Err(self.fail(Some(actor), Cause::Exited(Some(end)), Status::Failed, sentence));
        }
        Ok(())
    }

    pub(super) fn replace(&self, template: &str) -> Executed<String> {
        self.vars.replace(template).map_err(|why| self.mistaken(&why))
    }

    /// Adds an action on an actor to the transcript.
    pub(super) fn note(&mut self, actor: &ActorId, text: String) {
        self.last_action = self.backend.now();
        self.transcribe(self.last_action, actor, TranscriptKind::Note, text);
    }

    pub(super) fn transcribe(&mut self, at: Instant, actor: &ActorId, kind: TranscriptKind, text: String) {
        if self.transcript.len() >= CaseResult::MAX_TRANSCRIPT {
            self.transcript.pop_front();
        }
        self.transcript.push_back(TranscriptEntry { at, actor: actor.clone(), kind, text });
    }

    pub(super) fn fail(&self, actor: Option<&ActorId>, cause: Cause, status: Status, sentence: String) -> Abort {
        let span = self.statement.span.clone();
        let (actor, expected, nearest) = (actor.cloned(), None, None);
        Box::new(CaseFailure { span, actor, cause, sentence, expected, nearest, status, remedy: None })
    }

    pub(super) fn vanished(&self, actor: &ActorId) -> Abort {
        let end = self.actors.get(actor).and_then(|state| state.run.end).map(|(_, end)| end);
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

/// Whether a later statement waits for the end of this run of an actor. Then the end is expected, however early it
/// comes. Otherwise the meaning of a statement would depend on the speed of the statement before it.
pub(super) fn is_to_end(actor: &ActorId, remaining: &[&Statement]) -> bool {
    for statement in remaining {
        match &statement.step {
            Step::Restart(other) if other == actor => return false,
            Step::Exits { who: Who::Each(actors), .. } if actors.contains(actor) => return true,
            Step::Exits { who: Who::EveryClient, .. } if *actor != ActorId::Server => return true,
            _ => {}
        }
    }
    false
}
