//! The only file that prints: events as people or programs read them, and sentences on standard error.
//!
//! A thread of its own writes, so that output that is blocked delays nothing else. Each batch is flushed before it
//! counts as shown.

#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::io::input::Wake;
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::Problem;
use crate::proto::event::server::ServerEvent;
use crate::proto::event::{Body, Event};
use crate::proto::text::{escape_for_terminal, escape_json_for_terminal};
use crate::ui::backlog::Backlog;
use crate::ui::screen::Screen;

/// The most events of one write.
const BATCH: usize = 256;

/// How events are written.
#[derive(Clone, Debug)]
pub struct OutputStyle {
    /// One JSON object a line, instead of lines for people.
    pub json: bool,
    /// What a terminal would obey is escaped.
    pub terminal: bool,
    /// The client's name, or `server`.
    pub me: String,
}

/// Why nothing can be written any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The reader of our output went away.
    Reader,
    /// The terminal was closed.
    Terminal,
    /// The system says so, by this kind of error: a full disk, for one.
    Broken(ErrorKind),
}

/// The way to the writing thread. Copies lead to the same one.
#[derive(Clone)]
pub struct Printer {
    shared: Arc<PrinterState>,
    screen: Option<Screen>,
}

/// What the writing thread and everybody else share. `out` is locked while writing, `queue` never for long; whoever
/// needs both takes `out` first.
pub(super) struct PrinterState {
    queue: Mutex<PrintQueue>,
    /// Something about the queue, the screen or the awaited outcome is new.
    pub(super) changed: Condvar,
    pub(super) out: Mutex<Out>,
    displayed: AtomicU64,
    wake: Wake,
}

#[derive(Default)]
struct PrintQueue {
    backlog: Backlog,
    /// Nothing but what is queued will be written.
    closing: bool,
    finished: bool,
    gone: Option<Gone>,
    /// A line was typed, or the program was started, and the outcome is not here yet.
    awaiting: bool,
}

/// What the bytes go through.
pub(super) struct Out {
    style: OutputStyle,
    seq: u64,
    sink: Box<dyn Write + Send>,
}

impl Printer {
    /// Starts to write to standard output; with a screen, beside the line that is being typed there. `wake` is called
    /// when something was shown, and when nothing can be shown any more.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn start(style: OutputStyle, screen: Option<Screen>, wake: Wake) -> io::Result<Self> {
        Self::to(Box::new(io::stdout()), style, screen, wake)
    }

    fn to(sink: Box<dyn Write + Send>, style: OutputStyle, screen: Option<Screen>, wake: Wake) -> io::Result<Self> {
        let out = Mutex::new(Out { style, seq: 0, sink });
        let queue = Mutex::new(PrintQueue { awaiting: true, ..PrintQueue::default() });
        let (changed, displayed) = (Condvar::new(), AtomicU64::new(0));
        let shared = Arc::new(PrinterState { queue, changed, out, displayed, wake });
        let printer = Self { shared, screen };
        let Self { shared, screen } = printer.clone();
        std::thread::Builder::new().name("output".to_owned()).spawn(move || match screen {
            None => shared.write_until_closed(),
            Some(screen) => screen.write_until_closed(&shared),
        })?;
        Ok(printer)
    }

    /// Queues an event of the core, which waits to hear that it was shown. Never blocks.
    pub fn display(&self, event: Event) {
        self.push(event, true);
    }

    /// Queues an event of the shell. Never blocks.
    pub fn display_uncounted(&self, event: Event) {
        self.push(event, false);
    }

    fn push(&self, event: Event, counted: bool) {
        self.shared.queue().backlog.push(event, counted);
        self.shared.changed.notify_all();
    }

    /// How many events of the core are written where their reader can have them.
    #[must_use]
    pub fn displayed(&self) -> u64 {
        self.shared.displayed.load(Ordering::SeqCst)
    }

    /// Whether so much waits that nothing should be done that causes more.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.shared.queue().backlog.is_long()
    }

    /// Why nothing can be written any more, if that is so.
    #[must_use]
    pub fn gone(&self) -> Option<Gone> {
        self.shared.queue().gone
    }

    /// Says that the outcome of what was typed is queued, or that there is none to wait for.
    pub fn answered(&self) {
        self.shared.queue().awaiting = false;
        self.shared.changed.notify_all();
    }

    /// From here on [`Printer::wait_for_answer`] waits.
    pub(super) fn await_answer(&self) {
        self.shared.queue().awaiting = true;
    }

    /// Waits until the outcome of the typed line is written, at most this long.
    pub(super) fn wait_for_answer(&self, limit: Duration) {
        let wait = |queue: &mut PrintQueue| (queue.awaiting || !queue.backlog.is_empty()) && !queue.closing;
        drop(self.shared.changed.wait_timeout_while(self.shared.queue(), limit, wait));
    }

    pub(super) fn shared(&self) -> &Arc<PrinterState> {
        &self.shared
    }

    /// Writes what is queued and the last event, and returns when all is written or when `is_enough` says so, which
    /// is asked every few milliseconds.
    pub fn close(&self, last: Event, mut is_enough: impl FnMut() -> bool) {
        self.display_uncounted(last);
        self.shared.queue().closing = true;
        self.shared.changed.notify_all();
        let mut queue = self.shared.queue();
        while !queue.finished && !is_enough() {
            let waited = self.shared.changed.wait_timeout(queue, Duration::from_millis(5));
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What gives the terminal its mode back when it is dropped, however the program comes to its end.
    #[must_use]
    pub fn terminal_guard(&self) -> TerminalGuard {
        TerminalGuard(self.screen.clone())
    }
}

/// The terminal as a line editor uses it, until this is dropped.
pub struct TerminalGuard(Option<Screen>);

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        if let Some(screen) = &self.0 {
            screen.give_back();
        }
    }
}

