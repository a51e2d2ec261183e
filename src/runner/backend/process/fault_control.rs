//! Faults of the network between own actors: orders to the control socket of each, obeyed before the case goes on.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::io::control::{ControlPath, OBEYED};
use crate::netem::fault::FaultCommand;
use crate::runner::backend::active_faults::{ActiveFaults, order};
use crate::runner::backend::process::{Process, ProcessBackend};
use crate::runner::backend::{Backend, BackendError, NetworkChange};
use crate::runner::lang::ast::{ActorId, Direction, Fault, Signal};
use crate::runner::run::seed::Seed;

/// How long an actor may take to obey: far longer than a turn of its loop.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer is waited for before the actor itself is looked after.
const GLANCE: Duration = Duration::from_millis(20);
/// The longest answer: a sentence.
const MAX_ANSWER: usize = 1024;

/// The faults of a case, and the way to those who are to obey them.
#[derive(Debug)]
pub(crate) struct FaultControl {
    /// Or why there is none.
    orders: Result<FaultCommands, String>,
    standing: ActiveFaults,
    /// How many datagrams those who do not run will lose, by address or to anybody, from their next start on.
    waiting: BTreeMap<ActorId, BTreeMap<Option<SocketAddr>, u32>>,
    /// The last life of each actor.
    lines: BTreeMap<ActorId, ControlChannel>,
    seed: Seed,
}

/// The way to one life of an actor.
#[derive(Debug)]
struct ControlChannel {
    control: PathBuf,
    /// How many orders it has not answered.
    unanswered: usize,
    paused: bool,
}

impl FaultControl {
    /// No faults yet. Sockets are in this folder, random numbers come from the seed.
    pub(crate) fn new(folder: &Path, seed: Seed) -> Self {
        let (standing, waiting, lines) = Default::default();
        Self { orders: FaultCommands::new(folder), standing, waiting, lines, seed }
    }

    /// Why there can be no faults, if that is so.
    pub(crate) fn lacking(&self) -> Option<String> {
        self.orders.as_ref().err().cloned()
    }

    /// Takes in that an actor is sent this signal.
    pub(crate) fn signal(&mut self, actor: &ActorId, signal: Signal) {
        if let Some(line) = self.lines.get_mut(actor) {
            line.paused = signal == Signal::Pause || (line.paused && signal != Signal::Resume);
        }
    }
}

/// The runner's end of all control sockets.
#[derive(Debug)]
struct FaultCommands {
    socket: UnixDatagram,
    folder: PathBuf,
    /// How many paths were given out.
    given: u64,
}

impl FaultCommands {
    /// An end in this folder, where the other ends will be too.
    ///
    /// # Errors
    /// One sentence: the path of the folder is too long for sockets, or the system refuses.
    fn new(folder: &Path) -> Result<Self, String> {
        if folder.to_str().is_none() {
            return Err(format!("The network cannot be disturbed: {} is no UTF-8 text.", folder.display()));
        }
        // As long as the last path that is given out.
        ControlPath::new(folder.join(format!("_{}", u64::MAX)))?;
        let bound = || {
            let socket = UnixDatagram::bind(folder.join("_orders"))?;
            socket.set_read_timeout(Some(GLANCE))?;
            socket.set_write_timeout(Some(GLANCE))?;
            Ok(socket)
        };
        let socket = bound().map_err(|why: io::Error| format!("The network cannot be disturbed: {why}."))?;
        Ok(Self { socket, folder: folder.to_owned(), given: 0 })
    }

    /// Where the next life of an actor takes its orders. No two have the same, so that no answer is taken for another;
    /// no folder of an actor has such a name.
    fn next_path(&mut self) -> PathBuf {
        self.given += 1;
        self.folder.join(format!("_{}", self.given))
    }

    /// The next answer, and from which path it came. `None` when there was none for a while.
    fn answer(&self) -> Option<(PathBuf, String)> {
        let mut buffer = [0; MAX_ANSWER];
        let (bytes, from) = self.socket.recv_from(&mut buffer).ok()?;
        Some((from.as_pathname()?.to_owned(), String::from_utf8_lossy(&buffer[..bytes]).into_owned()))
    }
}

