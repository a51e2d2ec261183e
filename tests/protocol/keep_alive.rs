//! Tests of the keep-alive of a silent client, and of the consequences of a lost one.

use std::time::Duration;

use crate::trace::{SECOND, at_rest, mark, simulation, us};
use chat::proto::client::{ATTEMPTS, KEEP_ALIVE, LIMIT};
use chat::sim::simulation::{SERVER, Simulation};

const X: usize = 1;

/// Advances an idle simulation with one client to the moment at which the client sends its keep-alive.
fn run_to_keep_alive(sim: &mut Simulation) {
    let sent = sim.sent();
    while sim.sent() == sent {
        let next = sim.next().expect("a keep-alive");
        sim.run_for(next.since(sim.now()));
    }
}

#[test]
fn a_silent_client_sends_a_keep_alive_every_15_s() {
    let mut sim = simulation(&["x"]);
    run_to_keep_alive(&mut sim);
    for _ in 0..3 {
        sim.run_for(us(100));
        let sent = sim.sent();
        sim.run_for(KEEP_ALIVE - us(101));
        assert_eq!(sim.sent(), sent);
        sim.run_for(us(1));
        assert_eq!(sim.sent(), sent + 1);
        sim.run_for(us(100));
        assert_eq!(sim.sent(), sent + 2, "it is answered");
        // The next keep-alive is due 15 s after this one was sent.
        run_to_keep_alive(&mut sim);
    }
    assert!(KEEP_ALIVE < 20 * SECOND, "what the contract asks");
}

#[test]
fn a_client_survives_unanswered_keep_alives() {
    let mut sim = simulation(&["x"]);
    sim.kill(SERVER);
    let since = mark(&sim);
    sim.run_for(600 * SECOND);
    assert_eq!(since.lines(&sim, X), [] as [&str; 0]);
    assert!(sim.ending(X).is_none());
    sim.start(SERVER);
    sim.run_for(30 * SECOND);
    assert_eq!(since.lines(&sim, X)[1], "[Welcome, You are registered.]");
    at_rest(&sim);
}

#[test]
fn a_client_that_was_silent_for_50_s_is_pinged_and_offline_500_ms_later() {
    let mut sim = simulation(&["x"]);
    run_to_keep_alive(&mut sim);
    sim.run_for(us(50));
    let since = mark(&sim);
    sim.cut(X, SERVER);
    sim.run_for(50 * SECOND + us(500_019));
    assert_eq!(since.trace(&sim, SERVER), [] as [&str; 0]);
    sim.run_for(us(1));
    assert_eq!(since.trace(&sim, SERVER), ["50500.020 [Client x is offline]"]);
    // Its next datagram makes it return.
    sim.heal();
    sim.run_for(KEEP_ALIVE);
    assert_eq!(since.lines(&sim, SERVER)[1..], ["[Client x registered]"]);
    // The client did not know that it was offline, so it displays only the welcome.
    assert_eq!(since.lines(&sim, X), ["[Welcome, You are registered.]"]);
    at_rest(&sim);
}

/// The copies of the first datagram of a registration that are sent in its 2.5 s: at once, after 20 ms, and then every
/// 40 ms.
const COPIES: u64 = 63;
/// The datagrams beside the copies of a request to register on a link. Each attempt except the first also sends a
/// datagram that every server answers, even without a session. At the end, the registration is aborted.
const BESIDE_COPIES: u64 = ATTEMPTS as u64 - 1 + ABORTS;
/// The datagrams that report an abort, as long as no answer arrives.
const ABORTS: u64 = 12;
/// The datagrams of a registration on a link whose round trip is known. The request is sent at once, after 3.1, 6.2,
/// 12.4 and 24.8 ms, and then every 40 ms.
const REGISTRATION: u64 = 66 + BESIDE_COPIES;

/// A simulation with x. Its server was killed, lost its disk, started again, received this keep-alive of x, and was
/// killed again after `later`. Returns also the number of datagrams sent up to that keep-alive, which is included.
fn lost_again(keep_alive: u32, later: Duration) -> (Simulation, u64) {
    let mut sim = simulation(&["x"]);
    let since = mark(&sim);
    sim.kill(SERVER);
    sim.wipe_disk();
    for _ in 1..keep_alive {
        run_to_keep_alive(&mut sim);
        sim.run_for(us(50));
    }
    sim.start(SERVER);
    run_to_keep_alive(&mut sim);
    let sent = sim.sent();
    sim.run_for(later);
    sim.kill(SERVER);
    assert_eq!(since.lines(&sim, X), [] as [&str; 0], "anybody could say that the server was restarted");
    (sim, sent)
}

/// Restarts the server, and asserts that x registers.
fn assert_found_again(sim: &mut Simulation) {
    let since = mark(sim);
    sim.start(SERVER);
    sim.run_for(2 * KEEP_ALIVE);
    let x = ["[The server was restarted, registering again.]", "[Welcome, You are registered.]"];
    assert_eq!(since.lines(sim, X), x);
    at_rest(sim);
}

#[test]
fn after_a_loss_before_the_challenge_a_client_retries_for_2_5_s_and_again_15_s_later() {
    for keep_alive in 1..ATTEMPTS {
        // The server reported that it does not know x. x sent its hello after 100 µs.
        let (mut sim, sent) = lost_again(keep_alive, us(120));
        sim.run_for(4 * KEEP_ALIVE - us(121));
        // Nothing authentic contradicts the link to the earlier server, so that x uses it again 15 s later.
        assert_eq!(sim.sent() - sent, 1 + COPIES + 3 * REGISTRATION, "keep-alive {keep_alive}");
        assert_found_again(&mut sim);
    }
}

#[test]
fn after_a_loss_after_the_challenge_a_client_retries_for_2_5_s_and_again_15_s_later() {
    for keep_alive in 1..ATTEMPTS {
        // x answered the challenge after 200 µs, on a new link.
        let (mut sim, sent) = lost_again(keep_alive, us(220));
        sim.run_for(4 * KEEP_ALIVE - us(221));
        // The first 3 datagrams are gone, hello and challenge. No datagram aborts the registration: its link ends.
        let first = COPIES + BESIDE_COPIES - ABORTS;
        assert_eq!(sim.sent() - sent, 3 + first + 3 * REGISTRATION, "keep-alive {keep_alive}");
        assert_found_again(&mut sim);
    }
}

#[test]
fn an_unanswered_keep_alive_is_sent_five_times_500_ms_apart() {
    let mut sim = simulation(&["x"]);
    sim.kill(SERVER);
    run_to_keep_alive(&mut sim);
    for _ in 1..ATTEMPTS {
        let sent = sim.sent();
        sim.run_for(LIMIT - us(1));
        assert_eq!(sim.sent(), sent);
        sim.run_for(us(1));
        assert_eq!(sim.sent(), sent + 1);
    }
    let sent = sim.sent();
    sim.run_for(KEEP_ALIVE - us(1));
    assert_eq!(sim.sent(), sent);
    sim.run_for(us(1));
    assert_eq!(sim.sent(), sent + 1);
}
