//! Tests of the logs against a naive model: a list of messages for each reader.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::proto::event::MessageKind;
use crate::proto::id::Incarnation;
use crate::proto::server::replies::RequestId;
use crate::proto::text::Text;
use crate::proto::time::Timestamp;

const NAMES: [&str; 4] = ["w", "x", "y", "z"];

fn name(word: &str) -> Name {
    Name::new(word).unwrap()
}

fn id(number: u64) -> MessageId {
    MessageId { incarnation: Incarnation(1), number }
}

fn mail(seq: u64, log: &LogName, from: &Name, position: u64) -> Mail {
    let header = MailHeader {
        seq,
        id: id(seq),
        kind: log.kind(),
        from: from.clone(),
        group: log.group().cloned(),
        sent_at: Timestamp::default(),
        kept_at: Timestamp::from_micros(i64::try_from(seq).unwrap()),
        to: None,
        position,
        recipients: 3,
        text_bytes: 0,
    };
    Mail::new(header, Text::new("hi").unwrap())
}

fn retention(messages: usize) -> Retention {
    Retention { messages, ..Retention::default() }
}

/// An item that a reader must get.
#[derive(Clone, Debug, PartialEq, Eq)]
enum ReaderItem {
    Message(u64),
    Dropped(LogName, u64),
}

/// The state of a disk: what the records leave.
#[derive(Clone, Debug, Default)]
struct DiskModel {
    mail: BTreeMap<u64, MailHeader>,
    cursors: BTreeMap<(Name, IntervalKey), CursorRecord>,
    bases: BTreeMap<LogName, u64>,
}

impl DiskModel {
    fn apply(&mut self, record: Record) {
        match record {
            Record::Mail(mail) => drop(self.mail.insert(mail.header.seq, mail.header)),
            Record::Cursor(cursor) => {
                drop(self.cursors.insert((cursor.reader.clone(), cursor.key.clone()), cursor));
            }
            Record::CursorRemoved { reader, key } => drop(self.cursors.remove(&(reader, key))),
            Record::Trimmed { log, base } => {
                self.mail.retain(|_, header| header.log().as_ref() != Some(&log) || header.position >= base);
                self.bases.insert(log, base);
            }
            other => panic!("{other:?}"),
        }
    }

    fn open(&self, messages: usize) -> Logs {
        let bases = self.bases.clone().into_iter().collect();
        let cursors = self.cursors.values().cloned().collect();
        Logs::new(retention(messages), self.mail.values().cloned().collect(), bases, cursors)
    }
}

/// Logs, their disk, and for each reader the messages that it lacks and those in flight.
struct Harness {
    logs: Logs,
    disk: DiskModel,
    messages: usize,
    /// All messages that a reader lacks, by reader, in order. Messages beyond the retention are still there.
    lacking: BTreeMap<Name, Vec<(u64, LogName)>>,
    in_flight: BTreeMap<Name, VecDeque<(IntervalKey, ReaderItem)>>,
    members: BTreeMap<Name, Name>,
    seq: u64,
    stored: BTreeMap<LogName, VecDeque<u64>>,
}

impl Harness {
    fn new(messages: usize) -> Self {
        let mut harness = Self {
            logs: DiskModel::default().open(messages),
            disk: DiskModel::default(),
            messages,
            lacking: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            members: BTreeMap::new(),
            seq: 0,
            stored: BTreeMap::new(),
        };
        for reader in NAMES.map(name) {
            let record = harness.logs.register(&reader).unwrap();
            harness.disk.apply(record);
            assert_eq!(harness.logs.register(&reader), None);
            harness.lacking.insert(reader, Vec::new());
        }
        harness
    }

    fn publish(&mut self, from: &Name, log: &LogName, is_refused: bool) {
        self.seq += 1;
        let position = self.logs.reserve(log);
        if is_refused {
            return self.logs.append(Instant::ZERO, log, None);
        }
        let mail = mail(self.seq, log, from, position);
        self.disk.apply(Record::Mail(mail.clone()));
        self.logs.append(Instant::ZERO, log, Some(mail));
        self.stored.entry(log.clone()).or_default().push_back(self.seq);
        for (reader, lacking) in &mut self.lacking {
            let reads = log.group().is_none_or(|group| self.members.get(reader) == Some(group));
            if reads && reader != from {
                lacking.push((self.seq, log.clone()));
            }
        }
    }

