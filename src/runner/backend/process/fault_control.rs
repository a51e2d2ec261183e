//! Faults of the network between own actors: commands to the control socket of each. A case continues when they are in
//! force.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::io::control::{ControlPath, DONE};
use crate::netem::fault::FaultCommand;
use crate::runner::backend::active_faults::{ActiveFaults, command};
use crate::runner::backend::process::{Process, ProcessBackend};
use crate::runner::backend::{Backend, BackendError, NetworkChange};
use crate::runner::lang::ast::{ActorId, Direction, Fault, Signal};
use crate::runner::run::seed::Seed;

/// Time limit for the answer of an actor: far longer than a turn of its event loop.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How often the actor itself is checked during the wait for its answer.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// The longest answer: a sentence.
const MAX_ANSWER: usize = 1024;

/// The faults of a case, and the control sockets of its actors.
#[derive(Debug)]
pub(crate) struct FaultControl {
    /// The end of the runner, or the reason why faults are impossible.
    socket: Result<ControlSocket, String>,
    standing: ActiveFaults,
    /// Drops for actors that do not run, by destination (`None` is any). They begin at the next start.
    waiting: BTreeMap<ActorId, BTreeMap<Option<SocketAddr>, u32>>,
    /// The control channel of the last incarnation of each actor.
    channels: BTreeMap<ActorId, ControlChannel>,
    seed: Seed,
}

/// The control socket of one incarnation of an actor.
#[derive(Debug)]
struct ControlChannel {
    control: PathBuf,
    /// How many commands are not answered.
    unanswered: usize,
    paused: bool,
}

impl FaultControl {
    /// Starts without faults. Sockets are in this folder; the seed is for the random numbers of the faults.
    pub(crate) fn new(folder: &Path, seed: Seed) -> Self {
        let (standing, waiting, channels) = Default::default();
        Self { socket: ControlSocket::new(folder), standing, waiting, channels, seed }
    }

    /// Why faults are impossible, if they are.
    pub(crate) fn lacking(&self) -> Option<String> {
        self.socket.as_ref().err().cloned()
    }

    /// Notes a signal to an actor.
    pub(crate) fn signal(&mut self, actor: &ActorId, signal: Signal) {
        if let Some(channel) = self.channels.get_mut(actor) {
            channel.paused = signal == Signal::Pause || (channel.paused && signal != Signal::Resume);
        }
    }
}

/// The end of the runner, for the control sockets of all actors.
#[derive(Debug)]
struct ControlSocket {
    socket: UnixDatagram,
    folder: PathBuf,
    /// The number of paths given out.
    given: u64,
}

impl ControlSocket {
    /// Binds a socket in this folder, where those of the actors will be too.
    ///
    /// # Errors
    /// One sentence: the path of the folder is too long for sockets, or the system refuses.
    fn new(folder: &Path) -> Result<Self, String> {
        if folder.to_str().is_none() {
            return Err(format!("The network cannot be disturbed: {} is no UTF-8 text.", folder.display()));
        }
        // The longest path that can be given out.
        ControlPath::new(folder.join(format!("_{}", u64::MAX)))?;
        let bound = || {
            let socket = UnixDatagram::bind(folder.join("_orders"))?;
            socket.set_read_timeout(Some(CHECK_INTERVAL))?;
            socket.set_write_timeout(Some(CHECK_INTERVAL))?;
            Ok(socket)
        };
        let socket = bound().map_err(|why: io::Error| format!("The network cannot be disturbed: {why}."))?;
        Ok(Self { socket, folder: folder.to_owned(), given: 0 })
    }

    /// The path for the control socket of the next incarnation of an actor. Each path is used once, so that an answer
    /// belongs to one incarnation. No folder of an actor has such a name.
    fn next_path(&mut self) -> PathBuf {
        self.given += 1;
        self.folder.join(format!("_{}", self.given))
    }

    /// Reads the next answer and the path of its sender. `None` after [`CHECK_INTERVAL`] without one.
    fn answer(&self) -> Option<(PathBuf, String)> {
        let mut buffer = [0; MAX_ANSWER];
        let (bytes, from) = self.socket.recv_from(&mut buffer).ok()?;
        Some((from.as_pathname()?.to_owned(), String::from_utf8_lossy(&buffer[..bytes]).into_owned()))
    }
}

