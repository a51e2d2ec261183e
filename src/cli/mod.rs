//! The command line. No other module uses clap. A wrong argument becomes one sentence about what is right.

mod errors;
mod network;
mod run;

use std::ffi::OsString;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::io::terminal;
use crate::proto::config::{Retention, ServerLimits};
use crate::proto::name::Name;
use crate::proto::server::{MAILBOX, NAMES};
use crate::runner::language;
use crate::runner::run::RunOptions;
use crate::script::directive;

pub use crate::cli::errors::EarlyExit;
use crate::cli::errors::early_exit;
use crate::cli::network::NetworkArgs;
pub use crate::cli::network::NetworkFaults;

/// Bytes of a MiB.
const MIB: u64 = 1024 * 1024;
/// The most MiB of an option.
const MAX_MIB: u64 = 1024 * 1024;

/// The role of the program.
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

/// Options of a server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerOptions {
    /// Its port, 0 for a free one.
    pub port: u16,
    /// The place of names and mail.
    pub store: StoreChoice,
    /// The limits that the user may set.
    pub limits: ServerLimits,
    /// The file of the user's key pair, if it is not the default one.
    pub identity: Option<PathBuf>,
    /// Write events as JSON.
    pub json: bool,
    /// Write every datagram as an event.
    pub trace: bool,
    /// Injected network faults.
    pub faults: NetworkFaults,
}

/// The place of a server's names and mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreChoice {
    /// The file of this port in the user's state folder.
    Default,
    /// This file.
    File(PathBuf),
    /// Memory, until the server ends.
    Memory,
}

/// Options of a client.
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
    /// The file of the user's key pair, if it is not the default one.
    pub identity: Option<PathBuf>,
    /// Write events as JSON.
    pub json: bool,
    /// Treat lines as typed by a person.
    pub typed: bool,
    /// Read lines from this file.
    pub script: Option<PathBuf>,
    /// Messages of a script do not wait for the outcomes of earlier ones.
    pub pipeline: bool,
    /// A failed command ends the script.
    pub fail_fast: bool,
    /// The behaviour at the end of the input.
    pub on_eof: OnEof,
    /// Leave without notice.
    pub silent_leave: bool,
    /// Write every datagram as an event.
    pub trace: bool,
    /// Injected network faults.
    pub faults: NetworkFaults,
}

/// The behaviour of a client at the end of its input, when every command has its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnEof {
    /// Leave.
    Exit,
    /// Listen until a signal.
    Stay,
    /// Listen for this time, then leave.
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

    /// Use the key pair in this file, and make it if it is missing
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,

    #[command(flatten)]
    network: NetworkArgs,

    #[command(flatten)]
    client_options: ClientArgs,

    #[command(flatten)]
    server_options: ServerArgs,

    #[command(subcommand)]
    subcommand: Option<Subcommands>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of a client")]
struct ClientArgs {
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
    #[arg(long, value_name = "exit|stay", value_parser = on_eof)]
    on_eof: Option<OnEof>,

    /// At the end of the input listen so long, such as 5s or 250ms, then leave
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    linger: Option<Duration>,

    /// Leave without telling anybody
    #[arg(long)]
    silent_leave: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Options of a server")]
struct ServerArgs {
    /// Keep names and mail in this file
    #[arg(long, value_name = "FILE", conflicts_with = "ephemeral")]
    db: Option<PathBuf>,

    /// Keep nothing on disk
    #[arg(long)]
    ephemeral: bool,

    /// Keep at most so many direct messages for one reader, 1 to 10000
    #[arg(long, value_name = "MESSAGES", allow_negative_numbers = true, value_parser = mailbox)]
    mailbox: Option<usize>,

    /// Keep at most so many unread channel messages, and so many of each group, 1 to 1000000 [default: 10000]
    #[arg(long, value_name = "MESSAGES", allow_negative_numbers = true, value_parser = log_messages)]
    log_messages: Option<usize>,

