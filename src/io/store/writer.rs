//! The thread of the store: one transaction for everything that waits, and what to do when it fails.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::proto::record::{Mail, Record};

use crate::io::store::error::{ErrorClass, classify};
use crate::io::store::queue::{Job, StoreQueue};
use crate::io::store::{AnswerHandler, Commit, StoreAnswer, rows};

/// The most records of one transaction, unless one turn alone has more. Measured: 244 k rows/s at this size.
pub const BATCH_RECORDS: usize = 4096;
/// The most bytes of one transaction, unless one turn alone has more.
pub const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// After so many bytes in the log beside the file, they are moved into the file.
pub(super) const CHECKPOINT_BYTES: usize = 16 * 1024 * 1024;
/// What a transaction adds to the log beside its records: a few pages that it touches.
const COMMIT_BYTES: usize = 16 * 1024;

/// Owns the connection and the answers.
pub(super) struct Writer {
    db: Connection,
    commit: Commit,
    queue: Arc<StoreQueue>,
    answer: AnswerHandler,
    /// The file, for people.
    name: String,
    /// How many records have their outcome.
    settled: u64,
    /// About how much the log beside the file has grown since it was last emptied.
    logged: usize,
}

/// A part of a batch that is written, or read, at one place in the order.
#[derive(Clone, Copy)]
enum BatchPart<'a> {
    Write(&'a [Record]),
    Fetch(&'a [u64]),
}

/// What became of a batch.
#[derive(Default)]
struct BatchOutcome {
    /// How many records of the batch have their outcome.
    settled: u64,
    refused: Vec<u64>,
    /// Why the first of them was.
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

    /// Works until the queue is closed and empty, or the disk is broken.
    pub(super) fn run(mut self) {
        let _ended = OnDrop(Arc::clone(&self.queue));
        while let Some(batch) = self.queue.take(BATCH_RECORDS, BATCH_BYTES) {
            if let Err(why) = self.batch(&batch) {
                // A disk that cannot be trusted is not written to any more: the log stays, for a better day.
                let _ = self.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
                let sentence = format!(
                    "The store {} cannot be trusted any more: {why}; everything acknowledged before is safe, \
                     look at the disk and start the server again.",
                    self.name
                );
                (self.answer)(StoreAnswer::Fatal(sentence));
                return;
            }
        }
    }

    /// Settles a batch and answers it. An error is fatal.
    fn batch(&mut self, jobs: &[Job]) -> rusqlite::Result<()> {
        let pieces: Vec<BatchPart<'_>> = jobs.iter().map(BatchPart::from).collect();
        let mut outcome = BatchOutcome { settled: self.settled, ..BatchOutcome::default() };
        self.settle(&pieces, &mut outcome)?;
        let BatchOutcome { refused, why, fetched, .. } = outcome;
        if let Some(why) = why {
            let n = refused.len();
            let records = if n == 1 { "A record was".to_owned() } else { format!("{n} records were") };
            let sentence =
                format!("{records} refused by the store {}: {why}; make room, the server goes on.", self.name);
            (self.answer)(StoreAnswer::Warning(sentence));
        }
        self.tell(&pieces, &refused, fetched);
        let bytes: usize = jobs.iter().map(|job| job.cost().1).sum();
        self.checkpoint(bytes)
    }

    /// Writes the pieces in one transaction. If it fails for a record's sake, in ever smaller ones until the record
    /// is alone, which is what is refused: a full disk may have room for one more, and one that makes room.
    /// Turns stay whole as long as nothing in them is refused.
    fn settle(&mut self, pieces: &[BatchPart<'_>], outcome: &mut BatchOutcome) -> rusqlite::Result<()> {
        let why = match self.transaction(pieces) {
            Ok(fetched) => {
                outcome.settled += pieces.iter().map(BatchPart::records).sum::<u64>();
                outcome.fetched.extend(fetched);
                return Ok(());
            }
            Err(why) => why,
        };
        match (classify(&why), pieces) {
            (ErrorClass::Record, [BatchPart::Write(records)]) if records.len() > 1 => {
                records.chunks(1).try_for_each(|one| self.settle(&[BatchPart::Write(one)], outcome))
            }
            (ErrorClass::Record, [_, _, ..]) => {
                let (first, second) = pieces.split_at(pieces.len() / 2);
                self.settle(first, outcome)?;
                self.settle(second, outcome)
            }
            // It would be so for each of them alone, only more slowly.
            (ErrorClass::Record | ErrorClass::Moment, _) if pieces.iter().any(|piece| piece.records() > 0) => {
                for piece in pieces {
                    match piece {
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

    /// All pieces or none, in order: a read sees what was written before it and not what was after.
    fn transaction(&mut self, pieces: &[BatchPart<'_>]) -> rusqlite::Result<Vec<Vec<Mail>>> {
        if pieces.iter().all(|piece| matches!(piece, BatchPart::Fetch(_))) {
            return apply(&self.db, pieces);
        }
        let result = self.db.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            let fetched = apply(&self.db, pieces)?;
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

    /// Answers in the order of the questions.
    fn tell(&mut self, pieces: &[BatchPart<'_>], refused: &[u64], fetched: Vec<Vec<Mail>>) {
        let mut fetched = fetched.into_iter();
        let (mut refused, mut through) = (refused.iter().copied().peekable(), self.settled);
        for (at, piece) in pieces.iter().enumerate() {
            through += piece.records();
            let last = pieces.get(at + 1).is_none_or(|next| matches!(next, BatchPart::Fetch(_)));
            match piece {
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

    /// Moves the log into the file now and then. SQLite would do it by itself, and be silent about a failed sync.
    fn checkpoint(&mut self, bytes: usize) -> rusqlite::Result<()> {
        self.logged += bytes + COMMIT_BYTES;
        if self.logged < CHECKPOINT_BYTES {
            return Ok(());
        }
        self.logged = 0;
        match self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            Err(why) if classify(&why) != ErrorClass::Fatal => {
                let sentence = format!("The log of the store {} stays long: {why}; make room on its disk.", self.name);
                (self.answer)(StoreAnswer::Warning(sentence));
                Ok(())
            }
            result => result,
        }
    }
}

fn apply(db: &Connection, pieces: &[BatchPart<'_>]) -> rusqlite::Result<Vec<Vec<Mail>>> {
    let mut fetched = Vec::new();
    for piece in pieces {
        match piece {
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

/// However the thread ends, nobody waits for it.
struct OnDrop(Arc<StoreQueue>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.end();
    }
}