impl PrinterState {
    fn queue(&self) -> MutexGuard<'_, PrintQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.queue().closing
    }

    /// Waits until something waits to be written or the end is near; says whether it is the end.
    pub(super) fn wait_for_work(&self) -> bool {
        let idle = |queue: &mut PrintQueue| queue.backlog.is_empty() && !queue.closing;
        let queue = self.changed.wait_while(self.queue(), idle);
        queue.unwrap_or_else(PoisonError::into_inner).closing
    }

    /// Waits, not long, until nothing waits to be written any more, or the end is near.
    pub(super) fn wait_for_others(&self, limit: Duration) {
        let busy = |queue: &mut PrintQueue| !queue.backlog.is_empty() && !queue.closing;
        drop(self.changed.wait_timeout_while(self.queue(), limit, busy));
    }

    /// Says that everything is written.
    pub(super) fn finish(&self) {
        self.queue().finished = true;
        self.changed.notify_all();
    }

    fn write_until_closed(&self) {
        while !self.wait_for_work() {
            self.write_queued(&mut self.out());
        }
        self.write_queued(&mut self.out());
        self.finish();
    }

    /// If nothing of what is queued has a line for people, that is shown already: says whether it was so.
    pub(super) fn count_silent(&self) -> bool {
        let mut queue = self.queue();
        let silent = queue.backlog.take_silent();
        if let Some(counts) = silent {
            self.displayed.fetch_add(counts, Ordering::SeqCst);
        }
        drop(queue);
        self.changed.notify_all();
        (self.wake)();
        silent.is_some()
    }

    /// Writes everything that is queued.
    pub(super) fn write_queued(&self, out: &mut Out) {
        loop {
            let (batch, gone) = {
                let mut queue = self.queue();
                (queue.backlog.take(BATCH), queue.gone.is_some())
            };
            if batch.events.is_empty() && batch.dropped == 0 {
                self.changed.notify_all();
                return;
            }
            if gone {
                continue;
            }
            let mut text = String::new();
            for event in &batch.events {
                out.render(event, &mut text);
            }
            if batch.dropped > 0
                && let Some(event) = batch.events.last()
            {
                out.render(&dropped(event, batch.dropped), &mut text);
            }
            match out.write(text.as_bytes()) {
                Ok(()) => _ = self.displayed.fetch_add(batch.counts, Ordering::SeqCst),
                Err(error) => self.queue().gone = Some(why_gone(&error)),
            }
            (self.wake)();
        }
    }
}

impl Out {
    /// Writes bytes as they are, and flushes them.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sink.write_all(bytes)?;
        self.sink.flush()
    }

    fn render(&mut self, event: &Event, text: &mut String) {
        if self.style.json {
            self.seq += 1;
            let line = event.json(self.seq, &self.style.me);
            text.push_str(&if self.style.terminal { escape_json_for_terminal(&line) } else { line.as_str().into() });
            text.push('\n');
            return;
        }
        let Some(lines) = event.line() else { return };
        let prompt = event.prompt();
        for line in lines.split('\n') {
            text.push_str(&prompt);
            text.push_str(&if self.style.terminal { escape_for_terminal(line) } else { line.into() });
            text.push('\n');
        }
    }
}

fn why_gone(error: &io::Error) -> Gone {
    match error.kind() {
        ErrorKind::BrokenPipe => Gone::Reader,
        _ if error.raw_os_error() == Some(nix::errno::Errno::EIO as i32) => Gone::Terminal,
        kind => Gone::Broken(kind),
    }
}

/// The warning that events were dropped, in the role and at the time of the event before it.
fn dropped(event: &Event, count: u64) -> Event {
    let message = format!("The output was blocked, {count} events were not shown.");
    let (code, definite) = (Problem::OutputBlocked, true);
    let body = match event.body {
        // What the warning looks like does not depend on the role.
        Body::Client(_) | Body::Trace(_) => Body::Client(ClientEvent::Warning { code, message, definite }),
        Body::Server(_) => Body::Server(ServerEvent::Warning { code, message, definite }),
    };
    Event { at: event.at, cmd: None, group: None, body }
}

/// Writes one sentence to standard error. Nobody there to read it is no failure.
pub fn print_error(sentence: &str) {
    let end = if sentence.ends_with(['.', '?', '!']) { "" } else { "." };
    drop(writeln!(io::stderr(), "{}{end}", for_reader(sentence)));
}

/// Writes text to standard output, for answers that are no events: help, version, a launcher's own words.
pub fn answer(text: &str) {
    let mut out = io::stdout();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Gives a report its two streams.
pub fn report<T>(write: impl FnOnce(&mut dyn Write, &mut dyn Write) -> T) -> T {
    write(&mut io::stdout(), &mut io::stderr())
}

fn for_reader(sentence: &str) -> String {
    sentence.split('\n').map(escape_for_terminal).collect::<Vec<_>>().join("\n")
}