    /// Keep at most so many MiB of unread channel messages, and of each group, 1 to 1048576 [default: 64]
    #[arg(long, value_name = "MIB", allow_negative_numbers = true, value_parser = log_mib)]
    log_mib: Option<u64>,

    /// Keep at most so many MiB of all unread channel and group messages, 1 to 1048576 [default: 1024]
    #[arg(long, value_name = "MIB", allow_negative_numbers = true, value_parser = logs_mib)]
    logs_mib: Option<u64>,

    /// Keep unread channel and group messages for so many days, 1 to 3650 [default: 30]
    #[arg(long, value_name = "DAYS", allow_negative_numbers = true, value_parser = log_days)]
    log_days: Option<u32>,

    /// Send every client the whole table up to so many names, 1 to 65536 [default: 1000]
    #[arg(long, value_name = "NAMES", allow_negative_numbers = true, value_parser = whole_table)]
    whole_table: Option<usize>,
}

impl ServerArgs {
    fn is_given(&self) -> bool {
        let of_logs = [self.log_messages.is_some(), self.log_mib.is_some(), self.logs_mib.is_some()];
        let limits = [self.mailbox.is_some(), self.whole_table.is_some(), self.log_days.is_some()];
        self.db.is_some() || self.ephemeral || [of_logs, limits].as_flattened().contains(&true)
    }

