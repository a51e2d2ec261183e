//! UDP ports for actors: reserved ports, and a port that never answers.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// A port that never answers. It stays bound, so that no other program listens there.
#[derive(Debug)]
pub(crate) struct SilentPort {
    _socket: UdpSocket,
    port: u16,
}

impl SilentPort {
    /// Binds a free port.
    ///
    /// # Errors
    /// When the system has no free port.
    pub(crate) fn new() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = socket.local_addr()?.port();
        Ok(Self { _socket: socket, port })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// A UDP port for an actor. No other run on this host gets it until this is dropped.
///
/// It is below the range of ephemeral ports, from which the system assigns ports by itself. The TCP port of the same
/// number serves as a lock between runs: the system releases it when its holder ends, even after a crash.
#[derive(Debug)]
pub(crate) struct ReservedPort {
    _lock: TcpListener,
    port: u16,
}

impl ReservedPort {
    /// The lowest port that is tried.
    const FIRST: u16 = 10_000;
    /// The number of ports that are tried.
    const ATTEMPTS: u32 = 2048;

    /// Reserves a port on which no program listens.
    ///
    /// # Errors
    /// When none of the tried ports is free.
    pub(crate) fn new() -> io::Result<Self> {
        /// Each reservation begins above the previous one. A late datagram for an earlier holder thus reaches no
        /// other actor.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Runs that start together begin at different offsets.
        let offset = std::process::id().wrapping_mul(97);
        let span = u32::from(first_ephemeral_port().saturating_sub(Self::FIRST)).max(Self::ATTEMPTS);
        for _ in 0..Self::ATTEMPTS {
            let offset_in_range = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(offset) % span;
            let port = Self::FIRST.saturating_add(u16::try_from(offset_in_range).unwrap_or(0));
            if let Ok(lock) = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                && UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
                && !is_bound(port)
            {
                return Ok(Self { _lock: lock, port });
            }
        }
        Err(io::Error::new(ErrorKind::AddrInUse, "no port is free"))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// The first port that the system assigns by itself.
fn first_ephemeral_port() -> u16 {
    // The default of Linux. It is the lowest default among common systems.
    const USUAL: u16 = 32_768;
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|word| word.parse().ok());
    first.unwrap_or(USUAL)
}

/// Whether a socket is bound to this UDP port, on any address of this host.
pub(crate) fn is_bound(port: u16) -> bool {
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(fs::read_to_string);
    if tables.iter().all(Result::is_err) {
        // The probe binds the port for a moment. A server that starts at that moment fails.
        let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port));
        return probe.is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
    }
    tables.iter().flatten().any(|table| table.lines().skip(1).any(|row| port_of(row) == Some(port)))
}

/// The port in a row of `/proc/net/udp`: `  12: 0100007F:22B8 00000000:0000 07 ...`.
fn port_of(row: &str) -> Option<u16> {
    let (_, port) = row.split_whitespace().nth(1)?.rsplit_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_free_and_reserved_once() {
        let (one, other) = (ReservedPort::new().unwrap(), ReservedPort::new().unwrap());
        assert_ne!(one.port(), other.port());
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, one.port())).is_err());
        assert!(!is_bound(one.port()));
        for address in ["127.0.0.1", "0.0.0.0", "::1"] {
            if let Ok(socket) = UdpSocket::bind((address, one.port())) {
                assert!(is_bound(one.port()), "{address}");
                drop(socket);
            }
        }
        assert!(!is_bound(one.port()));
    }

    #[test]
    fn a_malformed_row_has_no_port() {
        assert_eq!(port_of("  12: 0100007F:22B8 00000000:0000 07"), Some(8888));
        for row in ["", "x", "1: 2", "1: a:zz", "1: :10000"] {
            assert_eq!(port_of(row), None, "{row}");
        }
    }

    #[test]
    fn a_silent_port_is_bound() {
        let silent = SilentPort::new().unwrap();
        assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, silent.port())).is_err());
        let port = SilentPort::new().unwrap().port();
        assert!(port >= 1024 && port != silent.port());
    }
}
