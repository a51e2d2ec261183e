//! Configuration of the machines: the values that a machine needs before its first input.

use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::keys::Identity;
use crate::proto::name::Name;
use crate::proto::record::PersistedState;
use crate::proto::server::{MAILBOX, WHOLE_TABLE};

/// The version of this program, as in the `started` event.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// Configuration of a client.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The name to register.
    pub name: Name,
    /// All addresses of the server. Each attempt tries all of them. Those beyond [`ClientConfig::MAX_SERVERS`] are
    /// ignored.
    pub servers: Vec<SocketAddr>,
    /// The server as the user wrote it, `HOST:PORT`, for the `started` event.
    pub server: String,
    /// The client's own address, for the `started` event.
    pub addr: SocketAddr,
    /// The port that the system chose, if the user asked for a free port. It is displayed.
    pub free_port: Option<u16>,
    /// 32 random bytes, the seed of [`crate::proto::rng::Rng`]: ids and all other random numbers.
    pub seed: [u8; 32],
    /// The key pair of the user.
    pub identity: Identity,
    /// End without a `bye`, so that the server has to detect it.
    pub silent_leave: bool,
    /// Emit an event for each datagram.
    pub trace: bool,
}

impl ClientConfig {
    /// Maximum number of addresses of the server that are tried.
    pub const MAX_SERVERS: usize = 16;
}

/// Configuration of a server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The port to which the socket is bound.
    pub port: u16,
    /// 32 random bytes, the seed of [`crate::proto::rng::Rng`].
    pub seed: [u8; 32],
    /// The key pair of the user.
    pub identity: Identity,
    /// The state that the store had at start.
    pub kept: PersistedState,
    /// The limits that a user may set.
    pub limits: ServerLimits,
    /// The path of the store, for display.
    pub file: String,
    /// Emit an event for each datagram.
    pub trace: bool,
}

/// The limits of a server that its user may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Maximum number of saved direct messages for an offline reader, at most [`MAILBOX`].
    pub mailbox: usize,
    /// The limits of logs.
    pub retention: Retention,
    /// Maximum number of names with which every client has the whole table: 1 to [`crate::proto::server::NAMES`].
    pub whole_table: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self { mailbox: MAILBOX, retention: Retention::default(), whole_table: WHOLE_TABLE }
    }
}

/// The limits of the messages to many that readers have not read. Beyond them the oldest messages are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The most messages of one log.
    pub messages: usize,
    /// The most bytes of text of one log.
    pub bytes: u64,
    /// The most bytes of text of all logs.
    pub total_bytes: u64,
    /// How long a message is kept.
    pub age: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            messages: 10_000,
            bytes: 64 * 1024 * 1024,
            total_bytes: 1024 * 1024 * 1024,
            age: Duration::from_secs(30 * 24 * 3600),
        }
    }
}
