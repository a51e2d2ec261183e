//! Groups: their names are kept, membership is a matter of being online.

use super::super::id::Life;
use super::super::name::Name;
use super::super::record::Record;
use super::super::server_event::ServerEvent;
use super::super::wire::{Frame, Outcome};
use super::Server;
use super::posting::After;
use super::replies::answer;

/// The most groups of a server.
pub const GROUPS: usize = 4_096;
/// The most groups that one name may create.
pub const GROUPS_A_CREATOR: usize = 256;
/// The most members of a group.
pub const MEMBERS: usize = 1_024;
/// How many names travel in a frame: the longest ones fit.
const NAMES_A_FRAME: usize = 20;

/// A group that is being written: nobody sees it before it is on disk.
#[derive(Debug)]
pub struct Creation {
    pub(super) life: Life,
    pub(super) r: u64,
    pub(super) group: Name,
    pub(super) creator: Name,
}

/// A group; its members in the order in which they joined.
#[derive(Debug)]
pub struct Group {
    creator: Name,
    members: Vec<Name>,
}

impl Group {
    /// A group without members.
    #[must_use]
    pub fn new(creator: Name) -> Self {
        Self { creator, members: Vec::new() }
    }
}

impl Server {
    pub(super) fn create_group(&mut self, life: Life, r: u64, from: Name, group: Name) {
        let rejected = |reason| ServerEvent::Rejected { reason, from: from.clone(), group: Some(group.clone()) };
        if self.groups.contains_key(&group) {
            self.say(rejected("group-exists"));
            return self.reply(life, answer(r, Outcome::Exists));
        }
        if self.creating.contains_key(&group) {
            // Whether it exists is known when what was written before has its outcome.
            return self.after_records(After::CreateAgain(Creation { life, r, group, creator: from }));
        }
        let existing = self.groups.values().map(|group| &group.creator);
        let own = existing.chain(self.creating.values()).filter(|creator| **creator == from).count();
        if self.groups.len() + self.creating.len() >= GROUPS || own >= GROUPS_A_CREATOR {
            self.say(rejected("group-limit"));
            return self.reply(life, answer(r, Outcome::Full));
        }
        self.creating.insert(group.clone(), from.clone());
        let record = Record::Group { group: group.clone(), creator: from.clone() };
        self.persist(record, After::Created(Creation { life, r, group, creator: from }));
    }

    /// The record of a new group has its outcome: the group exists now, or never did.
    pub(super) fn created(&mut self, Creation { life, r, group, creator }: Creation, kept: bool) {
        self.creating.remove(&group);
        if kept {
            self.groups.insert(group.clone(), Group::new(creator.clone()));
            self.say(ServerEvent::GroupCreated { group, name: creator });
            self.answer_ok(life, r);
        } else {
            self.say(ServerEvent::Rejected { reason: "not-saved", from: creator, group: Some(group) });
            self.reply(life, answer(r, Outcome::Failed));
        }
    }

    pub(super) fn list_groups(&mut self, life: Life, r: u64, name: Name) {
        let groups: Vec<Name> = self.groups.keys().cloned().collect();
        self.say(ServerEvent::Groups { name: Some(name), groups: groups.clone() });
        self.reply_names(life, r, &groups);
    }

    pub(super) fn join_group(&mut self, life: Life, r: u64, name: Name, group: Name) {
        self.leave_group(life);
        let Some(entry) = self.groups.get_mut(&group) else {
            self.say(ServerEvent::Rejected { reason: "no-such-group", from: name, group: Some(group) });
            return self.reply(life, answer(r, Outcome::None));
        };
        let Some(session) = self.sessions.get_mut(&life).filter(|session| session.is_online()) else {
            return self.reply(life, answer(r, Outcome::None));
        };
        if entry.members.len() >= MEMBERS {
            self.say(ServerEvent::Rejected { reason: "group-limit", from: name, group: Some(group) });
            return self.reply(life, answer(r, Outcome::Full));
        }
        entry.members.push(name.clone());
        session.group = Some(group.clone());
        self.say(ServerEvent::Joined { group, name });
        self.answer_ok(life, r);
    }

    pub(super) fn list_members(&mut self, life: Life, r: u64, name: Name, group: Name) {
        if !self.in_group(life, &group) {
            return self.reply(life, answer(r, Outcome::None));
        }
        let members = self.members(&group);
        self.say(ServerEvent::Members { group, name, members: members.clone() });
        self.reply_names(life, r, &members);
    }

    /// A client leaves its group, if it is in one.
    pub(super) fn leave_group(&mut self, life: Life) {
        let Some(session) = self.sessions.get_mut(&life) else { return };
        if let (Some(group), Some(name)) = (session.group.take(), session.name.clone()) {
            self.leave(&group, &name);
            self.say(ServerEvent::Left { group, name });
        }
    }

    pub(super) fn leave(&mut self, group: &Name, name: &Name) {
        if let Some(group) = self.groups.get_mut(group) {
            group.members.retain(|member| member != name);
        }
    }

    pub(super) fn in_group(&self, life: Life, group: &Name) -> bool {
        self.sessions.get(&life).is_some_and(|session| session.group.as_ref() == Some(group))
    }

    pub(super) fn members(&self, group: &Name) -> Vec<Name> {
        self.groups.get(group).map(|group| group.members.clone()).unwrap_or_default()
    }

    fn reply_names(&mut self, life: Life, r: u64, names: &[Name]) {
        let mut chunks: Vec<&[Name]> = names.chunks(NAMES_A_FRAME).collect();
        let last = chunks.pop().unwrap_or_default();
        let pieces = chunks.into_iter().map(|names| (names, true)).chain([(last, false)]);
        let frame = |(names, more): (&[Name], bool)| {
            let is = Outcome::Names;
            Frame::Answer { r, is, n: 0, row: None, names: names.to_vec(), more }
        };
        for frame in pieces.map(frame).collect::<Vec<_>>() {
            self.reply(life, frame);
        }
    }
}
