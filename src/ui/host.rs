//! The host of a client or a server in the event loop: signals, time limits, displayed events and the exit status.
//!
//! A [`HostRole`] holds only the differences: its inputs, its effects, and the consequences of its events.

use std::io::ErrorKind;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::io::clock::Clock;
use crate::io::event_loop::Host;
use crate::io::input::QUEUED_LINES_MAX;
use crate::proto::event::trace::TraceEvent;
use crate::proto::event::{Body, Event};
use crate::proto::machine::{Exit, Input, Machine};
use crate::proto::status::Status;
use crate::proto::time::{Instant, Now};
use crate::ui::printer::{Printer, print_error};
use crate::ui::session::Signals;

/// Time limit for a machine to end after a shutdown was requested. The notice of a client takes 150 ms of it at most.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(300);

/// Time limit for displaying the last events after a shutdown; only blocked output needs it.
pub const LAST_EVENTS_LIMIT: Duration = Duration::from_secs(1);

/// Time limit for a sentence on standard error before the program ends without it.
const ERROR_LIMIT: Duration = Duration::from_secs(1);

/// The part of a host that differs between a client and a server.
pub trait HostRole {
    /// The machine of this role.
    type Machine: Machine;

    /// Whether a signal or the end of the output requests a shutdown. Called before every input, also after a request.
    fn requests_shutdown(&mut self, shell: &mut Shell) -> bool;

    /// The next input of this role. Never blocks.
    fn next_input(&mut self, shell: &mut Shell, now: Now) -> NextInput<<Self::Machine as Machine>::Input>;

    /// Takes an event before it is displayed.
    fn learn(&mut self, now: Now, event: &Event);

    /// Whether every line that was typed so far has its outcome, so that the next prompt may appear.
    fn has_answered(&self) -> bool;

    /// Performs the effects of one turn. Never blocks.
    fn perform(&mut self, effects: Vec<<Self::Machine as Machine>::Effect>);

    /// When to call [`HostRole::next_input`] at the latest.
    fn deadline(&self, shell: &Shell) -> Option<Instant>;

    /// Whether the machine is too far ahead of the disk.
    fn is_full(&self) -> bool;

    /// Whether the program cannot go on.
    fn is_broken(&self) -> bool;

    /// Adds the exit of the machine to the status of the program, and returns the event that reports it.
    fn last_event(&mut self, shell: &mut Shell, exit: Exit, now: Now) -> Event;

    /// Time limit for displaying the last events, if there is one.
    fn last_events_limit(&self, shell: &Shell) -> Option<Duration>;

    /// Releases everything and returns the exit status. `signal` arrived while the last events were displayed.
    fn close(self, shell: Shell, signal: Option<i32>) -> Status;
}

/// Answer of [`HostRole::next_input`].
pub enum NextInput<I> {
    /// This input.
    Ready(I),
    /// A line without a command: it has no outcome, and there may be more lines.
    Skipped,
    /// None at this time.
    Pending,
}

/// The state that clients and servers share.
pub struct Shell {
    /// Displays the events.
    pub printer: Printer,
    /// Signals that request a shutdown.
    pub signals: Signals,
    /// The first status other than [`Status::Ok`] that the shell set.
    pub status: Status,
    /// When the host ends at the latest, once a shutdown was requested.
    shutdown_deadline: Option<Instant>,
}

impl Shell {
    /// Whether a shutdown was requested.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.shutdown_deadline.is_some()
    }

    /// Sets the status if no status other than [`Status::Ok`] was set before.
    pub fn set_status(&mut self, status: Status) {
        self.status = self.status.or(status);
    }

    /// Reports on standard error that the output cannot be written, and sets the status.
    pub fn output_failed(&mut self, kind: ErrorKind) {
        print_error_unless_blocked(format!("The output could not be written: {kind}."));
        self.set_status(Status::Environment);
    }
}

/// The host of a client or a server.
pub struct ProgramHost<R> {
    role: R,
    shell: Shell,
    /// Number of displayed events that was last reported to the machine.
    displayed: u64,
    /// The last turn read as many lines as one turn may read. More may be queued.
    has_more_lines: bool,
}

