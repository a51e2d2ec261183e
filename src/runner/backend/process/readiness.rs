//! When actors are ready: what a process shows of that, and what has to be looked up.

use std::time::Duration;

use crate::proto::event::sentences::SentenceKind;
use crate::proto::event::server::ServerEventKind;
use crate::proto::time::Instant;
use crate::runner::backend::process::ports::is_bound;
use crate::runner::backend::process::{LAST_OUTPUT, Process, ProcessBackend, Program};
use crate::runner::backend::{ActorOutput, BackendEvent};
use crate::runner::lang::ast::ActorId;
use crate::script::pattern::normalize::normal;

/// How often is looked whether another program than ours is ready.
const LOOK: Duration = Duration::from_millis(20);

impl ProcessBackend {
    /// Looks what can be said of processes of another program.
    pub(crate) fn look_around(&mut self) {
        let Program::External(implementation) = &self.program else { return };
        let now = self.clock.now().mono;
        for (actor, process) in &mut self.actors {
            if process.ended.is_some() {
                continue;
            }
            if process.closed.is_some_and(|at| at + LAST_OUTPUT <= now) {
                process.closed = None;
                let output = ActorOutput::Stderr("(it has closed its terminal, and runs on)".to_owned());
                self.happened.push_back(BackendEvent::Output { actor: actor.clone(), at: now, output });
            }
            let quiet = || process.child.heard().is_some_and(|at| at + implementation.quiet <= now);
            let ready = process.watched
                && match actor {
                    ActorId::Server => is_bound(process.port),
                    ActorId::Client(_) => implementation.ready.is_none() && quiet(),
                };
            if ready {
                process.watched = false;
                if *actor == ActorId::Server {
                    self.server = Some(process.port);
                }
                self.happened.push_back(BackendEvent::Output {
                    actor: actor.clone(),
                    at: now,
                    output: ActorOutput::Ready,
                });
            }
        }
    }

    /// When to look around again, if at all.
    pub(crate) fn next_look(&self, now: Instant) -> Option<Instant> {
        let watched = |process: &Process| process.ended.is_none() && (process.watched || process.closed.is_some());
        self.actors.values().any(watched).then(|| now + LOOK)
    }
}

/// Whether this is how a server says that it listens.
pub(crate) fn listens(output: &ActorOutput) -> bool {
    match output {
        ActorOutput::Line(line) => normal(line).is_some_and(|line| SentenceKind::Listening.is_begun_by(&line)),
        ActorOutput::Event(event) => {
            event["event"].as_str().and_then(|kind| kind.parse().ok()) == Some(ServerEventKind::Listening)
        }
        ActorOutput::Partial(_) | ActorOutput::Stderr(_) | ActorOutput::Ready => false,
    }
}
