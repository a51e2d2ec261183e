//! The keep-alive: a word of a silent client often enough, and what follows when there is none.

use std::time::Duration;

use crate::trace::{SECOND, at_rest, mark, us, world};
use chat::proto::client::{ATTEMPTS, KEEP_ALIVE, LIMIT};
use chat::sim::simulation::{SERVER, Simulation};

const X: usize = 1;

/// Goes to the moment at which the only client of a world at rest says that it is there.
fn run_to_keep_alive(world: &mut Simulation) {
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
    world.cut(X, SERVER);
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

/// How many copies of what begins a registration leave in its 2.5 s: at once, after 20 ms, and every 40 ms from then on.
const COPIES: u64 = 63;

/// x, whose server died, came back without memory, was reached by this one of x's keep-alives and died again so much
/// later. Returns how many datagrams had left with that keep-alive too.
fn lost_again(keep_alive: u32, later: Duration) -> (Simulation, u64) {
    let mut world = world(&["x"]);
    let since = mark(&world);
    world.kill(SERVER);
    world.wipe_disk();
    for _ in 1..keep_alive {
        run_to_keep_alive(&mut world);
        world.run_for(us(50));
    }
    world.start(SERVER);
    run_to_keep_alive(&mut world);
    let sent = world.sent();
    world.run_for(later);
    world.kill(SERVER);
    assert_eq!(since.lines(&world, X), ["[The server was restarted, registering again.]"]);
    (world, sent)
}

/// The server is back, for good.
fn found_again(world: &mut Simulation) {
    let since = mark(world);
    world.start(SERVER);
    world.run_for(2 * KEEP_ALIVE);
    assert_eq!(since.lines(world, X), ["[Welcome, You are registered.]"]);
    at_rest(world);
}

#[test]
fn a_server_that_is_lost_before_its_challenge_is_looked_for_every_15_s() {
    for keep_alive in 1..ATTEMPTS {
        // It has said that it does not know x, who says hello after 100 µs.
        let (mut world, sent) = lost_again(keep_alive, us(120));
        world.run_for(4 * KEEP_ALIVE - us(121));
        assert_eq!(world.sent() - sent, 1 + 4 * COPIES, "keep-alive {keep_alive}");
        found_again(&mut world);
    }
}

#[test]
fn a_server_that_is_lost_after_its_challenge_is_asked_for_2_5_s_and_again_15_s_later() {
    for keep_alive in 1..ATTEMPTS {
        // Its challenge was answered after 200 µs, on a link, which repeats that by itself.
        let (mut world, sent) = lost_again(keep_alive, us(220));
        world.run_for(4 * KEEP_ALIVE - us(221));
        // Each attempt but the first begins with a word that even a server answers that knows nothing; what was in
        // vain is withdrawn in the end.
        let registration = COPIES + u64::from(ATTEMPTS - 1) + 1;
        // Before that: gone, hello, challenge. One begins every 17.5 s.
        assert_eq!(world.sent() - sent, 3 + 4 * registration, "keep-alive {keep_alive}");
        found_again(&mut world);
    }
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
