//! A client's copy of the server's table: name, address, incarnation and state of each client.
//!
//! An update can span several `rows` frames. It is applied when its last frame has arrived.
//!
//! A server with many names makes the table partial: it has the client's own row, and a cache of rows of others.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::proto::client::row_cache::RowCache;
use crate::proto::event::ClientInfo;
use crate::proto::id::Incarnation;
use crate::proto::keys::PublicKey;
use crate::proto::name::Name;
use crate::proto::wire::Row;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The address of the client.
    pub addr: SocketAddr,
    /// The incarnation of the client.
    pub incarnation: Incarnation,
    /// The public key of the client.
    pub key: PublicKey,
    /// Whether the server considers the client reachable.
    pub online: bool,
}

/// The client's copy of the table, and the update that is arriving.
#[derive(Debug)]
pub struct Directory {
    own: Name,
    rows: BTreeMap<Name, DirectoryEntry>,
    /// The name of each incarnation in `rows`.
    names: BTreeMap<Incarnation, Name>,
    /// The number of online rows.
    online: usize,
    version: u64,
    incoming: IncomingTable,
    /// Present if the table is partial.
    partial: Option<PartialTable>,
}

#[derive(Debug)]
struct PartialTable {
    totals: Totals,
    /// All rows except the client's own.
    cache: RowCache,
}

/// The numbers of rows at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// All rows.
    pub total: usize,
    /// The online rows.
    pub online: usize,
}

/// A part of an update, as a `rows` frame brings it.
#[derive(Debug)]
pub struct TableUpdate {
    /// The version after the update.
    pub upto: u64,
    /// Whether it begins an update that replaces the whole table.
    pub whole: bool,
    /// Whether it ends the update.
    pub last: bool,
    /// Present if the table is partial.
    pub totals: Option<Totals>,
    /// Rows that were added or changed.
    pub rows: Vec<Row>,
    /// Names that were removed.
    pub gone: Vec<Name>,
}

#[derive(Debug, Default)]
struct IncomingTable {
    /// Whether the update replaces the whole table.
    whole: bool,
    rows: BTreeMap<Name, DirectoryEntry>,
    gone: Vec<Name>,
}

/// The differences that an update made.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Rows that were added or changed.
    pub changed: Vec<ClientInfo>,
    /// Names that were removed.
    pub gone: Vec<Name>,
    /// Incarnations that are no longer in any row.
    pub ended: Vec<Incarnation>,
}

impl Directory {
    /// An empty table of the client with this name.
    #[must_use]
    pub fn new(own: Name) -> Self {
        Self {
            own,
            rows: BTreeMap::new(),
            names: BTreeMap::new(),
            online: 0,
            version: 0,
            incoming: IncomingTable::default(),
            partial: None,
        }
    }

