//! Helpers for files: a read with a limit, and the folder of a path.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Reads at most `limit` + 1 bytes of a file. A result longer than `limit` means that the file is too long; the caller
/// must reject it.
///
/// # Errors
/// The errors of the system: the file cannot be opened or read.
pub fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The folder of a path: its parent, or `.` if it has none.
#[must_use]
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_bare_name_is_the_current_one() {
        assert_eq!(["a", "b/a", "/a"].map(|path| folder(Path::new(path))), [".", "b", "/"].map(Path::new));
    }

    #[test]
    fn an_endless_file_is_read_up_to_the_limit() {
        assert_eq!(read(Path::new("/dev/zero"), 10).unwrap(), [0; 11]);
    }
}
