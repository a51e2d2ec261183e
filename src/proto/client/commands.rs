//! Chat commands: queues those without outcome, and decides whether a command runs now, waits or fails.
//!
//! A command is open from its number to its outcome. It is also in the backlog until it begins.
//!
//! Commands run in order. `reg`, `dereg`, `join_group` and `leave_group` change the set of allowed commands, so later
//! commands wait for their outcomes.

use std::collections::{BTreeSet, VecDeque};

use crate::proto::client::phase::ClientPhase;
use crate::proto::client::requests::RequestKind;
use crate::proto::client::{Client, MAX_OPEN};
use crate::proto::command::{COMMANDS, Command, CommandError};
use crate::proto::event::client::{ClientEvent, CommandHelp};
use crate::proto::event::reason::Reason;
use crate::proto::event::sentences::Sentence;
use crate::proto::time::Instant;
use crate::proto::wire::Frame;

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

    /// Whether the next command that has not begun changes the mode.
    pub fn is_next_changing_mode(&self) -> bool {
        let next = self.backlog.front().and_then(|(_, command)| command.as_ref().ok());
        matches!(next, Some(Command::Dereg(_) | Command::JoinGroup(_) | Command::LeaveGroup))
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

impl Client {
    /// Accepts a command. It runs at once, unless an earlier command is changing the mode.
    pub(super) fn command_arrived(&mut self, now: Instant, command: Result<Command, CommandError>) {
        let cmd = self.commands.open_next();
        if self.commands.is_over_limit() {
            let sentence = Sentence::TooManyCommands { count: &MAX_OPEN };
            return self.fail(Some(cmd), Reason::TooManyCommands, sentence);
        }
        if matches!(self.phase, ClientPhase::Closing(_)) || self.commands.is_draining() {
            return self.fail(Some(cmd), Reason::Leaving, Sentence::Leaving);
        }
        self.commands.push(cmd, command);
        self.run_backlog(now);
    }

    /// Runs the commands of the backlog up to the next one that changes the mode.
    fn run_backlog(&mut self, now: Instant) {
        while !self.phase.is_entering() && !self.requests.changes_mode() && !self.phase.is_closed() {
            // The server would not accept a message that was sent after a change of the mode.
            if self.posts.has_waiting() && self.commands.is_next_changing_mode() {
                return;
            }
            let Some((cmd, command)) = self.commands.pop() else { return };
            match command {
                Ok(command) => self.run(now, cmd, command),
                Err(mistake) => self.fail(Some(cmd), mistake.reason(), mistake.sentence()),
            }
        }
    }

    /// Runs the next commands, and leaves when draining is complete. Called after every input.
    pub(super) fn advance(&mut self, now: Instant) {
        self.run_backlog(now);
        if let Some(draining) =
            self.commands.drained().filter(|_| matches!(self.phase, ClientPhase::Online | ClientPhase::Offline))
        {
            self.done(draining.exit, None);
            self.leave(now);
        }
    }

    fn run(&mut self, now: Instant, cmd: u64, command: Command) {
        if self.phase.is_offline() {
            match command {
                Command::Reg(_) | Command::Table | Command::Help(_) | Command::Exit => {}
                _ => {
                    return self.fail(Some(cmd), Reason::Offline, Sentence::YouAreOffline);
                }
            }
        }
        if self.commands.is_exiting() {
            return self.fail(Some(cmd), Reason::Leaving, Sentence::Leaving);
        }
        if !self.mode_allows(&command) {
            let mistake = CommandError::Invalid(None);
            return self.fail(Some(cmd), mistake.reason(), mistake.sentence());
        }
        match command {
            Command::Send(to, text) => self.send(now, cmd, to, text),
            Command::SendAll(text) => self.post(now, cmd, None, text),
            Command::Dereg(name) if self.is_other(name.as_deref()) => self.wrong_name(cmd),
            Command::Reg(name) if self.is_other(name.as_deref()) => self.wrong_name(cmd),
            Command::Dereg(_) => self.request(now, Some(cmd), RequestKind::Dereg, |r| Frame::Dereg { r }),
            Command::Reg(_) => self.enter(now, Some(cmd)),
            Command::Table => {
                let (partial, version) = (self.table.is_partial(), self.table.version());
                self.say(Some(cmd), ClientEvent::Clients { partial, version, clients: self.table.view() });
                self.done(Some(cmd), None);
            }
            Command::Help(usage) => {
                let commands = match usage {
                    Some(usage) => vec![CommandHelp::from(usage)],
                    None => COMMANDS.iter().map(CommandHelp::from).collect(),
                };
                self.say(Some(cmd), ClientEvent::Help { commands });
                self.done(Some(cmd), None);
            }
            Command::Exit => self.commands.exit(cmd),
            group_command => self.run_group(now, cmd, group_command),
        }
    }

    fn run_group(&mut self, now: Instant, number: u64, command: Command) {
        let cmd = Some(number);
        match (command, self.group.clone()) {
            (Command::CreateGroup(group), _) => {
                self.request(now, cmd, RequestKind::Create { group: group.clone() }, |r| Frame::Create { r, group });
            }
            (Command::ListGroups, _) => {
                self.request(now, cmd, RequestKind::Groups, |r| Frame::Groups { r });
            }
            (Command::JoinGroup(group), _) => {
                self.request(now, cmd, RequestKind::Join { group: group.clone() }, |r| Frame::Join { r, group });
            }
            (Command::SendGroup(text), Some(group)) => self.post(now, number, Some(group), text),
            (Command::ListMembers, Some(group)) => {
                let what = RequestKind::Members { group: group.clone() };
                self.request(now, cmd, what, |r| Frame::Members { r, group });
            }
            (Command::LeaveGroup, Some(group)) => {
                self.request(now, cmd, RequestKind::Leave { group: group.clone() }, |r| Frame::Leave { r, group });
            }
            _ => {}
        }
    }

    fn mode_allows(&self, command: &Command) -> bool {
        match command {
            Command::Dereg(_) | Command::Table | Command::Help(_) | Command::Exit => true,
            Command::Reg(name) => self.phase.is_offline() || self.is_other(name.as_deref()),
            Command::SendGroup(_) | Command::ListMembers | Command::LeaveGroup => self.group.is_some(),
            Command::Send(..) | Command::SendAll(_) => self.group.is_none(),
            Command::CreateGroup(_) | Command::JoinGroup(_) | Command::ListGroups => self.group.is_none(),
        }
    }

    fn is_other(&self, name: Option<&str>) -> bool {
        name.is_some_and(|name| name != self.name.as_str())
    }

    fn wrong_name(&mut self, cmd: u64) {
        self.fail(Some(cmd), Reason::WrongName, Sentence::WrongName);
    }
}
