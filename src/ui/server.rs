//! A server as a program: its options become its configuration, its lines become console commands, its records go to
//! the store.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::anyhow;
use nix::libc::SIGHUP;

use crate::cli::{ServerOptions, StoreChoice};
use crate::io::file::state_folder;
use crate::io::input::{InputLine, Lines};
use crate::io::store::{Store, StoreAnswer, StoreLocation};
use crate::io::terminal;
use crate::proto::config::ServerConfig;
use crate::proto::console::{self, Console};
use crate::proto::event::reason::Problem;
use crate::proto::event::server::ServerEvent;
use crate::proto::event::{Body, Event};
use crate::proto::machine::{Exit, ServerEffect, ServerInput};
use crate::proto::server::Server;
use crate::proto::status::Status;
use crate::proto::time::{Instant, Now, Timestamp};
use crate::ui::completion::Completion;
use crate::ui::host::{HostRole, LAST_EVENTS_LIMIT, NextInput, Shell, print_error_unless_blocked, signal_status};
use crate::ui::line_source::LineSource;
use crate::ui::printer::Gone;
use crate::ui::session::{ProgramSession, StreamOptions, exit_status, identity, seed};

/// Runs a server to its end, with console commands from `source`.
pub fn run(options: &ServerOptions, source: LineSource) -> Status {
    if source.is_typed() {
        terminal::stay_running_in_background();
    }
    exit_status(try_run(options, source))
}

fn try_run(options: &ServerOptions, source: LineSource) -> anyhow::Result<Status> {
    let mut session = ProgramSession::open(options.port, &options.faults)?;
    let identity = identity(options.identity.as_deref())?;
    let location = store_location(&options.store, session.port)?;
    let file = match &location {
        StoreLocation::File(file) => file.display().to_string(),
        StoreLocation::Memory => "memory".to_owned(),
    };
    let (sender, answers) = channel();
    let wake = session.wake.clone();
    let (store, kept) = Store::open(
        location,
        Box::new(move |answer| {
            // Nobody receives it when the program is ending already.
            let _ = sender.send(answer);
            wake();
        }),
    )?;
    let (port, seed) = (session.port, seed()?);
    let config = ServerConfig { port, seed, identity, kept, limits: options.limits, file, trace: options.trace };
    let (printer, lines) = session.attach(
        source,
        StreamOptions {
            json: options.json,
            me: "server".to_owned(),
            history: "server-history",
            completion: Completion::of_server(),
            runs_in_background: true,
        },
    )?;
    let server = Server::new(session.clock.now(), config);
    session.run(server, ServerRole { lines, store, answers, has_fatal_error: false }, printer)
}

/// The inputs of a server, and its store.
struct ServerRole {
    lines: Lines,
    store: Store,
    answers: Receiver<StoreAnswer>,
    /// The store failed. The contents of the disk are unknown.
    has_fatal_error: bool,
}

impl ServerRole {
    /// The next input from the store; its warnings and errors are displayed.
    fn next_answer(&mut self, shell: &mut Shell, at: Timestamp) -> Option<ServerInput> {
        let definite = true;
        while !self.has_fatal_error
            && let Ok(answer) = self.answers.try_recv()
        {
            match answer {
                StoreAnswer::Persisted { through, refused } => {
                    return Some(ServerInput::Persisted { through, refused });
                }
                StoreAnswer::Mail(mail) => return Some(ServerInput::Mail(mail)),
                StoreAnswer::Warning(message) => {
                    let warning = ServerEvent::Warning { code: Problem::Store, message, definite };
                    shell.printer.display_uncounted(server_event(at, warning));
                }
                StoreAnswer::Fatal(message) => {
                    print_error_unless_blocked(message.clone());
                    let error = ServerEvent::Error { code: Problem::Store, message, definite };
                    shell.printer.display_uncounted(server_event(at, error));
                    shell.set_status(Status::Environment);
                    self.has_fatal_error = true;
                }
            }
        }
        None
    }
}

impl HostRole for ServerRole {
    type Machine = Server;

    /// A closed terminal does not request a shutdown. If it should end the server, SIGHUP arrives as well.
    fn requests_shutdown(&mut self, shell: &mut Shell) -> bool {
        if shell.is_shutting_down() {
            // A second signal stays queued. It ends the display of the last events early.
            return false;
        }
        if let Ok(signal) = shell.signals.arrived.try_recv() {
            if signal == SIGHUP {
                shell.set_status(signal_status(SIGHUP));
            }
            return true;
        }
        match shell.printer.gone() {
            Some(Gone::Broken(kind)) => {
                shell.output_failed(kind);
                true
            }
            gone => gone == Some(Gone::Reader),
        }
    }

    fn next_input(&mut self, shell: &mut Shell, now: Now) -> NextInput<ServerInput> {
        if let Some(input) = self.next_answer(shell, now.unix) {
            return NextInput::Ready(input);
        }
        if shell.printer.is_behind() {
            return NextInput::Pending;
        }
        let command = match self.lines.take() {
            None => return NextInput::Pending,
            Some(InputLine::Whole(line)) => console::parse(&line),
            Some(InputLine::Long { .. }) => Some(Console::Unknown(None)),
            // A server goes on without input.
            Some(InputLine::Broken(_) | InputLine::End) => None,
        };
        command.map_or(NextInput::Skipped, |command| NextInput::Ready(ServerInput::Console(command)))
    }

    fn learn(&mut self, _now: Now, _event: &Event) {}

    /// Console commands are answered at once.
    fn has_answered(&self) -> bool {
        true
    }

    /// The records of one turn belong together: the store writes them in one transaction.
    fn perform(&mut self, effects: Vec<ServerEffect>) {
        let mut records = Vec::new();
        for effect in effects {
            match effect {
                ServerEffect::Persist(record) => records.push(record),
                ServerEffect::Fetch(seqs) => self.store.fetch(seqs),
            }
        }
        self.store.submit(records);
    }

    fn deadline(&self, _shell: &Shell) -> Option<Instant> {
        None
    }

    fn is_full(&self) -> bool {
        self.store.is_full()
    }

    fn is_broken(&self) -> bool {
        self.has_fatal_error
    }

    fn last_event(&mut self, shell: &mut Shell, exit: Exit, now: Now) -> Event {
        shell.set_status(exit.status);
        server_event(now.unix, ServerEvent::Exit { status: shell.status.code() })
    }

    fn last_events_limit(&self, _shell: &Shell) -> Option<Duration> {
        Some(LAST_EVENTS_LIMIT)
    }

    /// Waits without a limit until the store has written all records.
    fn close(self, shell: Shell, _signal: Option<i32>) -> Status {
        if !self.has_fatal_error {
            self.store.close();
        }
        shell.status
    }
}

fn server_event(at: Timestamp, body: ServerEvent) -> Event {
    Event { at, cmd: None, group: None, body: Body::Server(body) }
}

fn store_location(choice: &StoreChoice, port: u16) -> anyhow::Result<StoreLocation> {
    Ok(match choice {
        StoreChoice::Memory => StoreLocation::Memory,
        StoreChoice::File(file) => StoreLocation::File(file.clone()),
        StoreChoice::Default => {
            let folder = state_folder().ok_or_else(|| {
                anyhow!("Without HOME there is no folder for names and mail; use --db FILE or --ephemeral.")
            })?;
            StoreLocation::File(folder.join(format!("server-{port}.db")))
        }
    })
}
