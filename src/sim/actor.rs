//! A server or a client of a simulated world, over all its lives.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::core::client::Client;
use crate::core::event::Event;
use crate::core::fault::Faults;
use crate::core::machine::{Ending, Machine};
use crate::core::name::Name;
use crate::core::server::Server;
use crate::core::time::{Instant, earliest};

/// How long it takes until an event is where its reader has it.
const SHOW: Duration = Duration::from_micros(20);
/// The port of everybody, each being on a host of its own.
pub(super) const PORT: u16 = 7000;

/// The machine of one life.
pub(super) enum Role {
    Server(Box<Server>),
    Client(Box<Client>),
}

impl Role {
    pub(super) fn machine(&mut self) -> &mut dyn Machine {
        match self {
            Self::Server(server) => server.as_mut(),
            Self::Client(client) => client.as_mut(),
        }
    }

    fn is_idle(&self) -> bool {
        match self {
            Self::Server(server) => server.is_idle(),
            Self::Client(client) => client.is_idle(),
        }
    }
}

/// See the module.
pub(super) struct Actor {
    pub(super) addr: SocketAddr,
    /// The server has none.
    pub(super) name: Option<Name>,
    /// `None` between two lives.
    pub(super) role: Option<Role>,
    pub(super) paused: bool,
    /// Whether its output takes nothing.
    pub(super) blocked: bool,
    /// What came while it was paused.
    pub(super) mailbag: Vec<(SocketAddr, Vec<u8>)>,
    pub(super) faults: Faults,
    /// Events on their way to its reader.
    pub(super) showing: VecDeque<(Instant, Event)>,
    shown: u64,
    /// What its reader has seen, in all lives.
    pub(super) log: Vec<(Instant, Event)>,
    pub(super) ending: Option<Ending>,
    /// What it asked of the disk, and when that answers.
    pub(super) fetched: VecDeque<(Instant, Vec<u64>)>,
    /// When its machine wants to be called.
    pub(super) deadline: Option<Instant>,
}

impl Actor {
    /// One that was not started yet, on the host of this number.
    pub(super) fn new(host: usize, name: Option<Name>, faults: Faults) -> Self {
        let host = 0x0a00_0000 + u32::try_from(host).unwrap_or(u32::MAX);
        Self {
            addr: SocketAddr::from((Ipv4Addr::from(host), PORT)),
            name,
            role: None,
            paused: false,
            blocked: false,
            mailbag: Vec::new(),
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
    pub(super) fn begin(&mut self, role: Role) {
        self.role = Some(role);
        (self.paused, self.blocked) = (false, false);
        (self.shown, self.ending) = (0, None);
    }

    /// Ends its life without a word.
    pub(super) fn kill(&mut self) {
        self.role = None;
        self.showing.clear();
        self.mailbag.clear();
        self.fetched.clear();
    }

    /// Its machine has ended: what it had to say is shown, then it is gone.
    pub(super) fn ended(&mut self, now: Instant, ending: Ending) {
        let last = std::mem::take(&mut self.showing);
        self.log.extend(last.into_iter().map(|(_, event)| (now, event)));
        self.ending = Some(ending);
        self.role = None;
    }

    pub(super) fn say(&mut self, now: Instant, event: Event) {
        self.showing.push_back((now + SHOW, event));
    }

    /// Shows what is due. Returns how many events of this life were shown in all, if there are more now.
    pub(super) fn show(&mut self, now: Instant) -> Option<u64> {
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
    pub(super) fn next(&self) -> Option<Instant> {
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
    pub(super) fn is_idle(&self) -> bool {
        self.showing.is_empty() && self.role.as_ref().is_none_or(Role::is_idle)
    }
}
