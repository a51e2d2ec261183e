//! Reports SIGINT, SIGTERM and SIGHUP by calls on a thread of its own.
//!
//! SIGPIPE stays ignored, as the Rust runtime sets it: a write to a closed output returns an error.

use std::io;
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

/// Listens until it is dropped. From the first listener on, these signals do not end the process, also after the drop.
#[derive(Debug)]
pub struct SignalListener {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl SignalListener {
    /// Calls `on_signal` with the number of each signal. The call runs on a thread of its own, so it may block and
    /// lock. Signals that arrive together may be reported in another order; two of one kind may be reported as one.
    ///
    /// SIGHUP is not reported if it was ignored when the program started, as `nohup` does. Child processes do not
    /// inherit that, because they have no terminal.
    ///
    /// # Errors
    /// The system refuses a signal or the thread.
    pub fn listen(mut on_signal: impl FnMut(i32) + Send + 'static) -> io::Result<Self> {
        let survives_hangup = survives_hangup();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let handle = signals.handle();
        let thread = thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in signals.forever().filter(|signal| *signal != SIGHUP || !survives_hangup) {
                on_signal(signal);
            }
        })?;
        Ok(Self { handle, thread: Some(thread) })
    }
}

impl Drop for SignalListener {
    fn drop(&mut self) {
        self.handle.close();
        // Joined, so that no call happens after the drop; a drop within a call cannot join its own thread.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

/// Whether SIGHUP was ignored when the program started. Read once, because listening changes it.
fn survives_hangup() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        // Without this file SIGHUP counts as not ignored.
        is_ignored(&std::fs::read_to_string("/proc/self/status").unwrap_or_default(), SIGHUP)
    })
}

/// Whether `/proc/self/status` says that a signal is ignored.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0);
    u32::try_from(signal - 1).ok().and_then(|bit| mask.checked_shr(bit)).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use signal_hook::low_level::raise;

    use super::*;

    /// Only a failing test waits this long.
    const TEST_LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn each_signal_is_reported_and_none_after_the_drop() {
        // The tests may run under nohup.
        let survives_hangup = survives_hangup();
        let (sender, reported) = mpsc::channel();
        let listener = SignalListener::listen(move |signal| sender.send(signal).unwrap()).unwrap();
        raise(SIGHUP).unwrap();
        if !survives_hangup {
            assert_eq!(reported.recv_timeout(TEST_LIMIT), Ok(SIGHUP));
        }
        for signal in [SIGINT, SIGTERM, SIGINT] {
            raise(signal).unwrap();
            assert_eq!(reported.recv_timeout(TEST_LIMIT), Ok(signal));
        }
        drop(listener);
        raise(SIGTERM).unwrap();
        assert_eq!(reported.recv(), Err(mpsc::RecvError));
    }

    #[test]
    fn an_ignored_signal_is_read_from_the_mask() {
        let status = "Name:\tchat\nSigBlk:\t0000000000000002\nSigIgn:\t0000000000001001\nSigCgt:\t0\n";
        assert!(is_ignored(status, SIGHUP));
        assert!(is_ignored(status, signal_hook::consts::SIGPIPE));
        assert!(!is_ignored(status, SIGINT));
        for nothing in ["", "SigIgn:\n", "SigIgn:\txyz\n", "SigIgn:\t11111111111111111\n"] {
            assert!(!is_ignored(nothing, SIGHUP), "{nothing:?}");
        }
        assert!(!is_ignored(status, 0));
        assert!(!is_ignored(status, 70));
    }
}
