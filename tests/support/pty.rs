//! A program in a terminal of its own. A test presses keys and reads the screen.
#![allow(unsafe_code, reason = "a controlling terminal can only be taken between fork and exec")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use chat::io::identity;
use nix::fcntl::OFlag;
use nix::pty::{Winsize, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::{Pid, setsid};
use tempfile::TempDir;

use crate::support::screen::Screen;
use crate::support::{DATA, ProgramBuilder, TIME_LIMIT, wait};

/// Width of the terminal, in characters.
pub const COLUMNS: u16 = 80;

/// A program and its terminal.
pub struct Terminal {
    child: Child,
    keyboard: Option<File>,
    /// The terminal side. It stays open, so that the mode can be read after the program has ended.
    line: Option<File>,
    before: Termios,
    seen: Receiver<Vec<u8>>,
    screen: Screen,
    reading: bool,
    pub home: TempDir,
}

impl Terminal {
    pub(super) fn spawn(builder: ProgramBuilder, foreground: bool) -> Self {
        let mut command = builder.command();
        make_key(builder.home.path());
        let (keyboard, line) = open();
        let before = tcgetattr(&line).unwrap();
        let end = || Stdio::from(line.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end());
        // SAFETY: `setsid` and `ioctl` are plain system calls. Only async-signal-safe calls are allowed between fork
        // and exec.
        unsafe {
            command.pre_exec(move || {
                setsid()?;
                if foreground && nix::libc::ioctl(0, nix::libc::TIOCSCTTY, 0) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        // The copies of the terminal in `command` would keep the terminal open.
        drop(command);
        let (send, seen) = channel();
        if builder.is_read {
            let mut reader = keyboard.try_clone().unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = reader.read(&mut buffer) {
                    if send.send(buffer[..count].to_vec()).is_err() {
                        return;
                    }
                }
            });
        }
        let screen = Screen::new(usize::from(COLUMNS));
        Self {
            child,
            keyboard: Some(keyboard),
            line: Some(line),
            before,
            seen,
            screen,
            reading: builder.is_read,
            home: builder.home,
        }
    }

    /// Writes keys to the terminal.
    pub fn press(&mut self, keys: &str) {
        self.keyboard.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until `wished` is true for the screen.
    pub fn until(&mut self, wished: impl Fn(&Screen) -> bool) {
        let end = Instant::now() + TIME_LIMIT;
        while !wished(&self.screen) {
            match self.seen.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.screen.feed(&bytes),
                Err(_) => panic!("the screen stayed at {:#?}", self.screen.rows()),
            }
        }
    }

    /// The rows of the screen at the last wait.
    pub fn rows(&self) -> Vec<String> {
        self.screen.rows()
    }

    /// Waits until the screen has exactly these rows and the cursor is in the last one.
    pub fn until_rows(&mut self, rows: &[&str]) {
        self.until(|screen| screen.rows() == rows && screen.cursor().0 + 1 == rows.len());
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Closes the window of the terminal. Its output must be unread.
    pub fn close_window(&mut self) {
        assert!(!self.reading, "a reader would keep the window open");
        self.line = None;
        self.keyboard = None;
    }

    /// Waits for the end of the program. Returns its status and all rows. Asserts that the terminal mode is restored.
    pub fn end(mut self) -> (Option<i32>, Vec<String>) {
        let status = wait(&mut self.child).code();
        if let Some(line) = &self.line {
            assert_eq!(tcgetattr(line).unwrap(), self.before, "the mode of the terminal");
        }
        // The reading thread ends when the last copy of this side is closed.
        self.line = None;
        while let Ok(bytes) = self.seen.recv_timeout(TIME_LIMIT) {
            self.screen.feed(&bytes);
        }
        (status, self.screen.rows())
    }
}

/// Makes the key of the user before the program starts, which would print a notice on the terminal.
fn make_key(home: &Path) {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).unwrap();
    identity::load(Some(&home.join(DATA).join("chat/identity")), secret).unwrap();
}

/// Opens a new terminal. Both sides are close-on-exec, because an inherited copy would keep the window open.
fn open() -> (File, File) {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let mut options = File::options();
    options.read(true).write(true).custom_flags(nix::libc::O_NOCTTY);
    let line = options.open(ptsname_r(&master).unwrap()).unwrap();
    let size = Winsize { ws_row: 24, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads a `Winsize`, and `size` outlives the call.
    assert_eq!(unsafe { nix::libc::ioctl(line.as_raw_fd(), nix::libc::TIOCSWINSZ, &raw const size) }, 0);
    (File::from(OwnedFd::from(master)), line)
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // If the test succeeded, the program has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
