//! Who lacks which message: the index of kept mail. The texts stay on disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::proto::id::MessageId;
use crate::proto::name::Name;
use crate::proto::record::{MailHeader, Receipt};
use crate::proto::time::Instant;

/// The most messages one reader's mailbox holds.
pub const MAILBOX: usize = 10_000;
/// The most bytes of text in it.
pub const MAILBOX_BYTES: usize = 64 * 1024 * 1024;
/// How long the id of a message that is no longer kept is remembered, so that a late repetition is not kept anew.
pub const REMEMBERED_FOR: Duration = Duration::from_secs(600);
/// The most ids remembered.
pub const REMEMBERED: usize = 65_536;
/// The most receipts that wait for one sender; beyond that the oldest are given up.
pub const RECEIPTS: usize = 10_000;

#[derive(Debug, Default)]
struct Mailbox {
    seqs: BTreeSet<u64>,
    bytes: usize,
}

/// Room in a mailbox for what is being written.
#[derive(Debug, Default)]
struct MailReservation {
    messages: usize,
    bytes: usize,
}

/// The index; see the module.
#[derive(Debug, Default)]
pub struct MailIndex {
    headers: BTreeMap<u64, MailHeader>,
    boxes: BTreeMap<Name, Mailbox>,
    /// Of readers for whom something is being written; nobody else is in it.
    reserved: BTreeMap<Name, MailReservation>,
    by_id: BTreeMap<MessageId, u64>,
    receipts: BTreeMap<Name, BTreeMap<u64, Receipt>>,
    remembered: BTreeMap<MessageId, usize>,
    forget: VecDeque<(Instant, MessageId)>,
    last: u64,
    /// The most messages a mailbox holds here.
    most: usize,
}

impl MailIndex {
    /// The index of what an earlier life kept.
    #[must_use]
    pub fn new(heads: Vec<MailHeader>, receipts: Vec<Receipt>, last: u64, most: usize) -> Self {
        let mut room = Self { last, most: most.min(MAILBOX), ..Self::default() };
        for head in heads {
            room.insert(head);
        }
        for receipt in receipts {
            room.add_receipt(receipt);
        }
        room
    }

    /// The number of the next message.
    pub fn next_seq(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A message is being written: it takes its room at once, so that what comes meanwhile finds the mailbox as full as
    /// it will be.
    pub fn reserve(&mut self, header: &MailHeader) {
        for name in &header.undelivered_to {
            let reserved = self.reserved.entry(name.clone()).or_default();
            reserved.messages += 1;
            reserved.bytes += header.text_bytes;
        }
    }

    /// The writing of a message has its outcome: it is [inserted](MailIndex::insert), or it never was.
    pub fn release(&mut self, header: &MailHeader) {
        for name in &header.undelivered_to {
            let Some(reserved) = self.reserved.get_mut(name) else { continue };
            reserved.messages -= 1;
            reserved.bytes -= header.text_bytes;
            if reserved.messages == 0 {
                self.reserved.remove(name);
            }
        }
    }

    /// Whether no room is reserved.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.reserved.is_empty()
    }

    /// Adds a message for all who lack it.
    pub fn insert(&mut self, header: MailHeader) {
        let seq = header.seq;
        for name in &header.undelivered_to {
            let mailbox = self.boxes.entry(name.clone()).or_default();
            mailbox.seqs.insert(seq);
            mailbox.bytes += header.text_bytes;
        }
        self.by_id.insert(header.id, seq);
        self.last = self.last.max(seq);
        self.headers.insert(seq, header);
    }

    /// A message, if it is kept.
    #[must_use]
    pub fn get(&self, seq: u64) -> Option<&MailHeader> {
        self.headers.get(&seq)
    }

    /// The reader has the message. Returns it, with who lacks it still; `None` if the reader did not lack it.
    pub fn deliver(&mut self, now: Instant, seq: u64, reader: &Name) -> Option<&MailHeader> {
        let header = self.headers.get_mut(&seq)?;
        if !header.undelivered_to.remove(reader) {
            return None;
        }
        let (id, bytes) = (header.id, header.text_bytes);
        take_out(&mut self.boxes, reader, seq, bytes);
        if header.undelivered_to.is_empty() {
            self.by_id.remove(&id);
            self.remember(now, id, 0);
        }
        self.headers.get(&seq)
    }

