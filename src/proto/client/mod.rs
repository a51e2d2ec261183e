//! The client machine: registers, sends direct messages to addresses from its copy of the table, falls back to the
//! server, and leaves with notice.
//!
//! Parts own the state: [`commands`], [`requests`], [`posts`], [`outbox`], [`inbox`], [`unknown_peers`],
//! [`registration`] and [`directory`]. Only a part's own methods touch its fields. A part returns values and never
//! calls the client. [`phase`] defines the phases of the client from its start to its end.
//!
//! [`Client`] routes between the parts. This file accepts the inputs and emits the outputs. The routing of one part
//! stands in its file: [`commands`] runs commands, [`requests`] sends requests, [`answers`] reports their outcomes,
//! [`posts`] sends messages to many, [`outbox`] sends direct messages, [`saves`] gives them to the server, [`inbox`]
//! reads frames, [`table_updates`] follows the changes of the table, and [`unknown_peers`] admits peers before the
//! table has them. [`login`] registers and [`shutdown`] leaves.

mod answers;
mod commands;
mod dedup;
pub mod directory;
mod inbox;
mod login;
mod outbox;
mod phase;
mod posts;
mod registration;
mod requests;
mod row_cache;
mod saves;
mod shutdown;
mod table_updates;
mod unknown_peers;

use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::client::commands::CommandQueue;
use crate::proto::client::directory::{Directory, Totals};
use crate::proto::client::inbox::Inbox;
use crate::proto::client::outbox::Outbox;
use crate::proto::client::phase::{ClientPhase, RegistrationState};
use crate::proto::client::posts::PostQueue;
use crate::proto::client::requests::Requests;
use crate::proto::client::unknown_peers::UnknownPeers;
use crate::proto::config::{ClientConfig, RELEASE};
use crate::proto::event::Body;
use crate::proto::event::client::ClientEvent;
use crate::proto::event::reason::{DropReason, Problem, Reason};
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::keys::PublicKey;
use crate::proto::link::MessageOutcome;
use crate::proto::link::table::Links;
use crate::proto::machine::{ClientEffect, ClientInput, Exit, Input, Machine, Output};
use crate::proto::name::Name;
use crate::proto::output::OutputQueue;
use crate::proto::rng::Rng;
use crate::proto::status::Status;
use crate::proto::time::{Instant, Now, earliest};
use crate::proto::wire::{Datagram, Frame, Header};

pub use crate::proto::client::inbox::{HELD, HELD_BYTES, UNSHOWN, UNSHOWN_BYTES};
pub use crate::proto::client::login::KEEP_ALIVE;
pub use crate::proto::client::outbox::UNDER_WAY;
pub use crate::proto::client::posts::{UNANSWERED, UNANSWERED_BYTES};
pub use crate::proto::client::row_cache::CACHED_ROWS;
pub use crate::proto::client::shutdown::{NOTICE_EVERY, NOTICES};
pub use crate::proto::client::unknown_peers::{UNKNOWN_DATAGRAMS, UNKNOWN_DATAGRAMS_AN_ADDRESS};

/// Acknowledgement timeout of a direct message, and time limit of one attempt of a request. The exercise demands this
/// value.
pub const LIMIT: Duration = Duration::from_millis(500);
/// Number of attempts of a request to the server, each of length [`LIMIT`].
pub const ATTEMPTS: u32 = 5;
/// Maximum number of commands without outcome. Further commands fail.
pub const MAX_OPEN: usize = 4_096;

/// The server as this client knows it.
#[derive(Debug)]
struct ServerPeer {
    /// The addresses that are tried during a registration.
    candidates: Vec<SocketAddr>,
    /// The address that answered.
    addr: Option<SocketAddr>,
    /// The last incarnation that proved the server's key.
    incarnation: Option<Incarnation>,
    /// Another incarnation that answered, until an authentic datagram shows that it has the server's key.
    next: Option<(Incarnation, SocketAddr)>,
    /// The public key of the first server that answered. It does not change while this client runs.
    key: Option<PublicKey>,
    /// When an unauthenticated datagram last hinted at a restart.
    suspected_at: Option<Instant>,
    /// The time of the last datagram to the server, for the keep-alive.
    last_sent: Instant,
    /// The number of keep-alives since the last datagram from the server.
    unanswered: u32,
}

impl ServerPeer {
    /// Whether the client has a link to this incarnation of the server.
    fn is_linked_to(&self, peer: Incarnation) -> bool {
        Some(peer) == self.incarnation || self.next.is_some_and(|(next, _)| next == peer)
    }
}

/// A client: routes between the parts that own its state.
#[derive(Debug)]
pub struct Client {
    name: Name,
    me: Incarnation,
    rng: Rng,
    silent_leave: bool,
    phase: ClientPhase,
    registration: RegistrationState,
    server: ServerPeer,
    table: Directory,
    links: Links,
    commands: CommandQueue,
    requests: Requests,
    posts: PostQueue,
    outbox: Outbox,
    inbox: Inbox,
    unknown_peers: UnknownPeers,
    /// The group that the user is in.
    group: Option<Name>,
    /// The number of the last message of this incarnation; 0 before the first one.
    messages: u64,
    status: Status,
    output: OutputQueue<ClientEffect>,
}