    /// Sends up to `room` items to a reader, and checks them against the model.
    fn send(&mut self, reader: &Name, room: usize) {
        let items = self.logs.upcoming(reader, std::iter::empty(), room, usize::MAX);
        for item in items {
            let (key, last, item) = match item {
                Upcoming::Logged { seq, key, position } => (key, position, ReaderItem::Message(seq)),
                Upcoming::Notice(key) => match self.logs.next_notice(reader, &key, id(1_000 + self.seq)) {
                    NextNotice::Send(notice) => {
                        let item = ReaderItem::Dropped(key.log.clone(), notice.count);
                        (key, notice.upto - 1, item)
                    }
                    NextNotice::Write(record) => {
                        self.disk.apply(record);
                        return self.logs.notice_written(reader, &key);
                    }
                    NextNotice::Wait | NextNotice::Nothing => return,
                },
                Upcoming::Direct(seq) => panic!("{seq}"),
            };
            self.logs.sent(reader, &key, [last]);
            self.in_flight.entry(reader.clone()).or_default().push_back((key, item));
        }
    }

    /// The reader acknowledges its oldest item in flight.
    fn acknowledge(&mut self, reader: &Name) {
        let Some((key, item)) = self.in_flight.get_mut(reader).and_then(VecDeque::pop_front) else { return };
        self.logs.acknowledged(reader, &key, 1);
        let lacking = self.lacking.get_mut(reader).unwrap();
        match item {
            ReaderItem::Message(seq) => {
                let at = lacking.iter().position(|(lacked, _)| *lacked == seq);
                let at = at.unwrap_or_else(|| panic!("{reader} gets {seq} again"));
                // Within one log nothing is overtaken.
                let log = lacking[at].1.clone();
                assert!(lacking[..at].iter().all(|(_, other)| *other != log), "{reader} {seq} {lacking:?}");
                lacking.remove(at);
            }
            ReaderItem::Dropped(log, count) => {
                for _ in 0..count {
                    let at = lacking.iter().position(|(_, other)| *other == log);
                    let (seq, _) = lacking.remove(at.unwrap_or_else(|| panic!("{reader} is told too many")));
                    assert_eq!(self.logs.known(id(seq)), None, "{seq} is still there");
                }
            }
        }
    }

    fn write(&mut self) {
        for record in self.logs.take_records() {
            self.disk.apply(record);
        }
    }

    fn crash(&mut self) {
        self.logs = self.disk.open(self.messages);
        self.in_flight.clear();
        self.members.clear();
        for reader in NAMES.map(name) {
            assert_eq!(self.logs.register(&reader), None);
        }
    }

    fn rewind(&mut self, reader: &Name) {
        self.logs.rewind(reader);
        self.in_flight.remove(reader);
    }

    fn join(&mut self, reader: &Name, group: &Name) {
        self.leave(reader);
        if let Some(record) = self.logs.join(reader, group) {
            self.disk.apply(record);
            self.members.insert(reader.clone(), group.clone());
        }
    }

    fn leave(&mut self, reader: &Name) {
        if let Some(group) = self.members.remove(reader)
            && let Some((record, _)) = self.logs.leave(reader, &group)
        {
            self.disk.apply(record);
        }
    }

    /// Lets all readers read everything. Then nothing is left.
    fn finish(&mut self) {
        for reader in NAMES.map(name) {
            self.leave(&reader);
            for _ in 0..2_000 {
                self.send(&reader, 8);
                self.acknowledge(&reader);
            }
            assert_eq!(self.lacking[&reader], [], "{reader}");
            assert_eq!(self.logs.waiting(&reader), 0);
        }
        self.logs.take_grown();
        self.write();
        assert!(self.logs.is_idle() && self.logs.len() == 0 && self.logs.bytes == 0 && self.logs.ids.is_empty());
        assert_eq!((self.logs.recent_bytes, self.logs.oldest.len()), (0, 0));
        assert_eq!(self.disk.mail.len(), 0);
        assert_eq!(self.disk.cursors.len(), NAMES.len(), "one of the channel each: {:?}", self.disk.cursors);
    }
}

