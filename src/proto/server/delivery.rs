//! Delivery: sends stored messages to their readers, in order, and receipts to their senders.
//!
//! The number of messages under way to a client is limited. Recent messages of logs are sent from memory. A direct
//! message is sent from memory right after it was written if no older one waits for its reader. All other texts are
//! read from disk.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::proto::event::reason::Problem;
use crate::proto::event::sentences::Sentence;
use crate::proto::event::server::ServerEvent;
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::link::{Link, Tag};
use crate::proto::machine::{Output, ServerEffect};
use crate::proto::name::Name;
use crate::proto::record::{DropNotice, IntervalKey, Mail, MailHeader, Record};
use crate::proto::server::acks::AckAction;
use crate::proto::server::intake::OnPersisted;
use crate::proto::server::logs::{NextNotice, Upcoming};
use crate::proto::server::sessions::Session;
use crate::proto::server::{LIMIT, Server};
use crate::proto::text::Text;
use crate::proto::time::Instant;
use crate::proto::wire::Frame;

/// The most messages under way to one reader that is online.
pub const POSTS_UNDER_WAY: usize = 64;
/// The most messages under way to one reader that gets its stored mail. More, because each batch waits for the disk.
pub const MAIL_UNDER_WAY: usize = 512;
/// The bytes of text under way to one reader at which no further message is sent. Only the last one may exceed them.
pub const BYTES_UNDER_WAY: usize = 256 * 1024;
/// The most receipts under way to one sender.
pub const RECEIPTS_UNDER_WAY: usize = 64;

/// The messages and receipts under way to one client.
#[derive(Debug, Default)]
pub struct DeliveryState {
    /// Messages up to this number were on disk when the client registered, and are sent as stored mail. The client goes
    /// online when it has acknowledged them.
    stored_upto: u64,
    /// The number of the last direct message that was sent.
    direct_sent: u64,
    /// In the order of sending, which is also the order of their acknowledgements.
    in_flight: VecDeque<Post>,
    /// The bytes of text in flight.
    bytes_in_flight: usize,
    fetch: FetchState,
    receipts_in_flight: BTreeSet<u64>,
}

/// A message or notice in flight.
#[derive(Debug)]
struct Post {
    /// The number of the message; 0 for a notice.
    seq: u64,
    /// The bytes of its text.
    bytes: usize,
    source: PostSource,
}

#[derive(Debug)]
enum PostSource {
    Direct,
    /// A message of a log. `stored` is set for stored mail: its sender and id, for the event.
    Logged {
        key: IntervalKey,
        position: u64,
        stored: Option<(Name, MessageId)>,
    },
    /// A notice of the messages up to this position.
    Notice {
        key: IntervalKey,
        last: u64,
    },
}

/// Whether texts are being read from disk for a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FetchState {
    #[default]
    Idle,
    Reading,
    /// The delivery was aborted meanwhile, so that the texts are not used.
    Outdated,
}

/// Messages that were requested from the disk for one reader.
#[derive(Debug)]
pub struct Fetch {
    client: Incarnation,
    items: Vec<Upcoming>,
}

impl DeliveryState {
    /// Starts the delivery to a client that registered.
    pub fn start(&mut self, stored_upto: u64) {
        self.stored_upto = stored_upto;
    }

    /// Drops everything in flight. A fetch continues, because its answer will still arrive.
    pub fn abort(&mut self) {
        self.in_flight = VecDeque::new();
        self.bytes_in_flight = 0;
        self.receipts_in_flight.clear();
        self.direct_sent = 0;
        if self.fetch == FetchState::Reading {
            self.fetch = FetchState::Outdated;
        }
    }
}

impl Post {
    /// The interval that it belongs to; `None` for a direct message.
    fn interval(&self) -> Option<&IntervalKey> {
        match &self.source {
            PostSource::Direct => None,
            PostSource::Logged { key, .. } | PostSource::Notice { key, .. } => Some(key),
        }
    }
}

impl Session {
    fn push_post(&mut self, link: &mut Link, post: Post, lines: &[Arc<str>]) {
        let tag = self.next_tag();
        self.expect_ack(tag, AckAction::Post);
        self.delivery.bytes_in_flight += post.bytes;
        self.delivery.in_flight.push_back(post);
        link.push_shared(lines, Some(tag), Some(LIMIT));
    }
}

/// The lines of the frame of a message. Messages up to the number `stored_upto` are stored mail.
fn lines_of(header: &MailHeader, text: &Text, stored_upto: u64) -> impl Iterator<Item = Arc<str>> {
    let frame = Frame::Post {
        id: header.id,
        kind: header.kind,
        from: header.from.clone(),
        group: header.group.clone(),
        at: header.sent_at.micros(),
        kept: (header.seq <= stored_upto).then_some(header.kept_at.micros()),
        text: text.clone().into(),
    };
    frame.lines().into_iter().map(Arc::from)
}

