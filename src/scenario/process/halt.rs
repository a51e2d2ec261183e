//! The request to end a run, from a signal to whichever stage is being played on.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};

use super::child::{Message, What};
use crate::core::time::Instant;
use crate::scenario::ast::Actor;

/// The request to end. Copies are the same one.
#[derive(Clone, Debug, Default)]
pub struct Halt {
    /// 0 as long as nobody asked.
    signal: Arc<AtomicU8>,
    stage: Arc<Mutex<Option<SyncSender<Message>>>>,
}

impl Halt {
    /// Asks the run to end, by the signal of this number. The first one counts.
    pub fn ask(&self, signal: i32) {
        let signal = u8::try_from(signal).unwrap_or(u8::MAX);
        let _ = self.signal.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst);
        let stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(stage) = stage {
            // A stage that has no room for it is awake, and looks at the signal next.
            drop(stage.try_send(Message { actor: Actor::Server, life: 0, at: Instant::ZERO, what: What::Wake }));
        }
    }

    /// The signal, if one came.
    #[must_use]
    pub fn signal(&self) -> Option<u8> {
        Some(self.signal.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }

    /// From now on a request wakes the stage that reads from this channel.
    pub(super) fn wakes(&self, stage: SyncSender<Message>) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = Some(stage);
    }
}
