//! Requests of clients: dispatches them, and answers requests about names and groups.
//!
//! Each request is processed once and answered once. Registration is in `presence`, messages are in `intake` and
//! `saves`.

use crate::proto::event::MessageKind;
use crate::proto::event::reason::{DropReason, Reason};
use crate::proto::event::server::ServerEvent;
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::name::Name;
use crate::proto::record::{GroupRecord, MailHeader, Record};
use crate::proto::server::Server;
use crate::proto::server::groups::{CreateOutcome, JoinOutcome};
use crate::proto::server::intake::OnPersisted;
use crate::proto::server::replies::RequestId;
use crate::proto::server::saves::ListItem;
use crate::proto::time::{Instant, Timestamp};
use crate::proto::wire::{Answer, Frame, RequestOutcome};

/// The most names in one frame. This many names of the greatest length fit into a datagram.
const NAMES_A_FRAME: usize = 20;

impl Server {
    /// Processes a frame of a client. Ignores repeated requests.
    pub(super) fn process(&mut self, now: Instant, client: Incarnation, frame: Frame) {
        let frame = match frame {
            Frame::Item { id, at, text } => return self.collect(client, ListItem { id, at, text }),
            frame => frame,
        };
        let Some(number) = request_number(&frame) else { return };
        let request = RequestId { client, number };
        let Some(session) = self.sessions.get_mut(client) else { return };
        if !session.take_request(number) {
            return;
        }
        let (name, addr) = (session.name().cloned(), session.addr());
        if let Frame::Save { id, .. } | Frame::All { id, .. } | Frame::Say { id, .. } = &frame
            && id.incarnation != client
        {
            // The deduplication would take this message for the other client's message of this id, and drop that one.
            return self.output.dropped(addr, &[], DropReason::ForeignId);
        }
        match (frame, name) {
            (Frame::Reg { name, via, .. }, _) => self.register(now, request, name, via),
            (_, None) => self.output.dropped(addr, &[], DropReason::NotRegistered),
            (Frame::Dereg { .. }, Some(_)) => self.deregister(now, request),
            (Frame::Save { id, to, at, again, text, .. }, Some(from)) => {
                self.save(now, request, &from, to, vec![ListItem { id, at, text }], again);
            }
            (Frame::Saves { to, n, again, .. }, Some(from)) => {
                let list = self.saves.take(client, n);
                self.save(now, request, &from, to, list, again);
            }
            (Frame::All { id, at, text, .. }, Some(from)) => {
                self.accept(now, request, header(id, MessageKind::Channel, from, at), &text);
            }
            (Frame::Say { id, group, at, text, .. }, Some(from)) => {
                let header = MailHeader { group: Some(group), ..header(id, MessageKind::Group, from, at) };
                self.accept(now, request, header, &text);
            }
            (Frame::Lookup { name, .. }, Some(_)) => self.look_up(request, &name),
            (Frame::Create { group, .. }, Some(creator)) => {
                self.create_group(GroupRecord { group, creator, incarnation: client, request: number });
            }
            (Frame::Groups { .. }, Some(name)) => self.list_groups(request, name),
            (Frame::Join { group, .. }, Some(name)) => self.join_group(request, name, group),
            (Frame::Members { group, .. }, Some(name)) => self.list_members(request, name, group),
            (Frame::Leave { .. }, Some(_)) => {
                self.leave_group(client);
                self.answer(request, RequestOutcome::Ok);
            }
            _ => {}
        }
    }

    fn look_up(&mut self, request: RequestId, name: &Name) {
        self.introduce(request.client, name);
        let row = self.row_for(request.client, name);
        let outcome = if row.is_some() { RequestOutcome::Exists } else { RequestOutcome::None };
        self.reply(request.client, Frame::Answer(Answer { row, ..Answer::new(request.number, outcome) }));
    }

    /// Handles a request to create a group.
    pub(super) fn create_group(&mut self, new: GroupRecord) {
        let request = request_of(&new);
        let (reason, outcome) = match self.groups.create(&new) {
            CreateOutcome::Write => return self.persist(Record::Group(new.clone()), OnPersisted::GroupCreated(new)),
            CreateOutcome::Unwritten => return self.after_records(OnPersisted::CreateGroup(new)),
            CreateOutcome::Repeated => return self.answer(request, RequestOutcome::Ok),
            CreateOutcome::Exists => (Reason::GroupExists, RequestOutcome::Exists),
            CreateOutcome::Full => (Reason::GroupLimit, RequestOutcome::Full),
        };
        self.say(ServerEvent::Rejected { reason, from: new.creator, group: Some(new.group) });
        self.answer(request, outcome);
    }

