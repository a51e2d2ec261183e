//! Updates of the table: sends each change to all online clients.
//!
//! An update contains the rows that changed since the version that the client has. The client gets the whole table only
//! if that version is unknown or too old; see [`DROPPED`](crate::proto::server::table::DROPPED).
//!
//! With too many names the table of each client is partial. The client then gets its own row when it comes online, and
//! afterwards only the totals. Other rows come with answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::proto::event::reason::Problem;
use crate::proto::event::sentences::Sentence;
use crate::proto::event::server::ServerEvent;
use crate::proto::id::Incarnation;
use crate::proto::link::Tag;
use crate::proto::name::Name;
use crate::proto::record::{NameRecord, Record};
use crate::proto::server::acks::AckAction;
use crate::proto::server::intake::OnPersisted;
use crate::proto::server::table::{Holder, Table};
use crate::proto::server::{LIMIT, Server};
use crate::proto::time::Instant;
use crate::proto::wire::{Frame, MAX_FRAME, Row};

/// The most bytes of encoded rows in one frame, so that the frame fits into a datagram.
const ROW_BYTES_A_FRAME: usize = MAX_FRAME - 96;
/// The most dropped names in one frame. This many names of the greatest length fit into a datagram.
const GONE_A_FRAME: usize = 18;
/// The most rows in one update.
const ROWS_AN_UPDATE: usize = 256;
/// The least time between two rounds of updates. The first change after that leaves at once. Later ones travel
/// together, so that updates leave the clients and the server time for other work while many clients come at once.
const ROUND_EVERY: Duration = Duration::from_millis(50);
/// Added to [`ROUND_EVERY`] for each online client.
const ROUND_TIME_A_CLIENT: Duration = Duration::from_micros(50);
/// The longest time between two rounds in which changes wait.
const LONGEST_ROUND: Duration = Duration::from_millis(100);
/// The least time between two rounds of totals.
const TOTALS_EVERY: Duration = Duration::from_secs(1);
/// The most encoded updates that are kept for the next client with the same version.
const ENCODED_UPDATES: usize = 64;
/// The most messages without outcome to a client that gets the rows of its senders. Beyond it a sender is unknown, and
/// its message comes through the server.
const INTRODUCTIONS: usize = 256;

/// The position of one client in the versions of the table.
#[derive(Debug, Default)]
pub struct TableCursor {
    /// All changes up to this version were sent; 0 for none.
    pub sent: u64,
    /// The version of the table when the last whole table began.
    base: u64,
    /// The update in flight.
    pub in_flight: Option<Tag>,
    /// Whether an update is due even without a change. The client waits for it at the end of its registration.
    pub owed: bool,
    /// Whether the update in flight continues in another one.
    continues: bool,
}

/// The updates that are due, and those that are encoded.
#[derive(Debug, Default)]
pub struct Updates {
    /// Clients that may miss a change.
    stale: BTreeSet<Incarnation>,
    /// Whether all online clients may miss a change. They get it in the next round.
    is_round_due: bool,
    /// When the next round may begin.
    next_round: Instant,
    /// The version of the last totals that all online clients were sent; 0 for none.
    totals_version: u64,
    /// Whether the user knows that tables are partial.
    is_partial_reported: bool,
    /// Updates to the version `encoded_for`, at most [`ENCODED_UPDATES`].
    encoded: BTreeMap<UpdateKey, Arc<EncodedUpdate>>,
    encoded_for: u64,
}

/// The difference between updates to one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UpdateKey {
    /// The version that the client has; 0 for the whole table.
    from: u64,
    /// The address at which the client sees clients on the server's own host, if it is on another host.
    via: Option<IpAddr>,
}

/// An update as lines, which all links share.
#[derive(Debug)]
struct EncodedUpdate {
    /// The version after the update.
    upto: u64,
    /// Whether the update reaches the version of the table.
    is_last: bool,
    /// Whether it has no row and no dropped name.
    is_empty: bool,
    lines: Vec<Arc<str>>,
}

impl Updates {
    /// The update for a client with the version `from`, where 0 is none.
    fn encoded(&mut self, table: &Table, key: UpdateKey) -> Arc<EncodedUpdate> {
        if self.encoded_for != table.version() || self.encoded.len() >= ENCODED_UPDATES {
            self.encoded.clear();
            self.encoded_for = table.version();
        }
        Arc::clone(self.encoded.entry(key).or_insert_with(|| Arc::new(EncodedUpdate::new(table, key))))
    }
}

