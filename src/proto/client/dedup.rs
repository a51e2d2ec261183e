//! Duplicate detection: remembers the last message ids of each sender.
//!
//! A message can arrive on several paths, from its sender and from the server. Its id is the same on all of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::proto::id::MessageId;
use crate::proto::name::Name;

/// Maximum number of ids of one sender. Beyond it, the oldest id of that sender is evicted.
pub const IDS_A_SENDER: usize = 4_096;
/// Maximum number of ids of all senders. Beyond it, the least recently used sender is evicted with all its ids.
pub const IDS: usize = 262_144;

/// The ids of recent messages, by sender. Bounded by [`IDS_A_SENDER`] and [`IDS`].
#[derive(Debug, Default)]
pub struct DedupCache {
    senders: BTreeMap<Name, Ids>,
    /// Counts insertions, for the order of eviction.
    clock: u64,
    /// The number of ids of all senders.
    total: usize,
}

#[derive(Debug, Default)]
struct Ids {
    order: VecDeque<MessageId>,
    known: BTreeSet<MessageId>,
    /// The value of the cache's clock at the last insertion for this sender.
    used: u64,
}

impl DedupCache {
    /// Remembers an id. Returns whether it is new.
    pub fn insert(&mut self, from: &Name, id: MessageId) -> bool {
        self.clock += 1;
        let ids = self.senders.entry(from.clone()).or_default();
        ids.used = self.clock;
        if !ids.known.insert(id) {
            return false;
        }
        ids.order.push_back(id);
        if ids.order.len() <= IDS_A_SENDER {
            self.total += 1;
        } else if let Some(oldest) = ids.order.pop_front() {
            ids.known.remove(&oldest);
        }
        if self.total > IDS {
            self.evict_sender();
        }
        true
    }

    /// Whether this id is remembered.
    #[must_use]
    pub fn contains(&self, from: &Name, id: MessageId) -> bool {
        self.senders.get(from).is_some_and(|ids| ids.known.contains(&id))
    }

    fn evict_sender(&mut self) {
        let oldest = self.senders.iter().min_by_key(|(_, ids)| ids.used).map(|(name, _)| name.clone());
        if let Some(ids) = oldest.and_then(|name| self.senders.remove(&name)) {
            self.total -= ids.order.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::id::Incarnation;

    fn id(number: u64) -> MessageId {
        MessageId { incarnation: Incarnation(1), number }
    }

    #[test]
    fn an_id_is_new_once_until_it_is_evicted() {
        let (mut seen, y) = (DedupCache::default(), Name::new("y").unwrap());
        assert!(seen.insert(&y, id(0)));
        assert!(!seen.insert(&y, id(0)));
        assert!(seen.contains(&y, id(0)));
        for number in 1..=IDS_A_SENDER as u64 {
            assert!(seen.insert(&y, id(number)));
        }
        assert!(!seen.insert(&y, id(1)), "the last ids are remembered");
        assert!(seen.insert(&y, id(0)), "the first one is not");
    }

    #[test]
    fn the_total_number_of_ids_is_limited() {
        let mut seen = DedupCache::default();
        let senders = IDS / IDS_A_SENDER + 1;
        for sender in 0..senders {
            let name = Name::new(&format!("n{sender}")).unwrap();
            for number in 0..IDS_A_SENDER as u64 {
                seen.insert(&name, id(number));
            }
        }
        assert_eq!(seen.total, IDS);
        assert!(seen.insert(&Name::new("n0").unwrap(), id(1)), "the first sender was forgotten");
    }
}
