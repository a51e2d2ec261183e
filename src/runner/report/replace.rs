//! Puts a whole new file in the place of an old one: a reader finds the one or the other.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempPath;

use crate::io::file::folder;

/// Writes a file anew, with the permissions that it had. What a link leads to is replaced, not the link.
///
/// # Errors
/// Those of the system; the old file is whole then.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = target(path);
    let (mut file, new) = new_file(folder(&target))?;
    if let Ok(there) = std::fs::metadata(&target) {
        file.set_permissions(there.permissions())?;
    }
    file.write_all(bytes)?;
    new.persist(&target).map_err(|refused| refused.error)
}

/// What a path leads to in the end.
pub(crate) fn target(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// A file that vanishes unless it takes another's place.
fn new_file(folder: &Path) -> io::Result<(File, TempPath)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!(".chat-new-{}-{number}", std::process::id()));
    let created = match File::create_new(&path) {
        // One that was killed had the same number.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            std::fs::remove_file(&path)?;
            File::create_new(&path)
        }
        created => created,
    };
    Ok((created?, TempPath::try_from_path(path)?))
}
