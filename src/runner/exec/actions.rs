//! The steps that act on actors or the network: start, signal, restart, change the network, mark, type.

use std::time::Duration;

use crate::proto::status::Status;
use crate::runner::backend::{BackendError, LaunchSpec, NetworkChange};
use crate::runner::exec::actor::ActorState;
use crate::runner::exec::executor::{CaseExecutor, Executed};
use crate::runner::lang::ast::{ActorId, NewClient, Signal, Who};
use crate::runner::report::outcome::{Cause, TranscriptKind};

/// Time limit for an actor to end after `kill`, and after the SIGTERM of `restart`.
const EXIT_LIMIT: Duration = Duration::from_secs(2);

impl CaseExecutor<'_> {
    pub(crate) fn start_server(&mut self, args: &[String]) -> Executed {
        self.start(ActorId::Server, "server".to_owned(), args)?;
        self.await_server()
    }

    pub(crate) fn start_client(&mut self, client: &NewClient, args: &[String]) -> Executed {
        let name = self.replace(&client.name)?;
        self.start(client.actor.clone(), name, args)?;
        self.await_client(&client.actor)
    }

    pub(crate) fn start(&mut self, actor: ActorId, name: String, args: &[String]) -> Executed {
        let mut args = args.iter().map(|arg| self.replace(arg)).collect::<Executed<Vec<_>>>()?;
        let text = self.settings.text || self.backend.is_external() || args.iter().any(|arg| arg == "--text");
        let has_trace = args.iter().any(|arg| arg == "--trace");
        args.extend((self.settings.trace && !text && !has_trace).then(|| "--trace".to_owned()));
        let launch = LaunchSpec { actor: actor.clone(), name, args, text };
        let began = self.backend.now();
        self.backend.start(&launch).map_err(|why| self.not_started(&actor, &why))?;
        self.actors.insert(actor.clone(), ActorState::new(launch, began, self.backend.translator()));
        self.note(&actor, "started".to_owned());
        Ok(())
    }

    pub(crate) fn signal(&mut self, actor: &ActorId, signal: Signal) -> Executed {
        let state = self.actor_mut(actor)?;
        match signal {
            Signal::Pause => state.run.paused = true,
            Signal::Resume => state.run.paused = false,
            Signal::Kill | Signal::Term | Signal::Interrupt | Signal::Hangup => state.run.end_expected = true,
        }
        self.backend.signal(actor, signal).map_err(|why| self.not_started(actor, &why))?;
        let word = match signal {
            Signal::Kill => "killed",
            Signal::Term => "asked to end (SIGTERM)",
            Signal::Interrupt => "interrupted (SIGINT)",
            Signal::Hangup => "hung up (SIGHUP)",
            Signal::Pause => "paused",
            Signal::Resume => "resumed",
        };
        self.note(actor, word.to_owned());
        if signal == Signal::Kill && !self.ends_within(actor, EXIT_LIMIT)? {
            return Err(self.fail(
                Some(actor),
                Cause::NotReady,
                Status::Environment,
                format!("{actor} cannot be killed"),
            ));
        }
        if let Some(state) = self.actors.get_mut(actor).filter(|_| signal == Signal::Kill) {
            state.run.end_awaited = true;
        }
        Ok(())
    }

    pub(crate) fn restart(&mut self, actor: &ActorId) -> Executed {
        self.actor_mut(actor)?;
        if !self.has_ended(actor) {
            self.signal(actor, Signal::Term)?;
            self.signal(actor, Signal::Resume)?;
            if !self.ends_within(actor, EXIT_LIMIT)? {
                self.signal(actor, Signal::Kill)?;
            }
        }
        let began = self.backend.now();
        self.backend.restart(actor).map_err(|why| self.not_started(actor, &why))?;
        if let Some(state) = self.actors.get_mut(actor) {
            state.begin(began);
        }
        self.note(actor, "started again".to_owned());
        if *actor == ActorId::Server { self.await_server() } else { self.await_client(actor) }
    }

    pub(crate) fn change_network(&mut self, change: &NetworkChange<'_>) -> Executed {
        let changed = self.backend.change_network(change);
        changed.map_err(|BackendError(why)| self.fail(None, Cause::NotReady, Status::Environment, why))
    }

    pub(crate) fn mark(&mut self, actors: &[ActorId]) -> Executed {
        if actors.is_empty() {
            self.actors.values_mut().for_each(|state| state.log.mark());
        }
        actors.iter().try_for_each(|actor| {
            self.actor_mut(actor)?.log.mark();
            Ok(())
        })
    }

    pub(crate) fn type_line(&mut self, who: &Who, line: &str) -> Executed {
        let line = self.replace(line)?;
        if line.contains(['\n', '\r']) {
            let sentence = "a line that is typed cannot hold the end of a line".to_owned();
            return Err(self.fail(None, Cause::Mistake, Status::Parse, sentence));
        }
        for actor in self.resolve(who)? {
            let now = self.backend.now();
            let state = self.actor_mut(&actor)?;
            if let Some((_, end)) = state.run.end {
                return Err(self.exited(&actor, end));
            }
            state.run.typed = Some(now);
            state.run.end_expected |= line.trim() == "exit";
            let typed = self.backend.type_line(&actor, &line);
            self.last_action = now;
            self.transcribe(now, &actor, TranscriptKind::Typed, line.clone());
            typed.map_err(|BackendError(why)| self.fail(Some(&actor), Cause::Mistake, Status::Failed, why))?;
        }
        Ok(())
    }
}
