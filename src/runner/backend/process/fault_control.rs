//! Injects network faults into own actors, by commands to their control sockets. A case continues when its faults are
//! in force.

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

/// Time limit for the answer of an actor. It is far longer than one turn of the actor's event loop.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The interval at which the actor itself is checked during the wait for its answer.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// The longest answer, in bytes. An answer is one sentence.
const MAX_ANSWER: usize = 1024;

/// The faults of a case, and the control sockets of its actors.
#[derive(Debug)]
pub(crate) struct FaultControl {
    /// The runner's socket, or the reason why faults are impossible.
    socket: Result<ControlSocket, String>,
    active: ActiveFaults,
    /// Counts of datagrams to drop for actors that do not run, by destination (`None` is any). They apply from the next
    /// start.
    pending_drops: BTreeMap<ActorId, BTreeMap<Option<SocketAddr>, u32>>,
    /// The control channel of the last incarnation of each actor.
    channels: BTreeMap<ActorId, ControlChannel>,
    seed: Seed,
}

/// The control socket of one incarnation of an actor.
#[derive(Debug)]
struct ControlChannel {
    control: PathBuf,
    /// The number of unanswered commands.
    unanswered: usize,
    paused: bool,
}

impl FaultControl {
    /// Starts without faults. The sockets are in this folder. The seed feeds the random numbers of the faults.
    pub(crate) fn new(folder: &Path, seed: Seed) -> Self {
        let (active, pending_drops, channels) = Default::default();
        Self { socket: ControlSocket::new(folder), active, pending_drops, channels, seed }
    }

    /// The reason why faults are impossible, if they are.
    pub(crate) fn unavailable(&self) -> Option<String> {
        self.socket.as_ref().err().cloned()
    }

    /// Notes a signal to an actor.
    pub(crate) fn signal(&mut self, actor: &ActorId, signal: Signal) {
        if let Some(channel) = self.channels.get_mut(actor) {
            channel.paused = signal == Signal::Pause || (channel.paused && signal != Signal::Resume);
        }
    }
}

/// The runner's socket, which talks to the control sockets of all actors.
#[derive(Debug)]
struct ControlSocket {
    socket: UnixDatagram,
    folder: PathBuf,
    /// The number of assigned paths.
    paths_given: u64,
}

impl ControlSocket {
    /// Binds a socket in this folder, in which the actors bind theirs too.
    ///
    /// # Errors
    /// One sentence: the path of the folder is too long for sockets, or the system refuses.
    fn new(folder: &Path) -> Result<Self, String> {
        if folder.to_str().is_none() {
            return Err(format!("The network cannot be disturbed: {} is no UTF-8 text.", folder.display()));
        }
        // Checks the longest path that can occur.
        ControlPath::new(folder.join(format!("_{}", u64::MAX)))?;
        let bound = || {
            let socket = UnixDatagram::bind(folder.join("_orders"))?;
            socket.set_read_timeout(Some(CHECK_INTERVAL))?;
            socket.set_write_timeout(Some(CHECK_INTERVAL))?;
            Ok(socket)
        };
        let socket = bound().map_err(|why: io::Error| format!("The network cannot be disturbed: {why}."))?;
        Ok(Self { socket, folder: folder.to_owned(), paths_given: 0 })
    }

    /// The path for the control socket of the next incarnation of an actor. Each path is used once, so that an answer
    /// belongs to one incarnation. No actor's folder has such a name.
    fn next_path(&mut self) -> PathBuf {
        self.paths_given += 1;
        self.folder.join(format!("_{}", self.paths_given))
    }

    /// Reads the next answer and the path of its sender. `None` after [`CHECK_INTERVAL`] without one.
    fn answer(&self) -> Option<(PathBuf, String)> {
        let mut buffer = [0; MAX_ANSWER];
        let (bytes, from) = self.socket.recv_from(&mut buffer).ok()?;
        Some((from.as_pathname()?.to_owned(), String::from_utf8_lossy(&buffer[..bytes]).into_owned()))
    }
}

impl ProcessBackend {
    /// Applies a change to all running actors, and keeps it for actors that start later.
    pub(crate) fn change_all_networks(&mut self, change: &NetworkChange<'_>) -> Result<(), BackendError> {
        let new = self.fault_control.active.apply(change);
        if matches!(change, NetworkChange::Heal) {
            self.fault_control.pending_drops.clear();
            let heal = FaultCommand { heal: true, ..FaultCommand::default() };
            return self.running_actors().iter().try_for_each(|actor| self.execute(actor, &heal));
        }
        new.iter().try_for_each(|(direction, fault)| self.add_fault(direction, *fault))
    }

    fn add_fault(&mut self, direction: &Direction, fault: Fault) -> Result<(), BackendError> {
        let actors: Vec<ActorId> = self.actors.keys().cloned().collect();
        for actor in actors {
            let Some(command) = command(&actor, direction, fault, |to| self.address(to)) else { continue };
            let runs = self.actors.get(&actor).is_some_and(Process::runs);
            if runs {
                self.execute(&actor, &command)?;
            } else if let Fault::Drop(count) = fault {
                let pending_drops =
                    self.fault_control.pending_drops.entry(actor).or_default().entry(command.to).or_default();
                *pending_drops = pending_drops.saturating_add(count);
            }
        }
        Ok(())
    }

    /// The arguments that give an incarnation of an actor its control socket and its faults. The faults apply from the
    /// first datagram.
    pub(crate) fn fault_args(&mut self, actor: &ActorId, incarnation: u32) -> Vec<String> {
        let Ok(control) = self.fault_control.socket.as_mut().map(ControlSocket::next_path) else { return Vec::new() };
        let seed = self.fault_control.seed.of_incarnation(actor, incarnation);
        let mut commands = vec![FaultCommand { seed: Some(seed.0), ..FaultCommand::default() }];
        commands.extend(self.fault_control.active.commands(actor, |to| self.address(to)));
        for (to, count) in self.fault_control.pending_drops.remove(actor).unwrap_or_default() {
            commands.push(FaultCommand { to, faults: vec![Fault::Drop(count)], ..FaultCommand::default() });
        }
        let mut args = vec!["--control".to_owned(), control.to_string_lossy().into_owned()];
        args.extend(commands.iter().flat_map(|command| ["--fault".to_owned(), command.to_string()]));
        self.fault_control.channels.insert(actor.clone(), ControlChannel { control, unanswered: 0, paused: false });
        args
    }

    /// Sends one command, and returns when it is in force. An actor that has ended needs no command. A paused actor
    /// executes the command before it sends anything.
    fn execute(&mut self, actor: &ActorId, command: &FaultCommand) -> Result<(), BackendError> {
        let until = self.now() + ANSWER_LIMIT;
        let mut sent = false;
        loop {
            while let Ok(message) = self.inbox.try_recv() {
                self.handle_message(message);
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

    fn running_actors(&self) -> Vec<ActorId> {
        self.actors.iter().filter(|(_, process)| process.runs()).map(|(actor, _)| actor.clone()).collect()
    }

    /// The address of an actor, if it was ever started.
    fn address(&self, actor: &ActorId) -> Option<SocketAddr> {
        let port = self.actors.get(actor).map(|process| process.port)?;
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    }
}
