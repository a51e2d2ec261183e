//! De-registers a client, and ends it with notice to the server.

use std::time::Duration;

use crate::proto::client::Client;
use crate::proto::client::phase::{ClientPhase, RegistrationState};
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::{OfflineReason, Reason};
use crate::proto::time::Instant;
use crate::proto::wire::{Frame, Header};

/// The most copies of the notice of a leave.
pub const NOTICES: u32 = 3;
/// The time between two copies. After the last one the client waits as long for its answer.
pub const NOTICE_EVERY: Duration = Duration::from_millis(50);

/// The notice to the server that this client leaves.
#[derive(Debug)]
pub struct ShutdownNotice {
    /// How often a notice was due.
    times: u32,
    next: Instant,
    is_given: bool,
    is_deregistered: bool,
}

/// What to do at a time for a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoticeTimeout {
    /// Give notice.
    Give,
    /// Messages are being displayed: give notice when they are acknowledged, or at the next time.
    Hold,
    /// Nobody answered: end.
    End,
}

impl ShutdownNotice {
    fn new(now: Instant) -> Self {
        Self { times: 0, next: now, is_given: false, is_deregistered: false }
    }

    /// When the next notice is due.
    pub fn deadline(&self) -> Instant {
        self.next
    }

    /// Whether the server de-registered this client after it began to leave.
    pub fn is_deregistered(&self) -> bool {
        self.is_deregistered
    }

    fn expire(&mut self, now: Instant, is_displaying: bool) -> Option<NoticeTimeout> {
        if self.next > now {
            return None;
        }
        if self.times >= NOTICES {
            return Some(NoticeTimeout::End);
        }
        self.times += 1;
        self.next = now + NOTICE_EVERY;
        // After a notice the senders ignore acknowledgements, so those of displayed messages go first. They have until
        // the second time for a notice.
        Some(if self.times > 1 || !is_displaying { NoticeTimeout::Give } else { NoticeTimeout::Hold })
    }
}

impl Client {
    /// The server has de-registered this client, as its user asked.
    pub(super) fn deregistered(&mut self, cmd: Option<u64>) {
        match &mut self.phase {
            ClientPhase::Closing(notice) => notice.is_deregistered = true,
            ClientPhase::Closed => {}
            phase => *phase = ClientPhase::Offline,
        }
        self.registration = RegistrationState::Unregistered;
        self.table.left(self.name.as_str());
        self.say(cmd, ClientEvent::Offline { name: self.name.clone(), reason: OfflineReason::Dereg });
        self.group = None;
        self.show_held();
        self.done(cmd, None);
    }

    /// Leaves: displays held messages, gives notice to the server unless it does not know this client, and ends.
    pub(super) fn leave(&mut self, now: Instant) {
        if self.phase.is_closing() {
            return;
        }
        let needs_no_notice = self.phase.is_offline() || self.silent_leave || self.server.incarnation.is_none();
        self.show_held();
        self.group = None;
        self.registration.abandon();
        if needs_no_notice {
            return self.end(now, false, None);
        }
        self.phase = ClientPhase::Closing(ShutdownNotice::new(now));
        self.notice_timeout(now);
    }

    /// Commands without outcome never have one now. The program does not fail because of them.
    pub(super) fn interrupt(&mut self) {
        for cmd in self.commands.drop_backlog() {
            self.commands.settle(cmd);
            self.say(Some(cmd), ClientEvent::Done { ok: false, reason: Some(Reason::Interrupted) });
        }
    }

    pub(super) fn notice_timeout(&mut self, now: Instant) {
        let ClientPhase::Closing(notice) = &mut self.phase else { return };
        match notice.expire(now, self.inbox.is_displaying()) {
            Some(NoticeTimeout::Give) => self.give_notice(now),
            Some(NoticeTimeout::End) => self.end(now, false, None),
            Some(NoticeTimeout::Hold) | None => {}
        }
    }

    /// Gives the first notice as soon as nothing is being displayed.
    pub(super) fn give_held_notice(&mut self, now: Instant) {
        if let ClientPhase::Closing(notice) = &self.phase
            && !notice.is_given
            && !self.inbox.is_displaying()
        {
            self.give_notice(now);
        }
    }

    fn give_notice(&mut self, now: Instant) {
        self.flush_links(now);
        if let ClientPhase::Closing(notice) = &mut self.phase {
            notice.is_given = true;
        }
        if let (Some(incarnation), Some(addr)) = (self.server.incarnation, self.server.addr) {
            self.door.send(addr, &Header::new(self.me, Some(incarnation)), Some(Frame::Bye));
        }
    }

    /// The server knows that this client leaves.
    pub(super) fn bye(&mut self, now: Instant) {
        if matches!(self.phase, ClientPhase::Closing(_)) {
            self.end(now, false, None);
        }
    }
}
