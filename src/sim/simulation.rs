//! A world of one server and some clients: everything that happens in it follows from its seed and what it is told.

use std::net::SocketAddr;
use std::time::Duration;

use crate::netem::emulator::Emulator;
use crate::netem::fault::Fault;
use crate::netem::link_model::LinkModel;
use crate::proto::client::Client;
use crate::proto::command;
use crate::proto::config::{ClientConfig, ServerConfig};
use crate::proto::console::Console;
use crate::proto::machine::{ClientInput, Input, Machine, Output, ServerEffect, ServerInput};
use crate::proto::name::Name;
use crate::proto::record::PersistedState;
use crate::proto::rng::Rng;
use crate::proto::server::{MAILBOX, Server};
use crate::proto::time::{Instant, Now, Timestamp, earliest};
use crate::sim::actor::{PORT, SimActor, SimInput, SimMachine};
use crate::sim::disk::Disk;

/// The server's actor.
pub const SERVER: usize = 0;
/// When the world begins: 2026-01-01T00:00:00Z.
pub(super) const EPOCH: i64 = 1_767_225_600_000_000;
/// How long a sync takes.
pub(super) const SYNC: Duration = Duration::from_micros(200);
/// One direction between two actors, by their numbers.
pub(super) type Route = (usize, usize);

/// A datagram at one end of its way.
#[derive(Clone, Debug)]
pub struct PacketTrace {
    /// When.
    pub at: Instant,
    /// At whom.
    pub actor: usize,
    /// Whether it came there, or else left.
    pub came: bool,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// The world; see the module.
pub struct Simulation {
    pub(super) now: Instant,
    pub(super) rng: Rng,
    pub(super) actors: Vec<SimActor>,
    pub(super) disk: Disk,
    pub(super) network: Emulator<Route>,
    /// How many datagrams were sent, including those to an address without an actor.
    pub(super) sent: u64,
    /// Every datagram that left or came, if anybody wants to know.
    pub(super) traffic: Option<Vec<PacketTrace>>,
}

impl Simulation {
    /// A world with a server that runs, on this network. Everybody is at the same port of a host of its own.
    #[must_use]
    pub fn new(seed: u64, net: LinkModel) -> Self {
        let mut world = Self::without_server(seed, net);
        world.start(SERVER);
        world
    }

    /// The same world, whose server was not started yet.
    #[must_use]
    pub fn without_server(seed: u64, net: LinkModel) -> Self {
        let mut rng = Rng::from_number(seed);
        let network = Emulator::new(rng.bits(), net);
        let mut world = Self {
            now: Instant::from_micros(1_000_000),
            rng,
            actors: Vec::new(),
            disk: Disk::default(),
            network,
            sent: 0,
            traffic: None,
        };
        world.add(None);
        world
    }

    pub(super) fn add(&mut self, name: Option<Name>) -> usize {
        let index = self.actors.len();
        let faults = Emulator::new(self.rng.bits(), LinkModel::TRANSPARENT);
        self.actors.push(SimActor::new(index, name, faults));
        index
    }

