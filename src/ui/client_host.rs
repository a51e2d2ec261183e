//! Around a client in its loop: commands go in as they may, events go out, and signals end it.

use std::time::Duration;

use nix::libc::SIGHUP;

use crate::io::clock::Clock;
use crate::io::event_loop::Host;
use crate::io::input::WAITING;
use crate::proto::client::Client;
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::Reason;
use crate::proto::event::trace::TraceEvent;
use crate::proto::event::{Body, Event};
use crate::proto::machine::{ClientEffect, ClientInput, Exit, Input};
use crate::proto::status::Status;
use crate::proto::time::{Instant, Now, Timestamp};
use crate::ui::command_source::{CommandSource, ScriptFailure, SourceEvent};
use crate::ui::completion::Completion;
use crate::ui::printer::{Gone, Printer};
use crate::ui::start::{Signals, complain_quickly};

/// How long a client that was asked to leave may take, with the notice to the server, which takes 150 ms at most.
const LEAVE_LIMIT: Duration = Duration::from_millis(300);

/// How long the last words of a client that was asked to leave may take: only output that is blocked needs it.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);

/// What stands around a client.
pub struct ClientHost {
    feed: CommandSource,
    printer: Printer,
    signals: Signals,
    surroundings: Completion,
    /// The first reason of the shell's own for not being well.
    status: Status,
    /// That was not the first: a command had failed before.
    core_first: bool,
    failed: bool,
    welcome: bool,
    table: bool,
    /// Commands given to the core, and those that have their outcome.
    given: u64,
    done: u64,
    /// Events of which the core knows that they were shown.
    told: u64,
    leaving: ShutdownProgress,
    finished: bool,
    signalled: bool,
    /// There may be more in the feed than was taken at once.
    more: bool,
}

/// How far an asked-for leave is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ShutdownProgress {
    No,
    /// The core is not told yet.
    Asked,
    /// It is, and has until then.
    Told(Instant),
}

impl ClientHost {
    /// A front of a client that has not started yet.
    pub fn new(feed: CommandSource, printer: Printer, signals: Signals, surroundings: Completion) -> Self {
        Self {
            feed,
            printer,
            signals,
            surroundings,
            status: Status::Ok,
            core_first: false,
            failed: false,
            welcome: false,
            table: false,
            given: 0,
            done: 0,
            told: 0,
            leaving: ShutdownProgress::No,
            finished: false,
            signalled: false,
            more: false,
        }
    }

    /// Shows the last event and says how it all ended.
    pub fn end(mut self, ending: Option<Exit>, clock: &Clock) -> Status {
        let leaving = self.leaving != ShutdownProgress::No;
        let ending = ending.unwrap_or_default();
        self.status = if self.core_first { ending.status.or(self.status) } else { self.status.or(ending.status) };
        if !leaving && let Some(failure) = self.feed.client_ended() {
            self.fail(failure, clock.now().unix);
        }
        let body = Body::Client(ClientEvent::Exit { status: self.status.code(), shown: ending.exiting });
        let last = Event { at: clock.now().unix, cmd: None, group: ending.group, body };
        let hurry = leaving.then(|| clock.now().mono + LAST_WORDS_LIMIT);
        let mut signal = None;
        self.printer.close(last, || {
            signal = signal.or_else(|| self.signals.arrived.try_recv().ok());
            signal.is_some() || hurry.is_some_and(|at| clock.now().mono >= at)
        });
        if let Some(signal) = signal {
            self.status = self.status.or(Status::Signal(signal_number(signal)));
            self.signalled = true;
        }
        let pending = self.given.saturating_sub(self.done);
        if self.signalled && pending > 0 {
            let commands = if pending == 1 { "command" } else { "commands" };
            complain_quickly(format!("{pending} {commands} had no outcome."));
        }
        if let Some(Gone::Broken(kind)) = self.printer.gone() {
            complain_quickly(format!("The output could not be written: {kind}."));
            // Perhaps it is only known since the last words.
            self.status = self.status.or(Status::Environment);
        }
        self.status
    }

    fn fail(&mut self, failure: ScriptFailure, at: Timestamp) {
        self.ended_by(failure.status);
        self.printer.say(Event { at, cmd: None, group: None, body: Body::Client(failure.event) });
    }

