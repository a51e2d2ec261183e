//! Saves: direct messages that their senders could not deliver, in lists of one reader each. A `save` is a list of one
//! message.
//!
//! A list is decided as a whole: either its reader is online and gets none of it from here, or the messages are kept in
//! order up to the first that does not fit. All records of a list are written in one turn, and the answer leaves when
//! the last of them is on disk. A repeated list counts the messages that are kept already.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::proto::event::MessageKind;
use crate::proto::event::reason::{DropReason, Reason};
use crate::proto::event::server::ServerEvent;
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::name::Name;
use crate::proto::record::{Mail, MailHeader, Record};
use crate::proto::server::Server;
use crate::proto::server::intake::OnPersisted;
use crate::proto::server::replies::RequestId;
use crate::proto::server::requests::header;
use crate::proto::text::Text;
use crate::proto::time::Instant;
use crate::proto::wire::{Answer, Frame, MAX_LIST, MAX_LIST_BYTES, RequestOutcome, Row};

/// The most bytes in the lists of all clients that have not arrived as a whole. Beyond it the largest list is dropped,
/// and its request fails.
pub const PARTIAL_BYTES: usize = 64 * 1024 * 1024;

/// A message of a list, as it arrives.
#[derive(Debug, PartialEq, Eq)]
pub struct ListItem {
    /// The message.
    pub id: MessageId,
    /// When its sender sent it, in microseconds since 1970.
    pub at: i64,
    /// Its text.
    pub text: String,
}

/// The messages of a request to save.
#[derive(Debug, PartialEq, Eq)]
pub struct SaveList {
    /// The sender's request.
    pub request: RequestId,
    /// The reader of all messages.
    pub to: Name,
    /// The messages, in order.
    pub mail: Vec<Mail>,
}

/// The answer to a list when its records are on disk.
#[derive(Clone, Copy, Debug)]
pub struct ListOutcome {
    /// The number of messages from the first one on that are kept.
    kept: usize,
    /// The outcome of the first message that is not kept; [`RequestOutcome::Saved`] if all are.
    is: RequestOutcome,
}

/// The lists that are arriving or being written.
#[derive(Debug, Default)]
pub struct Saves {
    partial: BTreeMap<Incarnation, PartialList>,
    /// The lists in `partial` by their bytes, and the sum of these.
    by_bytes: BTreeSet<(usize, Incarnation)>,
    partial_bytes: usize,
    /// The messages that the disk refused, by position in the list that is being written.
    refused: BTreeMap<RequestId, BTreeSet<usize>>,
}

/// The messages of a list whose end has not arrived. A list that its sender aborted can precede them.
#[derive(Debug, Default)]
pub(super) struct PartialList {
    items: VecDeque<ListItem>,
    text_bytes: usize,
}

impl PartialList {
    /// The bytes that count in [`PARTIAL_BYTES`].
    fn weight(&self) -> usize {
        self.text_bytes + self.items.len() * size_of::<ListItem>()
    }
}

impl Saves {
    /// Adds a message of the next list of this client. Drops older ones beyond the limits of a list.
    fn collect(&mut self, client: Incarnation, item: ListItem) {
        let list = self.partial.entry(client).or_default();
        let before = list.weight();
        list.text_bytes += item.text.len();
        list.items.push_back(item);
        while (list.items.len() > MAX_LIST || list.text_bytes > MAX_LIST_BYTES)
            && let Some(oldest) = list.items.pop_front()
        {
            list.text_bytes -= oldest.text.len();
        }
        let after = list.weight();
        self.by_bytes.remove(&(before, client));
        self.by_bytes.insert((after, client));
        self.partial_bytes = self.partial_bytes - before + after;
        while self.partial_bytes > PARTIAL_BYTES
            && let Some((_, largest)) = self.by_bytes.last().copied()
        {
            self.forget(largest);
        }
    }

    /// Takes the last `n` messages of this client. They are the whole list, because the link keeps the order. Returns
    /// nothing if some are missing.
    pub(super) fn take(&mut self, client: Incarnation, n: usize) -> Vec<ListItem> {
        let Some(mut list) = self.forget(client) else { return Vec::new() };
        match list.items.len().checked_sub(n) {
            Some(aborted) => list.items.split_off(aborted).into(),
            None => Vec::new(),
        }
    }