    pub(super) fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        for chunk in seed.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.rng.bits().to_le_bytes());
        }
        seed
    }

    pub(super) fn start_server(&mut self, kept: PersistedState) {
        let seed = self.seed();
        let config = ServerConfig { port: PORT, seed, kept, mailbox: MAILBOX, file: "disk".to_owned(), trace: false };
        let server = Server::new(self.clock(), config);
        self.begin(SERVER, SimMachine::Server(Box::new(server)));
    }

    /// Adds a client with this name, and starts it.
    ///
    /// # Panics
    /// When the name is none: worlds are built by tests and scenarios that checked it.
    pub fn client(&mut self, name: &str) -> usize {
        let index = self.enter(Name::new(name).expect("a name"));
        self.start(index);
        index
    }

    /// Adds a client that is not started yet.
    pub fn enter(&mut self, name: Name) -> usize {
        self.add(Some(name))
    }

    /// What disturbs the datagrams that an actor sends, before the network has them.
    pub fn faults(&mut self, index: usize) -> &mut Emulator<SocketAddr> {
        &mut self.actors[index].faults
    }

    /// Where an actor is.
    #[must_use]
    pub fn addr(&self, index: usize) -> SocketAddr {
        self.actors[index].addr
    }

    /// Starts an actor (again): a client in a new life, the server with what is on its disk.
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
            silent_leave: false,
            trace: false,
        };
        let client = Client::new(self.clock(), config);
        self.begin(index, SimMachine::Client(Box::new(client)));
    }

    pub(super) fn begin(&mut self, index: usize, role: SimMachine) {
        self.actors[index].begin(role);
        self.drain(index);
    }

    /// Ends an actor without a word. What it had not shown or synced never was.
    pub fn kill(&mut self, index: usize) {
        self.actors[index].kill();
        if index == SERVER {
            let _ = self.disk.recover();
        }
    }

    /// Stops or continues an actor; what is sent to it, typed and asked of it meanwhile waits.
    pub fn pause(&mut self, index: usize, paused: bool) {
        let resumed = std::mem::replace(&mut self.actors[index].paused, paused) && !paused;
        if resumed {
            self.catch_up(index);
        }
    }

    /// Whether an actor is stopped.
    #[must_use]
    pub fn is_paused(&self, index: usize) -> bool {
        self.actors[index].paused
    }

    /// Whether an actor's output takes anything.
    pub fn block(&mut self, index: usize, blocked: bool) {
        self.actors[index].blocked = blocked;
    }

    /// Types a line.
    pub fn type_line(&mut self, index: usize, line: &str) {
        if let Some(command) = command::parse(line.as_bytes()).transpose() {
            self.tell(index, Input::Role(SimInput::Client(ClientInput::Command(command))));
        }
    }

    /// Says a word at the server's terminal.
    pub fn console(&mut self, word: Console) {
        self.tell(SERVER, Input::Role(SimInput::Server(ServerInput::Console(word))));
    }

    /// Asks an actor to leave at once.
    pub fn leave(&mut self, index: usize) {
        self.tell(index, Input::Shutdown);
    }

    /// Closes an actor's input.
    pub fn finish(&mut self, index: usize) {
        self.tell(index, Input::Role(SimInput::Client(ClientInput::EndOfInput)));
    }

    /// Changes the whole network.
    pub fn set_net(&mut self, net: LinkModel) {
        self.network.set_link(net);
    }

    /// Changes one direction of one path.
    pub fn set_path(&mut self, from: usize, to: usize, net: LinkModel) {
        self.network.set_path_link((from, to), net);
    }

    /// Swallows the next datagrams of one direction.
    pub fn drop_next(&mut self, from: usize, to: usize, count: u32) {
        self.network.add_fault(Some((from, to)), Fault::Drop(count));
    }

    /// Cuts one direction until [`Simulation::heal`].
    pub fn cut(&mut self, from: usize, to: usize) {
        self.network.add_fault(Some((from, to)), Fault::Cut);
    }

    /// Mends everything.
    pub fn heal(&mut self) {
        self.network.heal();
    }

    /// The disk.
    pub fn disk(&mut self) -> &mut Disk {
        &mut self.disk
    }

    /// Everything on the disk is lost.
    pub fn wipe_disk(&mut self) {
        self.disk = Disk::default();
    }

    /// Keeps every datagram from now on, for [`Simulation::traffic`].
    pub fn keep_traffic(&mut self) {
        self.traffic = Some(Vec::new());
    }

    /// Tells an actor something; one that is paused hears of it when it is resumed.
    fn tell(&mut self, index: usize, input: Input<'static, SimInput>) {
        if self.actors[index].paused {
            self.actors[index].keep_input(input);
        } else {
            self.handle(index, input);
        }
    }

    /// One that goes on finds what a stopped process finds: first the datagrams in its socket, then what is late, then
    /// what was typed and asked of it, in order.
    fn catch_up(&mut self, index: usize) {
        while let Some((from, bytes)) = self.actors[index].next_datagram() {
            self.receive(index, from, &bytes);
        }
        self.wake(index);
        while let Some(input) = self.actors[index].next_input() {
            self.handle(index, input);
        }
    }

    fn receive(&mut self, index: usize, from: SocketAddr, bytes: &[u8]) {
        self.passes(index, true, bytes);
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
                    // Who swallowed it is of no interest here.
                    let _ = self.actors[index].faults.send(self.now, to, &bytes);
                    self.depart(index);
                }
                Output::Effect(ServerEffect::Persist(record)) => self.disk.write(self.now + SYNC, record),
                Output::Effect(ServerEffect::Fetch(seqs)) => {
                    self.actors[index].fetched.push_back((self.now + SYNC, seqs));
                }
                Output::Event(event) => self.actors[index].say(self.now, event),
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

    /// Gives the network what an actor's faults let go by now.
    fn depart(&mut self, index: usize) {
        while let Some((to, bytes)) = self.actors[index].faults.due(self.now) {
            self.passes(index, false, &bytes);
            self.sent += 1;
            if let Some(reader) = self.actors.iter().position(|actor| actor.addr == to) {
                let _ = self.network.send(self.now, (index, reader), &bytes);
            }
        }
    }

    /// When something happens next, if nothing is typed.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let all = self.actors.iter().map(SimActor::next);
        all.fold(earliest(self.network.deadline(), self.disk.next()), earliest)
    }

    /// Goes to the next thing that happens, but not beyond `until`. Returns whether there was one.
    pub fn step(&mut self, until: Instant) -> bool {
        let Some(next) = self.next().filter(|next| *next <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        while let Some(((sender, index), bytes)) = self.network.due(self.now) {
            let from = self.actors[sender].addr;
            if self.actors[index].paused {
                self.actors[index].keep_datagram(from, bytes);
            } else {
                self.receive(index, from, &bytes);
            }
        }
        self.sync();
        for index in 0..self.actors.len() {
            if !self.actors[index].paused {
                self.wake(index);
            }
        }
        true
    }

    /// Syncs what is due; the server hears of it, or dies before and starts again.
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
            self.tell(SERVER, Input::Role(SimInput::Server(ServerInput::Persisted { through, refused })));
        }
    }

    fn wake(&mut self, index: usize) {
        while self.actors[index].fetched.front().is_some_and(|(at, _)| *at <= self.now)
            && let Some((_, seqs)) = self.actors[index].fetched.pop_front()
        {
            let mail = self.disk.fetch(&seqs);
            self.handle(index, Input::Role(SimInput::Server(ServerInput::Mail(mail))));
        }
        self.depart(index);
        if let Some(shown) = self.actors[index].show(self.now) {
            self.handle(index, Input::Displayed(shown));
        }
        if self.actors[index].deadline.is_some_and(|at| at <= self.now) {
            self.handle(index, Input::Timeout);
        }
    }

    /// Lets this much time pass.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    fn passes(&mut self, actor: usize, came: bool, bytes: &[u8]) {
        if let Some(traffic) = &mut self.traffic {
            traffic.push(PacketTrace { at: self.now, actor, came, bytes: bytes.to_vec() });
        }
    }

    pub(super) fn clock(&self) -> Now {
        let micros = i64::try_from(self.now.micros()).unwrap_or(i64::MAX);
        Now { mono: self.now, unix: Timestamp::from_micros(EPOCH + micros) }
    }
}
