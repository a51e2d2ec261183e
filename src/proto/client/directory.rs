//! A client's copy of the server's table: name, address, incarnation and state of each client.
//!
//! An update can span several `rows` frames. It is applied when its last frame has arrived.

use std::collections::BTreeMap;
use std::net::SocketAddr;

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
#[derive(Debug, Default)]
pub struct Directory {
    rows: BTreeMap<Name, DirectoryEntry>,
    /// The name of each incarnation in `rows`.
    names: BTreeMap<Incarnation, Name>,
    version: u64,
    incoming: IncomingTable,
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

    /// The number of rows, and the number of online rows.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.rows.len(), self.rows.values().filter(|row| row.online).count())
    }

    /// All rows, in order of name.
    #[must_use]
    pub fn view(&self) -> Vec<ClientInfo> {
        self.rows.iter().map(|(name, row)| view(name, row)).collect()
    }

    /// Adds one `rows` frame to the arriving update. The last frame applies the update and returns the differences.
    pub fn incoming(&mut self, upto: u64, whole: bool, last: bool, rows: Vec<Row>, gone: Vec<Name>) -> Option<Change> {
        if whole {
            self.incoming = IncomingTable { whole, ..IncomingTable::default() };
        }
        for Row { name, addr, incarnation, key, online } in rows {
            self.incoming.rows.insert(name, DirectoryEntry { addr, incarnation, key, online });
        }
        for name in gone {
            self.incoming.rows.remove(&name);
            self.incoming.gone.push(name);
        }
        if !last {
            return None;
        }
        let IncomingTable { whole, rows, mut gone } = std::mem::take(&mut self.incoming);
        if whole {
            gone = self.rows.keys().filter(|name| !rows.contains_key(*name)).cloned().collect();
        }
        self.version = upto;
        let mut change = Change::default();
        for (name, row) in rows {
            self.set(name, row, &mut change);
        }
        for name in gone {
            if let Some(row) = self.rows.remove(&name) {
                self.unlink(row.incarnation, &name, &mut change);
                change.gone.push(name);
            }
        }
        Some(change)
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
            row.online = false;
        }
    }

    fn set(&mut self, name: Name, row: DirectoryEntry, change: &mut Change) {
        let before = self.rows.insert(name.clone(), row);
        if before == Some(row) {
            return;
        }
        change.changed.push(view(&name, &row));
        if let Some(before) = before.filter(|before| before.incarnation != row.incarnation) {
            self.unlink(before.incarnation, &name, change);
        }
        self.names.insert(row.incarnation, name);
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

    fn row(name: &str, incarnation: u128, online: bool) -> Row {
        Row {
            name: name.parse().unwrap(),
            addr: SocketAddr::from(([127, 0, 0, 1], 9)),
            incarnation: Incarnation(incarnation),
            key: PublicKey([7; 32]),
            online,
        }
    }

    #[test]
    fn an_update_in_several_frames_is_applied_after_the_last_one() {
        let mut table = Directory::default();
        assert_eq!(table.incoming(2, true, false, vec![row("x", 1, true)], vec![]), None);
        assert_eq!(table.counts(), (0, 0));
        let change = table.incoming(2, false, true, vec![row("y", 2, false)], vec![]).unwrap();
        assert_eq!(change.changed.len(), 2);
        assert_eq!((table.counts(), table.version()), ((2, 1), 2));
        assert_eq!(table.name_of(Incarnation(2)).map(Name::as_str), Some("y"));
        let same = table.incoming(3, false, true, vec![row("y", 2, false)], vec![]).unwrap();
        assert!(same.is_empty());
    }

    #[test]
    fn a_new_incarnation_ends_the_old_one_and_a_whole_table_replaces_all_rows() {
        let mut table = Directory::default();
        table.incoming(1, true, true, vec![row("x", 1, true), row("y", 2, true)], vec![]);
        let change = table.learn(row("y", 3, true));
        assert_eq!(change.ended, [Incarnation(2)]);
        assert_eq!(table.name_of(Incarnation(2)), None);
        let change = table.incoming(5, true, true, vec![row("x", 1, true)], vec![]).unwrap();
        assert_eq!(change.gone, [Name::new("y").unwrap()]);
        assert_eq!(change.ended, [Incarnation(3)]);
        let change = table.incoming(6, false, true, vec![], vec![Name::new("x").unwrap()]).unwrap();
        assert!(!change.is_empty());
        assert_eq!(table.counts(), (0, 0));
    }
}
