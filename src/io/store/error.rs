//! Errors of the store: the reasons why it cannot be opened, and the classes of errors while it writes.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// The reason why a store cannot be opened. Every variant ends the program with exit status 3 (environment).
///
/// `path` is the path of the file without symbolic links, except where a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or the file cannot be created, read, synced or locked.
    #[error("Nothing can be kept in {}: {why}; name a file in a folder that can be written.", path.display())]
    Unwritable {
        /// The path of the file; as the user gave it, if its folder cannot be created.
        path: PathBuf,
        /// The error of the system.
        why: io::Error,
    },
    /// Another server holds the lock.
    #[error("The file {} is in use by another server; stop that server or name another file.", path.display())]
    InUse {
        /// The path of the file.
        path: PathBuf,
    },
    /// The file is not a SQLite database, or it is the database of another program.
    #[error("The file {} was not written by this program; it is left as it is, name another file.", path.display())]
    Foreign {
        /// The path of the file.
        path: PathBuf,
    },
    /// A newer release wrote the file.
    #[error(
        "The file {} was written by a newer release (format {found}, this one knows {known}); \
         use that release or name another file.",
        path.display()
    )]
    Newer {
        /// The path of the file.
        path: PathBuf,
        /// The format in the file's header (`user_version`).
        found: i64,
        /// The newest format that this release knows.
        known: i64,
    },
    /// The file belongs to this program, but it is corrupt or has a value that this program never writes.
    #[error("The file {} is damaged: {what}; repair it with sqlite3 or name another file.", path.display())]
    Damaged {
        /// The path of the file.
        path: PathBuf,
        /// The reason, with the value if there is one.
        what: String,
    },
    /// Any other error of SQLite.
    #[error("The file {} cannot be used: {why}; free it, make room, or name another file.", path.display())]
    Sqlite {
        /// The path of the file.
        path: PathBuf,
        /// The error of SQLite.
        why: rusqlite::Error,
    },
    /// The writer's thread could not be started.
    #[error("No thread could be started for the store: {0}; end other programs or raise the limit.")]
    Thread(io::Error),
}

impl StoreError {
    /// Converts an error of SQLite that occurs while a store is opened.
    pub(super) fn from_sqlite(path: &Path, why: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match why {
            rusqlite::Error::FromSqlConversionFailure(_, _, what) => Self::Damaged { path, what: what.to_string() },
            rusqlite::Error::InvalidColumnType(..) | rusqlite::Error::IntegralValueOutOfRange(..) => {
                Self::Damaged { path, what: why.to_string() }
            }
            why => match why.sqlite_error_code() {
                Some(ErrorCode::NotADatabase) => Self::Foreign { path },
                Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, what: why.to_string() },
                _ => Self::Sqlite { path, why },
            },
        }
    }
}

/// The scope of a write error: it decides how much of a batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// One record may be the cause; the other records may still be written.
    Record,
    /// No record can be written now; a later transaction may succeed.
    Moment,
    /// Data already written may be lost or unreadable: the store must stop.
    Fatal,
}

/// Separates a full disk from a broken one: a server continues on a full disk, but must not hide a broken one.
///
/// A failed sync is fatal: the next sync would succeed without having written the data that the first one lost.
pub(super) fn classify(why: &rusqlite::Error) -> ErrorClass {
    use rusqlite::ffi;
    let rusqlite::Error::SqliteFailure(code, _) = why else {
        return if matches!(why, rusqlite::Error::ToSqlConversionFailure(_)) {
            ErrorClass::Record
        } else {
            ErrorClass::Fatal
        };
    };
    match code.extended_code {
        ffi::SQLITE_IOERR_WRITE => return ErrorClass::Record,
        ffi::SQLITE_IOERR_NOMEM
        | ffi::SQLITE_IOERR_SHMOPEN
        | ffi::SQLITE_IOERR_SHMSIZE
        | ffi::SQLITE_IOERR_SHMMAP
        | ffi::SQLITE_IOERR_SHMLOCK
        | ffi::SQLITE_IOERR_LOCK => return ErrorClass::Moment,
        _ => {}
    }
    match code.code {
        ErrorCode::DiskFull | ErrorCode::ConstraintViolation | ErrorCode::TooBig => ErrorClass::Record,
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::ReadOnly
        | ErrorCode::PermissionDenied
        | ErrorCode::CannotOpen
        | ErrorCode::OutOfMemory
        | ErrorCode::OperationInterrupted => ErrorClass::Moment,
        _ => ErrorClass::Fatal,
    }
}