impl ProcessBackend {
    /// Applies a change to all actors that run, and keeps it for those that start later.
    pub(crate) fn change_all_networks(&mut self, change: &NetworkChange<'_>) -> Result<(), BackendError> {
        let new = self.fault_control.standing.apply(change);
        if matches!(change, NetworkChange::Heal) {
            self.fault_control.waiting.clear();
            let heal = FaultCommand { heal: true, ..FaultCommand::default() };
            return self.runners().iter().try_for_each(|actor| self.execute(actor, &heal));
        }
        new.iter().try_for_each(|(way, fault)| self.add_fault(way, *fault))
    }

    fn add_fault(&mut self, way: &Direction, fault: Fault) -> Result<(), BackendError> {
        let actors: Vec<ActorId> = self.actors.keys().cloned().collect();
        for actor in actors {
            let Some(command) = command(&actor, way, fault, |to| self.address(to)) else { continue };
            let runs = self.actors.get(&actor).is_some_and(Process::runs);
            if runs {
                self.execute(&actor, &command)?;
            } else if let Fault::Drop(count) = fault {
                let waiting = self.fault_control.waiting.entry(actor).or_default().entry(command.to).or_default();
                *waiting = waiting.saturating_add(count);
            }
        }
        Ok(())
    }

    /// The arguments that give an incarnation of an actor its control socket, and its faults from the first datagram
    /// on.
    pub(crate) fn fault_args(&mut self, actor: &ActorId, life: u32) -> Vec<String> {
        let Ok(control) = self.fault_control.socket.as_mut().map(ControlSocket::next_path) else { return Vec::new() };
        let seed = self.fault_control.seed.of_life(actor, life);
        let mut commands = vec![FaultCommand { seed: Some(seed.0), ..FaultCommand::default() }];
        commands.extend(self.fault_control.standing.commands(actor, |to| self.address(to)));
        for (to, count) in self.fault_control.waiting.remove(actor).unwrap_or_default() {
            commands.push(FaultCommand { to, faults: vec![Fault::Drop(count)], ..FaultCommand::default() });
        }
        let mut args = vec!["--control".to_owned(), control.to_string_lossy().into_owned()];
        args.extend(commands.iter().flat_map(|command| ["--fault".to_owned(), command.to_string()]));
        self.fault_control.channels.insert(actor.clone(), ControlChannel { control, unanswered: 0, paused: false });
        args
    }

    /// Sends one command, and returns when it is in force. An actor that has ended needs none; a paused one executes it
    /// before it sends anything.
    fn execute(&mut self, actor: &ActorId, command: &FaultCommand) -> Result<(), BackendError> {
        let until = self.now() + ANSWER_LIMIT;
        let mut sent = false;
        loop {
            while let Ok(message) = self.inbox.try_recv() {
                self.sort(message);
            }
            let now = self.now();
            let runs = self.actors.get(actor).is_some_and(Process::runs);
            let FaultControl { socket, channels, .. } = &mut self.fault_control;
            let (Ok(socket), Some(channel), true) = (socket, channels.get_mut(actor), runs) else { return Ok(()) };
            if !sent && socket.socket.send_to(command.to_string().as_bytes(), &channel.control).is_ok() {
                sent = true;
                channel.unanswered += 1;
            }
            if sent && (channel.paused || channel.unanswered == 0) {
                return Ok(());
            }
            if now >= until || channel.paused {
                return Err(BackendError(format!("{actor} does not take orders for its network")));
            }
            let Some((path, answer)) = socket.answer() else { continue };
            if let Some(channel) = channels.values_mut().find(|channel| channel.control == path) {
                channel.unanswered = channel.unanswered.saturating_sub(1);
                if answer != DONE {
                    return Err(BackendError(answer));
                }
            }
        }
    }

    fn runners(&self) -> Vec<ActorId> {
        self.actors.iter().filter(|(_, process)| process.runs()).map(|(actor, _)| actor.clone()).collect()
    }

    /// The address of an actor that was started.
    fn address(&self, actor: &ActorId) -> Option<SocketAddr> {
        let port = self.actors.get(actor).map(|process| process.port)?;
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    }
}
