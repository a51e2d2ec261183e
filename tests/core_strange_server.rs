//! A client whose server says strange things: it never sends without end, and finds an honest one.

use std::net::SocketAddr;

use chat::core::client::Client;
use chat::core::config::ClientConfig;
use chat::core::id::Life;
use chat::core::machine::{Input, Machine, Output};
use chat::core::name::Name;
use chat::core::time::{Instant, Now, Unix};
use chat::core::wire::{self, Frame, Head};

const NOW: Now = Now { mono: Instant::from_micros(1_000_000), unix: Unix::from_micros(0) };
const SERVER: Life = Life(7);

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
        silent_leave: false,
        trace: false,
    };
    Client::new(NOW, config)
}

/// The frames that it sends until it has nothing more to send, datagram by datagram.
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
    let bytes = wire::emit(&Head::new(SERVER, None), lines.iter().map(String::as_str));
    client.handle(NOW, Input::Datagram { from: server(), bytes: &bytes });
}

#[test]
fn a_cookie_that_is_too_long_to_be_repeated_is_ignored() {
    let mut client = client();
    let hello = sent(&mut client);
    let [Frame::Hello { token }] = hello[0].as_slice() else { panic!("{hello:?}") };
    // It would fit into the challenge, but not together with all that stands in a request to register.
    challenge(&mut client, token, "c".repeat(850));
    assert_eq!(sent(&mut client), [] as [Vec<Frame>; 0]);
    challenge(&mut client, token, "c".repeat(wire::MAX_COOKIE));
    let asked = sent(&mut client);
    assert!(matches!(asked[0].as_slice(), [Frame::Reg { cookie, .. }] if cookie.len() == wire::MAX_COOKIE));
    assert_eq!(asked.len(), 1);
}
