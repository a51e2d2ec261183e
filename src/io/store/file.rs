//! Prepares the file of a store: creates the file so that only its owner may read it, and locks it. It does not look at
//! the tables; `schema` does.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::io::file::{create_folders, sync_folder};
use crate::io::store::StoreError;

/// Messages are private: only the owner of the file may read them.
const FILE_MODE: u32 = 0o600;

/// Exclusive lock of a store, held until it is dropped. The system releases it however the program ends.
///
/// The lock is on a separate file, `FILE.lock`: an exclusive lock of SQLite on the database itself would also keep
/// `sqlite3` from reading it.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// A file that exists and is locked by this program.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The path without symbolic links, so that each file has exactly one lock.
    pub(super) path: PathBuf,
    pub(super) lock: Lock,
}

/// Creates the missing folders and the file, and takes the lock.
pub(super) fn prepare(path: &Path) -> Result<Prepared, StoreError> {
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |why| StoreError::Unwritable { path, why }
    };
    let path = &create_folders(path).map_err(unwritable(path))?;
    // This check is first, so that no lock file is created next to a file of another program.
    if !can_be_store(path).map_err(unwritable(path))? {
        return Err(StoreError::Foreign { path: path.clone() });
    }
    let lock_path = lock_path(path);
    let mut open = OpenOptions::new();
    open.read(true).write(true).mode(FILE_MODE);
    let lock = open.clone().create(true).truncate(false).open(&lock_path).map_err(unwritable(path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path: path.clone() }),
        Err(TryLockError::Error(why)) => return Err(unwritable(path)(why)),
    }
    match open.clone().create_new(true).open(path) {
        // A new entry of a folder is durable only after the folder is synced. Without that, the file may be missing
        // after a power failure.
        Ok(_) => sync_folder(path).map_err(unwritable(path))?,
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
            open.open(path).and_then(|file| adopt(&file)).map_err(unwritable(path))?;
        }
        Err(why) => return Err(unwritable(path)(why)),
    }
    Ok(Prepared { path: path.clone(), lock: Lock { _file: lock } })
}

/// Restricts an empty file to its owner: it becomes a store. A file with content keeps its mode.
fn adopt(file: &File) -> io::Result<()> {
    if file.metadata()?.len() == 0 { file.set_permissions(Permissions::from_mode(FILE_MODE)) } else { Ok(()) }
}

/// Whether a file is absent, is empty, or begins with the header of a SQLite database.
fn can_be_store(path: &Path) -> io::Result<bool> {
    const MAGIC: &[u8] = b"SQLite format 3\0";
    let mut head = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAGIC.len() as u64).read_to_end(&mut head)?,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(why) => return Err(why),
    };
    Ok(head.is_empty() || head == MAGIC)
}

/// The path of the lock file: `.lock` is appended and replaces no extension.
fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}
