//! A server machine without a simulation. A test sends it single datagrams, including ones that no client sends.

use std::net::SocketAddr;

use crate::peer::{Peer, emit};
use chat::proto::config::{ServerConfig, ServerLimits};
use chat::proto::event::server::ServerEvent;
use chat::proto::event::{Body, Event};
use chat::proto::id::Incarnation;
use chat::proto::keys::Identity;
use chat::proto::machine::{Input, Machine, Output, ServerEffect};
use chat::proto::name::Name;
use chat::proto::record::PersistedState;
use chat::proto::server::Server;
use chat::proto::time::{Instant, Now, Timestamp};
use chat::proto::wire::{self, Frame, Header};

/// The time of all inputs.
pub const NOW: Now = Now { mono: Instant::from_micros(1_000_000), unix: Timestamp::from_micros(1_767_225_600_000_000) };

/// A server with this persisted state.
pub fn server(kept: PersistedState) -> Server {
    let (seed, identity, file, limits) = ([1; 32], identity(), String::new(), ServerLimits::default());
    Server::new(NOW, ServerConfig { port: 7000, seed, identity, kept, limits, file, trace: false })
}

/// The key pair of the server.
pub fn identity() -> Identity {
    Identity::from_secret([2; 32])
}

/// An address with this port.
pub fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], port))
}

/// Passes the server a datagram of nobody: without a link and without a tag.
pub fn send_datagram(server: &mut Server, from: SocketAddr, head: &Header, frames: Vec<Frame>) {
    server.handle(NOW, Input::Datagram { from, bytes: &emit(head, frames) });
}

/// Makes a client prove its address and send these frames in its first datagram. Returns it and the server's
/// incarnation.
pub fn connect(
    server: &mut Server,
    incarnation: Incarnation,
    from: SocketAddr,
    frames: Vec<Frame>,
) -> (Peer, Incarnation) {
    let mut client = Peer::new(incarnation, from);
    server.handle(NOW, Input::Datagram { from, bytes: &wire::emit_hello(incarnation, "") });
    // The challenge comes first. Later outputs are not polled, which keeps this fast.
    let challenge = std::iter::from_fn(|| server.poll(NOW)).find_map(|output| match output {
        Output::Transmit { to, bytes } if to == from => Some(bytes),
        _ => None,
    });
    let challenge = challenge.expect("a challenge");
    let challenge = wire::parse(&challenge).unwrap();
    let me = challenge.head.me.expect("an incarnation");
    client.answer_challenge(me, at(7000), &challenge.only_frame().expect("a challenge"));
    for frame in frames {
        client.push(me, frame);
    }
    client.deliver(NOW, server);
    (client, me)
}

/// A request to register.
pub fn reg(name: &str) -> Frame {
    Frame::Reg { r: 1, name: self::name(name), via: [127, 0, 0, 1].into() }
}

pub fn name(word: &str) -> Name {
    word.parse().unwrap()
}

/// The event in this output, if there is one.
pub fn event(output: Output<ServerEffect>) -> Option<ServerEvent> {
    match output {
        Output::Event(Event { body: Body::Server(event), .. }) => Some(event),
        _ => None,
    }
}

/// The events of the server until it has no more output.
pub fn events(server: &mut Server) -> Vec<ServerEvent> {
    std::iter::from_fn(|| server.poll(NOW)).filter_map(event).collect()
}
