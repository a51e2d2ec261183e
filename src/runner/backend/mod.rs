//! Where a scenario is played: the one thing the player asks for output and for the passing of time.
//!
//! Real processes are one stage, a simulated network is another. The player owns no clock.

pub(crate) mod active_faults;
pub mod process;
pub mod simulated;

use serde_json::Value;

use crate::proto::time::Instant;
use crate::runner::lang::ast::{ActorId, Direction, Fault, Need, Peer, Signal};
use crate::runner::profile::Translator;

/// The most bytes that are typed to an actor and not read yet.
pub const MAX_UNREAD: usize = 4 << 20;

/// The actors of one case, and the time they live in. Dropping it ends all of them.
pub trait Backend {
    /// The time.
    fn now(&self) -> Instant;

    /// What happens next, or [`BackendEvent::Time`] when nothing did until then. What happened later than `until` is kept
    /// for the next call. An actor's end comes after all of its output.
    fn next(&mut self, until: Instant) -> BackendEvent;

    /// Starts an actor that is not there yet.
    ///
    /// # Errors
    /// When it cannot be started at all.
    fn start(&mut self, launch: &LaunchSpec) -> Result<(), BackendError>;

    /// Starts an actor that has ended again, with the same arguments, port and folder.
    ///
    /// # Errors
    /// When it was never started, still runs, or cannot be started again.
    fn restart(&mut self, actor: &ActorId) -> Result<(), BackendError>;

    /// Types a line, given without its end. Never waits for anybody to read it.
    ///
    /// # Errors
    /// When the actor's input is closed, or more than [`MAX_UNREAD`] of it would be unread.
    fn type_line(&mut self, actor: &ActorId, line: &str) -> Result<(), BackendError>;

    /// Closes an actor's input.
    fn close_input(&mut self, actor: &ActorId);

    /// Sends a signal; returns when [`Signal::Pause`] has stopped the actor. One that has ended gets none; one that is
    /// paused finds it when it is resumed, but for [`Signal::Kill`].
    ///
    /// # Errors
    /// When it cannot be sent.
    fn signal(&mut self, actor: &ActorId, signal: Signal) -> Result<(), BackendError>;

    /// Why this need of a case cannot be met here, if that is so: the case is skipped for this reason.
    fn lacks(&self, need: Need) -> Option<String>;

    /// Whether the actors are another program than ours. Then the stage itself says when one is ready, by
    /// [`ActorOutput::Ready`], and all of them are played as people see them.
    fn is_foreign(&self) -> bool {
        false
    }

    /// How the actors say what the contract says, where they have other words for it.
    fn speech(&self) -> Translator {
        Translator::default()
    }

    /// Why an actor cannot be given these further arguments, if that is so: the case is skipped for this reason.
    fn refuses(&self, _args: &[String]) -> Option<String> {
        None
    }

    /// Disturbs the network between actors; returns when that is in force.
    ///
    /// # Errors
    /// When it failed, although nothing [was lacking](Backend::lacks).
    fn disturb(&mut self, disturbance: &NetworkChange<'_>) -> Result<(), BackendError>;
}

/// What is to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchSpec {
    /// Who.
    pub actor: ActorId,
    /// What a client calls itself; of no meaning for a server.
    pub name: String,
    /// Further arguments.
    pub args: Vec<String>,
    /// Played as people see it, without `--json`.
    pub text: bool,
}

/// Something that happened on a stage.
#[derive(Clone, Debug, PartialEq)]
pub enum BackendEvent {
    /// An actor wrote something.
    Output {
        /// Who.
        actor: ActorId,
        /// When.
        at: Instant,
        /// What.
        output: ActorOutput,
    },
    /// An actor has ended.
    Ended {
        /// Who.
        actor: ActorId,
        /// When.
        at: Instant,
        /// How.
        end: ActorExit,
    },
    /// An actor wrote more than there is room for; nothing of it is listened to any more.
    Flood {
        /// Who.
        actor: ActorId,
        /// When.
        at: Instant,
        /// Which limit was passed, as a sentence.
        reason: String,
    },
    /// Whoever started the run asks it to end, by the signal of this number.
    Cancelled(u8),
    /// It is that late, and nothing happened.
    Time,
}

/// What an actor wrote.
#[derive(Clone, Debug, PartialEq)]
pub enum ActorOutput {
    /// A line of text, without its end.
    Line(String),
    /// A line of text that has no end yet, from its beginning. More of it may come.
    Partial(String),
    /// Nothing: the stage sees that it is ready.
    Ready,
    /// An event.
    Event(Value),
    /// A line on standard error, which no pattern sees.
    Stderr(String),
}

/// How an actor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActorExit {
    /// Its exit status; 128 + the number of the signal that ended it.
    pub status: u8,
    /// The signal that ended it.
    pub signal: Option<u8>,
}

impl std::fmt::Display for ActorExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.signal {
            Some(signal) => write!(f, "was ended by signal {signal}"),
            None => write!(f, "ended with status {}", self.status),
        }
    }
}

/// A change of the network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NetworkChange<'a> {
    /// Something happens to datagrams on this way.
    Fault(&'a Direction, Fault),
    /// Nothing passes between these two.
    Cut(&'a Peer, &'a Peer),
    /// All is well again.
    Heal,
}

/// Why nothing can be typed to an actor, to be said behind its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Its input was closed.
    #[error("cannot be typed to, its input is closed")]
    Closed,
    /// [`MAX_UNREAD`] would be passed.
    #[error("does not read its input, and more than {} MiB wait already", MAX_UNREAD >> 20)]
    Unread,
}

/// Why a stage did not do something, as one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);
