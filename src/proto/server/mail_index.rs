//! Mail index: the headers of stored direct messages by reader. The texts stay on disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::proto::id::MessageId;
use crate::proto::name::Name;
use crate::proto::record::{MailHeader, Receipt};
use crate::proto::time::Instant;

/// The most messages one reader's mailbox holds.
pub const MAILBOX: usize = 10_000;
/// The most bytes of text in a mailbox.
pub const MAILBOX_BYTES: usize = 64 * 1024 * 1024;
/// How long the id of a delivered message is remembered, so that a late repetition of the request is not stored again.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// The most ids that are remembered.
pub const REMEMBERED: usize = 65_536;
/// The most receipts that wait for one sender. Beyond the limit the oldest is dropped.
pub const RECEIPTS: usize = 10_000;

#[derive(Debug, Default)]
struct Mailbox {
    seqs: BTreeSet<u64>,
    bytes: usize,
}

/// Room in a mailbox for messages that are being written.
#[derive(Debug, Default)]
struct MailReservation {
    messages: usize,
    bytes: usize,
}

/// The index of stored direct messages, and of receipts.
#[derive(Debug, Default)]
pub struct MailIndex {
    headers: BTreeMap<u64, MailHeader>,
    mailboxes: BTreeMap<Name, Mailbox>,
    /// The room reserved for messages that are being written, by reader.
    reserved: BTreeMap<Name, MailReservation>,
    by_id: BTreeMap<MessageId, u64>,
    receipts: BTreeMap<Name, BTreeMap<u64, Receipt>>,
    remembered: BTreeMap<MessageId, usize>,
    /// When each remembered id expires, in order.
    expiries: VecDeque<(Instant, MessageId)>,
    last_seq: u64,
    /// The most messages in a mailbox.
    mailbox_max: usize,
}

impl MailIndex {
    /// The index of the messages and receipts that an earlier incarnation stored.
    #[must_use]
    pub fn new(headers: Vec<MailHeader>, receipts: Vec<Receipt>, last_seq: u64, mailbox_max: usize) -> Self {
        let mut index = Self { last_seq, mailbox_max: mailbox_max.min(MAILBOX), ..Self::default() };
        for header in headers {
            index.insert(header);
        }
        for receipt in receipts {
            index.add_receipt(receipt);
        }
        index
    }

