//! Tests of a client that receives datagrams of strangers. They change nothing, and cost the client no more than its
//! limits allow.

use std::net::SocketAddr;
use std::time::Duration;

use crate::peer::{Peer, emit};
use chat::proto::client::{Client, LIMIT, UNKNOWN_DATAGRAMS, UNKNOWN_DATAGRAMS_AN_ADDRESS};
use chat::proto::config::ClientConfig;
use chat::proto::event::client::ClientEvent;
use chat::proto::event::{Body, MessageKind};
use chat::proto::id::{Incarnation, MessageId};
use chat::proto::keys::Identity;
use chat::proto::machine::{Input, Machine, Output};
use chat::proto::name::Name;
use chat::proto::time::{Instant, Now, Timestamp};
use chat::proto::wire::{self, Frame, Header, Row};

const NOW: Now = Now { mono: Instant::from_micros(1_000_000), unix: Timestamp::from_micros(0) };
const SERVER: Incarnation = Incarnation(7);

fn addr(host: u16, port: u16) -> SocketAddr {
    let [high, low] = host.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], port))
}

fn server() -> Peer {
    Peer::new(SERVER, addr(1, 7000))
}

fn identity() -> Identity {
    Identity::from_secret([2; 32])
}

fn client() -> Client {
    let server = server().addr;
    let config = ClientConfig {
        name: Name::new("x").unwrap(),
        servers: vec![server],
        server: server.to_string(),
        addr: addr(2, 7000),
        free_port: None,
        seed: [1; 32],
        identity: identity(),
        silent_leave: false,
        trace: false,
    };
    Client::new(NOW, config)
}

/// The datagrams that the client sends until it has no more output.
fn sent(client: &mut Client) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    while let Some(output) = client.poll(NOW) {
        if let Output::Transmit { bytes, .. } = output {
            sent.push(bytes);
        }
        assert!(sent.len() < 100, "it sends without end");
    }
    sent
}

fn receive(client: &mut Client, from: SocketAddr, bytes: &[u8]) {
    client.handle(NOW, Input::Datagram { from, bytes });
}

/// Passes the client a challenge. Returns the datagrams that it sends in answer.
fn challenge(client: &mut Client, token: &str, cookie: String) -> Vec<Vec<u8>> {
    let challenge = Frame::Challenge { token: token.to_owned(), cookie, key: server().key() };
    receive(client, server().addr, &emit(&Header::new(SERVER, None), vec![challenge]));
    sent(client)
}

/// The incarnation and the token of the client's `hello`.
fn hello(client: &mut Client) -> (Incarnation, String) {
    let sent = sent(client);
    let hello = wire::parse(&sent[0]).unwrap();
    let Some(Frame::Hello { token, .. }) = hello.only_frame() else { panic!("{hello:?}") };
    (hello.head.me.expect("an incarnation"), token)
}

#[test]
fn a_cookie_that_cannot_be_repeated_is_ignored() {
    let mut client = client();
    let (_, token) = hello(&mut client);
    for cookie in ["c".repeat(wire::MAX_COOKIE + 1), "\u{1}".to_owned(), "c c".to_owned()] {
        assert_eq!(challenge(&mut client, &token, cookie), [] as [Vec<u8>; 0]);
    }
    let cookie = "c".repeat(wire::MAX_COOKIE);
    let asked = challenge(&mut client, &token, cookie.clone());
    assert_eq!(asked.len(), 1);
    let asked = wire::parse(&asked[0]).unwrap();
    assert!(matches!(asked.only_frame(), Some(Frame::Reg { .. })));
    assert_eq!((asked.head.cookie, asked.head.key), (Some(cookie), Some(identity().public())));
}

/// A client, its incarnation, and the server at which it is registered.
struct Online {
    client: Client,
    me: Incarnation,
    server: Peer,
    version: u64,
}

/// A client that is registered at a server with no other clients.
fn online() -> Online {
    let (mut client, mut server) = (client(), server());
    let (me, token) = hello(&mut client);
    let asked = challenge(&mut client, &token, "c".to_owned());
    server.open(me, addr(2, 7000), identity().public());
    for bytes in asked {
        server.receive(NOW.mono, addr(2, 7000), &bytes);
    }
    server.push(me, Frame::Welcome { r: 1, name: Name::new("x").unwrap(), mail: 0 });
    let mut online = Online { client, me, server, version: 0 };
    online.server.push(me, rows(1, true, vec![]));
    online.version = 1;
    online.exchange(NOW);
    online
}

