//! One UDP socket for IPv4 and IPv6: never blocks, speaks of IPv4 as IPv4, and knows a lost datagram from a broken socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token, event};
use socket2::{Domain, Protocol, Type};

/// How large a receive and a send buffer the system is asked for, in bytes. It may grant less: that is only loss.
pub const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// The most errors of the network that one [`Socket::recv`] passes over before it reports one.
const MAX_SKIPPED: usize = 64;

/// A UDP socket, bound to a port of every address of this machine, registrable with a [`mio::Poll`].
///
/// Its readiness is edge-triggered: read until [`io::ErrorKind::WouldBlock`], or remember that it was left before.
#[derive(Debug)]
pub struct Socket {
    inner: UdpSocket,
    families: Families,
    port: u16,
}

/// Which addresses a socket can speak to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Families {
    /// IPv4 and IPv6.
    Both,
    /// IPv4 alone, where the system has no IPv6.
    Ipv4,
}

impl Socket {
    /// Binds a port, 0 for a free one, on every address: of both families where the system can, else of IPv4.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] when another socket has the port in either family; otherwise what the system says.
    pub fn bind(port: u16) -> io::Result<Self> {
        match Self::bind_to(Families::Both, port) {
            // These two speak of the port, and IPv4 alone would not make it better: it might even hide a port in use.
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
        // A refused wish is no failure: a smaller buffer loses a little more under load.
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(BUFFER_BYTES);
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::new(ip, port).into())?;
        let inner = UdpSocket::from_std(socket.into());
        let port = inner.local_addr()?.port();
        Ok(Self { inner, families, port })
    }

    /// The port that the socket is bound to; never 0.
    #[must_use]
    pub const fn local_port(&self) -> u16 {
        self.port
    }

    /// Which addresses it can speak to.
    #[must_use]
    pub const fn families(&self) -> Families {
        self.families
    }

    /// Takes one datagram: how many bytes of `buf` it fills, and where it came from, mapped addresses as IPv4.
    /// A datagram that is longer than `buf` is cut.
    ///
    /// Word of the network about datagrams sent earlier (see [`is_loss`]) is passed over.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when nothing waits. One for which [`is_loss`] holds only after very many of
    /// those in a row: go on reading later. Anything else means that the socket is broken.
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
    /// Whatever the error, this datagram is lost and nothing else is: there is no route, a firewall forbids it, the
    /// address came from a stranger and makes no sense. What must arrive is sent again by the core.
    /// [`io::ErrorKind::WouldBlock`] says that the send buffer is full; [`io::ErrorKind::Unsupported`] that this
    /// machine has no IPv6 and the address is one.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let to = match (self.families, to, canonical(to)) {
            (Families::Both, _, SocketAddr::V4(v4)) => {
                SocketAddr::V6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0))
            }
            // As it was given: it may have a scope, which a link-local address needs.
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

/// Whether an error of a read tells of a datagram that was sent earlier and did not arrive (an ICMP answer such as
/// "port unreachable"), or of an interrupted call. The socket is well, and a loop goes on as if nothing had been said:
/// silence already means the same.
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

