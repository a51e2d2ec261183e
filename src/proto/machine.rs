//! The one interface of the core: inputs go in, outputs are drained, the caller gives the time.
//!
//! Clients and servers share most inputs and outputs. Each role adds its own, so that a client cannot be given a console
//! command, nor a server a chat command.

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
        /// Its source; an IPv4-mapped address is written as IPv4.
        from: SocketAddr,
        /// Its payload.
        bytes: &'a [u8],
    },
    /// The first so many events are displayed. A message is acknowledged only after this.
    Displayed(u64),
    /// The program is asked to end at once. A client gives notice, in at most 150 ms.
    Shutdown,
    /// A deadline may have passed.
    Timeout,
    /// An input that only this role has.
    Role(I),
}

impl<'a, I> Input<'a, I> {
    /// The same input for a machine of another type, unless `role` returns `None` for its input.
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
    /// The next chat command, or the mistake in the line. Commands are numbered from 1 in the order of arrival.
    Command(Result<Command, CommandError>),
    /// No more commands will come: wait for the outcomes of all commands, then leave.
    EndOfInput,
}

/// The inputs that only a server has.
#[derive(Debug)]
pub enum ServerInput {
    /// A command from the server's terminal or standard input.
    Console(Console),
    /// The first so many records are on disk, except the refused ones.
    Persisted {
        /// How many records have their outcome, counted from the first record of this incarnation.
        through: u64,
        /// The numbers of the new ones that could not be written, counted from 1.
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
        /// Its destination.
        to: SocketAddr,
        /// Its payload, at most 1,200 bytes.
        bytes: Vec<u8>,
    },
    /// Display an event, answered by [`Input::Displayed`]. Events are counted from 1.
    Event(Event),
    /// An effect that only this role has.
    Effect(E),
    /// The machine has ended. No output follows.
    Ended(Exit),
}

impl<E> Output<E> {
    /// The same output with another type of effect.
    pub(crate) fn map_effect<F>(self, map: impl FnOnce(E) -> F) -> Output<F> {
        match self {
            Self::Transmit { to, bytes } => Output::Transmit { to, bytes },
            Self::Event(event) => Output::Event(event),
            Self::Effect(effect) => Output::Effect(map(effect)),
            Self::Ended(exit) => Output::Ended(exit),
        }
    }
}

/// A client has no effects of its own: it keeps nothing on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEffect {}

/// The effects that only a server has.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerEffect {
    /// Write a record, answered by [`ServerInput::Persisted`]. Records are counted from 1.
    Persist(Record),
    /// Read the messages with these `seq` from disk, answered by one [`ServerInput::Mail`], in the same order.
    Fetch(Vec<u64>),
}

/// How a machine ended; the shell shows it as the `exit` event, which is the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// The first reason for not being [`Status::Ok`], a failed command included.
    pub status: Status,
    /// Whether `[Exiting]` is shown: the server was lost.
    pub exiting: bool,
    /// The group whose name stands before `[Exiting]`.
    pub group: Option<Name>,
}

/// A state machine that makes all decisions and performs no effect.
///
/// After each [`Machine::handle`], or after a batch of them, drain [`Machine::poll`] until it returns `None`.
pub trait Machine {
    /// The inputs of this role.
    type Input;
    /// The effects of this role.
    type Effect;

    /// Processes one input. It cannot fail: a bad datagram is counted, traced and dropped.
    fn handle(&mut self, now: Now, input: Input<'_, Self::Input>);

    /// Returns the next output.
    fn poll(&mut self, now: Now) -> Option<Output<Self::Effect>>;

    /// When to call [`Machine::handle`] with [`Input::Timeout`], if no other input arrives before.
    fn deadline(&self) -> Option<Instant>;
}
