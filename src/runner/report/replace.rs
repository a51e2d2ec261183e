//! Replaces files atomically: a reader sees the old file or the new one.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::io::file::folder;

/// Replaces a file and keeps its permissions. For a symbolic link it replaces the target.
///
/// # Errors
/// When the system refuses. The old file is unchanged then.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = target(path);
    // Opened here, because the errors of the crate add the path of the temporary file.
    let create = |path: &Path| File::options().write(true).create_new(true).open(path);
    let mut file = tempfile::Builder::new().prefix(".chat-new-").make_in(folder(&target), create)?;
    let opened = file.as_file_mut();
    if let Ok(old) = std::fs::metadata(&target) {
        opened.set_permissions(old.permissions())?;
    }
    opened.write_all(bytes)?;
    file.persist(&target).map(drop).map_err(|refused| refused.error)
}

/// Follows the symbolic links of a path.
pub(crate) fn target(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