impl EncodedUpdate {
    fn new(table: &Table, UpdateKey { from, via }: UpdateKey) -> Self {
        // Reads one row more than fits, to find out whether this update is the last one.
        let mut changed: Vec<(u64, Row)> = table.changed_since(from).take(ROWS_AN_UPDATE + 1).collect();
        let is_last = changed.len() <= ROWS_AN_UPDATE;
        changed.truncate(ROWS_AN_UPDATE);
        let upto = if is_last { table.version() } else { changed.last().map_or(from, |(version, _)| *version) };
        let is_whole = from == 0;
        let gone = if is_whole { Vec::new() } else { table.gone(from, upto) };
        let is_empty = changed.is_empty() && gone.is_empty();
        let total = table.len();
        let frame = |rows, gone| Frame::Rows { upto, whole: false, last: false, total, online: None, rows, gone };
        let rows = changed.into_iter().map(|(_, row)| Row { addr: seen_via(row.addr, via), ..row }).collect();
        let mut frames: Vec<Frame> = chunks_of_rows(rows).into_iter().map(|rows| frame(rows, Vec::new())).collect();
        frames.extend(gone.chunks(GONE_A_FRAME).map(|gone| frame(Vec::new(), gone.to_vec())));
        if frames.is_empty() {
            frames.push(frame(Vec::new(), Vec::new()));
        }
        if let Some(Frame::Rows { whole, .. }) = frames.first_mut() {
            *whole = is_whole;
        }
        if let Some(Frame::Rows { last, .. }) = frames.last_mut() {
            *last = is_last;
        }
        let lines = frames.into_iter().flat_map(Frame::lines).map(Arc::from).collect();
        Self { upto, is_last, is_empty, lines }
    }
}

/// The address by which a reader on another host replaces those of clients on the server's own host: `via`, the address
/// at which this reader reaches the server. `None` if the reader is on the server's own host too.
fn replacement(reader: SocketAddr, via: IpAddr) -> Option<IpAddr> {
    Some(via).filter(|_| !reader.ip().is_loopback())
}

/// The address of a client, as a reader with this replacement reaches it.
fn seen_via(addr: SocketAddr, via: Option<IpAddr>) -> SocketAddr {
    via.filter(|_| addr.ip().is_loopback()).map_or(addr, |via| SocketAddr::new(via, addr.port()))
}

impl Server {
    /// Changes a row on disk and in the tables of all online clients.
    pub(super) fn change_row(&mut self, name: &Name, holder: Holder, online: bool, then: OnPersisted) {
        self.table.put(name.clone(), holder, online, self.output.unix);
        self.persist_row(name, online, then);
        self.updates.is_round_due = true;
    }

    pub(super) fn persist_row(&mut self, name: &Name, online: bool, then: OnPersisted) {
        if let Some(row) = self.table.get(name) {
            let record = NameRecord {
                name: name.clone(),
                addr: row.addr,
                incarnation: row.incarnation,
                online,
                seen: self.output.unix,
                key: row.key,
            };
            self.persist(Record::Name(record), then);
        }
    }

    pub(super) fn drop_name(&mut self, name: &Name) {
        self.table.drop_name(name);
        self.persist(Record::NameRemoved(name.clone()), OnPersisted::Nothing);
        self.updates.is_round_due = true;
    }

    /// When the next round of updates begins, if one is due.
    pub(super) fn round_deadline(&self) -> Option<Instant> {
        self.updates.is_round_due.then_some(self.updates.next_round)
    }

    /// Marks a client as stale, so that the next flush sends it the changes that it misses.
    pub(super) fn schedule_update(&mut self, client: Incarnation) {
        self.updates.stale.insert(client);
    }

    /// Compares the version that an online client reports with the version sent to it. If they differ and no update is
    /// in flight, sends the whole table, or the totals, at most once in
    /// [`VERSION_CHECK_EVERY`](crate::proto::server::sessions::VERSION_CHECK_EVERY).
    pub(super) fn check_version(&mut self, now: Instant, client: Incarnation, version: u64) {
        let is_partial = self.table.is_partial();
        if let Some(session) = self.sessions.get_mut(client)
            && session.is_online()
            && session.table.in_flight.is_none()
            && if is_partial { version < self.updates.totals_version } else { session.table.sent != version }
            && session.take_version_check(now)
        {
            if is_partial {
                let totals = self.totals();
                return self.push_totals(client, &totals);
            }
            session.table = TableCursor { owed: true, ..TableCursor::default() };
            self.updates.stale.insert(client);
        }
    }