proptest! {
    #[test]
    fn readers_get_every_message_once_in_order_or_are_told_that_it_was_dropped(
        messages in prop_oneof![Just(3_usize), Just(10), Just(1_000)],
        steps in prop::collection::vec((0u8..20, 0usize..4, 0usize..3), 0..300),
    ) {
        let mut harness = Harness::new(messages);
        let groups = ["g", "h"].map(name);
        // A server that crashed no longer knows dropped gaps, so a run with both has no crash.
        let refuses = messages == 1_000 || steps.first().is_some_and(|(_, who, _)| *who == 0);
        let crashes = messages == 1_000 || !refuses;
        for (step, who, what) in steps {
            let who = name(NAMES[who]);
            let group = groups[what % 2].clone();
            match step {
                0..=6 => {
                    let is_refused = refuses && what == 2;
                    harness.publish(&who, &LogName::Channel, is_refused);
                }
                7..=9 => if let Some(group) = harness.members.get(&who).cloned() {
                    harness.publish(&who, &LogName::Group(group), false);
                },
                10..=12 => harness.send(&who, what + 1),
                13 | 14 => harness.acknowledge(&who),
                15 => harness.join(&who, &group),
                16 => harness.leave(&who),
                17 => harness.write(),
                18 => harness.rewind(&who),
                _ if !crashes => {}
                _ => {
                    // An item whose cursor was not written comes again: the reader recognises its id.
                    harness.write();
                    harness.crash();
                }
            }
        }
        harness.finish();
    }
}

#[test]
fn a_name_has_at_most_64_unread_intervals() {
    let mut logs = Logs::default();
    let (reader, sender, group) = (name("y"), name("x"), name("g"));
    logs.register(&reader);
    for seq in 1..INTERVALS as u64 {
        assert!(logs.join(&reader, &group).is_some(), "{seq}");
        let log = LogName::Group(group.clone());
        let position = logs.reserve(&log);
        logs.append(Instant::ZERO, &log, Some(mail(seq, &log, &sender, position)));
        logs.leave(&reader, &group);
    }
    assert_eq!(logs.join(&reader, &group), None);
    let items = logs.upcoming(&reader, std::iter::empty(), 1, usize::MAX);
    let [Upcoming::Logged { seq: 1, key, position }] = items.as_slice() else { panic!("{items:?}") };
    logs.sent(&reader, key, [*position]);
    logs.acknowledged(&reader, key, 1);
    assert!(logs.join(&reader, &group).is_some(), "one was read");
}

#[test]
fn direct_messages_and_logs_are_merged_by_number() {
    let mut logs = Logs::default();
    let (reader, sender) = (name("y"), name("x"));
    logs.register(&reader);
    logs.register(&sender);
    for seq in [2, 3, 6] {
        let position = logs.reserve(&LogName::Channel);
        logs.append(Instant::ZERO, &LogName::Channel, Some(mail(seq, &LogName::Channel, &sender, position)));
    }
    let seqs = |logs: &mut Logs, reader: &Name, room, bytes| -> Vec<u64> {
        let items = logs.upcoming(reader, [(1, 10), (5, 10), (9, 10)].into_iter(), room, bytes);
        let seq = |item| match item {
            Upcoming::Direct(seq) | Upcoming::Logged { seq, .. } => seq,
            Upcoming::Notice(key) => panic!("{key:?}"),
        };
        items.into_iter().map(seq).collect()
    };
    assert_eq!(seqs(&mut logs, &reader, 9, usize::MAX), [1, 2, 3, 5, 6, 9]);
    assert_eq!(seqs(&mut logs, &reader, 4, usize::MAX), [1, 2, 3, 5]);
    assert_eq!(seqs(&mut logs, &reader, 9, 14), [1, 2, 3]);
    assert_eq!(seqs(&mut logs, &reader, 9, 0), [1], "at least one");
    assert_eq!(seqs(&mut logs, &sender, 9, usize::MAX), [1, 5, 9], "its own messages are skipped");
    assert_eq!((logs.waiting(&reader), logs.waiting(&sender)), (3, 0));
}

