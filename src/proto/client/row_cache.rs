//! The use of the rows of a partial table. Nobody keeps these rows fresh, and the least recently used one goes first.

use std::collections::BTreeMap;

use crate::proto::name::Name;

/// Maximum number of rows of other clients in a partial table, not counting readers of messages without outcome.
pub const CACHED_ROWS: usize = 1_024;

/// The names of the rows, in the order of their last use.
#[derive(Debug, Default)]
pub struct RowCache {
    uses: BTreeMap<Name, u64>,
    by_use: BTreeMap<u64, Name>,
    last_use: u64,
}

impl RowCache {
    /// Notes the use of a row, and adds it if it is new.
    pub fn touch(&mut self, name: &Name) {
        self.last_use += 1;
        if let Some(before) = self.uses.insert(name.clone(), self.last_use) {
            self.by_use.remove(&before);
        }
        self.by_use.insert(self.last_use, name.clone());
    }

    /// Removes a row.
    pub fn remove(&mut self, name: &Name) {
        if let Some(at) = self.uses.remove(name) {
            self.by_use.remove(&at);
        }
    }

    /// Removes the least recently used rows beyond [`CACHED_ROWS`], and returns their names. A row that is in use
    /// counts as used now.
    pub fn evict(&mut self, is_in_use: impl Fn(&Name) -> bool) -> Vec<Name> {
        let mut evicted = Vec::new();
        // One pass: all rows may be in use.
        for _ in 0..self.uses.len() {
            if self.uses.len() <= CACHED_ROWS {
                break;
            }
            let Some((_, name)) = self.by_use.pop_first() else { break };
            if is_in_use(&name) {
                self.touch(&name);
            } else {
                self.uses.remove(&name);
                evicted.push(name);
            }
        }
        evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_rows_go_unless_they_are_in_use() {
        let name = |number: usize| Name::new(&format!("n{number}")).unwrap();
        let mut cache = RowCache::default();
        (0..CACHED_ROWS).for_each(|number| cache.touch(&name(number)));
        assert!(cache.evict(|_| false).is_empty());
        cache.touch(&name(0));
        (0..2).for_each(|number| cache.touch(&name(CACHED_ROWS + number)));
        assert_eq!(cache.evict(|row| *row == name(1)), [name(2), name(3)]);
        cache.touch(&name(CACHED_ROWS + 2));
        assert!(cache.evict(|_| true).is_empty(), "all are in use");
        cache.remove(&name(0));
        assert!(cache.evict(|_| false).is_empty());
        assert_eq!((cache.uses.len(), cache.by_use.len()), (CACHED_ROWS, CACHED_ROWS));
    }
}
