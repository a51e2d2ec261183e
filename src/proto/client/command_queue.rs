//! The commands without outcome: their numbers, their order, and the end of input.
//!
//! A command is open from its number to its outcome. It is also in the backlog until it begins.

use std::collections::{BTreeSet, VecDeque};

use crate::proto::client::MAX_OPEN;
use crate::proto::command::{Command, CommandError};

/// The commands without outcome.
#[derive(Debug, Default)]
pub struct CommandQueue {
    /// The number of the newest command; 0 before the first one.
    last: u64,
    open: BTreeSet<u64>,
    /// Commands that have not begun, in order.
    backlog: VecDeque<(u64, Result<Command, CommandError>)>,
    draining: Option<Draining>,
}

/// The state after the last command. The client leaves when all commands except `exit` have their outcomes.
#[derive(Clone, Copy, Debug)]
pub struct Draining {
    /// The number of the command `exit`; `None` after the end of input.
    pub exit: Option<u64>,
}

impl CommandQueue {
    /// Opens the next command and returns its number. The command stays open until [`Self::settle`].
    pub fn open_next(&mut self) -> u64 {
        self.last += 1;
        self.open.insert(self.last);
        self.last
    }

    /// Whether more commands are open than [`MAX_OPEN`].
    pub fn is_over_limit(&self) -> bool {
        self.open.len() > MAX_OPEN
    }

    /// Appends an open command to the backlog.
    pub fn push(&mut self, cmd: u64, command: Result<Command, CommandError>) {
        self.backlog.push_back((cmd, command));
    }

    /// Takes the next command that has not begun.
    pub fn pop(&mut self) -> Option<(u64, Result<Command, CommandError>)> {
        self.backlog.pop_front()
    }

    /// Closes a command. Returns whether it was open.
    pub fn settle(&mut self, cmd: u64) -> bool {
        self.open.remove(&cmd)
    }

    /// The number of commands without outcome.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Whether every command has its outcome.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.backlog.is_empty()
    }

    /// Records the end of input. An earlier `exit` keeps its number.
    pub fn end_input(&mut self) {
        self.draining.get_or_insert(Draining { exit: None });
    }

    /// Records the start of the command `exit`.
    pub fn exit(&mut self, cmd: u64) {
        self.draining = Some(Draining { exit: Some(cmd) });
    }

    /// Whether no more commands are accepted.
    pub fn is_draining(&self) -> bool {
        self.draining.is_some()
    }

    /// Whether the command `exit` has begun.
    pub fn is_exiting(&self) -> bool {
        self.draining.is_some_and(|draining| draining.exit.is_some())
    }

    /// The state of draining, once all commands except `exit` have their outcomes.
    pub fn drained(&self) -> Option<Draining> {
        self.draining.filter(|draining| self.open.iter().all(|cmd| Some(*cmd) == draining.exit))
    }

    /// The open commands that have begun, except `exit`.
    pub fn begun(&self) -> Vec<u64> {
        let exit = self.draining.and_then(|draining| draining.exit);
        let waiting: BTreeSet<u64> = self.backlog.iter().map(|(cmd, _)| *cmd).chain(exit).collect();
        self.open.difference(&waiting).copied().collect()
    }

    /// Drops the commands that have not begun. Returns all open commands, which stay open.
    pub fn drop_backlog(&mut self) -> Vec<u64> {
        self.backlog.clear();
        self.open.iter().copied().collect()
    }
}