    /// Drops the messages of a client that ended.
    pub(super) fn forget(&mut self, client: Incarnation) -> Option<PartialList> {
        let list = self.partial.remove(&client)?;
        self.by_bytes.remove(&(list.weight(), client));
        self.partial_bytes -= list.weight();
        Some(list)
    }

    /// Notes that the disk refused a message of a list.
    pub(super) fn refuse(&mut self, request: RequestId, index: usize) {
        self.refused.entry(request).or_default().insert(index);
    }
}

impl SaveList {
    /// The bytes of text of all messages.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.mail.iter().map(|mail| mail.header.text_bytes).sum()
    }
}

impl Server {
    /// Receives a message of a list.
    pub(super) fn collect(&mut self, client: Incarnation, item: ListItem) {
        let Some(session) = self.sessions.get(client) else { return };
        let reason = match session.name() {
            None => DropReason::NotRegistered,
            Some(_) if item.id.incarnation != client => DropReason::ForeignId,
            Some(_) => return self.saves.collect(client, item),
        };
        self.output.dropped(session.addr(), &[], reason);
    }

    /// Handles a list of direct messages that their sender could not deliver. If the reader is online, it is pinged
    /// first, unless `again` says that the direct retry after an earlier ping failed too.
    pub(super) fn save(
        &mut self,
        now: Instant,
        request: RequestId,
        from: &Name,
        to: Name,
        items: Vec<ListItem>,
        again: bool,
    ) {
        let mail = |ListItem { id, at, text }: ListItem| {
            let header = header(id, MessageKind::Direct, from.clone(), at);
            Some(Mail::new(MailHeader { to: Some(to.clone()), recipients: 1, ..header }, Text::new(&text).ok()?))
        };
        let mail: Option<Vec<Mail>> = items.into_iter().map(mail).collect();
        let has_own_ids =
            |mail: &Vec<Mail>| mail.iter().map(|mail| mail.header.id).collect::<BTreeSet<_>>().len() == mail.len();
        let Some(mail) = mail.filter(|mail| !mail.is_empty() && has_own_ids(mail)) else {
            return self.answer(request, RequestOutcome::Failed);
        };
        let list = SaveList { request, to, mail };
        if self.is_being_written(&list) {
            return self.after_records(OnPersisted::Keep(list));
        }
        let known = self.known_of(&list);
        if known == list.mail.len() {
            return self.answer(request, RequestOutcome::Saved);
        }
        let Some(is_online) = self.table.get(&list.to).map(|row| row.online) else {
            return self.answer_list(request, known, RequestOutcome::None, None);
        };
        let unasked = if is_online && !again { self.ping_reader(now, list) } else { Some(list) };
        if let Some(list) = unasked {
            self.keep(list);
        }
    }

    /// The number of messages that are kept already, counted from the first one of a list.
    pub(super) fn known_of(&self, list: &SaveList) -> usize {
        list.mail.iter().take_while(|mail| self.mail.known(mail.header.id).is_some()).count()
    }

    fn is_being_written(&self, list: &SaveList) -> bool {
        list.mail.iter().any(|mail| self.unwritten.contains(&mail.header.id))
    }

    /// Stores the messages of a list for its reader, up to the first that does not fit.
    pub(super) fn keep(&mut self, list: SaveList) {
        // The same messages may have been stored while their reader was pinged. Their outcome decides.
        if self.is_being_written(&list) {
            return self.after_records(OnPersisted::Keep(list));
        }
        let SaveList { request, to, mail } = list;
        let (mut written, mut outcome) = (Vec::new(), ListOutcome { kept: mail.len(), is: RequestOutcome::Saved });
        for (index, mut mail) in mail.into_iter().enumerate() {
            if self.mail.known(mail.header.id).is_some() {
                continue;
            }
            if outcome.is == RequestOutcome::Full || self.mail.is_full(&to, mail.header.text_bytes) {
                outcome = ListOutcome { kept: outcome.kept.min(index), is: RequestOutcome::Full };
                self.say(ServerEvent::Rejected { reason: Reason::MailboxFull, from: mail.header.from, group: None });
                continue;
            }
            self.begin_write(&mut mail.header);
            written.push((index, mail.clone()));
            self.persist(Record::Mail(mail), OnPersisted::SaveWritten { request, index });
        }
        if written.is_empty() {
            return self.answer_list(request, outcome.kept, outcome.is, None);
        }
        self.after_records(OnPersisted::ListWritten { request, written, outcome });
    }