    /// Notes that a client acknowledged an update, and marks it as stale if the update continues or there are newer
    /// changes, unless the next round brings them.
    pub(super) fn update_acknowledged(&mut self, client: Incarnation) {
        if let Some(session) = self.sessions.get_mut(client) {
            session.table.in_flight = None;
            let misses_changes = session.table.sent < self.table.version() && !self.updates.is_round_due;
            if (session.table.continues || misses_changes) && session.is_online() {
                self.updates.stale.insert(client);
            }
        }
    }

    /// Emits an event for the rows that changed, and sends updates to all stale clients without an update in flight.
    pub(super) fn send_updates(&mut self, now: Instant) {
        if let Some(changed) = self.table.take_changed() {
            let (version, incarnation, total) = (self.table.version(), self.me, self.table.len());
            let online_count = self.table.online_count();
            self.say(ServerEvent::Table { version, incarnation, changed, total, online_count });
            self.report_partial();
        }
        if self.updates.is_round_due && self.updates.next_round <= now {
            self.updates.is_round_due = false;
            let online: Vec<Incarnation> = self.sessions.online().collect();
            let clients = u32::try_from(online.len()).unwrap_or(u32::MAX);
            if self.table.is_partial() {
                self.send_totals(&online);
                self.updates.next_round = now + TOTALS_EVERY;
            } else {
                self.updates.stale.extend(online);
                let time = ROUND_EVERY + ROUND_TIME_A_CLIENT.saturating_mul(clients);
                self.updates.next_round = now + time.min(LONGEST_ROUND);
            }
        }
        for client in std::mem::take(&mut self.updates.stale) {
            self.send_update(client);
        }
    }

    /// Tells the user once that tables are partial from now on.
    pub(super) fn report_partial(&mut self) {
        if self.table.is_partial() && !std::mem::replace(&mut self.updates.is_partial_reported, true) {
            let limit = self.table.whole_limit();
            self.warn(Problem::PartialTables, Sentence::PartialTables { limit: &limit });
        }
    }

    fn send_update(&mut self, client: Incarnation) {
        let Some(session) = self.sessions.get_mut(client).filter(|session| session.is_online()) else { return };
        if session.table.in_flight.is_some() {
            return;
        }
        if self.table.is_partial() {
            return self.send_own_row(client);
        }
        // A whole table that continues may miss names that were dropped and forgotten since it began.
        let is_whole = session.table.sent.max(session.table.base) <= self.table.forgotten();
        if is_whole {
            session.table.base = self.table.version();
        }
        let from = if is_whole { 0 } else { session.table.sent };
        let key = UpdateKey { from, via: replacement(session.addr(), session.via()) };
        let update = self.updates.encoded(&self.table, key);
        if update.is_last && update.is_empty && !session.table.owed {
            session.table.sent = update.upto;
            return;
        }
        session.table.continues = !update.is_last;
        session.table.sent = update.upto;
        self.push_update(client, &update.lines);
    }

    /// Sends a client with a partial table its own row, at the end of its registration or of the whole table that it
    /// was getting.
    fn send_own_row(&mut self, client: Incarnation) {
        let Some(session) = self.sessions.get_mut(client) else { return };
        let (upto, total, online) = (self.table.version(), self.table.len(), Some(self.table.online_count()));
        let is_due = session.table.owed || session.table.continues;
        session.table.sent = upto;
        session.table.continues = false;
        let name = session.name().cloned().filter(|_| is_due);
        let Some(row) = name.and_then(|name| self.row_for(client, &name)) else { return };
        let rows = vec![row];
        let frame = Frame::Rows { upto, whole: false, last: true, total, online, rows, gone: Vec::new() };
        let lines: Vec<Arc<str>> = frame.lines().into_iter().map(Arc::from).collect();
        self.push_update(client, &lines);
    }