    /// Whether the server has more rows than it sends.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.partial.is_some()
    }

    /// The row of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<DirectoryEntry> {
        self.rows.get(name).copied()
    }

    /// The name of the client with this incarnation.
    #[must_use]
    pub fn name_of(&self, incarnation: Incarnation) -> Option<&Name> {
        self.names.get(&incarnation)
    }

    /// The row of the client with this incarnation.
    #[must_use]
    pub fn row_of(&self, incarnation: Incarnation) -> Option<DirectoryEntry> {
        self.names.get(&incarnation).and_then(|name| self.rows.get(name)).copied()
    }

    /// The version after the last complete update; 0 before the first one.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The number of rows, and the number of online rows, at the server.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        self.partial
            .as_ref()
            .map_or((self.rows.len(), self.online), |PartialTable { totals, .. }| (totals.total, totals.online))
    }

    /// All rows, in order of name.
    #[must_use]
    pub fn view(&self) -> Vec<ClientInfo> {
        self.rows.iter().map(|(name, row)| view(name, row)).collect()
    }

    /// Drops the part of an update whose rest the server no longer sends.
    pub fn discard_incoming(&mut self) {
        self.incoming = IncomingTable::default();
    }

    /// Adds one `rows` frame to the arriving update. The last frame applies the update and returns the differences.
    pub fn incoming(&mut self, update: TableUpdate) -> Option<Change> {
        if update.whole {
            self.incoming = IncomingTable { whole: true, ..IncomingTable::default() };
        }
        for Row { name, addr, incarnation, key, online } in update.rows {
            self.incoming.rows.insert(name, DirectoryEntry { addr, incarnation, key, online });
        }
        for name in update.gone {
            self.incoming.rows.remove(&name);
            self.incoming.gone.push(name);
        }
        if !update.last {
            return None;
        }
        let IncomingTable { whole, rows, mut gone } = std::mem::take(&mut self.incoming);
        // A whole table that a partial one ends is not complete, so that it replaces nothing.
        if let Some(totals) = update.totals {
            self.make_partial(totals);
        } else if whole {
            self.partial = None;
            gone = self.rows.keys().filter(|name| !rows.contains_key(*name)).cloned().collect();
        }
        self.version = update.upto;
        let mut change = Change::default();
        for (name, row) in rows {
            self.set(name, row, &mut change);
        }
        for name in gone {
            self.remove(&name, &mut change);
        }
        Some(change)
    }

    /// Sets the totals of a partial table. Returns whether they are new: totals can overtake each other.
    pub fn set_totals(&mut self, version: u64, totals: Totals) -> bool {
        let is_new = version > self.version;
        if is_new {
            self.version = version;
            self.make_partial(totals);
        }
        is_new
    }

    /// Sets the totals. The rows of a table that was whole become the cache.
    fn make_partial(&mut self, totals: Totals) {
        match &mut self.partial {
            Some(partial) => partial.totals = totals,
            None => {
                let mut cache = RowCache::default();
                self.rows.keys().filter(|name| **name != self.own).for_each(|name| cache.touch(name));
                self.partial = Some(PartialTable { totals, cache });
            }
        }
    }

    /// Notes the use of a row, so that a partial table keeps it.
    pub fn touch(&mut self, name: &Name) {
        if let Some(partial) = self.partial.as_mut().filter(|_| *name != self.own && self.rows.contains_key(name)) {
            partial.cache.touch(name);
        }
    }

    /// Removes the least recently used rows beyond the limit of a partial table, except those in use.
    pub fn evict(&mut self, is_in_use: impl Fn(&Name) -> bool) -> Change {
        let mut change = Change::default();
        for name in self.partial.as_mut().map(|partial| partial.cache.evict(is_in_use)).unwrap_or_default() {
            self.remove(&name, &mut change);
        }
        change
    }

    /// Removes the row of a client that is listed as online and was not reached. A table that is not partial keeps it.
    pub fn forget_stale(&mut self, name: &Name) -> Change {
        let mut change = Change::default();
        if self.is_partial() && self.rows.get(name).is_some_and(|row| row.online) {
            self.remove(name, &mut change);
        }
        change
    }

    /// Applies a single row from an answer of the server, outside the updates.
    pub fn learn(&mut self, Row { name, addr, incarnation, key, online }: Row) -> Change {
        let mut change = Change::default();
        self.set(name, DirectoryEntry { addr, incarnation, key, online }, &mut change);
        change
    }

    /// Marks this client itself as offline. The server sends such an update only to other clients.
    pub fn set_offline(&mut self, name: &str) {
        if let Some(row) = self.rows.get_mut(name) {
            self.online -= usize::from(std::mem::replace(&mut row.online, false));
        }
    }

    fn set(&mut self, name: Name, row: DirectoryEntry, change: &mut Change) {
        let before = self.rows.insert(name.clone(), row);
        self.online += usize::from(row.online);
        self.online -= usize::from(before.is_some_and(|before| before.online));
        self.touch(&name);
        if before == Some(row) {
            return;
        }
        change.changed.push(view(&name, &row));
        if let Some(before) = before.filter(|before| before.incarnation != row.incarnation) {
            self.unlink(before.incarnation, &name, change);
        }
        self.names.insert(row.incarnation, name);
    }

    fn remove(&mut self, name: &Name, change: &mut Change) {
        let Some(row) = self.rows.remove(name) else { return };
        self.online -= usize::from(row.online);
        if let Some(partial) = &mut self.partial {
            partial.cache.remove(name);
        }
        self.unlink(row.incarnation, name, change);
        change.gone.push(name.clone());
    }

    fn unlink(&mut self, incarnation: Incarnation, name: &Name, change: &mut Change) {
        if self.names.get(&incarnation) == Some(name) {
            self.names.remove(&incarnation);
            change.ended.push(incarnation);
        }
    }
}

impl Change {
    /// Whether no row differs. [`Change::ended`] does not count.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty()
    }
}