impl Server {
    /// Whether a client has not acknowledged all its stored mail.
    pub(super) fn has_backlog(&mut self, client: Incarnation) -> bool {
        let Some(session) = self.sessions.get(client) else { return false };
        let Some(name) = session.name() else { return false };
        let delivery = &session.delivery;
        if delivery.in_flight.front().is_some_and(|post| post.seq <= delivery.stored_upto) {
            return true;
        }
        let direct = self.mail.waiting_after(name, delivery.direct_sent);
        match self.logs.upcoming(name, direct, 1, BYTES_UNDER_WAY).first() {
            None => false,
            Some(Upcoming::Notice(_)) => true,
            Some(Upcoming::Direct(seq) | Upcoming::Logged { seq, .. }) => *seq <= delivery.stored_upto,
        }
    }

    /// Sends a direct message that was just written, if its reader is reading and nothing waits before it. Otherwise
    /// the text is read from disk later.
    pub(super) fn hand_out(&mut self, mail: Mail) {
        let Some(reader) = mail.header.reader() else { return };
        let Some(client) = self.table.get(reader).map(|row| row.incarnation) else { return };
        let Some(session) = self.sessions.get(client).filter(|session| session.is_reading()) else { return };
        let delivery = &session.delivery;
        let has_room = delivery.in_flight.len() < POSTS_UNDER_WAY && delivery.bytes_in_flight < BYTES_UNDER_WAY;
        let has_room = has_room && delivery.fetch == FetchState::Idle;
        let direct = self.mail.waiting_after(reader, delivery.direct_sent);
        if has_room && self.logs.upcoming(reader, direct, 1, BYTES_UNDER_WAY) == [Upcoming::Direct(mail.header.seq)] {
            self.post(client, &mail, PostSource::Direct);
        } else {
            self.ready_readers.insert(client);
        }
    }

    fn post(&mut self, client: Incarnation, mail: &Mail, source: PostSource) {
        let stored_upto = self.sessions.get(client).map_or(0, |session| session.delivery.stored_upto);
        let lines: Vec<Arc<str>> = lines_of(&mail.header, &mail.text, stored_upto).collect();
        let post = Post { seq: mail.header.seq, bytes: mail.header.text_bytes, source };
        self.post_lines(client, post, &lines);
    }

    fn post_lines(&mut self, client: Incarnation, post: Post, lines: &[Arc<str>]) {
        let Some(session) = self.sessions.get_mut(client) else { return };
        let Some(link) = self.links.get_mut(client) else { return };
        let Some(name) = session.name() else { return };
        match &post.source {
            PostSource::Logged { key, position: last, .. } | PostSource::Notice { key, last } => {
                self.logs.sent(name, key, [*last]);
            }
            PostSource::Direct => session.delivery.direct_sent = post.seq,
        }
        session.push_post(link, post, lines);
    }

    /// Sends the first of these items as long as they are messages of one interval whose texts are in memory, and
    /// removes them.
    fn post_recent(&mut self, client: Incarnation, items: &mut VecDeque<Upcoming>) {
        let Some(Upcoming::Logged { key, .. }) = items.front().cloned() else { return };
        let Some(session) = self.sessions.get_mut(client) else { return };
        let Some(link) = self.links.get_mut(client) else { return };
        let Some(name) = session.name().cloned() else { return };
        let (mut sent, stored_upto) = (Vec::new(), session.delivery.stored_upto);
        while let Some(Upcoming::Logged { seq, key: own, position }) = items.front()
            && *own == key
            && let Some(entry) = self.logs.get_mut(&key.log, *position)
            && let Some(text) = entry.text().cloned()
        {
            let (is_stored, header) = (*seq <= stored_upto, entry.header.clone());
            let stored = is_stored.then(|| (header.from.clone(), header.id));
            let source = PostSource::Logged { key: key.clone(), position: *position, stored };
            let post = Post { seq: *seq, bytes: header.text_bytes, source };
            if is_stored {
                let lines: Vec<Arc<str>> = lines_of(&header, &text, stored_upto).collect();
                session.push_post(link, post, &lines);
            } else {
                let lines = entry.live_lines(|| lines_of(&header, &text, stored_upto).collect());
                session.push_post(link, post, &lines);
            }
            sent.push(*position);
            items.pop_front();
        }
        self.logs.sent(&name, &key, sent);
    }

