//! A mock backend for tests: typed lines script the actors, and time is virtual.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use serde_json::json;

use crate::proto::time::Instant;
use crate::runner::backend::{ActorExit, ActorOutput, Backend, BackendError, BackendEvent, LaunchSpec, NetworkChange};
use crate::runner::lang::ast::{ActorId, Need, Signal};

/// Actors that execute the commands typed to them. A typed line is `COMMAND; COMMAND ...` with the commands `say TEXT`,
/// `say_at MS TEXT`, `die STATUS`, `die_at MS STATUS`, `event JSON`, `exit` and `flood`.
#[derive(Clone, Default)]
pub(crate) struct MockBackend {
    pub(crate) now: Instant,
    /// The scheduled events, by time and number.
    pub(crate) scheduled: BTreeMap<(Instant, u64), BackendEvent>,
    pub(crate) count: u64,
    /// The started actors, and whether each shows text.
    pub(crate) started: BTreeMap<ActorId, bool>,
    /// Clients with these names do not report being registered.
    pub(crate) silent: Vec<&'static str>,
    /// Clients with these names are refused and end with status 4.
    pub(crate) refused: Vec<&'static str>,
    /// These actors get no table updates.
    pub(crate) without_table: Vec<&'static str>,
    pub(crate) cancelled: Option<u8>,
    /// The arguments of every actor that was started; clones share it.
    pub(crate) launched: Rc<RefCell<Vec<String>>>,
}

impl MockBackend {
    fn later(&mut self, ms: u64, event: impl FnOnce(Instant) -> BackendEvent) {
        let at = self.now + Duration::from_millis(ms);
        self.count += 1;
        self.scheduled.insert((at, self.count), event(at));
    }

    fn event(&mut self, actor: &ActorId, ms: u64, event: serde_json::Value) {
        let (actor, text) = (actor.clone(), self.started.get(actor) == Some(&true));
        let line = event["line"].as_str().map(str::to_owned);
        let output = if text { line.map(ActorOutput::Line) } else { Some(ActorOutput::Event(event)) };
        if let Some(output) = output {
            self.later(ms, |at| BackendEvent::Output { actor, at, output });
        }
    }

    fn end(&mut self, actor: &ActorId, ms: u64, status: u8, signal: Option<u8>) {
        let (actor, end) = (actor.clone(), ActorExit { status, signal });
        self.later(ms, |at| BackendEvent::Ended { actor, at, end });
    }

    /// Schedules the output of a starting actor, as our own program prints it.
    fn report_ready(&mut self, actor: &ActorId) {
        let name = actor.to_string();
        if *actor == ActorId::Server {
            let line = "[Server listening on port 9]";
            return self.event(actor, 1, json!({"event": "listening", "port": 9, "line": line}));
        }
        if self.refused.contains(&name.as_str()) {
            self.event(actor, 1, json!({"event": "refused", "line": "[The name is in use.]"}));
            return self.end(actor, 2, 4, None);
        }
        if self.silent.contains(&name.as_str()) {
            return;
        }
        let welcome = json!({"event": "registered", "line": "[Welcome, You are registered.]"});
        self.event(actor, 1, welcome);
        for viewer in self.started.keys().cloned().collect::<Vec<_>>() {
            if viewer != ActorId::Server && !self.without_table.contains(&viewer.to_string().as_str()) {
                let changed = json!([{"name": name, "addr": "127.0.0.1:9", "online": true}]);
                let table = json!({"event": "table", "changed": changed, "line": "[Client table updated.]"});
                self.event(&viewer, 2, table);
            }
        }
    }

    fn execute(&mut self, actor: &ActorId, command: &str) {
        let (word, rest) = command.split_once(' ').unwrap_or((command, ""));
        let (first, others) = rest.split_once(' ').unwrap_or((rest, ""));
        let number = first.parse().unwrap_or(0);
        match word {
            "say" => self.event(actor, 1, json!({"event": "message", "line": rest})),
            "say_at" => self.event(actor, number, json!({"event": "message", "line": others})),
            "event" => self.event(actor, 1, serde_json::from_str(rest).unwrap()),
            "die" => self.end(actor, 1, u8::try_from(number).unwrap(), None),
            "die_at" => self.end(actor, number, others.parse().unwrap(), None),
            "exit" => self.end(actor, 1, 0, None),
            "flood" => {
                let (actor, reason) = (actor.clone(), "too much".to_owned());
                self.later(1, |at| BackendEvent::Flood { actor, at, reason });
            }
            _ => panic!("no puppet knows {command:?}"),
        }
    }
}

impl Backend for MockBackend {
    fn now(&self) -> Instant {
        self.now
    }

    fn next(&mut self, until: Instant) -> BackendEvent {
        if let Some(signal) = self.cancelled {
            return BackendEvent::Cancelled(signal);
        }
        match self.scheduled.first_entry() {
            Some(first) if first.key().0 <= until => {
                self.now = self.now.max(first.key().0);
                first.remove()
            }
            _ => {
                self.now = self.now.max(until);
                BackendEvent::Time
            }
        }
    }

    fn start(&mut self, launch: &LaunchSpec) -> Result<(), BackendError> {
        if launch.args.iter().any(|arg| arg == "--impossible") {
            return Err(BackendError(format!("{} cannot be started: no such program", launch.actor)));
        }
        self.started.insert(launch.actor.clone(), launch.text);
        self.launched.borrow_mut().extend(launch.args.iter().cloned());
        self.report_ready(&launch.actor);
        Ok(())
    }

    fn restart(&mut self, actor: &ActorId) -> Result<(), BackendError> {
        self.report_ready(actor);
        Ok(())
    }

    fn type_line(&mut self, actor: &ActorId, line: &str) -> Result<(), BackendError> {
        line.split("; ").for_each(|command| self.execute(actor, command));
        Ok(())
    }

    fn close_input(&mut self, actor: &ActorId) {
        self.end(actor, 1, 0, None);
    }

    fn signal(&mut self, actor: &ActorId, signal: Signal) -> Result<(), BackendError> {
        let number = match signal {
            Signal::Kill => 9,
            Signal::Term => 15,
            Signal::Interrupt => 2,
            Signal::Hangup => 1,
            Signal::Pause | Signal::Resume => return Ok(()),
        };
        self.end(actor, 1, 128 + number, Some(number));
        Ok(())
    }

    fn unmet_need(&self, need: Need) -> Option<String> {
        (need == Need::Faults).then(|| "puppets have no network".to_owned())
    }

    fn change_network(&mut self, _change: &NetworkChange<'_>) -> Result<(), BackendError> {
        Err(BackendError("puppets have no network".to_owned()))
    }
}
