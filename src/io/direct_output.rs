//! Output without waiting, to files and pipes.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use nix::libc::O_NONBLOCK;

/// A file that writes to the same regular file or pipe as `output`, and never waits for a reader. `None` for another
/// kind of output, or if the system refuses.
///
/// A pipe is opened again, with a mode of its own: that of `output` is shared with other programs and stays unchanged.
/// A regular file keeps its position, which is shared too, and has no reader to wait for. A terminal or a socket has no
/// such second description.
#[must_use]
pub fn open(output: &impl AsFd) -> Option<File> {
    let file = File::from(output.as_fd().try_clone_to_owned().ok()?);
    let kind = file.metadata().ok()?.file_type();
    if kind.is_file() {
        return Some(file);
    }
    let path = format!("/proc/self/fd/{}", output.as_fd().as_raw_fd());
    let reopen = || OpenOptions::new().write(true).custom_flags(O_NONBLOCK).open(path).ok();
    if kind.is_fifo() { reopen() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{ErrorKind, Write};

    #[test]
    fn a_full_pipe_is_an_error_and_its_own_mode_is_unchanged() {
        let (_reader, pipe) = std::io::pipe().unwrap();
        let mut direct = open(&pipe).unwrap();
        let error = std::iter::repeat_with(|| direct.write(&[0; 4096])).find_map(Result::err).unwrap();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        let flags = nix::fcntl::fcntl(&pipe, nix::fcntl::FcntlArg::F_GETFL).unwrap();
        assert_eq!(flags & O_NONBLOCK, 0);
    }

    #[test]
    fn a_file_is_written_where_the_output_stands() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"a").unwrap();
        open(&file).unwrap().write_all(b"b").unwrap();
        file.write_all(b"c").unwrap();
        assert_eq!(file.metadata().unwrap().len(), 3);
    }

    #[test]
    fn other_outputs_have_none() {
        assert!(open(&std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).is_none());
        assert!(open(&File::options().write(true).open("/dev/null").unwrap()).is_none());
    }
}
