//! The interface of the state machines: the caller passes inputs and the time, and drains the outputs.
//!
//! Clients and servers share most inputs and outputs. Each role adds its own types, so that a client cannot receive a
//! console command and a server cannot receive a chat command.

use std::net::SocketAddr;

use crate::proto::command::{Command, CommandError};
use crate::proto::console::Console;
use crate::proto::event::Event;
use crate::proto::name::Name;
use crate::proto::record::{Mail, Record};
use crate::proto::status::Status;
use crate::proto::time::{Instant, Now};

/// An input of a machine. `I` holds the inputs of its role: [`ClientInput`] or [`ServerInput`].
#[derive(Debug)]
pub enum Input<'a, I> {
    /// A datagram arrived.
    Datagram {
        /// The source address. An IPv4-mapped address must be given as IPv4.
        from: SocketAddr,
        /// The payload.
        bytes: &'a [u8],
    },
    /// The number of events that are displayed so far. A message is acknowledged only after its event is displayed.
    Displayed(u64),
    /// End at once. A client gives notice first, which takes at most 150 ms.
    Shutdown,
    /// A deadline may have passed.
    Timeout,
    /// An input that only this role has.
    Role(I),
}

impl<'a, I> Input<'a, I> {
    /// Converts to the input of another role. `None` if `role` rejects the role's own input.
    pub(crate) fn narrow<J>(self, role: impl FnOnce(I) -> Option<J>) -> Option<Input<'a, J>> {
        Some(match self {
            Self::Datagram { from, bytes } => Input::Datagram { from, bytes },
            Self::Displayed(events) => Input::Displayed(events),
            Self::Shutdown => Input::Shutdown,
            Self::Timeout => Input::Timeout,
            Self::Role(input) => Input::Role(role(input)?),
        })
    }
}

/// The inputs that only a client has.
#[derive(Debug)]
pub enum ClientInput {
    /// The next chat command, or the mistake in its line. Commands are numbered from 1 in the order of arrival.
    Command(Result<Command, CommandError>),
    /// The input has ended. The client waits for the outcomes of all commands, then leaves.
    EndOfInput,
}

/// The inputs that only a server has.
#[derive(Debug)]
pub enum ServerInput {
    /// A command from the server's terminal or standard input.
    Console(Console),
    /// Records are on disk, in order from the first, except the refused ones.
    Persisted {
        /// The number of records with an outcome, counted from the first record of this incarnation.
        through: u64,
        /// The numbers of the records that were refused since the last input of this kind, counted from 1.
        refused: Vec<u64>,
    },
    /// The answer to one [`ServerEffect::Fetch`].
    Mail(Vec<Mail>),
}

/// An output of a machine. `E` holds the effects of its role: [`ClientEffect`] or [`ServerEffect`].
#[derive(Clone, Debug, PartialEq)]
pub enum Output<E> {
    /// Send a datagram.
    Transmit {
        /// The destination address.
        to: SocketAddr,
        /// The payload, at most 1,200 bytes.
        bytes: Vec<u8>,
    },
    /// Display an event, then report it by [`Input::Displayed`]. Events are numbered from 1.
    Event(Event),
    /// An effect that only this role has.
    Effect(E),
    /// The machine has ended. No output follows.
    Ended(Exit),
}

impl<E> Output<E> {
    /// Converts the effect of the role, and leaves other outputs unchanged.
    pub(crate) fn map_effect<F>(self, map: impl FnOnce(E) -> F) -> Output<F> {
        match self {
            Self::Transmit { to, bytes } => Output::Transmit { to, bytes },
            Self::Event(event) => Output::Event(event),
            Self::Effect(effect) => Output::Effect(map(effect)),
            Self::Ended(exit) => Output::Ended(exit),
        }
    }
}

/// A client has no effects of its own, because it stores nothing on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEffect {}

/// The effects that only a server has.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerEffect {
    /// Write a record, then report it by [`ServerInput::Persisted`]. Records are numbered from 1.
    Persist(Record),
    /// Read the messages with these `seq` from disk. One [`ServerInput::Mail`] returns them in the same order.
    Fetch(Vec<u64>),
}

/// The result of a machine. The host reports it as the `exit` event, which is the last event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// The first status other than [`Status::Ok`]. A failed command also sets it.
    pub status: Status,
    /// Whether to display `[Exiting]`, because the server was unreachable.
    pub exiting: bool,
    /// The group whose name is displayed before `[Exiting]`.
    pub group: Option<Name>,
}

/// A state machine that makes all decisions and performs no effects.
///
/// After each [`Machine::handle`], or after a batch of calls, drain [`Machine::poll`] until it returns `None`. A host
/// may stop earlier, to read before it sends more: then [`Machine::deadline`] is not valid, and the host must not wait
/// before it continues. The datagrams of links come last, in turn over the links.
pub trait Machine {
    /// The inputs of this role.
    type Input;
    /// The effects of this role.
    type Effect;

    /// Processes one input. It cannot fail: a bad datagram is counted, traced and dropped.
    fn handle(&mut self, now: Now, input: Input<'_, Self::Input>);

    /// Returns the next output.
    fn poll(&mut self, now: Now) -> Option<Output<Self::Effect>>;

    /// When to call [`Machine::handle`] with [`Input::Timeout`] if no other input arrives earlier.
    fn deadline(&self) -> Option<Instant>;
}
