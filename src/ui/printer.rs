//! Prints events to standard output and errors to standard error. No other file prints.
//!
//! Blocked output delays nothing else. Output to a file, or to a pipe with room, is written at once by the thread of
//! the event loop. A thread of its own writes everything else, and goes on where a pipe became full. An event counts as
//! displayed after its batch was flushed.

mod backlog;
mod out;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use crate::io::direct_output;
use crate::io::input::Wake;
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::Problem;
use crate::proto::event::sentences::Sentence;
use crate::proto::event::server::ServerEvent;
use crate::proto::event::{Body, Event};
use crate::proto::text::escape_for_terminal;
use crate::ui::printer::backlog::Backlog;
pub(super) use crate::ui::printer::out::Out;
use crate::ui::screen::Screen;

/// The most events of one write.
const BATCH: usize = 256;

/// The style of printed events.
#[derive(Clone, Debug)]
pub struct OutputStyle {
    /// Writes one JSON object a line instead of text lines.
    pub json: bool,
    /// Control characters are escaped.
    pub terminal: bool,
    /// The client's name, or `server`.
    pub me: String,
}

/// Why the output cannot be written any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The reader of the output closed it.
    Reader,
    /// The terminal was closed.
    Terminal,
    /// The system reports this kind of error, such as a full disk.
    Broken(ErrorKind),
}

/// A handle of the output. Clones share it.
#[derive(Clone)]
pub struct Printer {
    shared: Arc<PrinterState>,
    screen: Option<Screen>,
}

/// The state of the output, shared by the event loop and the writing thread. `out` stays locked while something is
/// written, `queue` only for a moment. A thread that needs both locks `out` first.
pub(super) struct PrinterState {
    queue: Mutex<PrintQueue>,
    /// Notified when the queue, the screen or the awaited outcome changes.
    pub(super) changed: Condvar,
    pub(super) out: Mutex<Out>,
    displayed: AtomicU64,
    wake: Wake,
}

#[derive(Default)]
struct PrintQueue {
    backlog: Backlog,
    /// [`Out`] has a rest to write.
    has_rest: bool,
    /// No more events will be queued.
    closing: bool,
    finished: bool,
    gone: Option<Gone>,
    /// The outcome of the last typed line, or of the start, is not queued yet. The next prompt waits for it.
    is_awaiting: bool,
}

impl Printer {
    /// Starts to write to standard output; with a screen, above the line that is being typed there. `wake` is called
    /// after an event was displayed, and when the output fails.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start(style: OutputStyle, screen: Option<Screen>, wake: Wake) -> io::Result<Self> {
        let direct = if screen.is_none() { direct_output::open(&io::stdout()) } else { None };
        Self::to((Box::new(io::stdout()), direct), style, screen, wake)
    }

    fn to(
        (sink, direct): (Box<dyn Write + Send>, Option<File>),
        style: OutputStyle,
        screen: Option<Screen>,
        wake: Wake,
    ) -> io::Result<Self> {
        let out = Mutex::new(Out::new(style, sink, direct));
        let queue = Mutex::new(PrintQueue { is_awaiting: true, ..PrintQueue::default() });
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

    /// Displays events of the machine. The machine waits until they are displayed. Never blocks.
    pub fn display(&self, events: Vec<Event>) {
        let mut queue = self.shared.queue();
        events.into_iter().for_each(|event| queue.backlog.push(event, true));
        drop(queue);
        if !self.shared.write_directly() {
            self.shared.changed.notify_all();
        }
    }

    /// Queues an event of the shell. The machine does not count it. Never blocks.
    pub fn display_uncounted(&self, event: Event) {
        self.shared.queue().backlog.push(event, false);
        self.shared.changed.notify_all();
    }

    /// Whether the output appears above the line of an editor.
    #[must_use]
    pub fn has_editor(&self) -> bool {
        self.screen.is_some()
    }

    /// The number of displayed events of the machine.
    #[must_use]
    pub fn displayed(&self) -> u64 {
        self.shared.displayed.load(Ordering::SeqCst)
    }

    /// Whether so many events are queued that no more input should be read.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.shared.queue().backlog.is_long()
    }

    /// Why the output cannot be written any more; `None` if it can.
    #[must_use]
    pub fn gone(&self) -> Option<Gone> {
        self.shared.queue().gone
    }

    /// Notes that the outcome of the last typed line is queued, or that the line has none.
    pub fn answered(&self) {
        if !self.has_editor() {
            return;
        }
        self.shared.queue().is_awaiting = false;
        self.shared.changed.notify_all();
    }

    /// Notes that a line was typed, so that [`Printer::wait_for_answer`] waits for its outcome.
    pub(super) fn await_answer(&self) {
        self.shared.queue().is_awaiting = true;
    }

    /// Waits until the outcome of the last typed line is written, or for `limit`.
    pub(super) fn wait_for_answer(&self, limit: Duration) {
        let wait = |queue: &mut PrintQueue| (queue.is_awaiting || !queue.backlog.is_empty()) && !queue.closing;
        drop(self.shared.changed.wait_timeout_while(self.shared.queue(), limit, wait));
    }

    pub(super) fn shared(&self) -> &Arc<PrinterState> {
        &self.shared
    }

    /// Writes the queued events and the last one. Returns when all are written or when `is_enough` returns true.
    /// `is_enough` is called every few milliseconds.
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

    /// Returns a guard that restores the mode of the terminal when it is dropped, even during a panic.
    #[must_use]
    pub fn terminal_guard(&self) -> TerminalGuard {
        TerminalGuard(self.screen.clone())
    }
}

