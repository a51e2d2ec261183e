//! Ports: free ones, and one on which nobody answers.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};

/// A port that is free now, for a program that cannot tell which one it took.
///
/// # Errors
/// When the system has none.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(Silent::new()?.port())
}

/// A port that is held so that nobody listens there, and that never answers.
#[derive(Debug)]
pub(super) struct Silent {
    /// Closed only with it.
    _socket: UdpSocket,
    port: u16,
}

impl Silent {
    /// Takes a free port.
    ///
    /// # Errors
    /// When the system has none.
    pub(super) fn new() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = socket.local_addr()?.port();
        Ok(Self { _socket: socket, port })
    }

    /// Which one.
    pub(super) fn port(&self) -> u16 {
        self.port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_port_is_taken_and_a_free_one_is_not() {
        let silent = Silent::new().unwrap();
        assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, silent.port())).is_err());
        let port = free_port().unwrap();
        assert!(port >= 1024 && port != silent.port());
    }
}
