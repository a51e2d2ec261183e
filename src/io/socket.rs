//! A non-blocking UDP socket for IPv4 and IPv6. It converts IPv4-mapped addresses to IPv4, and separates the loss of a
//! datagram from a broken socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token, event};
use socket2::{Domain, Protocol, Type};

/// Size of the receive buffer and of the send buffer that is requested from the system, in bytes. The system may grant
/// less; then more datagrams are lost under load.
pub const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Number of network errors that one [`Socket::recv`] skips; it returns the next one.
const MAX_SKIPPED: usize = 64;

/// A UDP socket that is bound to one port on all addresses of this machine. It can be registered with a [`mio::Poll`].
///
/// Readiness is edge-triggered: read until [`io::ErrorKind::WouldBlock`]. A caller that stops earlier must read again
/// without waiting for an event.
#[derive(Debug)]
pub struct Socket {
    inner: UdpSocket,
    families: Families,
    port: u16,
}

/// The address families of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// IPv4 and IPv6.
    Both,
    /// IPv4 only: the system has no IPv6.
    Ipv4,
}

impl Socket {
    /// Binds `port` on all addresses; 0 means a free port. Uses both families, or IPv4 only if the system has no IPv6.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] if another socket uses the port in either family; otherwise the system's error.
    pub fn bind(port: u16) -> io::Result<Self> {
        match Self::bind_to(Families::Both, port) {
            // These two errors are about the port. A retry with IPv4 only would not help: it could even succeed on a
            // port that is in use for IPv6.
            Err(why) if !matches!(why.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {
                Self::bind_to(Families::Ipv4, port)
            }
            result => result,
        }
    }

    fn bind_to(families: Families, port: u16) -> io::Result<Self> {
        let (domain, ip) = match families {
            Families::Both => (Domain::IPV6, IpAddr::from(Ipv6Addr::UNSPECIFIED)),
            Families::Ipv4 => (Domain::IPV4, IpAddr::from(Ipv4Addr::UNSPECIFIED)),
        };
        let socket = socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
        if families == Families::Both {
            socket.set_only_v6(false)?;
        }
        // A refusal is not an error: with a smaller buffer, more datagrams are lost under load.
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(BUFFER_BYTES);
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::new(ip, port).into())?;
        let inner = UdpSocket::from_std(socket.into());
        let port = inner.local_addr()?.port();
        Ok(Self { inner, families, port })
    }

    /// The port to which the socket is bound; never 0.
    #[must_use]
    pub const fn local_port(&self) -> u16 {
        self.port
    }

    /// The address families of the socket.
    #[must_use]
    pub const fn families(&self) -> Families {
        self.families
    }

    /// Receives one datagram. Returns its length in bytes and its source, an IPv4-mapped address as IPv4. A datagram
    /// that is longer than `buf` is truncated.
    ///
    /// Skips errors about datagrams sent earlier (see [`is_loss`]).
    ///
    /// # Errors
    /// - [`io::ErrorKind::WouldBlock`] if no datagram waits.
    /// - An error for which [`is_loss`] is true, after many of them in a row. The caller should read again later.
    /// - Any other error means that the socket is broken.
    pub fn recv(&mut self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut skipped = 0;
        loop {
            match self.inner.recv_from(buf) {
                Ok((n, from)) => return Ok((n, canonical(from))),
                Err(why) if is_loss(&why) && skipped < MAX_SKIPPED => skipped += 1,
                Err(why) => return Err(why),
            }
        }
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// Every error means that this datagram is lost, and nothing else. Examples: no route, a firewall, or an invalid
    /// address from an unknown peer. The link retransmits the datagrams that must arrive.
    ///
    /// - [`io::ErrorKind::WouldBlock`]: the send buffer is full.
    /// - [`io::ErrorKind::Unsupported`]: `to` is an IPv6 address and this machine has no IPv6.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let to = match (self.families, to, canonical(to)) {
            (Families::Both, _, SocketAddr::V4(v4)) => {
                SocketAddr::V6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
            }
            // Not converted: a link-local address needs its scope id.
            (Families::Both, to, SocketAddr::V6(_)) => to,
            (Families::Ipv4, _, v4 @ SocketAddr::V4(_)) => v4,
            (Families::Ipv4, to, SocketAddr::V6(_)) => {
                let sentence = format!("This machine has no IPv6, so {to} cannot be reached; use an IPv4 address.");
                return Err(io::Error::new(io::ErrorKind::Unsupported, sentence));
            }
        };
        loop {
            match self.inner.send_to(bytes, to) {
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(|_| ()),
            }
        }
    }
}

