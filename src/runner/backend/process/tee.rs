//! A stream that leaves a copy of everything that was read from it, byte for byte.

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
        // A full disk ends the copy, not the case; the files that are written behind it will say so.
        if self.copy.as_mut().is_some_and(|copy| copy.write_all(&buffer[..read]).is_err()) {
            self.copy = None;
        }
        Ok(read)
    }
}

/// The file of a copy: begun anew in the first life of an actor, gone on with in its later ones.
///
/// # Errors
/// Those of the system.
pub(crate) fn file(path: &Path, life: u32) -> io::Result<File> {
    if life <= 1 { File::create(path) } else { OpenOptions::new().append(true).create(true).open(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_is_exact_and_goes_on_in_a_later_life() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.out");
        std::fs::write(&path, "of an earlier run").unwrap();
        for (life, bytes) in [(1, b"a\r\n\xff".as_slice()), (2, b"\0b")] {
            let mut read = Vec::new();
            Tee::new(bytes, Some(file(&path, life).unwrap())).read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes);
        }
        assert_eq!(std::fs::read(&path).unwrap(), b"a\r\n\xff\0b");
    }

    #[test]
    fn a_copy_that_cannot_be_written_ends_nothing() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut read = Vec::new();
        Tee::new(b"abc".as_slice(), Some(full)).read_to_end(&mut read).unwrap();
        assert_eq!(read, b"abc");
    }
}
