//! Tests of an attacker who forges datagrams of a server and two clients. Nothing changes, and the two can still write
//! to each other and to everybody.

use chat::proto::event::MessageKind;
use chat::proto::id::{Incarnation, MessageId};
use chat::proto::name::Name;
use chat::proto::wire::{Answer, Frame, Header, MAX_NUMBER, RequestOutcome};
use chat::sim::simulation::SERVER;

use crate::attacker::{Mallory, Scene, Victim, X, Y, attacker, elsewhere};
use crate::peer::Peer;
use crate::trace::{SECOND, mark, ms, us};

const NOTHING: [&str; 0] = [];

fn name(word: &str) -> Name {
    Name::new(word).unwrap()
}

fn id(of: Victim, number: u64) -> MessageId {
    MessageId { incarnation: of.incarnation, number }
}

fn msg(of: Victim, number: u64) -> Frame {
    Frame::Msg { id: id(of, number), at: 0, after: None, text: "forged".to_owned() }
}

/// All pairs of actors that have a link to each other.
fn directions(scene: &Scene) -> [(Victim, Victim); 6] {
    let [server, x, y] = [SERVER, X, Y].map(|index| scene.victim(index));
    [(x, y), (y, x), (x, server), (server, x), (y, server), (server, y)]
}

#[test]
fn nobody_else_writes_as_a_client() {
    for mut scene in [Scene::strangers(), Scene::friends()] {
        let (x, y) = (scene.victim(X), scene.victim(Y));
        let head = scene.next_content(x, y);
        scene.forge(x, y, &head, &[msg(x, 1_000)]);
        // The number of the next message of x.
        scene.forge(x, y, &head, &[msg(x, 3)]);
        scene.assert_quiet("a message");
        scene.assert_exchange("after");
    }
}

#[test]
fn an_incarnation_that_is_not_in_the_table_writes_nothing() {
    let mut scene = Scene::friends();
    let (x, y) = (scene.victim(X), scene.victim(Y));
    let nobody = Victim { incarnation: Incarnation(66), key: attacker().public(), ..x };
    let head =
        Header { pn: Some(1), seq: Some(1), low: Some(1), ..Header::new(nobody.incarnation, Some(y.incarnation)) };
    scene.forge(nobody, y, &head, &[msg(x, 3)]);
    scene.assert_quiet("a message");
    scene.assert_exchange("after");
}

#[test]
fn a_registered_client_writes_in_no_other_name() {
    let mut scene = Scene::friends();
    let (x, y, server) = (scene.victim(X), scene.victim(Y), scene.victim(SERVER));
    let mut mallory = Mallory::new(Incarnation(66));
    mallory.register(&mut scene, "m");
    let [at_server, ..] = scene.events();
    assert_eq!(at_server, ["[Client m registered]", "table"]);
    mallory.peer.open(y.incarnation, y.addr, y.key);
    mallory.peer.push(y.incarnation, msg(x, 3));
    let all = Frame::All { r: 9, id: id(x, 4), at: 0, text: "forged".to_owned() };
    mallory.peer.push(server.incarnation, all);
    let save = Frame::Save { r: 10, id: id(x, 5), to: name("y"), at: 0, again: true, text: "forged".to_owned() };
    mallory.peer.push(server.incarnation, save);
    mallory.run(&mut scene, ms(300));
    assert_eq!(scene.events(), [vec![], vec![], vec!["m: forged".to_owned()]]);
    // The ids of x are not used up: its next messages have the numbers 3 and 4.
    scene.type_line(X, "send y three");
    scene.type_line(X, "send_all four");
    let [.., y] = scene.events();
    assert_eq!(y, ["x: three", "[Channel_Message x: four]"]);
}

