//! Groups: the groups that exist or are being written, and their members.
//!
//! Groups are persisted and memberships are not. Only online clients are members, each of at most one group. This
//! module is the only place that stores memberships.

use std::collections::BTreeMap;

use crate::proto::id::Incarnation;
use crate::proto::name::Name;
use crate::proto::record::GroupRecord;

/// The most groups of a server.
pub const GROUPS: usize = 4_096;
/// The most groups that one name may create.
pub const GROUPS_A_CREATOR: usize = 256;
/// The most members of a group.
pub const MEMBERS: usize = 1_024;

/// The groups of a server.
#[derive(Debug, Default)]
pub struct Groups {
    groups: BTreeMap<Name, Group>,
    /// Groups that are being written, and their creators.
    unwritten: BTreeMap<Name, Name>,
    /// The number of groups of each creator, including groups that are being written.
    created_by: BTreeMap<Name, usize>,
    memberships: BTreeMap<Incarnation, MemberEntry>,
    joins: u64,
}

#[derive(Debug)]
struct Group {
    record: GroupRecord,
    /// The names of the members, by the number of their join.
    members: BTreeMap<u64, Name>,
}

#[derive(Debug)]
struct MemberEntry {
    group: Name,
    joined: u64,
}

/// The outcome of [`Groups::create`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateOutcome {
    /// Write the record, then call [`Groups::finish_create`].
    Write,
    /// A group of this name is being written. Call again when its record has its outcome.
    Unwritten,
    /// The same request created the group before, and its answer was lost.
    Repeated,
    /// The group exists.
    Exists,
    /// A limit is reached.
    Full,
}

/// The outcome of [`Groups::join`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinOutcome {
    /// The client is a member.
    Joined,
    /// There is no such group.
    NoSuchGroup,
    /// The group has [`MEMBERS`] members.
    Full,
}

impl Groups {
    /// The groups that an earlier incarnation persisted, without members.
    #[must_use]
    pub fn new(records: Vec<GroupRecord>) -> Self {
        let mut groups = Self::default();
        for record in records {
            *groups.created_by.entry(record.creator.clone()).or_default() += 1;
            groups.groups.insert(record.group.clone(), Group { record, members: BTreeMap::new() });
        }
        groups
    }

    /// The number of groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// The names of all groups, in alphabetical order.
    #[must_use]
    pub fn names(&self) -> Vec<Name> {
        self.groups.keys().cloned().collect()
    }

    /// Whether the group exists.
    #[must_use]
    pub fn contains(&self, group: &Name) -> bool {
        self.groups.contains_key(group)
    }

    /// Decides on a request to create a group, and reserves the name if the record is to be written.
    pub fn create(&mut self, new: &GroupRecord) -> CreateOutcome {
        if self.unwritten.contains_key(&new.group) {
            return CreateOutcome::Unwritten;
        }
        if let Some(group) = self.groups.get(&new.group) {
            return if group.record == *new { CreateOutcome::Repeated } else { CreateOutcome::Exists };
        }
        let own = self.created_by.get(&new.creator).copied().unwrap_or(0);
        if self.groups.len() + self.unwritten.len() >= GROUPS || own >= GROUPS_A_CREATOR {
            return CreateOutcome::Full;
        }
        self.created_by.insert(new.creator.clone(), own + 1);
        self.unwritten.insert(new.group.clone(), new.creator.clone());
        CreateOutcome::Write
    }

    /// Adds a group whose record was written, or releases the name of a group whose record was refused.
    pub fn finish_create(&mut self, record: GroupRecord, is_written: bool) {
        self.unwritten.remove(&record.group);
        if is_written {
            self.groups.insert(record.group.clone(), Group { record, members: BTreeMap::new() });
        } else if let Some(own) = self.created_by.get_mut(&record.creator) {
            *own -= 1;
            if *own == 0 {
                self.created_by.remove(&record.creator);
            }
        }
    }

