//! A client as a program: its options become its configuration, its lines become commands.

use std::io::BufReader;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context, anyhow};
use nix::libc::SIGHUP;

use crate::cli::ClientOptions;
use crate::proto::client::Client;
use crate::proto::config::ClientConfig;
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::Reason;
use crate::proto::event::{Body, Event};
use crate::proto::machine::{ClientEffect, ClientInput, Exit};
use crate::proto::status::Status;
use crate::proto::time::{Instant, Now, Timestamp};
use crate::ui::command_source::{CommandSource, ScriptFailure, SourceEvent};
use crate::ui::completion::Completion;
use crate::ui::host::{HostRole, LAST_EVENTS_LIMIT, NextInput, Shell, print_error_unless_blocked, signal_status};
use crate::ui::line_source::LineSource;
use crate::ui::printer::Gone;
use crate::ui::session::{ProgramSession, StreamOptions, exit_status, identity, seed};

/// Runs a client to its end. Its lines come from its script if it has one, else from `source`.
pub fn run(options: &ClientOptions, source: LineSource) -> Status {
    exit_status(try_run(options, source))
}

fn try_run(options: &ClientOptions, source: LineSource) -> anyhow::Result<Status> {
    let servers = resolve(&options.host, options.server_port)?;
    let source = match &options.script {
        None => source,
        Some(file) => {
            let opened = std::fs::File::open(file);
            let opened = opened.with_context(|| format!("The script {} cannot be read", file.display()))?;
            LineSource::Lines { reader: Box::new(BufReader::new(opened)), is_typed: false }
        }
    };
    let mut session = ProgramSession::open(options.port, &options.faults)?;
    let config = ClientConfig {
        name: options.name.clone(),
        addr: own_address(&servers, session.port),
        servers,
        server: format!("{}:{}", bracketed(&options.host), options.server_port),
        free_port: (options.port == 0).then_some(session.port),
        seed: seed()?,
        identity: identity(options.identity.as_deref())?,
        silent_leave: options.silent_leave,
        trace: options.trace,
    };
    let is_typed = options.typed || source.is_typed();
    let completion = Completion::default();
    let (printer, lines) = session.attach(
        source,
        StreamOptions {
            json: options.json,
            me: options.name.to_string(),
            history: "client-history",
            completion: completion.clone(),
            runs_in_background: false,
        },
    )?;
    let completion = printer.has_editor().then_some(completion);
    let role = ClientRole::new(CommandSource::new(lines, is_typed, options), completion);
    let client = Client::new(session.clock.now(), config);
    session.run(client, role, printer)
}

/// The inputs of a client, and the consequences of its events.
struct ClientRole {
    source: CommandSource,
    /// Present if a line editor uses it.
    completion: Option<Completion>,
    is_registered: bool,
    has_table: bool,
    /// Number of commands passed to the machine.
    given: u64,
    /// Number of commands with an outcome.
    done: u64,
    has_failed_command: bool,
    /// A command failed before the shell set its status, so the machine's status takes precedence.
    machine_failed_first: bool,
    has_ended_input: bool,
    was_signalled: bool,
}

impl ClientRole {
    fn new(source: CommandSource, completion: Option<Completion>) -> Self {
        Self {
            source,
            completion,
            is_registered: false,
            has_table: false,
            given: 0,
            done: 0,
            has_failed_command: false,
            machine_failed_first: false,
            has_ended_input: false,
            was_signalled: false,
        }
    }

    fn is_ready(&self) -> bool {
        self.is_registered && self.has_table
    }

    fn takes_commands(&self, shell: &Shell) -> bool {
        self.is_ready() && !self.has_ended_input && !shell.is_shutting_down() && !shell.printer.is_behind()
    }

    fn set_status(&mut self, shell: &mut Shell, status: Status) {
        if shell.status == Status::Ok {
            self.machine_failed_first = self.has_failed_command;
            shell.status = status;
        }
    }

    fn fail(&mut self, shell: &mut Shell, failure: ScriptFailure, at: Timestamp) {
        self.set_status(shell, failure.status);
        shell.printer.display_uncounted(client_event(at, failure.event));
    }
}

impl HostRole for ClientRole {
    type Machine = Client;

    fn requests_shutdown(&mut self, shell: &mut Shell) -> bool {
        let mut is_requested = shell.is_shutting_down();
        while let Ok(signal) = shell.signals.arrived.try_recv() {
            self.set_status(shell, signal_status(signal));
            self.was_signalled = true;
            is_requested = true;
        }
        if !is_requested && let Some(gone) = shell.printer.gone() {
            self.set_status(
                shell,
                match gone {
                    Gone::Reader => Status::Ok,
                    Gone::Terminal => signal_status(SIGHUP),
                    Gone::Broken(_) => Status::Environment,
                },
            );
            is_requested = true;
        }
        is_requested
    }

