//! Around a server in its loop: words go in, records go to the store and back, events go out, and signals end it.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use nix::libc::SIGHUP;

use crate::io::clock::Clock;
use crate::io::event_loop::Host;
use crate::io::input::{InputLine, Lines, WAITING};
use crate::io::store::{Store, StoreAnswer};
use crate::proto::console::{self, Console};
use crate::proto::event::reason::Problem;
use crate::proto::event::server::ServerEvent;
use crate::proto::event::trace::TraceEvent;
use crate::proto::event::{Body, Event};
use crate::proto::machine::{Exit, Input, ServerEffect, ServerInput};
use crate::proto::server::Server;
use crate::proto::status::Status;
use crate::proto::time::{Instant, Now, Timestamp};
use crate::ui::printer::{Gone, Printer};
use crate::ui::start::{Signals, complain_quickly};

/// How long a server that was asked to end may take until it looks at nothing new; what it has accepted is written
/// whatever that takes.
const LEAVE_LIMIT: Duration = Duration::from_millis(300);

/// How long its last words may take: only output that is blocked needs it.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(1);

/// What stands around a server.
pub struct ServerHost {
    lines: Lines,
    printer: Printer,
    store: Store,
    answers: Receiver<StoreAnswer>,
    signals: Signals,
    status: Status,
    told: u64,
    /// Asked to end, and has until then.
    leaving: Option<Instant>,
    /// The disk cannot be trusted any more.
    broken: bool,
    /// There may be more words than were taken at once.
    more: bool,
}

impl ServerHost {
    /// A front of a server that has not started yet; the store's answers come from `answers`.
    pub fn new(lines: Lines, printer: Printer, store: Store, answers: Receiver<StoreAnswer>, signals: Signals) -> Self {
        let (status, told, leaving, broken, more) = (Status::Ok, 0, None, false, false);
        Self { lines, printer, store, answers, signals, status, told, leaving, broken, more }
    }

    /// Shows the last event, closes the store and says how it all ended.
    pub fn end(self, ending: Option<Exit>, clock: &Clock) -> Status {
        let status = self.status.or(ending.unwrap_or_default().status);
        let until = clock.now().mono + LAST_WORDS_LIMIT;
        self.printer.close(event(clock.now().unix, ServerEvent::Exit { status: status.code() }), || {
            clock.now().mono >= until || self.signals.arrived.try_recv().is_ok()
        });
        if !self.broken {
            self.store.close();
        }
        status
    }

    /// Whether a signal came, or the reader of our output went away, which ends a server as any other program. A
    /// terminal that was closed does not: where that is meant to end it, there is a signal as well.
    fn is_asked_to_end(&mut self) -> bool {
        if let Ok(signal) = self.signals.arrived.try_recv() {
            if signal == SIGHUP {
                self.status = self.status.or(Status::Signal(1));
            }
            return true;
        }
        match self.printer.gone() {
            Some(Gone::Broken(kind)) => {
                complain_quickly(format!("The output could not be written: {kind}."));
                self.status = self.status.or(Status::Environment);
                true
            }
            gone => gone == Some(Gone::Reader),
        }
    }

    /// What the store has to say; what is for people is shown here.
    fn heed(&mut self, answer: StoreAnswer, at: Timestamp) -> Option<ServerInput> {
        let definite = true;
        match answer {
            StoreAnswer::Persisted { through, refused } => return Some(ServerInput::Persisted { through, refused }),
            StoreAnswer::Mail(mail) => return Some(ServerInput::Mail(mail)),
            StoreAnswer::Warning(message) => {
                self.printer.say(event(at, ServerEvent::Warning { code: Problem::Store, message, definite }));
            }
            StoreAnswer::Fatal(message) => {
                complain_quickly(message.clone());
                self.printer.say(event(at, ServerEvent::Error { code: Problem::Store, message, definite }));
                (self.broken, self.status) = (true, self.status.or(Status::Environment));
            }
        }
        None
    }
}

fn event(at: Timestamp, body: ServerEvent) -> Event {
    Event { at, cmd: None, group: None, body: Body::Server(body) }
}

impl Host<Server> for ServerHost {
    fn next(&mut self, now: Now) -> Option<Input<'static, ServerInput>> {
        if self.leaving.is_none() && self.is_asked_to_end() {
            self.leaving = Some(now.mono + LEAVE_LIMIT);
            return Some(Input::Shutdown);
        }
        let shown = self.printer.shown();
        if shown > self.told {
            self.told = shown;
            return Some(Input::Displayed(shown));
        }
        while !self.broken
            && let Ok(answer) = self.answers.try_recv()
        {
            if let Some(input) = self.heed(answer, now.unix) {
                return Some(Input::Role(input));
            }
        }
        self.more = false;
        for _ in 0..WAITING {
            if self.printer.is_behind() {
                return None;
            }
            let word = match self.lines.take()? {
                InputLine::Whole(line) => console::parse(&line),
                InputLine::Long { .. } => Some(Console::Unknown(None)),
                // The end of its input changes nothing for a server.
                InputLine::Broken(_) | InputLine::End => None,
            };
            if let Some(word) = word {
                return Some(Input::Role(ServerInput::Console(word)));
            }
            self.printer.answered();
        }
        // Empty lines without end must not keep the loop from anything else.
        self.more = true;
        None
    }

    fn events(&mut self, _now: Now, events: Vec<Event>) {
        for event in events {
            self.printer.show(event);
        }
        self.printer.answered();
    }

    fn swallowed(&mut self, now: Now, swallowed: TraceEvent) {
        self.printer.say(Event { at: now.unix, cmd: None, group: None, body: Body::Trace(swallowed) });
    }

    /// The records of one turn belong together: the store writes them in one transaction.
    fn perform(&mut self, effects: Vec<ServerEffect>) {
        let mut records = Vec::new();
        for effect in effects {
            match effect {
                ServerEffect::Persist(record) => records.push(record),
                ServerEffect::Fetch(seqs) => self.store.fetch(seqs),
            }
        }
        if !records.is_empty() {
            self.store.submit(records);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        if self.more { Some(Instant::ZERO) } else { self.leaving }
    }

    fn is_full(&self) -> bool {
        self.store.is_full()
    }

    fn is_over(&self, now: Now) -> bool {
        self.broken || self.leaving.is_some_and(|until| now.mono >= until)
    }
}
