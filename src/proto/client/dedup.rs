//! Which messages were shown already, however they came: the last ids of each sender.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::proto::id::MessageId;
use crate::proto::name::Name;

/// How many ids of one sender are remembered.
pub const IDS_A_SENDER: usize = 4_096;
/// How many ids are remembered in all; beyond that the sender not heard of for longest is forgotten.
pub const IDS: usize = 262_144;

/// The memory; see the module.
#[derive(Debug, Default)]
pub struct DedupCache {
    senders: BTreeMap<Name, Ids>,
    clock: u64,
    total: usize,
}

#[derive(Debug, Default)]
struct Ids {
    order: VecDeque<MessageId>,
    known: BTreeSet<MessageId>,
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
            self.forget_oldest();
        }
        true
    }

    /// Whether this id is remembered.
    #[must_use]
    pub fn contains(&self, from: &Name, id: MessageId) -> bool {
        self.senders.get(from).is_some_and(|ids| ids.known.contains(&id))
    }

    fn forget_oldest(&mut self) {
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
    fn an_id_is_new_once_until_it_is_forgotten() {
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
    fn no_more_ids_are_remembered_than_the_limit() {
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
