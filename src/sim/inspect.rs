//! Read access to a simulation, for tests and the scenario runner.

use crate::proto::client::Client;
use crate::proto::event::Event;
use crate::proto::machine::Exit;
use crate::proto::record::Record;
use crate::proto::server::Server;
use crate::proto::time::{Instant, Timestamp};
use crate::sim::actor::{SimActor, SimMachine};
use crate::sim::simulation::{PacketTrace, SERVER, Simulation};

impl Simulation {
    /// The number of actors, including the server.
    #[must_use]
    pub fn actors(&self) -> usize {
        self.actors.len()
    }

    /// The virtual time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The civil time of the simulation.
    #[must_use]
    pub fn unix(&self) -> Timestamp {
        self.clock().unix
    }

    /// Every record that was ever synced, in order.
    #[must_use]
    pub fn disk_history(&self) -> &[Record] {
        self.disk.history()
    }

    /// The number of messages and of receipts on disk.
    #[must_use]
    pub fn disk_holds(&self) -> (usize, usize) {
        (self.disk.mail().count(), self.disk.receipts().count())
    }

    /// The events that an actor has displayed, in all its incarnations.
    #[must_use]
    pub fn log(&self, index: usize) -> &[(Instant, Event)] {
        &self.actors[index].log
    }

    /// The lines that an actor has displayed.
    #[must_use]
    pub fn lines(&self, index: usize) -> Vec<String> {
        self.log(index).iter().filter_map(|(_, event)| event.line()).collect()
    }

    /// The number of events that an actor has not displayed yet.
    #[must_use]
    pub fn showing(&self, index: usize) -> usize {
        self.actors[index].showing.len()
    }

    /// The exit of the last incarnation of an actor; `None` if it runs or was killed.
    #[must_use]
    pub fn ending(&self, index: usize) -> Option<&Exit> {
        self.actors[index].ending.as_ref()
    }

    /// The machine of a client, if it runs.
    #[must_use]
    pub fn client_machine(&self, index: usize) -> Option<&Client> {
        match self.actors[index].role.as_ref()? {
            SimMachine::Client(client) => Some(client),
            SimMachine::Server(_) => None,
        }
    }

    /// The machine of the server, if it runs.
    #[must_use]
    pub fn server_machine(&self) -> Option<&Server> {
        match self.actors[SERVER].role.as_ref()? {
            SimMachine::Server(server) => Some(server),
            SimMachine::Client(_) => None,
        }
    }

    /// Whether no datagram, record or event is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.network.is_empty() && self.disk.next().is_none() && self.actors.iter().all(SimActor::is_idle)
    }

    /// Every datagram that left or arrived since [`Simulation::keep_traffic`], in order.
    #[must_use]
    pub fn traffic(&self) -> &[PacketTrace] {
        self.traffic.as_deref().unwrap_or_default()
    }

    /// The number of datagrams sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The number of datagrams sent in one direction so far, and of those that the network lost.
    #[must_use]
    pub fn sent_and_lost(&self, from: usize, to: usize) -> (u64, u64) {
        self.counts.get(&(from, to)).copied().unwrap_or_default()
    }
}
