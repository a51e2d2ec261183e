//! The table as a client holds it: who is known, where, in which life, online or not.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::proto::event::ClientInfo;
use crate::proto::id::Incarnation;
use crate::proto::name::Name;
use crate::proto::wire::Row;

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Where.
    pub addr: SocketAddr,
    /// In which life.
    pub incarnation: Incarnation,
    /// Whether the server believes it can be reached.
    pub online: bool,
}

/// The client's copy of the table, and the update that is coming in.
#[derive(Debug, Default)]
pub struct Directory {
    rows: BTreeMap<Name, DirectoryEntry>,
    names: BTreeMap<Incarnation, Name>,
    version: u64,
    incoming: IncomingTable,
}

#[derive(Debug, Default)]
struct IncomingTable {
    whole: bool,
    rows: BTreeMap<Name, DirectoryEntry>,
    gone: Vec<Name>,
}

/// What an update did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Rows that are new or different now.
    pub changed: Vec<ClientInfo>,
    /// Names that are no longer known.
    pub gone: Vec<Name>,
    /// Lives that no row names any more.
    pub ended: Vec<Incarnation>,
}

impl Directory {
    /// The row of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<DirectoryEntry> {
        self.rows.get(name).copied()
    }

    /// Whose life this is.
    #[must_use]
    pub fn name_of(&self, incarnation: Incarnation) -> Option<&Name> {
        self.names.get(&incarnation)
    }

    /// Where this life is.
    #[must_use]
    pub fn addr_of(&self, incarnation: Incarnation) -> Option<SocketAddr> {
        self.names.get(&incarnation).and_then(|name| self.rows.get(name)).map(|row| row.addr)
    }

    /// The number of the last whole update.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many rows there are, and how many of them are online.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.rows.len(), self.rows.values().filter(|row| row.online).count())
    }

    /// All rows, in order of name.
    #[must_use]
    pub fn view(&self) -> Vec<ClientInfo> {
        self.rows.iter().map(|(name, row)| view(name, row)).collect()
    }

    /// Takes in one `rows` frame. The last one of an update applies all of them.
    pub fn incoming(&mut self, upto: u64, whole: bool, last: bool, rows: Vec<Row>, gone: Vec<Name>) -> Option<Change> {
        if whole {
            self.incoming = IncomingTable { whole, ..IncomingTable::default() };
        }
        for Row { name, addr, incarnation, online } in rows {
            self.incoming.rows.insert(name, DirectoryEntry { addr, incarnation, online });
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

    /// Takes in one row that came beside the updates, in an answer of the server.
    pub fn learn(&mut self, Row { name, addr, incarnation, online }: Row) -> Change {
        let mut change = Change::default();
        self.set(name, DirectoryEntry { addr, incarnation, online }, &mut change);
        change
    }

    /// This client de-registered: the server tells the others, and the client knows by itself.
    pub fn left(&mut self, name: &str) {
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
    /// Whether nothing is different.
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
            online,
        }
    }

    #[test]
    fn an_update_in_pieces_is_applied_at_its_end() {
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
    fn a_new_life_ends_the_old_one_and_a_whole_table_replaces_everything() {
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