fn rows(upto: u64, whole: bool, rows: Vec<Row>) -> Frame {
    Frame::Rows { upto, whole, last: true, total: rows.len(), online: None, rows, gone: Vec::new() }
}

/// A client that this one does not know, with a link to it. Its address depends on its number.
fn unknown_peer(online: &Online, number: u16) -> Peer {
    peer_at(online, number, addr(256 + number, 7000))
}

fn peer_at(online: &Online, number: u16, from: SocketAddr) -> Peer {
    let mut peer = Peer::new(Incarnation(1000 + u128::from(number)), from);
    peer.open(online.me, addr(2, 7000), identity().public());
    peer
}

/// The only datagram of a new message of a peer.
fn message(online: &Online, peer: &mut Peer, number: u64, text: &str) -> Vec<u8> {
    let id = MessageId { incarnation: peer.incarnation, number };
    peer.push(online.me, Frame::Msg { id, at: 0, after: None, text: text.to_owned() });
    let [bytes] = &peer.transmit(NOW.mono)[..] else { panic!("one datagram") };
    bytes.clone()
}

impl Online {
    fn receive(&mut self, from: SocketAddr, bytes: &[u8]) {
        receive(&mut self.client, from, bytes);
    }

    /// Passes the client a new message of a peer.
    fn send_message(&mut self, peer: &mut Peer, number: u64) {
        let bytes = message(self, peer, number, "hi");
        self.receive(peer.addr, &bytes);
    }

    /// Exchanges the datagrams of client and server until both have no more to say. Returns the number of messages that
    /// the client displays.
    fn exchange(&mut self, now: Now) -> usize {
        let mut messages = 0;
        let mut is_quiet = false;
        while !is_quiet {
            is_quiet = true;
            for bytes in self.server.transmit(now.mono) {
                is_quiet = false;
                self.client.handle(now, Input::Datagram { from: self.server.addr, bytes: &bytes });
            }
            while let Some(output) = self.client.poll(now) {
                match output {
                    Output::Transmit { to, bytes } if to == self.server.addr => {
                        is_quiet = false;
                        self.server.receive(now.mono, addr(2, 7000), &bytes);
                    }
                    output => messages += usize::from(is_message(&output)),
                }
            }
        }
        messages
    }

    /// Sends the client the rows of these peers. Returns the number of messages that it displays.
    fn introduce(&mut self, now: Now, peers: &[Peer]) -> usize {
        for peer in peers {
            self.version += 1;
            let row = peer.row(&format!("s{}", peer.incarnation.0));
            self.server.push(self.me, rows(self.version, false, vec![row]));
        }
        self.exchange(now)
    }

    /// Sends the client the rows of the unknown peers this time after it went online. Returns the number of messages
    /// that it displays.
    fn displayed_once_known(&mut self, after: Duration, peers: &[Peer]) -> usize {
        let now = Now { mono: NOW.mono + after, ..NOW };
        assert_eq!(self.exchange(NOW), 0, "nobody knows yet who they are");
        if self.client.deadline().is_some_and(|at| at <= now.mono) {
            self.client.handle(now, Input::Timeout);
        }
        self.introduce(now, peers)
    }

    fn is_silent(&mut self) -> bool {
        self.client.poll(NOW).is_none()
    }
}

fn is_message<E>(output: &Output<E>) -> bool {
    matches!(output, Output::Event(event) if matches!(&event.body, Body::Client(ClientEvent::Message { .. })))
}

#[test]
fn the_number_of_datagrams_that_wait_for_an_update_is_limited() {
    let mut online = online();
    let peers = u16::try_from(UNKNOWN_DATAGRAMS / UNKNOWN_DATAGRAMS_AN_ADDRESS).unwrap() + 1;
    let mut peers: Vec<Peer> = (0..peers).map(|number| unknown_peer(&online, number)).collect();
    for peer in &mut peers {
        for number in 1..=UNKNOWN_DATAGRAMS_AN_ADDRESS as u64 {
            online.send_message(peer, number);
        }
    }
    assert_eq!(online.displayed_once_known(Duration::ZERO, &peers), UNKNOWN_DATAGRAMS);
}

