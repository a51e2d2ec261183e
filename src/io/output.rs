//! Standard output without waiting, where the system offers it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use nix::libc::O_NONBLOCK;

/// A file that writes to standard output and never waits for a reader. `None` if standard output is neither a regular
/// file nor a pipe, or the system refuses.
///
/// A pipe is opened again: the mode of descriptor 1 itself is shared with other programs and stays unchanged.
#[must_use]
pub fn direct_output() -> Option<File> {
    let file = File::from(io::stdout().as_fd().try_clone_to_owned().ok()?);
    let kind = file.metadata().ok()?.file_type();
    if kind.is_file() {
        return Some(file);
    }
    let reopen = || OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open("/proc/self/fd/1").ok();
    if kind.is_fifo() { reopen() } else { None }
}
