//! Tests of what one datagram of a stranger causes. An address that proved nothing receives at most as many bytes as
//! were sent in its name, and no two programs answer each other without end.

use std::net::SocketAddr;

use chat::proto::event::MessageKind;
use chat::proto::id::{Incarnation, MessageId};
use chat::proto::keys::PublicKey;
use chat::proto::name::Name;
use chat::proto::wire::{self, Answer, Frame, Header, MAX_DATAGRAM, MAX_NUMBER, RequestOutcome};
use chat::sim::simulation::SERVER;

use crate::attacker::{Mallory, Scene, Victim, X, Y, attacker, elsewhere};
use crate::peer::{Peer, emit};
use crate::trace::{SECOND, ms};

/// The most datagrams between two programs that one datagram of a stranger causes, beside a keep-alive and its
/// acknowledgement. The most has a client that looks for a restarted server: `hello`, its challenge, a keep-alive and
/// its acknowledgement.
const CAUSED: usize = 6;

fn name(word: &str) -> Name {
    Name::new(word).unwrap()
}

/// A frame of each kind.
fn frames() -> Vec<Frame> {
    let (r, id, at, text) = (1, MessageId { incarnation: Incarnation(66), number: 1 }, 0, || "hi".to_owned());
    let token = || "abc".to_owned();
    let row = Peer::new(Incarnation(66), elsewhere()).row("m");
    vec![
        Frame::Hello { token: token(), pad: String::new() },
        Frame::Challenge { token: token(), cookie: "c".to_owned(), key: attacker().public() },
        Frame::Reg { r, name: name("m"), via: elsewhere().ip() },
        Frame::Welcome { r, name: name("x"), mail: 1 },
        Frame::Refused { r, reason: "name-in-use".to_owned() },
        Frame::Dereg { r },
        Frame::Bye,
        Frame::Alive { table: 99 },
        Frame::Rows { upto: 9, whole: true, last: true, total: 1, online: None, rows: vec![row], gone: vec![] },
        Frame::Msg { id, at, after: None, text: text() },
        Frame::Part { text: text() },
        Frame::Save { r, id, to: name("y"), at, again: true, text: text() },
        Frame::All { r, id, at, text: text() },
        Frame::Say { r, id, group: name("g"), at, text: text() },
        Frame::Lookup { r, name: name("x") },
        Frame::Create { r, group: name("g") },
        Frame::Groups { r },
        Frame::Join { r, group: name("g") },
        Frame::Members { r, group: name("g") },
        Frame::Leave { r, group: name("g") },
        Frame::Answer(Answer::new(r, RequestOutcome::Ok)),
        Frame::Post { id, kind: MessageKind::Channel, from: name("y"), group: None, at, kept: None, text: text() },
        Frame::Receipt { id, reader: name("y"), kept: 0 },
        Frame::Unknown,
    ]
}

/// The headers of a link, and headers that look like them.
fn heads(me: Incarnation, to: Incarnation) -> Vec<Header> {
    let bare = Header::new(me, Some(to));
    let pn = Header { pn: Some(1), ..bare.clone() };
    let opening = Header { key: Some(attacker().public()), cookie: Some("c".repeat(16)), ..pn.clone() };
    vec![
        Header { seq: Some(1), low: Some(1), ..pn.clone() },
        Header { ask: Some(1), ..pn.clone() },
        Header { ask: Some(0), ..bare.clone() },
        Header { seq: Some(1), ..bare.clone() },
        Header { answer: Some(1), ..pn.clone() },
        Header { ack: vec![1, 1], done: 1, wait: true, ..pn.clone() },
        Header { seq: Some(MAX_NUMBER), low: Some(MAX_NUMBER), pn: Some(MAX_NUMBER), ..bare.clone() },
        Header { key: Some(PublicKey::NONE), ..opening.clone() },
        Header { seq: Some(1), ..opening },
        Header::new(me, None),
        pn,
        bare,
    ]
}

