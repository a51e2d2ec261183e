//! The file of a store, made ready: its folders exist, it is ours alone, and only its owner may read it.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::io::file::folder;
use crate::io::store::StoreError;

/// People's messages are nobody else's affair.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Held as long as the file is ours; the system frees it however the program ends. Locks of SQLite's own would
/// keep `sqlite3` out, so this one stands on a file beside it.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// A file that exists and is ours.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Without symbolic links, so that one file has one lock.
    pub(super) path: PathBuf,
    pub(super) lock: Lock,
}

/// Creates missing folders and the file itself, and locks it.
pub(super) fn prepare(path: &Path) -> Result<Prepared, StoreError> {
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |why| StoreError::Unwritable { path, why }
    };
    let path = &real(path).map_err(unwritable(path))?;
    // Looked at first, so that no lock is left beside a file of somebody else.
    if !may_be_ours(path).map_err(unwritable(path))? {
        return Err(StoreError::Foreign { path: path.clone() });
    }
    let beside = beside(path);
    let mut open = OpenOptions::new();
    open.read(true).write(true).mode(FILE_MODE);
    let lock = open.clone().create(true).truncate(false).open(&beside).map_err(unwritable(path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::InUse { path: path.clone() }),
        Err(TryLockError::Error(why)) => return Err(unwritable(path)(why)),
    }
    match open.clone().create_new(true).open(path) {
        // What a folder holds is a file of its own: unsynced, a new name may be gone after a loss of power.
        Ok(_) => sync_folder(path).map_err(unwritable(path))?,
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
            open.open(path).and_then(|file| adopt(&file)).map_err(unwritable(path))?;
        }
        Err(why) => return Err(unwritable(path)(why)),
    }
    Ok(Prepared { path: path.clone(), lock: Lock { _file: lock } })
}

/// An empty file is nobody's yet: it becomes one that only its owner may read.
fn adopt(file: &File) -> io::Result<()> {
    if file.metadata()?.len() == 0 { file.set_permissions(Permissions::from_mode(FILE_MODE)) } else { Ok(()) }
}

/// Whether a file is absent, empty, or begins as SQLite's files do.
fn may_be_ours(path: &Path) -> io::Result<bool> {
    const MAGIC: &[u8] = b"SQLite format 3\0";
    let mut head = Vec::new();
    match File::open(path) {
        Ok(file) => file.take(MAGIC.len() as u64).read_to_end(&mut head)?,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(why) => return Err(why),
    };
    Ok(head.is_empty() || head == MAGIC)
}

/// The path without symbolic links, below folders that exist.
fn real(path: &Path) -> io::Result<PathBuf> {
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

/// `FILE.lock`, whatever the ending of `FILE`.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Makes a new name in a folder as durable as what it names.
fn sync_folder(of: &Path) -> io::Result<()> {
    File::open(folder(of))?.sync_all()
}