    fn ended_by(&mut self, status: Status) {
        if self.status == Status::Ok {
            (self.status, self.core_first) = (status, self.failed);
        }
    }

    fn look_around(&mut self) {
        while let Ok(signal) = self.signals.arrived.try_recv() {
            self.ended_by(Status::Signal(signal_number(signal)));
            self.signalled = true;
            if self.leaving == ShutdownProgress::No {
                self.leaving = ShutdownProgress::Asked;
            }
        }
        if self.leaving == ShutdownProgress::No
            && let Some(gone) = self.printer.gone()
        {
            self.ended_by(match gone {
                Gone::Reader => Status::Ok,
                Gone::Terminal => Status::Signal(signal_number(SIGHUP)),
                Gone::Broken(_) => Status::Environment,
            });
            self.leaving = ShutdownProgress::Asked;
        }
    }

    /// Whether the next command may be given now.
    fn takes_commands(&self) -> bool {
        self.welcome && self.table && !self.finished && !self.printer.is_behind()
    }

    fn learn(&mut self, event: &Event) {
        let Body::Client(body) = &event.body else { return };
        match body {
            ClientEvent::Registered { .. } => self.welcome = true,
            ClientEvent::Table { .. } => self.table = true,
            // It is told when the program ends.
            ClientEvent::Done { reason: Some(Reason::Interrupted), .. } => {}
            ClientEvent::Done { ok, .. } => {
                self.done += 1;
                self.failed |= !ok;
            }
            _ => {}
        }
        self.surroundings.learn(event);
    }
}

fn signal_number(signal: i32) -> u8 {
    u8::try_from(signal).unwrap_or(0)
}

impl Host<Client> for ClientHost {
    fn next(&mut self, now: Now) -> Option<Input<'static, ClientInput>> {
        self.look_around();
        if self.leaving == ShutdownProgress::Asked {
            self.leaving = ShutdownProgress::Told(now.mono + LEAVE_LIMIT);
            return Some(Input::Shutdown);
        }
        let shown = self.printer.shown();
        if shown > self.told {
            self.told = shown;
            return Some(Input::Displayed(shown));
        }
        self.more = false;
        for _ in 0..WAITING {
            if self.leaving != ShutdownProgress::No || !self.takes_commands() {
                return None;
            }
            match self.feed.next(now)? {
                SourceEvent::Command(command) => {
                    self.given += 1;
                    return Some(Input::Role(ClientInput::Command(command)));
                }
                SourceEvent::Nothing => self.printer.answered(),
                SourceEvent::End => {
                    self.printer.answered();
                    self.finished = true;
                    return Some(Input::Role(ClientInput::EndOfInput));
                }
                SourceEvent::Failed(failure) => {
                    self.fail(failure, now.unix);
                    self.finished = true;
                    return Some(Input::Role(ClientInput::EndOfInput));
                }
            }
        }
        // Empty lines without end must not keep the loop from anything else.
        self.more = true;
        None
    }

    fn events(&mut self, now: Now, events: Vec<Event>) {
        for event in events {
            self.learn(&event);
            self.feed.event(now, &event);
            self.printer.show(event);
        }
        // The first prompt waits for the welcome as the others do for the outcomes.
        if self.done >= self.given && self.welcome && self.table {
            self.printer.answered();
        }
    }

    /// An event of the shell: the core does not count it among those that it waits to hear were shown.
    fn swallowed(&mut self, now: Now, swallowed: TraceEvent) {
        let event = Event { at: now.unix, cmd: None, group: None, body: Body::Trace(swallowed) };
        self.feed.event(now, &event);
        self.printer.say(event);
    }

    fn perform(&mut self, _none: Vec<ClientEffect>) {}

    fn deadline(&self) -> Option<Instant> {
        match self.leaving {
            ShutdownProgress::Told(until) => Some(until),
            _ if self.more => Some(Instant::ZERO),
            _ if self.takes_commands() => self.feed.deadline(),
            _ => None,
        }
    }

    fn is_full(&self) -> bool {
        false
    }

    fn is_over(&self, now: Now) -> bool {
        matches!(self.leaving, ShutdownProgress::Told(until) if now.mono >= until)
    }
}
