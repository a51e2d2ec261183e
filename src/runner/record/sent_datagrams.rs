//! Pairs the datagrams that actors sent with those that others received.
//!
//! A datagram's number makes the pair exact. If one number was sent several times, the oldest transmission pairs first.
//! Without numbers, datagrams of one kind and length are assumed to arrive in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::runner::lang::ast::ActorId;
use crate::runner::record::trace::{Trace, TraceKind, TracedDatagram};

/// The sent datagrams that are not paired yet, in order of time.
pub(crate) struct SentDatagrams<'a> {
    ports: BTreeMap<u16, &'a ActorId>,
    /// The times of the events of actors that trace datagrams, and whether each event starts an incarnation.
    reported: BTreeMap<&'a ActorId, BTreeMap<i64, bool>>,
    unpaired: BTreeMap<SocketPair<'a>, VecDeque<SentDatagram<'a>>>,
    /// The number of transmissions of a datagram number that did not arrive. A negative number means that the network
    /// made copies.
    missing: BTreeMap<LinkNumber<'a>, i64>,
}

/// The data that both ends know: the sender, the port of the receiver, the frame and the length.
type SocketPair<'a> = (&'a ActorId, u16, &'a str, u64);

/// A receiver and the number of a datagram.
type LinkNumber<'a> = (&'a ActorId, &'a (String, u64));

/// A datagram that was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentDatagram<'a> {
    pub(crate) from: &'a ActorId,
    pub(crate) datagram: &'a TracedDatagram,
    /// The time at which it was sent.
    pub(crate) micros: i64,
    /// Counts retransmissions from 1.
    pub(crate) copy: Option<u64>,
}

impl<'a> SentDatagrams<'a> {
    pub(crate) fn new(traces: &'a [Trace], server: Option<&'a ActorId>) -> Self {
        let mut all = Self {
            ports: BTreeMap::new(),
            reported: BTreeMap::new(),
            unpaired: BTreeMap::new(),
            missing: BTreeMap::new(),
        };
        for trace in traces {
            match &trace.kind {
                TraceKind::Listens { port, server: at } => {
                    all.ports.insert(*port, &trace.actor);
                    if let (Some(at), Some(server)) = (at, server) {
                        all.ports.entry(*at).or_insert(server);
                    }
                }
                TraceKind::Sent { datagram, copy } => {
                    let sent = SentDatagram { from: &trace.actor, datagram, micros: trace.micros, copy: *copy };
                    all.unpaired.entry(pair(&trace.actor, datagram.port, datagram)).or_default().push_back(sent);
                }
                _ => {}
            }
            let begins = matches!(trace.kind, TraceKind::Listens { .. });
            *all.reported.entry(&trace.actor).or_default().entry(trace.micros).or_default() |= begins;
        }
        // An actor may report its port and no datagrams.
        let is_of_datagram = |trace: &Trace| matches!(trace.kind, TraceKind::Sent { .. } | TraceKind::Received(_));
        let traced: BTreeSet<&ActorId> =
            traces.iter().filter(|trace| is_of_datagram(trace)).map(|trace| &trace.actor).collect();
        all.reported.retain(|actor, _| traced.contains(actor));
        for sent in all.unpaired.values_mut() {
            sent.make_contiguous().sort_by_key(|sent| sent.micros);
        }
        all.count_missing(traces);
        all
    }

    fn count_missing(&mut self, traces: &'a [Trace]) {
        for trace in traces {
            let (receiver, datagram, change) = match &trace.kind {
                TraceKind::Sent { datagram, .. } => (self.owner(datagram.port), datagram, 1),
                TraceKind::Received(datagram) | TraceKind::Dropped(datagram, _) => (Some(&trace.actor), datagram, -1),
                _ => continue,
            };
            if let (Some(receiver), Some(number)) = (receiver, &datagram.number) {
                *self.missing.entry((receiver, number)).or_default() += change;
            }
        }
    }

    /// The actor at a port. An actor keeps its ports when it restarts, and no two actors share one.
    pub(crate) fn owner(&self, port: u16) -> Option<&'a ActorId> {
        self.ports.get(&port).copied()
    }

    /// Whether an actor reports its datagrams. Otherwise it is unknown which ones it received.
    pub(crate) fn is_traced(&self, actor: Option<&ActorId>) -> bool {
        actor.is_none_or(|actor| self.reported.contains_key(actor))
    }

    /// Whether an actor has reported everything that it sent until then. A killed actor may not have.
    pub(crate) fn has_reported(&self, actor: &ActorId, micros: i64) -> bool {
        let later = self.reported.get(actor).and_then(|reported| reported.range(micros.saturating_add(1)..).next());
        later.is_some_and(|(_, begins)| !begins)
    }

    /// Takes the datagram that a fault at its sender dropped. A fault event has no number and follows its datagram at
    /// once. So this takes the last datagram of its kind that did not arrive, or else the last of its kind.
    pub(crate) fn take_lost(&mut self, by: &'a Trace, datagram: &'a TracedDatagram) -> Option<SentDatagram<'a>> {
        let receiver = self.owner(datagram.port);
        let sent = self.unpaired.get_mut(&pair(&by.actor, datagram.port, datagram))?;
        let before = sent.partition_point(|sent| sent.micros <= by.micros);
        let key = |sent: &SentDatagram<'a>| receiver.zip(sent.datagram.number.as_ref());
        let is_missing = |sent: &SentDatagram<'a>| {
            key(sent).and_then(|key| self.missing.get(&key)).is_some_and(|missing| *missing > 0)
        };
        let missing = (0..before).rev().find(|at| sent.get(*at).is_some_and(is_missing));
        let lost = sent.remove(missing.or(before.checked_sub(1))?)?;
        if let Some(missing) = key(&lost).and_then(|key| self.missing.get_mut(&key)) {
            *missing -= 1;
        }
        Some(lost)
    }

    /// Takes the datagram that arrived from an actor: the first of its kind with the same number. Without numbers, it
    /// is the first of its kind.
    pub(crate) fn take_arrived(
        &mut self,
        at: &'a Trace,
        datagram: &'a TracedDatagram,
        from: &'a ActorId,
    ) -> Option<SentDatagram<'a>> {
        let ports = self.ports.iter().filter(|(_, owner)| **owner == &at.actor).map(|(port, _)| *port);
        let is_it = |sent: &SentDatagram<'_>| sent.micros <= at.micros && sent.datagram.number == datagram.number;
        let (pair, place) = ports
            .map(|port| pair(from, port, datagram))
            .find_map(|pair| Some((pair, self.unpaired.get(&pair)?.iter().position(is_it)?)))?;
        self.unpaired.get_mut(&pair)?.remove(place)
    }

    /// The datagrams without a pair.
    pub(crate) fn unpaired(&self) -> impl Iterator<Item = &SentDatagram<'a>> {
        self.unpaired.values().flatten()
    }
}

fn pair<'a>(from: &'a ActorId, port: u16, datagram: &'a TracedDatagram) -> SocketPair<'a> {
    (from, port, &datagram.frame, datagram.bytes)
}
