//! The server machine: registers clients, keeps every client's copy of the table current, and stores messages that
//! cannot be delivered.
//!
//! These parts own their state: [`sessions`], [`ping`], [`groups`], [`mail_index`], [`logs`] and [`table`], and for
//! each client its [`acks`] and its [`replay_window`]. The machine routes between them. This file handles inputs and
//! outputs. [`requests`] dispatches requests, [`presence`] moves clients online and offline, [`intake`] accepts
//! messages, [`delivery`] sends them, [`updates`] sends the changes of the table, [`replies`] answers requests, and
//! [`console`] executes the commands of the server's terminal. [`cookies`] rejects clients with forged source
//! addresses.

mod acks;
mod console;
mod cookies;
mod delivery;
mod groups;
mod intake;
mod logs;
mod mail_index;
mod ping;
mod presence;
mod replay_window;
mod replies;
mod requests;
mod saves;
mod sessions;
mod table;
mod updates;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::config::{RELEASE, ServerConfig};
use crate::proto::event::Body;
use crate::proto::event::reason::{DropReason, Problem};
use crate::proto::event::sentences::Sentence;
use crate::proto::event::server::ServerEvent;
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::link::MessageOutcome;
use crate::proto::link::table::Links;
use crate::proto::machine::{Exit, Input, Machine, Output, ServerEffect, ServerInput};
use crate::proto::output::OutputQueue;
use crate::proto::record::Record;
use crate::proto::rng::Rng;
use crate::proto::server::cookies::Cookies;
use crate::proto::server::delivery::Fetch;
use crate::proto::server::groups::Groups;
use crate::proto::server::intake::OnPersisted;
use crate::proto::server::logs::Logs;
use crate::proto::server::mail_index::MailIndex;
use crate::proto::server::ping::Pings;
use crate::proto::server::saves::Saves;
use crate::proto::server::sessions::{Session, Sessions};
use crate::proto::server::table::Table;
use crate::proto::server::updates::Updates;
use crate::proto::status::Status;
use crate::proto::time::{Instant, Now, earliest};
use crate::proto::wire::{Datagram, Frame, Header, MIN_HELLO};

pub use crate::proto::server::delivery::{BYTES_UNDER_WAY, MAIL_UNDER_WAY, POSTS_UNDER_WAY, RECEIPTS_UNDER_WAY};
pub use crate::proto::server::groups::{GROUPS, GROUPS_A_CREATOR, MEMBERS};
pub use crate::proto::server::logs::{HELD_ANSWERS, INTERVALS, LAG_TIMEOUT, RECENT_BYTES};
pub use crate::proto::server::mail_index::{MAILBOX, MAILBOX_BYTES};
pub use crate::proto::server::ping::{WAITING, WAITING_BYTES};
pub use crate::proto::server::presence::NAME_KEPT;
pub use crate::proto::server::replay_window::RUNS;
pub use crate::proto::server::replies::REPLY_BYTES;
pub use crate::proto::server::saves::PARTIAL_BYTES;
pub use crate::proto::server::sessions::{LEFT_TIMEOUT, UNREGISTERED};
pub use crate::proto::server::table::{DROPPED, NAMES, WHOLE_TABLE};

/// Time limit for a client to acknowledge a message, and to answer a ping.
pub const LIMIT: Duration = Duration::from_millis(500);

/// Counters for `stats`.
#[derive(Debug, Default)]
struct Counters {
    accepted: u64,
    saved: u64,
    delivered: u64,
}

/// A server.
#[derive(Debug)]
pub struct Server {
    me: Incarnation,
    cookies: Cookies,
    table: Table,
    updates: Updates,
    links: Links,
    sessions: Sessions,
    pings: Pings,
    groups: Groups,
    mail: MailIndex,
    logs: Logs,
    /// The number of the last message that is on disk.
    last_written: u64,
    /// The number of notices of dropped messages.
    notices: u64,
    /// Whether records of cursors have no outcome yet. Meanwhile changes accumulate, so that there is one record for
    /// each reader and transaction.
    is_writing_cursors: bool,
    /// When cursors may be written next, because the disk refused one.
    next_cursor_write: Instant,
    saves: Saves,
    /// Messages that are being written. They are neither answered nor sent to readers before they are on disk.
    unwritten: BTreeSet<MessageId>,
    /// Readers that may have undelivered mail and room for it.
    ready_readers: BTreeSet<Incarnation>,
    /// Fetches without an answer, in order.
    fetches: VecDeque<Fetch>,
    /// The number of records that this incarnation wrote.
    records: u64,
    /// Steps that wait for the disk, in order. A step is due when the record of this number and all earlier ones have
    /// their outcome.
    on_persisted: VecDeque<(u64, OnPersisted)>,
    next_purge: Instant,
    counters: Counters,
    output: OutputQueue<ServerEffect>,
    ended: bool,
}

