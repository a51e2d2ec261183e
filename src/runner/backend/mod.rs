//! The interface between the executor and the actors of a case: their output, actions on them, and the time.
//!
//! Real processes are one backend, a simulated network is another. The executor takes the time from its backend alone.

pub(crate) mod active_faults;
pub mod process;
pub mod simulated;

use serde_json::Value;

use crate::proto::time::Instant;
use crate::runner::lang::ast::{ActorId, Direction, Fault, Need, Peer, Signal};
use crate::runner::profile::Translator;

/// The most typed bytes that an actor has not read yet.
pub const MAX_UNREAD: usize = 4 << 20;

/// The actors of one case and their clock. Dropping it kills all actors.
pub trait Backend {
    /// The current time. It is virtual in a simulation.
    fn now(&self) -> Instant;

    /// Waits for the next event. Returns [`BackendEvent::Time`] when none happens until then; later events stay queued.
    /// The end of an actor follows all of its output.
    fn next(&mut self, until: Instant) -> BackendEvent;

    /// Starts an actor for the first time.
    ///
    /// # Errors
    /// When it cannot be started.
    fn start(&mut self, launch: &LaunchSpec) -> Result<(), BackendError>;

    /// Restarts an actor that has ended, with the same arguments, port and folder.
    ///
    /// # Errors
    /// When it was never started, still runs, or cannot be started again.
    fn restart(&mut self, actor: &ActorId) -> Result<(), BackendError>;

    /// Types a line, given without its newline. Never waits until the actor reads it.
    ///
    /// # Errors
    /// When the actor's input is closed, or more than [`MAX_UNREAD`] bytes would be unread.
    fn type_line(&mut self, actor: &ActorId, line: &str) -> Result<(), BackendError>;

    /// Closes an actor's input.
    fn close_input(&mut self, actor: &ActorId);

    /// Sends a signal. After [`Signal::Pause`] it returns when the actor has stopped. An actor that has ended gets no
    /// signal. A paused actor handles signals when it resumes, except [`Signal::Kill`], which ends it at once.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    fn signal(&mut self, actor: &ActorId, signal: Signal) -> Result<(), BackendError>;

    /// The reason why this backend cannot meet a need, if it cannot. The case is skipped for this reason.
    fn unmet_need(&self, need: Need) -> Option<String>;

    /// Whether the actors run an external program. Then the backend reports each actor that becomes ready, by
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

    /// Changes the network between actors. Returns when the change is in force.
    ///
    /// # Errors
    /// When an actor does not apply the change. [`Backend::unmet_need`] reports earlier that changes are impossible.
    fn change_network(&mut self, change: &NetworkChange<'_>) -> Result<(), BackendError>;
}

/// The data for the first start of an actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchSpec {
    pub actor: ActorId,
    /// The name of a client. A server ignores it.
    pub name: String,
    /// Further arguments.
    pub args: Vec<String>,
    /// The actor shows text: it runs without `--json`.
    pub text: bool,
}

/// An event of a backend.
#[derive(Clone, Debug, PartialEq)]
pub enum BackendEvent {
    /// An actor wrote something.
    Output { actor: ActorId, at: Instant, output: ActorOutput },
    /// An actor has ended.
    Ended { actor: ActorId, at: Instant, end: ActorExit },
    /// An actor exceeded an output limit. Its stream is not read any more.
    Flood {
        actor: ActorId,
        at: Instant,
        /// The exceeded limit, as a sentence without a full stop.
        reason: String,
    },
    /// The run was cancelled by the signal with this number.
    Cancelled(u8),
    /// The time limit passed without an event.
    Time,
}

/// One piece of an actor's output.
#[derive(Clone, Debug, PartialEq)]
pub enum ActorOutput {
    /// A line of text, without its newline.
    Line(String),
    /// An unfinished line of text, from its start. More of it may follow.
    Partial(String),
    /// No output: the backend detected that the actor is ready.
    Ready,
    /// An event.
    Event(Value),
    /// A line on standard error. Patterns do not match it.
    Stderr(String),
}

/// The exit of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActorExit {
    /// The exit status, or 128 + the number of the signal that ended the actor.
    pub status: u8,
    /// The number of the signal that ended the actor, if one did.
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
    /// Injects a fault in this direction.
    Fault(&'a Direction, Fault),
    /// Drops all datagrams between these two, in both directions.
    Cut(&'a Peer, &'a Peer),
    /// Removes all faults.
    Heal,
}

/// The reason why a line cannot be typed to an actor, as the rest of a sentence that begins with its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// The input was closed.
    #[error("cannot be typed to, its input is closed")]
    Closed,
    /// More than [`MAX_UNREAD`] bytes would be unread.
    #[error("does not read its input, and more than {} MiB wait already", MAX_UNREAD >> 20)]
    Unread,
}

/// The reason why a backend could not perform an action, as one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BackendError(pub String);
