//! A server or a client of a simulated world, over all its lives.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::netem::emulator::Emulator;
use crate::proto::client::Client;
use crate::proto::event::Event;
use crate::proto::machine::{ClientInput, Exit, Input, Machine, Output, ServerEffect, ServerInput};
use crate::proto::name::Name;
use crate::proto::server::Server;
use crate::proto::time::{Instant, Now, earliest};

/// How long it takes until an event is where its reader has it.
const SHOW: Duration = Duration::from_micros(20);
/// The most datagrams that wait in the socket of one that is paused; what comes then is lost.
const SOCKET: usize = 4096;
/// The port of everybody, each being on a host of its own.
pub(crate) const PORT: u16 = 7000;

/// The machine of one life.
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

/// An input of either role.
#[derive(Debug)]
pub(crate) enum SimInput {
    Server(ServerInput),
    Client(ClientInput),
}

impl Machine for SimMachine {
    type Input = SimInput;
    type Effect = ServerEffect;

    /// An input of the other role is ignored.
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

/// See the module.
pub(crate) struct SimActor {
    pub(crate) addr: SocketAddr,
    /// The server has none.
    pub(crate) name: Option<Name>,
    /// `None` between two lives.
    pub(crate) role: Option<SimMachine>,
    pub(crate) paused: bool,
    /// Whether its output takes nothing.
    pub(crate) blocked: bool,
    /// What came while it was paused: the datagrams, and everything else.
    socket: VecDeque<(SocketAddr, Vec<u8>)>,
    inputs: VecDeque<Input<'static, SimInput>>,
    /// Faults of the datagrams that it sends.
    pub(crate) faults: Emulator<SocketAddr>,
    /// Events on their way to its reader.
    pub(crate) showing: VecDeque<(Instant, Event)>,
    shown: u64,
    /// What its reader has seen, in all lives.
    pub(crate) log: Vec<(Instant, Event)>,
    pub(crate) ending: Option<Exit>,
    /// What it asked of the disk, and when that answers.
    pub(crate) fetched: VecDeque<(Instant, Vec<u64>)>,
    /// When its machine wants to be called.
    pub(crate) deadline: Option<Instant>,
}

impl SimActor {
    /// One that was not started yet, on the host of this number.
    pub(crate) fn new(host: usize, name: Option<Name>, faults: Emulator<SocketAddr>) -> Self {
        let host = 0x0a00_0000 + u32::try_from(host).unwrap_or(u32::MAX);
        Self {
            addr: SocketAddr::from((Ipv4Addr::from(host), PORT)),
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

    /// Begins a life.
    pub(crate) fn begin(&mut self, role: SimMachine) {
        self.role = Some(role);
        self.forget();
        (self.paused, self.blocked) = (false, false);
        (self.shown, self.ending) = (0, None);
    }

    /// Ends its life without a word.
    pub(crate) fn kill(&mut self) {
        self.role = None;
        self.showing.clear();
        self.fetched.clear();
        self.forget();
    }

    /// Nobody will find what waits.
    fn forget(&mut self) {
        self.socket.clear();
        self.inputs.clear();
    }

    /// Keeps a datagram until it is resumed. One that does not run keeps none.
    pub(crate) fn keep_datagram(&mut self, from: SocketAddr, bytes: Vec<u8>) {
        if self.role.is_some() && self.socket.len() < SOCKET {
            self.socket.push_back((from, bytes));
        }
    }

    /// Keeps anything else: whoever gives it has the limit.
    pub(crate) fn keep_input(&mut self, input: Input<'static, SimInput>) {
        if self.role.is_some() {
            self.inputs.push_back(input);
        }
    }

    /// The first datagram that waits.
    pub(crate) fn next_datagram(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.socket.pop_front()
    }

    /// The first of the other things that wait.
    pub(crate) fn next_input(&mut self) -> Option<Input<'static, SimInput>> {
        self.inputs.pop_front()
    }

    /// Its machine has ended: what it had to say is shown, then it is gone.
    pub(crate) fn ended(&mut self, now: Instant, ending: Exit) {
        let last = std::mem::take(&mut self.showing);
        self.log.extend(last.into_iter().map(|(_, event)| (now, event)));
        self.ending = Some(ending);
        self.role = None;
    }

    pub(crate) fn say(&mut self, now: Instant, event: Event) {
        self.showing.push_back((now + SHOW, event));
    }

    /// Shows what is due. Returns how many events of this life were shown in all, if there are more now.
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

    /// When something happens to it by itself.
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

    /// Whether nothing of it is under way.
    pub(crate) fn is_idle(&self) -> bool {
        let waits = !(self.socket.is_empty() && self.inputs.is_empty());
        !waits && self.showing.is_empty() && self.role.as_ref().is_none_or(SimMachine::is_idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::config::ServerConfig;
    use crate::proto::record::PersistedState;
    use crate::proto::server::MAILBOX;
    use crate::proto::time::Timestamp;

    fn server() -> SimMachine {
        let now = Now { mono: Instant::from_micros(1), unix: Timestamp::from_micros(1) };
        let (kept, file) = (PersistedState::default(), String::new());
        let config = ServerConfig { port: PORT, seed: [0; 32], kept, mailbox: MAILBOX, file, trace: false };
        SimMachine::Server(Box::new(Server::new(now, config)))
    }

    #[test]
    fn so_many_datagrams_wait_in_a_socket_and_none_in_that_of_another_life() {
        let mut actor = SimActor::new(0, None, Emulator::default());
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
