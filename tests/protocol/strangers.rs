//! Tests of a client that receives datagrams of unknown peers. They cost it no more than its limits allow.

use std::net::SocketAddr;
use std::time::Duration;

use chat::proto::client::{Client, LIMIT, UNKNOWN_PEER_DATAGRAMS, UNKNOWN_PEERS};
use chat::proto::config::ClientConfig;
use chat::proto::event::Body;
use chat::proto::event::client::ClientEvent;
use chat::proto::id::{Incarnation, MessageId};
use chat::proto::keys::Identity;
use chat::proto::machine::{ClientEffect, Input, Machine, Output};
use chat::proto::name::Name;
use chat::proto::time::{Instant, Now, Timestamp};
use chat::proto::wire::{self, Frame, Header, Row};

const NOW: Now = Now { mono: Instant::from_micros(1_000_000), unix: Timestamp::from_micros(0) };
const SERVER: Incarnation = Incarnation(7);

fn server() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 7000))
}

fn client() -> Client {
    let config = ClientConfig {
        name: Name::new("x").unwrap(),
        servers: vec![server()],
        server: server().to_string(),
        addr: SocketAddr::from(([10, 0, 0, 2], 7000)),
        free_port: None,
        seed: [1; 32],
        identity: Identity::from_secret([2; 32]),
        silent_leave: false,
        trace: false,
    };
    Client::new(NOW, config)
}

/// The frames that the client sends until it has no more output, by datagram.
fn sent(client: &mut Client) -> Vec<Vec<Frame>> {
    let mut sent = Vec::new();
    while let Some(output) = client.poll(NOW) {
        if let Output::Transmit { bytes, .. } = output {
            sent.push(wire::parse(&bytes).unwrap().frames);
        }
        assert!(sent.len() < 100, "it sends without end: {:?}", sent.last());
    }
    sent
}

fn challenge(client: &mut Client, token: &str, cookie: String) {
    let lines = Frame::Challenge { token: token.to_owned(), cookie }.lines();
    let bytes = wire::emit(&Header::new(SERVER, None), lines.iter().map(String::as_str));
    client.handle(NOW, Input::Datagram { from: server(), bytes: &bytes });
}

#[test]
fn a_cookie_that_does_not_fit_into_a_registration_is_ignored() {
    let mut client = client();
    let hello = sent(&mut client);
    let [Frame::Hello { token }] = hello[0].as_slice() else { panic!("{hello:?}") };
    // This cookie fits into a challenge, but not into a request to register with all its other fields.
    challenge(&mut client, token, "c".repeat(850));
    assert_eq!(sent(&mut client), [] as [Vec<Frame>; 0]);
    challenge(&mut client, token, "c".repeat(wire::MAX_COOKIE));
    let asked = sent(&mut client);
    assert!(matches!(asked[0].as_slice(), [Frame::Reg { cookie, .. }] if cookie.len() == wire::MAX_COOKIE));
    assert_eq!(asked.len(), 1);
}

/// A client that is registered at a server with no other clients, and its incarnation.
fn online() -> (Client, Incarnation) {
    let mut client = client();
    let hello = std::iter::from_fn(|| client.poll(NOW)).find_map(transmitted);
    let hello = wire::parse(&hello.expect("hello")).unwrap();
    let [Frame::Hello { token }] = hello.frames.as_slice() else { panic!("{hello:?}") };
    challenge(&mut client, token, "c".to_owned());
    let me = hello.head.me.expect("a life");
    let name = Name::new("x").unwrap();
    receive(
        &mut client,
        NOW,
        SERVER,
        server(),
        me,
        1,
        vec![Frame::Welcome { r: 1, name, mail: 0 }, rows(1, true, vec![])],
    );
    (client, me)
}

fn transmitted(output: Output<ClientEffect>) -> Option<Vec<u8>> {
    if let Output::Transmit { bytes, .. } = output { Some(bytes) } else { None }
}

fn rows(upto: u64, whole: bool, rows: Vec<Row>) -> Frame {
    Frame::Rows { upto, whole, last: true, total: rows.len(), rows, gone: Vec::new() }
}

/// The row of an unknown peer.
fn unknown_peer(number: usize) -> Row {
    let addr = SocketAddr::from(([10, 0, 1, u8::try_from(number).unwrap()], 7000));
    let name = Name::new(&format!("s{number}")).unwrap();
    Row { name, addr, incarnation: Incarnation(1000 + number as u128), online: true }
}

fn receive(
    client: &mut Client,
    now: Now,
    me: Incarnation,
    from: SocketAddr,
    you: Incarnation,
    n: u64,
    frames: Vec<Frame>,
) {
    let lines: Vec<String> = frames.into_iter().flat_map(Frame::lines).collect();
    let head = Header { n: Some(n), low: Some(1), ..Header::new(me, Some(you)) };
    let bytes = wire::emit(&head, lines.iter().map(String::as_str));
    client.handle(now, Input::Datagram { from, bytes: &bytes });
}

/// Passes the client datagram `n` of an unknown peer, with one message.
fn send_message(client: &mut Client, me: Incarnation, number: usize, n: u64) {
    let Row { addr: from, incarnation, .. } = unknown_peer(number);
    let message = Frame::Msg { id: MessageId { incarnation, number: n }, at: 0, after: None, text: "hi".to_owned() };
    receive(client, NOW, incarnation, from, me, n, vec![message]);
}

