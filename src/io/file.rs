//! Helpers for files: a read with a limit, the folder of a path, and the folders of the user.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Mode of a folder that this program creates: its files are private.
const FOLDER_MODE: u32 = 0o700;

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

/// Creates and syncs the missing folders of a path. Returns the path without symbolic links.
///
/// # Errors
/// The errors of the system: a folder cannot be created, read or synced.
pub fn create_folders(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Err(why) if why.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    let Some(name) = path.file_name() else { return Err(io::ErrorKind::IsADirectory.into()) };
    let folder = folder(path);
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder)?;
    for folder in missing {
        sync_folder(folder)?;
    }
    Ok(fs::canonicalize(folder)?.join(name))
}

/// Makes the entry of a path in its folder durable.
///
/// # Errors
/// The errors of the system: the folder cannot be opened or synced.
pub fn sync_folder(of: &Path) -> io::Result<()> {
    File::open(folder(of))?.sync_all()
}

/// The user's state folder of this program: `$XDG_STATE_HOME/chat`, else `~/.local/state/chat`.
#[must_use]
pub fn state_folder() -> Option<PathBuf> {
    user_folder("XDG_STATE_HOME", ".local/state")
}

/// The user's data folder of this program: `$XDG_DATA_HOME/chat`, else `~/.local/share/chat`.
#[must_use]
pub fn data_folder() -> Option<PathBuf> {
    user_folder("XDG_DATA_HOME", ".local/share")
}

/// The folder of this program below the folder in `variable`, else below `below_home` in the user's home. A relative
/// path is ignored (XDG Base Directory Specification).
fn user_folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let folder = absolute(variable).or_else(|| Some(absolute("HOME")?.join(below_home)));
    folder.map(|folder| folder.join("chat"))
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
