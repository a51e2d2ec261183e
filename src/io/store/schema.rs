//! The tables, their versions, and how SQLite is set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::io::store::StoreError;

/// The file is there already; a path is a path and no URI; one thread uses the connection.
const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// Says in the file's header that it is ours: the letters `chat`.
const APPLICATION: i64 = 0x6368_6174;

/// Each step makes a file of the format before it one of its own; the format is the number of steps taken.
/// A step that was released is never changed.
const STEPS: &[&str] = &[include_str!("schema-1.sql")];

/// How many statements stay compiled: more than there are.
const CACHED_STATEMENTS: usize = 32;

/// How long a transaction waits for somebody else who holds the file.
const BUSY: Duration = Duration::from_secs(5);

/// What the header of a file says.
struct FileHeader {
    application: i64,
    format: i64,
    objects: i64,
}

/// Opens a file that is ours or empty, and changes nothing in it.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    let opened = Connection::open_with_flags(path, FLAGS).and_then(|db| {
        db.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
        db.busy_timeout(BUSY)?;
        let application = number(&db, "PRAGMA application_id")?;
        let format = number(&db, "PRAGMA user_version")?;
        let objects = number(&db, "SELECT count(*) FROM sqlite_schema")?;
        Ok((db, FileHeader { application, format, objects }))
    });
    let (db, found) = opened.map_err(|why| StoreError::from_sqlite(path, why))?;
    let (path, known) = (path.to_owned(), STEPS.len() as i64);
    match found {
        FileHeader { application: 0, format: 0, objects: 0 } => Ok(db),
        FileHeader { application: APPLICATION, format, .. } if format > known => {
            Err(StoreError::Newer { path, found: format, known })
        }
        FileHeader { application: APPLICATION, format: 1.., .. } => Ok(db),
        _ => Err(StoreError::Foreign { path }),
    }
}

/// Sets the connection up for durable writing and takes the steps that the file lacks, all or none.
pub(super) fn bring_up_to_date(db: &Connection, max_pages: Option<u32>) -> rusqlite::Result<()> {
    // Checkpoints are made by the writer, since SQLite would hide that one failed. `fullfsync` is what a sync has to
    // be called on macOS, where fsync alone does not reach the platter. Scratch tables have no business on the disk.
    for pragma in [
        "journal_mode = WAL",
        "synchronous = FULL",
        "wal_autocheckpoint = 0",
        "journal_size_limit = 67108864",
        "fullfsync = ON",
        "checkpoint_fullfsync = ON",
        "temp_store = MEMORY",
        "trusted_schema = OFF",
    ] {
        // Some of them answer with a row, some do not.
        db.prepare(&format!("PRAGMA {pragma}"))?.query([])?.next()?;
    }
    let taken = number(db, "PRAGMA user_version")?;
    let taken = usize::try_from(taken).unwrap_or(0).min(STEPS.len());
    if taken < STEPS.len() {
        let steps = STEPS[taken..].concat();
        let format = STEPS.len();
        db.execute_batch(&format!(
            "BEGIN IMMEDIATE; {steps} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {format}; COMMIT;"
        ))?;
    }
    if let Some(pages) = max_pages {
        number(db, &format!("PRAGMA max_page_count = {pages}"))?;
    }
    Ok(())
}

fn number(db: &Connection, query: &str) -> rusqlite::Result<i64> {
    db.query_row(query, [], |row| row.get(0))
}
