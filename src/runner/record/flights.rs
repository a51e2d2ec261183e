//! Datagrams on their way: what one actor said that it sent, matched with what another said that it received.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::runner::lang::ast::Actor;
use crate::runner::record::trace::{Datagram, Trace, What};

/// Everything that was sent, in order of time, until it is known what became of it.
pub(crate) struct Flights<'a> {
    ports: BTreeMap<u16, &'a Actor>,
    /// When those who tell of their datagrams told something, and whether it was that they had begun.
    told: BTreeMap<&'a Actor, BTreeMap<i64, bool>>,
    waiting: BTreeMap<Route<'a>, VecDeque<Flight<'a>>>,
}

/// What is the same at both ends: from whom, to which port, the frame and the length.
type Route<'a> = (&'a Actor, u16, &'a str, u64);

/// A datagram that left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight<'a> {
    pub(crate) from: &'a Actor,
    pub(crate) datagram: &'a Datagram,
    /// When it left.
    pub(crate) micros: i64,
    /// Which retransmission it is.
    pub(crate) copy: Option<u64>,
}

impl<'a> Flights<'a> {
    pub(crate) fn new(traces: &'a [Trace], server: Option<&'a Actor>) -> Self {
        let mut flights = Self { ports: BTreeMap::new(), told: BTreeMap::new(), waiting: BTreeMap::new() };
        for trace in traces {
            match &trace.what {
                What::Listens { port, server: at } => {
                    flights.ports.insert(*port, &trace.actor);
                    if let (Some(at), Some(server)) = (at, server) {
                        flights.ports.entry(*at).or_insert(server);
                    }
                }
                What::Sent { datagram, copy } => {
                    let flight = Flight { from: &trace.actor, datagram, micros: trace.micros, copy: *copy };
                    flights.waiting.entry(route(&trace.actor, datagram.port, datagram)).or_default().push_back(flight);
                }
                _ => {}
            }
            let begins = matches!(trace.what, What::Listens { .. });
            *flights.told.entry(&trace.actor).or_default().entry(trace.micros).or_default() |= begins;
        }
        // Somebody who only says where it listens keeps its datagrams to itself.
        let speaks = |trace: &Trace| matches!(trace.what, What::Sent { .. } | What::Received(_));
        let speaking: BTreeSet<&Actor> =
            traces.iter().filter(|trace| speaks(trace)).map(|trace| &trace.actor).collect();
        flights.told.retain(|actor, _| speaking.contains(actor));
        for flights in flights.waiting.values_mut() {
            flights.make_contiguous().sort_by_key(|flight| flight.micros);
        }
        flights
    }

    /// Whose port it is. Ports are kept over a restart, and no two actors share one.
    pub(crate) fn owner(&self, port: u16) -> Option<&'a Actor> {
        self.ports.get(&port).copied()
    }

    /// Whether somebody tells of every datagram. Of the others nobody knows what arrived.
    pub(crate) fn is_speaking(&self, actor: Option<&Actor>) -> bool {
        actor.is_none_or(|actor| self.told.contains_key(actor))
    }

    /// Whether somebody has told of everything that it had sent by then: one that was killed may not have come to it.
    pub(crate) fn has_told(&self, actor: &Actor, micros: i64) -> bool {
        let later = self.told.get(actor).and_then(|told| told.range(micros.saturating_add(1)..).next());
        later.is_some_and(|(_, begins)| !begins)
    }

    /// A fault took this away from what an actor sent: the last of its kind, for a fault is told at once.
    pub(crate) fn lose(&mut self, by: &'a Trace, datagram: &'a Datagram) -> Option<Flight<'a>> {
        let sent = self.waiting.get_mut(&route(&by.actor, datagram.port, datagram))?;
        let before = sent.partition_point(|flight| flight.micros <= by.micros);
        before.checked_sub(1).and_then(|last| sent.remove(last))
    }

    /// This came from an actor: the first of its kind that is on its way.
    pub(crate) fn land(&mut self, at: &'a Trace, datagram: &'a Datagram, from: &'a Actor) -> Option<Flight<'a>> {
        let ports = self.ports.iter().filter(|(_, owner)| **owner == &at.actor).map(|(port, _)| *port);
        let mut routes = ports.map(|port| route(from, port, datagram));
        let departed = |sent: &VecDeque<Flight<'_>>| sent.front().is_some_and(|flight| flight.micros <= at.micros);
        let route = routes.find(|route| self.waiting.get(route).is_some_and(departed))?;
        self.waiting.get_mut(&route)?.pop_front()
    }

    /// Those of which nobody has heard again.
    pub(crate) fn rest(&self) -> impl Iterator<Item = &Flight<'a>> {
        self.waiting.values().flatten()
    }
}

fn route<'a>(from: &'a Actor, port: u16, datagram: &'a Datagram) -> Route<'a> {
    (from, port, &datagram.frame, datagram.bytes)
}
