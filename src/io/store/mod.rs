//! What a server keeps: SQLite on a thread of its own, which commits everything that waits in one transaction and then
//! answers, in the order of the questions.

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

/// Where a store keeps what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// In this file, beside which SQLite puts `FILE-wal` and `FILE-shm` while it is open, and this program `FILE.lock`.
    /// Missing folders above it are created. People may read it with `sqlite3` at any time.
    File(PathBuf),
    /// Nowhere: it is forgotten when the store is closed, and nothing touches the disk.
    Memory,
}

/// What the store has to say, in the order of the calls that asked for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreAnswer {
    /// Records have their outcome: [`crate::proto::machine::Input::Persisted`].
    Persisted {
        /// How many, counted from the first one ever submitted to this store.
        through: u64,
        /// Those since the last answer that could not be written, by number, counted from 1, in order.
        refused: Vec<u64>,
    },
    /// The answer to one [`Store::fetch`], in its order; what is not there (any more) is left out.
    Mail(Vec<Mail>),
    /// Something could not be written and was refused, or the disk needs a look; the store goes on. For people.
    Warning(String),
    /// The disk cannot be trusted any more: the last answer of this store. For people; what was answered before is safe.
    Fatal(String),
}

/// What takes the answers in, on the thread of the store. It must not wait for whoever calls [`Store::submit`].
pub type AnswerHandler = Box<dyn FnMut(StoreAnswer) + Send>;

/// An open store. Dropping it closes it.
#[derive(Debug)]
pub struct Store {
    queue: Arc<StoreQueue>,
    thread: Option<JoinHandle<()>>,
}

/// Ends the transaction that is open.
type Commit = Box<dyn FnMut(&Connection) -> rusqlite::Result<()> + Send>;

/// What stands between the store and its disk, so that a test can play a disk that is full, slow or broken.
struct TestHooks {
    commit: Commit,
    /// The most pages that the file may have.
    max_pages: Option<u32>,
}

impl Default for TestHooks {
    fn default() -> Self {
        Self { commit: Box::new(|db| db.execute_batch("COMMIT")), max_pages: None }
    }
}

impl Store {
    /// Opens a store, creating it where there is none, and reads what an earlier life left.
    ///
    /// # Errors
    /// A [`StoreError`] is one sentence that says what is wrong and what to do; the file is as it was.
    pub fn open(place: StoreLocation, answer: AnswerHandler) -> Result<(Self, PersistedState), StoreError> {
        Self::open_with(place, answer, TestHooks::default())
    }

    fn open_with(
        place: StoreLocation,
        answer: AnswerHandler,
        seams: TestHooks,
    ) -> Result<(Self, PersistedState), StoreError> {
        let (db, path, lock) = match place {
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
        let kept = schema::bring_up_to_date(&db, seams.max_pages).and_then(|()| rows::load(&db));
        let kept = kept.map_err(|why| StoreError::from_sqlite(&path, why))?;
        let queue = Arc::new(StoreQueue::default());
        let writer = Writer::new(db, seams.commit, Arc::clone(&queue), answer, path.display().to_string());
        let thread = thread::Builder::new().name("store".to_owned()).spawn(move || {
            writer.run();
            // Last of all: the file is closed before another server may have it.
            drop(lock);
        });
        let thread = thread.map_err(StoreError::Thread)?;
        Ok((Self { queue, thread: Some(thread) }, kept))
    }

    /// Takes the records of one turn, which are written all together, unless one of them is refused: then each is
    /// written by itself. Answered by [`StoreAnswer::Persisted`], perhaps together with others.
    ///
    /// Never blocks; who submits takes in nothing more while the store [is full](Store::is_full).
    pub fn submit(&self, records: Vec<Record>) {
        if !records.is_empty() {
            self.queue.push(Job::Write(records));
        }
    }

    /// Reads messages by their `seq`. Answered by one [`StoreAnswer::Mail`], which knows of everything submitted
    /// before and of nothing submitted after. Never blocks.
    pub fn fetch(&self, seqs: Vec<u64>) {
        self.queue.push(Job::Fetch(seqs));
    }

    /// Whether [`MAX_WAITING_RECORDS`] or [`MAX_WAITING_BYTES`] wait for the disk, by which the loop knows that the
    /// server is too far ahead of it. An answer comes when that has changed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.queue.is_full()
    }

    /// How many transactions were committed since the store was opened.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.queue.commits()
    }

    /// Waits until everything submitted has its answer, then closes the file.
    pub fn close(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // It ends in a panic only if the answer does, whose own affair that is.
            let _ = thread.join();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.end();
    }
}
