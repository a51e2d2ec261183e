//! Is it still there? A name's holder is asked, and what depends on the answer waits here.

use std::time::Duration;

use crate::proto::event::reason::Reason;
use crate::proto::id::Incarnation;
use crate::proto::link::rtt::Rtt;
use crate::proto::name::Name;
use crate::proto::record::Mail;
use crate::proto::server::replies::RequestId;
use crate::proto::server::{LIMIT, Server};
use crate::proto::time::Instant;
use crate::proto::wire::{Frame, Header, RequestOutcome};

/// The most newcomers and messages that wait for one answer.
pub const WAITING: usize = 256;
/// How long a client of an earlier life of this server has to register again.
const RESTART_LIMIT: Duration = Duration::from_secs(1);

/// A question under way to the holder of a name.
#[derive(Debug)]
pub struct Ping {
    incarnation: Incarnation,
    /// What the answer must repeat: an old datagram on its way here is none.
    number: u32,
    until: Instant,
    copies: u32,
    next: Instant,
    claims: Vec<Claim>,
    saves: Vec<(RequestId, Mail)>,
}

/// A newcomer that wants the name.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub(super) incarnation: Incarnation,
    pub(super) r: u64,
}

impl Ping {
    pub(super) fn deadline(&self) -> Instant {
        self.until.min(self.next)
    }
}

