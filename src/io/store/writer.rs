//! The store's thread: writes each batch of jobs in one transaction, handles write errors, runs checkpoints and sends
//! the answers.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::proto::event::sentences::Sentence;
use crate::proto::record::{Mail, Record};

use crate::io::store::error::{ErrorClass, classify};
use crate::io::store::queue::{Job, StoreQueue};
use crate::io::store::{AnswerHandler, Commit, StoreAnswer, rows};

/// Maximum number of records in one transaction; one turn with more records is not split. Measured: 244 k rows/s at
/// this size.
pub const BATCH_RECORDS: usize = 4096;
/// Maximum number of bytes in one transaction; one turn with more bytes is not split.
pub const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// Size of the write-ahead log, in bytes, at which a checkpoint moves it into the database.
pub(super) const CHECKPOINT_BYTES: usize = 16 * 1024 * 1024;
/// Bytes that a transaction adds to the write-ahead log in addition to its records: a few pages that it changes.
const COMMIT_BYTES: usize = 16 * 1024;

/// Owns the connection and the answer handler.
pub(super) struct Writer {
    db: Connection,
    commit: Commit,
    queue: Arc<StoreQueue>,
    answer: AnswerHandler,
    /// The path of the file, for displayed sentences.
    name: String,
    /// Number of records that have an outcome: durable or refused.
    settled: u64,
    /// Estimated bytes written to the write-ahead log since the last checkpoint.
    logged: usize,
}

