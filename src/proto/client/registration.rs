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
    /// The `reg` request with this number is on its link.
    Requested(u64),
}

/// The end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationTimeout {
    /// The next attempt has begun.
    Retry {
        attempt: u32,
        /// Whether the `reg` request is on its link.
        is_requested: bool,
    },
    /// That was the last attempt.
    Failed,
}

impl Registration {
    /// Begins a registration with `hello`. The server's challenge must repeat `token`.
    pub fn new(now: Instant, token: String) -> Self {
        Self { attempt: 1, ends: now + LIMIT, token, stage: Stage::Hello { copies: 0, due: now } }
    }

    /// Returns to `hello`, within the same attempt.
    pub fn look_again(&mut self, now: Instant) {
        self.stage = Stage::Hello { copies: 0, due: now };
    }

    /// Notes that the `reg` request with this number is on its link.
    pub fn requested(&mut self, r: u64) {
        self.stage = Stage::Requested(r);
    }

    /// Whether a challenge with this token answers our `hello`.
    pub fn expects(&self, token: &str) -> bool {
        matches!(self.stage, Stage::Hello { .. }) && self.token == token
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
        let is_requested = matches!(self.stage, Stage::Requested(_));
        Some(RegistrationTimeout::Retry { attempt: self.attempt, is_requested })
    }

    /// The token for the next copy of `hello`, if one is due. Counts that copy as sent.
    pub fn next_hello(&mut self, now: Instant) -> Option<String> {
        let Stage::Hello { copies, due } = &mut self.stage else { return None };
        if *due > now {
            return None;
        }
        *copies += 1;
        *due = now + Rtt::default().timeout(*copies);
        Some(self.token.clone())
    }

    /// When this attempt ends or the next `hello` is due.
    pub fn deadline(&self) -> Option<Instant> {
        let hello = if let Stage::Hello { due, .. } = self.stage { Some(due) } else { None };
        earliest(Some(self.ends), hello)
    }
}
