//! The request to end a run: it ends every process at once, whatever the runner is doing, and then the runner itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal as Posix, killpg};
use nix::unistd::Pid;

use crate::proto::time::Instant;
use crate::runner::backend::process::child::{ChildEvent, ChildMessage};
use crate::runner::lang::ast::ActorId;

/// The request to end. Copies are the same one.
#[derive(Clone, Debug, Default)]
pub struct CancelToken {
    shared: Arc<CancelState>,
}

#[derive(Debug, Default)]
struct CancelState {
    /// 0 as long as nobody asked.
    signal: AtomicU8,
    stages: Mutex<CancelTargets>,
    groups: Mutex<ProcessGroups>,
}

/// The ways to wake the backends, at most one for each case that is running.
#[derive(Debug, Default)]
struct CancelTargets {
    ways: BTreeMap<u64, SyncSender<ChildMessage>>,
    next: u64,
}

/// A backend that is woken by a request to end, until this is dropped.
#[derive(Debug)]
pub(crate) struct Woken {
    shared: Arc<CancelState>,
    number: u64,
}

/// The process groups that live. Each is taken out before its process is waited for: until then its number is not
/// given to another one.
#[derive(Debug, Default)]
struct ProcessGroups {
    living: BTreeSet<i32>,
    /// There may be no more.
    closed: bool,
}

impl CancelToken {
    /// Asks the run to end, by the signal of this number. The first one counts.
    pub fn ask(&self, signal: i32) {
        let signal = u8::try_from(signal).unwrap_or(u8::MAX);
        let _ = self.shared.signal.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
        for backend in self.shared.stages().ways.values() {
            // A backend that has no room for it is awake, and looks at the signal next.
            drop(backend.try_send(ChildMessage {
                actor: ActorId::Server,
                life: 0,
                at: Instant::ZERO,
                what: ChildEvent::Wake,
            }));
        }
        self.end_all();
    }

    /// Ends every process and lets none begin, without a word to the runner: it may be blocked.
    pub fn end_all(&self) {
        let mut groups = self.groups();
        groups.closed = true;
        for group in &groups.living {
            let _ = killpg(Pid::from_raw(*group), Posix::SIGKILL);
        }
    }

    /// The signal, if one came.
    #[must_use]
    pub fn signal(&self) -> Option<u8> {
        Some(self.shared.signal.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }

    /// From now on a request wakes the backend that reads from this channel.
    #[must_use]
    pub(crate) fn wakes(&self, backend: SyncSender<ChildMessage>) -> Woken {
        let mut stages = self.shared.stages();
        let number = stages.next;
        stages.next += 1;
        stages.ways.insert(number, backend);
        Woken { shared: self.shared.clone(), number }
    }

    /// Takes a new process group in, or ends it where there may be no more.
    pub(crate) fn begins(&self, group: Pid) {
        let mut groups = self.groups();
        groups.living.insert(group.as_raw());
        if groups.closed {
            let _ = killpg(group, Posix::SIGKILL);
        }
    }

    /// Forgets a process group, which is about to be waited for.
    pub(crate) fn ends(&self, group: Pid) {
        self.groups().living.remove(&group.as_raw());
    }

    fn groups(&self) -> MutexGuard<'_, ProcessGroups> {
        self.shared.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CancelState {
    fn stages(&self) -> MutexGuard<'_, CancelTargets> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Woken {
    fn drop(&mut self) {
        self.shared.stages().ways.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn a_request_wakes_every_stage_that_there_is() {
        let halt = CancelToken::default();
        let (stages, inboxes): (Vec<_>, Vec<_>) =
            [sync_channel(1), sync_channel(1)].map(|(backend, inbox)| (halt.wakes(backend), inbox)).into_iter().unzip();
        let (gone, inbox) = sync_channel(1);
        drop(halt.wakes(gone));
        halt.ask(15);
        assert!(
            inboxes.iter().all(|inbox| matches!(inbox.try_recv(), Ok(ChildMessage { what: ChildEvent::Wake, .. })))
        );
        assert!(inbox.try_recv().is_err());
        drop(stages);
        assert!(halt.shared.stages().ways.is_empty());
        assert_eq!(halt.signal(), Some(15));
    }
}
