//! One registration: sends `hello` until a server answers, then waits for the answer to `reg`.
//!
//! It fails after [`ATTEMPTS`] attempts of [`LIMIT`] without progress. `hello` is sent several times within an attempt.

use crate::proto::client::{ATTEMPTS, LIMIT};
use crate::proto::link::rtt::Rtt;
use crate::proto::time::{Instant, earliest};

/// A registration in progress.
#[derive(Debug)]
pub struct Registration {
    attempt: u32,
    /// When the current attempt ends.
    ends: Instant,
    token: String,
    stage: Stage,
    /// Whether `hello` was repeated in this attempt, because a datagram without tag hints at a restarted server.
    has_looked_again: bool,
    /// Whether the server had registered this client before, and may still know it.
    pub is_again: bool,
}

#[derive(Debug)]
enum Stage {
    /// Waits for the server's challenge.
    Hello {
        /// The number of copies of `hello` that were sent.
        copies: u32,
        /// When to send the next one.
        due: Instant,
    },
    /// A challenge came from the incarnation that registered this client. It has the rest of the attempt to show by any
    /// authentic datagram that it still knows the client. The cookie is for the next attempt.
    Checking { cookie: String },
    /// The `reg` request with this number is on its link.
    Requested(u64),
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationTimeout {
    /// The next attempt has begun.
    Retry { attempt: u32, next: RegistrationStep },
    /// That was the last attempt.
    Failed,
}

/// The next step of a registration whose attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationStep {
    /// `hello` is sent again.
    Hello,
    /// The server does not know the client any more: send `reg` with this cookie.
    Register { cookie: String },
    /// The `reg` request is on its link. A restarted server does not know the link, and its answer to a keep-alive
    /// shows that.
    KeepAlive,
}

impl Registration {
    /// Begins a registration with `hello`. The server's challenge must repeat `token`.
    pub fn new(now: Instant, token: String) -> Self {
        let stage = Stage::Hello { copies: 0, due: now };
        Self { attempt: 1, ends: now + LIMIT, token, stage, has_looked_again: false, is_again: false }
    }

    /// Begins a registration at a server that may have forgotten this client.
    pub fn again(now: Instant, token: String) -> Self {
        Self { is_again: true, ..Self::new(now, token) }
    }

    /// Returns to `hello` within the same attempt, at most once an attempt: anybody can send the hint.
    pub fn look_again(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Requested(_)) && !std::mem::replace(&mut self.has_looked_again, true) {
            self.stage = Stage::Hello { copies: 0, due: now };
        }
    }

    /// Waits whether the incarnation that sent the challenge still knows this client.
    pub fn check(&mut self, cookie: String) {
        self.stage = Stage::Checking { cookie };
    }

    /// Whether an authentic datagram of the server ends the registration: the server still knows this client.
    pub fn is_checking(&self) -> bool {
        matches!(self.stage, Stage::Checking { .. })
    }

    /// Notes that the `reg` request with this number is on its link.
    pub fn requested(&mut self, r: u64) {
        self.stage = Stage::Requested(r);
    }

    /// Whether a challenge with this token answers our `hello`. `is_overtaken`: it comes from the incarnation that
    /// registered this client, after the challenge of another one.
    pub fn expects(&self, token: &str, is_overtaken: bool) -> bool {
        let awaits = match self.stage {
            Stage::Hello { .. } => true,
            Stage::Requested(_) => is_overtaken,
            Stage::Checking { .. } => false,
        };
        awaits && self.token == token
    }

    /// Restarts the attempts if `r` is the `reg` request, which the server has acknowledged. Returns whether it is.
    pub fn received(&mut self, now: Instant, r: u64) -> bool {
        let is_ours = matches!(self.stage, Stage::Requested(own) if own == r);
        if is_ours {
            self.attempt = 1;
            self.ends = now + LIMIT;
        }
        is_ours
    }

    /// Ends an attempt whose time has passed, and begins the next one.
    pub fn expire(&mut self, now: Instant) -> Option<RegistrationTimeout> {
        if self.ends > now {
            return None;
        }
        if self.attempt >= ATTEMPTS {
            return Some(RegistrationTimeout::Failed);
        }
        self.attempt += 1;
        self.ends = now + LIMIT;
        self.has_looked_again = false;
        let next = match &self.stage {
            Stage::Hello { .. } => RegistrationStep::Hello,
            Stage::Checking { cookie } => RegistrationStep::Register { cookie: cookie.clone() },
            Stage::Requested(_) => RegistrationStep::KeepAlive,
        };
        Some(RegistrationTimeout::Retry { attempt: self.attempt, next })
    }

    /// The token for the next copy of `hello`, if one is due. Counts that copy as sent.
    pub fn next_hello(&mut self, now: Instant) -> Option<String> {
        let Stage::Hello { copies, due } = &mut self.stage else { return None };
        if *due > now {
            return None;
        }
        *copies += 1;
        *due = now + Rtt::unlinked_timeout(*copies);
        Some(self.token.clone())
    }

    /// When this attempt ends or the next `hello` is due.
    pub fn deadline(&self) -> Option<Instant> {
        let hello = if let Stage::Hello { due, .. } = self.stage { Some(due) } else { None };
        earliest(Some(self.ends), hello)
    }
}
