//! A world of one server and some clients: everything that happens in it follows from its seed and what it is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::disk::Disk;
use super::network::{Net, Path};
use crate::core::client::Client;
use crate::core::command;
use crate::core::config::{ClientConfig, ServerConfig};
use crate::core::console::Console;
use crate::core::event::Event;
use crate::core::fault::Faults;
use crate::core::machine::{Ending, Input, Machine, Output};
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
/// How long it takes until an event is where its reader has it.
const SHOW: Duration = Duration::from_micros(20);

enum Role {
    Server(Box<Server>),
    Client(Box<Client>),
}

impl Role {
    fn machine(&mut self) -> &mut dyn Machine {
        match self {
            Self::Server(server) => server.as_mut(),
            Self::Client(client) => client.as_mut(),
        }
    }
}

/// A server or a client, over all its lives.
struct Actor {
    addr: SocketAddr,
    name: Option<Name>,
    role: Option<Role>,
    paused: bool,
    /// Whether its output takes nothing.
    blocked: bool,
    mailbag: Vec<(SocketAddr, Vec<u8>)>,
    faults: Faults,
    showing: VecDeque<(Instant, Event)>,
    shown: u64,
    log: Vec<(Instant, Event)>,
    ending: Option<Ending>,
    fetched: VecDeque<(Instant, Vec<u64>)>,
    /// When its machine wants to be called.
    deadline: Option<Instant>,
}

