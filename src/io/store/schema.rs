//! The schema: opens the database, configures SQLite and migrates the tables to the current format.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::io::store::StoreError;

/// No `CREATE`: the file exists already. No `URI`: a path is never read as a URI. `NO_MUTEX`: only one thread at a time
/// uses the connection.
const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// The application id in the file's header that marks a file of this program: the letters `chat` in ASCII.
const APPLICATION: i64 = 0x6368_6174;

/// Migrations. Each migrates a file from the previous format to its own. The format of a file is the number of
/// migrations applied to it. A released migration never changes.
const STEPS: &[&str] = &[include_str!("schema-1.sql"), include_str!("schema-2.sql"), include_str!("schema-3.sql")];

/// Number of compiled statements in the cache: more than this program has.
const CACHED_STATEMENTS: usize = 32;

/// Time that SQLite waits while another program holds a lock on the database.
const BUSY: Duration = Duration::from_secs(5);

/// Identification of a file: two fields of its header, and the number of objects in its schema.
struct FileHeader {
    application: i64,
    format: i64,
    objects: i64,
}

/// Opens a file that belongs to this program or is empty. Changes nothing in it.
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

/// Configures the connection for durable writes. Applies the missing migrations in one transaction.
pub(super) fn bring_up_to_date(db: &Connection, max_pages: Option<u32>) -> rusqlite::Result<()> {
    // `wal_autocheckpoint` is off because SQLite hides a failed automatic checkpoint; the writer runs checkpoints.
    // `fullfsync` is needed on macOS, where fsync alone does not flush the cache of the drive.
    // `temp_store` is memory because temporary tables need not be durable.
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
        // Some pragmas return a row and some do not, so neither `execute` nor `query_row` fits all of them.
        db.prepare(&format!("PRAGMA {pragma}"))?.query([])?.next()?;
    }
    let applied = number(db, "PRAGMA user_version")?;
    let applied = usize::try_from(applied).unwrap_or(0).min(STEPS.len());
    if applied < STEPS.len() {
        let steps = STEPS[applied..].concat();
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