impl event::Source for Socket {
    fn register(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.inner.register(registry, token, interests)
    }

    fn reregister(&mut self, registry: &Registry, token: Token, interests: Interest) -> io::Result<()> {
        self.inner.reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        self.inner.deregister(registry)
    }
}

/// Whether an error of a read reports that a datagram sent earlier did not arrive (an ICMP error such as "port
/// unreachable"), or that the call was interrupted.
///
/// The socket still works. The caller should ignore the error: the missing acknowledgement already shows the loss.
#[must_use]
pub fn is_loss(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
    )
}

/// Converts an IPv4-mapped address to IPv4, so that each peer has exactly one address.
fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::from((v4, v6.port())),
            None => addr,
        },
        SocketAddr::V4(_) => addr,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll};

    use super::*;

    const TOKEN: Token = Token(7);
    /// Far more than the loopback interface needs; only a failing test waits this long.
    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(20));

    /// Receives one datagram. Fails the test if none arrives in time.
    fn receive(socket: &mut Socket) -> (Vec<u8>, SocketAddr) {
        let mut poll = Poll::new().unwrap();
        poll.registry().register(socket, TOKEN, Interest::READABLE).unwrap();
        let mut buf = [0; 2048];
        let got = loop {
            match socket.recv(&mut buf) {
                Ok((n, from)) => break (buf[..n].to_vec(), from),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
                Err(why) => panic!("{why}"),
            }
            let mut events = Events::with_capacity(8);
            poll.poll(&mut events, TIMEOUT).unwrap();
            assert!(!events.is_empty(), "nothing came");
        };
        poll.registry().deregister(socket).unwrap();
        got
    }

    fn local(ip: impl Into<IpAddr>, socket: &Socket) -> SocketAddr {
        SocketAddr::new(ip.into(), socket.local_port())
    }

    #[test]
    fn ipv4_works_in_both_directions_and_sources_are_ipv4() {
        let (mut a, mut b) = (Socket::bind(0).unwrap(), Socket::bind(0).unwrap());
        a.send_to(b"hi", local(Ipv4Addr::LOCALHOST, &b)).unwrap();
        let (bytes, from) = receive(&mut b);
        assert_eq!((bytes.as_slice(), from), (b"hi".as_slice(), local(Ipv4Addr::LOCALHOST, &a)));
        b.send_to(b"", from).unwrap();
        assert_eq!(receive(&mut a), (Vec::new(), local(Ipv4Addr::LOCALHOST, &b)));
    }

    #[test]
    fn a_mapped_destination_is_equivalent_to_ipv4() {
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        for families in [Families::Both, Families::Ipv4] {
            let Ok(a) = Socket::bind_to(families, 0) else { continue };
            let mut b = Socket::bind(0).unwrap();
            a.send_to(b"hi", local(mapped, &b)).unwrap();
            assert_eq!(receive(&mut b).1, local(Ipv4Addr::LOCALHOST, &a));
        }
    }

    #[test]
    fn ipv6_works_if_the_machine_has_it() {
        let has_ipv6 = std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        let (a, mut b) = (Socket::bind(0).unwrap(), Socket::bind(0).unwrap());
        if !has_ipv6 {
            a.send_to(b"hi", local(Ipv6Addr::LOCALHOST, &b)).unwrap_err();
            return;
        }
        assert_eq!((a.families(), b.families()), (Families::Both, Families::Both));
        a.send_to(b"hi", local(Ipv6Addr::LOCALHOST, &b)).unwrap();
        assert_eq!(receive(&mut b), (b"hi".to_vec(), local(Ipv6Addr::LOCALHOST, &a)));
    }

    #[test]
    fn an_ipv4_socket_refuses_ipv6_with_a_sentence_and_sends_ipv4() {
        let (mut a, mut b) = (Socket::bind_to(Families::Ipv4, 0).unwrap(), Socket::bind(0).unwrap());
        assert_eq!(a.families(), Families::Ipv4);
        let why = a.send_to(b"hi", "[2001:db8::1]:9".parse().unwrap()).unwrap_err();
        assert_eq!(why.kind(), io::ErrorKind::Unsupported);
        assert_eq!(
            why.to_string(),
            "This machine has no IPv6, so [2001:db8::1]:9 cannot be reached; use an IPv4 address."
        );
        a.send_to(b"hi", local(Ipv4Addr::LOCALHOST, &b)).unwrap();
        let (_, from) = receive(&mut b);
        b.send_to(b"ho", from).unwrap();
        assert_eq!(receive(&mut a), (b"ho".to_vec(), local(Ipv4Addr::LOCALHOST, &b)));
    }

    #[test]
    fn a_port_in_use_in_either_family_is_refused() {
        let all_v4 = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let one_v4 = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ours = Socket::bind(0).unwrap();
        for port in [all_v4.local_addr().unwrap().port(), one_v4.local_addr().unwrap().port(), ours.local_port()] {
            assert_eq!(Socket::bind(port).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        }
        for ip in [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST] {
            let why = std::net::UdpSocket::bind((ip, ours.local_port())).unwrap_err();
            assert_eq!(why.kind(), io::ErrorKind::AddrInUse);
        }
    }

    #[test]
    fn port_0_binds_a_free_port_and_reports_it() {
        let (a, b) = (Socket::bind(0).unwrap(), Socket::bind(0).unwrap());
        assert_eq!(a.local_port(), a.inner.local_addr().unwrap().port());
        assert!(a.local_port() != 0 && a.local_port() != b.local_port());
    }

    #[test]
    fn sending_to_closed_ports_and_invalid_addresses_is_only_loss() {
        let (mut a, b) = (Socket::bind(0).unwrap(), Socket::bind(0).unwrap());
        // Port 1 (tcpmux) is assigned, so it is not ephemeral, and the service is no longer in use.
        let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        for to in [closed, closed, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))] {
            let _ = a.send_to(b"hi", to);
        }
        let mut buf = [0; 16];
        assert_eq!(a.recv(&mut buf).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        b.send_to(b"still here", local(Ipv4Addr::LOCALHOST, &a)).unwrap();
        assert_eq!(receive(&mut a).0, b"still here");
    }

    #[test]
    fn only_network_errors_and_interruptions_are_loss() {
        use io::ErrorKind as K;
        for kind in [K::ConnectionRefused, K::HostUnreachable, K::NetworkUnreachable, K::Interrupted] {
            assert!(is_loss(&kind.into()), "{kind}");
        }
        for kind in [K::WouldBlock, K::NotConnected, K::InvalidInput, K::PermissionDenied] {
            assert!(!is_loss(&kind.into()), "{kind}");
        }
    }

    #[test]
    fn a_larger_receive_buffer_is_requested() {
        let socket = Socket::bind(0).unwrap();
        let plain = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let size = |socket: socket2::SockRef<'_>| socket.recv_buffer_size().unwrap();
        // The system may grant less than requested, but not less than its default.
        assert!(size(socket2::SockRef::from(&socket.inner)) >= size(socket2::SockRef::from(&plain)));
    }
}
