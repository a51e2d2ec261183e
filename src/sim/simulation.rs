//! A simulation of one server and its clients in virtual time. The same seed and the same calls give the same run.
//!
//! A datagram passes two emulators: first the one of its sender, with the faults of that program, then the network
//! between the actors. Every input to a machine is followed by a complete drain of its outputs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::netem::emulator::Emulator;
use crate::netem::fault::Fault;
use crate::netem::link_model::LinkModel;
use crate::proto::client::Client;
use crate::proto::command;
use crate::proto::config::{ClientConfig, ServerConfig, ServerLimits};
use crate::proto::console::Console;
use crate::proto::machine::{ClientInput, Input, Machine, Output, ServerEffect, ServerInput};
use crate::proto::name::Name;
use crate::proto::record::PersistedState;
use crate::proto::rng::Rng;
use crate::proto::server::Server;
use crate::proto::time::{Instant, Now, Timestamp, earliest};
use crate::sim::actor::{PORT, SimActor, SimInput, SimMachine};
use crate::sim::disk::Disk;

/// The index of the server among the actors.
pub const SERVER: usize = 0;
/// The civil time at the origin of virtual time: 2026-01-01T00:00:00Z.
pub(super) const EPOCH: i64 = 1_767_225_600_000_000;
/// The duration of a sync or a fetch.
pub(super) const SYNC: Duration = Duration::from_micros(200);
/// One direction between two actors: the indices of sender and receiver.
pub(super) type Route = (usize, usize);

/// A datagram as it leaves its sender or arrives at its receiver.
#[derive(Clone, Debug)]
pub struct PacketTrace {
    /// The virtual time of departure or arrival.
    pub at: Instant,
    /// The sender or the receiver.
    pub actor: usize,
    /// Whether the datagram arrived at the actor. Otherwise it left the actor.
    pub came: bool,
    /// The source if it arrived, otherwise the destination.
    pub peer: SocketAddr,
    /// The whole datagram.
    pub bytes: Vec<u8>,
}

/// A simulation; see the module.
pub struct Simulation {
    pub(super) now: Instant,
    rng: Rng,
    /// The seed of all identities.
    key_seed: u64,
    pub(super) actors: Vec<SimActor>,
    pub(super) disk: Disk,
    pub(super) network: Emulator<Route>,
    /// The number of datagrams sent, including datagrams to an address without an actor.
    pub(super) sent: u64,
    /// The limits of the server. They hold from its next start on.
    pub limits: ServerLimits,
    /// The number of the datagram to lose; see [`Simulation::lose`].
    losing: Option<u64>,
    /// The number of datagrams sent in each direction, and of those that the network lost.
    pub(super) counts: BTreeMap<Route, (u64, u64)>,
    /// Every datagram that left or arrived, after [`Simulation::keep_traffic`].
    pub(super) traffic: Option<Vec<PacketTrace>>,
}

impl Simulation {
    /// A simulation with a running server and a network with this link on all paths. Each actor has its own host.
    #[must_use]
    pub fn new(seed: u64, net: LinkModel) -> Self {
        let mut simulation = Self::without_server(seed, net);
        simulation.start(SERVER);
        simulation
    }

    /// A simulation like that of [`Simulation::new`], but the server is not started yet.
    #[must_use]
    pub fn without_server(seed: u64, net: LinkModel) -> Self {
        let mut rng = Rng::from_number(seed);
        let network = Emulator::new(rng.bits(), net);
        let mut simulation = Self {
            now: Instant::from_micros(1_000_000),
            rng,
            key_seed: seed,
            actors: Vec::new(),
            disk: Disk::default(),
            network,
            sent: 0,
            limits: ServerLimits::default(),
            losing: None,
            counts: BTreeMap::new(),
            traffic: None,
        };
        simulation.add_actor(None);
        simulation
    }