    /// Drops a message that nobody lacks any more, or that could not be kept.
    pub fn remove(&mut self, seq: u64) {
        let Some(header) = self.headers.remove(&seq) else { return };
        for name in &header.undelivered_to {
            take_out(&mut self.boxes, name, seq, header.text_bytes);
        }
        if self.by_id.get(&header.id) == Some(&seq) {
            self.by_id.remove(&header.id);
        }
    }

    /// Remembers that this id had its outcome, with a count of readers.
    pub fn remember(&mut self, now: Instant, id: MessageId, readers: usize) {
        if self.remembered.insert(id, readers).is_none() {
            self.forget.push_back((now + REMEMBERED_FOR, id));
        }
        while let Some((until, id)) = self.forget.front().copied()
            && (until <= now || self.forget.len() > REMEMBERED)
        {
            self.forget.pop_front();
            self.remembered.remove(&id);
        }
    }

    /// Whether this id is kept or was lately, and for how many readers.
    #[must_use]
    pub fn known(&self, id: MessageId) -> Option<usize> {
        let kept = self.by_id.get(&id).and_then(|seq| self.headers.get(seq)).map(|header| header.undelivered_to.len());
        kept.or_else(|| self.remembered.get(&id).copied())
    }

    /// What a reader lacks, in order.
    pub fn waiting(&self, reader: &Name) -> impl Iterator<Item = (u64, usize)> {
        let seqs = self.boxes.get(reader).into_iter().flat_map(|mailbox| &mailbox.seqs);
        seqs.map(|seq| (*seq, self.headers.get(seq).map_or(0, |header| header.text_bytes)))
    }

    /// How many messages a reader lacks.
    #[must_use]
    pub fn count(&self, reader: &Name) -> usize {
        self.boxes.get(reader).map_or(0, |mailbox| mailbox.seqs.len())
    }

    /// Whether a reader's mailbox does not take a message of so many bytes. What is on its way to somebody online counts
    /// only against the limit of every server.
    #[must_use]
    pub fn is_full(&self, reader: &Name, bytes: usize, online: bool) -> bool {
        let most = if online { MAILBOX } else { self.most };
        let kept = self.boxes.get(reader).map_or((0, 0), |mailbox| (mailbox.seqs.len(), mailbox.bytes));
        let coming = self.reserved.get(reader).map_or((0, 0), |reserved| (reserved.messages, reserved.bytes));
        kept.0 + coming.0 >= most || kept.1 + coming.1 + bytes > MAILBOX_BYTES
    }

    /// All readers with mail, and how many messages each lacks.
    pub fn readers(&self) -> impl Iterator<Item = (&Name, usize)> {
        self.boxes.iter().map(|(name, mailbox)| (name, mailbox.seqs.len()))
    }

    /// How many messages are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.headers.len()
    }

    /// Adds a receipt. Returns the number of the one given up for it, if there are too many.
    pub fn add_receipt(&mut self, receipt: Receipt) -> Option<u64> {
        let receipts = self.receipts.entry(receipt.owner.clone()).or_default();
        receipts.insert(receipt.seq, receipt);
        (receipts.len() > RECEIPTS).then(|| receipts.pop_first().map(|(seq, _)| seq)).flatten()
    }

    /// The receipts that wait for a sender, in order.
    pub fn receipts(&self, owner: &Name) -> impl Iterator<Item = &Receipt> {
        self.receipts.get(owner).into_iter().flat_map(|receipts| receipts.values())
    }

    /// A receipt was acknowledged. Returns whether it was there.
    pub fn drop_receipt(&mut self, owner: &Name, seq: u64) -> bool {
        let Some(receipts) = self.receipts.get_mut(owner) else { return false };
        let was = receipts.remove(&seq).is_some();
        if receipts.is_empty() {
            self.receipts.remove(owner);
        }
        was
    }

    /// Whether anything waits for this name, so that it must not be dropped.
    #[must_use]
    pub fn concerns(&self, name: &Name) -> bool {
        self.boxes.contains_key(name) || self.reserved.contains_key(name) || self.receipts.contains_key(name)
    }
}