#[test]
fn the_number_of_waiting_datagrams_of_one_unknown_peer_is_limited() {
    let mut online = online();
    let mut peer = unknown_peer(&online, 0);
    for number in 1..=UNKNOWN_DATAGRAMS_AN_ADDRESS as u64 + 1 {
        online.send_message(&mut peer, number);
    }
    assert_eq!(online.displayed_once_known(Duration::ZERO, &[peer]), UNKNOWN_DATAGRAMS_AN_ADDRESS);
}

#[test]
fn an_unknown_peer_waits_for_at_most_500_ms() {
    for (after, shown) in [(LIMIT - Duration::from_micros(1), 1), (LIMIT, 0)] {
        let mut online = online();
        let mut peer = unknown_peer(&online, 0);
        online.send_message(&mut peer, 1);
        assert_eq!(online.displayed_once_known(after, &[peer]), shown, "{after:?}");
    }
}

#[test]
fn a_datagram_in_the_name_of_the_server_is_ignored() {
    let mut online = online();
    let elsewhere = addr(513, 7000);
    let post = Frame::Post {
        id: MessageId { incarnation: Incarnation(77), number: 1 },
        kind: MessageKind::Channel,
        from: Name::new("bob").unwrap(),
        group: None,
        at: 0,
        kept: None,
        text: "hi".to_owned(),
    };
    // A datagram of the server's link without its tag.
    let head = Header { pn: Some(3), seq: Some(3), low: Some(1), ..Header::new(SERVER, Some(online.me)) };
    online.receive(server().addr, &emit(&head, vec![post.clone()]));
    assert!(online.is_silent(), "not a word to anybody");
    online.server.push(online.me, post);
    let [post] = &online.server.transmit(NOW.mono)[..] else { panic!("one datagram") };
    online.receive(elsewhere, post);
    let gone = emit(&Header::gone(SERVER, online.me), vec![]);
    online.receive(elsewhere, &gone);
    assert!(online.is_silent(), "not a word to anybody");
    // The same datagrams from the server's address count.
    online.receive(server().addr, post);
    assert_eq!(std::iter::from_fn(|| online.client.poll(NOW)).filter(is_message).count(), 1);
    online.receive(server().addr, &gone);
    assert_eq!(hello(&mut online.client).0, online.me, "it looks for a restarted server");
}

#[test]
fn the_datagrams_of_many_unknown_peers_from_one_address_count_together() {
    let mut online = online();
    let crowd: Vec<Vec<u8>> = (0..10 * UNKNOWN_DATAGRAMS)
        .map(|number| {
            let head = Header { seq: Some(1), ..Header::new(Incarnation((1 << 32) + number as u128), Some(online.me)) };
            emit(&head, vec![])
        })
        .collect();
    for bytes in crowd {
        online.receive(addr(513, 7000), &bytes);
    }
    let peers = u16::try_from(UNKNOWN_DATAGRAMS).unwrap();
    let mut peers: Vec<Peer> = (0..peers).map(|number| unknown_peer(&online, number)).collect();
    for peer in &mut peers {
        online.send_message(peer, 1);
    }
    assert_eq!(online.displayed_once_known(Duration::ZERO, &peers), UNKNOWN_DATAGRAMS - UNKNOWN_DATAGRAMS_AN_ADDRESS);
}

#[test]
fn a_datagram_in_the_name_of_a_client_is_ignored() {
    // A datagram from another address with the same port may come from the same host.
    let (row_addr, other_port, other_address) = (addr(256, 7000), addr(256, 7001), addr(768, 7000));
    for known_before in [true, false] {
        let mut online = online();
        let mut peer = peer_at(&online, 0, row_addr);
        let stranger = Identity::from_secret([9; 32]);
        let mut forger = Peer::with_identity(peer.incarnation, row_addr, stranger);
        forger.open(online.me, addr(2, 7000), identity().public());
        if known_before {
            online.introduce(NOW, std::slice::from_ref(&peer));
        }
        let (forged, authentic) = (message(&online, &mut forger, 1, "forged"), message(&online, &mut peer, 1, "hi"));
        online.receive(row_addr, &forged);
        online.receive(other_port, &authentic);
        assert!(online.is_silent(), "not a word to anybody");
        if !known_before {
            assert_eq!(online.introduce(NOW, std::slice::from_ref(&peer)), 0);
        }
        online.receive(other_address, &authentic);
        assert_eq!(std::iter::from_fn(|| online.client.poll(NOW)).filter(is_message).count(), 1, "{known_before}");
    }
}
