//! The interface between the executor and the actors of a case: their output, actions on them, and the time.
//!
//! Real processes are one backend, a simulated network is another. The executor has no clock of its own.

pub(crate) mod active_faults;
pub mod process;
pub mod simulated;

use serde_json::Value;

use crate::proto::time::Instant;
use crate::runner::lang::ast::{ActorId, Direction, Fault, Need, Peer, Signal};
use crate::runner::profile::Translator;

/// The most bytes that are typed to an actor and not read yet.
pub const MAX_UNREAD: usize = 4 << 20;

/// The actors of one case and their clock. Dropping it ends all actors.
pub trait Backend {
    /// The time.
    fn now(&self) -> Instant;

    /// The next event, or [`BackendEvent::Time`] when there is none until then. Later events are kept for the next call.
    /// The end of an actor comes after all of its output.
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

    /// The reason why this backend cannot meet a need, if it cannot. The case is skipped for this reason.
    fn unmet_need(&self, need: Need) -> Option<String>;

    /// Whether the actors are another program than ours. Then the backend reports when an actor is ready, by
    /// [`ActorOutput::Ready`], and all actors show text.
    fn is_external(&self) -> bool {
        false
    }

    /// Translates the output of the actors into the words of the contract.
    fn translator(&self) -> Translator {
        Translator::default()
    }

    /// The reason why an actor cannot have these arguments, if it cannot. The case is skipped for this reason.
    fn refuses(&self, _args: &[String]) -> Option<String> {
        None
    }

    /// Changes the network between actors; returns when the change is in force.
    ///
    /// # Errors
    /// When it failed, although nothing [was lacking](Backend::lacks).
    fn change_network(&mut self, change: &NetworkChange<'_>) -> Result<(), BackendError>;
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

/// An event of a backend.
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
    /// Nothing: the backend sees that it is ready.
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

/// Why a backend did not do something, as one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);
