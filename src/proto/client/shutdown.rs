//! De-registers a client, and shuts it down with a notice to the server.
//!
//! The notice is `bye`. It has no number, so no link retransmits it. It is sent up to [`NOTICES`] times until the
//! server answers.

use std::time::Duration;

use crate::proto::client::Client;
use crate::proto::client::phase::{ClientPhase, RegistrationState};
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::{OfflineReason, Reason};
use crate::proto::time::Instant;
use crate::proto::wire::Frame;

/// Maximum number of notices of one shutdown.
pub const NOTICES: u32 = 3;
/// Interval between two notices, and the wait for an answer after the last one.
pub const NOTICE_EVERY: Duration = Duration::from_millis(50);

/// The notice to the server that this client leaves.
#[derive(Debug)]
pub struct ShutdownNotice {
    /// The number of times that a notice was due.
    times: u32,
    next: Instant,
    is_given: bool,
    is_deregistered: bool,
}

/// The action when a notice is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoticeTimeout {
    /// Give notice.
    Give,
    /// Messages are being displayed: give notice when they are confirmed, or at the next time.
    Hold,
    /// The server did not answer: end.
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
        // After a notice the senders ignore acknowledgements, so displayed messages are acknowledged first. They have
        // time until the second notice is due.
        Some(if self.times > 1 || !is_displaying { NoticeTimeout::Give } else { NoticeTimeout::Hold })
    }
}

impl Client {
    /// Processes the answer to `dereg`.
    pub(super) fn deregistered(&mut self, cmd: Option<u64>) {
        match &mut self.phase {
            ClientPhase::Closing(notice) => notice.is_deregistered = true,
            ClientPhase::Closed => {}
            phase => *phase = ClientPhase::Offline,
        }
        self.registration = RegistrationState::Unregistered;
        self.table.set_offline(self.name.as_str());
        self.say(cmd, ClientEvent::Offline { name: self.name.clone(), reason: OfflineReason::Dereg });
        self.group = None;
        self.show_held();
        self.done(cmd, None);
    }

    /// Shuts down: displays held messages, then gives notice. Ends without notice if the client is offline, has no
    /// server, or is configured to leave silently.
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

    /// Settles all open commands as interrupted. They do not change the exit status.
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

    /// Gives a held notice once all displayed messages are confirmed.
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
        if let Some(link) = self.server.incarnation.and_then(|incarnation| self.links.get_mut(incarnation)) {
            link.push_unnumbered(Frame::Bye, None);
        }
    }

    /// Ends a closing client: the server has answered its notice.
    pub(super) fn bye(&mut self, now: Instant) {
        if matches!(self.phase, ClientPhase::Closing(_)) {
            self.end(now, false, None);
        }
    }
}