    fn limits(&self) -> ServerLimits {
        let ServerLimits { mailbox, retention: default, whole_table } = ServerLimits::default();
        let retention = Retention {
            messages: self.log_messages.unwrap_or(default.messages),
            bytes: self.log_mib.map_or(default.bytes, |mib| mib * MIB),
            total_bytes: self.logs_mib.map_or(default.total_bytes, |mib| mib * MIB),
            age: self.log_days.map_or(default.age, |days| Duration::from_secs(u64::from(days) * 24 * 3600)),
        };
        let (mailbox, whole_table) = (self.mailbox.unwrap_or(mailbox), self.whole_table.unwrap_or(whole_table));
        ServerLimits { mailbox, retention, whole_table }
    }
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    Run(crate::cli::run::RunArguments),
}

/// Parses the command line. The first argument is the name of the program.
///
/// # Errors
/// The answer to print instead: requested text, or a mistake.
pub fn parse<A: Into<OsString> + Clone>(arguments: impl IntoIterator<Item = A>) -> Result<Role, EarlyExit> {
    let arguments = Arguments::try_parse_from(arguments).map_err(|error| early_exit(&error))?;
    match arguments.subcommand {
        Some(Subcommands::Run(run)) if run.asks_for_language() => Err(EarlyExit::Text(language().to_owned())),
        Some(Subcommands::Run(run)) => {
            Ok(Role::Run(Box::new(run.options(terminal::has_cursor(), terminal::has_colour())?)))
        }
        None => Ok(arguments.role()?),
    }
}

impl Arguments {
    fn role(self) -> Result<Role, String> {
        match (&self.server, &self.client) {
            (Some(_), Some(_)) => Err("Use either -s for a server or -c for a client, not both.".to_owned()),
            (Some(port), None) => {
                self.client_options.refuse_for_server()?;
                let port = parse_port("The port", port, true)?;
                let limits = self.server_options.limits();
                let store = match (self.server_options.db, self.server_options.ephemeral) {
                    (Some(file), _) => StoreChoice::File(file),
                    (None, true) => StoreChoice::Memory,
                    (None, false) => StoreChoice::Default,
                };
                let faults = self.network.faults()?;
                let (identity, json, trace) = (self.identity, self.json, self.trace);
                Ok(Role::Server(ServerOptions { port, store, limits, identity, json, trace, faults }))
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
        let given = self.client_options;
        if self.server_options.is_given() {
            return Err(
                "--db, --ephemeral, --mailbox, --whole-table and those of logs are options of a server, a client \
                        keeps nothing."
                    .to_owned(),
            );
        }
        Ok(Role::Client(ClientOptions {
            name: Name::new(name).map_err(|why| why.to_string())?,
            host: parse_host(host)?,
            server_port: parse_port("The server's port", server_port, false)?,
            port: parse_port("The client's port", port, true)?,
            identity: self.identity,
            json: self.json,
            on_eof: given.on_eof()?,
            typed: given.typed,
            script: given.script,
            pipeline: given.pipeline,
            fail_fast: given.fail_fast,
            silent_leave: given.silent_leave,
            trace: self.trace,
            faults: self.network.faults()?,
        }))
    }

    fn is_bare(&self) -> bool {
        let common = self.json || self.text || self.trace || self.identity.is_some() || self.network.is_given();
        let given = common || self.server_options.is_given();
        !given && self.client_options.refuse_for_server().is_ok()
    }
}

impl ClientArgs {
    /// Returns an error that names the first client option, if one is given.
    fn refuse_for_server(&self) -> Result<(), String> {
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
        match (self.on_eof, self.linger) {
            (Some(OnEof::Exit), Some(_)) => Err("--on-eof exit and --linger exclude each other.".to_owned()),
            (_, Some(time)) => Ok(OnEof::Linger(time)),
            (on_eof, None) => Ok(on_eof.unwrap_or(OnEof::Exit)),
        }
    }
}

fn parse_port(whose: &str, word: &str, may_be_free: bool) -> Result<u16, String> {
    let free = if may_be_free { ", or 0 for a free one" } else { "" };
    match word.parse::<u16>() {
        Ok(0) if may_be_free => Ok(0),
        Ok(port @ 1024..) => Ok(port),
        _ => Err(format!("{whose} must be 1024 to 65535{free}, and {word:?} is not.")),
    }
}

/// An IP address or a host name. A malformed address is refused here, without a lookup.
fn parse_host(word: &str) -> Result<String, String> {
    let bare = word.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(word);
    let wrong = || format!("The server's address must be IPv4, IPv6 or a host name, and {word:?} is none.");
    if bare.parse::<std::net::IpAddr>().is_ok() {
        return Ok(bare.to_owned());
    }
    // An IPv6 address may have a zone after '%' (RFC 4007 §11). The system's resolver parses it.
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

fn on_eof(word: &str) -> Result<OnEof, String> {
    match word {
        "exit" => Ok(OnEof::Exit),
        "stay" => Ok(OnEof::Stay),
        _ => Err(format!("--on-eof is exit or stay, not {word:?}.")),
    }
}

fn mailbox(word: &str) -> Result<usize, String> {
    within(word, "--mailbox is a number of messages", 1..=MAILBOX)
}

fn log_messages(word: &str) -> Result<usize, String> {
    within(word, "--log-messages is a number of messages", 1..=1_000_000)
}

fn log_mib(word: &str) -> Result<u64, String> {
    within(word, "--log-mib is a number of MiB", 1..=MAX_MIB)
}

fn logs_mib(word: &str) -> Result<u64, String> {
    within(word, "--logs-mib is a number of MiB", 1..=MAX_MIB)
}

fn log_days(word: &str) -> Result<u32, String> {
    within(word, "--log-days is a number of days", 1..=3_650)
}

/// Parses a number of a range. `what` begins the sentence of the error.
fn within<T: FromStr + PartialOrd + Display>(word: &str, what: &str, range: RangeInclusive<T>) -> Result<T, String> {
    let number = word.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("{what} from {} to {}, and {word:?} is not.", range.start(), range.end()))
}

fn whole_table(word: &str) -> Result<usize, String> {
    within(word, "--whole-table is a number of names", 1..=NAMES)
}

fn duration(word: &str) -> Result<Duration, String> {
    directive::duration(word)
        .map_err(|_| format!("A duration is written like 5s, 250ms or 1m, up to 24h, and {word:?} is not."))
}