    /// Puts the lines of an update on the link to a client. Only the last one can time out, because earlier ones may
    /// wait in the queue.
    fn push_update(&mut self, client: Incarnation, lines: &[Arc<str>]) {
        let (Some(session), Some(link)) = (self.sessions.get_mut(client), self.links.get_mut(client)) else { return };
        let tag = session.next_tag();
        let (earlier, last) = lines.split_at(lines.len().saturating_sub(1));
        if !earlier.is_empty() {
            link.push_shared(earlier, None, None);
        }
        link.push_shared(last, Some(tag), Some(LIMIT));
        session.table.owed = false;
        session.table.in_flight = Some(tag);
        session.expect_ack(tag, AckAction::Rows);
    }

    fn totals(&self) -> Arc<str> {
        let (upto, total, online) = (self.table.version(), self.table.len(), self.table.online_count());
        Frame::Totals { upto, total, online }.lines().concat().into()
    }

    /// Sends the totals to all online clients. They are not acknowledged: a client that misses them reports an old
    /// version by its next keep-alive.
    fn send_totals(&mut self, online: &[Incarnation]) {
        self.updates.totals_version = self.table.version();
        let totals = self.totals();
        for client in online {
            self.push_totals(*client, &totals);
        }
    }

    fn push_totals(&mut self, client: Incarnation, totals: &Arc<str>) {
        if let Some(link) = self.links.get_mut(client) {
            link.push_unnumbered_line(totals, None);
        }
    }

    /// Sends the row of `client` to the holder of `name`, which `client` asks for. Without that row, a holder with a
    /// partial table could not authenticate the first datagram of `client`.
    pub(super) fn introduce(&mut self, client: Incarnation, name: &Name) {
        let reader = self.table.get(name).map(|row| row.incarnation).filter(|reader| *reader != client);
        let Some(reader) = reader.filter(|reader| self.table.is_partial() && self.sessions.is_online(*reader)) else {
            return;
        };
        let sender = self.sessions.get(client).and_then(|session| session.name());
        if let Some(row) = sender.and_then(|sender| self.row_for(reader, sender))
            && let Some(link) = self.links.get_mut(reader).filter(|link| link.unsettled() < INTRODUCTIONS)
        {
            link.push(Frame::Row { row }, None, None);
        }
    }

    pub(super) fn row_for(&self, reader: Incarnation, name: &Name) -> Option<Row> {
        let (row, session) = (self.table.get(name)?, self.sessions.get(reader)?);
        let addr = seen_via(row.addr, replacement(session.addr(), session.via()));
        Some(Row { name: name.clone(), addr, incarnation: row.incarnation, key: row.key, online: row.online })
    }
}

/// Splits rows so that each part fits into a frame.
fn chunks_of_rows(rows: Vec<Row>) -> Vec<Vec<Row>> {
    let mut chunks: Vec<Vec<Row>> = Vec::new();
    let mut room = 0;
    for row in rows {
        let bytes = row.encoded_len() + 1;
        if bytes > room {
            chunks.push(Vec::new());
            room = ROW_BYTES_A_FRAME;
        }
        room = room.saturating_sub(bytes);
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(row);
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::keys::PublicKey;
    use crate::proto::server::table::NAMES;

    #[test]
    fn the_longest_rows_and_names_fit_into_their_frames() {
        let row = Row {
            name: Name::new(&"x".repeat(Name::MAX)).unwrap(),
            addr: "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535".parse().unwrap(),
            incarnation: Incarnation(u128::MAX),
            key: PublicKey([0xff; 32]),
            online: false,
        };
        let line = |rows: Vec<Row>, gone| {
            let frame =
                Frame::Rows { upto: u64::MAX, whole: true, last: false, total: NAMES, online: None, rows, gone };
            let lines = frame.lines();
            assert_eq!(lines.len(), 1);
            lines[0].len()
        };
        let row_bytes = line(vec![row.clone(); 2], Vec::new()) - line(vec![row.clone()], Vec::new());
        let rows = vec![row.clone(); ROW_BYTES_A_FRAME / row_bytes];
        assert!(line(rows, Vec::new()) - row_bytes * (ROW_BYTES_A_FRAME / row_bytes) + ROW_BYTES_A_FRAME < MAX_FRAME);
        assert!(line(Vec::new(), vec![row.name; GONE_A_FRAME]) < MAX_FRAME);
    }
}