/// Restores the mode of the terminal when it is dropped.
pub struct TerminalGuard(Option<Screen>);

impl Drop for TerminalGuard {
    fn drop(&mut self) {
        if let Some(screen) = &self.0 {
            screen.restore_mode();
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

    /// Waits until an event is queued or the printer is closing; returns whether it is closing.
    pub(super) fn wait_for_work(&self) -> bool {
        let idle = |queue: &mut PrintQueue| queue.backlog.is_empty() && !queue.has_rest && !queue.closing;
        let queue = self.changed.wait_while(self.queue(), idle);
        queue.unwrap_or_else(PoisonError::into_inner).closing
    }

    /// Waits until another thread has written all queued events or the printer is closing, or for `limit`.
    pub(super) fn wait_for_others(&self, limit: Duration) {
        let busy = |queue: &mut PrintQueue| !queue.backlog.is_empty() && !queue.closing;
        drop(self.changed.wait_timeout_while(self.queue(), limit, busy));
    }

    /// Notes that everything is written.
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

    /// Counts the queued events as displayed and returns true if none of them has a text line.
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

    /// Writes all queued events, and waits while the output is blocked.
    pub(super) fn write_queued(&self, out: &mut Out) {
        loop {
            if out.has_rest {
                let result = out.write_rest();
                self.note(out, result);
                (self.wake)();
            }
            if !self.next_batch(out) {
                self.changed.notify_all();
                return;
            }
        }
    }

    /// Writes all queued events if the output takes them without waiting. Otherwise the writing thread must write.
    fn write_directly(&self) -> bool {
        let mut out = match self.out.try_lock() {
            Ok(out) => out,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // The writing thread is at work.
            Err(TryLockError::WouldBlock) => return false,
        };
        if !out.is_direct() {
            return false;
        }
        while !out.has_rest && self.next_batch(&mut out) {
            if !out.has_rest {
                continue;
            }
            match out.write_rest_directly() {
                // The output may take the rest at this moment already: the writing thread decides.
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.queue().has_rest = true,
                result => self.note(&mut out, result),
            }
        }
        !out.has_rest
    }

    /// Renders the next queued events. Returns false if there are none.
    fn next_batch(&self, out: &mut Out) -> bool {
        let (batch, gone) = {
            let mut queue = self.queue();
            (queue.backlog.take(BATCH), queue.gone.is_some())
        };
        if batch.events.is_empty() && batch.dropped == 0 {
            return false;
        }
        if gone {
            return true;
        }
        for event in &batch.events {
            out.render(event);
        }
        if batch.dropped > 0
            && let Some(event) = batch.events.last()
        {
            out.render(&dropped_warning(event, batch.dropped));
        }
        out.counts = batch.counts;
        out.has_rest = true;
        true
    }

    /// Notes that the last batch is written, or that it cannot be.
    fn note(&self, out: &mut Out, result: io::Result<()>) {
        match result {
            Ok(()) => _ = self.displayed.fetch_add(out.counts, Ordering::SeqCst),
            Err(error) => self.queue().gone = Some(classify_write_error(&error)),
        }
        out.clear();
        self.queue().has_rest = false;
    }
}

fn classify_write_error(error: &io::Error) -> Gone {
    match error.kind() {
        ErrorKind::BrokenPipe => Gone::Reader,
        _ if error.raw_os_error() == Some(nix::errno::Errno::EIO as i32) => Gone::Terminal,
        kind => Gone::Broken(kind),
    }
}

/// The warning that events were dropped. It has the role and the time of the event before it.
fn dropped_warning(event: &Event, count: u64) -> Event {
    let message = Sentence::OutputBlocked { count: &count }.to_string();
    let (code, definite) = (Problem::OutputBlocked, true);
    let body = match event.body {
        // The warning looks the same in both roles.
        Body::Client(_) | Body::Trace(_) => Body::Client(ClientEvent::Warning { code, message, definite }),
        Body::Server(_) => Body::Server(ServerEvent::Warning { code, message, definite }),
    };
    Event { at: event.at, cmd: None, group: None, body }
}

/// Prints one sentence to standard error. Ignores a closed standard error.
pub fn print_error(sentence: &str) {
    let end = if sentence.ends_with(['.', '?', '!']) { "" } else { "." };
    drop(writeln!(io::stderr(), "{}{end}", escape_lines(sentence)));
}

/// Prints text other than events to standard output: help, the version, the launcher's answers.
pub fn print_text(text: &str) {
    let mut out = io::stdout();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Passes standard output and standard error to a report.
pub fn with_streams<T>(write: impl FnOnce(&mut dyn Write, &mut dyn Write) -> T) -> T {
    write(&mut io::stdout(), &mut io::stderr())
}

fn escape_lines(sentence: &str) -> String {
    sentence.split('\n').map(escape_for_terminal).collect::<Vec<_>>().join("\n")
}
