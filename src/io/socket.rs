//! A non-blocking UDP socket for IPv4 and IPv6. It converts IPv4-mapped addresses to IPv4, and separates the loss of a
//! datagram from a broken socket.
//!
//! One system call receives many datagrams ([`ReceiveBatch`]), and sends many to one destination or to many of them
//! ([`crate::io::send_batch`]).

#[cfg(test)]
mod tests;

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use mio::net::UdpSocket;
use mio::{Interest, Registry, Token, event};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Type};

use crate::io::send_batch::SendBatch;
use crate::io::sender::Transmit;
use crate::proto::time::Timestamp;

/// Size of the receive buffer and of the send buffer that is requested from the system, in bytes. The system may grant
/// less; then more datagrams are lost under load.
pub const BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// The longest datagram of UDP, and the most bytes that receive offload combines.
const DATAGRAM_BYTES_MAX: usize = 65_536;

/// Number of network errors that one [`Socket::receive`] skips; it returns the next one.
const MAX_SKIPPED: usize = 64;

/// A UDP socket that is bound to one port on all addresses of this machine. It can be registered with a [`mio::Poll`].
///
/// Readiness is edge-triggered: read until [`io::ErrorKind::WouldBlock`]. A caller that stops earlier must read again
/// without waiting for an event.
#[derive(Debug)]
pub struct Socket {
    inner: UdpSocket,
    /// What the system can do: receive offload, and segmentation offload until it fails once.
    offload: UdpSocketState,
    send: SendBatch,
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
        let offload = UdpSocketState::new(UdpSockRef::from(&inner))?;
        Ok(Self { inner, offload, send: SendBatch::default(), families, port })
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

    /// Receives the datagrams that wait, as many as fit into `batch`, which must be empty. Returns whether more may
    /// wait.
    ///
    /// Skips errors about datagrams sent earlier (see [`is_loss`]).
    ///
    /// # Errors
    /// - [`io::ErrorKind::WouldBlock`] if no datagram waits.
    /// - An error for which [`is_loss`] is true, after many of them in a row. The caller should read again later.
    /// - Any other error means that the socket is broken.
    pub fn receive(&mut self, batch: &mut ReceiveBatch) -> io::Result<bool> {
        let mut skipped = 0;
        loop {
            match batch.fill(&self.offload, UdpSockRef::from(&self.inner)) {
                Err(why) if is_loss(&why) && skipped < MAX_SKIPPED => skipped += 1,
                result => return result,
            }
        }
    }

    /// Sends datagrams. Those to one destination leave in order.
    ///
    /// An error only loses its datagram. Examples: the send buffer is full, no route, a firewall, or an invalid address
    /// from an unknown peer. The link retransmits the datagrams that must arrive.
    pub fn send(&mut self, transmits: Vec<Transmit>) {
        let families = self.families;
        let routed = transmits.into_iter().filter_map(|(to, bytes)| Some((destination(families, to)?, bytes)));
        self.send.send(&self.inner, &self.offload, routed.collect());
    }
}

/// The address of a destination at a socket of these families. `None` if no datagram can arrive there: an IPv6 address
/// if this machine has no IPv6, or port 0, whose error would look like missing segmentation offload.
fn destination(families: Families, to: SocketAddr) -> Option<SocketAddr> {
    if to.port() == 0 {
        return None;
    }
    match (families, canonical(to)) {
        (Families::Both, SocketAddr::V4(v4)) => {
            Some(SocketAddr::V6(SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0)))
        }
        // Not converted: a link-local address needs its scope id.
        (Families::Both, SocketAddr::V6(_)) => Some(to),
        (Families::Ipv4, v4 @ SocketAddr::V4(_)) => Some(v4),
        (Families::Ipv4, SocketAddr::V6(_)) => None,
    }
}

/// The datagrams of one system call. Receive offload joins datagrams of one source and one length; this type splits
/// them again.
pub struct ReceiveBatch {
    /// [`BATCH_SIZE`] buffers. A page costs memory only once a datagram used it.
    buffers: Vec<u8>,
    metas: [RecvMeta; BATCH_SIZE],
    /// The number of buffers with datagrams.
    filled: usize,
    /// The buffer of the next datagram, and its offset.
    next: (usize, usize),
}

/// A received datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// The source, an IPv4-mapped address as IPv4.
    pub from: SocketAddr,
    /// The payload. It is truncated beyond the longest datagram of UDP.
    pub bytes: &'a [u8],
    /// When the system received it, if the system says so.
    pub arrived: Option<Timestamp>,
}

impl Default for ReceiveBatch {
    fn default() -> Self {
        let metas = [RecvMeta::default(); BATCH_SIZE];
        Self { buffers: vec![0; BATCH_SIZE * DATAGRAM_BYTES_MAX], metas, filled: 0, next: (0, 0) }
    }
}

impl ReceiveBatch {
    fn fill(&mut self, offload: &UdpSocketState, socket: UdpSockRef<'_>) -> io::Result<bool> {
        (self.filled, self.next) = (0, (0, 0));
        let mut chunks = self.buffers.chunks_exact_mut(DATAGRAM_BYTES_MAX);
        let mut buffers: [_; BATCH_SIZE] = std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        self.filled = offload.recv(socket, &mut buffers, &mut self.metas)?;
        // The system stops before the last buffer only if no datagram waits.
        Ok(self.filled == BATCH_SIZE)
    }

    /// The next datagram, without removing it.
    #[must_use]
    pub fn front(&self) -> Option<Received<'_>> {
        let (at, offset) = self.next;
        let meta = self.metas[..self.filled].get(at)?;
        let end = meta.len.min(offset + meta.stride.max(1));
        let bytes = &self.buffers[at * DATAGRAM_BYTES_MAX..][offset..end];
        let arrived = meta.timestamp.and_then(|at| i64::try_from(at.as_micros()).ok()).map(Timestamp::from_micros);
        Some(Received { from: canonical(meta.addr), bytes, arrived })
    }

    /// Removes the next datagram.
    pub fn pop(&mut self) {
        let (at, offset) = self.next;
        let Some(meta) = self.metas[..self.filled].get(at) else { return };
        let end = offset + meta.stride.max(1);
        self.next = if end < meta.len { (at, end) } else { (at + 1, 0) };
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
