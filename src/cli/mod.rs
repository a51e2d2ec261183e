//! The command line: the only module that knows clap. A wrong argument becomes one sentence that says what is right.

mod answer;
mod network;
mod run;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::io::terminal;
use crate::proto::name::Name;
use crate::proto::server::MAILBOX;
use crate::runner::language;
use crate::runner::run::RunOptions;
use crate::script::directive;

pub use crate::cli::answer::EarlyExit;
use crate::cli::answer::answer;
use crate::cli::network::NetworkArgs;
pub use crate::cli::network::NetworkFaults;

/// What the program is asked to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Role {
    /// `chat -s PORT`
    Server(ServerOptions),
    /// `chat -c NAME SERVER-IP SERVER-PORT CLIENT-PORT`
    Client(ClientOptions),
    /// `chat run FILE...`
    Run(Box<RunOptions>),
    /// Bare `chat`
    Launcher,
}

/// What a server is told.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerOptions {
    /// Its port, 0 for a free one.
    pub port: u16,
    /// Where names and mail are kept.
    pub store: StoreChoice,
    /// The most messages kept for one reader.
    pub mailbox: usize,
    /// Events as JSON.
    pub json: bool,
    /// Every datagram as an event.
    pub trace: bool,
    /// How its network is disturbed.
    pub faults: NetworkFaults,
}

/// Where a server keeps what it keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreChoice {
    /// In the file of this port, in the user's own folder for such things.
    Usual,
    /// In this file.
    File(PathBuf),
    /// In memory, until it ends.
    Memory,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientOptions {
    /// Its name.
    pub name: Name,
    /// The address or the name of the server's host.
    pub host: String,
    /// The server's port.
    pub server_port: u16,
    /// Its own port, 0 for a free one.
    pub port: u16,
    /// Events as JSON.
    pub json: bool,
    /// Lines mean what they mean at a terminal.
    pub typed: bool,
    /// Lines come from this file.
    pub script: Option<PathBuf>,
    /// Commands of a script do not wait for each other.
    pub pipeline: bool,
    /// A failed command ends the script.
    pub fail_fast: bool,
    /// What to do at the end of the input.
    pub on_eof: OnEof,
    /// Leave without notice.
    pub silent_leave: bool,
    /// Every datagram as an event.
    pub trace: bool,
    /// How its network is disturbed.
    pub faults: NetworkFaults,
}

/// What a client does at the end of its input, when every command has its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnEof {
    /// It leaves.
    Exit,
    /// It listens until a signal.
    Stay,
    /// It listens so long.
    Linger(Duration),
}

#[derive(Debug, Parser)]
#[command(
    name = "chat",
    version,
    about = "Chat over UDP: server, client and scenario runner in one program",
    override_usage = "chat -s PORT [OPTIONS]\n       chat -c NAME SERVER-IP SERVER-PORT CLIENT-PORT [OPTIONS]\n       \
                      chat run FILE...\n       chat",
    after_help = "Ports are 1024 to 65535, or 0 for a free one. Without arguments a launcher starts: type help there.",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
struct Arguments {
    /// Run the server on this port
    #[arg(short = 's', value_name = "PORT", allow_negative_numbers = true, help_heading = "Roles")]
    server: Option<String>,

    /// Run a client: NAME SERVER-IP SERVER-PORT CLIENT-PORT
    #[arg(short = 'c', value_name = "ARGUMENT", num_args = 0.., allow_negative_numbers = true, help_heading = "Roles")]
    client: Option<Vec<String>>,

    /// Write one JSON object a line for each event
    #[arg(long, overrides_with = "text")]
    json: bool,

    /// Write lines for people, undoing --json
    #[arg(long, overrides_with = "json")]
    text: bool,

    /// Show every datagram that is sent and received
    #[arg(long)]
    trace: bool,

    #[command(flatten)]
    network: NetworkArgs,

    #[command(flatten)]
    of_client: OfClient,

    #[command(flatten)]
    of_server: OfServer,

    #[command(subcommand)]
    other: Option<Other>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of a client")]
struct OfClient {
    /// Lines mean what they mean at a terminal: chat commands only, no waiting, no replacement
    #[arg(long)]
    typed: bool,

    /// Read the lines from this file
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,

    /// Messages that a script sends do not wait for the outcomes of those before them
    #[arg(long)]
    pipeline: bool,

    /// A command that fails ends the script
    #[arg(long)]
    fail_fast: bool,

    /// At the end of the input leave (exit) or listen until a signal (stay)
    #[arg(long, value_name = "exit|stay")]
    on_eof: Option<String>,

    /// At the end of the input listen so long, such as 5s or 250ms, then leave
    #[arg(long, value_name = "DURATION")]
    linger: Option<String>,

    /// Leave without telling anybody
    #[arg(long)]
    silent_leave: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of a server")]
struct OfServer {
    /// Keep names and mail in this file
    #[arg(long, value_name = "FILE", conflicts_with = "ephemeral")]
    db: Option<PathBuf>,

    /// Keep nothing on disk
    #[arg(long)]
    ephemeral: bool,

    /// Keep at most so many messages for one reader, 1 to 10000
    #[arg(long, value_name = "MESSAGES", allow_negative_numbers = true)]
    mailbox: Option<String>,
}

impl OfServer {
    fn is_given(&self) -> bool {
        self.db.is_some() || self.ephemeral || self.mailbox.is_some()
    }

