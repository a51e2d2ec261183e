//! The server machine: knows who is where, tells everybody, and keeps what cannot be delivered now.
//!
//! This file holds the state, the way in and the way out. Its parts: [`cookies`] lets nobody in from an address that
//! is not its own, [`sessions`] comes and goes, [`ping`] finds out who is still there, [`table`] tells everybody of
//! changes, [`replay_window`] does no request twice, [`intake`] takes messages in, [`mail_index`] knows who lacks which,
//! [`delivery`] hands them out, [`replies`] answers, [`groups`], and [`console`] for the person at its terminal.

mod console;
mod cookies;
mod delivery;
mod groups;
mod intake;
mod mail_index;
mod ping;
mod replay_window;
mod replies;
mod sessions;
mod table;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::config::{RELEASE, ServerConfig};
use crate::proto::event::reason::{DropReason, Problem};
use crate::proto::event::server::ServerEvent;
use crate::proto::event::{Body, MessageKind};
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::link::MessageOutcome;
use crate::proto::link::table::Links;
use crate::proto::machine::{Exit, Input, Machine, Output, ServerEffect, ServerInput};
use crate::proto::name::Name;
use crate::proto::output::OutputQueue;
use crate::proto::record::{GroupRecord, Mail, MailHeader, Record};
use crate::proto::rng::Rng;
use crate::proto::server::replies::RequestId;
use crate::proto::status::Status;
use crate::proto::text::Text;
use crate::proto::time::{Instant, Now, Timestamp, earliest};
use crate::proto::wire::{Datagram, Frame, Header, RequestOutcome};

pub use crate::proto::server::delivery::{FETCH_BYTES, POSTS_UNDER_WAY, RECEIPTS_UNDER_WAY};
pub use crate::proto::server::groups::{GROUPS, GROUPS_A_CREATOR, MEMBERS};
pub use crate::proto::server::mail_index::{MAILBOX, MAILBOX_BYTES};
pub use crate::proto::server::ping::WAITING;
pub use crate::proto::server::replay_window::RUNS;
pub use crate::proto::server::replies::REPLY_BYTES;
pub use crate::proto::server::sessions::{GUESTS, NAME_KEPT};
pub use crate::proto::server::table::{DROPPED, NAMES};

/// How long a client has to acknowledge, and how long it has to answer a question.
pub const LIMIT: Duration = Duration::from_millis(500);

/// Counters for `stats`.
#[derive(Debug, Default)]
struct Counters {
    accepted: u64,
    saved: u64,
    delivered: u64,
}

/// A server; see the module.
#[derive(Debug)]
pub struct Server {
    me: Incarnation,
    cookies: crate::proto::server::cookies::Cookies,
    table: crate::proto::server::table::Table,
    links: Links,
    sessions: BTreeMap<Incarnation, crate::proto::server::sessions::Session>,
    unregistered: VecDeque<(Instant, Incarnation)>,
    silence: BTreeSet<(Instant, Incarnation)>,
    asks: BTreeMap<Name, crate::proto::server::ping::Ping>,
    /// How many questions were asked.
    questions: u32,
    mail: crate::proto::server::mail_index::MailIndex,
    /// Messages that are being written: neither answered nor handed out before they are on disk.
    unwritten: BTreeSet<MessageId>,
    groups: BTreeMap<Name, crate::proto::server::groups::Group>,
    /// Groups that are being written, and who creates them.
    creating: BTreeMap<Name, Name>,
    /// Readers to whom mail may be handed out.
    ready_readers: BTreeSet<Incarnation>,
    /// Messages whose readers changed and whose record is not yet written.
    delivered: BTreeSet<u64>,
    /// Who read the direct ones among them.
    readers_of_direct: BTreeMap<u64, Name>,
    /// What was asked of the disk, in order.
    fetches: VecDeque<crate::proto::server::delivery::Fetch>,
    records: u64,
    after: VecDeque<(u64, crate::proto::server::intake::OnPersisted)>,
    next_tag: u64,
    next_purge: Instant,
    counters: Counters,
    door: OutputQueue<ServerEffect>,
    ended: bool,
}