/// One datagram of every kind that a stranger can send to an actor. `senders` are the incarnations that it claims.
fn datagrams(to: Victim, senders: &[Incarnation]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for me in senders {
        for you in [to.incarnation, Incarnation(77)] {
            for head in heads(*me, you) {
                let bodies = frames().into_iter().map(|frame| vec![frame]).chain([vec![]]);
                for plain in bodies.map(|frames| emit(&head, frames)) {
                    let mut tagged = plain.clone();
                    wire::append_tag(&mut tagged, [7; 16]);
                    all.extend([plain, tagged]);
                }
            }
            all.push(emit(&Header::gone(*me, you), vec![]));
            all.push(emit(&Header::gone(you, *me), vec![]));
        }
        all.push(wire::emit_hello(*me, "abc"));
        all.push(wire::emit_hello(*me, &"x".repeat(wire::MAX_TOKEN)));
    }
    all.push(emit(&Header { chat: wire::VERSION, no: Some("version".to_owned()), ..Header::default() }, vec![]));
    let other_versions = ["{\"chat\":1}\n", "{\"chat\":3}", "{\"chat\":3}\n", "{\"chat\":1,\"no\":\"version\"}\n"];
    all.extend(other_versions.map(|text| text.as_bytes().to_vec()));
    all.push(format!("{{\"chat\":1,\"me\":\"{}\",\"n\":1,\"ask\":1}}\n", "0".repeat(32)).into_bytes());
    for garbage in ["", "\n", "hello", "{}\n", "[]\n", "{\"chat\":2}\n", "{\"chat\":2,\"me\":1}\n", "\u{0}\u{1}\n"] {
        all.push(garbage.as_bytes().to_vec());
    }
    all.push(vec![b'x'; MAX_DATAGRAM + 1]);
    all
}

/// The incarnations that a stranger can claim.
fn senders(scene: &Scene) -> Vec<Incarnation> {
    let known = [SERVER, X, Y].map(|index| scene.victim(index).incarnation);
    [known[0], known[1], known[2], Incarnation(66)].to_vec()
}

#[test]
fn an_unproven_address_receives_no_more_bytes_than_were_sent_from_it() {
    for index in [SERVER, X] {
        let mut scene = Scene::friends();
        let to = scene.victim(index);
        let since = scene.sim.traffic().len();
        let all = datagrams(to, &senders(&scene));
        let address = |number: usize| SocketAddr::from(([10, 66, (number >> 8) as u8, number as u8], 7000));
        let mut is_answered = false;
        for (number, bytes) in all.iter().enumerate() {
            scene.sim.inject(address(number), index, bytes);
            scene.sim.run_for(ms(1));
        }
        scene.sim.run_for(10 * SECOND);
        for (number, bytes) in all.iter().enumerate() {
            let to = address(number);
            let answers = scene.sim.traffic()[since..].iter().filter(|packet| !packet.came && packet.peer == to);
            let answered: usize = answers.map(|packet| packet.bytes.len()).sum();
            assert!(answered <= bytes.len(), "{answered} bytes for {}", String::from_utf8_lossy(bytes));
            is_answered |= answered > 0;
        }
        assert!(is_answered, "`gone`, and `challenge` from a server");
        assert_eq!(scene.events(), [const { Vec::<String>::new() }; 3]);
    }
}

#[test]
fn a_refusal_is_not_answered() {
    let mut scene = Scene::friends();
    let since = scene.sim.traffic().len();
    for index in [SERVER, X] {
        for version in 1..=3 {
            let refusal = format!("{{\"chat\":{version},\"no\":\"version\"}}\n");
            scene.sim.inject(elsewhere(), index, refusal.as_bytes());
        }
    }
    scene.sim.run_for(SECOND);
    assert!(scene.sim.traffic()[since..].iter().all(|packet| packet.came), "two programs could refuse for ever");
}

/// The number of datagrams between the addresses of two actors since a position in the traffic.
fn between(scene: &Scene, since: usize, one: Victim, other: Victim) -> usize {
    let routes = [(one.index, other.addr), (other.index, one.addr)];
    let sent = scene.sim.traffic()[since..].iter().filter(|packet| !packet.came);
    sent.filter(|packet| routes.contains(&(packet.actor, packet.peer))).count()
}