    fn add_actor(&mut self, name: Option<Name>) -> usize {
        let index = self.actors.len();
        let faults = Emulator::new(self.rng.bits(), LinkModel::TRANSPARENT);
        self.actors.push(SimActor::new(index, name, self.key_seed, faults));
        index
    }

    fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        for chunk in seed.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.rng.bits().to_le_bytes());
        }
        seed
    }

    fn start_server(&mut self, kept: PersistedState) {
        let (seed, identity, file) = (self.seed(), self.actors[SERVER].identity.clone(), "disk".to_owned());
        let limits = self.limits;
        let config = ServerConfig { port: PORT, seed, identity, kept, limits, file, trace: false };
        let server = Server::new(self.clock(), config);
        self.begin(SERVER, SimMachine::Server(Box::new(server)));
    }

    /// Adds a client with this name and starts it. Returns its index.
    ///
    /// # Panics
    /// If the name is not valid.
    pub fn client(&mut self, name: &str) -> usize {
        let index = self.enter(Name::new(name).expect("a name"));
        self.start(index);
        index
    }

    /// Adds a client without starting it. Returns its index.
    pub fn enter(&mut self, name: Name) -> usize {
        self.add_actor(Some(name))
    }

    /// The emulator behind the socket of an actor: its faults apply before those of the network.
    pub fn faults(&mut self, index: usize) -> &mut Emulator<SocketAddr> {
        &mut self.actors[index].faults
    }

    /// The address of an actor.
    #[must_use]
    pub fn addr(&self, index: usize) -> SocketAddr {
        self.actors[index].addr
    }

    /// Starts or restarts an actor. A client begins a new incarnation. The server reads its disk.
    pub fn start(&mut self, index: usize) {
        let Some(name) = self.actors[index].name.clone() else {
            let kept = self.disk.recover();
            return self.start_server(kept);
        };
        let (addr, server) = (self.actors[index].addr, self.actors[SERVER].addr);
        let config = ClientConfig {
            name,
            servers: vec![server],
            server: server.to_string(),
            addr,
            free_port: None,
            seed: self.seed(),
            identity: self.actors[index].identity.clone(),
            silent_leave: false,
            trace: false,
        };
        let client = Client::new(self.clock(), config);
        self.begin(index, SimMachine::Client(Box::new(client)));
    }

    fn begin(&mut self, index: usize, role: SimMachine) {
        self.actors[index].begin(role);
        self.drain(index);
    }

    /// Kills an actor. Events that were not displayed and records that were not synced are lost.
    pub fn kill(&mut self, index: usize) {
        self.actors[index].kill();
        if index == SERVER {
            let _ = self.disk.recover();
        }
    }

    /// Pauses or resumes an actor. Its datagrams and other inputs wait meanwhile.
    pub fn pause(&mut self, index: usize, paused: bool) {
        let resumed = std::mem::replace(&mut self.actors[index].paused, paused) && !paused;
        if resumed {
            self.process_backlog(index);
        }
    }

    /// Whether an actor is paused.
    #[must_use]
    pub fn is_paused(&self, index: usize) -> bool {
        self.actors[index].paused
    }

    /// Blocks or unblocks the output of an actor. Its events wait meanwhile.
    pub fn block(&mut self, index: usize, blocked: bool) {
        self.actors[index].blocked = blocked;
    }

    /// Types a line at an actor.
    pub fn type_line(&mut self, index: usize, line: &str) {
        if let Some(command) = command::parse(line.as_bytes()).transpose() {
            self.give(index, Input::Role(SimInput::Client(ClientInput::Command(command))));
        }
    }

    /// Types a command at the terminal of the server.
    pub fn console(&mut self, command: Console) {
        self.give(SERVER, Input::Role(SimInput::Server(ServerInput::Console(command))));
    }

    /// Asks an actor to shut down, as a signal does.
    pub fn leave(&mut self, index: usize) {
        self.give(index, Input::Shutdown);
    }

    /// Reports the end of its input to a client.
    pub fn finish(&mut self, index: usize) {
        self.give(index, Input::Role(SimInput::Client(ClientInput::EndOfInput)));
    }

    /// Replaces the links of all paths.
    pub fn set_net(&mut self, net: LinkModel) {
        self.network.set_link(net);
    }

    /// Replaces the link of one direction, until [`Simulation::heal`].
    pub fn set_path(&mut self, from: usize, to: usize, net: LinkModel) {
        self.network.set_path_link((from, to), net);
    }

    /// Leads several directions, each from a sender to a receiver, through one link, for good. [`Simulation::set_path`]
    /// of one of them then sets the link of all. Call it before their first datagram.
    pub fn share_path(&mut self, routes: &[(usize, usize)]) {
        self.network.share_link(routes);
    }

    /// Drops the next `count` datagrams of one direction.
    pub fn drop_next(&mut self, from: usize, to: usize, count: u32) {
        self.network.add_fault(Some((from, to)), Fault::Drop(count));
    }

    /// Loses the datagram with this number, counted from 1 over all senders.
    pub fn lose(&mut self, number: u64) {
        self.losing = Some(number);
    }

    /// Cuts one direction until [`Simulation::heal`].
    pub fn cut(&mut self, from: usize, to: usize) {
        self.network.add_fault(Some((from, to)), Fault::Cut);
    }

    /// Removes all faults of the network and the links of single directions. Faults of senders stay.
    pub fn heal(&mut self) {
        self.network.heal();
    }

    /// The disk of the server.
    pub fn disk(&mut self) -> &mut Disk {
        &mut self.disk
    }

    /// Replaces the disk with an empty one.
    pub fn wipe_disk(&mut self) {
        self.disk = Disk::default();
    }

    /// Records every datagram from now on for [`Simulation::traffic`].
    pub fn keep_traffic(&mut self) {
        self.traffic = Some(Vec::new());
    }

    /// Passes a datagram with this source to an actor at once. A test can forge the source.
    pub fn inject(&mut self, from: SocketAddr, index: usize, bytes: &[u8]) {
        if self.actors[index].paused {
            self.actors[index].keep_datagram(from, bytes.to_vec());
        } else {
            self.receive(index, from, bytes);
        }
    }

    /// Passes an input to an actor, or queues it while the actor is paused.
    fn give(&mut self, index: usize, input: Input<'static, SimInput>) {
        if self.actors[index].paused {
            self.actors[index].keep_input(input);
        } else {
            self.handle(index, input);
        }
    }

    /// Processes the backlog of an actor that was paused. The order is that of a stopped process that continues: the
    /// datagrams in its socket, the timers that are due, then the other inputs.
    fn process_backlog(&mut self, index: usize) {
        while let Some((from, bytes)) = self.actors[index].next_datagram() {
            self.receive(index, from, &bytes);
        }
        self.process_due(index);
        while let Some(input) = self.actors[index].next_input() {
            self.handle(index, input);
        }
    }

    fn receive(&mut self, index: usize, from: SocketAddr, bytes: &[u8]) {
        self.trace(index, true, from, bytes);
        self.handle(index, Input::Datagram { from, bytes });
    }

    fn handle(&mut self, index: usize, input: Input<'_, SimInput>) {
        let now = self.clock();
        if let Some(role) = &mut self.actors[index].role {
            role.handle(now, input);
            self.drain(index);
        }
    }

    fn drain(&mut self, index: usize) {
        let now = self.clock();
        while let Some(output) = self.actors[index].role.as_mut().and_then(|role| role.poll(now)) {
            match output {
                Output::Transmit { to, bytes } => {
                    // A simulation does not trace faults.
                    let _ = self.actors[index].faults.send(self.now, to, &bytes);
                    self.send_due(index);
                }
                Output::Effect(ServerEffect::Persist(record)) => self.disk.write(self.now + SYNC, record),
                Output::Effect(ServerEffect::Fetch(seqs)) => {
                    self.actors[index].fetched.push_back((self.now + SYNC, seqs));
                }
                Output::Event(event) => self.actors[index].emit(self.now, event),
                Output::Ended(ending) => {
                    let rest = self.actors[index].role.as_mut().and_then(|role| role.poll(now));
                    assert!(rest.is_none(), "nothing comes after the end: {rest:?}");
                    self.actors[index].ended(self.now, ending);
                    if index == SERVER {
                        self.disk.close();
                    }
                }
            }
        }
        self.actors[index].deadline = self.actors[index].role.as_mut().and_then(|role| role.deadline());
    }

    /// Passes the datagrams that are due at the emulator of an actor to the network.
    fn send_due(&mut self, index: usize) {
        while let Some((to, bytes)) = self.actors[index].faults.due(self.now) {
            self.trace(index, false, to, &bytes);
            self.sent += 1;
            if self.losing == Some(self.sent) {
                continue;
            }
            if let Some(reader) = self.actors.iter().position(|actor| actor.addr == to) {
                let is_lost = self.network.send(self.now, (index, reader), &bytes).is_some();
                let (sent, lost) = self.counts.entry((index, reader)).or_default();
                *sent += 1;
                *lost += u64::from(is_lost);
            }
        }
    }

    /// The time of the next event if no input arrives earlier.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let all = self.actors.iter().map(SimActor::next);
        all.fold(earliest(self.network.deadline(), self.disk.next()), earliest)
    }

    /// Advances to the next event and processes it, but not beyond `until`. Returns whether there was an event.
    pub fn step(&mut self, until: Instant) -> bool {
        let Some(next) = self.next().filter(|next| *next <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        while let Some(((sender, index), bytes)) = self.network.due(self.now) {
            let from = self.actors[sender].addr;
            self.inject(from, index, &bytes);
        }
        self.sync();
        for index in 0..self.actors.len() {
            if !self.actors[index].paused {
                self.process_due(index);
            }
        }
        true
    }

    /// Syncs records that are due and reports them to the server. If the server is to crash now ([`Disk::dies_at`]),
    /// kills and restarts it instead.
    fn sync(&mut self) {
        if self.disk.next().is_none_or(|at| at > self.now) {
            return;
        }
        let synced = self.disk.sync(self.now);
        if self.disk.is_at_death(self.now) {
            self.disk.dies_at = None;
            self.kill(SERVER);
            self.start(SERVER);
        } else if let Some((through, refused)) = synced {
            self.give(SERVER, Input::Role(SimInput::Server(ServerInput::Persisted { through, refused })));
        }
    }

    /// Processes the fetches, departures, displays and timers of an actor that are due.
    fn process_due(&mut self, index: usize) {
        while self.actors[index].fetched.front().is_some_and(|(at, _)| *at <= self.now)
            && let Some((_, seqs)) = self.actors[index].fetched.pop_front()
        {
            let mail = self.disk.fetch(&seqs);
            self.handle(index, Input::Role(SimInput::Server(ServerInput::Mail(mail))));
        }
        self.send_due(index);
        if let Some(shown) = self.actors[index].show(self.now) {
            self.handle(index, Input::Displayed(shown));
        }
        if self.actors[index].deadline.is_some_and(|at| at <= self.now) {
            self.handle(index, Input::Timeout);
        }
    }

    /// Advances the virtual time by `time` and processes all events until then.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    fn trace(&mut self, actor: usize, came: bool, peer: SocketAddr, bytes: &[u8]) {
        if let Some(traffic) = &mut self.traffic {
            traffic.push(PacketTrace { at: self.now, actor, came, peer, bytes: bytes.to_vec() });
        }
    }

    pub(super) fn clock(&self) -> Now {
        let micros = i64::try_from(self.now.micros()).unwrap_or(i64::MAX);
        Now { mono: self.now, unix: Timestamp::from_micros(EPOCH + micros) }
    }
}