/// A part of a batch: the records of one write, or one read. The order of the parts is that of the calls.
#[derive(Clone, Copy)]
enum BatchPart<'a> {
    Write(&'a [Record]),
    Fetch(&'a [u64]),
}

/// The outcome of a batch.
#[derive(Default)]
struct BatchOutcome {
    /// Number of records that have an outcome, counted since the store was opened.
    settled: u64,
    refused: Vec<u64>,
    /// The error because of which the first record was refused.
    why: Option<rusqlite::Error>,
    fetched: Vec<Vec<Mail>>,
}

impl Writer {
    pub(super) fn new(
        db: Connection,
        commit: Commit,
        queue: Arc<StoreQueue>,
        answer: AnswerHandler,
        name: String,
    ) -> Self {
        Self { db, commit, queue, answer, name, settled: 0, logged: 0 }
    }

    /// Processes batches until the queue is closed and empty, or until a fatal error.
    pub(super) fn run(mut self) {
        let _ended = OnDrop(Arc::clone(&self.queue));
        while let Some(batch) = self.queue.take(BATCH_RECORDS, BATCH_BYTES) {
            if let Err(why) = self.batch(&batch) {
                // Nothing more is written to a broken disk. Without a checkpoint on close, the write-ahead log stays
                // and can be recovered later.
                let _ = self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
                let sentence = Sentence::StoreFailed { store: &self.name, reason: &why };
                (self.answer)(StoreAnswer::Fatal(sentence.to_string()));
                return;
            }
        }
    }

    /// Writes a batch and sends its answers. An error that is returned is fatal.
    fn batch(&mut self, jobs: &[Job]) -> rusqlite::Result<()> {
        let parts: Vec<BatchPart<'_>> = jobs.iter().map(BatchPart::from).collect();
        let mut outcome = BatchOutcome { settled: self.settled, ..BatchOutcome::default() };
        self.settle(&parts, &mut outcome)?;
        let BatchOutcome { refused, why, fetched, .. } = outcome;
        if let Some(why) = why {
            let n = refused.len();
            let records = if n == 1 { "A record was".to_owned() } else { format!("{n} records were") };
            let sentence = Sentence::StoreRefused { records: &records, store: &self.name, reason: &why };
            (self.answer)(StoreAnswer::Warning(sentence.to_string()));
        }
        self.send_answers(&parts, &refused, fetched);
        let bytes: usize = jobs.iter().map(|job| job.cost().1).sum();
        self.checkpoint(bytes)
    }

    /// Writes the parts in one transaction. If a record makes it fail, splits the parts and retries, until each record
    /// that fails is alone. Only such a record is refused.
    ///
    /// The reason: a full disk may have room for a smaller record, and a later record may free room. A turn stays in
    /// one transaction unless one of its records is refused.
    fn settle(&mut self, parts: &[BatchPart<'_>], outcome: &mut BatchOutcome) -> rusqlite::Result<()> {
        let why = match self.transaction(parts) {
            Ok(fetched) => {
                outcome.settled += parts.iter().map(BatchPart::records).sum::<u64>();
                outcome.fetched.extend(fetched);
                return Ok(());
            }
            Err(why) => why,
        };
        match (classify(&why), parts) {
            (ErrorClass::Record, [BatchPart::Write(records)]) if records.len() > 1 => {
                records.chunks(1).try_for_each(|one| self.settle(&[BatchPart::Write(one)], outcome))
            }
            (ErrorClass::Record, [_, _, ..]) => {
                let (first, second) = parts.split_at(parts.len() / 2);
                self.settle(first, outcome)?;
                self.settle(second, outcome)
            }
            // One record is left, or the error affects every record: smaller transactions would fail as well.
            (ErrorClass::Record | ErrorClass::Moment, _) if parts.iter().any(|part| part.records() > 0) => {
                for part in parts {
                    match part {
                        BatchPart::Write(records) => {
                            let from = outcome.settled + 1;
                            outcome.settled += records.len() as u64;
                            outcome.refused.extend(from..=outcome.settled);
                        }
                        BatchPart::Fetch(seqs) => outcome.fetched.push(rows::fetch(&self.db, seqs)?),
                    }
                }
                outcome.why.get_or_insert(why);
                Ok(())
            }
            _ => Err(why),
        }
    }

    /// Performs all parts or none, in order: a read sees the writes before it and none after it.
    fn transaction(&mut self, parts: &[BatchPart<'_>]) -> rusqlite::Result<Vec<Vec<Mail>>> {
        if parts.iter().all(|part| matches!(part, BatchPart::Fetch(_))) {
            return apply(&self.db, parts);
        }
        let result = self.db.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            let fetched = apply(&self.db, parts)?;
            (self.commit)(&self.db)?;
            Ok(fetched)
        });
        if result.is_ok() {
            self.queue.count_commit();
        } else if !self.db.is_autocommit() {
            self.db.execute_batch("ROLLBACK")?;
        }
        result
    }

    /// Sends the answers in the order of the calls. Consecutive writes share one answer.
    fn send_answers(&mut self, parts: &[BatchPart<'_>], refused: &[u64], fetched: Vec<Vec<Mail>>) {
        let mut fetched = fetched.into_iter();
        let (mut refused, mut through) = (refused.iter().copied().peekable(), self.settled);
        for (at, part) in parts.iter().enumerate() {
            through += part.records();
            let last = parts.get(at + 1).is_none_or(|next| matches!(next, BatchPart::Fetch(_)));
            match part {
                BatchPart::Write(_) if last => {
                    let refused = std::iter::from_fn(|| refused.next_if(|n| *n <= through)).collect();
                    (self.answer)(StoreAnswer::Persisted { through, refused });
                }
                BatchPart::Write(_) => {}
                BatchPart::Fetch(_) => (self.answer)(StoreAnswer::Mail(fetched.next().unwrap_or_default())),
            }
        }
        self.settled = through;
    }

    /// Runs a checkpoint once the write-ahead log is long. SQLite's automatic checkpoint would hide a failed sync.
    fn checkpoint(&mut self, bytes: usize) -> rusqlite::Result<()> {
        self.logged += bytes + COMMIT_BYTES;
        if self.logged < CHECKPOINT_BYTES {
            return Ok(());
        }
        self.logged = 0;
        match self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            Err(why) if classify(&why) != ErrorClass::Fatal => {
                let sentence = Sentence::StoreLogLong { store: &self.name, reason: &why };
                (self.answer)(StoreAnswer::Warning(sentence.to_string()));
                Ok(())
            }
            result => result,
        }
    }
}

fn apply(db: &Connection, parts: &[BatchPart<'_>]) -> rusqlite::Result<Vec<Vec<Mail>>> {
    let mut fetched = Vec::new();
    for part in parts {
        match part {
            BatchPart::Write(records) => records.iter().try_for_each(|record| rows::write(db, record))?,
            BatchPart::Fetch(seqs) => fetched.push(rows::fetch(db, seqs)?),
        }
    }
    Ok(fetched)
}

impl BatchPart<'_> {
    fn records(&self) -> u64 {
        match self {
            Self::Write(records) => records.len() as u64,
            Self::Fetch(_) => 0,
        }
    }
}

impl<'a> From<&'a Job> for BatchPart<'a> {
    fn from(job: &'a Job) -> Self {
        match job {
            Job::Write(records) => BatchPart::Write(records),
            Job::Fetch(seqs) => BatchPart::Fetch(seqs),
        }
    }
}

/// Ends the queue however the thread ends, also by a panic: a queue that stays full would stop the event loop.
struct OnDrop(Arc<StoreQueue>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}
