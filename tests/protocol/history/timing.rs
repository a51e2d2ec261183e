//! The limits of 500 ms and of five times that, to the microsecond, told from the datagrams that left and came.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chat::proto::client::{ATTEMPTS, LIMIT};
use chat::proto::event::Body;
use chat::proto::event::client::ClientEvent;
use chat::proto::id::MessageId;
use chat::proto::time::Instant;
use chat::proto::wire::{self, Frame};

use crate::history::History;

/// How long it takes until an event is shown.
const SHOW: Duration = Duration::from_micros(20);

/// Times of the datagrams that one client sent and received.
#[derive(Default)]
struct ClientTraffic {
    /// When each direct message left for the first time on a link, or anew.
    left: BTreeMap<MessageId, Vec<Instant>>,
    /// Messages in pieces: their time began with the first piece, which does not name them.
    long: BTreeSet<MessageId>,
    came: BTreeSet<Instant>,
    /// When anything left for the first time: a second request to the server may begin without a word to people.
    began: BTreeSet<Instant>,
    /// When anybody said "wait".
    waits: BTreeSet<Instant>,
}

/// Adds what is wrong. Returns how many limits of 500 ms and of 2,500 ms were seen to pass.
pub fn faults(history: &History, faults: &mut Vec<String>) -> (usize, usize) {
    let mut seen = (0, 0);
    // A program that is stopped, or whose output is, is late for reasons of its own.
    let is_timed = |at: Instant| history.held_up.is_none_or(|since| at < since);
    let traffic = traffic(history);
    let typed: BTreeSet<Instant> = history.script.iter().map(|(at, _)| *at).collect();
    for actor in &history.actors {
        let Some(own) = traffic.get(&actor.index) else { continue };
        let log = history.world.log(actor.index);
        let said: BTreeSet<Instant> = log.iter().map(|(at, _)| Instant::from_micros(at.micros() - 20)).collect();
        for (at, event) in log.iter().filter(|(at, _)| is_timed(*at)) {
            let Body::Client(event) = &event.body else { continue };
            // The last events of a program are shown when it ends.
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
                    let is_told = |moment: &Instant| own.came.contains(moment) || typed.contains(moment);
                    if moments.iter().any(is_limit) {
                        seen.0 += 1;
                    } else if left.is_some() && !moments.iter().any(is_told) {
                        faults.push(format!("{} at {at:?}: no acknowledgement of {id}, at no limit", actor.name));
                    }
                }
                ClientEvent::ServerUnreachable { what, .. } => {
                    let is_limit = |moment: &Instant| {
                        before(*moment, LIMIT * ATTEMPTS).is_some_and(|since| {
                            let began = own.came.contains(&since) || own.began.contains(&since);
                            began || typed.contains(&since) || said.contains(&since)
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
    for passage in history.world.traffic() {
        let Ok(datagram) = wire::parse(&passage.bytes) else { continue };
        let (head, own) = (datagram.head, traffic.entry(passage.actor).or_default());
        if passage.came {
            own.came.insert(passage.at);
            if head.wait {
                own.waits.insert(passage.at);
            }
        } else if known.insert((head.me, head.you, head.n)) {
            own.began.insert(passage.at);
            for frame in datagram.frames {
                if let Frame::Msg { id, text, .. } = frame {
                    own.left.entry(id).or_default().push(passage.at);
                    if text.is_empty() {
                        own.long.insert(id);
                    }
                }
            }
        }
    }
    traffic
}