#[test]
fn nobody_else_ends_a_link_by_its_floor() {
    let mut scene = Scene::friends();
    for (from, to) in directions(&scene) {
        let next = scene.next_head(from, to);
        for low in [scene.last_seq(from, to) + 2, 1 << 40, MAX_NUMBER] {
            scene.forge(from, to, &Header { low: Some(low), ..next.clone() }, &[]);
            scene.forge(from, to, &Header { low: Some(low), seq: Some(low), ..next.clone() }, &[]);
            scene.forge(from, to, &Header { low: Some(low), ask: Some(0), ..next.clone() }, &[]);
        }
    }
    scene.assert_quiet("a floor");
    scene.assert_exchange("after");
}

#[test]
fn nobody_else_uses_up_the_numbers_of_a_link() {
    for mut scene in [Scene::strangers(), Scene::friends()] {
        for (from, to) in directions(&scene) {
            let next = scene.next_content(from, to);
            let (pn, seq) = (next.pn.unwrap(), next.seq.unwrap());
            for ahead in 0..8 {
                let head = Header { pn: Some(pn + ahead), seq: Some(seq + ahead), ..next.clone() };
                scene.forge(from, to, &head, &[Frame::Unknown]);
            }
            scene.forge(from, to, &Header { pn: Some(MAX_NUMBER), ..next }, &[]);
        }
        scene.assert_quiet("contents");
        scene.assert_exchange("after");
    }
}

#[test]
fn nobody_else_acknowledges_a_message() {
    let mut scene = Scene::friends();
    let [server, x, y] = [SERVER, X, Y].map(|index| scene.victim(index));
    scene.sim.pause(Y, true);
    scene.sim.type_line(X, "send y direct");
    scene.sim.type_line(X, "send_all channel");
    for _ in 0..200 {
        scene.sim.run_for(ms(5));
        for to in [x, server] {
            let (pn, seq) = (scene.last_pn(to, y), scene.last_seq(to, y));
            let head = Header { ack: vec![pn, pn], done: seq, answer: Some(1), ..scene.next_head(y, to) };
            scene.forge(y, to, &head, &[]);
        }
    }
    scene.sim.run_for(SECOND);
    let [at_server, at_x, at_y] = scene.events();
    assert_eq!(at_server, ["accepted", "[Client y is offline]", "table", "saved"]);
    let channel = ["[Message received by Server.]", "done"];
    let direct = ["[No ACK from y, message sent to server.]", "[Client table updated.]"];
    let saved = ["[Messages received by the server and saved]", "done"];
    assert_eq!(at_x, [&channel[..], &direct, &saved].concat());
    assert_eq!(at_y, NOTHING);
    scene.sim.pause(Y, false);
    scene.sim.run_for(SECOND);
    let [_, _, at_y] = scene.events();
    assert_eq!(at_y, ["x: direct", "[Channel_Message x: channel]", "[Welcome, You are registered.]"]);
    scene.assert_exchange("after");
}

#[test]
fn nobody_else_delays_a_message_by_wait() {
    let mut scene = Scene::friends();
    let (x, y) = (scene.victim(X), scene.victim(Y));
    scene.sim.pause(Y, true);
    let since = mark(&scene.sim);
    scene.sim.type_line(X, "send y hi");
    for _ in 0..60 {
        scene.sim.run_for(ms(10));
        let pn = scene.last_pn(x, y);
        let head = Header { ack: vec![pn, 1], wait: true, ..scene.next_head(y, x) };
        scene.forge(y, x, &head, &[]);
    }
    assert_eq!(since.trace(&scene.sim, X), ["500.020 [No ACK from y, message sent to server.]"]);
    scene.sim.pause(Y, false);
    scene.sim.run_for(SECOND);
    scene.events();
    scene.assert_exchange("after");
}

