//! Writes a whole file at once: a reader sees the old one or the new one.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::io::file::folder;

/// Replaces a file and keeps its permissions. Behind a symbolic link, the target is replaced.
///
/// # Errors
/// Those of the system. The old file is unchanged then.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let target = target(path);
    // The system subtracts its mask, as for any new file.
    let everybody = Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new().prefix(".chat-new-").permissions(everybody).tempfile_in(folder(&target))?;
    if let Ok(old) = std::fs::metadata(&target) {
        file.as_file().set_permissions(old.permissions())?;
    }
    file.write_all(bytes)?;
    file.persist(&target).map(drop).map_err(|refused| refused.error)
}

/// The end of the symbolic links of a path.
pub(crate) fn target(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
