//! What can be seen of a world; nothing of it changes.

use crate::proto::client::Client;
use crate::proto::event::Event;
use crate::proto::machine::Exit;
use crate::proto::record::Record;
use crate::proto::server::Server;
use crate::proto::time::{Instant, Timestamp};
use crate::sim::actor::{SimActor, SimMachine};
use crate::sim::simulation::{PacketTrace, SERVER, Simulation};

impl Simulation {
    /// How many actors there are, the server among them.
    #[must_use]
    pub fn actors(&self) -> usize {
        self.actors.len()
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The time, for people.
    #[must_use]
    pub fn unix(&self) -> Timestamp {
        self.clock().unix
    }

    /// Every record that was ever synced, in order.
    #[must_use]
    pub fn disk_history(&self) -> &[Record] {
        self.disk.history()
    }

    /// How many messages and how many receipts are on disk.
    #[must_use]
    pub fn disk_holds(&self) -> (usize, usize) {
        (self.disk.mail().count(), self.disk.receipts().count())
    }

    /// What an actor has shown, in all its lives.
    #[must_use]
    pub fn log(&self, index: usize) -> &[(Instant, Event)] {
        &self.actors[index].log
    }

    /// The lines an actor has shown.
    #[must_use]
    pub fn lines(&self, index: usize) -> Vec<String> {
        self.log(index).iter().filter_map(|(_, event)| event.line()).collect()
    }

    /// How many events wait in front of an actor's output.
    #[must_use]
    pub fn showing(&self, index: usize) -> usize {
        self.actors[index].showing.len()
    }

    /// How an actor's last life ended, if it did by itself.
    #[must_use]
    pub fn ending(&self, index: usize) -> Option<&Exit> {
        self.actors[index].ending.as_ref()
    }

    /// The client machine of an actor that runs.
    #[must_use]
    pub fn client_machine(&self, index: usize) -> Option<&Client> {
        match self.actors[index].role.as_ref()? {
            SimMachine::Client(client) => Some(client),
            SimMachine::Server(_) => None,
        }
    }

    /// The server machine, if it runs.
    #[must_use]
    pub fn server_machine(&self) -> Option<&Server> {
        match self.actors[SERVER].role.as_ref()? {
            SimMachine::Server(server) => Some(server),
            SimMachine::Client(_) => None,
        }
    }

    /// Whether nothing is under way anywhere.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.network.is_empty() && self.disk.next().is_none() && self.actors.iter().all(SimActor::is_idle)
    }

    /// Every datagram that left or came since [`Simulation::keep_traffic`], in order.
    #[must_use]
    pub fn traffic(&self) -> &[PacketTrace] {
        self.traffic.as_deref().unwrap_or_default()
    }

    /// How many datagrams were sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }
}
