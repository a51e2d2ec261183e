//! A server machine without a simulation. A test sends it single datagrams, including ones that no client sends.

use std::net::SocketAddr;

use chat::proto::config::ServerConfig;
use chat::proto::event::server::ServerEvent;
use chat::proto::event::{Body, Event};
use chat::proto::id::Incarnation;
use chat::proto::keys::Identity;
use chat::proto::machine::{Input, Machine, Output, ServerEffect};
use chat::proto::name::Name;
use chat::proto::record::PersistedState;
use chat::proto::server::{MAILBOX, Server};
use chat::proto::time::{Instant, Now, Timestamp};
use chat::proto::wire::{self, Datagram, Frame, Header};

/// The time of all inputs.
pub const NOW: Now = Now { mono: Instant::from_micros(1_000_000), unix: Timestamp::from_micros(1_767_225_600_000_000) };

/// A server with this persisted state.
pub fn server(kept: PersistedState) -> Server {
    let (seed, identity, file) = ([1; 32], Identity::from_secret([2; 32]), String::new());
    Server::new(NOW, ServerConfig { port: 7000, seed, identity, kept, mailbox: MAILBOX, file, trace: false })
}

/// An address with this port.
pub fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 2], port))
}

/// Passes the server a datagram with this header.
pub fn send_datagram(server: &mut Server, from: SocketAddr, head: &Header, frames: Vec<Frame>) {
    let lines: Vec<String> = frames.into_iter().flat_map(Frame::lines).collect();
    let bytes = wire::emit(head, lines.iter().map(String::as_str));
    server.handle(NOW, Input::Datagram { from, bytes: &bytes });
}

/// Makes an incarnation prove its address and send the frames of its first datagram, which `frames` makes from the
/// cookie. Returns the server's incarnation.
pub fn connect(
    server: &mut Server,
    incarnation: Incarnation,
    from: SocketAddr,
    frames: impl FnOnce(String) -> Vec<Frame>,
) -> Incarnation {
    send_datagram(server, from, &Header::new(incarnation, None), vec![Frame::Hello { token: String::new() }]);
    // The challenge comes first. Later outputs are not polled, which keeps this fast.
    let challenge = std::iter::from_fn(|| server.poll(NOW)).find_map(|output| match output {
        Output::Transmit { to, bytes } if to == from => Some(wire::parse(&bytes).unwrap()),
        _ => None,
    });
    let Datagram { head, frames: challenge } = challenge.expect("a challenge");
    let [Frame::Challenge { cookie, .. }] = challenge.as_slice() else { panic!("{challenge:?}") };
    let me = head.me.expect("a life");
    let head = Header { n: Some(1), low: Some(1), ..Header::new(incarnation, Some(me)) };
    send_datagram(server, from, &head, frames(cookie.clone()));
    me
}

/// A request to register.
pub fn reg(name: &str, cookie: String) -> Frame {
    Frame::Reg { r: 1, name: self::name(name), cookie, via: [127, 0, 0, 1].into() }
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