impl Client {
    /// Creates a client and begins its registration.
    #[must_use]
    pub fn new(now: Now, config: ClientConfig) -> Self {
        let mut rng = Rng::new(config.seed);
        let me = rng.incarnation();
        let mut candidates = config.servers;
        candidates.truncate(ClientConfig::MAX_SERVERS);
        let server = ServerPeer {
            candidates,
            addr: None,
            incarnation: None,
            next: None,
            key: None,
            suspected_at: None,
            last_sent: now.mono,
            unanswered: 0,
        };
        let table = Directory::new(config.name.clone());
        let mut client = Self {
            name: config.name,
            me,
            rng,
            silent_leave: config.silent_leave,
            phase: ClientPhase::Connecting { cmd: None },
            registration: RegistrationState::Unregistered,
            server,
            table,
            links: Links::new(me, config.identity),
            commands: CommandQueue::default(),
            requests: Requests::default(),
            posts: PostQueue::default(),
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            unknown_peers: UnknownPeers::default(),
            group: None,
            messages: 0,
            status: Status::Ok,
            output: OutputQueue::new(now.unix, config.trace),
        };
        let (server, addr, free_port) = (config.server, config.addr.to_string(), config.free_port);
        client.say(None, ClientEvent::Started { server, addr, release: RELEASE, free_port });
        client.enter(now.mono, None);
        client
    }

    /// The number of commands without outcome.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.commands.open_count()
    }

    /// Whether every command has its outcome, no byte is queued, and no timer runs except the keep-alive.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.commands.is_empty()
            && self.requests.is_empty()
            && self.posts.is_empty()
            && self.outbox.is_empty()
            && self.inbox.is_idle()
            && self.unknown_peers.is_empty()
            && self.links.iter().all(|(_, link)| link.is_idle())
    }

    /// Emits an event with the name of the user's group, if any, in front of its line. Returns the event's number.
    fn say(&mut self, cmd: Option<u64>, event: ClientEvent) -> u64 {
        let group = self.group.clone();
        self.emit(cmd, group, event)
    }

    /// Emits an event without a group's name in front of its line. Returns the event's number.
    fn say_bare(&mut self, cmd: Option<u64>, event: ClientEvent) -> u64 {
        self.emit(cmd, None, event)
    }

    fn emit(&mut self, cmd: Option<u64>, group: Option<Name>, event: ClientEvent) -> u64 {
        self.output.say(cmd, group, Body::Client(event))
    }

    fn error(&mut self, cmd: Option<u64>, code: Problem, message: impl ToString, definite: bool) {
        let message = message.to_string();
        self.say(cmd, ClientEvent::Error { code, message, definite });
    }

    /// Settles a command and reports its outcome, once. Without a `reason` it is a success.
    fn done(&mut self, cmd: Option<u64>, reason: Option<Reason>) {
        let Some(cmd) = cmd.filter(|cmd| self.commands.settle(*cmd)) else { return };
        if reason.is_some() {
            self.status = self.status.or(Status::Failed);
        }
        self.say(Some(cmd), ClientEvent::Done { ok: reason.is_none(), reason });
    }

    /// Reports an error of a command and settles it as failed.
    fn fail(&mut self, cmd: Option<u64>, reason: Reason, message: impl ToString) {
        self.error(cmd, Problem::Command(reason), message, true);
        self.done(cmd, Some(reason));
    }

    fn next_message_id(&mut self) -> MessageId {
        self.messages += 1;
        MessageId { incarnation: self.me, number: self.messages }
    }

    fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let Some(datagram) = self.output.receive(from, bytes) else { return };
        let head = &datagram.head;
        if head.no.is_some() {
            return;
        }
        if let Some(gone) = head.gone {
            // Anybody can send it. It says nothing about a peer, and only makes the client look for its server.
            let is_server =
                self.server.is_linked_to(gone) && self.links.get(gone).is_some_and(|link| link.addr() == from);
            if head.you == Some(self.me) && is_server {
                self.suspect_restart(now);
            }
            return;
        }
        let Some(peer) = head.me else { return };
        if peer == self.me {
            return self.output.dropped(from, bytes, DropReason::OwnIncarnation);
        }
        match head.you {
            None => {
                if let Some(Frame::Challenge { token, cookie, key }) = datagram.only_frame() {
                    self.challenged(now, from, peer, key, &token, cookie);
                }
            }
            Some(you) if you != self.me => {
                if head.elicits_ack() {
                    self.output.send_gone(from, &Header::gone(you, peer), bytes);
                }
            }
            Some(_) if self.server.is_linked_to(peer) => self.server_datagram(now, from, peer, &datagram, bytes),
            Some(_) if Some(from) == self.server.addr && self.table.name_of(peer).is_none() => {
                // A restarted server asks at the old address. There is no link to it yet.
                if head.ask.is_some() {
                    self.suspect_restart(now);
                }
            }
            Some(_) => self.peer_datagram(now, from, peer, &datagram, bytes),
        }
    }

    fn server_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        peer: Incarnation,
        datagram: &Datagram<'_>,
        bytes: &[u8],
    ) {
        let mut outcomes = Vec::new();
        let frames = match self.links.receive(now, from, peer, datagram, true, &mut outcomes) {
            Ok(frames) => frames,
            Err(reason) => return self.output.dropped(from, bytes, reason),
        };
        self.server_authenticated(now, peer);
        if frames.contains(&Frame::Bye) {
            return self.bye(now);
        }
        self.server_alive(now);
        for outcome in outcomes {
            self.server_outcome(now, outcome);
        }
        for frame in frames {
            if let Frame::Totals { upto, total, online } = frame {
                self.totals_arrived(now, peer, upto, Totals { total, online });
            }
        }
        self.read_server(now);
    }

    /// Processes a datagram of another client: on its link, or later if the table does not have the client yet.
    fn peer_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        peer: Incarnation,
        datagram: &Datagram<'_>,
        bytes: &[u8],
    ) {
        if self.links.get(peer).is_none() {
            let Some(row) = self.table.row_of(peer) else {
                let waits = self.phase.is_online() && self.unknown_peers.insert(now, from, peer, bytes);
                if !waits {
                    self.output.dropped(from, bytes, DropReason::NoLink);
                }
                return;
            };
            // A forged datagram opens no link.
            if !self.links.is_authentic(peer, row.key, datagram) || self.links.open(peer, row.addr, row.key).is_none() {
                return self.output.dropped(from, bytes, DropReason::BadTag);
            }
        }
        // An offline client neither displays nor acknowledges messages, but its own are still acknowledged.
        let is_online = self.phase.is_online();
        let mut outcomes = Vec::new();
        if let Err(reason) = self.links.receive(now, from, peer, datagram, is_online, &mut outcomes) {
            return self.output.dropped(from, bytes, reason);
        }
        self.direct_outcomes(now, outcomes);
        self.read_peer(now, peer);
    }

    fn timeout(&mut self, now: Instant) {
        let mut direct = Vec::new();
        for (incarnation, outcome) in self.links.expire(now) {
            if Some(incarnation) == self.server.incarnation {
                self.server_outcome(now, outcome);
            } else {
                direct.push(outcome);
            }
        }
        self.direct_outcomes(now, direct);
        // Any of these calls may end the client. Outputs after the end are dropped.
        self.registration_timeout(now);
        self.login_timeout(now);
        self.requests_timeout(now);
        self.unknown_peers.expire(now);
        self.keep_alive(now);
        self.notice_timeout(now);
    }

    fn server_outcome(&mut self, now: Instant, outcome: MessageOutcome) {
        if let MessageOutcome::Acked { tag, .. } = outcome {
            self.request_received(now, tag);
        }
    }

    /// Moves all datagrams of the links to the output queue, ahead of the next datagram outside a link.
    fn flush_links(&mut self, now: Instant) {
        while let Some((to, transmission)) = self.links.transmit(now) {
            self.output.transmit(to, transmission);
        }
    }

    /// Ends the client. Datagrams of the links are sent first. No output follows the end.
    fn end(&mut self, now: Instant, exiting: bool, group: Option<Name>) {
        if self.phase.is_closed() {
            return;
        }
        self.interrupt();
        self.flush_links(now);
        self.phase = ClientPhase::Closed;
        self.output.push(Output::Ended(Exit { status: self.status, exiting, group }));
    }
}

