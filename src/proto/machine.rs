//! The one interface of the core: inputs go in, outputs are drained, time is told.

use std::net::SocketAddr;

use crate::proto::command::{Command, CommandError};
use crate::proto::console::Console;
use crate::proto::event::Event;
use crate::proto::name::Name;
use crate::proto::record::{Mail, Record};
use crate::proto::status::Status;
use crate::proto::time::{Instant, Now};

/// What a machine can be told.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram came.
    Datagram {
        /// From where; IPv4-mapped addresses are written as IPv4.
        from: SocketAddr,
        /// What it holds.
        bytes: &'a [u8],
    },
    /// Client: the next chat command, or what was typed instead of one. Commands are numbered from 1 as they come.
    Command(Result<Command, CommandError>),
    /// Server: a word at its own terminal or standard input.
    Console(Console),
    /// The first so many events are written where their reader can have them. What is shown is acknowledged only now.
    Displayed(u64),
    /// Server: the first so many records are on disk, but for the refused ones, by number.
    Persisted {
        /// How many records, counted from the first ever, have their outcome.
        through: u64,
        /// Those among the new ones that could not be written, counted from 1.
        refused: Vec<u64>,
    },
    /// Server: the messages that it fetched.
    Mail(Vec<Mail>),
    /// Client: no more commands will come; wait for the outcomes of those that came, then leave.
    EndOfInput,
    /// The program is asked to end at once. A client gives notice, in at most 150 ms.
    Shutdown,
    /// A deadline may have passed.
    Timeout,
}

/// What a machine wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send a datagram.
    Transmit {
        /// To whom.
        to: SocketAddr,
        /// At most 1,200 bytes.
        bytes: Vec<u8>,
    },
    /// Keep a record, answered by [`Input::Persisted`]. Records are counted from 1.
    Persist(Record),
    /// Read the messages with these `seq` from disk, answered by one [`Input::Mail`], in the same order.
    Fetch(Vec<u64>),
    /// Show an event, answered by [`Input::Displayed`]. Events are counted from 1.
    Event(Event),
    /// The machine has ended: nothing comes after this.
    Ended(Exit),
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

/// A state machine that decides everything and touches nothing.
pub trait Machine {
    /// Takes one input in. Never fails: bad input is counted, traced and dropped.
    fn handle(&mut self, now: Now, input: Input<'_>);

    /// The next thing to do; drain until `None` after every `handle`, or after a batch of them.
    fn poll(&mut self, now: Now) -> Option<Output>;

    /// When to call `handle` with [`Input::Timeout`], if nothing comes before.
    fn deadline(&self) -> Option<Instant>;
}