    /// Adds a client to a group. The client leaves its earlier group first.
    pub fn join(&mut self, client: Incarnation, name: &Name, group: &Name) -> JoinOutcome {
        self.leave(client);
        let Some(entry) = self.groups.get_mut(group) else { return JoinOutcome::NoSuchGroup };
        if entry.members.len() >= MEMBERS {
            return JoinOutcome::Full;
        }
        self.joins += 1;
        entry.members.insert(self.joins, name.clone());
        self.memberships.insert(client, MemberEntry { group: group.clone(), joined: self.joins });
        JoinOutcome::Joined
    }

    /// Removes a client from its group. Returns the group and the member's name, if the client was in a group.
    pub fn leave(&mut self, client: Incarnation) -> Option<(Name, Name)> {
        let MemberEntry { group, joined } = self.memberships.remove(&client)?;
        let name = self.groups.get_mut(&group)?.members.remove(&joined)?;
        Some((group, name))
    }

    /// Whether the client is a member of this group.
    #[must_use]
    pub fn is_member(&self, client: Incarnation, group: &Name) -> bool {
        self.memberships.get(&client).is_some_and(|membership| membership.group == *group)
    }

    /// The number of members of a group.
    #[must_use]
    pub fn count_members(&self, group: &Name) -> usize {
        self.groups.get(group).map_or(0, |group| group.members.len())
    }

    /// The members of a group, in order of joining.
    #[must_use]
    pub fn members(&self, group: &Name) -> Vec<Name> {
        self.groups.get(group).map(|group| group.members.values().cloned().collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(word: &str) -> Name {
        Name::new(word).unwrap()
    }

    fn record(group: &str, creator: &str, request: u64) -> GroupRecord {
        GroupRecord { group: name(group), creator: name(creator), incarnation: Incarnation(1), request }
    }

    #[test]
    fn a_group_exists_once_it_is_written() {
        let mut groups = Groups::default();
        assert_eq!(groups.create(&record("g", "x", 1)), CreateOutcome::Write);
        assert_eq!(groups.create(&record("g", "x", 1)), CreateOutcome::Unwritten);
        assert!(!groups.contains(&name("g")));
        groups.finish_create(record("g", "x", 1), false);
        assert_eq!(groups.create(&record("g", "y", 2)), CreateOutcome::Write);
        groups.finish_create(record("g", "y", 2), true);
        assert_eq!(groups.create(&record("g", "y", 2)), CreateOutcome::Repeated);
        assert_eq!(groups.create(&record("g", "y", 3)), CreateOutcome::Exists);
        assert_eq!(groups.created_by, BTreeMap::from([(name("y"), 1)]));
    }

    #[test]
    fn a_client_is_a_member_of_at_most_one_group() {
        let mut groups = Groups::new(vec![record("g", "x", 1), record("h", "x", 2)]);
        for (client, member) in [(1, "z"), (2, "y"), (3, "x")] {
            assert_eq!(groups.join(Incarnation(client), &name(member), &name("g")), JoinOutcome::Joined);
        }
        assert_eq!(groups.members(&name("g")), ["z", "y", "x"].map(name));
        assert_eq!(groups.join(Incarnation(2), &name("y"), &name("h")), JoinOutcome::Joined);
        assert!(groups.is_member(Incarnation(2), &name("h")) && !groups.is_member(Incarnation(2), &name("g")));
        assert_eq!(groups.members(&name("g")), ["z", "x"].map(name));
        assert_eq!(groups.join(Incarnation(1), &name("z"), &name("nowhere")), JoinOutcome::NoSuchGroup);
        assert_eq!(groups.leave(Incarnation(1)), None);
        assert_eq!(groups.leave(Incarnation(3)), Some((name("g"), name("x"))));
        assert!(groups.memberships.len() == 1 && groups.members(&name("g")).is_empty());
    }
}
