//! Detects when actors are ready: from the output of a process, or by polling its port and its silence.

use std::time::Duration;

use crate::proto::event::sentences::SentenceKind;
use crate::proto::event::server::ServerEventKind;
use crate::proto::time::Instant;
use crate::runner::backend::process::ports::is_bound;
use crate::runner::backend::process::{LAST_OUTPUT, Process, ProcessBackend, Program};
use crate::runner::backend::{ActorOutput, BackendEvent};
use crate::runner::lang::ast::ActorId;
use crate::script::pattern::normalize::normal;

/// The interval at which external programs are checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

impl ProcessBackend {
    /// Checks the processes of an external program: whether they are ready, and whether they run on without a terminal.
    pub(crate) fn check_external(&mut self) {
        let Program::External(implementation) = &self.program else { return };
        let now = self.clock.now().mono;
        for (actor, process) in &mut self.actors {
            if process.ended.is_some() {
                continue;
            }
            if process.closed.is_some_and(|at| at + LAST_OUTPUT <= now) {
                process.closed = None;
                let output = ActorOutput::Stderr("(it has closed its terminal, and runs on)".to_owned());
                self.events.push_back(BackendEvent::Output { actor: actor.clone(), at: now, output });
            }
            let quiet = || process.child.last_output().is_some_and(|at| at + implementation.quiet <= now);
            let ready = process.awaits_ready
                && match actor {
                    ActorId::Server => is_bound(process.port),
                    ActorId::Client(_) => implementation.ready.is_none() && quiet(),
                };
            if ready {
                process.awaits_ready = false;
                if *actor == ActorId::Server {
                    self.server = Some(process.port);
                }
                self.events.push_back(BackendEvent::Output {
                    actor: actor.clone(),
                    at: now,
                    output: ActorOutput::Ready,
                });
            }
        }
    }

    /// The time of the next check, if one is needed.
    pub(crate) fn next_check(&self, now: Instant) -> Option<Instant> {
        let awaits_ready =
            |process: &Process| process.ended.is_none() && (process.awaits_ready || process.closed.is_some());
        self.actors.values().any(awaits_ready).then(|| now + CHECK_INTERVAL)
    }
}

/// Whether this output reports that the server listens.
pub(crate) fn reports_listening(output: &ActorOutput) -> bool {
    match output {
        ActorOutput::Line(line) => normal(line).is_some_and(|line| SentenceKind::Listening.is_begun_by(&line)),
        ActorOutput::Event(event) => {
            event["event"].as_str().and_then(|kind| kind.parse().ok()) == Some(ServerEventKind::Listening)
        }
        ActorOutput::Partial(_) | ActorOutput::Stderr(_) | ActorOutput::Ready => false,
    }
}