impl Server {
    /// A server with what an earlier life left. Who was online then is asked now.
    #[must_use]
    pub fn new(now: Now, config: ServerConfig) -> Self {
        let mut rng = Rng::new(config.seed);
        let me = rng.incarnation();
        let kept = config.kept;
        let (names, messages) = (kept.names.len(), kept.mail.len());
        let mut server = Self {
            me,
            cookies: crate::proto::server::cookies::Cookies::new([rng.bits(), rng.bits()]),
            table: crate::proto::server::table::Table::new(kept.names),
            links: Links::new(me),
            sessions: BTreeMap::new(),
            unregistered: VecDeque::new(),
            silence: BTreeSet::new(),
            asks: BTreeMap::new(),
            questions: 0,
            mail: crate::proto::server::mail_index::MailIndex::new(
                kept.mail,
                kept.receipts,
                kept.last_seq,
                config.mailbox,
            ),
            groups: kept
                .groups
                .into_iter()
                .map(|record| (record.group.clone(), crate::proto::server::groups::Group::new(record)))
                .collect(),
            creating: BTreeMap::new(),
            unwritten: BTreeSet::new(),
            ready_readers: BTreeSet::new(),
            delivered: BTreeSet::new(),
            readers_of_direct: BTreeMap::new(),
            fetches: VecDeque::new(),
            records: 0,
            after: VecDeque::new(),
            next_tag: 0,
            next_purge: now.mono,
            counters: Counters::default(),
            door: OutputQueue::new(now.unix, config.trace),
            ended: false,
        };
        server.say(ServerEvent::Listening { port: config.port, release: RELEASE });
        if names > 0 || messages > 0 {
            server.say(ServerEvent::Loaded { names, messages, file: config.file });
        }
        server.ping_all(now.mono);
        server
    }

