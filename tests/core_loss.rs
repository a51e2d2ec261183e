//! Direct messages on networks that lose: how often the 500 ms end in `No ACK`, first contact included.

use std::time::Duration;

use chat::sim::network::Net;
use chat::sim::world::World;

/// Sends `count` messages, each as the first contact of a fresh world; returns how many had no acknowledgement.
fn without_ack(loss: f64, round_trip: u64, count: u64) -> u64 {
    let lossy = Net { latency: Duration::from_micros(round_trip * 500), loss, ..Net::PERFECT };
    (0..count)
        .filter(|seed| {
            let mut world = World::new(*seed, Net::PERFECT);
            let (x, y) = (world.client("x"), world.client("y"));
            world.run_for(Duration::from_millis(100));
            world.set_path(x, y, lossy);
            world.set_path(y, x, lossy);
            world.type_line(x, "send y hi");
            world.run_for(Duration::from_millis(501));
            let acknowledged = world.lines(x).iter().any(|line| line == "[Message received by y.]");
            !acknowledged
        })
        .count() as u64
}

#[test]
fn at_30_percent_loss_each_way_fewer_than_1_in_1000_messages_has_no_ack() {
    for round_trip in [0, 20, 80] {
        let failed = without_ack(0.3, round_trip, 3_000);
        assert!(failed < 3, "round trip {round_trip} ms: {failed} of 3000");
    }
}