#[test]
fn no_datagram_makes_two_programs_answer_each_other_without_end() {
    for (from, to) in [(X, X), (SERVER, SERVER), (X, Y), (SERVER, X), (X, SERVER)] {
        let mut scene = Scene::friends();
        let (from, to) = (scene.victim(from), scene.victim(to));
        for bytes in datagrams(to, &senders(&scene)) {
            scene.sim.run_for(SECOND);
            let since = scene.sim.traffic().len();
            scene.sim.inject(from.addr, to.index, &bytes);
            scene.sim.run_for(ms(400));
            let caused = between(&scene, since, from, to);
            assert!(caused <= CAUSED, "{caused} between {from:?} and {to:?} after {}", String::from_utf8_lossy(&bytes));
        }
        assert_eq!(scene.events(), [const { Vec::<String>::new() }; 3]);
    }
}

/// Passes one actor a datagram, and from then on each of the two everything that the other sends to the address from
/// which it came, for 10 s. Returns the number of datagrams that were passed on.
fn bounce(scenes: [&mut Scene; 2], index: usize, bytes: &[u8]) -> usize {
    let mut read = [0, 1].map(|at: usize| scenes[at].sim.traffic().len());
    let mut passed = 0;
    scenes[0].sim.inject(elsewhere(), index, bytes);
    for _ in 0..200 {
        for at in [0, 1] {
            let new = scenes[at].sim.traffic()[read[at]..].to_vec();
            read[at] += new.len();
            for packet in new.iter().filter(|packet| !packet.came && packet.peer == elsewhere()) {
                passed += 1;
                scenes[1 - at].sim.inject(elsewhere(), index, &packet.bytes);
            }
            scenes[at].sim.run_for(ms(50));
        }
        if passed > 100 {
            break;
        }
    }
    passed
}

#[test]
fn two_servers_and_two_clients_of_different_servers_do_not_answer_each_other_without_end() {
    for index in [SERVER, X] {
        let (mut one, mut other) = (Scene::friends(), Scene::seeded(2));
        let to = one.victim(index);
        for bytes in datagrams(to, &[other.victim(index).incarnation, Incarnation(66)]) {
            let passed = bounce([&mut one, &mut other], index, &bytes);
            assert!(passed <= 2, "{passed} after {}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn many_hints_of_a_restart_cost_one_search_in_500_ms() {
    let mut scene = Scene::friends();
    let (x, server) = (scene.victim(X), scene.victim(SERVER));
    let since = scene.sim.traffic().len();
    for _ in 0..1_000 {
        scene.inject(server.addr, x, &Header::gone(server.incarnation, x.incarnation), vec![]);
        scene.sim.run_for(ms(10));
    }
    let sent = between(&scene, since, x, server);
    assert!((20..=20 * CAUSED).contains(&sent), "{sent} in 10 s");
    scene.assert_quiet("hints");
}

/// The number of whole tables that the server sent since a position in the traffic.
fn whole_tables(scene: &Scene, since: usize) -> usize {
    let sent = scene.sim.traffic()[since..].iter().filter(|packet| !packet.came && packet.actor == SERVER);
    let frames = sent.flat_map(|packet| wire::parse(&packet.bytes).unwrap().frames());
    frames.filter(|frame| matches!(frame, Frame::Rows { whole: true, .. })).count()
}

#[test]
fn a_client_with_a_wrong_version_of_the_table_gets_it_once_in_5_s() {
    let mut scene = Scene::friends();
    let (x, server) = (scene.victim(X), scene.victim(SERVER));
    let mut client = Mallory::new(Incarnation(66));
    client.register(&mut scene, "m");
    let since = scene.sim.traffic().len();
    for _ in 0..1_000 {
        let head = Header { ask: Some(0), ..scene.next_head(x, server) };
        scene.forge(x, server, &head, &[Frame::Alive { table: 99 }]);
    }
    scene.sim.run_for(SECOND);
    assert_eq!(whole_tables(&scene, since), 0, "forged");
    let begin = scene.sim.now();
    for _ in 0..1_000 {
        client.peer.push_unnumbered(server.incarnation, Frame::Alive { table: 99 });
        client.run(&mut scene, ms(5));
    }
    assert!(scene.sim.now() <= begin + 5 * SECOND);
    assert_eq!(whole_tables(&scene, since), 1, "authentic");
}