    /// Answers the creator of a group, now that the record has its outcome.
    pub(super) fn group_created(&mut self, record: GroupRecord, is_written: bool) {
        let (request, group, creator) = (request_of(&record), record.group.clone(), record.creator.clone());
        self.groups.finish_create(record, is_written);
        if is_written {
            self.say(ServerEvent::GroupCreated { group, name: creator });
            self.answer(request, RequestOutcome::Ok);
        } else {
            self.say(ServerEvent::Rejected { reason: Reason::NotSaved, from: creator, group: Some(group) });
            self.answer(request, RequestOutcome::Failed);
        }
    }

    fn list_groups(&mut self, request: RequestId, name: Name) {
        let groups = self.groups.names();
        self.say(ServerEvent::Groups { name: Some(name), groups: groups.clone() });
        self.reply_names(request, &groups);
    }

    fn join_group(&mut self, request: RequestId, name: Name, group: Name) {
        self.leave_group(request.client);
        if self.groups.contains(&group) && !self.sessions.is_online(request.client) {
            return self.answer(request, RequestOutcome::None);
        }
        let (reason, outcome) = match self.groups.join(request.client, &name, &group) {
            JoinOutcome::Joined => match self.logs.join(&name, &group) {
                Some(cursor) => {
                    self.persist_cursor(cursor);
                    self.say(ServerEvent::Joined { group, name });
                    return self.answer(request, RequestOutcome::Ok);
                }
                None => {
                    self.groups.leave(request.client);
                    (Reason::GroupLimit, RequestOutcome::Full)
                }
            },
            JoinOutcome::NoSuchGroup => (Reason::NoSuchGroup, RequestOutcome::None),
            JoinOutcome::Full => (Reason::GroupLimit, RequestOutcome::Full),
        };
        self.say(ServerEvent::Rejected { reason, from: name, group: Some(group) });
        self.answer(request, outcome);
    }

    fn list_members(&mut self, request: RequestId, name: Name, group: Name) {
        if !self.groups.is_member(request.client, &group) {
            return self.answer(request, RequestOutcome::None);
        }
        let members = self.groups.members(&group);
        self.say(ServerEvent::Members { group, name, members: members.clone() });
        self.reply_names(request, &members);
    }

    /// Removes a client from its group, if it is in one.
    pub(super) fn leave_group(&mut self, client: Incarnation) {
        if let Some((group, name)) = self.end_membership(client) {
            self.say(ServerEvent::Left { group, name });
        }
    }

    /// Ends the membership of a client, and its interval of the group's log. Returns the group and the member's name,
    /// if the client was in a group.
    pub(super) fn end_membership(&mut self, client: Incarnation) -> Option<(Name, Name)> {
        let (group, name) = self.groups.leave(client)?;
        if let Some((cursor, key)) = self.logs.leave(&name, &group) {
            self.persist(cursor, OnPersisted::IntervalEnded { reader: name.clone(), key });
        }
        Some((group, name))
    }

    fn reply_names(&mut self, request: RequestId, names: &[Name]) {
        let mut chunks: Vec<&[Name]> = names.chunks(NAMES_A_FRAME).collect();
        let last = chunks.pop().unwrap_or_default();
        for (names, more) in chunks.into_iter().map(|names| (names, true)).chain([(last, false)]) {
            let answer = Answer { names: names.to_vec(), more, ..Answer::new(request.number, RequestOutcome::Names) };
            self.reply(request.client, Frame::Answer(answer));
        }
    }
}

/// The number of the request in a frame of a client; `None` if the frame is not a request.
fn request_number(frame: &Frame) -> Option<u64> {
    match frame {
        Frame::Reg { r, .. } | Frame::Dereg { r } | Frame::Save { r, .. } | Frame::All { r, .. } => Some(*r),
        Frame::Saves { r, .. }
        | Frame::Say { r, .. }
        | Frame::Lookup { r, .. }
        | Frame::Create { r, .. }
        | Frame::Groups { r } => Some(*r),
        Frame::Join { r, .. } | Frame::Members { r, .. } | Frame::Leave { r, .. } => Some(*r),
        _ => None,
    }
}

/// The request that created a group.
fn request_of(record: &GroupRecord) -> RequestId {
    RequestId { client: record.incarnation, number: record.request }
}

/// The header of a message that is not accepted yet. `at` is in microseconds since 1970.
pub(super) fn header(id: MessageId, kind: MessageKind, from: Name, at: i64) -> MailHeader {
    MailHeader {
        seq: 0,
        id,
        kind,
        from,
        group: None,
        sent_at: Timestamp::from_micros(at),
        kept_at: Timestamp::default(),
        to: None,
        position: 0,
        recipients: 0,
        text_bytes: 0,
    }
}