#[test]
fn nobody_else_makes_requests_of_a_client() {
    let mut scene = Scene::friends();
    let (x, server) = (scene.victim(X), scene.victim(SERVER));
    let text = || "forged".to_owned();
    let requests = [
        Frame::All { r: 9, id: id(x, 3), at: 0, text: text() },
        Frame::Save { r: 10, id: id(x, 4), to: name("y"), at: 0, again: true, text: text() },
        Frame::Create { r: 11, group: name("g") },
        Frame::Join { r: 12, group: name("g") },
        Frame::Reg { r: 13, name: name("z"), via: x.addr.ip() },
        Frame::Dereg { r: 14 },
    ];
    for request in requests {
        let head = scene.next_content(x, server);
        scene.forge(x, server, &head, &[request]);
    }
    scene.assert_quiet("requests");
    scene.assert_exchange("after");
}

#[test]
fn nobody_else_gives_notice_for_a_client() {
    let mut scene = Scene::friends();
    let (x, server) = (scene.victim(X), scene.victim(SERVER));
    let head = scene.next_head(x, server);
    scene.forge(x, server, &head, &[Frame::Bye]);
    scene.forge(x, server, &Header { ask: Some(0), ..head }, &[Frame::Bye]);
    scene.assert_quiet("bye");
    scene.assert_exchange("after");
}

#[test]
fn nobody_else_speaks_as_the_server() {
    let mut scene = Scene::friends();
    let [server, x, y] = [SERVER, X, Y].map(|index| scene.victim(index));
    let rows = Frame::Rows {
        upto: 1 << 40,
        whole: true,
        last: true,
        total: 0,
        online: None,
        rows: vec![],
        gone: vec![name("y")],
    };
    let post = |kept| Frame::Post {
        id: id(y, 1_000),
        kind: MessageKind::Channel,
        from: name("y"),
        group: None,
        at: 0,
        kept,
        text: "forged".to_owned(),
    };
    let frames = [
        Frame::Welcome { r: 1, name: name("x"), mail: 3 },
        rows,
        post(None),
        post(Some(1)),
        Frame::Refused { r: 1, reason: "name-in-use".to_owned() },
        Frame::Receipt { id: id(x, 1), reader: name("y"), kept: 0 },
        Frame::Answer(Answer::new(1, RequestOutcome::Saved)),
        Frame::Bye,
    ];
    // In the name of this server, and of a restarted one.
    let restarted = Victim { incarnation: Incarnation(66), ..server };
    for frame in frames {
        for from in [server, restarted] {
            let head = Header { me: Some(from.incarnation), ..scene.next_content(server, x) };
            scene.forge(from, x, &head, std::slice::from_ref(&frame));
            scene.forge(from, x, &Header { seq: None, low: None, ask: Some(3), ..head }, std::slice::from_ref(&frame));
        }
        scene.sim.run_for(ms(10));
    }
    scene.assert_quiet("frames of a server");
    scene.assert_exchange("after");
}

/// Passes all actors every `gone` and every question without tag that the attacker can think of.
fn send_gones(scene: &mut Scene) {
    let all = [SERVER, X, Y].map(|index| scene.victim(index));
    for to in all {
        for from in all {
            for gone in all {
                scene.inject(from.addr, to, &Header::gone(gone.incarnation, to.incarnation), vec![]);
                scene.inject(from.addr, to, &Header::gone(gone.incarnation, from.incarnation), vec![]);
            }
            let stranger = Header::new(Incarnation(66), Some(to.incarnation));
            scene.inject(from.addr, to, &Header { ask: Some(1), ..stranger }, vec![]);
        }
    }
}

#[test]
fn gone_changes_nothing_whoever_sends_it() {
    let mut scene = Scene::friends();
    send_gones(&mut scene);
    scene.assert_quiet("gone");
    scene.assert_exchange("after");
    // Nor does it when it comes all the time.
    for _ in 0..100 {
        send_gones(&mut scene);
        scene.type_line(X, "send y hi");
        scene.type_line(Y, "send_all ho");
        let [server, x, y] = scene.events();
        assert_eq!(server, ["accepted"]);
        assert_eq!(x, ["[Message received by y.]", "done", "[Channel_Message y: ho]"]);
        assert_eq!(y, ["x: hi", "[Message received by Server.]", "done"]);
    }
    scene.assert_quiet("gone, all the time");
}