fn take_out(boxes: &mut BTreeMap<Name, Mailbox>, reader: &Name, seq: u64, bytes: usize) {
    if let Some(mailbox) = boxes.get_mut(reader)
        && mailbox.seqs.remove(&seq)
    {
        mailbox.bytes -= bytes;
        if mailbox.seqs.is_empty() {
            boxes.remove(reader);
        }
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

    fn head(seq: u64, undelivered_to: &[&str], text_bytes: usize) -> MailHeader {
        let undelivered_to = undelivered_to.iter().map(|word| name(word)).collect();
        MailHeader {
            seq,
            id: id(seq),
            kind: MessageKind::Direct,
            from: name("x"),
            group: None,
            sent_at: Timestamp::default(),
            kept_at: Timestamp::default(),
            undelivered_to,
            text_bytes,
        }
    }

    #[test]
    fn one_message_serves_all_its_readers() {
        let mut room = MailIndex::new(vec![head(3, &["y", "z"], 5)], vec![], 7, MAILBOX);
        assert_eq!(room.next_seq(), 8);
        assert_eq!((room.count(&name("y")), room.known(id(3))), (1, Some(2)));
        let now = Instant::ZERO;
        assert_eq!(room.deliver(now, 3, &name("y")).map(|header| header.undelivered_to.len()), Some(1));
        assert!(room.deliver(now, 3, &name("y")).is_none(), "only once");
        assert_eq!(room.deliver(now, 3, &name("z")).map(|header| header.undelivered_to.len()), Some(0));
        room.remove(3);
        assert_eq!(room.len(), 0);
        assert_eq!(room.known(id(3)), Some(0), "its id is remembered");
        room.remember(now + REMEMBERED_FOR, id(9), 1);
        assert_eq!(room.known(id(3)), None, "but not for ever");
    }

    #[test]
    fn a_mailbox_has_limits_in_messages_and_in_bytes() {
        let mut room = MailIndex::new(vec![], vec![], 0, MAILBOX);
        for seq in 1..=MAILBOX as u64 {
            assert!(!room.is_full(&name("y"), 1, false));
            room.insert(head(seq, &["y"], 1));
        }
        assert!(room.is_full(&name("y"), 1, false));
        let mut room = MailIndex::new(vec![], vec![], 0, 1);
        room.insert(head(1, &["y"], 1));
        assert!(room.is_full(&name("y"), 1, false));
        assert!(!room.is_full(&name("y"), 1, true));
        let mut room = MailIndex::new(vec![], vec![], 0, MAILBOX);
        room.insert(head(1, &["y"], MAILBOX_BYTES));
        assert!(room.is_full(&name("y"), 1, false));
        assert!(!room.is_full(&name("z"), 1, false));
    }

    #[test]
    fn a_message_that_is_being_written_takes_its_room_and_keeps_its_readers_names() {
        let mut room = MailIndex::new(vec![], vec![], 0, 2);
        let mail = |seq| head(seq, &["y", "z"], 2);
        room.reserve(&mail(1));
        room.reserve(&mail(2));
        assert!(room.is_full(&name("y"), 1, false) && !room.is_full(&name("y"), 1, true));
        assert!(
            !room.is_full(&name("y"), MAILBOX_BYTES - 4, true) && room.is_full(&name("y"), MAILBOX_BYTES - 3, true)
        );
        assert_eq!((room.count(&name("y")), room.waiting(&name("y")).count()), (0, 0), "it is not there yet");
        assert!(room.concerns(&name("z")) && !room.concerns(&name("x")));
        // One is kept, the other is refused.
        room.release(&mail(1));
        room.insert(mail(1));
        assert!(room.is_full(&name("y"), 1, false) && !room.is_written());
        room.release(&mail(2));
        assert!(!room.is_full(&name("y"), 1, false) && room.is_written());
        room.remove(1);
        assert!(!room.concerns(&name("z")));
    }

    #[test]
    fn no_more_ids_and_receipts_are_kept_than_the_limits() {
        let mut room = MailIndex::new(vec![], vec![], 0, MAILBOX);
        for number in 0..=REMEMBERED as u64 {
            room.remember(Instant::ZERO, id(number), 0);
        }
        assert_eq!((room.known(id(0)), room.known(id(1))), (None, Some(0)));
        let receipt =
            |seq| Receipt { seq, owner: name("x"), id: id(seq), reader: name("y"), kept_at: Timestamp::default() };
        for seq in 0..RECEIPTS as u64 {
            assert_eq!(room.add_receipt(receipt(seq)), None);
        }
        assert_eq!(room.add_receipt(receipt(RECEIPTS as u64)), Some(0));
        assert!(!room.drop_receipt(&name("x"), 0));
        assert!(room.drop_receipt(&name("x"), 1));
    }
}
