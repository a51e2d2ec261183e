//! Groups: their names are kept, membership is a matter of being online.

use crate::proto::event::reason::Reason;
use crate::proto::event::server::ServerEvent;
use crate::proto::id::Incarnation;
use crate::proto::name::Name;
use crate::proto::record::{GroupRecord, Record};
use crate::proto::server::Server;
use crate::proto::server::intake::OnPersisted;
use crate::proto::server::replies::answer;
use crate::proto::wire::{Frame, RequestOutcome};

/// The most groups of a server.
pub const GROUPS: usize = 4_096;
/// The most groups that one name may create.
pub const GROUPS_A_CREATOR: usize = 256;
/// The most members of a group.
pub const MEMBERS: usize = 1_024;
/// How many names travel in a frame: the longest ones fit.
const NAMES_A_FRAME: usize = 20;

/// A group; its members in the order in which they joined.
#[derive(Debug)]
pub struct Group {
    record: GroupRecord,
    members: Vec<Name>,
}

impl Group {
    /// A group without members.
    #[must_use]
    pub fn new(record: GroupRecord) -> Self {
        Self { record, members: Vec::new() }
    }
}

impl Server {
    pub(super) fn create_group(&mut self, new: GroupRecord) {
        let (incarnation, r) = (new.incarnation, new.request);
        if self.creating.contains_key(&new.group) {
            // Whether it exists is known when what was written before has its outcome.
            return self.after_records(OnPersisted::CreateAgain(new));
        }
        let existing = self.groups.get(&new.group).map(|group| &group.record);
        if existing == Some(&new) {
            // It is asked again because the answer was lost.
            return self.answer_ok(incarnation, r);
        }
        let own = self.groups.values().map(|group| &group.record.creator).chain(self.creating.values());
        let own = own.filter(|creator| **creator == new.creator).count();
        let (reason, outcome) = if existing.is_some() {
            (Reason::GroupExists, RequestOutcome::Exists)
        } else if self.groups.len() + self.creating.len() >= GROUPS || own >= GROUPS_A_CREATOR {
            (Reason::GroupLimit, RequestOutcome::Full)
        } else {
            self.creating.insert(new.group.clone(), new.creator.clone());
            return self.persist(Record::Group(new.clone()), OnPersisted::Created(new));
        };
        self.say(ServerEvent::Rejected { reason, from: new.creator, group: Some(new.group) });
        self.reply(incarnation, answer(r, outcome));
    }

    /// The record of a new group has its outcome: the group exists now, or never did.
    pub(super) fn created(&mut self, new: GroupRecord, kept: bool) {
        let GroupRecord { group, creator, incarnation, request } = new.clone();
        self.creating.remove(&group);
        if kept {
            self.groups.insert(group.clone(), Group::new(new));
            self.say(ServerEvent::GroupCreated { group, name: creator });
            self.answer_ok(incarnation, request);
        } else {
            self.say(ServerEvent::Rejected { reason: Reason::NotSaved, from: creator, group: Some(group) });
            self.reply(incarnation, answer(request, RequestOutcome::Failed));
        }
    }

    pub(super) fn list_groups(&mut self, incarnation: Incarnation, r: u64, name: Name) {
        let groups: Vec<Name> = self.groups.keys().cloned().collect();
        self.say(ServerEvent::Groups { name: Some(name), groups: groups.clone() });
        self.reply_names(incarnation, r, &groups);
    }

    pub(super) fn join_group(&mut self, incarnation: Incarnation, r: u64, name: Name, group: Name) {
        self.leave_group(incarnation);
        let Some(entry) = self.groups.get_mut(&group) else {
            self.say(ServerEvent::Rejected { reason: Reason::NoSuchGroup, from: name, group: Some(group) });
            return self.reply(incarnation, answer(r, RequestOutcome::None));
        };
        let Some(session) = self.sessions.get_mut(&incarnation).filter(|session| session.is_online()) else {
            return self.reply(incarnation, answer(r, RequestOutcome::None));
        };
        if entry.members.len() >= MEMBERS {
            self.say(ServerEvent::Rejected { reason: Reason::GroupLimit, from: name, group: Some(group) });
            return self.reply(incarnation, answer(r, RequestOutcome::Full));
        }
        entry.members.push(name.clone());
        session.group = Some(group.clone());
        self.say(ServerEvent::Joined { group, name });
        self.answer_ok(incarnation, r);
    }

    pub(super) fn list_members(&mut self, incarnation: Incarnation, r: u64, name: Name, group: Name) {
        if !self.in_group(incarnation, &group) {
            return self.reply(incarnation, answer(r, RequestOutcome::None));
        }
        let members = self.members(&group);
        self.say(ServerEvent::Members { group, name, members: members.clone() });
        self.reply_names(incarnation, r, &members);
    }

    /// A client leaves its group, if it is in one.
    pub(super) fn leave_group(&mut self, incarnation: Incarnation) {
        let Some(session) = self.sessions.get_mut(&incarnation) else { return };
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

    pub(super) fn in_group(&self, incarnation: Incarnation, group: &Name) -> bool {
        self.sessions.get(&incarnation).is_some_and(|session| session.group.as_ref() == Some(group))
    }

    pub(super) fn members(&self, group: &Name) -> Vec<Name> {
        self.groups.get(group).map(|group| group.members.clone()).unwrap_or_default()
    }

    fn reply_names(&mut self, incarnation: Incarnation, r: u64, names: &[Name]) {
        let mut chunks: Vec<&[Name]> = names.chunks(NAMES_A_FRAME).collect();
        let last = chunks.pop().unwrap_or_default();
        let pieces = chunks.into_iter().map(|names| (names, true)).chain([(last, false)]);
        let frame = |(names, more): (&[Name], bool)| {
            let is = RequestOutcome::Names;
            Frame::Answer { r, is, n: 0, row: None, names: names.to_vec(), more }
        };
        for frame in pieces.map(frame).collect::<Vec<_>>() {
            self.reply(incarnation, frame);
        }
    }
}
