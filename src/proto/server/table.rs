//! The table and its versions: sends each change to all online clients.
//!
//! Each change is a version. An update contains the rows that changed since the version that the client has. The client
//! gets the whole table only if that version is unknown or too old; see [`DROPPED`].

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::proto::event::ClientInfo;
use crate::proto::event::server::ServerEvent;
use crate::proto::id::Incarnation;
use crate::proto::keys::PublicKey;
use crate::proto::link::Tag;
use crate::proto::name::Name;
use crate::proto::record::{NameRecord, Record};
use crate::proto::server::acks::AckAction;
use crate::proto::server::intake::OnPersisted;
use crate::proto::server::{LIMIT, Server};
use crate::proto::time::{Instant, Timestamp};
use crate::proto::wire::{Frame, MAX_FRAME, Row};

/// The most names a server knows.
pub const NAMES: usize = 65_536;
/// The most dropped names that are remembered. A client that may have missed more gets the whole table.
pub const DROPPED: usize = 4_096;
/// The most bytes of encoded rows in one frame, so that the frame fits into a datagram.
const ROW_BYTES_A_FRAME: usize = MAX_FRAME - 96;
/// The most dropped names in one frame. This many names of the greatest length fit into a datagram.
const GONE_A_FRAME: usize = 18;
/// The most rows in one update.
const ROWS_AN_UPDATE: usize = 256;
/// Two rounds of updates are apart by this time for each online client, so that updates leave the clients and the
/// server time for other work while many clients come at once. The first change after that leaves at once.
const ROUND_TIME_A_CLIENT: Duration = Duration::from_micros(250);

/// A row of the table.
#[derive(Clone, Debug)]
pub struct TableRow {
    /// The address of the client.
    pub addr: SocketAddr,
    /// The incarnation of the client.
    pub incarnation: Incarnation,
    /// The public key of the client.
    pub key: PublicKey,
    /// Whether the client is online.
    pub online: bool,
    /// The time at which it was last online or went offline.
    pub seen: Timestamp,
    version: u64,
}

/// The client that has a name.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    /// Its address.
    pub addr: SocketAddr,
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// Its public key.
    pub key: PublicKey,
}

impl TableRow {
    /// The client in this row.
    #[must_use]
    pub fn holder(&self) -> Holder {
        Holder { addr: self.addr, incarnation: self.incarnation, key: self.key }
    }
}

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

/// All rows, by name and by the version that changed them last.
#[derive(Debug, Default)]
pub struct Table {
    rows: BTreeMap<Name, TableRow>,
    holders: BTreeMap<Incarnation, Name>,
    by_version: BTreeMap<u64, Name>,
    dropped: BTreeMap<u64, Name>,
    /// The version of the last dropped name that is no longer remembered. A client at this version or below may have
    /// missed such names.
    forgotten: u64,
    version: u64,
    /// Names that changed since the last event about the table.
    changed: BTreeSet<Name>,
    /// Clients that may miss a change.
    stale: BTreeSet<Incarnation>,
    /// Whether all online clients may miss a change. They get it in the next round.
    round_due: bool,
    /// When the next round may begin.
    next_round: Instant,
}

impl Table {
    /// The table that an earlier incarnation persisted.
    #[must_use]
    pub fn new(records: Vec<NameRecord>) -> Self {
        let mut table = Self::default();
        for NameRecord { name, addr, incarnation, key, online, seen } in records {
            table.put(name, Holder { addr, incarnation, key }, online, seen);
        }
        table.changed.clear();
        table
    }

