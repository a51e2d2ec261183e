//! The terminal: whether there is one, whose turn it is, and its mode, saved and put back.

use std::io::{IsTerminal, stdin, stdout};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use nix::unistd::{getpgrp, tcgetpgrp};

/// Kinds of terminal that cannot move their cursor: a line editor would only make a mess there.
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

/// Whether reports may be in colour: at a terminal, unless NO_COLOR is set (no-color.org).
#[must_use]
pub fn has_colour() -> bool {
    is_output() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether reports go to a terminal on which a line can be taken away again.
#[must_use]
pub fn has_cursor() -> bool {
    is_output() && std::env::var_os("TERM").is_some_and(|term| term != "dumb" && !term.is_empty())
}

/// Whether lines can be edited: both are terminals, of a kind that can move its cursor.
#[must_use]
pub fn can_edit() -> bool {
    let kind = std::env::var("TERM").unwrap_or_else(|_| "vt100".to_owned());
    is_input() && is_output() && !SIMPLE.contains(&kind.to_ascii_lowercase().as_str())
}

/// Whether this process is the one that the terminal on standard input listens to.
#[must_use]
pub fn is_foreground() -> bool {
    tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp())
}

/// Whether the terminal on standard input has gone away.
#[must_use]
pub fn is_hung_up() -> bool {
    matches!(tcgetattr(stdin()), Err(Errno::EIO))
}

/// From now on a read in the background fails and a write there succeeds, instead of stopping the process. To be
/// called before the first thread is started, so that it holds for all of them.
pub fn stay_running_in_background() {
    let signals: SigSet = [Signal::SIGTTIN, Signal::SIGTTOU].into_iter().collect();
    // Where that is refused, the process is stopped in the background as any other one.
    let _ = signals.thread_block();
}

/// The mode of the terminal on standard input as it was found.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    found: nix::libc::termios,
}

impl Mode {
    /// Remembers the present mode; `None` without a terminal.
    #[must_use]
    pub fn save() -> Option<Self> {
        tcgetattr(stdin()).ok().map(|found| Self { found: found.into() })
    }

    /// Puts the mode back. Never waits for output that cannot be written.
    pub fn restore(&self) {
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &self.found.into());
    }

    /// What is typed is neither shown nor edited by the terminal itself, so that what is typed ahead of the line
    /// editor reaches it unchanged, Ctrl-D included.
    pub fn quiet(&self) {
        let mut quiet = Termios::from(self.found);
        quiet.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        let _ = tcsetattr(stdin(), SetArg::TCSANOW, &quiet);
    }
}