impl Machine for Client {
    type Input = ClientInput;
    type Effect = ClientEffect;

    fn handle(&mut self, now: Now, input: Input<'_, ClientInput>) {
        if self.phase.is_closed() {
            return;
        }
        self.output.unix = now.unix;
        let mono = now.mono;
        match input {
            Input::Datagram { from, bytes } => self.datagram(mono, from, bytes),
            Input::Role(ClientInput::Command(command)) => self.command_arrived(mono, command),
            Input::Displayed(events) => self.displayed(mono, events),
            Input::Role(ClientInput::EndOfInput) => self.commands.end_input(),
            Input::Shutdown => self.leave(mono),
            Input::Timeout => self.timeout(mono),
        }
        self.advance(mono);
    }

    fn poll(&mut self, now: Now) -> Option<Output<ClientEffect>> {
        if self.output.is_empty() && !self.phase.is_closed() {
            let (to, transmission) = self.links.transmit(now.mono)?;
            if Some(to) == self.server.addr {
                self.server.last_sent = now.mono;
            }
            self.output.unix = now.unix;
            self.output.transmit(to, transmission);
        }
        self.output.pop()
    }

    fn deadline(&self) -> Option<Instant> {
        if self.phase.is_closed() {
            return None;
        }
        let notice = if let ClientPhase::Closing(notice) = &self.phase { Some(notice.deadline()) } else { None };
        let own = [
            self.login_deadline(),
            self.requests.deadline(),
            self.unknown_peers.deadline(),
            self.keep_alive_deadline(),
            notice,
        ];
        own.into_iter().fold(self.links.deadline(), earliest)
    }
}