impl Server {
    /// A server with the state that an earlier incarnation persisted. It pings all clients that were online then.
    #[must_use]
    pub fn new(now: Now, config: ServerConfig) -> Self {
        let mut rng = Rng::new(config.seed);
        let me = rng.incarnation();
        let state = config.kept;
        let (names, messages) = (state.names.len(), state.mail.len());
        let (direct, logged): (Vec<_>, Vec<_>) = state.mail.into_iter().partition(|header| header.to.is_some());
        let mut server = Self {
            me,
            cookies: Cookies::new([rng.bits(), rng.bits()]),
            table: Table::new(state.names, config.limits.whole_table),
            updates: Updates::default(),
            links: Links::new(me, config.identity),
            sessions: Sessions::default(),
            pings: Pings::default(),
            groups: Groups::new(state.groups),
            logs: Logs::new(config.limits.retention, logged, state.bases, state.cursors),
            mail: MailIndex::new(direct, state.receipts, state.last_seq, config.limits.mailbox),
            last_written: state.last_seq,
            notices: 0,
            is_writing_cursors: false,
            next_cursor_write: now.mono,
            saves: Saves::default(),
            unwritten: BTreeSet::new(),
            ready_readers: BTreeSet::new(),
            fetches: VecDeque::new(),
            records: 0,
            on_persisted: VecDeque::new(),
            next_purge: now.mono,
            counters: Counters::default(),
            output: OutputQueue::new(now.unix, config.trace),
            ended: false,
        };
        server.say(ServerEvent::Listening { port: config.port, release: RELEASE });
        if names > 0 || messages > 0 {
            server.say(ServerEvent::Loaded { names, messages, file: config.file });
        }
        for name in server.table.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            server.read_channel(&name);
        }
        server.report_partial();
        server.ping_all(now.mono);
        server
    }

    /// Whether nothing is under way: no ping, no message in flight, no record without outcome, no reserved room in a
    /// mailbox, no partly assembled text, and no queued byte.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.pings.is_empty()
            && self.on_persisted.is_empty()
            && self.unwritten.is_empty()
            && self.mail.is_written()
            && self.logs.is_idle()
            && self.fetches.is_empty()
            && self.round_deadline().is_none()
            && self.links.iter().all(|(_, link)| link.is_idle())
    }

    fn say(&mut self, event: ServerEvent) {
        self.output.say(None, None, Body::Server(event));
    }

    fn warn(&mut self, code: Problem, sentence: Sentence<'_>) {
        let message = sentence.to_string();
        self.say(ServerEvent::Warning { code, message, definite: true });
    }

    /// Writes a record. Performs `then` when the record has its outcome.
    fn persist(&mut self, record: Record, then: OnPersisted) {
        self.output.push(Output::Effect(ServerEffect::Persist(record)));
        self.records += 1;
        self.after_records(then);
    }

    /// Performs `then` when all records written so far have their outcome.
    fn after_records(&mut self, then: OnPersisted) {
        self.on_persisted.push_back((self.records, then));
    }

    fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let Some(datagram) = self.output.receive(from, bytes) else { return };
        let head = &datagram.head;
        // Anybody can send `no` and `gone`, so they change nothing.
        let Some(peer) = head.me.filter(|_| head.no.is_none() && head.gone.is_none()) else { return };
        if peer == self.me {
            return self.output.dropped(from, bytes, DropReason::OwnIncarnation);
        }
        let Some(you) = head.you else {
            if bytes.len() >= MIN_HELLO
                && let Some(Frame::Hello { token, .. }) = datagram.only_frame()
            {
                let (cookie, key) = (self.cookies.make(now, from, peer), self.links.public_key());
                let challenge = Frame::Challenge { token, cookie, key };
                self.output.send(from, &Header::new(self.me, None), Some(challenge));
            }
            return;
        };
        let has_link = you == self.me && self.links.get(peer).is_some_and(|link| link.addr() == from);
        if has_link || (you == self.me && self.admit(now, from, peer, &datagram)) {
            self.client_datagram(now, from, peer, &datagram, bytes);
        } else if head.elicits_ack() {
            self.output.send_gone(from, &Header::gone(you, peer), bytes);
        }
    }

    fn client_datagram(
        &mut self,
        now: Instant,
        from: SocketAddr,
        client: Incarnation,
        datagram: &Datagram<'_>,
        bytes: &[u8],
    ) {
        // Requests that arrive after the client's notice are late copies.
        let has_left = self.sessions.get(client).is_some_and(Session::has_left);
        let mut outcomes = Vec::new();
        let frames = match self.links.receive(now, from, client, datagram, !has_left, &mut outcomes) {
            Ok(frames) => frames,
            Err(reason) => return self.output.dropped(from, bytes, reason),
        };
        if frames.contains(&Frame::Bye) {
            return self.bye(now, client);
        }
        if has_left {
            return;
        }
        self.heard(now, client, datagram.head.answer);
        self.message_outcomes(now, client, outcomes);
        // Requests beyond the limit stay queued. They are processed when the client's next acknowledgement arrives
        // here.
        while self.accepts_requests(client)
            && let Some((seq, frame)) = self.links.get_mut(client).and_then(|link| link.take(now))
        {
            if let Some(link) = self.links.get_mut(client) {
                link.confirm(seq);
            }
            self.process(now, client, frame);
        }
        for frame in frames {
            if let Frame::Alive { table } = frame {
                self.check_version(now, client, table);
            }
        }
    }

    fn message_outcomes(
        &mut self,
        now: Instant,
        client: Incarnation,
        outcomes: impl IntoIterator<Item = MessageOutcome>,
    ) {
        let mut posts = 0;
        for outcome in outcomes {
            match outcome {
                MessageOutcome::Acked { tag, .. } => posts += usize::from(self.acknowledged(client, tag)),
                // A client that was heard since is alive, and slow or on a lossy path.
                MessageOutcome::TimedOut { tag, since } if self.sessions.was_heard_since(client, since) => {
                    if let Some(link) = self.links.get_mut(client) {
                        link.restart_timeout(now, tag);
                    }
                }
                MessageOutcome::TimedOut { .. } => self.start_ping(now, client),
            }
        }
        if posts > 0 {
            self.posts_acknowledged(now, client, posts);
        }
    }

    fn timeout(&mut self, now: Instant) {
        for (client, outcome) in self.links.expire(now) {
            self.message_outcomes(now, client, [outcome]);
        }
        self.ping_timeout(now);
        self.silence_timeout(now);
        self.finished_timeout(now);
        self.logs.expire_lags(now);
        if self.next_purge <= now {
            self.purge(now);
        }
    }

    /// Produces the outputs that combine the changes of several inputs.
    fn flush(&mut self, now: Instant) {
        self.schedule_deliveries();
        self.send_updates(now);
        self.send_held_answers();
        self.write_cursors(now);
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.output.push(Output::Ended(Exit { status: Status::Ok, ..Exit::default() }));
        }
    }
}

