//! One actor of a simulation: a server or a client with its socket, its output and its log, across all incarnations.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::netem::emulator::Emulator;
use crate::proto::client::Client;
use crate::proto::event::Event;
use crate::proto::keys::Identity;
use crate::proto::machine::{ClientInput, Exit, Input, Machine, Output, ServerEffect, ServerInput};
use crate::proto::name::Name;
use crate::proto::server::Server;
use crate::proto::time::{Instant, Now, earliest};

/// The time from an event to its display.
const SHOW: Duration = Duration::from_micros(20);
/// The most datagrams in the socket of a paused actor. Further ones are lost.
const SOCKET: usize = 4096;
/// The port of each actor. The actors have different hosts.
pub(crate) const PORT: u16 = 7000;

/// The machine of one incarnation.
pub(crate) enum SimMachine {
    Server(Box<Server>),
    Client(Box<Client>),
}

impl SimMachine {
    fn is_idle(&self) -> bool {
        match self {
            Self::Server(server) => server.is_idle(),
            Self::Client(client) => client.is_idle(),
        }
    }
}

/// An input of a server or a client.
#[derive(Debug)]
pub(crate) enum SimInput {
    Server(ServerInput),
    Client(ClientInput),
}

impl Machine for SimMachine {
    type Input = SimInput;
    type Effect = ServerEffect;

    /// Ignores an input of the other role.
    fn handle(&mut self, now: Now, input: Input<'_, SimInput>) {
        match self {
            Self::Server(server) => {
                let own = |input| if let SimInput::Server(input) = input { Some(input) } else { None };
                if let Some(input) = input.narrow(own) {
                    server.handle(now, input);
                }
            }
            Self::Client(client) => {
                let own = |input| if let SimInput::Client(input) = input { Some(input) } else { None };
                if let Some(input) = input.narrow(own) {
                    client.handle(now, input);
                }
            }
        }
    }

    fn poll(&mut self, now: Now) -> Option<Output<ServerEffect>> {
        match self {
            Self::Server(server) => server.poll(now),
            Self::Client(client) => client.poll(now).map(|output| output.map_effect(|none| match none {})),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Server(server) => server.deadline(),
            Self::Client(client) => client.deadline(),
        }
    }
}

/// An actor; see the module.
pub(crate) struct SimActor {
    pub(crate) addr: SocketAddr,
    /// `None` for the server.
    pub(crate) name: Option<Name>,
    /// The same in all incarnations.
    pub(crate) identity: Identity,
    /// `None` while the actor does not run.
    pub(crate) role: Option<SimMachine>,
    pub(crate) paused: bool,
    /// Whether the output is blocked.
    pub(crate) blocked: bool,
    /// Datagrams that arrived while the actor was paused. `inputs` has the other inputs.
    socket: VecDeque<(SocketAddr, Vec<u8>)>,
    inputs: VecDeque<Input<'static, SimInput>>,
    /// Faults of the datagrams that the actor sends.
    pub(crate) faults: Emulator<SocketAddr>,
    /// Events that are not displayed yet, with the time of their display.
    pub(crate) showing: VecDeque<(Instant, Event)>,
    /// The number of events that this incarnation displayed.
    shown: u64,
    /// The displayed events of all incarnations.
    pub(crate) log: Vec<(Instant, Event)>,
    pub(crate) ending: Option<Exit>,
    /// Messages requested from the disk, with the time of the answer.
    pub(crate) fetched: VecDeque<(Instant, Vec<u64>)>,
    /// The deadline of the machine.
    pub(crate) deadline: Option<Instant>,
}

impl SimActor {
    /// An actor that does not run yet, on the host with this number. Its key depends on its name and `key_seed`.
    pub(crate) fn new(host: usize, name: Option<Name>, key_seed: u64, faults: Emulator<SocketAddr>) -> Self {
        let host = 0x0a00_0000 + u32::try_from(host).unwrap_or(u32::MAX);
        Self {
            addr: SocketAddr::from((Ipv4Addr::from(host), PORT)),
            identity: identity(key_seed, name.as_ref()),
            name,
            role: None,
            paused: false,
            blocked: false,
            socket: VecDeque::new(),
            inputs: VecDeque::new(),
            faults,
            showing: VecDeque::new(),
            shown: 0,
            log: Vec::new(),
            ending: None,
            fetched: VecDeque::new(),
            deadline: None,
        }
    }

    /// Begins an incarnation.
    pub(crate) fn begin(&mut self, role: SimMachine) {
        self.role = Some(role);
        self.discard_backlog();
        (self.paused, self.blocked) = (false, false);
        (self.shown, self.ending) = (0, None);
    }

    /// Ends the incarnation at once.
    pub(crate) fn kill(&mut self) {
        self.role = None;
        self.showing.clear();
        self.fetched.clear();
        self.discard_backlog();
    }

    /// Discards the datagrams and other inputs that wait.
    fn discard_backlog(&mut self) {
        self.socket.clear();
        self.inputs.clear();
    }

