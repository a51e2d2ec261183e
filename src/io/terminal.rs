//! The terminal on standard input and output: its abilities, its foreground process group, and its mode.

use std::io::{IsTerminal, stderr, stdin, stdout};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

/// Values of `TERM` for terminals that cannot move their cursor. A line editor cannot work there.
const SIMPLE: [&str; 4] = ["", "dumb", "cons25", "emacs"];

/// Whether standard input is a terminal.
#[must_use]
pub fn is_input() -> bool {
    stdin().is_terminal()
}

/// Whether standard output is a terminal.
#[must_use]
pub fn is_output() -> bool {
    stdout().is_terminal()
}

/// Whether standard error is a terminal.
#[must_use]
pub fn is_error_output() -> bool {
    stderr().is_terminal()
}

/// Whether reports may have colours: standard output is a terminal, and `NO_COLOR` is unset or empty (no-color.org).
#[must_use]
pub fn has_colour() -> bool {
    is_output() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether standard output is a terminal that can erase a line.
#[must_use]
pub fn has_cursor() -> bool {
    is_output() && std::env::var_os("TERM").is_some_and(|term| term != "dumb" && !term.is_empty())
}

/// Whether a line editor can be used: standard input and output are terminals that can move the cursor.
#[must_use]
pub fn can_edit() -> bool {
    let kind = std::env::var("TERM").unwrap_or_else(|_| "vt100".to_owned());
    is_input() && is_output() && !SIMPLE.contains(&kind.to_ascii_lowercase().as_str())
}

/// Whether this process is in the foreground process group of the terminal on standard input.
#[must_use]
pub fn is_foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp())
}

/// Whether the terminal on standard input was closed or disconnected (POSIX: hangup).
#[must_use]
pub fn is_hung_up() -> bool {
    matches!(tcgetattr(stdin()), Err(Errno::EIO))
}

/// Blocks `SIGTTIN` and `SIGTTOU`: in the background, a read from the terminal fails and a write succeeds, instead of
/// stopping the process.
///
/// Call it before the first thread is started: threads inherit the signal mask.
pub fn stay_running_in_background() {
    let signals: SigSet = [Signal::SIGTTIN, Signal::SIGTTOU].into_iter().collect();
    // If this fails, the process is stopped in the background like any other process.
    let _ = signals.thread_block();
}

/// The saved mode of the terminal on standard input.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    found: nix::libc::termios,
}

impl Mode {
    /// Saves the current mode. Returns `None` if standard input is not a terminal.
    #[must_use]
    pub fn save() -> Option<Self> {
        tcgetattr(stdin()).ok().map(|found| Self { found: found.into() })
    }

    /// Restores the saved mode. Takes effect at once (`TCSANOW`): it does not wait until pending output is written.
    pub fn restore(&self) {
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &self.found.into());
    }

    /// Turns off echo and line editing by the terminal. Keys pressed before the line editor starts then reach it
    /// unchanged, including Ctrl-D.
    pub fn quiet(&self) {
        let mut quiet = Termios::from(self.found);
        quiet.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &quiet);
    }
}
