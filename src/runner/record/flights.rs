//! Datagrams on their way: what one actor said that it sent, matched with what another said that it received.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::runner::lang::ast::ActorId;
use crate::runner::record::trace::{Trace, TraceKind, TracedDatagram};

/// Everything that was sent, in order of time, until it is known what became of it.
pub(crate) struct SentDatagrams<'a> {
    ports: BTreeMap<u16, &'a ActorId>,
    /// When those who tell of their datagrams told something, and whether it was that they had begun.
    told: BTreeMap<&'a ActorId, BTreeMap<i64, bool>>,
    waiting: BTreeMap<SocketPair<'a>, VecDeque<SentDatagram<'a>>>,
}

/// What is the same at both ends: from whom, to which port, the frame and the length.
type SocketPair<'a> = (&'a ActorId, u16, &'a str, u64);

/// A datagram that left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentDatagram<'a> {
    pub(crate) from: &'a ActorId,
    pub(crate) datagram: &'a TracedDatagram,
    /// When it left.
    pub(crate) micros: i64,
    /// Which retransmission it is.
    pub(crate) copy: Option<u64>,
}

impl<'a> SentDatagrams<'a> {
    pub(crate) fn new(traces: &'a [Trace], server: Option<&'a ActorId>) -> Self {
        let mut flights = Self { ports: BTreeMap::new(), told: BTreeMap::new(), waiting: BTreeMap::new() };
        for trace in traces {
            match &trace.what {
                TraceKind::Listens { port, server: at } => {
                    flights.ports.insert(*port, &trace.actor);
                    if let (Some(at), Some(server)) = (at, server) {
                        flights.ports.entry(*at).or_insert(server);
                    }
                }
                TraceKind::Sent { datagram, copy } => {
                    let flight = SentDatagram { from: &trace.actor, datagram, micros: trace.micros, copy: *copy };
                    flights.waiting.entry(route(&trace.actor, datagram.port, datagram)).or_default().push_back(flight);
                }
                _ => {}
            }
            let begins = matches!(trace.what, TraceKind::Listens { .. });
            *flights.told.entry(&trace.actor).or_default().entry(trace.micros).or_default() |= begins;
        }
        // Somebody who only says where it listens keeps its datagrams to itself.
        let speaks = |trace: &Trace| matches!(trace.what, TraceKind::Sent { .. } | TraceKind::Received(_));
        let speaking: BTreeSet<&ActorId> =
            traces.iter().filter(|trace| speaks(trace)).map(|trace| &trace.actor).collect();
        flights.told.retain(|actor, _| speaking.contains(actor));
        for flights in flights.waiting.values_mut() {
            flights.make_contiguous().sort_by_key(|flight| flight.micros);
        }
        flights
    }

    /// Whose port it is. Ports are kept over a restart, and no two actors share one.
    pub(crate) fn owner(&self, port: u16) -> Option<&'a ActorId> {
        self.ports.get(&port).copied()
    }

    /// Whether somebody tells of every datagram. Of the others nobody knows what arrived.
    pub(crate) fn is_speaking(&self, actor: Option<&ActorId>) -> bool {
        actor.is_none_or(|actor| self.told.contains_key(actor))
    }

    /// Whether somebody has told of everything that it had sent by then: one that was killed may not have come to it.
    pub(crate) fn has_told(&self, actor: &ActorId, micros: i64) -> bool {
        let later = self.told.get(actor).and_then(|told| told.range(micros.saturating_add(1)..).next());
        later.is_some_and(|(_, begins)| !begins)
    }

    /// A fault took this away from what an actor sent: the last of its kind, for a fault is told at once.
    pub(crate) fn lose(&mut self, by: &'a Trace, datagram: &'a TracedDatagram) -> Option<SentDatagram<'a>> {
        let sent = self.waiting.get_mut(&route(&by.actor, datagram.port, datagram))?;
        let before = sent.partition_point(|flight| flight.micros <= by.micros);
        before.checked_sub(1).and_then(|last| sent.remove(last))
    }

    /// This came from an actor: the first of its kind that is on its way.
    pub(crate) fn land(
        &mut self,
        at: &'a Trace,
        datagram: &'a TracedDatagram,
        from: &'a ActorId,
    ) -> Option<SentDatagram<'a>> {
        let ports = self.ports.iter().filter(|(_, owner)| **owner == &at.actor).map(|(port, _)| *port);
        let mut routes = ports.map(|port| route(from, port, datagram));
        let departed =
            |sent: &VecDeque<SentDatagram<'_>>| sent.front().is_some_and(|flight| flight.micros <= at.micros);
        let route = routes.find(|route| self.waiting.get(route).is_some_and(departed))?;
        self.waiting.get_mut(&route)?.pop_front()
    }

    /// Those of which nobody has heard again.
    pub(crate) fn rest(&self) -> impl Iterator<Item = &SentDatagram<'a>> {
        self.waiting.values().flatten()
    }
}

fn route<'a>(from: &'a ActorId, port: u16, datagram: &'a TracedDatagram) -> SocketPair<'a> {
    (from, port, &datagram.frame, datagram.bytes)
}