    fn next_input(&mut self, shell: &mut Shell, now: Now) -> NextInput<ClientInput> {
        if !self.takes_commands(shell) {
            return NextInput::Pending;
        }
        match self.source.next(now) {
            None => return NextInput::Pending,
            Some(SourceEvent::Nothing) => return NextInput::Skipped,
            Some(SourceEvent::Command(command)) => {
                self.given += 1;
                return NextInput::Ready(ClientInput::Command(command));
            }
            Some(SourceEvent::End) => shell.printer.answered(),
            Some(SourceEvent::Failed(failure)) => self.fail(shell, failure, now.unix),
        }
        self.has_ended_input = true;
        NextInput::Ready(ClientInput::EndOfInput)
    }

    fn learn(&mut self, now: Now, event: &Event) {
        match &event.body {
            Body::Client(ClientEvent::Registered { .. }) => self.is_registered = true,
            Body::Client(ClientEvent::Table { .. }) => self.has_table = true,
            // Reported when the program ends.
            Body::Client(ClientEvent::Done { reason: Some(Reason::Interrupted), .. }) => {}
            Body::Client(ClientEvent::Done { ok, .. }) => {
                self.done += 1;
                self.has_failed_command |= !ok;
            }
            _ => {}
        }
        if let Some(completion) = &self.completion {
            completion.learn(event);
        }
        self.source.event(now, event);
    }

    /// The first prompt waits for the registration, as later prompts wait for outcomes.
    fn has_answered(&self) -> bool {
        self.done >= self.given && self.is_ready()
    }

    fn perform(&mut self, _none: Vec<ClientEffect>) {}

    fn deadline(&self, shell: &Shell) -> Option<Instant> {
        if self.takes_commands(shell) { self.source.deadline() } else { None }
    }

    fn is_full(&self) -> bool {
        false
    }

    fn is_broken(&self) -> bool {
        false
    }

    fn last_event(&mut self, shell: &mut Shell, exit: Exit, now: Now) -> Event {
        shell.status =
            if self.machine_failed_first { exit.status.or(shell.status) } else { shell.status.or(exit.status) };
        if !shell.is_shutting_down()
            && let Some(failure) = self.source.client_ended()
        {
            self.fail(shell, failure, now.unix);
        }
        let body = ClientEvent::Exit { status: shell.status.code(), shown: exit.exiting };
        Event { group: exit.group, ..client_event(now.unix, body) }
    }

    fn last_events_limit(&self, shell: &Shell) -> Option<Duration> {
        shell.is_shutting_down().then_some(LAST_EVENTS_LIMIT)
    }

    fn close(mut self, mut shell: Shell, signal: Option<i32>) -> Status {
        if let Some(signal) = signal {
            shell.set_status(signal_status(signal));
            self.was_signalled = true;
        }
        let pending = self.given.saturating_sub(self.done);
        if self.was_signalled && pending > 0 {
            let commands = if pending == 1 { "command" } else { "commands" };
            print_error_unless_blocked(format!("{pending} {commands} had no outcome."));
        }
        if let Some(Gone::Broken(kind)) = shell.printer.gone() {
            // The output may have failed only when the last events were written.
            shell.output_failed(kind);
        }
        shell.status
    }
}

fn client_event(at: Timestamp, body: ClientEvent) -> Event {
    Event { at, cmd: None, group: None, body: Body::Client(body) }
}

/// Resolves a host to at most [`ClientConfig::MAX_SERVERS`] addresses.
fn resolve(host: &str, port: u16) -> anyhow::Result<Vec<SocketAddr>> {
    let unknown = || format!("The server's host {host} is not known");
    let found = (host, port).to_socket_addrs().with_context(unknown)?;
    let mut servers: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !servers.contains(&address) && servers.len() < ClientConfig::MAX_SERVERS {
            servers.push(address);
        }
    }
    if servers.is_empty() {
        return Err(anyhow!("The server's host {host} has no address."));
    }
    Ok(servers)
}

/// The source address of datagrams to the first reachable server, with the port of our socket. Connecting a UDP socket
/// consults the routing table and sends nothing.
fn own_address(servers: &[SocketAddr], port: u16) -> SocketAddr {
    let from = |server: &SocketAddr| {
        let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let probe = std::net::UdpSocket::bind(any).ok()?;
        probe.connect(server).ok()?;
        Some(probe.local_addr().ok()?.ip())
    };
    let unspecified = IpAddr::from([0, 0, 0, 0]);
    SocketAddr::new(servers.iter().find_map(from).unwrap_or(unspecified), port)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_resolved_or_the_error_names_it() {
        assert_eq!(resolve("127.0.0.1", 8888).unwrap(), ["127.0.0.1:8888".parse().unwrap()]);
        assert_eq!(resolve("::1", 8888).unwrap(), ["[::1]:8888".parse().unwrap()]);
        let why = resolve("no-such-host.invalid", 8888).unwrap_err().to_string();
        assert_eq!(why, "The server's host no-such-host.invalid is not known");
    }

    #[test]
    fn the_own_address_is_the_source_address_towards_the_server() {
        let servers = ["127.0.0.1:9".parse().unwrap()];
        assert_eq!(own_address(&servers, 4000), "127.0.0.1:4000".parse().unwrap());
        assert_eq!(own_address(&[], 4000), "0.0.0.0:4000".parse().unwrap());
    }
}
