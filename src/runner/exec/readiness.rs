//! Waits until a started server or client is ready, so that the next statement can rely on it.

use std::time::Duration;

use crate::proto::status::Status;
use crate::proto::time::Instant;
use crate::runner::exec::executor::Abort;
use crate::runner::exec::executor::{CaseExecutor, Executed};
use crate::runner::lang::ast::ActorId;
use crate::runner::report::outcome::{CaseFailure, Cause};

/// Time limit for a server to listen, and for a client to be registered and in every table, unless tables are partial.
/// It is much longer than the five attempts of 500 ms after which a client gives up and ends.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// Text output says that a table has changed, and not how. Text actors must therefore be silent this long, so that an
/// earlier change is not taken for the awaited one.
const SILENCE: Duration = Duration::from_millis(50);

impl CaseExecutor<'_> {
    /// Waits until the server listens.
    pub(crate) fn await_server(&mut self) -> Executed {
        let begin = self.backend.now();
        let until = begin + READY_LIMIT.mul_f64(self.settings.time_scale);
        loop {
            let Some(state) = self.actors.get(&ActorId::Server) else { return Ok(()) };
            if let Some((_, end)) = state.run.end {
                let sentence = format!("the server {end} before it listened");
                return Err(self.fail(Some(&ActorId::Server), Cause::Exited(Some(end)), Status::Environment, sentence));
            }
            if state.run.listening {
                return Ok(());
            }
            if !self.next_event(until)? {
                let limit = until.since(begin);
                let sentence = if self.backend.is_external() {
                    format!("the server did not listen on its port within {limit:?}")
                } else {
                    format!("the server did not say within {limit:?} that it listens")
                };
                return Err(self.fail(Some(&ActorId::Server), Cause::NotReady, Status::Environment, sentence));
            }
        }
    }

    /// Waits until a client is registered and is in the table of every client that the server can reach. With partial
    /// tables the registration is enough. Returns early when the client ends, which is not a failure here.
    pub(crate) fn await_client(&mut self, actor: &ActorId) -> Executed {
        let begin = self.backend.now();
        let until = begin + READY_LIMIT.mul_f64(self.settings.time_scale);
        loop {
            let missing = match self.unmet_condition(actor) {
                ReadyCondition::Met => return Ok(()),
                ReadyCondition::Ended => {
                    if let Some(state) = self.actors.get_mut(actor) {
                        state.run.end_expected = true;
                    }
                    return Ok(());
                }
                ReadyCondition::Silence(since) if since + SILENCE <= self.backend.now() => return Ok(()),
                ReadyCondition::Silence(since) => {
                    self.next_event((since + SILENCE).min(until))?;
                    continue;
                }
                ReadyCondition::Readiness => format!("{actor} was not ready"),
                ReadyCondition::Registration => format!("{actor} was not registered"),
                ReadyCondition::Table(viewer) => format!("the table of {viewer} did not name {actor}"),
            };
            if !self.next_event(until)? {
                return Err(self.not_ready(actor, &missing, until.since(begin)));
            }
        }
    }

    fn not_ready(&self, actor: &ActorId, missing: &str, limit: Duration) -> Abort {
        let sentence = format!("{missing} within {limit:?}");
        let span = self.statement.span.clone();
        let (cause, status) = (Cause::NotReady, Status::Expected);
        let (actor, expected, nearest) = (Some(actor.clone()), None, None);
        Box::new(CaseFailure { span, actor, cause, sentence, expected, nearest, status, remedy: None })
    }

    fn unmet_condition(&self, actor: &ActorId) -> ReadyCondition {
        let Some(state) = self.actors.get(actor) else { return ReadyCondition::Ended };
        if state.run.end.is_some() {
            return ReadyCondition::Ended;
        }
        if self.backend.is_external() {
            return if state.run.ready { ReadyCondition::Met } else { ReadyCondition::Readiness };
        }
        if !state.run.registered {
            return ReadyCondition::Registration;
        }
        // Clients with partial tables do not learn about others.
        if self.actors.values().any(|seen| seen.run.has_partial_tables) {
            return ReadyCondition::Met;
        }
        let mut last_output = None;
        for (viewer, seen) in &self.actors {
            // A server prints no such table. A client that the new client's table lists as offline gets no updates.
            let unreachable = !seen.is_reachable() || state.lists_offline(&seen.launch.name);
            if *viewer == ActorId::Server || unreachable && viewer != actor {
                continue;
            }
            if !seen.lists_online(&state.launch.name, state.run.began) {
                return ReadyCondition::Table(viewer.clone());
            }
            if seen.launch.text {
                last_output = last_output.max(seen.run.last_output);
            }
        }
        last_output.map_or(ReadyCondition::Met, ReadyCondition::Silence)
    }
}

/// The first condition of a client's readiness that is not met.
enum ReadyCondition {
    Met,
    /// The client has ended.
    Ended,
    /// The backend has not reported the client as ready.
    Readiness,
    Registration,
    /// The table of this actor does not list the client.
    Table(ActorId),
    /// Text actors must be silent for [`SILENCE`] from this time, their last output, on.
    Silence(Instant),
}
