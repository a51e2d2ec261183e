//! The session of a client or a server: its socket, event loop and signals, and its printer and lines.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context, anyhow};

use crate::cli::NetworkFaults;
use crate::io::clock::Clock;
use crate::io::control::Control;
use crate::io::event_loop::EventLoop;
use crate::io::identity::{self, IdentityNotice};
use crate::io::input::{Lines, Wake};
use crate::io::sender::DatagramSender;
use crate::io::signals::SignalListener;
use crate::io::socket::Socket;
use crate::io::terminal;
use crate::proto::keys::Identity;
use crate::proto::status::Status;
use crate::ui::completion::Completion;
use crate::ui::editor::EditorContext;
use crate::ui::host::{HostRole, ProgramHost};
use crate::ui::line_source::LineSource;
use crate::ui::printer::{OutputStyle, Printer, TerminalGuard, print_error};

/// The parts that every client and every server needs.
pub struct ProgramSession {
    /// Started with the session.
    pub clock: Clock,
    /// The port of the socket.
    pub port: u16,
    /// Wakes the event loop.
    pub wake: Wake,
    event_loop: EventLoop,
    signals: Signals,
    /// Present if a line editor may have changed the mode of the terminal.
    guard: Option<TerminalGuard>,
}

/// Use of the standard streams by a program.
pub struct StreamOptions {
    /// Write JSON, and read lines without an editor.
    pub json: bool,
    /// The name of the client, or `server`.
    pub me: String,
    /// The name of the line editor's history.
    pub history: &'static str,
    /// Completes words in the line editor.
    pub completion: Completion,
    /// The program keeps running in the background and reads no lines there.
    pub runs_in_background: bool,
}

impl ProgramSession {
    /// Binds the port, 0 for a free one, and listens to signals.
    ///
    /// # Errors
    /// One sentence about the port, the control socket or the system.
    pub fn open(port: u16, faults: &NetworkFaults) -> anyhow::Result<Self> {
        let socket = bind(port)?;
        let port = socket.local_port();
        let clock = Clock::start();
        let event_loop = EventLoop::new(socket, datagram_sender(faults)?, clock)?;
        let wake = event_loop.wake();
        let signals = Signals::listen(wake.clone())?;
        Ok(Self { clock, port, wake, event_loop, signals, guard: None })
    }

    /// Starts the printer and the reader of `source`, with a line editor where the terminal allows one.
    ///
    /// # Errors
    /// The system refuses a thread or the terminal.
    pub fn attach(&mut self, source: LineSource, options: StreamOptions) -> anyhow::Result<(Printer, Lines)> {
        let StreamOptions { json, me, history, completion, runs_in_background } = options;
        let style = OutputStyle { json, terminal: terminal::is_output(), me };
        let wake = self.wake.clone();
        let mut editor = match source.editor(json, history) {
            Ok(editor) => editor,
            Err(source) => {
                let printer = Printer::start(style, None, wake.clone())?;
                let is_unread = runs_in_background && source.is_typed() && !terminal::is_foreground();
                let lines = if is_unread { Lines::queue(wake).1 } else { Lines::read(source.into_reader(), wake)? };
                return Ok((printer, lines));
            }
        };
        let screen = editor.screen()?;
        let printer = Printer::start(style, Some(screen.clone()), wake.clone())?;
        self.guard = Some(printer.terminal_guard());
        let (sender, lines) = Lines::queue(wake.clone());
        editor.spawn(EditorContext {
            lines: sender,
            signals: self.signals.sender.clone(),
            wake,
            completion,
            printer: printer.clone(),
            screen,
            only_in_foreground: runs_in_background,
        })?;
        Ok((printer, lines))
    }

    /// Runs a machine to its end, then restores the mode of the terminal.
    ///
    /// # Errors
    /// The socket or the poll fails.
    pub fn run<R: HostRole>(mut self, mut machine: R::Machine, role: R, printer: Printer) -> anyhow::Result<Status> {
        let mut host = ProgramHost::new(role, printer, self.signals);
        let exit = self.event_loop.run(&mut machine, &mut host)?;
        Ok(host.end(exit, &self.clock))
    }
}

/// Signals that request a shutdown, as numbers.
pub struct Signals {
    /// Receives them.
    pub arrived: Receiver<i32>,
    /// Adds a signal that the system does not send, such as Ctrl-C in the line editor.
    pub sender: Sender<i32>,
    _listener: SignalListener,
}

impl Signals {
    fn listen(wake: Wake) -> anyhow::Result<Self> {
        let (sender, arrived) = channel();
        let forward = sender.clone();
        let listener = SignalListener::listen(move |signal| {
            // Nobody receives it when the program is ending already.
            let _ = forward.send(signal);
            wake();
        });
        Ok(Self { arrived, sender, _listener: listener.context("Signals cannot be listened to")? })
    }
}

fn bind(port: u16) -> anyhow::Result<Socket> {
    Socket::bind(port).map_err(|why| match why.kind() {
        ErrorKind::AddrInUse => anyhow!("Port {port} is in use, choose another one, or 0 for a free one."),
        _ => anyhow!("Port {port} cannot be had: {why}."),
    })
}

fn datagram_sender(faults: &NetworkFaults) -> anyhow::Result<DatagramSender> {
    let control = match &faults.control {
        None => None,
        Some(path) => Some(Control::bind(path).map_err(|why| match why.kind() {
            ErrorKind::AddrInUse => anyhow!("{} is there already, choose another path.", path.as_path().display()),
            _ => anyhow!("Orders cannot be taken at {}: {why}.", path.as_path().display()),
        })?),
    };
    Ok(DatagramSender::new(faults.emulator.as_deref().cloned(), control))
}

/// Reads 32 random bytes from the system.
///
/// # Errors
/// The system provides none.
pub fn seed() -> anyhow::Result<[u8; 32]> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|why| anyhow!("{why}")).context("The system gives no random numbers")?;
    Ok(seed)
}

/// Loads or makes the key pair of the user. `file` replaces the default file. Prints a notice to standard error.
///
/// # Errors
/// One sentence about the file.
pub fn identity(file: Option<&Path>) -> anyhow::Result<Identity> {
    let (identity, notice) = identity::load(file, seed()?)?;
    match notice {
        Some(notice @ IdentityNotice::ThisRunOnly { .. }) => print_error(&notice.to_string()),
        // Only a person reads it.
        Some(notice @ IdentityNotice::Made { .. }) if terminal::is_error_output() => print_error(&notice.to_string()),
        _ => {}
    }
    Ok(identity)
}

/// Returns the exit status of a program. Prints an error.
pub fn exit_status(result: anyhow::Result<Status>) -> Status {
    result.unwrap_or_else(|why| {
        print_error(&format!("{why:#}"));
        Status::Environment
    })
}
