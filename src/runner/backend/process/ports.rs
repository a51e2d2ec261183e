//! Ports: free ones, reserved ones, and one on which nobody answers.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

/// A port that is held so that nobody listens there, and that never answers.
#[derive(Debug)]
pub(crate) struct SilentPort {
    /// Closed only with it.
    _socket: UdpSocket,
    port: u16,
}

impl SilentPort {
    /// Takes a free port.
    ///
    /// # Errors
    /// When the system has none.
    pub(crate) fn new() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = socket.local_addr()?.port();
        Ok(Self { _socket: socket, port })
    }

    /// Which one.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// A UDP port for an actor, kept from every other run on this host until it is dropped.
///
/// It is below those that the system gives away by itself. The TCP port of the same number, which nobody needs, tells
/// other runs that it is taken: it is free again when its holder is gone, however that came about.
#[derive(Debug)]
pub(crate) struct ReservedPort {
    _held: TcpListener,
    port: u16,
}

impl ReservedPort {
    /// The lowest one that is tried.
    const FIRST: u16 = 10_000;
    /// How many are tried.
    const ATTEMPTS: u32 = 2048;

    /// Reserves a port on which nobody listens.
    ///
    /// # Errors
    /// When none of those tried is free.
    pub(crate) fn new() -> io::Result<Self> {
        /// Each reservation of this run begins behind the one before it: what is late for its holder finds nobody.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Runs that begin together begin at different places.
        let offset = std::process::id().wrapping_mul(97);
        let span = u32::from(first_of_the_system().saturating_sub(Self::FIRST)).max(Self::ATTEMPTS);
        for _ in 0..Self::ATTEMPTS {
            let turn = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(offset) % span;
            let port = Self::FIRST.saturating_add(u16::try_from(turn).unwrap_or(0));
            if let Ok(held) = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                && UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok()
                && !is_bound(port)
            {
                return Ok(Self { _held: held, port });
            }
        }
        Err(io::Error::new(ErrorKind::AddrInUse, "no port is free"))
    }

    /// Which one.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// The first port that the system gives away by itself.
fn first_of_the_system() -> u16 {
    // Where the system does not tell, the lowest first one of those in use: that of Linux.
    const USUAL: u16 = 32_768;
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_whitespace().next().and_then(|word| word.parse().ok());
    first.unwrap_or(USUAL)
}

/// Whether anybody listens on this UDP port, on whatever address of this host.
pub(crate) fn is_bound(port: u16) -> bool {
    let tables = ["/proc/net/udp", "/proc/net/udp6"].map(fs::read_to_string);
    if tables.iter().all(Result::is_err) {
        // To look is to take it for a moment: a server that comes just then fails.
        let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port));
        return probe.is_err_and(|error| error.kind() == ErrorKind::AddrInUse);
    }
    tables.iter().flatten().any(|table| table.lines().skip(1).any(|row| port_of(row) == Some(port)))
}

/// The port in a row of the system's table of sockets: `  12: 0100007F:22B8 00000000:0000 07 ...`.
fn port_of(row: &str) -> Option<u16> {
    let (_, port) = row.split_whitespace().nth(1)?.rsplit_once(':')?;
    u16::from_str_radix(port, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_free_and_no_other_reservation() {
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
    fn a_row_that_is_none_has_no_port() {
        assert_eq!(port_of("  12: 0100007F:22B8 00000000:0000 07"), Some(8888));
        for row in ["", "x", "1: 2", "1: a:zz", "1: :10000"] {
            assert_eq!(port_of(row), None, "{row}");
        }
    }

    #[test]
    fn a_silent_port_is_taken_and_a_free_one_is_not() {
        let silent = SilentPort::new().unwrap();
        assert!(UdpSocket::bind((Ipv4Addr::LOCALHOST, silent.port())).is_err());
        let port = SilentPort::new().unwrap().port();
        assert!(port >= 1024 && port != silent.port());
    }
}