impl<R: HostRole> ProgramHost<R> {
    /// The host of a machine that has not started yet.
    pub fn new(role: R, printer: Printer, signals: Signals) -> Self {
        let shell = Shell { printer, signals, status: Status::Ok, shutdown_deadline: None };
        Self { role, shell, displayed: 0, has_more_lines: false }
    }

    /// Displays the last event and returns the exit status. `exit` is `None` if the machine did not end in time.
    pub fn end(self, exit: Option<Exit>, clock: &Clock) -> Status {
        let Self { mut role, mut shell, .. } = self;
        let last = role.last_event(&mut shell, exit.unwrap_or_default(), clock.now());
        let deadline = role.last_events_limit(&shell).map(|limit| clock.now().mono + limit);
        let mut signal = None;
        shell.printer.close(last, || {
            signal = signal.or_else(|| shell.signals.arrived.try_recv().ok());
            signal.is_some() || deadline.is_some_and(|at| clock.now().mono >= at)
        });
        role.close(shell, signal)
    }
}

impl<R: HostRole> Host<R::Machine> for ProgramHost<R> {
    fn next(&mut self, now: Now) -> Option<Input<'static, <R::Machine as Machine>::Input>> {
        if self.role.requests_shutdown(&mut self.shell) && !self.shell.is_shutting_down() {
            self.shell.shutdown_deadline = Some(now.mono + SHUTDOWN_LIMIT);
            return Some(Input::Shutdown);
        }
        let displayed = self.shell.printer.displayed();
        if displayed > self.displayed {
            self.displayed = displayed;
            return Some(Input::Displayed(displayed));
        }
        self.has_more_lines = false;
        for _ in 0..QUEUED_LINES_MAX {
            match self.role.next_input(&mut self.shell, now) {
                NextInput::Ready(input) => return Some(Input::Role(input)),
                NextInput::Skipped => self.shell.printer.answered(),
                NextInput::Pending => return None,
            }
        }
        // An endless input of empty lines must not block the loop.
        self.has_more_lines = true;
        None
    }

    fn events(&mut self, now: Now, events: Vec<Event>) {
        for event in &events {
            self.role.learn(now, event);
        }
        self.shell.printer.display(events);
        if self.role.has_answered() {
            self.shell.printer.answered();
        }
    }

    /// This is an event of the shell, so the machine does not count it among its displayed events.
    fn dropped(&mut self, now: Now, dropped: TraceEvent) {
        let event = Event { at: now.unix, cmd: None, group: None, body: Body::Trace(dropped) };
        self.role.learn(now, &event);
        self.shell.printer.display_uncounted(event);
    }

    fn perform(&mut self, effects: Vec<<R::Machine as Machine>::Effect>) {
        self.role.perform(effects);
    }

    fn deadline(&self) -> Option<Instant> {
        if self.has_more_lines {
            return Some(Instant::ZERO);
        }
        self.shell.shutdown_deadline.or_else(|| self.role.deadline(&self.shell))
    }

    fn is_full(&self) -> bool {
        self.role.is_full()
    }

    fn is_over(&self, now: Now) -> bool {
        self.role.is_broken() || self.shell.shutdown_deadline.is_some_and(|at| now.mono >= at)
    }
}

/// Converts the number of a signal to a [`Status`].
#[must_use]
pub fn signal_status(signal: i32) -> Status {
    Status::Signal(u8::try_from(signal).unwrap_or(0))
}

/// Prints a sentence to standard error. Gives up after [`ERROR_LIMIT`] if standard error is blocked.
pub fn print_error_unless_blocked(sentence: String) {
    let (done, wait) = channel();
    let spawned = std::thread::Builder::new().spawn(move || {
        print_error(&sentence);
        // After the limit the receiver is gone.
        let _ = done.send(());
    });
    if spawned.is_ok() {
        let _ = wait.recv_timeout(ERROR_LIMIT);
    }
}