/// Sends the client the rows of the unknown peers this time after it went online. Returns the number of messages that
/// it displays.
fn displayed_once_known(client: &mut Client, me: Incarnation, after: Duration, unknown_peers: usize) -> usize {
    let now = Now { mono: NOW.mono + after, ..NOW };
    assert!(
        !std::iter::from_fn(|| client.poll(NOW)).any(|output| is_message(&output)),
        "nobody knows yet who they are"
    );
    if client.deadline().is_some_and(|at| at <= now.mono) {
        client.handle(now, Input::Timeout);
    }
    for (at, number) in (0..unknown_peers).enumerate() {
        receive(
            client,
            now,
            SERVER,
            server(),
            me,
            2 + at as u64,
            vec![rows(2 + at as u64, false, vec![unknown_peer(number)])],
        );
    }
    std::iter::from_fn(|| client.poll(now)).filter(is_message).count()
}

fn is_message(output: &Output<ClientEffect>) -> bool {
    matches!(output, Output::Event(event) if matches!(&event.body, Body::Client(ClientEvent::Message { .. })))
}

#[test]
fn the_number_of_unknown_peers_that_wait_for_an_update_is_limited() {
    let (mut client, me) = online();
    for number in 0..=UNKNOWN_PEERS {
        send_message(&mut client, me, number, 1);
    }
    assert_eq!(displayed_once_known(&mut client, me, Duration::ZERO, UNKNOWN_PEERS + 1), UNKNOWN_PEERS);
}

#[test]
fn the_number_of_waiting_datagrams_of_one_unknown_peer_is_limited() {
    let (mut client, me) = online();
    for n in 1..=UNKNOWN_PEER_DATAGRAMS + 1 {
        send_message(&mut client, me, 0, n);
    }
    assert_eq!(displayed_once_known(&mut client, me, Duration::ZERO, 1) as u64, UNKNOWN_PEER_DATAGRAMS);
}

#[test]
fn an_unknown_peer_waits_for_at_most_500_ms() {
    for (after, shown) in [(LIMIT - Duration::from_micros(1), 1), (LIMIT, 0)] {
        let (mut client, me) = online();
        send_message(&mut client, me, 0, 1);
        assert_eq!(displayed_once_known(&mut client, me, after, 1), shown, "{after:?}");
    }
}

#[test]
fn a_datagram_in_the_name_of_the_server_from_another_address_is_ignored() {
    let (mut client, me) = online();
    while client.poll(NOW).is_some() {}
    let elsewhere = SocketAddr::from(([10, 0, 2, 1], 7000));
    let post = Frame::Post {
        id: MessageId { incarnation: Incarnation(77), number: 1 },
        kind: chat::proto::event::MessageKind::Channel,
        from: Name::new("bob").unwrap(),
        group: None,
        at: 0,
        kept: None,
        text: "spoofed".to_owned(),
    };
    receive(&mut client, NOW, SERVER, elsewhere, me, 2, vec![post.clone()]);
    let gone = wire::emit(&Header::gone(SERVER, me), []);
    client.handle(NOW, Input::Datagram { from: elsewhere, bytes: &gone });
    assert!(client.poll(NOW).is_none(), "not a word to anybody");
    // The same datagrams from the server's address count.
    receive(&mut client, NOW, SERVER, server(), me, 2, vec![post]);
    assert_eq!(std::iter::from_fn(|| client.poll(NOW)).filter(is_message).count(), 1);
    client.handle(NOW, Input::Datagram { from: server(), bytes: &gone });
    assert!(client.poll(NOW).is_some(), "it registers again");
}

#[test]
fn one_address_has_at_most_one_unknown_peer() {
    let (mut client, me) = online();
    for incarnation in 0..10 * UNKNOWN_PEERS as u128 {
        let message = Frame::Msg {
            id: MessageId { incarnation: Incarnation(1 << 32), number: 1 },
            at: 0,
            after: None,
            text: "hi".into(),
        };
        let from = SocketAddr::from(([10, 0, 2, 1], 7000));
        receive(&mut client, NOW, Incarnation((1 << 32) + incarnation), from, me, 1, vec![message]);
    }
    // One place is taken, so all other peers except one have room.
    for number in 1..=UNKNOWN_PEERS {
        send_message(&mut client, me, number, 1);
    }
    assert_eq!(displayed_once_known(&mut client, me, Duration::ZERO, UNKNOWN_PEERS + 1), UNKNOWN_PEERS - 1);
}

#[test]
fn a_datagram_in_the_name_of_a_client_from_another_port_is_ignored() {
    let row = unknown_peer(0);
    let (at, incarnation) = (row.addr, row.incarnation);
    let message = |number, text: &str| Frame::Msg {
        id: MessageId { incarnation, number },
        at: 0,
        after: None,
        text: text.into(),
    };
    let other_port = SocketAddr::new(at.ip(), at.port() + 1);
    // A datagram from another address with the same port may come from the same host.
    let other_address = SocketAddr::from(([10, 0, 3, 1], at.port()));
    for known_before in [true, false] {
        let (mut client, me) = online();
        let table = vec![rows(2, false, vec![row.clone()])];
        if known_before {
            receive(&mut client, NOW, SERVER, server(), me, 2, table.clone());
        }
        while client.poll(NOW).is_some() {}
        receive(&mut client, NOW, incarnation, other_port, me, 1, vec![message(1, "spoofed")]);
        assert!(client.poll(NOW).is_none(), "not a word to anybody");
        if !known_before {
            receive(&mut client, NOW, SERVER, server(), me, 2, table);
        }
        assert_eq!(std::iter::from_fn(|| client.poll(NOW)).filter(is_message).count(), 0);
        receive(&mut client, NOW, incarnation, other_address, me, 1, vec![message(1, "hi")]);
        assert_eq!(std::iter::from_fn(|| client.poll(NOW)).filter(is_message).count(), 1, "{known_before}");
    }
}