    /// The row of `name`.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&TableRow> {
        self.rows.get(name)
    }

    /// The name that this incarnation holds.
    #[must_use]
    pub fn name_of(&self, incarnation: Incarnation) -> Option<&Name> {
        self.holders.get(&incarnation)
    }

    /// All rows, in order of name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &TableRow)> {
        self.rows.iter()
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// The number of the last change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Inserts or replaces a row. This creates a new version.
    pub fn put(&mut self, name: Name, holder: Holder, online: bool, seen: Timestamp) {
        let Holder { addr, incarnation, key } = holder;
        self.version += 1;
        let entry = TableRow { addr, incarnation, key, online, seen, version: self.version };
        if let Some(before) = self.rows.insert(name.clone(), entry) {
            self.by_version.remove(&before.version);
            if before.incarnation != incarnation {
                self.holders.remove(&before.incarnation);
            }
        }
        self.holders.insert(incarnation, name.clone());
        self.by_version.insert(self.version, name.clone());
        self.changed.insert(name);
    }

    fn drop_name(&mut self, name: &Name) {
        let Some(row) = self.rows.remove(name) else { return };
        self.holders.remove(&row.incarnation);
        self.by_version.remove(&row.version);
        self.version += 1;
        self.dropped.insert(self.version, name.clone());
        self.changed.insert(name.clone());
        if self.dropped.len() > DROPPED
            && let Some((version, _)) = self.dropped.pop_first()
        {
            self.forgotten = version;
        }
    }

    /// The names that were dropped after version `from` and up to version `upto`, except names that exist again.
    fn gone(&self, from: u64, upto: u64) -> Vec<Name> {
        let dropped = self.dropped.range(from.saturating_add(1)..).take_while(|(version, _)| **version <= upto);
        dropped.map(|(_, name)| name).filter(|name| !self.rows.contains_key(*name)).cloned().collect()
    }

    /// All rows, in the form in which events contain them.
    #[must_use]
    pub fn view(&self) -> Vec<ClientInfo> {
        self.rows.iter().map(|(name, row)| view(name, row)).collect()
    }

    fn online_count(&self) -> usize {
        self.rows.values().filter(|row| row.online).count()
    }
}

fn view(name: &Name, row: &TableRow) -> ClientInfo {
    ClientInfo { name: name.clone(), addr: row.addr.to_string(), online: row.online }
}

/// The address at which a reader reaches a client with address `addr`. If the client is on the server's own host, a
/// reader on another host reaches it at `via`, the address at which this reader reaches the server.
fn seen_from(addr: SocketAddr, reader: SocketAddr, via: IpAddr) -> SocketAddr {
    if addr.ip().is_loopback() && !reader.ip().is_loopback() { SocketAddr::new(via, addr.port()) } else { addr }
}

impl Server {
    /// Changes a row on disk and in the tables of all online clients.
    pub(super) fn change_row(&mut self, name: &Name, holder: Holder, online: bool, then: OnPersisted) {
        self.table.put(name.clone(), holder, online, self.output.unix);
        self.persist_row(name, online, then);
        self.schedule_updates();
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
        self.schedule_updates();
    }

    fn schedule_updates(&mut self) {
        self.table.round_due = true;
    }

    /// When the next round of updates begins, if one is due.
    pub(super) fn round_deadline(&self) -> Option<Instant> {
        self.table.round_due.then_some(self.table.next_round)
    }

    /// Marks a client as stale, so that the next flush sends it the changes that it misses.
    pub(super) fn schedule_update(&mut self, client: Incarnation) {
        self.table.stale.insert(client);
    }

    /// Compares the version that an online client reports with the version sent to it. Sends the whole table if they
    /// differ and no update is in flight, at most once in
    /// [`VERSION_CHECK_EVERY`](crate::proto::server::sessions::VERSION_CHECK_EVERY).
    pub(super) fn check_version(&mut self, now: Instant, client: Incarnation, version: u64) {
        if let Some(session) = self.sessions.get_mut(client)
            && session.is_online()
            && session.table.in_flight.is_none()
            && session.table.sent != version
            && session.take_version_check(now)
        {
            session.table = TableCursor { owed: true, ..TableCursor::default() };
            self.table.stale.insert(client);
        }
    }

    /// Notes that a client acknowledged an update, and marks it as stale if the update continues or there are newer
    /// changes, unless the next round brings them.
    pub(super) fn update_acknowledged(&mut self, client: Incarnation) {
        if let Some(session) = self.sessions.get_mut(client) {
            session.table.in_flight = None;
            let misses_changes = session.table.sent < self.table.version && !self.table.round_due;
            if (session.table.continues || misses_changes) && session.is_online() {
                self.table.stale.insert(client);
            }
        }
    }

    /// Emits an event for the rows that changed, and sends updates to all stale clients without an update in flight.
    pub(super) fn send_updates(&mut self, now: Instant) {
        if !self.table.changed.is_empty() {
            let names = std::mem::take(&mut self.table.changed);
            let changed = names.iter().filter_map(|name| Some(view(name, self.table.rows.get(name)?))).collect();
            let (version, incarnation, total) = (self.table.version, self.me, self.table.len());
            let online_count = self.table.online_count();
            self.say(ServerEvent::Table { version, incarnation, changed, total, online_count });
        }
        if self.table.round_due && self.table.next_round <= now {
            self.table.round_due = false;
            self.table.stale.extend(self.sessions.online());
            let clients = u32::try_from(self.table.stale.len()).unwrap_or(u32::MAX);
            self.table.next_round = now + ROUND_TIME_A_CLIENT * clients;
        }
        for client in std::mem::take(&mut self.table.stale) {
            self.send_update(client);
        }
    }