/// The address with IPv4 written as IPv4, so that one peer has one address.
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
    /// Far beyond anything a loopback needs; only a failing test waits so long.
    const PATIENCE: Option<Duration> = Some(Duration::from_secs(20));

    /// Waits for a datagram as the loop does: poll, then read.
    fn next(socket: &mut Socket) -> (Vec<u8>, SocketAddr) {
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
            poll.poll(&mut events, PATIENCE).unwrap();
            assert!(!events.is_empty(), "nothing came");
        };
        poll.registry().deregister(socket).unwrap();
        got
    }

    fn local(ip: impl Into<IpAddr>, socket: &Socket) -> SocketAddr {
        SocketAddr::new(ip.into(), socket.local_port())
    }

    #[test]
    fn datagrams_go_both_ways_over_ipv4_and_are_called_so() {
        let (mut a, mut b) = (Socket::bind(0).unwrap(), Socket::bind(0).unwrap());
        a.send_to(b"hi", local(Ipv4Addr::LOCALHOST, &b)).unwrap();
        let (bytes, from) = next(&mut b);
        assert_eq!((bytes.as_slice(), from), (b"hi".as_slice(), local(Ipv4Addr::LOCALHOST, &a)));
        b.send_to(b"", from).unwrap();
        assert_eq!(next(&mut a), (Vec::new(), local(Ipv4Addr::LOCALHOST, &b)));
    }

    #[test]
    fn a_mapped_destination_is_the_same_as_ipv4() {
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        for families in [Families::Both, Families::Ipv4] {
            let Ok(a) = Socket::bind_to(families, 0) else { continue };
            let mut b = Socket::bind(0).unwrap();
            a.send_to(b"hi", local(mapped, &b)).unwrap();
            assert_eq!(next(&mut b).1, local(Ipv4Addr::LOCALHOST, &a));
        }
    }

    #[test]
    fn datagrams_travel_over_ipv6_where_the_machine_has_it() {
        let has_ipv6 = std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        let (a, mut b) = (Socket::bind(0).unwrap(), Socket::bind(0).unwrap());
        if !has_ipv6 {
            a.send_to(b"hi", local(Ipv6Addr::LOCALHOST, &b)).unwrap_err();
            return;
        }
        assert_eq!((a.families(), b.families()), (Families::Both, Families::Both));
        a.send_to(b"hi", local(Ipv6Addr::LOCALHOST, &b)).unwrap();
        assert_eq!(next(&mut b), (b"hi".to_vec(), local(Ipv6Addr::LOCALHOST, &a)));
    }

    #[test]
    fn ipv4_alone_refuses_ipv6_by_a_sentence_and_speaks_ipv4() {
        let (mut a, mut b) = (Socket::bind_to(Families::Ipv4, 0).unwrap(), Socket::bind(0).unwrap());
        assert_eq!(a.families(), Families::Ipv4);
        let why = a.send_to(b"hi", "[2001:db8::1]:9".parse().unwrap()).unwrap_err();
        assert_eq!(why.kind(), io::ErrorKind::Unsupported);
        assert_eq!(
            why.to_string(),
            "This machine has no IPv6, so [2001:db8::1]:9 cannot be reached; use an IPv4 address."
        );
        a.send_to(b"hi", local(Ipv4Addr::LOCALHOST, &b)).unwrap();
        let (_, from) = next(&mut b);
        b.send_to(b"ho", from).unwrap();
        assert_eq!(next(&mut a), (b"ho".to_vec(), local(Ipv4Addr::LOCALHOST, &b)));
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
    fn a_free_port_is_named_and_given_once() {
        let (a, b) = (Socket::bind(0).unwrap(), Socket::bind(0).unwrap());
        assert_eq!(a.local_port(), a.inner.local_addr().unwrap().port());
        assert!(a.local_port() != 0 && a.local_port() != b.local_port());
    }

    #[test]
    fn nobody_there_and_nonsense_addresses_are_only_loss() {
        let (mut a, b) = (Socket::bind(0).unwrap(), Socket::bind(0).unwrap());
        // Port 1 is reserved for a service that nobody runs any more.
        let nobody = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        for to in [nobody, nobody, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))] {
            let _ = a.send_to(b"hi", to);
        }
        let mut buf = [0; 16];
        assert_eq!(a.recv(&mut buf).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        b.send_to(b"still here", local(Ipv4Addr::LOCALHOST, &a)).unwrap();
        assert_eq!(next(&mut a).0, b"still here");
    }

    #[test]
    fn what_the_network_says_is_loss_and_what_the_system_says_is_not() {
        use io::ErrorKind as K;
        for kind in [K::ConnectionRefused, K::HostUnreachable, K::NetworkUnreachable, K::Interrupted] {
            assert!(is_loss(&kind.into()), "{kind}");
        }
        for kind in [K::WouldBlock, K::NotConnected, K::InvalidInput, K::PermissionDenied] {
            assert!(!is_loss(&kind.into()), "{kind}");
        }
    }

    #[test]
    fn a_larger_buffer_was_asked_for() {
        let socket = Socket::bind(0).unwrap();
        let plain = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let size = |socket: socket2::SockRef<'_>| socket.recv_buffer_size().unwrap();
        // The system may grant less than the wish, never less than what it gives unasked.
        assert!(size(socket2::SockRef::from(&socket.inner)) >= size(socket2::SockRef::from(&plain)));
    }
}
