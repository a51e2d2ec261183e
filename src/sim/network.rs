//! The air between actors: which datagrams are under way, when they arrive, and which never do.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::netem::link_model::{LinkModel, Path};
use crate::proto::rng::Rng;
use crate::proto::time::Instant;

/// One direction between two actors, by their numbers.
pub(crate) type Route = (usize, usize);

/// A datagram on its way.
#[derive(Debug)]
pub(crate) struct Flying {
    /// The actor whom it reaches.
    pub(crate) to: usize,
    /// The address that it was sent from.
    pub(crate) from: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Network {
    net: LinkModel,
    /// Ways with a network of their own.
    nets: BTreeMap<Route, LinkModel>,
    paths: BTreeMap<Route, Path>,
    cut: BTreeSet<Route>,
    /// How many datagrams of a way are swallowed next.
    drops: BTreeMap<Route, u32>,
    /// By arrival; of those that arrive together, the one sent first.
    flying: BTreeMap<(Instant, u64), Flying>,
    sent: u64,
}

impl Network {
    pub(crate) fn new(net: LinkModel) -> Self {
        let (nets, paths, cut, drops, flying) = Default::default();
        Self { net, nets, paths, cut, drops, flying, sent: 0 }
    }

    /// Changes the network of every way.
    pub(crate) fn set_net(&mut self, net: LinkModel) {
        self.net = net;
        self.nets.clear();
    }

    /// Changes the network of one way.
    pub(crate) fn set_path(&mut self, way: Route, net: LinkModel) {
        self.nets.insert(way, net);
    }

    /// Swallows the next datagrams of one way.
    pub(crate) fn drop_next(&mut self, way: Route, count: u32) {
        *self.drops.entry(way).or_default() += count;
    }

    /// Cuts one way.
    pub(crate) fn cut(&mut self, way: Route) {
        self.cut.insert(way);
    }

    /// Mends everything.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.drops.clear();
        self.nets.clear();
    }

    /// How many datagrams were given to it, those to nobody included.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    /// When the next datagram arrives.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.flying.keys().next().map(|(at, _)| *at)
    }

    /// Takes a datagram of the actor `sender`; without a reader it is lost.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        sender: usize,
        reader: Option<usize>,
        datagram: OutgoingDatagram,
    ) {
        self.sent += 1;
        let Some(to) = reader else { return };
        let way = (sender, to);
        if let Some(drops) = self.drops.get_mut(&way).filter(|drops| **drops > 0) {
            *drops -= 1;
            return;
        }
        let OutgoingDatagram { from, bytes } = datagram;
        let net = self.nets.get(&way).copied().unwrap_or(self.net);
        let path = self.paths.entry(way).or_default();
        let arrivals = net.arrivals(rng, path, Duration::from_micros(now.micros()), bytes.len());
        if self.cut.contains(&way) {
            return;
        }
        for (copy, takes) in arrivals.into_iter().enumerate() {
            let order = self.sent * 2 + u64::try_from(copy).unwrap_or(0);
            self.flying.insert((now + takes, order), Flying { to, from, bytes: bytes.clone() });
        }
    }

    /// The next datagram that has arrived by now.
    pub(crate) fn arrived(&mut self, now: Instant) -> Option<Flying> {
        self.flying.first_entry().filter(|entry| entry.key().0 <= now).map(|entry| entry.remove())
    }
}

/// What is sent.
#[derive(Debug)]
pub(crate) struct OutgoingDatagram {
    /// The address that it is sent from.
    pub(crate) from: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}
