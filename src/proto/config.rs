//! What a machine must know before its first input.

use std::net::SocketAddr;

use crate::proto::name::Name;
use crate::proto::record::PersistedState;

/// The version of this program, as events show it.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// What a client must know.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Its name.
    pub name: Name,
    /// All addresses of the server; all are tried within each attempt. At most [`ClientConfig::MAX_SERVERS`] count.
    pub servers: Vec<SocketAddr>,
    /// The server as the user wrote it, `HOST:PORT`, for the `started` event.
    pub server: String,
    /// Where the client's own socket is bound.
    pub addr: SocketAddr,
    /// The port that it got, if it asked for any: that is shown.
    pub free_port: Option<u16>,
    /// 32 random bytes: ids and everything else random comes from them.
    pub seed: [u8; 32],
    /// Leave without notice.
    pub silent_leave: bool,
    /// Show every datagram.
    pub trace: bool,
}

impl ClientConfig {
    /// The most addresses of one server name that are tried.
    pub const MAX_SERVERS: usize = 16;
}

/// What a server must know.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// The port that its socket is bound to.
    pub port: u16,
    /// 32 random bytes.
    pub seed: [u8; 32],
    /// What an earlier life left, and the file that it was read from.
    pub kept: PersistedState,
    /// The most messages that are kept for one reader; more than [`crate::proto::server::MAILBOX`] are not.
    pub mailbox: usize,
    /// The file, for people.
    pub file: String,
    /// Show every datagram.
    pub trace: bool,
}
