//! The table: a row for each name, the version that changed it last, and the names that were dropped.
//!
//! Each change is a version. [`updates`](crate::proto::server::updates) sends the changes to the clients.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use crate::proto::event::ClientInfo;
use crate::proto::id::Incarnation;
use crate::proto::keys::PublicKey;
use crate::proto::link::table::MAX_LINKS;
use crate::proto::name::Name;
use crate::proto::record::NameRecord;
use crate::proto::server::sessions::UNREGISTERED;
use crate::proto::time::Timestamp;
use crate::proto::wire::Row;

/// The most names a server knows.
pub const NAMES: usize = 65_536;
// A full server has links for clients that ask for a name, to refuse them.
const _: () = assert!(NAMES + UNREGISTERED < MAX_LINKS);
/// The most dropped names that are remembered. A client that may have missed more gets the whole table.
pub const DROPPED: usize = 4_096;
/// The most names with which every client has the whole table, unless the server's user chooses another number.
pub const WHOLE_TABLE: usize = 1_000;

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

/// All rows, by name and by the version that changed them last.
#[derive(Debug)]
pub struct Table {
    rows: BTreeMap<Name, TableRow>,
    holders: BTreeMap<Incarnation, Name>,
    by_version: BTreeMap<u64, Name>,
    dropped: BTreeMap<u64, Name>,
    /// See [`Table::forgotten`].
    forgotten: u64,
    version: u64,
    /// Names that changed since the last event about the table.
    changed: BTreeSet<Name>,
    /// The number of online rows.
    online: usize,
    /// The most names with which every client has the whole table.
    whole_limit: usize,
    /// Whether more names than that were known at any time.
    is_partial: bool,
}

impl Table {
    /// The table that an earlier incarnation persisted. Every client has the whole table while there are at most
    /// `whole_limit` names.
    #[must_use]
    pub fn new(records: Vec<NameRecord>, whole_limit: usize) -> Self {
        let mut table = Self {
            rows: BTreeMap::new(),
            holders: BTreeMap::new(),
            by_version: BTreeMap::new(),
            dropped: BTreeMap::new(),
            forgotten: 0,
            version: 0,
            changed: BTreeSet::new(),
            online: 0,
            whole_limit,
            is_partial: false,
        };
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

    /// The most names with which every client has the whole table.
    #[must_use]
    pub fn whole_limit(&self) -> usize {
        self.whole_limit
    }

    /// Whether clients have only their own row and what they asked for. It stays so until the server restarts.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// The version of the last dropped name that is no longer remembered. A client at this version or below may have
    /// missed such names.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The rows that changed after a version, in the order of their last changes.
    pub fn changed_since(&self, version: u64) -> impl Iterator<Item = (u64, Row)> {
        self.by_version.range(version.saturating_add(1)..).filter_map(|(version, name)| {
            let TableRow { addr, incarnation, key, online, .. } = *self.rows.get(name)?;
            Some((*version, Row { name: name.clone(), addr, incarnation, key, online }))
        })
    }

    /// Inserts or replaces a row. This creates a new version.
    pub fn put(&mut self, name: Name, holder: Holder, online: bool, seen: Timestamp) {
        let Holder { addr, incarnation, key } = holder;
        self.version += 1;
        let entry = TableRow { addr, incarnation, key, online, seen, version: self.version };
        self.online += usize::from(online);
        if let Some(before) = self.rows.insert(name.clone(), entry) {
            self.online -= usize::from(before.online);
            self.by_version.remove(&before.version);
            if before.incarnation != incarnation {
                self.holders.remove(&before.incarnation);
            }
        }
        self.holders.insert(incarnation, name.clone());
        self.by_version.insert(self.version, name.clone());
        self.changed.insert(name);
        self.is_partial |= self.rows.len() > self.whole_limit;
    }

    /// Removes a name. This creates a new version.
    pub fn drop_name(&mut self, name: &Name) {
        let Some(row) = self.rows.remove(name) else { return };
        self.online -= usize::from(row.online);
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
    #[must_use]
    pub fn gone(&self, from: u64, upto: u64) -> Vec<Name> {
        let dropped = self.dropped.range(from.saturating_add(1)..).take_while(|(version, _)| **version <= upto);
        dropped.map(|(_, name)| name).filter(|name| !self.rows.contains_key(*name)).cloned().collect()
    }

    /// All rows, in the form in which events contain them.
    #[must_use]
    pub fn view(&self) -> Vec<ClientInfo> {
        self.rows.iter().map(|(name, row)| view(name, row)).collect()
    }

    /// The number of online rows.
    #[must_use]
    pub fn online_count(&self) -> usize {
        self.online
    }

    /// Takes the rows that changed since the last call, in the form in which events contain them. `None` if nothing
    /// changed.
    pub fn take_changed(&mut self) -> Option<Vec<ClientInfo>> {
        if self.changed.is_empty() {
            return None;
        }
        let names = std::mem::take(&mut self.changed);
        Some(names.iter().filter_map(|name| Some(view(name, self.rows.get(name)?))).collect())
    }
}

fn view(name: &Name, row: &TableRow) -> ClientInfo {
    ClientInfo { name: name.clone(), addr: row.addr.to_string(), online: row.online }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_names_are_reported_as_gone_until_they_exist_again() {
        let (mut table, addr) = (Table::new(Vec::new(), 1), SocketAddr::from(([10, 0, 0, 2], 7000)));
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
    fn the_online_rows_are_counted_and_one_name_too_many_makes_the_table_partial_for_good() {
        let holder = |number| Holder {
            addr: SocketAddr::from(([10, 0, 0, 2], 7000)),
            incarnation: Incarnation(number),
            key: PublicKey::NONE,
        };
        let [x, y] = ["x", "y"].map(|word| Name::new(word).unwrap());
        let mut table = Table::new(Vec::new(), 1);
        let put = |table: &mut Table, name: &Name, number, online| {
            table.put(name.clone(), holder(number), online, Timestamp::default());
            (table.online_count(), table.is_partial())
        };
        assert_eq!(put(&mut table, &x, 1, true), (1, false));
        assert_eq!(put(&mut table, &x, 2, true), (1, false));
        assert_eq!(put(&mut table, &y, 3, true), (2, true));
        assert_eq!(put(&mut table, &y, 3, false), (1, true));
        table.drop_name(&y);
        table.drop_name(&x);
        assert_eq!((table.len(), table.online_count(), table.is_partial()), (0, 0, true));
    }
}
