//! Why a store cannot be opened: one sentence each, with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// Why a store cannot be opened. All of them are of the environment (exit status 3).
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder cannot be made, or nothing can be written in it.
    #[error("Nothing can be kept in {}: {why}; name a file in a folder that can be written.", path.display())]
    Unwritable {
        /// The file that was asked for, or the folder that it needs.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// Another server has it.
    #[error("The file {} is in use by another server; stop that server or name another file.", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Something else is in the file.
    #[error("The file {} was not written by this program; it is left as it is, name another file.", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A later release wrote it.
    #[error(
        "The file {} was written by a newer release (format {found}, this one knows {known}); \
         use that release or name another file.",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this release knows.
        known: i64,
    },
    /// It is ours, and holds what this program never wrote.
    #[error("The file {} is damaged: {what}; repair it with sqlite3 or name another file.", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What makes no sense.
        what: String,
    },
    /// SQLite could not open or create it.
    #[error("The file {} cannot be used: {why}; free it, make room, or name another file.", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        why: rusqlite::Error,
    },
    /// No thread could be started.
    #[error("No thread could be started for the store: {0}; end other programs or raise the limit.")]
    Thread(io::Error),
}

impl StoreError {
    /// What an error of SQLite means while a store is being opened.
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

/// What a failure to write means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// It may be for one record alone, and others may fit.
    Record,
    /// It is for everything at this moment, and a later moment may be better.
    Moment,
    /// What was written can no longer be trusted, or no longer be read.
    Fatal,
}

/// Tells a full disk, which a server outlives, from a broken one, which it must not hide. A failed sync is fatal
/// because the next one would succeed without having written what the first one lost.
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