#[test]
fn the_limits_of_a_log_and_of_all_logs_drop_the_oldest_messages() {
    let limits = |messages, bytes, total_bytes| Retention { messages, bytes, total_bytes, ..Retention::default() };
    for (retention, left) in [
        (limits(2, 99, u64::MAX), [2, 1]),
        (limits(9, 4, u64::MAX), [2, 1]),
        (limits(9, 99, 2 * (MESSAGE_BYTES + 2)), [1, 1]),
    ] {
        let mut logs = Logs::new(retention, vec![], vec![], vec![]);
        let (reader, group) = (name("y"), LogName::Group(name("g")));
        logs.register(&reader);
        logs.join(&reader, &name("g"));
        for (seq, log) in [(1, &LogName::Channel), (2, &LogName::Channel), (3, &LogName::Channel), (4, &group)] {
            let position = logs.reserve(log);
            logs.append(Instant::ZERO, log, Some(mail(seq, log, &name("x"), position)));
        }
        let counts = [&LogName::Channel, &group].map(|log| logs.logs[log].count());
        assert_eq!(counts, left, "{retention:?}");
        logs.drop_older(Timestamp::from_micros(4));
        assert_eq!(logs.len(), 1);
    }
}

#[test]
fn texts_beyond_the_limit_leave_memory_oldest_first() {
    let mut logs = Logs::default();
    logs.register(&name("y"));
    let text = Text::new(&"x".repeat(Text::MAX)).unwrap();
    let count = (RECENT_BYTES / Text::MAX + 2) as u64;
    for seq in 1..=count {
        let position = logs.reserve(&LogName::Channel);
        let Mail { header, .. } = mail(seq, &LogName::Channel, &name("x"), position);
        logs.append(Instant::ZERO, &LogName::Channel, Some(Mail::new(header, text.clone())));
    }
    let has_text =
        |logs: &mut Logs, at| logs.get_mut(&LogName::Channel, at).is_some_and(|entry| entry.text().is_some());
    assert_eq!([0, 1, 2, count - 1].map(|at| has_text(&mut logs, at)), [false, false, true, true]);
    assert!(logs.recent_bytes <= RECENT_BYTES);
}

#[test]
fn a_sender_that_fills_a_log_waits_for_a_slow_online_reader() {
    let mut logs = Logs::new(retention(200), vec![], vec![], vec![]);
    let (reader, sender, other) = (name("y"), name("x"), name("z"));
    for name in [&reader, &sender, &other] {
        logs.register(name);
        logs.set_online(name, true);
    }
    let request = |number| RequestId { client: Incarnation(1), number };
    let publish = |logs: &mut Logs, from: &Name, seq| {
        let position = logs.reserve(&LogName::Channel);
        logs.append(Instant::ZERO, &LogName::Channel, Some(mail(seq, &LogName::Channel, from, position)));
        logs.hold_answer(&LogName::Channel, from, request(seq), 2)
    };
    let held: Vec<u64> = (1..=102).filter(|seq| publish(&mut logs, &sender, *seq)).collect();
    assert_eq!(held, [101, 102], "half of the retention is 100");
    assert!(!publish(&mut logs, &other, 103), "another sender does not wait");
    assert_eq!((logs.take_answers(), logs.deadline()), (vec![], Some(Instant::ZERO + LAG_TIMEOUT)));
    for reader in [&reader, &other] {
        for item in logs.upcoming(reader, std::iter::empty(), 3, usize::MAX) {
            let Upcoming::Logged { key, position, .. } = item else { panic!("{item:?}") };
            logs.sent(reader, &key, [position]);
            logs.acknowledged(reader, &key, 1);
        }
    }
    assert_eq!(logs.take_answers(), [(request(101), 2), (request(102), 2)]);
    assert!(publish(&mut logs, &sender, 104) && publish(&mut logs, &sender, 105));
    logs.expire_lags(Instant::ZERO + LAG_TIMEOUT);
    assert_eq!(logs.take_answers().len(), 2, "nobody waits longer than that");
    assert!(!publish(&mut logs, &sender, 106));
    assert_eq!((logs.held_answers, logs.deadline()), (0, None));
}

#[test]
fn kinds_of_logs_are_those_of_their_messages() {
    assert_eq!(LogName::Channel.kind(), MessageKind::Channel);
    assert_eq!(LogName::Group(name("g")).kind(), MessageKind::Group);
}
