//! A scene with an attacker: a server, two clients, and somebody who reads all their datagrams.
//!
//! The attacker knows all incarnations, names, numbers and public keys. It has a key pair of its own, sends from any
//! address and replays what it saw. It has no secret key of others, and cannot remove datagrams.

use std::net::SocketAddr;
use std::time::Duration;

use chat::netem::link_model::LinkModel;
use chat::proto::id::Incarnation;
use chat::proto::keys::{Identity, PublicKey, TAG};
use chat::proto::name::Name;
use chat::proto::wire::{self, Datagram, Frame, Header};
use chat::sim::simulation::{PacketTrace, SERVER, Simulation};

use crate::peer::{Peer, emit};
use crate::trace::{SECOND, at_rest, ms};

pub const X: usize = 1;
pub const Y: usize = 2;

/// An actor as the attacker knows it.
#[derive(Clone, Copy, Debug)]
pub struct Victim {
    pub index: usize,
    pub addr: SocketAddr,
    pub incarnation: Incarnation,
    pub key: PublicKey,
}

pub struct Scene {
    pub sim: Simulation,
    /// The position of [`Scene::events`] in each log.
    positions: Vec<usize>,
}

/// The key pair of the attacker.
pub fn attacker() -> Identity {
    Identity::from_secret([66; 32])
}

/// The address of the attacker's own host, with the port of the others.
pub fn elsewhere() -> SocketAddr {
    SocketAddr::from(([10, 66, 0, 1], 7000))
}

impl Scene {
    /// The clients x and y, registered. They have not written to each other.
    pub fn strangers() -> Self {
        Self::seeded(1)
    }

    /// The same with this seed, which decides keys and incarnations.
    pub fn seeded(seed: u64) -> Self {
        let mut sim = Simulation::without_server(seed, LinkModel::PERFECT);
        sim.keep_traffic();
        sim.start(SERVER);
        for name in ["x", "y"] {
            sim.client(name);
            sim.run_for(ms(100));
        }
        let mut scene = Self { sim, positions: Vec::new() };
        scene.events();
        scene
    }

    /// The clients x and y, which have a link to each other and wrote to everybody.
    pub fn friends() -> Self {
        let mut scene = Self::strangers();
        scene.assert_exchange("before");
        scene
    }

    /// Types a line and runs for 100 ms.
    pub fn type_line(&mut self, actor: usize, line: &str) {
        self.sim.type_line(actor, line);
        self.sim.run_for(ms(100));
    }

    /// The events that server, x and y displayed since the last call: the line of each, or its kind if it has none.
    pub fn events(&mut self) -> [Vec<String>; 3] {
        self.positions.resize(3, 0);
        std::array::from_fn(|actor| {
            let log = self.sim.log(actor);
            let new = &log[std::mem::replace(&mut self.positions[actor], log.len())..];
            new.iter().map(|(_, event)| event.line().unwrap_or_else(|| kind(&event.json(1, "")))).collect()
        })
    }

    /// Asserts that no actor displayed anything, and that nothing is under way.
    pub fn assert_quiet(&mut self, attack: &str) {
        self.sim.run_for(12 * SECOND);
        assert_eq!(self.events(), [const { Vec::<String>::new() }; 3], "{attack}");
        at_rest(&self.sim);
    }

    /// Asserts that x and y can write to each other directly and to everybody, and that the table is right.
    pub fn assert_exchange(&mut self, word: &str) {
        self.type_line(X, &format!("send y {word}"));
        self.type_line(Y, &format!("send x {word}"));
        self.type_line(X, &format!("send_all {word}"));
        self.type_line(Y, "table");
        let table = "name  address        state\nx     10.0.0.1:7000  online\ny     10.0.0.2:7000  online";
        let [server, x, y] = self.events();
        assert_eq!(server, ["accepted"], "{word}");
        let received = ["[Message received by y.]", "done"];
        let accepted = ["[Message received by Server.]", "done"];
        assert_eq!(x, [&received[..], &[&format!("y: {word}")], &accepted].concat(), "{word}");
        let channel = format!("[Channel_Message x: {word}]");
        let own = [&format!("x: {word}"), "[Message received by x.]", "done", &channel, table, "done"];
        assert_eq!(y, own, "{word}");
        at_rest(&self.sim);
    }

    /// What the attacker knows about an actor from its datagrams.
    pub fn victim(&self, index: usize) -> Victim {
        let own = self.sim.traffic().iter().rev().filter(|packet| packet.actor == index && !packet.came);
        let own = own.filter_map(|packet| wire::parse(&packet.bytes).ok());
        let (mut incarnation, mut key) = (None, None);
        for datagram in own {
            let challenge = datagram.only_frame();
            let challenged = if let Some(Frame::Challenge { key, .. }) = challenge { Some(key) } else { None };
            incarnation = incarnation.or(datagram.head.me);
            key = key.or(datagram.head.key).or(challenged);
        }
        let (incarnation, key) = (incarnation.expect("it sent something"), key.expect("it registered"));
        Victim { index, addr: self.sim.addr(index), incarnation, key }
    }

    /// The datagrams from one actor to another that left so far.
    pub fn seen(&self, from: Victim, to: Victim) -> impl Iterator<Item = &PacketTrace> {
        let traffic = self.sim.traffic().iter();
        traffic.filter(move |packet| packet.actor == from.index && !packet.came && packet.peer == to.addr)
    }

