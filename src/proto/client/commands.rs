//! Runs chat commands: decides whether a command runs now, waits or fails.
//!
//! Commands run in order. `reg`, `dereg`, `join_group` and `leave_group` change the set of allowed commands, so later
//! commands wait for their outcomes.

use crate::proto::client::phase::ClientPhase;
use crate::proto::client::requests::RequestKind;
use crate::proto::client::{Client, MAX_OPEN};
use crate::proto::command::{COMMANDS, Command, CommandError};
use crate::proto::event::client::{ClientEvent, CommandHelp};
use crate::proto::event::reason::Reason;
use crate::proto::event::sentences::Sentence;
use crate::proto::time::Instant;
use crate::proto::wire::Frame;

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
            Command::SendAll(text) => {
                let (id, at, text) = (self.next_message_id(), self.output.unix.micros(), text.into());
                self.request(now, Some(cmd), RequestKind::SendAll { id }, |r| Frame::All { r, id, at, text });
            }
            Command::Dereg(name) if self.is_other(name.as_deref()) => self.wrong_name(cmd),
            Command::Reg(name) if self.is_other(name.as_deref()) => self.wrong_name(cmd),
            Command::Dereg(_) => self.request(now, Some(cmd), RequestKind::Dereg, |r| Frame::Dereg { r }),
            Command::Reg(_) => self.enter(now, Some(cmd)),
            Command::Table => {
                let (version, clients) = (self.table.version(), self.table.view());
                self.say(Some(cmd), ClientEvent::Clients { version, clients });
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

    fn run_group(&mut self, now: Instant, cmd: u64, command: Command) {
        let cmd = Some(cmd);
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
            (Command::SendGroup(text), Some(group)) => {
                let (id, at, text) = (self.next_message_id(), self.output.unix.micros(), text.into());
                self.request(now, cmd, RequestKind::Say { id }, |r| Frame::Say { r, id, group, at, text });
            }
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
