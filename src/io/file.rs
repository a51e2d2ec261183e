//! Files by their paths: their folders, and no more of their bytes than is wanted.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// A file's bytes, up to one more than `limit`: whoever wants no more than those refuses the file then.
///
/// # Errors
/// Those of the system.
pub fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The folder that holds a file of this path.
#[must_use]
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_folder_is_here() {
        assert_eq!(["a", "b/a", "/a"].map(|path| folder(Path::new(path))), [".", "b", "/"].map(Path::new));
    }

    #[test]
    fn of_a_file_without_end_no_more_is_read() {
        assert_eq!(read(Path::new("/dev/zero"), 10).unwrap(), [0; 11]);
    }
}
