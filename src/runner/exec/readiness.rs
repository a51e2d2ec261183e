//! When a server or a client that was started is ready for the next line.

use std::time::Duration;

use crate::proto::status::Status;
use crate::proto::time::Instant;
use crate::runner::exec::executor::Abort;
use crate::runner::exec::executor::{CaseExecutor, Executed};
use crate::runner::lang::ast::ActorId;
use crate::runner::report::outcome::{CaseFailure, Cause};

/// How long a server has to listen, and a client to be registered and in everybody's table: much longer than the five
/// attempts of 500 ms after which a client gives up and ends by itself.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// Actors that are run as people see them say that their table has changed, not how. So they must be silent this
/// long besides, so that no earlier change is taken for the awaited one.
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

    /// Waits until a client is registered and every actor that the server can reach has it in its table, or until it
    /// has ended, which fails nothing by itself.
    pub(crate) fn await_client(&mut self, actor: &ActorId) -> Executed {
        let begin = self.backend.now();
        let until = begin + READY_LIMIT.mul_f64(self.settings.time_scale);
        loop {
            let lacking = match self.lacking(actor) {
                Lacking::Nothing => return Ok(()),
                Lacking::Ended => {
                    if let Some(state) = self.actors.get_mut(actor) {
                        state.run.asked = true;
                    }
                    return Ok(());
                }
                Lacking::Silence(since) if since + SILENCE <= self.backend.now() => return Ok(()),
                Lacking::Silence(since) => {
                    self.next_event((since + SILENCE).min(until))?;
                    continue;
                }
                Lacking::Readiness => format!("{actor} was not ready"),
                Lacking::Registration => format!("{actor} was not registered"),
                Lacking::Table(viewer) => format!("the table of {viewer} did not name {actor}"),
            };
            if !self.next_event(until)? {
                return Err(self.not_ready(actor, &lacking, until.since(begin)));
            }
        }
    }

    fn not_ready(&self, actor: &ActorId, lacking: &str, limit: Duration) -> Abort {
        let sentence = format!("{lacking} within {limit:?}");
        let span = self.statement.span.clone();
        let (cause, status) = (Cause::NotReady, Status::Expected);
        let (actor, expected, nearest) = (Some(actor.clone()), None, None);
        Box::new(CaseFailure { span, actor, cause, sentence, expected, nearest, status, remedy: None })
    }

    fn lacking(&self, actor: &ActorId) -> Lacking {
        let Some(state) = self.actors.get(actor) else { return Lacking::Ended };
        if state.run.end.is_some() {
            return Lacking::Ended;
        }
        if self.backend.is_external() {
            return if state.run.ready { Lacking::Nothing } else { Lacking::Readiness };
        }
        if !state.run.registered {
            return Lacking::Registration;
        }
        let mut last_words = None;
        for (viewer, seen) in &self.actors {
            // A server has no table of the kind; whom the newcomer's own table calls offline gets no updates.
            let unreachable = !seen.is_reachable() || state.believes_offline(&seen.launch.name);
            if *viewer == ActorId::Server || unreachable && viewer != actor {
                continue;
            }
            if !seen.names(&state.launch.name, state.run.began) {
                return Lacking::Table(viewer.clone());
            }
            if seen.launch.text {
                last_words = last_words.max(seen.run.last_output);
            }
        }
        last_words.map_or(Lacking::Nothing, Lacking::Silence)
    }
}

/// What is still to come before a client is ready.
enum Lacking {
    Nothing,
    /// The client has ended.
    Ended,
    /// The backend has not said that it is ready.
    Readiness,
    Registration,
    /// This one's table does not name it.
    Table(ActorId),
    /// Nobody may have shown anything for a while, since then.
    Silence(Instant),
}