    /// Sends waiting messages to ready readers that have room. Texts that are not in memory are read from disk first.
    pub(super) fn schedule_deliveries(&mut self) {
        for log in self.logs.take_grown() {
            match log.group() {
                None => self.ready_readers.extend(self.sessions.reading()),
                Some(group) => {
                    let rows = self.groups.members(group).into_iter().filter_map(|name| self.table.get(&name));
                    self.ready_readers.extend(rows.map(|row| row.incarnation));
                }
            }
        }
        while let Some(client) = self.ready_readers.pop_first() {
            self.deliver(client);
        }
    }

    fn deliver(&mut self, client: Incarnation) {
        let Some(session) = self.sessions.get(client).filter(|session| session.is_reading()) else { return };
        let Some(name) = session.name().cloned() else { return };
        let delivery = &session.delivery;
        let most = if session.is_online() { POSTS_UNDER_WAY } else { MAIL_UNDER_WAY };
        let room = most.saturating_sub(delivery.in_flight.len());
        let bytes = BYTES_UNDER_WAY.saturating_sub(delivery.bytes_in_flight);
        if room == 0 || bytes == 0 || delivery.fetch != FetchState::Idle {
            return;
        }
        let direct = self.mail.waiting_after(&name, delivery.direct_sent);
        let mut items = VecDeque::from(self.logs.upcoming(&name, direct, room, bytes));
        while let Some(item) = items.front() {
            match item {
                Upcoming::Notice(key) => return self.deliver_notice(client, &name, &key.clone()),
                Upcoming::Direct(_) => break,
                Upcoming::Logged { .. } => {}
            }
            let before = items.len();
            self.post_recent(client, &mut items);
            if items.len() == before {
                break;
            }
        }
        items.retain(|item| !matches!(item, Upcoming::Notice(_)));
        if items.is_empty() {
            return;
        }
        let items = Vec::from(items);
        let seq = |item: &Upcoming| match item {
            Upcoming::Direct(seq) | Upcoming::Logged { seq, .. } => Some(*seq),
            Upcoming::Notice(_) => None,
        };
        self.output.push(Output::Effect(ServerEffect::Fetch(items.iter().filter_map(seq).collect())));
        if let Some(session) = self.sessions.get_mut(client) {
            session.delivery.fetch = FetchState::Reading;
        }
        self.fetches.push_back(Fetch { client, items });
    }

    /// Sends the notice that is next for a reader once it is on disk.
    fn deliver_notice(&mut self, client: Incarnation, reader: &Name, key: &IntervalKey) {
        let id = MessageId { incarnation: self.me, number: self.notices + 1 };
        match self.logs.next_notice(reader, key, id) {
            NextNotice::Write(record) => {
                self.notices += 1;
                self.persist(record, OnPersisted::NoticeWritten { reader: reader.clone(), key: key.clone() });
            }
            NextNotice::Wait => {}
            NextNotice::Send(DropNotice { id, count, upto }) => {
                let (kind, group) = (key.log.kind(), key.log.group().cloned());
                let frame = Frame::Dropped { id, kind, group, n: count };
                let lines: Vec<Arc<str>> = frame.lines().into_iter().map(Arc::from).collect();
                let last = upto.saturating_sub(1);
                let post = Post { seq: 0, bytes: 0, source: PostSource::Notice { key: key.clone(), last } };
                self.post_lines(client, post, &lines);
                self.ready_readers.insert(client);
            }
            NextNotice::Nothing => {
                self.ready_readers.insert(client);
                self.try_go_online(client);
            }
        }
    }

    /// Sends the messages that the disk returned for the oldest fetch.
    pub(super) fn fetched(&mut self, mail: Vec<Mail>) {
        let Some(Fetch { client, items }) = self.fetches.pop_front() else { return };
        let Some(session) = self.sessions.get_mut(client) else { return };
        let is_outdated = std::mem::take(&mut session.delivery.fetch) == FetchState::Outdated;
        self.ready_readers.insert(client);
        if is_outdated || !self.sessions.is_reading(client) {
            return;
        }
        let stored_upto = self.sessions.get(client).map_or(0, |session| session.delivery.stored_upto);
        let (mut mail, mut skipped) = (mail.into_iter().peekable(), None);
        for item in items {
            let (seq, key) = match item {
                Upcoming::Notice(_) => continue,
                Upcoming::Direct(seq) => (seq, None),
                Upcoming::Logged { seq, key, position } => (seq, Some((key, position))),
            };
            match (mail.next_if(|mail| mail.header.seq == seq), key) {
                (_, Some((key, _))) if skipped.as_ref() == Some(&key) => {}
                // It was removed meanwhile, and a notice may come first.
                (None, Some((key, position))) if self.logs.get_mut(&key.log, position).is_none() => {
                    skipped = Some(key);
                }
                (Some(mail), None) if self.mail.get(seq).is_some() => self.post(client, &mail, PostSource::Direct),
                (Some(mail), Some((key, position))) => {
                    let stored = (seq <= stored_upto).then(|| (mail.header.from.clone(), mail.header.id));
                    self.post(client, &mail, PostSource::Logged { key, position, stored });
                }
                (Some(_), None) => {}
                (None, key) => self.give_up(client, seq, key),
            }
        }
        self.try_go_online(client);
    }