    /// Queues a datagram until the actor is resumed. An actor that does not run loses it.
    pub(crate) fn keep_datagram(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        if self.role.is_some() && self.socket.len() < SOCKET {
            self.socket.push_back((from, bytes));
        }
    }

    /// Queues an input that is not a datagram until the actor is resumed. The caller limits the number of inputs.
    pub(crate) fn keep_input(&mut self, input: Input<'static, SimInput>) {
        if self.role.is_some() {
            self.inputs.push_back(input);
        }
    }

    /// Takes the first waiting datagram.
    pub(crate) fn next_datagram(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.socket.pop_front()
    }

    /// Takes the first waiting input that is not a datagram.
    pub(crate) fn next_input(&mut self) -> Option<Input<'static, SimInput>> {
        self.inputs.pop_front()
    }

    /// Removes a machine that has ended, and displays its last events.
    pub(crate) fn ended(&mut self, now: Instant, ending: Exit) {
        let last = std::mem::take(&mut self.showing);
        self.log.extend(last.into_iter().map(|(_, event)| (now, event)));
        self.ending = Some(ending);
        self.role = None;
    }

    /// Queues an event for display.
    pub(crate) fn emit(&mut self, now: Instant, event: Event) {
        self.showing.push_back((now + SHOW, event));
    }

    /// Displays events that are due. Returns the number of events that this incarnation displayed so far; `None` if no
    /// event was due.
    pub(crate) fn show(&mut self, now: Instant) -> Option<u64> {
        let before = self.shown;
        while !self.blocked
            && self.showing.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, event)) = self.showing.pop_front()
        {
            self.shown += 1;
            self.log.push((now, event));
        }
        (self.shown > before).then_some(self.shown)
    }

    /// The time of the actor's next event, except inputs and arriving datagrams.
    pub(crate) fn next(&self) -> Option<Instant> {
        if self.paused {
            return None;
        }
        let faults = self.faults.deadline();
        if self.role.is_none() {
            return faults;
        }
        let showing = self.showing.front().filter(|_| !self.blocked).map(|(at, _)| *at);
        let fetched = self.fetched.front().map(|(at, _)| *at);
        [self.deadline, showing, fetched].into_iter().fold(faults, earliest)
    }

    /// Whether no input or event waits and the machine is idle.
    pub(crate) fn is_idle(&self) -> bool {
        let waits = !(self.socket.is_empty() && self.inputs.is_empty());
        !waits && self.showing.is_empty() && self.role.as_ref().is_none_or(SimMachine::is_idle)
    }
}

/// The key pair of a name, or of the server. Actors of one name share it, as the programs of one user do, and keep it
/// over a restart. It takes no random numbers from the simulation.
fn identity(seed: u64, name: Option<&Name>) -> Identity {
    // No client is named `server`.
    let name = name.map_or("server", Name::as_str);
    Identity::from_secret(Sha256::new().chain_update(seed.to_le_bytes()).chain_update(name).finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::config::{ServerConfig, ServerLimits};
    use crate::proto::record::PersistedState;
    use crate::proto::time::Timestamp;

    fn server() -> SimMachine {
        let now = Now { mono: Instant::from_micros(1), unix: Timestamp::from_micros(1) };
        let (seed, identity) = ([0; 32], Identity::from_secret([1; 32]));
        let (kept, file) = (PersistedState::default(), String::new());
        let limits = ServerLimits::default();
        let config = ServerConfig { port: PORT, seed, identity, kept, limits, file, trace: false };
        SimMachine::Server(Box::new(Server::new(now, config)))
    }

    #[test]
    fn a_key_depends_on_the_seed_and_the_name() {
        let key = |seed, name: Option<&str>| {
            let name = name.map(|name| name.parse().unwrap());
            SimActor::new(0, name, seed, Emulator::default()).identity.public()
        };
        assert_eq!(key(1, Some("x")), key(1, Some("x")));
        let all = [key(1, Some("x")), key(2, Some("x")), key(1, Some("y")), key(1, None)];
        assert_eq!(std::collections::BTreeSet::from(all).len(), all.len());
    }

    #[test]
    fn a_socket_holds_a_limited_number_of_datagrams_and_a_new_incarnation_starts_with_none() {
        let mut actor = SimActor::new(0, None, 1, Emulator::default());
        let from = actor.addr;
        actor.keep_datagram(from, vec![0]);
        assert_eq!(actor.next_datagram(), None, "it does not run");
        actor.begin(server());
        let all: Vec<_> = (0..SOCKET).map(|number| (from, number.to_be_bytes().to_vec())).collect();
        for (from, bytes) in &all {
            actor.keep_datagram(*from, bytes.clone());
        }
        actor.keep_datagram(from, b"lost".to_vec());
        assert_eq!(std::iter::from_fn(|| actor.next_datagram()).collect::<Vec<_>>(), all);
        actor.keep_datagram(from, b"old".to_vec());
        actor.keep_input(Input::Shutdown);
        assert!(!actor.is_idle());
        actor.begin(server());
        assert!(actor.next_datagram().is_none() && actor.next_input().is_none());
    }
}
