//! What a line does to actors: start, signal, restart, disturb, mark, type.

use std::time::Duration;

use crate::proto::status::Status;
use crate::runner::backend::{Disturbance, Launch, Refused};
use crate::runner::exec::actor::Part;
use crate::runner::exec::executor::{Played, Player};
use crate::runner::lang::ast::{Actor, NewClient, Signal, Who};
use crate::runner::report::outcome::{Cause, HeardKind};

/// How long an actor has to end after `kill`, and after being asked to by `restart`.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Player<'_> {
    pub(crate) fn start_server(&mut self, args: &[String]) -> Played {
        self.start(Actor::Server, "server".to_owned(), args)?;
        self.await_server()
    }

    pub(crate) fn start_client(&mut self, client: &NewClient, args: &[String]) -> Played {
        let name = self.replace(&client.name)?;
        self.start(client.actor.clone(), name, args)?;
        self.await_client(&client.actor)
    }

    pub(crate) fn start(&mut self, actor: Actor, name: String, args: &[String]) -> Played {
        let args = args.iter().map(|arg| self.replace(arg)).collect::<Played<Vec<_>>>()?;
        let text = self.settings.text || self.stage.is_foreign() || args.iter().any(|arg| arg == "--text");
        let launch = Launch { actor: actor.clone(), name, args, text };
        let began = self.stage.now();
        self.stage.start(&launch).map_err(|why| self.not_started(&actor, &why))?;
        self.cast.insert(actor.clone(), Part::new(launch, began, self.stage.speech()));
        self.note(&actor, "started".to_owned());
        Ok(())
    }

    pub(crate) fn signal(&mut self, actor: &Actor, signal: Signal) -> Played {
        let part = self.named(actor)?;
        match signal {
            Signal::Pause => part.life.paused = true,
            Signal::Resume => part.life.paused = false,
            Signal::Kill | Signal::Term | Signal::Interrupt | Signal::Hangup => part.life.asked = true,
        }
        self.stage.signal(actor, signal).map_err(|why| self.not_started(actor, &why))?;
        let word = match signal {
            Signal::Kill => "killed",
            Signal::Term => "asked to end (SIGTERM)",
            Signal::Interrupt => "interrupted (SIGINT)",
            Signal::Hangup => "hung up (SIGHUP)",
            Signal::Pause => "paused",
            Signal::Resume => "resumed",
        };
        self.note(actor, word.to_owned());
        if signal == Signal::Kill && !self.ends_within(actor, LAST_WORDS)? {
            return Err(self.fail(
                Some(actor),
                Cause::NotReady,
                Status::Environment,
                format!("{actor} cannot be killed"),
            ));
        }
        if let Some(part) = self.cast.get_mut(actor).filter(|_| signal == Signal::Kill) {
            part.life.buried = true;
        }
        Ok(())
    }

    pub(crate) fn restart(&mut self, actor: &Actor) -> Played {
        self.named(actor)?;
        if !self.has_ended(actor) {
            self.signal(actor, Signal::Term)?;
            self.signal(actor, Signal::Resume)?;
            if !self.ends_within(actor, LAST_WORDS)? {
                self.signal(actor, Signal::Kill)?;
            }
        }
        let began = self.stage.now();
        self.stage.restart(actor).map_err(|why| self.not_started(actor, &why))?;
        if let Some(part) = self.cast.get_mut(actor) {
            part.begin(began);
        }
        self.note(actor, "started again".to_owned());
        if *actor == Actor::Server { self.await_server() } else { self.await_client(actor) }
    }

    pub(crate) fn disturb(&mut self, disturbance: &Disturbance<'_>) -> Played {
        let disturbed = self.stage.disturb(disturbance);
        disturbed.map_err(|Refused(why)| self.fail(None, Cause::NotReady, Status::Environment, why))
    }

    pub(crate) fn mark(&mut self, actors: &[Actor]) -> Played {
        if actors.is_empty() {
            self.cast.values_mut().for_each(|part| part.log.mark());
        }
        actors.iter().try_for_each(|actor| {
            self.named(actor)?.log.mark();
            Ok(())
        })
    }

    pub(crate) fn type_line(&mut self, who: &Who, line: &str) -> Played {
        let line = self.replace(line)?;
        if line.contains(['\n', '\r']) {
            let sentence = "a line that is typed cannot hold the end of a line".to_owned();
            return Err(self.fail(None, Cause::Mistake, Status::Parse, sentence));
        }
        for actor in self.resolve(who)? {
            let now = self.stage.now();
            let part = self.named(&actor)?;
            if let Some((_, end)) = part.life.end {
                return Err(self.exited(&actor, end));
            }
            part.life.typed = Some(now);
            part.life.asked |= line.trim() == "exit";
            let typed = self.stage.type_line(&actor, &line);
            self.acted = now;
            self.hear(now, &actor, HeardKind::Typed, line.clone());
            typed.map_err(|Refused(why)| self.fail(Some(&actor), Cause::Mistake, Status::Failed, why))?;
        }
        Ok(())
    }
}
