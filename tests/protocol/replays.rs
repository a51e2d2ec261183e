//! Tests of an attacker who replays every datagram of a conversation: to its receiver and to all others, from its
//! source and from another host. Nothing is displayed twice, and nobody comes or leaves.

use std::net::SocketAddr;
use std::time::Duration;

use chat::proto::id::Incarnation;
use chat::sim::simulation::{PacketTrace, SERVER};

use crate::attacker::{Mallory, Scene, X, Y, elsewhere};
use crate::trace::{SECOND, at_rest, ms, us};

/// Passes all datagrams that were sent so far to all actors.
fn replay(scene: &mut Scene) {
    let sent: Vec<PacketTrace> = scene.sim.traffic().iter().filter(|packet| !packet.came).cloned().collect();
    assert!(sent.len() > 20, "a conversation");
    for packet in sent {
        for source in [scene.sim.addr(packet.actor), elsewhere()] {
            for to in [SERVER, X, Y] {
                scene.sim.inject(source, to, &packet.bytes);
            }
        }
    }
}

/// Runs the conversation of a new scene while each datagram is replayed, with this delay. Asserts that it goes on as
/// without replays.
fn shadow(delay: Duration, sources: fn(&Scene, &PacketTrace) -> SocketAddr) {
    let mut scene = Scene::strangers();
    let mut read = scene.sim.traffic().len();
    for (actor, line) in [(X, "send y one"), (Y, "send x two"), (X, "send_all three")] {
        scene.sim.type_line(actor, line);
        let until = scene.sim.now() + ms(100);
        while scene.sim.now() < until {
            while let Some(packet) = scene.sim.traffic().get(read).cloned()
                && packet.at + delay <= scene.sim.now()
            {
                read += 1;
                let to = [SERVER, X, Y].into_iter().find(|actor| scene.sim.addr(*actor) == packet.peer);
                if let Some(to) = to.filter(|_| !packet.came) {
                    let source = sources(&scene, &packet);
                    scene.sim.inject(source, to, &packet.bytes);
                }
            }
            scene.sim.run_for(us(10));
        }
    }
    let [server, x, y] = scene.events();
    assert_eq!(server, ["accepted"]);
    assert_eq!(x, ["[Message received by y.]", "done", "y: two", "[Message received by Server.]", "done"]);
    assert_eq!(y, ["x: one", "[Message received by x.]", "done", "[Channel_Message x: three]"]);
    scene.assert_quiet("replays");
    scene.assert_exchange("after");
}

/// Replays everything, and asserts that nothing happens and x stays offline in the table of y.
fn assert_replays_leave_x_offline(scene: &mut Scene) {
    replay(scene);
    scene.assert_quiet("replays");
    scene.type_line(Y, "table");
    let table = "name  address        state\nx     10.0.0.1:7000  offline\ny     10.0.0.2:7000  online";
    assert_eq!(scene.events()[2], [table, "done"]);
}

#[test]
fn replays_during_a_conversation_do_not_change_it() {
    // The first delay overtakes the original.
    for delay in [Duration::ZERO, us(60), ms(1), ms(20)] {
        shadow(delay, |scene, packet| scene.sim.addr(packet.actor));
    }
    for delay in [Duration::ZERO, us(60), ms(1), ms(20)] {
        shadow(delay, |_, _| elsewhere());
    }
}

#[test]
fn replays_after_a_conversation_change_nothing() {
    let mut scene = Scene::friends();
    for wait in [Duration::ZERO, 11 * SECOND] {
        scene.sim.run_for(wait);
        replay(&mut scene);
        scene.assert_quiet("replays");
        replay(&mut scene);
        scene.assert_exchange("after");
    }
}

#[test]
fn replays_do_not_bring_back_a_client_that_left() {
    for wait in [ms(1), SECOND, 9 * SECOND, 11 * SECOND] {
        let mut scene = Scene::friends();
        scene.sim.leave(X);
        scene.sim.run_for(wait);
        let [server, _, y] = scene.events();
        assert_eq!(server, ["[Client x is offline]", "table"]);
        assert_eq!(y, ["[Client table updated.]"]);
        assert_replays_leave_x_offline(&mut scene);
    }
}

#[test]
fn replays_of_an_earlier_incarnation_change_nothing() {
    for actor in [X, SERVER] {
        for wait in [ms(1), SECOND, 11 * SECOND] {
            let mut scene = Scene::friends();
            scene.sim.kill(actor);
            scene.sim.run_for(wait);
            scene.sim.start(actor);
            scene.sim.run_for(2 * SECOND);
            scene.events();
            replay(&mut scene);
            scene.assert_quiet("replays");
            scene.assert_exchange("after");
            at_rest(&scene.sim);
        }
    }
}

#[test]
fn replays_do_not_bring_back_an_incarnation_whose_successor_left() {
    for wait in [ms(1), SECOND, 9 * SECOND, 11 * SECOND] {
        let mut scene = Scene::friends();
        scene.sim.kill(X);
        scene.sim.start(X);
        scene.sim.run_for(2 * SECOND);
        scene.sim.leave(X);
        scene.sim.run_for(wait);
        scene.events();
        assert_replays_leave_x_offline(&mut scene);
    }
}

#[test]
fn replays_do_not_bring_back_a_client_that_is_lost() {
    let mut scene = Scene::friends();
    scene.sim.kill(X);
    scene.type_line(Y, "send x hi");
    scene.sim.run_for(2 * SECOND);
    let [server, ..] = scene.events();
    assert_eq!(server, ["[Client x is offline]", "table", "saved"]);
    replay(&mut scene);
    scene.assert_quiet("replays");
}

#[test]
fn replays_do_not_keep_a_silent_client_online() {
    let mut scene = Scene::friends();
    scene.sim.kill(X);
    for second in 1..=60 {
        replay(&mut scene);
        scene.sim.run_for(SECOND);
        if second == 30 {
            assert_eq!(scene.events(), [const { Vec::<String>::new() }; 3]);
        }
    }
    let [server, _, y] = scene.events();
    assert_eq!(server, ["[Client x is offline]", "table"]);
    assert_eq!(y, ["[Client table updated.]"]);
}

#[test]
fn a_replayed_registration_does_not_move_a_client_back() {
    let mut scene = Scene::friends();
    let mut client = Mallory::new(Incarnation(66));
    let old = client.peer.addr;
    client.register(&mut scene, "m");
    let came = scene.sim.traffic().iter().filter(|packet| packet.came && packet.peer == old);
    let first: Vec<PacketTrace> = came.cloned().collect();
    client.peer.addr = SocketAddr::from(([10, 66, 0, 2], 7000));
    client.register(&mut scene, "m");
    for packet in &first {
        scene.sim.inject(old, SERVER, &packet.bytes);
    }
    let since = scene.sim.traffic().len();
    scene.sim.type_line(X, "send_all hi");
    client.run(&mut scene, ms(100));
    let sent = scene.sim.traffic()[since..].iter().filter(|packet| !packet.came && packet.actor == SERVER);
    let mut posts = sent.filter(|packet| String::from_utf8_lossy(&packet.bytes).contains(r#""t":"post""#));
    assert!(posts.any(|post| post.peer == client.peer.addr), "the message goes to the new address");
}
