//! Cancels a run: kills all its processes at once, whatever the runner is doing, and then ends the runner itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal as Posix, killpg};
use nix::unistd::Pid;

use crate::proto::time::Instant;
use crate::runner::backend::process::child::{ChildEvent, ChildMessage};
use crate::runner::lang::ast::ActorId;

/// The cancellation of a run. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct CancelToken {
    shared: Arc<CancelState>,
}

#[derive(Debug, Default)]
struct CancelState {
    /// The number of the signal, 0 before a cancellation.
    signal: AtomicU8,
    targets: Mutex<CancelTargets>,
    groups: Mutex<ProcessGroups>,
}

/// The channels that wake the backends, at most one for each running case.
#[derive(Debug, Default)]
struct CancelTargets {
    senders: BTreeMap<u64, SyncSender<ChildMessage>>,
    next: u64,
}

/// A cancellation wakes this backend until this is dropped.
#[derive(Debug)]
pub(crate) struct WakeTarget {
    shared: Arc<CancelState>,
    number: u64,
}

/// The running process groups. Each is removed before its leader is reaped: until then the system does not reuse its
/// number.
#[derive(Debug, Default)]
struct ProcessGroups {
    running: BTreeSet<i32>,
    /// No further group may run.
    closed: bool,
}

impl CancelToken {
    /// Cancels the run because of the signal with this number. The first signal counts.
    pub fn cancel(&self, signal: i32) {
        let signal = u8::try_from(signal).unwrap_or(u8::MAX);
        let _ = self.shared.signal.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
        for backend in self.shared.targets().senders.values() {
            // A backend with a full queue is awake, and checks the signal next.
            drop(backend.try_send(ChildMessage {
                actor: ActorId::Server,
                incarnation: 0,
                at: Instant::ZERO,
                event: ChildEvent::Wake,
            }));
        }
        self.kill_all();
    }

    /// Kills all processes, and every later one at its start. It does not notify the runner, which may be blocked.
    pub fn kill_all(&self) {
        let mut groups = self.groups();
        groups.closed = true;
        for group in &groups.running {
            let _ = killpg(Pid::from_raw(*group), Posix::SIGKILL);
        }
    }

    /// The signal that cancelled the run, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<u8> {
        Some(self.shared.signal.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }

    /// From now on a cancellation wakes the backend that reads from this channel.
    #[must_use]
    pub(crate) fn add_wake_target(&self, backend: SyncSender<ChildMessage>) -> WakeTarget {
        let mut targets = self.shared.targets();
        let number = targets.next;
        targets.next += 1;
        targets.senders.insert(number, backend);
        WakeTarget { shared: self.shared.clone(), number }
    }

    /// Registers a new process group, or kills it when no further group may run.
    pub(crate) fn add_group(&self, group: Pid) {
        let mut groups = self.groups();
        groups.running.insert(group.as_raw());
        if groups.closed {
            let _ = killpg(group, Posix::SIGKILL);
        }
    }

    /// Removes a process group. Its leader must not be reaped before this.
    pub(crate) fn remove_group(&self, group: Pid) {
        self.groups().running.remove(&group.as_raw());
    }

    fn groups(&self) -> MutexGuard<'_, ProcessGroups> {
        self.shared.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CancelState {
    fn targets(&self) -> MutexGuard<'_, CancelTargets> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WakeTarget {
    fn drop(&mut self) {
        self.shared.targets().senders.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn a_request_wakes_every_registered_backend() {
        let token = CancelToken::default();
        let (targets, inboxes): (Vec<_>, Vec<_>) = [sync_channel(1), sync_channel(1)]
            .map(|(backend, inbox)| (token.add_wake_target(backend), inbox))
            .into_iter()
            .unzip();
        let (dropped, inbox) = sync_channel(1);
        drop(token.add_wake_target(dropped));
        token.cancel(15);
        assert!(
            inboxes.iter().all(|inbox| matches!(inbox.try_recv(), Ok(ChildMessage { event: ChildEvent::Wake, .. })))
        );
        assert!(inbox.try_recv().is_err());
        drop(targets);
        assert!(token.shared.targets().senders.is_empty());
        assert_eq!(token.signal(), Some(15));
    }
}