    /// Assigns the number of the next message.
    pub fn next_seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }

    /// Reserves room for a direct message that is being written, so that messages that arrive meanwhile cannot overfill
    /// the mailbox.
    pub fn reserve(&mut self, header: &MailHeader) {
        if let Some(reader) = header.reader() {
            let reserved = self.reserved.entry(reader.clone()).or_default();
            reserved.messages += 1;
            reserved.bytes += header.text_bytes;
        }
    }

    /// Releases the reserved room when the record has its outcome. Then [insert](MailIndex::insert) a message that was
    /// written.
    pub fn release(&mut self, header: &MailHeader) {
        let Some(reader) = header.reader() else { return };
        let Some(reserved) = self.reserved.get_mut(reader) else { return };
        reserved.messages -= 1;
        reserved.bytes -= header.text_bytes;
        if reserved.messages == 0 {
            self.reserved.remove(reader);
        }
    }

    /// Whether no room is reserved.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.reserved.is_empty()
    }

    /// Adds a direct message to the mailbox of its reader.
    pub fn insert(&mut self, header: MailHeader) {
        let Some(reader) = header.reader() else { return };
        let mailbox = self.mailboxes.entry(reader.clone()).or_default();
        mailbox.seqs.insert(header.seq);
        mailbox.bytes += header.text_bytes;
        self.by_id.insert(header.id, header.seq);
        self.last_seq = self.last_seq.max(header.seq);
        self.headers.insert(header.seq, header);
    }

    /// The header of a direct message, if it is stored.
    #[must_use]
    pub fn get(&self, seq: u64) -> Option<&MailHeader> {
        self.headers.get(&seq)
    }

    /// Removes a message that its reader acknowledged, or whose text is lost. Returns its header, if it is stored.
    pub fn remove(&mut self, seq: u64) -> Option<MailHeader> {
        let header = self.headers.remove(&seq)?;
        self.by_id.remove(&header.id);
        if let Some(mailbox) = header.reader().and_then(|reader| self.mailboxes.get_mut(reader))
            && mailbox.seqs.remove(&seq)
        {
            mailbox.bytes -= header.text_bytes;
        }
        if let Some(reader) = header.reader()
            && self.mailboxes.get(reader).is_some_and(|mailbox| mailbox.seqs.is_empty())
        {
            self.mailboxes.remove(reader);
        }
        Some(header)
    }

    /// Remembers a message by its id, with its number of readers.
    pub fn remember(&mut self, now: Instant, id: MessageId, readers: usize) {
        if self.remembered.insert(id, readers).is_none() {
            self.expiries.push_back((now + REMEMBERED_FOR, id));
        }
        while let Some((until, id)) = self.expiries.front().copied()
            && (until <= now || self.expiries.len() > REMEMBERED)
        {
            self.expiries.pop_front();
            self.remembered.remove(&id);
        }
    }

    /// The number of readers of a message that is stored or remembered.
    #[must_use]
    pub fn known(&self, id: MessageId) -> Option<usize> {
        self.by_id.get(&id).map(|_| 1).or_else(|| self.remembered.get(&id).copied())
    }

    /// The undelivered messages of a reader above the number `after`, in order: number and bytes of each.
    pub fn waiting_after(&self, reader: &Name, after: u64) -> impl Iterator<Item = (u64, usize)> {
        let seqs = self.mailboxes.get(reader).into_iter().flat_map(move |mailbox| mailbox.seqs.range(after + 1..));
        seqs.map(|seq| (*seq, self.headers.get(seq).map_or(0, |header| header.text_bytes)))
    }

    /// The number of undelivered messages of a reader.
    #[must_use]
    pub fn count(&self, reader: &Name) -> usize {
        self.mailboxes.get(reader).map_or(0, |mailbox| mailbox.seqs.len())
    }

    /// Whether a reader's mailbox has no room for a message with this many bytes of text.
    #[must_use]
    pub fn is_full(&self, reader: &Name, bytes: usize) -> bool {
        let kept = self.mailboxes.get(reader).map_or((0, 0), |mailbox| (mailbox.seqs.len(), mailbox.bytes));
        let reserved = self.reserved.get(reader).map_or((0, 0), |reserved| (reserved.messages, reserved.bytes));
        kept.0 + reserved.0 >= self.mailbox_max || kept.1 + reserved.1 + bytes > MAILBOX_BYTES
    }

    /// All readers with undelivered messages, and the number of these.
    pub fn readers(&self) -> impl Iterator<Item = (&Name, usize)> {
        self.mailboxes.iter().map(|(name, mailbox)| (name, mailbox.seqs.len()))
    }

    /// The number of stored direct messages.
    #[must_use]
    pub fn len(&self) -> usize {
        self.headers.len()
    }

    /// Adds a receipt. Returns the number of the oldest receipt if that was dropped because of the limit.
    pub fn add_receipt(&mut self, receipt: Receipt) -> Option<u64> {
        let receipts = self.receipts.entry(receipt.owner.clone()).or_default();
        receipts.insert(receipt.seq, receipt);
        (receipts.len() > RECEIPTS).then(|| receipts.pop_first().map(|(seq, _)| seq)).flatten()
    }

    /// The receipts that wait for a sender, in order.
    pub fn receipts(&self, owner: &Name) -> impl Iterator<Item = &Receipt> {
        self.receipts.get(owner).into_iter().flat_map(|receipts| receipts.values())
    }

    /// Removes a receipt that was acknowledged. Returns whether it existed.
    pub fn drop_receipt(&mut self, owner: &Name, seq: u64) -> bool {
        let Some(receipts) = self.receipts.get_mut(owner) else { return false };
        let was_there = receipts.remove(&seq).is_some();
        if receipts.is_empty() {
            self.receipts.remove(owner);
        }
        was_there
    }

    /// Whether a message or a receipt waits for this name. Such a name must not be dropped.
    #[must_use]
    pub fn concerns(&self, name: &Name) -> bool {
        self.mailboxes.contains_key(name) || self.reserved.contains_key(name) || self.receipts.contains_key(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::event::MessageKind;
    use crate::proto::id::Incarnation;
    use crate::proto::time::Timestamp;

    fn name(word: &str) -> Name {
        Name::new(word).unwrap()
    }

    fn id(number: u64) -> MessageId {
        MessageId { incarnation: Incarnation(1), number }
    }

    fn header(seq: u64, reader: &str, text_bytes: usize) -> MailHeader {
        MailHeader {
            seq,
            id: id(seq),
            kind: MessageKind::Direct,
            from: name("x"),
            group: None,
            sent_at: Timestamp::default(),
            kept_at: Timestamp::default(),
            to: Some(name(reader)),
            position: 0,
            recipients: 1,
            text_bytes,
        }
    }

    #[test]
    fn a_message_stays_until_its_reader_has_acknowledged_it() {
        let mut index = MailIndex::new(vec![header(3, "y", 5)], vec![], 7, MAILBOX);
        assert_eq!(index.next_seq(), 8);
        assert_eq!((index.count(&name("y")), index.known(id(3))), (1, Some(1)));
        assert_eq!(index.waiting_after(&name("y"), 2).collect::<Vec<_>>(), [(3, 5)]);
        assert_eq!(index.waiting_after(&name("y"), 3).count(), 0);
        assert_eq!(index.remove(3).map(|header| header.seq), Some(3));
        assert_eq!((index.remove(3), index.len(), index.known(id(3))), (None, 0, None));
        let now = Instant::ZERO;
        index.remember(now, id(3), 0);
        assert_eq!(index.known(id(3)), Some(0), "its id is remembered");
        index.remember(now + REMEMBERED_FOR, id(9), 1);
        assert_eq!(index.known(id(3)), None, "but not for ever");
    }

    #[test]
    fn a_mailbox_is_limited_in_messages_and_in_bytes() {
        let mut index = MailIndex::new(vec![], vec![], 0, MAILBOX);
        for seq in 1..=MAILBOX as u64 {
            assert!(!index.is_full(&name("y"), 1));
            index.insert(header(seq, "y", 1));
        }
        assert!(index.is_full(&name("y"), 1));
        let mut index = MailIndex::new(vec![], vec![], 0, 1);
        index.insert(header(1, "y", 1));
        assert!(index.is_full(&name("y"), 1));
        let mut index = MailIndex::new(vec![], vec![], 0, MAILBOX);
        index.insert(header(1, "y", MAILBOX_BYTES));
        assert!(index.is_full(&name("y"), 1));
        assert!(!index.is_full(&name("z"), 1));
    }

    #[test]
    fn a_message_that_is_being_written_reserves_room_and_protects_the_names_of_its_readers() {
        let mut index = MailIndex::new(vec![], vec![], 0, 2);
        let mail = |seq| header(seq, "y", 2);
        index.reserve(&mail(1));
        index.reserve(&mail(2));
        assert!(index.is_full(&name("y"), 1));
        assert_eq!(
            (index.count(&name("y")), index.waiting_after(&name("y"), 0).count()),
            (0, 0),
            "it is not there yet"
        );
        assert!(index.concerns(&name("y")) && !index.concerns(&name("x")));
        // The first is written, the second is refused.
        index.release(&mail(1));
        index.insert(mail(1));
        assert!(index.is_full(&name("y"), 1) && !index.is_written());
        index.release(&mail(2));
        assert!(!index.is_full(&name("y"), 1) && index.is_written());
        index.remove(1);
        assert!(!index.concerns(&name("y")));
    }

    #[test]
    fn the_numbers_of_remembered_ids_and_of_receipts_are_limited() {
        let mut index = MailIndex::new(vec![], vec![], 0, MAILBOX);
        for number in 0..=REMEMBERED as u64 {
            index.remember(Instant::ZERO, id(number), 0);
        }
        assert_eq!((index.known(id(0)), index.known(id(1))), (None, Some(0)));
        let receipt =
            |seq| Receipt { seq, owner: name("x"), id: id(seq), reader: name("y"), kept_at: Timestamp::default() };
        for seq in 0..RECEIPTS as u64 {
            assert_eq!(index.add_receipt(receipt(seq)), None);
        }
        assert_eq!(index.add_receipt(receipt(RECEIPTS as u64)), Some(0));
        assert!(!index.drop_receipt(&name("x"), 0));
        assert!(index.drop_receipt(&name("x"), 1));
    }
}
