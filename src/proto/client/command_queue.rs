//! The commands without outcome: their numbers, their order, and the end of input.

use std::collections::{BTreeSet, VecDeque};

use crate::proto::client::MAX_OPEN;
use crate::proto::command::{Command, CommandError};

/// The commands without outcome.
#[derive(Debug, Default)]
pub struct CommandQueue {
    /// The number of the last command.
    last: u64,
    open: BTreeSet<u64>,
    /// Commands that have not begun, in order.
    backlog: VecDeque<(u64, Result<Command, CommandError>)>,
    draining: Option<Draining>,
}

/// No more commands are accepted. The client leaves when all others have their outcome.
#[derive(Clone, Copy, Debug)]
pub struct Draining {
    /// The command `exit`, unless the input has ended.
    pub exit: Option<u64>,
}

impl CommandQueue {
    /// Gives the next command its number. It is open until it is settled.
    pub fn open_next(&mut self) -> u64 {
        self.last += 1;
        self.open.insert(self.last);
        self.last
    }

    /// Whether more commands are open than [`MAX_OPEN`].
    pub fn is_over_limit(&self) -> bool {
        self.open.len() > MAX_OPEN
    }

    /// Appends a command.
    pub fn push(&mut self, cmd: u64, command: Result<Command, CommandError>) {
        self.backlog.push_back((cmd, command));
    }

    /// Takes the next command that has not begun.
    pub fn pop(&mut self) -> Option<(u64, Result<Command, CommandError>)> {
        self.backlog.pop_front()
    }

    /// Ends a command. Returns whether it was open.
    pub fn settle(&mut self, cmd: u64) -> bool {
        self.open.remove(&cmd)
    }

    /// How many commands have no outcome.
    pub fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Whether every command has its outcome.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.backlog.is_empty()
    }

    /// The input has ended.
    pub fn end_input(&mut self) {
        self.draining.get_or_insert(Draining { exit: None });
    }

    /// The command `exit` has begun.
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

    /// Returns why the client drains, when all other commands have their outcome.
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