    /// Removes a message whose text is lost, so that no returning reader waits for it.
    fn give_up(&mut self, client: Incarnation, seq: u64, key: Option<(IntervalKey, u64)>) {
        let is_stored = match key {
            None => self.mail.remove(seq).is_some(),
            Some((key, position)) => {
                let is_stored = self.logs.get_mut(&key.log, position).is_some_and(|entry| entry.header.seq == seq);
                self.logs.lose(&key.log, position);
                is_stored
            }
        };
        if is_stored {
            self.warn(Problem::MailLost, Sentence::MailLost { number: &seq });
        }
        self.ready_readers.insert(client);
    }

    /// Performs the action of a message that a client acknowledged. Returns whether it was a message in flight: the
    /// caller counts these and calls [`Server::posts_acknowledged`] once.
    pub(super) fn acknowledged(&mut self, client: Incarnation, tag: Tag) -> bool {
        let Some(session) = self.sessions.get_mut(client) else { return false };
        let action = session.take_ack(tag);
        if action == Some(AckAction::Post) {
            return true;
        }
        let Some(name) = session.name().cloned() else { return false };
        match action {
            Some(AckAction::Rows) => self.update_acknowledged(client),
            Some(AckAction::Receipt { seq }) => {
                session.delivery.receipts_in_flight.remove(&seq);
                if self.mail.drop_receipt(&name, seq) {
                    self.persist(Record::ReceiptGone { seq }, OnPersisted::Nothing);
                }
                self.push_receipts(client);
            }
            Some(AckAction::Post | AckAction::Reply { .. }) | None => {}
        }
        false
    }

    /// Removes the `count` oldest messages in flight to a client, which acknowledged them.
    pub(super) fn posts_acknowledged(&mut self, now: Instant, client: Incarnation, count: usize) {
        let Some(session) = self.sessions.get_mut(client) else { return };
        let Some(reader) = session.name().cloned() else { return };
        let in_flight = &mut session.delivery.in_flight;
        let posts: Vec<Post> = in_flight.drain(..count.min(in_flight.len())).collect();
        if in_flight.is_empty() {
            *in_flight = VecDeque::new();
        }
        session.delivery.bytes_in_flight -= posts.iter().map(|post| post.bytes).sum::<usize>();
        for run in posts.chunk_by(|a, b| a.interval().is_some() && a.interval() == b.interval()) {
            if let Some(key) = run[0].interval() {
                self.logs.acknowledged(&reader, key, run.len());
            }
        }
        for post in posts {
            self.post_acknowledged(now, &reader, post);
        }
        self.ready_readers.insert(client);
        self.try_go_online(client);
    }

    fn post_acknowledged(&mut self, now: Instant, reader: &Name, Post { seq, source, .. }: Post) {
        match source {
            PostSource::Direct => {
                let Some(header) = self.mail.remove(seq) else { return };
                self.mail.remember(now, header.id, 0);
                self.counters.delivered += 1;
                let (from, id) = (header.from.clone(), header.id);
                self.say(ServerEvent::MailDelivered { to: reader.clone(), from, id });
                self.remove_delivered(&header);
            }
            PostSource::Logged { stored, .. } => {
                self.counters.delivered += 1;
                if let Some((from, id)) = stored {
                    self.say(ServerEvent::MailDelivered { to: reader.clone(), from, id });
                }
            }
            PostSource::Notice { .. } => {}
        }
    }

    /// Sends an online client the receipts that wait for it, up to [`RECEIPTS_UNDER_WAY`].
    pub(super) fn push_receipts(&mut self, client: Incarnation) {
        let Some(session) = self.sessions.get_mut(client).filter(|session| session.is_online()) else { return };
        let Some(name) = session.name().cloned() else { return };
        let Some(link) = self.links.get_mut(client) else { return };
        for receipt in self.mail.receipts(&name) {
            if session.delivery.receipts_in_flight.len() >= RECEIPTS_UNDER_WAY {
                return;
            }
            if !session.delivery.receipts_in_flight.insert(receipt.seq) {
                continue;
            }
            let tag = session.next_tag();
            session.expect_ack(tag, AckAction::Receipt { seq: receipt.seq });
            let (id, reader, kept) = (receipt.id, receipt.reader.clone(), receipt.kept_at.micros());
            link.push(Frame::Receipt { id, reader, kept }, Some(tag), Some(LIMIT));
        }
    }
}