    /// Answers the sender of a list whose records have their outcome, and sends its messages to their reader. A message
    /// after one that the disk refused is removed again, because its sender learns that it is not kept.
    pub(super) fn list_written(&mut self, request: RequestId, written: Vec<(usize, Mail)>, outcome: ListOutcome) {
        let refused = self.saves.refused.remove(&request).unwrap_or_default();
        let first_refused = refused.first().copied();
        let records = self.records;
        for (index, mail) in written {
            self.end_write(&mail.header);
            if first_refused.is_none_or(|first| index < first) {
                self.mail.insert(mail.header.clone());
                self.counters.saved += 1;
                if let Some(to) = mail.header.reader().cloned() {
                    self.say(ServerEvent::Saved { to, from: mail.header.from.clone(), id: mail.header.id });
                }
                self.hand_out(mail);
            } else if !refused.contains(&index) {
                let seq = mail.header.seq;
                let removed = Record::Delivered { seq, receipt: None };
                self.persist(removed, OnPersisted::Nothing);
            }
        }
        match first_refused {
            None => self.answer_list(request, outcome.kept, outcome.is, None),
            Some(first) if self.records == records => {
                self.answer_list(request, first, RequestOutcome::Failed, None);
            }
            Some(first) => {
                let frame = list_answer(request, first, RequestOutcome::Failed, None);
                self.after_records(OnPersisted::Reply { client: request.client, frame });
            }
        }
    }

    /// Answers a list of which `kept` messages are on disk, from the first one on. `outcome` is that of the next one.
    pub(super) fn answer_list(&mut self, request: RequestId, kept: usize, outcome: RequestOutcome, row: Option<Row>) {
        self.reply(request.client, list_answer(request, kept, outcome, row));
    }
}

fn list_answer(request: RequestId, kept: usize, outcome: RequestOutcome, row: Option<Row>) -> Frame {
    let recipients = if outcome == RequestOutcome::Saved { 0 } else { kept };
    Frame::Answer(Answer { recipients, row, ..Answer::new(request.number, outcome) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Incarnation = Incarnation(1);

    fn item(number: u64, text: &str) -> ListItem {
        ListItem { id: MessageId { incarnation: CLIENT, number }, at: 0, text: text.to_owned() }
    }

    #[test]
    fn a_partial_list_keeps_its_newest_messages_up_to_the_limits_of_a_list() {
        for (text, most) in [("m".to_owned(), MAX_LIST), ("m".repeat(65_536), MAX_LIST_BYTES / 65_536)] {
            let mut saves = Saves::default();
            let count = most as u64 + 3;
            (1..=count).for_each(|number| saves.collect(CLIENT, item(number, &text)));
            let list = saves.take(CLIENT, most);
            assert!(list.iter().map(|item| item.id.number).eq(4..=count));
            assert_eq!((saves.partial_bytes, saves.take(CLIENT, 1)), (0, vec![]));
        }
    }

    #[test]
    fn the_partial_lists_of_all_clients_are_limited_in_bytes_and_the_largest_is_dropped() {
        let (mut saves, text) = (Saves::default(), "m".repeat(65_536));
        let most = PARTIAL_BYTES / (text.len() + size_of::<ListItem>());
        let client = |number: usize| Incarnation(number as u128);
        (0..most - 2).for_each(|number| saves.collect(client(number), item(1, &text)));
        (1..=2).for_each(|number| saves.collect(client(most), item(number, &text)));
        assert!(saves.partial_bytes <= PARTIAL_BYTES);
        saves.collect(client(most + 1), item(1, &text));
        assert_eq!(saves.take(client(most), 1), vec![], "it was the largest");
        assert_eq!([0, 1, most + 1].map(|number| saves.take(client(number), 1).len()), [1, 1, 1]);
        (2..most - 2).for_each(|number| drop(saves.forget(client(number))));
        assert_eq!((saves.partial_bytes, saves.by_bytes.len()), (0, 0));
    }
}