/// The world; see the module.
pub struct World {
    now: Instant,
    rng: Rng,
    actors: Vec<Actor>,
    disk: Disk,
    net: Net,
    paths: BTreeMap<(usize, usize), Path>,
    nets: BTreeMap<(usize, usize), Net>,
    cut: BTreeSet<(usize, usize)>,
    drops: BTreeMap<(usize, usize), u32>,
    air: BTreeMap<(Instant, u64), (usize, SocketAddr, Vec<u8>)>,
    sent: u64,
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
            net,
            paths: BTreeMap::new(),
            nets: BTreeMap::new(),
            cut: BTreeSet::new(),
            drops: BTreeMap::new(),
            air: BTreeMap::new(),
            sent: 0,
        };
        world.add(None);
        world
    }

    fn add(&mut self, name: Option<Name>) -> usize {
        let index = self.actors.len();
        let host = 0x0a00_0000 + u32::try_from(index).unwrap_or(u32::MAX);
        let addr = SocketAddr::from((std::net::Ipv4Addr::from(host), 7000));
        self.actors.push(Actor {
            addr,
            name,
            role: None,
            paused: false,
            blocked: false,
            mailbag: Vec::new(),
            faults: Faults::new(self.rng.bits()),
            showing: VecDeque::new(),
            shown: 0,
            log: Vec::new(),
            ending: None,
            fetched: VecDeque::new(),
            deadline: None,
        });
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
        let config = ServerConfig { port: 7000, seed, kept, mailbox: MAILBOX, file: "disk".to_owned(), trace: false };
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
        let actor = &mut self.actors[index];
        actor.role = Some(role);
        actor.paused = false;
        actor.blocked = false;
        actor.shown = 0;
        actor.ending = None;
        self.drain(index);
    }

    /// Ends an actor without a word. What it had not shown or synced never was.
    pub fn kill(&mut self, index: usize) {
        let actor = &mut self.actors[index];
        actor.role = None;
        actor.showing.clear();
        actor.mailbag.clear();
        actor.fetched.clear();
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
        self.net = net;
        self.nets.clear();
    }

    /// Changes one direction of one path.
    pub fn set_path(&mut self, from: usize, to: usize, net: Net) {
        self.nets.insert((from, to), net);
    }

    /// Swallows the next datagrams of one direction.
    pub fn drop_next(&mut self, from: usize, to: usize, count: u32) {
        *self.drops.entry((from, to)).or_default() += count;
    }

    /// Cuts one direction, or mends it.
    pub fn cut(&mut self, from: usize, to: usize, cut: bool) {
        if cut {
            self.cut.insert((from, to));
        } else {
            self.cut.remove(&(from, to));
        }
    }

    /// Mends everything.
    pub fn heal(&mut self) {
        self.cut.clear();
        self.drops.clear();
        self.nets.clear();
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
        let idle = |actor: &Actor| {
            actor.showing.is_empty()
                && match &actor.role {
                    None => true,
                    Some(Role::Server(server)) => server.is_idle(),
                    Some(Role::Client(client)) => client.is_idle(),
                }
        };
        self.air.is_empty() && self.disk.next().is_none() && self.actors.iter().all(idle)
    }

    /// How many datagrams were sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
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
                Output::Event(event) => self.actors[index].showing.push_back((self.now + SHOW, event)),
                Output::Ended(ending) => {
                    let actor = &mut self.actors[index];
                    let last = std::mem::take(&mut actor.showing);
                    actor.log.extend(last.into_iter().map(|(_, event)| (self.now, event)));
                    actor.ending = Some(ending);
                    actor.role = None;
                }
            }
        }
        self.actors[index].deadline = self.actors[index].role.as_mut().and_then(|role| role.machine().deadline());
    }

    /// Gives the network what an actor's faults let go by now.
    fn depart(&mut self, index: usize) {
        while let Some((to, bytes)) = self.actors[index].faults.due(self.now) {
            self.send(index, to, bytes);
        }
    }

    fn send(&mut self, from: usize, to: SocketAddr, bytes: Vec<u8>) {
        self.sent += 1;
        let Some(index) = self.actors.iter().position(|actor| actor.addr == to) else { return };
        let key = (from, index);
        if let Some(drops) = self.drops.get_mut(&key).filter(|drops| **drops > 0) {
            *drops -= 1;
            return;
        }
        let net = self.nets.get(&key).copied().unwrap_or(self.net);
        let path = self.paths.entry(key).or_default();
        let now = Duration::from_micros(self.now.micros());
        let arrivals = net.arrivals(&mut self.rng, path, now, bytes.len());
        if self.cut.contains(&key) {
            return;
        }
        let source = self.actors[from].addr;
        for (copy, takes) in arrivals.into_iter().enumerate() {
            let order = self.sent * 2 + u64::try_from(copy).unwrap_or(0);
            self.air.insert((self.now + takes, order), (index, source, bytes.clone()));
        }
    }

    /// When something happens next, if nothing is typed.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let mut next = earliest(self.air.keys().next().map(|(at, _)| *at), self.disk.next());
        for actor in self.actors.iter().filter(|actor| !actor.paused) {
            next = earliest(next, actor.faults.deadline());
            if actor.role.is_none() {
                continue;
            }
            let showing = actor.showing.front().filter(|_| !actor.blocked).map(|(at, _)| *at);
            let fetched = actor.fetched.front().map(|(at, _)| *at);
            next = [actor.deadline, showing, fetched].into_iter().fold(next, earliest);
        }
        next
    }

    /// Goes to the next thing that happens, but not beyond `until`. Returns whether there was one.
    pub fn step(&mut self, until: Instant) -> bool {
        let Some(next) = self.next().filter(|next| *next <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        while let Some(entry) = self.air.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (index, from, bytes) = entry.remove();
            if self.actors[index].paused {
                self.actors[index].mailbag.push((from, bytes));
            } else {
                self.handle(index, Input::Datagram { from, bytes: &bytes });
            }
        }
        if let Some((through, refused)) = self.disk.sync(self.now) {
            self.handle(SERVER, Input::Persisted { through, refused });
        }
        for index in 0..self.actors.len() {
            if !self.actors[index].paused {
                self.wake(index);
            }
        }
        true
    }

    fn wake(&mut self, index: usize) {
        while self.actors[index].fetched.front().is_some_and(|(at, _)| *at <= self.now)
            && let Some((_, seqs)) = self.actors[index].fetched.pop_front()
        {
            let mail = self.disk.fetch(&seqs);
            self.handle(index, Input::Mail(mail));
        }
        self.depart(index);
        let before = self.actors[index].shown;
        let (now, actor) = (self.now, &mut self.actors[index]);
        while !actor.blocked
            && actor.showing.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, event)) = actor.showing.pop_front()
        {
            actor.shown += 1;
            actor.log.push((now, event));
        }
        if actor.shown > before {
            let shown = actor.shown;
            self.handle(index, Input::Shown(shown));
        }
        if self.actors[index].deadline.is_some_and(|at| at <= now) {
            self.handle(index, Input::Timeout);
        }
    }

    /// Lets this much time pass.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    /// Lets time pass until an actor has shown a line, from entry `from` of its log on; at most `limit`.
    /// Returns the place of the line.
    pub fn run_until_line(&mut self, index: usize, from: usize, line: &str, limit: Duration) -> Option<usize> {
        let until = self.now + limit;
        loop {
            let found = self.log(index).iter().skip(from).position(|(_, event)| event.line().as_deref() == Some(line));
            if let Some(at) = found {
                return Some(from + at);
            }
            if !self.step(until) {
                return None;
            }
        }
    }
}
