//! The screen shared with a line editor: output appears above the line being typed and never damages it.
//!
//! The editor could lose output, so no output passes through it. Its external printer only wakes it: the editor clears
//! its line and asks for its prompt again, and then [`Screen::repaint`] writes the queued events. Between two lines the
//! writing thread writes them itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::io::terminal::{self, Mode};
use crate::ui::printer::{Out, PrinterState};

/// Moves the cursor up to the row that the editor has just cleared. The editor ends every message with a newline, even
/// the empty message of a wake.
const CURSOR_UP: &[u8] = b"\x1b[A";

/// Time after which an editor that did not repaint is woken again. It misses a wake while it starts or ends a line.
const WAKE_AGAIN: Duration = Duration::from_millis(50);

/// Time limit for the editor to release the screen at the end of the program. It may be blocked in a write.
const RELEASE_LIMIT: Duration = Duration::from_millis(500);

/// Clears the line.
const ERASE_LINE: &[u8] = b"\r\x1b[K";

/// Turn bracketed paste on and off. The editor uses it: the terminal marks pasted text.
const PASTE_ON: &[u8] = b"\x1b[?2004h";
const PASTE_OFF: &[u8] = b"\x1b[?2004l";

/// Owner of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The writing thread: the editor is not running.
    Outside,
    /// Nobody: the editor is about to paint its first prompt.
    Entering,
    /// The editor.
    Inside,
    /// The writing thread, for the last events: the editor's thread is stopped.
    Parked,
}

/// The screen and its owner. Clones share it.
#[derive(Clone)]
pub struct Screen {
    inner: Arc<Inner>,
}

struct Inner {
    phase: Mutex<Phase>,
    changed: Condvar,
    /// Wakes the editor.
    waker: SyncSender<()>,
    mode: Mode,
    /// The editor has run, so that the mode of the terminal may have changed.
    was_used: AtomicBool,
}

impl Screen {
    /// A screen without a running editor. `print_in_editor` wakes the editor with an empty text, which is invisible if
    /// the editor is not running. It may block, so it runs on a thread of its own. `mode` is restored at the end.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn new(mut print_in_editor: impl FnMut(String) + Send + 'static, mode: Mode) -> std::io::Result<Self> {
        let (waker, wakes) = sync_channel(1);
        std::thread::Builder::new().name("editor-waker".to_owned()).spawn(move || {
            for () in wakes {
                print_in_editor(String::new());
            }
        })?;
        let (phase, changed, was_used) = (Mutex::new(Phase::Outside), Condvar::new(), AtomicBool::new(false));
        let inner = Inner { phase, changed, waker, mode, was_used };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Prepares the screen before the editor starts. At the end of the program this does not return.
    pub(super) fn enter(&self, shared: &PrinterState) {
        // Waits until the writing thread has finished its line.
        let out = shared.out();
        let mut phase = self.phase();
        drop(out);
        if shared.is_closing() {
            drop(phase);
            park();
        }
        *phase = Phase::Entering;
        self.inner.was_used.store(true, Ordering::SeqCst);
        // The phase stays locked, so that the mode does not change after its last restore.
        self.inner.mode.quiet();
    }

    /// Called when the editor asks for its prompt. Writes the queued events if the editor's line is cleared: at the
    /// first prompt and after a wake, but not at an `ordinary` repaint. At the end of the program this does not return.
    pub(super) fn repaint(&self, shared: &PrinterState, ordinary: bool) {
        let mut out = shared.out();
        let entering = *self.phase() == Phase::Entering;
        if entering {
            self.set(Phase::Inside);
        } else if !ordinary {
            // The next write reports a closed terminal.
            let _ = out.write(CURSOR_UP);
        }
        if !shared.is_closing() && (entering || !ordinary) {
            shared.write_queued(&mut out);
        }
        drop(out);
        self.park_if_closing(shared);
    }

    /// Called when the editor has ended its line. Writes the queued events.
    pub(super) fn leave(&self, shared: &PrinterState) {
        self.park_if_closing(shared);
        let mut out = shared.out();
        self.set(Phase::Outside);
        shared.write_queued(&mut out);
    }

    /// Restores the mode of the terminal while `stopped` runs. The editor calls it and repaints its line afterwards.
    pub(super) fn pause(&self, shared: &PrinterState, stopped: impl FnOnce()) {
        let raw = Mode::save();
        let mut out = shared.out();
        // The next write reports a closed terminal.
        let _ = out.write(PASTE_OFF).and_then(|()| out.write(b"\r\n"));
        self.set(Phase::Outside);
        drop(out);
        self.inner.mode.restore();
        stopped();
        self.enter(shared);
        if let Some(raw) = raw {
            raw.restore();
        }
        let _ = shared.out().write(PASTE_ON);
    }

    /// The body of the writing thread. Returns when the printer closes.
    pub(super) fn write_until_closed(&self, shared: &PrinterState) {
        while !shared.wait_for_work() {
            let mut out = shared.out();
            let phase = *self.phase();
            if phase == Phase::Outside {
                shared.write_queued(&mut out);
                continue;
            }
            drop(out);
            if shared.count_silent() {
                continue;
            }
            if phase == Phase::Inside {
                self.wake_editor();
            }
            shared.wait_for_others(WAKE_AGAIN);
        }
        self.take_over();
        self.restore_mode();
        self.write_last_events(shared, &mut shared.out());
        shared.finish();
    }

    /// Restores the mode that the terminal had at the start. Does not wait for the writing thread.
    pub(super) fn restore_mode(&self) {
        let _phase = self.phase();
        // In the background the mode is that of the foreground process.
        if self.inner.was_used.load(Ordering::SeqCst) && terminal::is_foreground() {
            self.inner.mode.restore();
        }
    }

    fn write_last_events(&self, shared: &PrinterState, out: &mut Out) {
        if *self.phase() != Phase::Outside {
            // A closed terminal needs no erasing.
            let _ = out.write(ERASE_LINE).and_then(|()| out.write(PASTE_OFF));
        }
        shared.write_queued(out);
    }

    /// Waits until the editor has released the screen.
    fn take_over(&self) {
        let until = Instant::now() + RELEASE_LIMIT;
        let mut phase = self.phase();
        while matches!(*phase, Phase::Entering | Phase::Inside) && Instant::now() < until {
            if *phase == Phase::Inside {
                self.wake_editor();
            }
            let waited = self.inner.changed.wait_timeout(phase, Duration::from_millis(10));
            phase = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Wakes the editor. One pending wake is enough.
    fn wake_editor(&self) {
        let _ = self.inner.waker.try_send(());
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.inner.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, phase: Phase) {
        *self.phase() = phase;
        self.inner.changed.notify_all();
    }

    /// Stops the editor's thread at the end of the program. Otherwise it would paint over the last events, or change
    /// the mode of the terminal after the last restore.
    fn park_if_closing(&self, shared: &PrinterState) {
        if shared.is_closing() {
            let is_outside = *self.phase() == Phase::Outside;
            if !is_outside {
                self.set(Phase::Parked);
            }
            park();
        }
    }
}

fn park() -> ! {
    loop {
        std::thread::park();
    }
}