impl Machine for Server {
    type Input = ServerInput;
    type Effect = ServerEffect;

    fn handle(&mut self, now: Now, input: Input<'_, ServerInput>) {
        if self.ended {
            return;
        }
        self.output.unix = now.unix;
        match input {
            Input::Datagram { from, bytes } => self.datagram(now.mono, from, bytes),
            Input::Role(ServerInput::Persisted { through, refused }) => self.persisted(now.mono, through, &refused),
            Input::Role(ServerInput::Mail(mail)) => self.fetched(mail),
            Input::Role(ServerInput::Console(command)) => self.console(command),
            Input::Shutdown => self.end(),
            Input::Timeout => self.timeout(now.mono),
            Input::Displayed(_) => {}
        }
    }

    fn poll(&mut self, now: Now) -> Option<Output<ServerEffect>> {
        if self.output.is_empty() && !self.ended {
            self.output.unix = now.unix;
            self.flush(now.mono);
            if self.output.is_empty() {
                let (to, transmission) = self.links.transmit(now.mono)?;
                self.output.transmit(to, transmission);
            }
        }
        self.output.pop()
    }

    fn deadline(&self) -> Option<Instant> {
        if self.ended {
            return None;
        }
        let own = [self.pings.deadline(), self.sessions.deadline(), self.logs.deadline(), self.round_deadline()];
        let retries_cursors = !self.is_writing_cursors && self.logs.has_changes();
        let cursors = retries_cursors.then_some(self.next_cursor_write);
        own.into_iter().chain([Some(self.next_purge), cursors]).fold(self.links.deadline(), earliest)
    }
}
