//! The keep-alive: a word of a silent client often enough, and what follows when there is none.

mod trace;

use chat::core::client::{ATTEMPTS, KEEP_ALIVE, LIMIT};
use chat::sim::world::{SERVER, World};
use trace::{SECOND, at_rest, mark, us, world};

const X: usize = 1;

/// Goes to the moment at which the only client of a world at rest says that it is there.
fn run_to_keep_alive(world: &mut World) {
    let sent = world.sent();
    while world.sent() == sent {
        let next = world.next().expect("a keep-alive");
        world.run_for(next.since(world.now()));
    }
}

#[test]
fn a_silent_client_says_every_15_s_that_it_is_there() {
    let mut world = world(&["x"]);
    run_to_keep_alive(&mut world);
    for _ in 0..3 {
        world.run_for(us(100));
        let sent = world.sent();
        world.run_for(KEEP_ALIVE - us(101));
        assert_eq!(world.sent(), sent);
        world.run_for(us(1));
        assert_eq!(world.sent(), sent + 1);
        world.run_for(us(100));
        assert_eq!(world.sent(), sent + 2, "it is answered");
        // The next one is due 15 s after this one left.
        run_to_keep_alive(&mut world);
    }
    assert!(KEEP_ALIVE < 20 * SECOND, "what the contract asks");
}

#[test]
fn unanswered_keep_alives_end_nothing() {
    let mut world = world(&["x"]);
    world.kill(SERVER);
    let since = mark(&world);
    world.run_for(600 * SECOND);
    assert_eq!(since.lines(&world, X), [] as [&str; 0]);
    assert!(world.ending(X).is_none());
    world.start(SERVER);
    world.run_for(30 * SECOND);
    assert_eq!(since.lines(&world, X)[1], "[Welcome, You are registered.]");
    at_rest(&world);
}

#[test]
fn a_client_that_was_silent_for_50_s_is_asked_and_half_a_second_later_offline() {
    let mut world = world(&["x"]);
    run_to_keep_alive(&mut world);
    world.run_for(us(50));
    let since = mark(&world);
    world.cut(X, SERVER, true);
    world.run_for(50 * SECOND + us(500_019));
    assert_eq!(since.trace(&world, SERVER), [] as [&str; 0]);
    world.run_for(us(1));
    assert_eq!(since.trace(&world, SERVER), ["50500.020 [Client x is offline]"]);
    // Its next word makes it come back.
    world.heal();
    world.run_for(KEEP_ALIVE);
    assert_eq!(since.lines(&world, SERVER)[1..], ["[Client x registered]"]);
    // It was never told that it was offline, so that nothing is different for it.
    assert_eq!(since.lines(&world, X), ["[Welcome, You are registered.]"]);
    at_rest(&world);
}

#[test]
fn a_keep_alive_that_is_not_answered_is_said_again_every_500_ms_five_times_in_all() {
    let mut world = world(&["x"]);
    world.kill(SERVER);
    run_to_keep_alive(&mut world);
    for _ in 1..ATTEMPTS {
        let sent = world.sent();
        world.run_for(LIMIT - us(1));
        assert_eq!(world.sent(), sent);
        world.run_for(us(1));
        assert_eq!(world.sent(), sent + 1);
    }
    let sent = world.sent();
    world.run_for(KEEP_ALIVE - us(1));
    assert_eq!(world.sent(), sent);
    world.run_for(us(1));
    assert_eq!(world.sent(), sent + 1);
}