impl Server {
    /// After a start: everybody who was online is asked to register again.
    pub(super) fn ping_all(&mut self, now: Instant) {
        let online = self.table.iter().filter(|(_, row)| row.online);
        let names: Vec<Name> = online.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.ask(now, &name, RESTART_LIMIT);
        }
    }

    /// A client did not acknowledge, or was silent for long.
    pub(super) fn start_ping(&mut self, now: Instant, incarnation: Incarnation) {
        let reading = self.sessions.get(&incarnation).filter(|session| session.is_reading());
        if let Some(name) = reading.and_then(|session| session.name.clone()) {
            self.ask(now, &name, LIMIT);
        }
    }

    /// A newcomer waits for the answer of the name's holder.
    pub(super) fn claim(&mut self, now: Instant, name: &Name, claim: Claim) {
        self.ask(now, name, LIMIT);
        match self.asks.get_mut(name) {
            Some(ask) if ask.claims.len() < WAITING => ask.claims.push(claim),
            _ => self.refuse(claim.incarnation, claim.r, name, Reason::NameInUse),
        }
    }

    /// A message waits for the answer of its reader. Gives it back when too many do.
    pub(super) fn check(&mut self, now: Instant, request: RequestId, mail: Mail) -> Option<Mail> {
        let Some(reader) = mail.header.reader().cloned() else { return Some(mail) };
        self.ask(now, &reader, LIMIT);
        match self.asks.get_mut(&reader) {
            Some(ask) if ask.saves.len() < WAITING => {
                ask.saves.push((request, mail));
                None
            }
            _ => Some(mail),
        }
    }

    fn ask(&mut self, now: Instant, name: &Name, limit: Duration) {
        let Some(row) = self.table.get(name) else { return };
        if !self.asks.contains_key(name) {
            self.questions = self.questions.wrapping_add(1);
            let number = self.questions;
            let ask = Ping {
                number,
                incarnation: row.incarnation,
                until: now + limit,
                copies: 0,
                next: now,
                claims: Vec::new(),
                saves: Vec::new(),
            };
            self.asks.insert(name.clone(), ask);
            self.ask_again(now, name);
        }
    }

    fn ask_again(&mut self, now: Instant, name: &Name) {
        let Some(addr) = self.table.get(name).map(|row| row.addr) else { return };
        let Some(ask) = self.asks.get_mut(name) else { return };
        ask.copies += 1;
        ask.next = now + Rtt::default().timeout(ask.copies);
        let head = Header { ask: Some(ask.number), ..Header::new(self.me, Some(ask.incarnation)) };
        self.door.send(addr, &head, None);
    }

    pub(super) fn asks_timeout(&mut self, now: Instant) {
        let due = self.asks.iter().filter(|(_, ask)| ask.deadline() <= now);
        let due: Vec<(Name, bool)> = due.map(|(name, ask)| (name.clone(), ask.until <= now)).collect();
        for (name, over) in due {
            if over {
                self.ping_failed(now, &name);
            } else {
                self.ask_again(now, &name);
            }
        }
    }

    /// The holder answered: it keeps its name, and its messages can be sent to it directly.
    pub(super) fn answered(&mut self, incarnation: Incarnation, name: &Name, answer: Option<u32>) {
        if self.asks.get(name).is_some_and(|ask| ask.incarnation == incarnation && Some(ask.number) == answer) {
            self.resolve_ask(name);
        }
    }

    /// The holder of the name is there: the one that was asked, or the one that has the name now.
    pub(super) fn resolve_ask(&mut self, name: &Name) {
        let Some(ask) = self.asks.remove(name) else { return };
        for claim in ask.claims {
            if self.table.get(name).is_some_and(|row| row.incarnation != claim.incarnation) {
                self.refuse(claim.incarnation, claim.r, name, Reason::NameInUse);
            }
        }
        for (request, mail) in ask.saves {
            self.reader_answered(request, name, mail);
        }
    }

    /// The address says that this life is not there any more.
    pub(super) fn life_is_gone(&mut self, now: Instant, from: std::net::SocketAddr, gone: Incarnation) {
        let Some(name) = self.table.name_of(gone).cloned() else { return };
        // Anybody can write such a datagram: only the address where it was can know.
        let here = self.table.get(&name).is_some_and(|row| row.addr == from && row.online);
        let session = self.sessions.get(&gone).filter(|session| session.addr == from);
        let reading = session.is_some_and(|session| session.is_reading());
        if session.is_some() {
            self.not_listening(gone);
        }
        if here || reading {
            self.asks.entry(name.clone()).or_insert(Ping {
                number: 0,
                incarnation: gone,
                until: now,
                copies: 0,
                next: now,
                claims: Vec::new(),
                saves: Vec::new(),
            });
            self.ping_failed(now, &name);
        }
    }

    /// No answer: the holder is offline, the first newcomer that is there has the name, the messages are kept.
    pub(super) fn ping_failed(&mut self, now: Instant, name: &Name) {
        let Some(ask) = self.asks.remove(name) else { return };
        let reading =
            self.sessions.get(&ask.incarnation).is_some_and(crate::proto::server::sessions::Session::is_reading);
        let online = self.table.get(name).is_some_and(|row| row.incarnation == ask.incarnation && row.online);
        if reading || online {
            self.lost(ask.incarnation, name);
        }
        for (request, mail) in ask.saves {
            self.keep(request, mail);
        }
        // A newcomer may have left meanwhile, or have got another name that it wanted too.
        let wants = |claim: &Claim| {
            self.sessions
                .get(&claim.incarnation)
                .is_some_and(|session| session.name.as_ref().is_none_or(|own| own == name))
        };
        let first = ask.claims.iter().position(wants);
        for (at, Claim { incarnation, r }) in ask.claims.into_iter().enumerate() {
            if Some(at) == first {
                self.give_name(now, incarnation, r, name.clone());
            } else {
                self.refuse(incarnation, r, name, Reason::NameInUse);
            }
        }
    }

    /// The server knows the reader's row: sender and reader find each other.
    fn reader_answered(&mut self, request: RequestId, name: &Name, mail: Mail) {
        match self.row_for(request.client, name).filter(|row| row.3) {
            Some(row) => {
                let frame = Frame::Answer {
                    r: request.number,
                    is: RequestOutcome::Exists,
                    n: 0,
                    row: Some(row),
                    names: Vec::new(),
                    more: false,
                };
                self.reply(request.client, frame);
            }
            None => self.keep(request, mail),
        }
    }
}