    fn headers(&self, from: Victim, to: Victim) -> impl Iterator<Item = Header> {
        let datagrams = self.seen(from, to).filter_map(|packet| wire::parse(&packet.bytes).ok());
        let heads = datagrams.map(|datagram: Datagram<'_>| datagram.head);
        heads.filter(move |head| head.me == Some(from.incarnation) && head.you == Some(to.incarnation))
    }

    /// The token of the last `hello` of a client.
    pub fn last_token(&self, of: Victim) -> Option<String> {
        let own = self.sim.traffic().iter().rev().filter(|packet| packet.actor == of.index && !packet.came);
        own.filter_map(|packet| wire::parse(&packet.bytes).ok()?.only_frame())
            .find_map(|frame| if let Frame::Hello { token, .. } = frame { Some(token) } else { None })
    }

    /// The number of the last datagram between two actors.
    pub fn last_pn(&self, from: Victim, to: Victim) -> u64 {
        self.headers(from, to).filter_map(|head| head.pn).max().unwrap_or(0)
    }

    /// The number of the last content between two actors.
    pub fn last_seq(&self, from: Victim, to: Victim) -> u64 {
        self.headers(from, to).filter_map(|head| head.seq).max().unwrap_or(0)
    }

    /// The header of the next datagram between two actors.
    pub fn next_head(&self, from: Victim, to: Victim) -> Header {
        let pn = Some(self.last_pn(from, to) + 1);
        Header { pn, ..Header::new(from.incarnation, Some(to.incarnation)) }
    }

    /// The header of the next content between two actors.
    pub fn next_content(&self, from: Victim, to: Victim) -> Header {
        let seq = self.last_seq(from, to) + 1;
        Header { seq: Some(seq), low: Some(seq), ..self.next_head(from, to) }
    }

    /// Passes `to` a datagram in the name of `from`, in every way in which the attacker can make it.
    pub fn forge(&mut self, from: Victim, to: Victim, head: &Header, frames: &[Frame]) {
        let peer = Peer::with_identity(from.incarnation, elsewhere(), attacker());
        let plain = emit(head, frames.to_vec());
        let own_key = peer.seal(to.key, head, frames.to_vec());
        let with_tag = |tag| {
            let mut bytes = plain.clone();
            wire::append_tag(&mut bytes, tag);
            bytes
        };
        let earlier = self.seen(from, to).filter_map(|packet| wire::parse(&packet.bytes).ok()?.tag).last();
        let all = [own_key, with_tag([0; TAG]), with_tag(earlier.unwrap_or([7; TAG])), plain.clone()];
        for source in [elsewhere(), from.addr] {
            for bytes in &all {
                self.sim.inject(source, to.index, bytes);
            }
        }
    }

    /// Passes an actor a datagram without a tag.
    pub fn inject(&mut self, from: SocketAddr, to: Victim, head: &Header, frames: Vec<Frame>) {
        self.sim.inject(from, to.index, &emit(head, frames));
    }
}

/// The value of the key `event` in the JSON of an event.
fn kind(json: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(json).expect("JSON");
    value["event"].as_str().expect("a kind").to_owned()
}

/// The attacker as a client with its own key, at its own address.
pub struct Mallory {
    pub peer: Peer,
    /// The number of datagrams in the traffic that were read.
    read: usize,
    incarnation: Incarnation,
}

impl Mallory {
    /// A client that claims to be this incarnation.
    pub fn new(incarnation: Incarnation) -> Self {
        Self { peer: Peer::with_identity(incarnation, elsewhere(), attacker()), read: 0, incarnation }
    }

    /// The server, and its challenge for this client.
    pub fn challenge(&self, scene: &mut Scene) -> (Incarnation, Frame) {
        let since = scene.sim.traffic().len();
        scene.sim.inject(self.peer.addr, SERVER, &wire::emit_hello(self.incarnation, "abc"));
        let mut answers = scene.sim.traffic()[since..].iter();
        let answer = answers.find(|packet| !packet.came && packet.peer == self.peer.addr).expect("a challenge");
        let challenge = wire::parse(&answer.bytes).expect("a datagram");
        (challenge.head.me.expect("the server"), challenge.only_frame().expect("a challenge"))
    }

    /// Asks the server for a challenge, and registers with its cookie.
    pub fn register(&mut self, scene: &mut Scene, name: &str) {
        let (server, challenge) = self.challenge(scene);
        self.peer.answer_challenge(server, scene.sim.addr(SERVER), &challenge);
        self.read = scene.sim.traffic().len();
        let name = Name::new(name).expect("a name");
        self.peer.push(server, Frame::Reg { r: 1, name, via: scene.sim.addr(SERVER).ip() });
        self.run(scene, ms(100));
    }

    /// Exchanges datagrams with the actors for this time.
    pub fn run(&mut self, scene: &mut Scene, time: Duration) {
        let until = scene.sim.now() + time;
        while scene.sim.now() < until {
            scene.sim.run_for(ms(1));
            let now = scene.sim.now();
            let new = scene.sim.traffic()[self.read..].to_vec();
            self.read += new.len();
            let own = self.peer.addr;
            for packet in new.iter().filter(|packet| !packet.came && packet.peer == own) {
                let is_link = wire::parse(&packet.bytes).is_ok_and(|datagram| datagram.head.pn.is_some());
                if is_link {
                    self.peer.receive(now, scene.sim.addr(packet.actor), &packet.bytes);
                }
            }
            for bytes in self.peer.transmit(now) {
                let you = wire::parse(&bytes).expect("a datagram").head.you;
                let to = (0..3).find(|actor| Some(scene.victim(*actor).incarnation) == you).expect("an actor");
                scene.sim.inject(self.peer.addr, to, &bytes);
            }
        }
    }
}
