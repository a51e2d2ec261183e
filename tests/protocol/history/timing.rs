//! Checks the limits of 500 ms and of 2,500 ms to the microsecond, from the datagrams that were sent and received.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chat::proto::client::{ATTEMPTS, LIMIT};
use chat::proto::event::Body;
use chat::proto::event::client::ClientEvent;
use chat::proto::id::MessageId;
use chat::proto::time::Instant;
use chat::proto::wire::{self, Frame};

use crate::history::History;

/// The time from an event to its display.
const SHOW: Duration = Duration::from_micros(20);

/// Times of the datagrams that one client sent and received.
#[derive(Default)]
struct ClientTraffic {
    /// The times at which each direct message was first sent, once for each link that sent it.
    left: BTreeMap<MessageId, Vec<Instant>>,
    /// Messages in pieces. Their timeout starts with the first piece, which does not contain their id.
    long: BTreeSet<MessageId>,
    /// The times at which any datagram arrived.
    came: BTreeSet<Instant>,
    /// The times of all first transmissions. A second request to the server may begin without an event.
    began: BTreeSet<Instant>,
    /// The times at which a datagram with "wait" arrived.
    waits: BTreeSet<Instant>,
}

/// Appends the faults. Returns the number of limits of 500 ms and of 2,500 ms that passed.
pub fn faults(history: &History, faults: &mut Vec<String>) -> (usize, usize) {
    let mut seen = (0, 0);
    // A paused client or one with a blocked output may be late.
    let is_timed = |at: Instant| history.held_up.is_none_or(|since| at < since);
    let traffic = traffic(history);
    let typed: BTreeSet<Instant> = history.script.iter().map(|(at, _)| *at).collect();
    for actor in &history.actors {
        let Some(own) = traffic.get(&actor.index) else { continue };
        let log = history.sim.log(actor.index);
        let emitted: BTreeSet<Instant> = log.iter().map(|(at, _)| Instant::from_micros(at.micros() - 20)).collect();
        for (at, event) in log.iter().filter(|(at, _)| is_timed(*at)) {
            let Body::Client(event) = &event.body else { continue };
            // A client that ends displays its last events at once.
            let moments = [Instant::from_micros(at.micros() - 20), *at];
            debug_assert_eq!(moments[0] + SHOW, *at);
            let before = |moment: Instant, limit: Duration| {
                let limit = u64::try_from(limit.as_micros()).expect("a limit");
                moment.micros().checked_sub(limit).map(Instant::from_micros)
            };
            match event {
                ClientEvent::NoAck { id, .. } if !own.long.contains(id) => {
                    let left = own.left.get(id);
                    let is_limit = |moment: &Instant| {
                        before(*moment, LIMIT).is_some_and(|since| {
                            left.is_some_and(|left| left.contains(&since)) || own.waits.contains(&since)
                        })
                    };
                    let is_caused = |moment: &Instant| own.came.contains(moment) || typed.contains(moment);
                    if moments.iter().any(is_limit) {
                        seen.0 += 1;
                    } else if left.is_some() && !moments.iter().any(is_caused) {
                        faults.push(format!("{} at {at:?}: no acknowledgement of {id}, at no limit", actor.name));
                    }
                }
                ClientEvent::ServerUnreachable { what, .. } => {
                    let is_limit = |moment: &Instant| {
                        before(*moment, LIMIT * ATTEMPTS).is_some_and(|since| {
                            // A list whose second direct attempt ended begins without an event, and its first datagram
                            // can wait for the congestion window. That attempt began with an event.
                            let second = before(since, LIMIT).is_some_and(|sent| emitted.contains(&sent));
                            let began = own.came.contains(&since) || own.began.contains(&since);
                            second || began || typed.contains(&since) || emitted.contains(&since)
                        })
                    };
                    if moments.iter().any(is_limit) {
                        seen.1 += 1;
                    } else {
                        faults.push(format!("{} at {at:?}: no server for {what}, at no limit", actor.name));
                    }
                }
                _ => {}
            }
        }
    }
    seen
}

fn traffic(history: &History) -> BTreeMap<usize, ClientTraffic> {
    let mut traffic: BTreeMap<usize, ClientTraffic> = BTreeMap::new();
    let mut known = BTreeSet::new();
    for packet in history.sim.traffic() {
        let Ok(datagram) = wire::parse(&packet.bytes) else { continue };
        let (head, own) = (&datagram.head, traffic.entry(packet.actor).or_default());
        if packet.came {
            own.came.insert(packet.at);
            if head.wait {
                own.waits.insert(packet.at);
            }
        } else if known.insert((head.me, head.you, head.seq)) {
            own.began.insert(packet.at);
            for frame in datagram.frames() {
                if let Frame::Msg { id, text, .. } = frame {
                    own.left.entry(id).or_default().push(packet.at);
                    if text.is_empty() {
                        own.long.insert(id);
                    }
                }
            }
        }
    }
    traffic
}
