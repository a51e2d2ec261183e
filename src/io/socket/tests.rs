//! Tests of the socket over the loopback interface.

use std::time::Duration;

use mio::{Events, Poll};

use super::*;

const TOKEN: Token = Token(7);
/// Far more than the loopback interface needs; only a failing test waits this long.
const TIMEOUT: Option<Duration> = Some(Duration::from_secs(20));

/// Receives datagrams until there are `count`. Fails the test if they do not arrive in time.
fn receive_all(socket: &mut Socket, count: usize) -> Vec<(Vec<u8>, SocketAddr)> {
    let mut poll = Poll::new().unwrap();
    poll.registry().register(socket, TOKEN, Interest::READABLE).unwrap();
    let (mut batch, mut all) = (ReceiveBatch::default(), Vec::new());
    loop {
        loop {
            match socket.receive(&mut batch) {
                Ok(_) => {}
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => break,
                Err(why) => panic!("{why}"),
            }
            while let Some(Received { from, bytes, arrived }) = batch.front() {
                assert!(arrived.is_some(), "the system says when it arrived");
                all.push((bytes.to_vec(), from));
                batch.pop();
            }
        }
        if all.len() >= count {
            break;
        }
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, TIMEOUT).unwrap();
        assert!(!events.is_empty(), "nothing came");
    }
    poll.registry().deregister(socket).unwrap();
    all
}

fn receive(socket: &mut Socket) -> (Vec<u8>, SocketAddr) {
    let mut all = receive_all(socket, 1);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn send(socket: &mut Socket, bytes: &[u8], to: SocketAddr) {
    socket.send(vec![(to, bytes.to_vec())]);
}

fn local(ip: impl Into<IpAddr>, socket: &Socket) -> SocketAddr {
    SocketAddr::new(ip.into(), socket.local_port())
}

#[test]
fn ipv4_works_in_both_directions_and_sources_are_ipv4() {
    let (mut a, mut b) = (Socket::bind(0).unwrap(), Socket::bind(0).unwrap());
    send(&mut a, b"hi", local(Ipv4Addr::LOCALHOST, &b));
    let (bytes, from) = receive(&mut b);
    assert_eq!((bytes.as_slice(), from), (b"hi".as_slice(), local(Ipv4Addr::LOCALHOST, &a)));
    send(&mut b, b"", from);
    assert_eq!(receive(&mut a), (Vec::new(), local(Ipv4Addr::LOCALHOST, &b)));
}

#[test]
fn a_mapped_destination_is_equivalent_to_ipv4() {
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
    for families in [Families::Both, Families::Ipv4] {
        let Ok(mut a) = Socket::bind_to(families, 0) else { continue };
        let mut b = Socket::bind(0).unwrap();
        send(&mut a, b"hi", local(mapped, &b));
        assert_eq!(receive(&mut b).1, local(Ipv4Addr::LOCALHOST, &a));
    }
}

#[test]
fn ipv6_works_if_the_machine_has_it() {
    let has_ipv6 = std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    let (mut a, mut b) = (Socket::bind(0).unwrap(), Socket::bind(0).unwrap());
    if !has_ipv6 {
        assert_eq!(destination(a.families(), local(Ipv6Addr::LOCALHOST, &b)), None);
        return;
    }
    assert_eq!((a.families(), b.families()), (Families::Both, Families::Both));
    send(&mut a, b"hi", local(Ipv6Addr::LOCALHOST, &b));
    assert_eq!(receive(&mut b), (b"hi".to_vec(), local(Ipv6Addr::LOCALHOST, &a)));
}

#[test]
fn an_ipv4_socket_loses_what_goes_to_ipv6_and_sends_the_rest() {
    let (mut a, mut b) = (Socket::bind_to(Families::Ipv4, 0).unwrap(), Socket::bind(0).unwrap());
    assert_eq!(a.families(), Families::Ipv4);
    let hi = |to| (to, b"hi".to_vec());
    a.send(vec![hi("[2001:db8::1]:9".parse().unwrap()), hi(local(Ipv4Addr::LOCALHOST, &b))]);
    let (_, from) = receive(&mut b);
    send(&mut b, b"ho", from);
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
    let (mut a, mut b) = (Socket::bind(0).unwrap(), Socket::bind(0).unwrap());
    // Port 1 (tcpmux) is assigned, so it is not ephemeral, and the service is no longer in use.
    let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    // A datagram that is too long, and one that comes after it in the same call.
    let invalid = [(closed, vec![0; 66_000]), (local(Ipv4Addr::LOCALHOST, &b), b"after it".to_vec())];
    let closed = [closed, closed, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    a.send(closed.into_iter().map(|to| (to, b"hi".to_vec())).chain(invalid).collect());
    assert_eq!(receive(&mut b).0, b"after it");
    assert_eq!(a.receive(&mut ReceiveBatch::default()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    send(&mut b, b"still here", local(Ipv4Addr::LOCALHOST, &a));
    assert_eq!(receive(&mut a).0, b"still here");
}

/// Datagrams to the ports of `sockets`, with their number in the first two bytes: runs of equal lengths, shorter and
/// longer ones, and more than one call takes.
fn mixed(sockets: &[Socket]) -> Vec<Transmit> {
    let lengths = [2, 700, 700, 700, 300, 1_200, 1_200];
    let to = |n: usize| local(Ipv4Addr::LOCALHOST, &sockets[n % sockets.len()]);
    let bytes = |n: usize| {
        let mut bytes = vec![b'x'; lengths[n / sockets.len() % lengths.len()]];
        bytes[..2].copy_from_slice(&u16::try_from(n).unwrap().to_be_bytes());
        bytes
    };
    (0..400).map(|n| (to(n), bytes(n))).collect()
}

#[test]
fn many_datagrams_arrive_whole_and_in_order_with_and_without_offload() {
    for count in [1, 3, 100] {
        let mut readers: Vec<_> = (0..count).map(|_| Socket::bind(0).unwrap()).collect();
        for mut from in [Socket::bind(0).unwrap(), Socket::bind_to(Families::Ipv4, 0).unwrap()] {
            let source = local(Ipv4Addr::LOCALHOST, &from);
            let all = mixed(&readers);
            from.send(all.clone());
            for reader in &mut readers {
                let to = local(Ipv4Addr::LOCALHOST, reader);
                let own = all.iter().filter(|(other, _)| *other == to);
                let expected: Vec<_> = own.map(|(_, bytes)| (bytes.clone(), source)).collect();
                assert_eq!(receive_all(reader, expected.len()), expected);
            }
        }
    }
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