    /// Whether nothing is under way: no question, no unanswered message, nothing that is being written and no room
    /// reserved for it, nothing half assembled, no byte queued.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.asks.is_empty()
            && self.after.is_empty()
            && self.unwritten.is_empty()
            && self.mail.is_written()
            && self.delivered.is_empty()
            && self.fetches.is_empty()
            && self.links.iter().all(|(_, link)| link.is_idle())
    }

    fn say(&mut self, event: ServerEvent) {
        self.door.say(None, None, Body::Server(event));
    }

    fn warn(&mut self, code: Problem, message: String) {
        self.say(ServerEvent::Warning { code, message, definite: true });
    }

    /// Asks for a record to be kept, and remembers what is to be done when it is.
    fn persist(&mut self, record: Record, after: crate::proto::server::intake::OnPersisted) {
        self.door.push(Output::Effect(ServerEffect::Persist(record)));
        self.records += 1;
        self.after_records(after);
    }

    /// Remembers what is to be done when all records so far have their outcome.
    fn after_records(&mut self, after: crate::proto::server::intake::OnPersisted) {
        self.after.push_back((self.records, after));
    }

    fn datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let Some(Datagram { head, frames }) = self.door.receive(from, bytes) else { return };
        if let Some(gone) = head.gone {
            if head.you == Some(self.me) {
                self.life_is_gone(now, from, gone);
            }
            return;
        }
        let Some(peer) = head.me.filter(|_| head.no.is_none()) else { return };
        if let (None, [Frame::Hello { token }]) = (head.you, frames.as_slice()) {
            let cookie = self.cookies.make(now, from, peer);
            let frame = Frame::Challenge { token: token.clone(), cookie };
            return self.door.send(from, &Header::new(self.me, None), Some(frame));
        }
        let Some(you) = head.you else { return };
        let known = you == self.me && self.links.get(peer).is_some_and(|link| link.addr() == from);
        if known || (you == self.me && self.admit(now, from, peer, &head, &frames)) {
            self.client_says(now, from, peer, &head, frames);
        } else if (you == self.me || self.table.name_of(peer).is_some()) && frames == [Frame::Bye] {
            self.door.send(from, &Header::new(self.me, Some(peer)), Some(Frame::Bye));
        } else if head.wants_answer() {
            self.door.send_gone(from, &Header::gone(you, peer), bytes);
        }
    }

    fn client_says(
        &mut self,
        now: Instant,
        from: SocketAddr,
        incarnation: Incarnation,
        head: &Header,
        frames: Vec<Frame>,
    ) {
        if head.n.is_none() && frames == [Frame::Bye] {
            self.bye(now, incarnation);
            return self.door.send(from, &Header::new(self.me, Some(incarnation)), Some(Frame::Bye));
        }
        if let (None, [Frame::Alive { table }]) = (head.n, frames.as_slice()) {
            self.table_at(incarnation, *table);
        }
        let mut fates = Vec::new();
        if let Some(link) = self.links.get_mut(incarnation) {
            link.receive(now, head, frames, &mut fates);
        }
        self.heard(now, incarnation, head.answer);
        for fate in fates {
            self.fate(now, incarnation, fate);
        }
        // What is not taken now is when the client has acknowledged more: that comes this way too.
        while self.takes_requests(incarnation)
            && let Some((n, frame)) = self.links.get_mut(incarnation).and_then(|link| link.take(now))
        {
            if let Some(link) = self.links.get_mut(incarnation) {
                link.confirm(n);
            }
            self.frame(now, incarnation, frame);
        }
    }

    /// Does what a frame of a client asks. A request that was done already is not done again.
    fn frame(&mut self, now: Instant, incarnation: Incarnation, frame: Frame) {
        let r = match &frame {
            Frame::Reg { r, .. } | Frame::Dereg { r } | Frame::Save { r, .. } | Frame::All { r, .. } => *r,
            Frame::Say { r, .. } | Frame::Lookup { r, .. } | Frame::Create { r, .. } | Frame::Groups { r } => *r,
            Frame::Join { r, .. } | Frame::Members { r, .. } | Frame::Leave { r, .. } => *r,
            _ => return,
        };
        let request = RequestId { client: incarnation, number: r };
        let Some(session) = self.sessions.get_mut(&incarnation) else { return };
        if !session.taken.take(r) {
            return;
        }
        let (name, from) = (session.name.clone(), session.addr);
        if let Frame::Save { id, .. } | Frame::All { id, .. } | Frame::Say { id, .. } = &frame
            && id.incarnation != incarnation
        {
            // With the id of somebody else's message it could pass for that one, which then would not be kept.
            return self.door.dropped(from, &[], DropReason::ForeignId);
        }
        match (frame, name) {
            (Frame::Reg { name, via, .. }, _) => self.register(now, incarnation, r, name, via),
            (_, None) => self.door.dropped(from, &[], DropReason::NotRegistered),
            (Frame::Dereg { .. }, Some(_)) => self.dereg(now, incarnation, r),
            (Frame::Save { id, to, at, again, text, .. }, Some(from)) => {
                let header =
                    MailHeader { undelivered_to: [to].into(), ..new_header(id, MessageKind::Direct, from, at) };
                match Text::new(&text) {
                    Ok(text) => self.save(now, request, Mail::new(header, text), again),
                    Err(_) => self.answer(request, RequestOutcome::Failed),
                }
            }
            (Frame::All { id, at, text, .. }, Some(from)) => {
                let header = new_header(id, MessageKind::Channel, from, at);
                match Text::new(&text) {
                    Ok(text) => self.accept(now, request, Mail::new(header, text)),
                    Err(_) => self.answer(request, RequestOutcome::Failed),
                }
            }
            (Frame::Say { id, group, at, text, .. }, Some(from)) => {
                let header = MailHeader { group: Some(group), ..new_header(id, MessageKind::Group, from, at) };
                match Text::new(&text) {
                    Ok(text) => self.accept(now, request, Mail::new(header, text)),
                    Err(_) => self.answer(request, RequestOutcome::Failed),
                }
            }
            (Frame::Lookup { name, .. }, Some(_)) => self.look_up(incarnation, r, &name),
            (Frame::Create { group, .. }, Some(creator)) => {
                self.create_group(GroupRecord { group, creator, incarnation, request: r });
            }
            (Frame::Groups { .. }, Some(name)) => self.list_groups(incarnation, r, name),
            (Frame::Join { group, .. }, Some(name)) => self.join_group(incarnation, r, name, group),
            (Frame::Members { group, .. }, Some(name)) => self.list_members(incarnation, r, name, group),
            (Frame::Leave { .. }, Some(_)) => {
                self.leave_group(incarnation);
                self.answer_ok(incarnation, r);
            }
            _ => {}
        }
    }

    fn fate(&mut self, now: Instant, incarnation: Incarnation, fate: MessageOutcome) {
        match fate {
            MessageOutcome::Acked { tag, .. } => self.post_acked(now, incarnation, tag),
            MessageOutcome::TimedOut { .. } => self.start_ping(now, incarnation),
        }
    }

    fn timeout(&mut self, now: Instant) {
        for (incarnation, fate) in self.links.expire(now) {
            self.fate(now, incarnation, fate);
        }
        self.asks_timeout(now);
        self.silence_timeout(now);
        self.guests_timeout(now);
        if self.next_purge <= now {
            self.purge(now);
        }
    }

    /// Before anything leaves: what came together travels together.
    fn flush(&mut self) {
        self.schedule_deliveries();
        self.feed_tables();
        self.write_delivered();
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            self.door.push(Output::Ended(Exit { status: Status::Ok, ..Exit::default() }));
        }
    }
}

