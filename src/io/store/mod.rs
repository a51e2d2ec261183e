//! Durable storage of a server: a SQLite database, written by a thread of its own.
//!
//! The thread takes all waiting jobs, commits them in one transaction, and then answers them in the order in which they
//! were submitted. A record is answered only when it is durable or refused.

mod error;
mod file;
mod queue;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use crate::proto::record::{Mail, PersistedState, Record};

pub use error::StoreError;
pub use queue::{MAX_WAITING_BYTES, MAX_WAITING_RECORDS};
pub use writer::{BATCH_BYTES, BATCH_RECORDS};

use queue::{Job, StoreQueue};
use writer::Writer;

/// The location of the data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// This file. Missing folders above it are created.
    ///
    /// While it is open, SQLite has `FILE-wal` and `FILE-shm` next to it, and this program `FILE.lock`. Other programs
    /// may read it at any time, for example `sqlite3`.
    File(PathBuf),
    /// Memory only: nothing is written to disk, and the data is lost when the store is closed.
    Memory,
}

/// An answer of the store. Answers arrive in the order of the calls; [`Warning`](Self::Warning) and
/// [`Fatal`](Self::Fatal) belong to no call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAnswer {
    /// Records are durable or refused. The machine receives it as [`crate::proto::machine::ServerInput::Persisted`].
    Persisted {
        /// Number of the last record that has an outcome. Records are numbered from 1, in the order of submission
        /// since the store was opened.
        through: u64,
        /// Numbers of the records that could not be written, in rising order, without those of earlier answers.
        refused: Vec<u64>,
    },
    /// The answer to one [`Store::fetch`], in the order of its numbers. Messages that the store does not have, or no
    /// longer has, are left out.
    Mail(Vec<Mail>),
    /// A sentence to display: records were refused, or a checkpoint failed. The store continues.
    Warning(String),
    /// A sentence to display: the disk can no longer be trusted. This is the last answer of the store. Records that
    /// were persisted before it are durable.
    Fatal(String),
}

/// Receives the answers, on the store's thread. It must not wait for the thread that calls [`Store::submit`].
pub type AnswerHandler = Box<dyn FnMut(StoreAnswer) + Send>;

/// An open store. Dropping it waits for all answers and closes the file, as [`Store::close`] does.
#[derive(Debug)]
pub struct Store {
    queue: Arc<StoreQueue>,
    thread: Option<JoinHandle<()>>,
}

/// Commits the open transaction.
type Commit = Box<dyn FnMut(&Connection) -> rusqlite::Result<()> + Send>;

/// Hooks with which a test simulates a disk that is full, slow or broken.
struct TestHooks {
    commit: Commit,
    /// Maximum size of the file, in pages of SQLite.
    max_pages: Option<u32>,
}

impl Default for TestHooks {
    fn default() -> Self {
        Self { commit: Box::new(|db| db.execute_batch("COMMIT")), max_pages: None }
    }
}

impl Store {
    /// Opens a store and reads the state that earlier incarnations of the server left. Creates the store if it does not
    /// exist.
    ///
    /// # Errors
    /// A [`StoreError`] if the store cannot be used. A file of another program or of a newer release is left unchanged.
    pub fn open(location: StoreLocation, answer: AnswerHandler) -> Result<(Self, PersistedState), StoreError> {
        Self::open_with(location, answer, TestHooks::default())
    }

    fn open_with(
        location: StoreLocation,
        answer: AnswerHandler,
        hooks: TestHooks,
    ) -> Result<(Self, PersistedState), StoreError> {
        let (db, path, lock) = match location {
            StoreLocation::File(path) => {
                let file = file::prepare(&path)?;
                (schema::open(&file.path)?, file.path, Some(file.lock))
            }
            StoreLocation::Memory => {
                let path = PathBuf::from("in memory");
                let db = Connection::open_in_memory().map_err(|why| StoreError::from_sqlite(&path, why))?;
                (db, path, None)
            }
        };
        let state = schema::bring_up_to_date(&db, hooks.max_pages).and_then(|()| rows::load(&db));
        let state = state.map_err(|why| StoreError::from_sqlite(&path, why))?;
        let queue = Arc::new(StoreQueue::default());
        let writer = Writer::new(db, hooks.commit, Arc::clone(&queue), answer, path.display().to_string());
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || {
            writer.run();
            // The lock is released last: the database must be closed before another server opens it.
            drop(lock);
        });
        let thread = thread.map_err(StoreError::Thread)?;
        Ok((Self { queue, thread: Some(thread) }, state))
    }

    /// Queues the records of one turn. They are written in one transaction. If one of them is refused, each is written
    /// in a transaction of its own.
    ///
    /// [`StoreAnswer::Persisted`] is the answer; one answer may cover several calls. Never blocks: the caller must stop
    /// taking input while the store [is full](Store::is_full).
    pub fn submit(&self, records: Vec<Record>) {
        if !records.is_empty() {
            self.queue.push(Job::Write(records));
        }
    }

    /// Queues a read of messages by their `seq`. One [`StoreAnswer::Mail`] is the answer. The read sees every record
    /// submitted before it and none submitted after it. Never blocks.
    pub fn fetch(&self, seqs: Vec<u64>) {
        self.queue.push(Job::Fetch(seqs));
    }

    /// Whether at least [`MAX_WAITING_RECORDS`] or [`MAX_WAITING_BYTES`] wait for the disk. The event loop then stops
    /// taking input. After this becomes false again, an answer arrives.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// Number of transactions committed since the store was opened.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.queue.commits()
    }

    /// Waits until every call has its answer, then closes the file. Blocks.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // The thread panics only if the answer handler panics, and that error belongs to the handler.
            let _ = thread.join();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.end();
    }
}
