//! What waits for the disk: bounded, so that a slow disk slows the server down instead of filling its memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::core::record::Record;

/// The most records that wait for the disk. One turn of a server that alone has more is taken when nothing waits.
pub const MAX_WAITING_RECORDS: usize = 65_536;
/// The most bytes that wait for the disk, a text and a name counting in full and a row about 200.
pub const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// One call of the server's loop.
#[derive(Debug, PartialEq)]
pub(super) enum Job {
    /// Records to write together.
    Write(Vec<Record>),
    /// Messages to read.
    Fetch(Vec<u64>),
}

impl Job {
    /// How many records it counts for, and how many bytes.
    pub(super) fn cost(&self) -> (usize, usize) {
        match self {
            Self::Write(records) => (records.len(), records.iter().map(super::rows::weight).sum()),
            Self::Fetch(seqs) => (1, size_of_val(seqs.as_slice())),
        }
    }
}

/// The queue between the loop and the thread of the store.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    drained: Condvar,
    commits: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    records: usize,
    bytes: usize,
    closed: bool,
    /// The thread is gone: whatever comes would wait for ever.
    ended: bool,
}

impl Queue {
    /// Puts a job at the end; blocks while there is no room. Does nothing once the thread is gone.
    pub(super) fn push(&self, job: Job) {
        let (records, bytes) = job.cost();
        let mut waiting = self.lock();
        while !waiting.ended && !waiting.has_room(records, bytes) {
            waiting = self.drained.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        if !waiting.ended {
            waiting.records += records;
            waiting.bytes += bytes;
            waiting.jobs.push_back(job);
            self.filled.notify_one();
        }
    }

    /// Everything that waits, as far as it goes into one batch, but at least one job; blocks while there is none.
    /// `None` when the queue is closed and empty.
    pub(super) fn take(&self, most_records: usize, most_bytes: usize) -> Option<Vec<Job>> {
        let mut waiting = self.lock();
        while waiting.jobs.is_empty() && !waiting.closed {
            waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut batch, mut total) = (Vec::new(), (0, 0));
        while let Some(job) = waiting.jobs.front() {
            let (records, bytes) = job.cost();
            total = (total.0 + records, total.1 + bytes);
            if !batch.is_empty() && (total.0 > most_records || total.1 > most_bytes) {
                break;
            }
            waiting.records -= records;
            waiting.bytes -= bytes;
            batch.extend(waiting.jobs.pop_front());
        }
        self.drained.notify_all();
        (!batch.is_empty()).then_some(batch)
    }

    /// No more will come; what waits is still taken.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_all();
    }

    /// The thread is gone; what waits is forgotten and nobody blocks any more.
    pub(super) fn end(&self) {
        *self.lock() = Waiting { closed: true, ended: true, ..Waiting::default() };
        self.drained.notify_all();
    }

    pub(super) fn count_commit(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// A thread that panicked while it held the lock left nothing half done: each change above is one.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn has_room(&self, records: usize, bytes: usize) -> bool {
        let fits = self.records + records <= MAX_WAITING_RECORDS && self.bytes + bytes <= MAX_WAITING_BYTES;
        fits || self.jobs.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn turn(seqs: std::ops::Range<usize>) -> Job {
        Job::Write(seqs.map(|seq| Record::ReceiptGone { seq: seq as u64 }).collect())
    }

    #[test]
    fn the_queue_holds_so_many_records_and_then_blocks() {
        let queue = Queue::default();
        let half = MAX_WAITING_RECORDS / 2;
        queue.push(turn(0..half));
        queue.push(turn(0..half - 1));
        let waiting = queue.lock();
        assert!(waiting.has_room(1, 1) && !waiting.has_room(2, 1));
        drop(waiting);
        let mut most = 0;
        thread::scope(|scope| {
            scope.spawn(|| (0..20).for_each(|_| queue.push(turn(0..half))));
            for _ in 0..22 {
                most = most.max(queue.lock().records);
                assert!(queue.take(1, 1).is_some());
            }
        });
        assert!(most <= MAX_WAITING_RECORDS, "{most}");
        queue.close();
        assert_eq!(queue.take(1, 1), None);
        let waiting = queue.lock();
        assert_eq!((waiting.records, waiting.bytes), (0, 0));
    }

    #[test]
    fn the_queue_holds_so_many_bytes() {
        let mut waiting = Waiting { bytes: MAX_WAITING_BYTES - 10, ..Waiting::default() };
        assert!(waiting.has_room(1, 11), "what is too large alone must pass some day");
        waiting.jobs.push_back(Job::Fetch(Vec::new()));
        assert!(waiting.has_room(1, 10) && !waiting.has_room(1, 11));
    }

    #[test]
    fn a_batch_is_bounded_in_records_and_in_bytes_and_keeps_the_order() {
        let queue = Queue::default();
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
    fn nobody_blocks_once_the_thread_is_gone() {
        let queue = Queue::default();
        queue.push(turn(0..MAX_WAITING_RECORDS));
        thread::scope(|scope| {
            scope.spawn(|| queue.push(turn(0..1)));
            queue.end();
        });
        queue.push(turn(0..MAX_WAITING_RECORDS));
        queue.push(turn(0..1));
        assert_eq!(queue.take(1, 1), None);
    }
}
