//! A reader that copies all bytes that it reads to a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// Reads from a stream and copies it.
#[derive(Debug)]
pub(crate) struct Tee<R> {
    stream: R,
    copy: Option<File>,
}

impl<R> Tee<R> {
    pub(crate) fn new(stream: R, copy: Option<File>) -> Self {
        Self { stream, copy }
    }
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.stream.read(buffer)?;
        // A full disk ends the copy, not the case. The files that are written after the case fail too, and report it.
        if self.copy.as_mut().is_some_and(|copy| copy.write_all(&buffer[..read]).is_err()) {
            self.copy = None;
        }
        Ok(read)
    }
}

/// Opens the file of a copy. The first incarnation of an actor truncates it, later ones append to it.
///
/// # Errors
/// When the system refuses.
pub(crate) fn open_copy(path: &Path, incarnation: u32) -> io::Result<File> {
    if incarnation <= 1 { File::create(path) } else { OpenOptions::new().append(true).create(true).open(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_exact_and_a_restart_appends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.out");
        std::fs::write(&path, "of an earlier run").unwrap();
        for (incarnation, bytes) in [(1, b"a\r\n\xff".as_slice()), (2, b"\0b")] {
            let mut read = Vec::new();
            Tee::new(bytes, Some(open_copy(&path, incarnation).unwrap())).read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes);
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"a\r\n\xff\0b");
    }

    #[test]
    fn a_failed_copy_does_not_stop_reading() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut read = Vec::new();
        Tee::new(b"abc".as_slice(), Some(full)).read_to_end(&mut read).unwrap();
        assert_eq!(read, b"abc");
    }
}
