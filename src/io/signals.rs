//! Requests to end: SIGINT, SIGTERM and SIGHUP become calls on a thread of their own.
//!
//! SIGPIPE stays ignored, as Rust starts a program: a reader of our output that went away is an error of a write.

use std::io;
use std::sync::OnceLock;
use std::thread::{self, JoinHandle};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

/// Listens until it is dropped. The signals it took over end nothing by themselves from then on, also after that.
#[derive(Debug)]
pub struct SignalListener {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl SignalListener {
    /// Calls `told` with the number of each signal that comes, on a thread of its own, where it may block and lock.
    /// Signals that come together may be told in another order; two of one kind may be told as one.
    ///
    /// SIGHUP is not told where whoever started the program wished it ignored: that is what `nohup` is for. Programs
    /// that this one starts do not inherit the wish, since it is about a terminal that they do not have.
    ///
    /// # Errors
    /// The system refused to register a signal or to start the thread.
    pub fn listen(mut told: impl FnMut(i32) + Send + 'static) -> io::Result<Self> {
        let survives_hangup = survives_hangup();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let handle = signals.handle();
        let thread = thread::Builder::new().name("stop".to_owned()).spawn(move || {
            for signal in signals.forever().filter(|signal| *signal != SIGHUP || !survives_hangup) {
                told(signal);
            }
        })?;
        Ok(Self { handle, thread: Some(thread) })
    }
}

impl Drop for SignalListener {
    fn drop(&mut self) {
        self.handle.close();
        // Waited for, so that nothing is told after this; unless it is the teller itself that drops us.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

/// Whether whoever started the program wished it to survive its terminal: asked once, since listening ends the wish.
fn survives_hangup() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        // Where there is no such file, nothing is known of such a wish.
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

    /// Far beyond what a signal needs; only a failing test waits so long.
    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn each_signal_is_told_and_none_after_the_drop() {
        // These tests may be run behind nohup themselves.
        let survives_hangup = survives_hangup();
        let (tell, told) = mpsc::channel();
        let stop = SignalListener::listen(move |signal| tell.send(signal).unwrap()).unwrap();
        raise(SIGHUP).unwrap();
        if !survives_hangup {
            assert_eq!(told.recv_timeout(PATIENCE), Ok(SIGHUP));
        }
        for signal in [SIGINT, SIGTERM, SIGINT] {
            raise(signal).unwrap();
            assert_eq!(told.recv_timeout(PATIENCE), Ok(signal));
        }
        drop(stop);
        raise(SIGTERM).unwrap();
        assert_eq!(told.recv(), Err(mpsc::RecvError));
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