/// The header of a message that was not accepted yet, without its readers.
fn new_header(id: MessageId, kind: MessageKind, from: Name, at: i64) -> MailHeader {
    MailHeader {
        seq: 0,
        id,
        kind,
        from,
        group: None,
        sent_at: Timestamp::from_micros(at),
        kept_at: Timestamp::default(),
        undelivered_to: BTreeSet::new(),
        text_bytes: 0,
    }
}

impl Machine for Server {
    type Input = ServerInput;
    type Effect = ServerEffect;

    fn handle(&mut self, now: Now, input: Input<'_, ServerInput>) {
        if self.ended {
            return;
        }
        self.door.unix = now.unix;
        match input {
            Input::Datagram { from, bytes } => self.datagram(now.mono, from, bytes),
            Input::Role(ServerInput::Persisted { through, refused }) => self.persisted(through, &refused),
            Input::Role(ServerInput::Mail(mail)) => self.fetched(mail),
            Input::Role(ServerInput::Console(word)) => self.console(word),
            Input::Shutdown => self.end(),
            Input::Timeout => self.timeout(now.mono),
            Input::Displayed(_) => {}
        }
    }

    fn poll(&mut self, now: Now) -> Option<Output<ServerEffect>> {
        if self.door.is_empty() && !self.ended {
            self.door.unix = now.unix;
            self.flush();
            if self.door.is_empty() {
                let (to, departure) = self.links.transmit(now.mono)?;
                self.door.transmit(to, departure);
            }
        }
        self.door.pop()
    }

    fn deadline(&self) -> Option<Instant> {
        if self.ended {
            return None;
        }
        let own = [
            self.asks.values().map(crate::proto::server::ping::Ping::deadline).min(),
            self.silence.first().map(|(at, _)| *at),
            self.unregistered.front().map(|(at, _)| *at),
            Some(self.next_purge),
        ];
        own.into_iter().fold(self.links.deadline(), earliest)
    }
}