fn view(name: &Name, row: &DirectoryEntry) -> ClientInfo {
    ClientInfo { name: name.clone(), addr: row.addr.to_string(), online: row.online }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::client::CACHED_ROWS;

    fn row(name: &str, incarnation: u128, online: bool) -> Row {
        Row {
            name: name.parse().unwrap(),
            addr: SocketAddr::from(([127, 0, 0, 1], 9)),
            incarnation: Incarnation(incarnation),
            key: PublicKey([7; 32]),
            online,
        }
    }

    fn update(upto: u64, (whole, last): (bool, bool), rows: Vec<Row>, gone: Vec<Name>) -> TableUpdate {
        TableUpdate { upto, whole, last, totals: None, rows, gone }
    }

    fn name(word: &str) -> Name {
        Name::new(word).unwrap()
    }

    #[test]
    fn an_update_in_several_frames_is_applied_after_the_last_one() {
        let mut table = Directory::new(name("x"));
        assert_eq!(table.incoming(update(2, (true, false), vec![row("x", 1, true)], vec![])), None);
        assert_eq!(table.counts(), (0, 0));
        let change = table.incoming(update(2, (false, true), vec![row("y", 2, false)], vec![])).unwrap();
        assert_eq!(change.changed.len(), 2);
        assert_eq!((table.counts(), table.version()), ((2, 1), 2));
        assert_eq!(table.name_of(Incarnation(2)).map(Name::as_str), Some("y"));
        let same = table.incoming(update(3, (false, true), vec![row("y", 2, false)], vec![])).unwrap();
        assert!(same.is_empty());
    }

    #[test]
    fn a_new_incarnation_ends_the_old_one_and_a_whole_table_replaces_all_rows() {
        let mut table = Directory::new(name("x"));
        table.incoming(update(1, (true, true), vec![row("x", 1, true), row("y", 2, true)], vec![]));
        let change = table.learn(row("y", 3, true));
        assert_eq!((change.ended, table.counts()), (vec![Incarnation(2)], (2, 2)));
        assert_eq!(table.name_of(Incarnation(2)), None);
        let change = table.incoming(update(5, (true, true), vec![row("x", 1, true)], vec![])).unwrap();
        assert_eq!((change.gone, change.ended), (vec![name("y")], vec![Incarnation(3)]));
        table.set_offline("x");
        assert_eq!(table.counts(), (1, 0));
        let change = table.incoming(update(6, (false, true), vec![], vec![name("x")])).unwrap();
        assert!(!change.is_empty());
        assert_eq!(table.counts(), (0, 0));
    }

    #[test]
    fn a_partial_table_keeps_earlier_rows_until_a_whole_one_replaces_them() {
        let mut table = Directory::new(name("x"));
        table.incoming(update(3, (true, true), vec![row("x", 1, true), row("y", 2, true)], vec![]));
        let totals = |total| Totals { total, online: 3 };
        assert!(table.set_totals(4, totals(4)) && !table.set_totals(4, totals(9)) && table.is_partial());
        assert_eq!((table.counts(), table.view().len(), table.version()), ((4, 3), 2, 4));
        // A whole table that was arriving is cut off.
        table.incoming(update(9, (true, false), vec![row("z", 3, true)], vec![]));
        let own = TableUpdate { totals: Some(totals(5)), ..update(5, (false, true), vec![row("x", 1, false)], vec![]) };
        assert_eq!(table.incoming(own).unwrap().gone, []);
        assert_eq!((table.counts(), table.view().len()), ((5, 3), 3));
        assert!(table.forget_stale(&name("x")).is_empty(), "it is offline");
        assert_eq!(table.forget_stale(&name("y")).ended, [Incarnation(2)]);
        table.incoming(update(6, (true, true), vec![row("x", 1, true)], vec![]));
        assert_eq!((table.is_partial(), table.counts()), (false, (1, 1)));
        assert!(table.forget_stale(&name("x")).is_empty(), "the table is whole");
    }

    #[test]
    fn a_partial_table_has_a_limit_that_the_own_row_does_not_count_for() {
        let mut table = Directory::new(name("x"));
        let rows = (2..CACHED_ROWS as u128 + 4).map(|number| row(&format!("n{number}"), number, true));
        table.incoming(update(3, (true, true), rows.chain([row("x", 1, true)]).collect(), vec![]));
        assert!(table.evict(|_| false).is_empty(), "the table is whole");
        table.set_totals(4, Totals { total: 5_000, online: 5 });
        table.touch(&name("n10"));
        let change = table.evict(|name| name.as_str() == "n100");
        assert_eq!(change.gone, [name("n1000"), name("n1001")], "in the order of names");
        assert_eq!((change.ended, table.view().len()), (vec![Incarnation(1000), Incarnation(1001)], CACHED_ROWS + 1));
        assert!(table.get("x").is_some());
    }
}
