//! The simulated disk of the server. A crash loses the records that are not synced. A full disk refuses new messages
//! and groups.

use std::collections::{BTreeMap, VecDeque};

use crate::proto::name::Name;
use crate::proto::record::{
    CursorRecord, GroupRecord, IntervalKey, LogName, Mail, MailHeader, NameRecord, PersistedState, Receipt, Record,
};
use crate::proto::time::Instant;

/// A disk; see the module.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    names: BTreeMap<Name, NameRecord>,
    groups: BTreeMap<Name, GroupRecord>,
    mail: BTreeMap<u64, Mail>,
    bases: BTreeMap<LogName, u64>,
    cursors: BTreeMap<(Name, IntervalKey), CursorRecord>,
    receipts: BTreeMap<u64, Receipt>,
    last_seq: u64,
    unsynced: VecDeque<(Instant, Record)>,
    /// The number of records of this incarnation of the server that were synced or refused.
    through: u64,
    /// Every record that was ever synced, in order.
    history: Vec<Record>,
    /// The server crashes when this number of records was ever synced, before the last sync is reported to it.
    pub dies_at: Option<usize>,
    /// Delays that crash until another record is due to be synced. That record is lost.
    pub dies_before_next: bool,
    /// Whether new messages and groups are refused.
    pub full: bool,
}

impl Disk {
    /// Writes a record that is synced at `at`.
    pub fn write(&mut self, at: Instant, record: Record) {
        self.unsynced.push_back((at, record));
    }

    /// When the next record is synced.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.unsynced.front().map(|(at, _)| *at)
    }

    /// Syncs records that are due. Returns the number of records of this incarnation that are synced or refused so
    /// far, and the numbers of the records that this call refused. `None` if no record was due.
    pub fn sync(&mut self, now: Instant) -> Option<(u64, Vec<u64>)> {
        let before = self.through;
        let mut refused = Vec::new();
        while !self.is_at_death(now)
            && self.unsynced.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, record)) = self.unsynced.pop_front()
        {
            self.through += 1;
            if self.full && matches!(record, Record::Mail(_) | Record::Group(_)) {
                refused.push(self.through);
            } else {
                self.apply(record);
            }
        }
        (self.through > before).then_some((self.through, refused))
    }

    /// Syncs all records, for a server that shuts down.
    pub fn close(&mut self) {
        if let Some((last, _)) = self.unsynced.back() {
            let _ = self.sync(*last);
        }
    }

    /// Whether the server crashes now; see [`Disk::dies_at`].
    #[must_use]
    pub fn is_at_death(&self, now: Instant) -> bool {
        let is_due = || self.next().is_some_and(|at| at <= now);
        self.dies_at == Some(self.history.len()) && (!self.dies_before_next || is_due())
    }

    fn apply(&mut self, record: Record) {
        self.history.push(record.clone());
        match record {
            Record::Name(record) => {
                self.names.insert(record.name.clone(), record);
            }
            Record::NameRemoved(name) => {
                self.cursors.retain(|(reader, _), _| *reader != name);
                self.names.remove(&name);
            }
            Record::Group(record) => {
                self.groups.insert(record.group.clone(), record);
            }
            Record::Mail(mail) => {
                self.last_seq = self.last_seq.max(mail.header.seq);
                self.mail.insert(mail.header.seq, mail);
            }
            Record::Delivered { seq, receipt } => {
                self.mail.remove(&seq);
                self.receipts.extend(receipt.map(|receipt| (receipt.seq, receipt)));
            }
            Record::Cursor(cursor) => {
                self.cursors.insert((cursor.reader.clone(), cursor.key.clone()), cursor);
            }
            Record::CursorRemoved { reader, key } => {
                self.cursors.remove(&(reader, key));
            }
            Record::Trimmed { log, base } => {
                let is_below = |header: &MailHeader| header.position < base && header.log().as_ref() == Some(&log);
                self.mail.retain(|_, mail| !is_below(&mail.header));
                self.bases.insert(log, base);
            }
            Record::ReceiptGone { seq } => {
                self.receipts.remove(&seq);
            }
        }
    }

    /// The messages with these numbers. Numbers without a message are skipped.
    #[must_use]
    pub fn fetch(&self, seqs: &[u64]) -> Vec<Mail> {
        seqs.iter().filter_map(|seq| self.mail.get(seq)).cloned().collect()
    }

    /// All stored messages, in order of number.
    pub fn mail(&self) -> impl Iterator<Item = &Mail> {
        self.mail.values()
    }

    /// Every record that was ever synced, in order. Refused records are not included.
    #[must_use]
    pub fn history(&self) -> &[Record] {
        &self.history
    }

    /// All waiting receipts, in order of number.
    pub fn receipts(&self) -> impl Iterator<Item = &Receipt> {
        self.receipts.values()
    }

    /// Discards records that are not synced. Returns the state for the next incarnation of the server.
    pub fn recover(&mut self) -> PersistedState {
        self.unsynced.clear();
        self.through = 0;
        PersistedState {
            names: self.names.values().cloned().collect(),
            groups: self.groups.values().cloned().collect(),
            mail: self.mail.values().map(|mail| mail.header.clone()).collect(),
            bases: self.bases.iter().map(|(log, base)| (log.clone(), *base)).collect(),
            cursors: self.cursors.values().cloned().collect(),
            receipts: self.receipts.values().cloned().collect(),
            last_seq: self.last_seq,
        }
    }
}
