//! The screen shared with a line editor: output appears above the line being typed and never damages it.
//!
//! The editor's own printer only rings a bell here. It wakes the editor, which clears its line and asks for its prompt
//! again; at that moment [`Screen::repaint`] writes what is queued, in order, and knows what was written. Between two
//! lines the writing thread writes by itself. Nothing is ever handed to the editor and lost there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::io::terminal::{self, Mode};
use crate::ui::printer::{Out, PrinterState};

/// Back up into the row that the editor has just cleared: it ends every message with a new line, the bell's empty one
/// as well.
const BACK_UP: &[u8] = b"\x1b[A";

/// How soon the bell is rung again when nobody answered: the editor was just about to start or to end.
const RING_AGAIN: Duration = Duration::from_millis(50);

/// How long the last words wait for the editor to let go of the screen; it may be stuck in a write itself.
const LET_GO: Duration = Duration::from_millis(500);

/// Clears the line.
const ERASE: &[u8] = b"\r\x1b[K";

/// Begins and ends the mode in which pasted text is marked, which the editor uses.
const PASTE_ON: &[u8] = b"\x1b[?2004h";
const PASTE_OFF: &[u8] = b"\x1b[?2004l";

/// Who writes to the screen at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The writing thread: nobody types.
    Outside,
    /// Nobody: the editor is preparing to paint its first prompt.
    Entering,
    /// The editor.
    Inside,
    /// The writing thread, for the last words; the editor's thread does nothing any more.
    Parked,
}

/// The screen and who writes to it. Copies are the same screen.
#[derive(Clone)]
pub struct Screen {
    inner: Arc<Inner>,
}

struct Inner {
    phase: Mutex<Phase>,
    changed: Condvar,
    bell: SyncSender<()>,
    mode: Mode,
    /// The editor has been at work.
    used: AtomicBool,
}

impl Screen {
    /// A screen on which nobody types yet. `ring` has the editor print this text, which is empty, so that nothing is
    /// seen when the editor is not there; it may block, on a thread of its own. `mode` is what the terminal gets back at the end.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn new(mut ring: impl FnMut(String) + Send + 'static, mode: Mode) -> std::io::Result<Self> {
        let (bell, rung) = sync_channel(1);
        std::thread::Builder::new().name("bell".to_owned()).spawn(move || {
            for () in rung {
                ring(String::new());
            }
        })?;
        let (phase, changed, used) = (Mutex::new(Phase::Outside), Condvar::new(), AtomicBool::new(false));
        let inner = Inner { phase, changed, bell, mode, used };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The editor is about to start. Does not return at the end of the program.
    pub(super) fn enter(&self, shared: &PrinterState) {
        // Not while the writing thread is in the middle of a line.
        let out = shared.out();
        let mut phase = self.phase();
        drop(out);
        if shared.is_closing() {
            drop(phase);
            park();
        }
        *phase = Phase::Entering;
        self.inner.used.store(true, Ordering::SeqCst);
        // While nobody else can change the phase, so that it is done before the mode is given back for good.
        self.inner.mode.quiet();
    }

    /// The editor asks for its prompt: writes what is queued if the editor's line is cleared just now, that is at the
    /// first prompt and when the bell was rung, but not at an `ordinary` repaint. Does not return at the end of the
    /// program.
    pub(super) fn repaint(&self, shared: &PrinterState, ordinary: bool) {
        let mut out = shared.out();
        let entering = *self.phase() == Phase::Entering;
        if entering {
            self.set(Phase::Inside);
        } else if !ordinary {
            // A terminal that is gone is noticed by the next one who writes.
            let _ = out.write(BACK_UP);
        }
        if !shared.is_closing() && (entering || !ordinary) {
            shared.write_queued(&mut out);
        }
        drop(out);
        self.park_if_closing(shared);
    }

    /// The editor has ended and left its line behind.
    pub(super) fn leave(&self, shared: &PrinterState) {
        self.park_if_closing(shared);
        let mut out = shared.out();
        self.set(Phase::Outside);
        shared.write_queued(&mut out);
    }

    /// Gives the terminal back while `stopped` runs, from within the editor, which is to repaint its line afterwards.
    pub(super) fn pause(&self, shared: &PrinterState, stopped: impl FnOnce()) {
        let raw = Mode::save();
        let mut out = shared.out();
        // A terminal that is gone is noticed by the next one who writes.
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

    /// The writing thread's work.
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
                self.ring();
            }
            shared.wait_for_others(RING_AGAIN);
        }
        self.take_over();
        self.give_back();
        self.write_last_words(shared, &mut shared.out());
        shared.finish();
    }

    /// Gives the terminal the mode in which it was found, whether or not the writing thread comes to an end.
    pub(super) fn give_back(&self) {
        let _phase = self.phase();
        // A terminal that listens to another process by now has a mode of that one's making.
        if self.inner.used.load(Ordering::SeqCst) && terminal::is_foreground() {
            self.inner.mode.restore();
        }
    }

    fn write_last_words(&self, shared: &PrinterState, out: &mut Out) {
        if *self.phase() != Phase::Outside {
            // A terminal that is gone needs no erasing.
            let _ = out.write(ERASE).and_then(|()| out.write(PASTE_OFF));
        }
        shared.write_queued(out);
    }

    /// Waits until the editor does nothing any more.
    fn take_over(&self) {
        let until = Instant::now() + LET_GO;
        let mut phase = self.phase();
        while matches!(*phase, Phase::Entering | Phase::Inside) && Instant::now() < until {
            if *phase == Phase::Inside {
                self.ring();
            }
            let waited = self.inner.changed.wait_timeout(phase, Duration::from_millis(10));
            phase = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// A bell that is being rung already is enough.
    fn ring(&self) {
        let _ = self.inner.bell.try_send(());
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.inner.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, phase: Phase) {
        *self.phase() = phase;
        self.inner.changed.notify_all();
    }

    /// At the end of the program the editor's thread stays where it is: whatever it did next would be painted over
    /// the last words, or change the mode of the terminal after it was put back.
    fn park_if_closing(&self, shared: &PrinterState) {
        if shared.is_closing() {
            let outside = *self.phase() == Phase::Outside;
            if !outside {
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
