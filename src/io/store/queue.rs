//! Queue of jobs from the event loop to the store's thread. It reports when it is full, so that a slow disk slows the
//! server down instead of filling its memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::proto::record::Record;

/// The store is full when this many records wait for the disk. The limit is soft: the records of the current turn are
/// still queued. A read counts as one record.
pub const MAX_WAITING_RECORDS: usize = 65_536;
/// The store is full when this many bytes wait for the disk. A record counts about 200 bytes plus its text.
pub const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// One call of the event loop.
#[derive(Debug, PartialEq)]
pub(super) enum Job {
    /// Records to write in one transaction.
    Write(Vec<Record>),
    /// Messages to read, by their `seq`.
    Fetch(Vec<u64>),
}

impl Job {
    /// The number of records and the number of bytes that count against the limits.
    pub(super) fn cost(&self) -> (usize, usize) {
        match self {
            Self::Write(records) => (records.len(), records.iter().map(crate::io::store::rows::weight).sum()),
            Self::Fetch(seqs) => (1, size_of_val(seqs.as_slice())),
        }
    }
}

/// The queue between the event loop and the store's thread.
#[derive(Debug, Default)]
pub(super) struct StoreQueue {
    waiting: Mutex<QueueState>,
    filled: Condvar,
    commits: AtomicU64,
}

#[derive(Debug, Default)]
struct QueueState {
    jobs: VecDeque<Job>,
    records: usize,
    bytes: usize,
    closed: bool,
    /// The thread has ended: a job queued now would never be taken.
    ended: bool,
}

impl StoreQueue {
    /// Appends a job, even if the queue is full. Discards it if the thread has ended.
    pub(super) fn push(&self, job: Job) {
        let (records, bytes) = job.cost();
        let mut waiting = self.lock();
        if !waiting.ended {
            waiting.records += records;
            waiting.bytes += bytes;
            waiting.jobs.push_back(job);
            self.filled.notify_one();
        }
    }

    /// Whether a limit is reached.
    pub(super) fn is_full(&self) -> bool {
        let waiting = self.lock();
        waiting.records >= MAX_WAITING_RECORDS || waiting.bytes >= MAX_WAITING_BYTES
    }

    /// Takes the waiting jobs, up to the limits of one batch, but at least one. Blocks while the queue is empty.
    /// Returns `None` when the queue is closed and empty.
    pub(super) fn take(&self, max_records: usize, max_bytes: usize) -> Option<Vec<Job>> {
        let mut waiting = self.lock();
        while waiting.jobs.is_empty() && !waiting.closed {
            waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut batch, mut total) = (Vec::new(), (0, 0));
        while let Some(job) = waiting.jobs.front() {
            let (records, bytes) = job.cost();
            total = (total.0 + records, total.1 + bytes);
            if !batch.is_empty() && (total.0 > max_records || total.1 > max_bytes) {
                break;
            }
            waiting.records -= records;
            waiting.bytes -= bytes;
            batch.extend(waiting.jobs.pop_front());
        }
        (!batch.is_empty()).then_some(batch)
    }

    /// Marks the end of the jobs. Jobs already queued are still taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    /// Marks the end of the thread. Discards the waiting jobs, so that the queue is no longer full.
    pub(super) fn end(&self) {
        *self.lock() = QueueState { closed: true, ended: true, ..QueueState::default() };
    }

    pub(super) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Ignores poisoning: no code above can panic between two changes that belong together.
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(seqs: std::ops::Range<usize>) -> Job {
        Job::Write(seqs.map(|seq| Record::ReceiptGone { seq: seq as u64 }).collect())
    }

    #[test]
    fn the_queue_is_full_at_the_record_limit_until_a_job_is_taken() {
        let queue = StoreQueue::default();
        queue.push(turn(0..MAX_WAITING_RECORDS - 1));
        assert!(!queue.is_full());
        queue.push(Job::Fetch(vec![1]));
        assert!(queue.is_full(), "a question counts for one");
        queue.push(turn(0..7));
        assert_eq!(queue.lock().records, MAX_WAITING_RECORDS + 7, "the rest of the turn is not lost");
        assert!(queue.take(1, 1).is_some());
        assert!(!queue.is_full());
        while !queue.lock().jobs.is_empty() {
            assert!(queue.take(1, 1).is_some());
        }
        let waiting = queue.lock();
        assert_eq!((waiting.records, waiting.bytes), (0, 0));
    }

    #[test]
    fn the_queue_is_full_at_the_byte_limit() {
        let queue = StoreQueue::default();
        let each = turn(0..64).cost().1;
        for _ in 1..MAX_WAITING_BYTES.div_ceil(each) {
            queue.push(turn(0..64));
            queue.lock().records = 0;
        }
        assert!(!queue.is_full());
        queue.push(turn(0..64));
        assert!(queue.is_full());
    }

    #[test]
    fn a_batch_is_bounded_in_records_and_bytes_and_keeps_the_order() {
        let queue = StoreQueue::default();
        let jobs = || [turn(0..3), Job::Fetch(vec![7]), turn(3..9), turn(9..10)];
        jobs().into_iter().for_each(|job| queue.push(job));
        let [a, b, c, d] = jobs();
        assert_eq!(queue.take(4, usize::MAX), Some(vec![a, b]));
        let bytes = c.cost().1;
        assert_eq!(queue.take(usize::MAX, bytes), Some(vec![c]));
        queue.close();
        assert_eq!(queue.take(1, 1), Some(vec![d]), "what waited when it was closed is taken");
        assert_eq!(queue.take(1, 1), None);
    }

    #[test]
    fn jobs_are_discarded_after_the_thread_has_ended() {
        let queue = StoreQueue::default();
        queue.push(turn(0..MAX_WAITING_RECORDS));
        queue.end();
        assert!(!queue.is_full());
        queue.push(turn(0..MAX_WAITING_RECORDS));
        assert!(!queue.is_full());
        assert_eq!(queue.take(1, 1), None);
    }
}
