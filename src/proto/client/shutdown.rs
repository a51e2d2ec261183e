//! Going: de-registration, and leaving with notice.

use std::time::Duration;

use crate::proto::client::{Client, Presence};
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::{OfflineReason, Reason};
use crate::proto::time::Instant;
use crate::proto::wire::{Frame, Header};

/// The most copies of the notice of a leave.
pub const NOTICES: u32 = 3;
/// How far apart they are; after the last one as long again for its answer.
pub const NOTICE_EVERY: Duration = Duration::from_millis(50);

/// Notice is being given.
#[derive(Debug)]
pub struct ShutdownNotice {
    /// How many times for a notice have come.
    times: u32,
    next: Instant,
    /// Notice was given.
    given: bool,
}

impl ShutdownNotice {
    pub(super) fn deadline(&self) -> Instant {
        self.next
    }

    /// Whether the first notice is still to be given.
    pub(super) fn is_held(&self) -> bool {
        !self.given
    }
}

impl Client {
    /// De-registered at the user's wish.
    pub(super) fn deregistered(&mut self, cmd: Option<u64>) {
        self.presence = Presence::Offline;
        self.home.registered = false;
        self.table.left(self.name.as_str());
        self.say(cmd, ClientEvent::Offline { name: self.name.clone(), reason: OfflineReason::Dereg });
        self.group = None;
        self.show_held();
        self.done(cmd, None);
    }

    /// Leaves: what was held is shown, the server is told unless it need not be, then the program ends.
    pub(super) fn leave(&mut self, now: Instant) {
        if matches!(self.presence, Presence::Leaving | Presence::Ended) {
            return;
        }
        let unknown = matches!(self.presence, Presence::Offline) && self.registration.is_none();
        let no_notice = unknown || self.silent_leave || self.home.incarnation.is_none();
        self.show_held();
        self.group = None;
        self.registration = None;
        self.entering = None;
        if no_notice {
            return self.end(now, false, None);
        }
        self.presence = Presence::Leaving;
        self.leaving = Some(ShutdownNotice { times: 0, next: now, given: false });
        self.leaving_timeout(now);
    }

    /// Commands without outcome never have one now. That is no failure of theirs.
    pub(super) fn interrupt(&mut self) {
        self.backlog.clear();
        for cmd in std::mem::take(&mut self.open) {
            self.say(Some(cmd), ClientEvent::Done { ok: false, reason: Some(Reason::Interrupted) });
        }
    }

    pub(super) fn leaving_timeout(&mut self, now: Instant) {
        let Some(leaving) = &mut self.leaving else { return };
        if leaving.next > now {
            return;
        }
        if leaving.times >= NOTICES {
            return self.end(now, false, None);
        }
        leaving.times += 1;
        leaving.next = now + NOTICE_EVERY;
        // What is just being shown is acknowledged first, if that takes no longer than to the next time: after a notice
        // nobody listens to acknowledgements.
        if leaving.times > 1 || !self.inbox.is_showing() {
            self.give_notice(now);
        }
    }

    pub(super) fn give_notice(&mut self, now: Instant) {
        self.flush_links(now);
        if let Some(leaving) = &mut self.leaving {
            leaving.given = true;
        }
        if let (Some(incarnation), Some(addr)) = (self.home.incarnation, self.home.addr) {
            self.door.send(addr, &Header::new(self.me, Some(incarnation)), Some(Frame::Bye));
        }
    }

    /// The server knows that we leave.
    pub(super) fn bye(&mut self, now: Instant) {
        if self.leaving.is_some() {
            self.end(now, false, None);
        }
    }
}