#[test]
fn only_the_server_can_answer_a_client_that_looks_for_it() {
    let mut scene = Scene::friends();
    let (x, server) = (scene.victim(X), scene.victim(SERVER));
    let own = attacker().public();
    for (incarnation, key) in [
        (Incarnation(66), own),
        (server.incarnation, own),
        (Incarnation(67), server.key),
        (server.incarnation, server.key),
    ] {
        for source in [server.addr, elsewhere()] {
            scene.inject(server.addr, x, &Header::gone(server.incarnation, x.incarnation), vec![]);
            let token = scene.last_token(x).expect("it looks for its server");
            let cookie = "c".to_owned();
            // The token of an earlier search is not enough.
            for token in ["0123456789abcdef".to_owned(), token] {
                let challenge = Frame::Challenge { token, cookie: cookie.clone(), key };
                scene.inject(source, x, &Header::new(incarnation, None), vec![challenge]);
            }
            // It goes on as a server, with its own key.
            let mut rogue = Peer::with_identity(incarnation, source, attacker());
            rogue.open(x.incarnation, x.addr, x.key);
            rogue.push(x.incarnation, Frame::Welcome { r: 1, name: name("x"), mail: 1 });
            for bytes in rogue.transmit(scene.sim.now()) {
                scene.sim.inject(source, X, &bytes);
            }
            scene.type_line(X, "send y hi");
            scene.type_line(X, "send_all ho");
            let [_, at_x, at_y] = scene.events();
            assert_eq!(
                at_x,
                ["[Message received by y.]", "done", "[Message received by Server.]", "done"],
                "{incarnation} {source}"
            );
            assert_eq!(at_y, ["x: hi", "[Channel_Message x: ho]"]);
            scene.assert_quiet("a challenge");
        }
    }
    scene.assert_exchange("after");
    // It finds the restarted server as fast as y.
    scene.sim.kill(SERVER);
    scene.sim.start(SERVER);
    scene.sim.run_for(SECOND);
    let [_, x, y] = scene.events();
    assert_eq!(x, ["[The server was restarted, registering again.]", "[Welcome, You are registered.]"]);
    assert_eq!(y, x);
    scene.assert_exchange("at the restarted server");
}

#[test]
fn nobody_else_registers_with_the_incarnation_of_a_client() {
    let mut scene = Scene::friends();
    let (x, server) = (scene.victim(X), scene.victim(SERVER));
    let mut mallory = Mallory::new(x.incarnation);
    mallory.register(&mut scene, "x");
    mallory.run(&mut scene, SECOND);
    // With the key of x in the header, which the attacker has not.
    let (_, Frame::Challenge { cookie, .. }) = mallory.challenge(&mut scene) else { panic!("a challenge") };
    let head = Header { key: Some(x.key), cookie: Some(cookie), ..scene.next_content(x, server) };
    let reg = Frame::Reg { r: 9, name: name("x"), via: server.addr.ip() };
    scene.forge(x, server, &head, &[reg]);
    scene.assert_quiet("x is online");
    scene.assert_exchange("after");
    // The session of x ends, and its row stays.
    scene.sim.leave(X);
    scene.sim.run_for(15 * SECOND);
    scene.events();
    let mut mallory = Mallory::new(x.incarnation);
    mallory.register(&mut scene, "x");
    mallory.run(&mut scene, SECOND);
    scene.assert_quiet("x has left");
    // A restarted server has the row only.
    scene.sim.kill(SERVER);
    scene.sim.start(SERVER);
    scene.sim.run_for(SECOND);
    assert_ne!(scene.victim(SERVER).incarnation, server.incarnation);
    scene.events();
    let mut mallory = Mallory::new(x.incarnation);
    mallory.register(&mut scene, "x");
    mallory.run(&mut scene, us(500_000));
    let [at_server, ..] = scene.events();
    assert_eq!(at_server, NOTHING);
}