    fn send_update(&mut self, client: Incarnation) {
        let Some(session) = self.sessions.get_mut(client).filter(|session| session.is_online()) else { return };
        if session.table.in_flight.is_some() {
            return;
        }
        // A whole table that continues may miss names that were dropped and forgotten since it began.
        let whole = session.table.sent.max(session.table.base) <= self.table.forgotten;
        if whole {
            session.table.base = self.table.version;
        }
        let from = if whole { 0 } else { session.table.sent };
        // Reads one row more than fits, to find out whether this update is the last one.
        let mut changed: Vec<(u64, Row)> = (self.table.by_version.range(from + 1..).take(ROWS_AN_UPDATE + 1))
            .filter_map(|(version, name)| {
                let row = self.table.rows.get(name)?;
                let addr = seen_from(row.addr, session.addr(), session.via());
                let (name, incarnation, key, online) = (name.clone(), row.incarnation, row.key, row.online);
                Some((*version, Row { name, addr, incarnation, key, online }))
            })
            .collect();
        let last = changed.len() <= ROWS_AN_UPDATE;
        changed.truncate(ROWS_AN_UPDATE);
        let upto = if last { self.table.version } else { changed.last().map_or(from, |(version, _)| *version) };
        let gone = if whole { Vec::new() } else { self.table.gone(from, upto) };
        if last && changed.is_empty() && gone.is_empty() && !session.table.owed {
            session.table.sent = upto;
            return;
        }
        let Some(link) = self.links.get_mut(client) else { return };
        session.table.continues = !last;
        let total = self.table.rows.len();
        let mut frames: Vec<Frame> = Vec::new();
        let rows: Vec<Row> = changed.into_iter().map(|(_, row)| row).collect();
        for rows in chunks_of_rows(rows) {
            frames.push(Frame::Rows { upto, whole: false, last: false, total, rows, gone: Vec::new() });
        }
        for gone in gone.chunks(GONE_A_FRAME) {
            frames.push(Frame::Rows { upto, whole: false, last: false, total, rows: Vec::new(), gone: gone.to_vec() });
        }
        if frames.is_empty() {
            frames.push(Frame::Rows { upto, whole: false, last: false, total, rows: Vec::new(), gone: Vec::new() });
        }
        if let Some(Frame::Rows { whole: begins, .. }) = frames.first_mut() {
            *begins = whole;
        }
        if let Some(Frame::Rows { last: ends, .. }) = frames.last_mut() {
            *ends = last;
        }
        let tag = session.next_tag();
        let end = frames.len() - 1;
        for (at, frame) in frames.into_iter().enumerate() {
            let is_end = at == end;
            link.push(frame, is_end.then_some(tag), is_end.then_some(LIMIT));
        }
        session.table.sent = upto;
        session.table.owed = false;
        session.table.in_flight = Some(tag);
        session.expect_ack(tag, AckAction::Rows);
    }

    pub(super) fn row_for(&self, reader: Incarnation, name: &Name) -> Option<Row> {
        let (row, session) = (self.table.get(name)?, self.sessions.get(reader)?);
        let addr = seen_from(row.addr, session.addr(), session.via());
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

    #[test]
    fn dropped_names_are_reported_as_gone_until_they_exist_again() {
        let (mut table, addr) = (Table::default(), SocketAddr::from(([10, 0, 0, 2], 7000)));
        let [x, y] = ["x", "y"].map(|word| Name::new(word).unwrap());
        for (incarnation, name) in [(Incarnation(1), &x), (Incarnation(2), &y)] {
            table.put(name.clone(), Holder { addr, incarnation, key: PublicKey([7; 32]) }, false, Timestamp::default());
        }
        table.drop_name(&x);
        table.drop_name(&y);
        assert_eq!(table.gone(0, 4), [x.clone(), y.clone()]);
        assert_eq!((table.gone(2, 3), table.gone(3, 4)), (vec![x.clone()], vec![y.clone()]));
        let nothing_new = [(4, 4), (3, 3), (4, 0), (u64::MAX, u64::MAX)];
        assert!(nothing_new.iter().all(|(from, upto)| table.gone(*from, *upto).is_empty()));
        table.put(x, Holder { addr, incarnation: Incarnation(3), key: PublicKey([7; 32]) }, true, Timestamp::default());
        assert_eq!(table.gone(0, 5), [y]);
    }

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
            let frame = Frame::Rows { upto: u64::MAX, whole: true, last: false, total: NAMES, rows, gone };
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