    fn mailbox(&self) -> Result<usize, String> {
        let Some(word) = &self.mailbox else { return Ok(MAILBOX) };
        let messages = word.parse().ok().filter(|messages| (1..=MAILBOX).contains(messages));
        messages.ok_or_else(|| format!("--mailbox is a number of messages from 1 to {MAILBOX}, and {word:?} is not."))
    }
}

#[derive(Debug, Subcommand)]
enum Other {
    Run(crate::cli::run::RunArguments),
}

/// Reads the command line, the first argument being the program's own name.
///
/// # Errors
/// The [`EarlyExit`] to give instead: what was asked for, or what is wrong.
pub fn parse<A: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = A>) -> Result<Role, EarlyExit> {
    let arguments = Arguments::try_parse_from(arguments).map_err(|error| answer(&error))?;
    match arguments.other {
        Some(Other::Run(run)) if run.asks_for_language() => Err(EarlyExit::Text(language().to_owned())),
        Some(Other::Run(run)) => Ok(Role::Run(Box::new(run.options(terminal::has_cursor(), terminal::has_colour())?))),
        None => Ok(arguments.role()?),
    }
}

impl Arguments {
    fn role(self) -> Result<Role, String> {
        match (&self.server, &self.client) {
            (Some(_), Some(_)) => Err("Use either -s for a server or -c for a client, not both.".to_owned()),
            (Some(port), None) => {
                self.of_client.refuse()?;
                let port = port_of("The port", port, true)?;
                let mailbox = self.of_server.mailbox()?;
                let store = match (self.of_server.db, self.of_server.ephemeral) {
                    (Some(file), _) => StoreChoice::File(file),
                    (None, true) => StoreChoice::Memory,
                    (None, false) => StoreChoice::Usual,
                };
                let faults = self.network.faults()?;
                Ok(Role::Server(ServerOptions { port, store, mailbox, json: self.json, trace: self.trace, faults }))
            }
            (None, Some(_)) => self.client_role(),
            (None, None) if self.is_bare() => Ok(Role::Launcher),
            (None, None) => {
                Err("Options need a role: use -s PORT, or -c NAME SERVER-IP SERVER-PORT CLIENT-PORT.".into())
            }
        }
    }

    fn client_role(self) -> Result<Role, String> {
        let words = self.client.unwrap_or_default();
        let [name, host, server_port, port] = words.as_slice() else {
            let count = words.len();
            return Err(format!("-c needs 4 arguments, NAME SERVER-IP SERVER-PORT CLIENT-PORT, and got {count}."));
        };
        let of = self.of_client;
        if self.of_server.is_given() {
            return Err("--db, --ephemeral and --mailbox are options of a server, a client keeps nothing.".to_owned());
        }
        Ok(Role::Client(ClientOptions {
            name: Name::new(name).map_err(|why| why.to_string())?,
            host: host_of(host)?,
            server_port: port_of("The server's port", server_port, false)?,
            port: port_of("The client's port", port, true)?,
            json: self.json,
            on_eof: of.on_eof()?,
            typed: of.typed,
            script: of.script,
            pipeline: of.pipeline,
            fail_fast: of.fail_fast,
            silent_leave: of.silent_leave,
            trace: self.trace,
            faults: self.network.faults()?,
        }))
    }

    fn is_bare(&self) -> bool {
        let given = self.json || self.text || self.trace || self.of_server.is_given() || self.network.is_given();
        !given && self.of_client.refuse().is_ok()
    }
}

impl OfClient {
    /// Refuses all of them, for a server.
    fn refuse(&self) -> Result<(), String> {
        let given = [
            ("--typed", self.typed),
            ("--script", self.script.is_some()),
            ("--pipeline", self.pipeline),
            ("--fail-fast", self.fail_fast),
            ("--on-eof", self.on_eof.is_some()),
            ("--linger", self.linger.is_some()),
            ("--silent-leave", self.silent_leave),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(format!("{option} is an option of a client (-c), not of a server.")),
            None => Ok(()),
        }
    }

    fn on_eof(&self) -> Result<OnEof, String> {
        match (self.on_eof.as_deref(), self.linger.as_deref()) {
            (None | Some("stay"), Some(time)) => Ok(OnEof::Linger(duration(time)?)),
            (Some("exit"), Some(_)) => Err("--on-eof exit and --linger exclude each other.".to_owned()),
            (None | Some("exit"), None) => Ok(OnEof::Exit),
            (Some("stay"), None) => Ok(OnEof::Stay),
            (Some(word), _) => Err(format!("--on-eof is exit or stay, not {word:?}.")),
        }
    }
}

fn port_of(whose: &str, word: &str, or_free: bool) -> Result<u16, String> {
    let free = if or_free { ", or 0 for a free one" } else { "" };
    match word.parse::<u16>() {
        Ok(0) if or_free => Ok(0),
        Ok(port @ 1024..) => Ok(port),
        _ => Err(format!("{whose} must be 1024 to 65535{free}, and {word:?} is not.")),
    }
}

/// An address or what can be the name of a host. What looks like an address and is none is refused here.
fn host_of(word: &str) -> Result<String, String> {
    let bare = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(word);
    let wrong = || format!("The server's address must be IPv4, IPv6 or a host name, and {word:?} is none.");
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    // An IPv6 address may name an interface behind '%'; the system's resolver knows it.
    if bare
        .split_once('%')
        .is_some_and(|(address, zone)| address.parse::<std::net::Ipv6Addr>().is_ok() && !zone.is_empty())
    {
        return Ok(bare.to_owned());
    }
    let label = |label: &str| {
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        (1..=63).contains(&label.len()) && label.chars().all(fits) && !label.starts_with('-')
    };
    let name = word.strip_suffix('.').unwrap_or(word);
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if name.len() > 253 || numeric || !name.split('.').all(label) {
        return Err(wrong());
    }
    Ok(word.to_owned())
}

fn duration(word: &str) -> Result<Duration, String> {
    directive::duration(word)
        .map_err(|_| format!("A duration is written like 5s, 250ms or 1m, up to 24h, and {word:?} is not."))
}
