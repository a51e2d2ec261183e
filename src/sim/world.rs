//! A world of one server and some clients: everything that happens in it follows from its seed and what it is told.

use std::net::SocketAddr;
use std::time::Duration;

use super::actor::{Actor, PORT, Role};
use super::air::{Air, Datagram, Flying};
use super::disk::Disk;
use super::network::Net;
use crate::core::client::Client;
use crate::core::command;
use crate::core::config::{ClientConfig, ServerConfig};
use crate::core::console::Console;
use crate::core::event::Event;
use crate::core::fault::Faults;
use crate::core::machine::{Ending, Input, Output};
use crate::core::name::Name;
use crate::core::record::{Kept, Record};
use crate::core::rng::Rng;
use crate::core::server::{MAILBOX, Server};
use crate::core::time::{Instant, Now, Unix, earliest};

/// The server's actor.
pub const SERVER: usize = 0;
/// When the world begins: 2026-01-01T00:00:00Z.
const EPOCH: i64 = 1_767_225_600_000_000;
/// How long a sync takes.
const SYNC: Duration = Duration::from_micros(200);
/// A datagram at one end of its way.
#[derive(Clone, Debug)]
pub struct Passage {
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
pub struct World {
    now: Instant,
    rng: Rng,
    actors: Vec<Actor>,
    disk: Disk,
    air: Air,
    /// Every datagram that left or came, if anybody wants to know.
    traffic: Option<Vec<Passage>>,
}

impl World {
    /// A world with a server at port 1 of host 0, on this network.
    #[must_use]
    pub fn new(seed: u64, net: Net) -> Self {
        let mut world = Self::without_server(seed, net);
        world.start(SERVER);
        world
    }

    /// The same world, whose server was not started yet.
    #[must_use]
    pub fn without_server(seed: u64, net: Net) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut world = Self {
            now: Instant::from_micros(1_000_000),
            rng: Rng::new(bytes),
            actors: Vec::new(),
            disk: Disk::default(),
            air: Air::new(net),
            traffic: None,
        };
        world.add(None);
        world
    }

    fn add(&mut self, name: Option<Name>) -> usize {
        let index = self.actors.len();
        let faults = Faults::new(self.rng.bits());
        self.actors.push(Actor::new(index, name, faults));
        index
    }

    fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        for chunk in seed.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.rng.bits().to_le_bytes());
        }
        seed
    }

    fn start_server(&mut self, kept: Kept) {
        let seed = self.seed();
        let config = ServerConfig { port: PORT, seed, kept, mailbox: MAILBOX, file: "disk".to_owned(), trace: false };
        let server = Server::new(self.clock(), config);
        self.begin(SERVER, Role::Server(Box::new(server)));
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
    pub fn faults(&mut self, index: usize) -> &mut Faults {
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
            let kept = self.disk.crash();
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
        self.begin(index, Role::Client(Box::new(client)));
    }

    fn begin(&mut self, index: usize, role: Role) {
        self.actors[index].begin(role);
        self.drain(index);
    }

    /// Ends an actor without a word. What it had not shown or synced never was.
    pub fn kill(&mut self, index: usize) {
        self.actors[index].kill();
        if index == SERVER {
            let _ = self.disk.crash();
        }
    }

    /// Stops or continues an actor; what is sent to it meanwhile waits in its socket.
    pub fn pause(&mut self, index: usize, paused: bool) {
        self.actors[index].paused = paused;
        if !paused {
            for (from, bytes) in std::mem::take(&mut self.actors[index].mailbag) {
                self.handle(index, Input::Datagram { from, bytes: &bytes });
            }
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
        match command::parse(line.as_bytes()) {
            Ok(None) => {}
            Ok(Some(command)) => self.handle(index, Input::Command(Ok(command))),
            Err(mistake) => self.handle(index, Input::Command(Err(mistake))),
        }
    }

    /// Says a word at the server's terminal.
    pub fn console(&mut self, word: Console) {
        self.handle(SERVER, Input::Console(word));
    }

    /// Asks an actor to leave at once.
    pub fn leave(&mut self, index: usize) {
        self.handle(index, Input::Leave);
    }

    /// Closes an actor's input.
    pub fn finish(&mut self, index: usize) {
        self.handle(index, Input::Finish);
    }

    /// Changes the whole network.
    pub fn set_net(&mut self, net: Net) {
        self.air.set_net(net);
    }

    /// Changes one direction of one path.
    pub fn set_path(&mut self, from: usize, to: usize, net: Net) {
        self.air.set_path((from, to), net);
    }

    /// Swallows the next datagrams of one direction.
    pub fn drop_next(&mut self, from: usize, to: usize, count: u32) {
        self.air.drop_next((from, to), count);
    }

    /// Cuts one direction, or mends it.
    pub fn cut(&mut self, from: usize, to: usize, cut: bool) {
        self.air.cut((from, to), cut);
    }

    /// Mends everything.
    pub fn heal(&mut self) {
        self.air.heal();
    }

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
    pub fn unix(&self) -> Unix {
        self.clock().unix
    }

    /// The disk.
    pub fn disk(&mut self) -> &mut Disk {
        &mut self.disk
    }

    /// Everything on the disk is lost.
    pub fn wipe_disk(&mut self) {
        self.disk = Disk::default();
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
    pub fn ending(&self, index: usize) -> Option<&Ending> {
        self.actors[index].ending.as_ref()
    }

    /// The client machine of an actor that runs.
    #[must_use]
    pub fn client_machine(&self, index: usize) -> Option<&Client> {
        match self.actors[index].role.as_ref()? {
            Role::Client(client) => Some(client),
            Role::Server(_) => None,
        }
    }

    /// The server machine, if it runs.
    #[must_use]
    pub fn server_machine(&self) -> Option<&Server> {
        match self.actors[SERVER].role.as_ref()? {
            Role::Server(server) => Some(server),
            Role::Client(_) => None,
        }
    }

    /// Whether nothing is under way anywhere.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.air.is_empty() && self.disk.next().is_none() && self.actors.iter().all(Actor::is_idle)
    }

    /// Keeps every datagram from now on, for [`World::traffic`].
    pub fn keep_traffic(&mut self) {
        self.traffic = Some(Vec::new());
    }

    /// Every datagram that left or came since [`World::keep_traffic`], in order.
    #[must_use]
    pub fn traffic(&self) -> &[Passage] {
        self.traffic.as_deref().unwrap_or_default()
    }

    fn passes(&mut self, actor: usize, came: bool, bytes: &[u8]) {
        if let Some(traffic) = &mut self.traffic {
            traffic.push(Passage { at: self.now, actor, came, bytes: bytes.to_vec() });
        }
    }

    /// How many datagrams were sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.air.sent()
    }

    fn clock(&self) -> Now {
        let micros = i64::try_from(self.now.micros()).unwrap_or(i64::MAX);
        Now { mono: self.now, unix: Unix::from_micros(EPOCH + micros) }
    }

    fn handle(&mut self, index: usize, input: Input<'_>) {
        let now = self.clock();
        if let Some(role) = &mut self.actors[index].role {
            role.machine().handle(now, input);
            self.drain(index);
        }
    }

    fn drain(&mut self, index: usize) {
        let now = self.clock();
        while let Some(output) = self.actors[index].role.as_mut().and_then(|role| role.machine().poll(now)) {
            match output {
                Output::Transmit { to, bytes } => {
                    // Who swallowed it is of no interest here.
                    let _ = self.actors[index].faults.send(self.now, to, &bytes);
                    self.depart(index);
                }
                Output::Persist(record) => self.disk.write(self.now + SYNC, record),
                Output::Fetch(seqs) => self.actors[index].fetched.push_back((self.now + SYNC, seqs)),
                Output::Event(event) => self.actors[index].say(self.now, event),
                Output::Ended(ending) => {
                    let rest = self.actors[index].role.as_mut().and_then(|role| role.machine().poll(now));
                    assert!(rest.is_none(), "nothing comes after the end: {rest:?}");
                    self.actors[index].ended(self.now, ending);
                }
            }
        }
        self.actors[index].deadline = self.actors[index].role.as_mut().and_then(|role| role.machine().deadline());
    }

    /// Gives the network what an actor's faults let go by now.
    fn depart(&mut self, index: usize) {
        while let Some((to, bytes)) = self.actors[index].faults.due(self.now) {
            let reader = self.actors.iter().position(|actor| actor.addr == to);
            self.passes(index, false, &bytes);
            let datagram = Datagram { from: self.actors[index].addr, bytes };
            self.air.send(self.now, &mut self.rng, index, reader, datagram);
        }
    }

    /// When something happens next, if nothing is typed.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let all = self.actors.iter().map(Actor::next);
        all.fold(earliest(self.air.next(), self.disk.next()), earliest)
    }

    /// Goes to the next thing that happens, but not beyond `until`. Returns whether there was one.
    pub fn step(&mut self, until: Instant) -> bool {
        let Some(next) = self.next().filter(|next| *next <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        while let Some(Flying { to: index, from, bytes }) = self.air.arrived(self.now) {
            if self.actors[index].paused {
                self.actors[index].mailbag.push((from, bytes));
            } else {
                self.passes(index, true, &bytes);
                self.handle(index, Input::Datagram { from, bytes: &bytes });
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
            self.handle(SERVER, Input::Persisted { through, refused });
        }
    }

    fn wake(&mut self, index: usize) {
        while self.actors[index].fetched.front().is_some_and(|(at, _)| *at <= self.now)
            && let Some((_, seqs)) = self.actors[index].fetched.pop_front()
        {
            let mail = self.disk.fetch(&seqs);
            self.handle(index, Input::Mail(mail));
        }
        self.depart(index);
        if let Some(shown) = self.actors[index].show(self.now) {
            self.handle(index, Input::Shown(shown));
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
}