impl ProcessBackend {
    /// Tells everybody who runs what is new, and remembers the rest for those who do not.
    pub(crate) fn order_all(&mut self, disturbance: &NetworkChange<'_>) -> Result<(), BackendError> {
        let new = self.trouble.standing.take(disturbance);
        if matches!(disturbance, NetworkChange::Heal) {
            self.trouble.waiting.clear();
            let heal = FaultCommand { heal: true, ..FaultCommand::default() };
            return self.runners().iter().try_for_each(|actor| self.tell(actor, &heal));
        }
        new.iter().try_for_each(|(way, fault)| self.order(way, *fault))
    }

    fn order(&mut self, way: &Direction, fault: Fault) -> Result<(), BackendError> {
        let actors: Vec<ActorId> = self.actors.keys().cloned().collect();
        for actor in actors {
            let Some(order) = order(&actor, way, fault, |to| self.address(to)) else { continue };
            let runs = self.actors.get(&actor).is_some_and(Process::runs);
            if runs {
                self.tell(&actor, &order)?;
            } else if let Fault::Drop(count) = fault {
                let waiting = self.trouble.waiting.entry(actor).or_default().entry(order.to).or_default();
                *waiting = waiting.saturating_add(count);
            }
        }
        Ok(())
    }

    /// The words of the command line by which a life of an actor takes orders, and has its faults from its first
    /// datagram on.
    pub(crate) fn words_of_trouble(&mut self, actor: &ActorId, life: u32) -> Vec<String> {
        let Ok(control) = self.trouble.orders.as_mut().map(FaultCommands::next_path) else { return Vec::new() };
        let seed = self.trouble.seed.of_life(actor, life);
        let mut orders = vec![FaultCommand { seed: Some(seed.0), ..FaultCommand::default() }];
        orders.extend(self.trouble.standing.orders(actor, |to| self.address(to)));
        for (to, count) in self.trouble.waiting.remove(actor).unwrap_or_default() {
            orders.push(FaultCommand { to, faults: vec![Fault::Drop(count)], ..FaultCommand::default() });
        }
        let mut words = vec!["--control".to_owned(), control.to_string_lossy().into_owned()];
        words.extend(orders.iter().flat_map(|order| ["--fault".to_owned(), order.to_string()]));
        self.trouble.lines.insert(actor.clone(), ControlChannel { control, unanswered: 0, paused: false });
        words
    }

    /// Gives one order, and returns when it is in force. Who has ended obeys every order; who is paused will obey
    /// before it sends anything.
    fn tell(&mut self, actor: &ActorId, order: &FaultCommand) -> Result<(), BackendError> {
        let until = self.now() + PATIENCE;
        let mut sent = false;
        loop {
            while let Ok(message) = self.inbox.try_recv() {
                self.sort(message);
            }
            let now = self.now();
            let runs = self.actors.get(actor).is_some_and(Process::runs);
            let FaultControl { orders, lines, .. } = &mut self.trouble;
            let (Ok(orders), Some(line), true) = (orders, lines.get_mut(actor), runs) else { return Ok(()) };
            if !sent && orders.socket.send_to(order.to_string().as_bytes(), &line.control).is_ok() {
                sent = true;
                line.unanswered += 1;
            }
            if sent && (line.paused || line.unanswered == 0) {
                return Ok(());
            }
            if now >= until || line.paused {
                return Err(BackendError(format!("{actor} does not take orders for its network")));
            }
            let Some((path, answer)) = orders.answer() else { continue };
            if let Some(line) = lines.values_mut().find(|line| line.control == path) {
                line.unanswered = line.unanswered.saturating_sub(1);
                if answer != OBEYED {
                    return Err(BackendError(answer));
                }
            }
        }
    }

    fn runners(&self) -> Vec<ActorId> {
        self.actors.iter().filter(|(_, process)| process.runs()).map(|(actor, _)| actor.clone()).collect()
    }

    /// Where everybody else sends what is for this actor, if it was started.
    fn address(&self, actor: &ActorId) -> Option<SocketAddr> {
        let port = self.actors.get(actor).map(|process| process.port)?;
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    }
}
