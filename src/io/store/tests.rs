//! Tests of the store, most of them on real files: state survives a restart, answers keep their order, and each failure
//! is classified and reported.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};

use rusqlite::ffi;

use super::*;
use crate::proto::event::MessageKind;
use crate::proto::id::{Incarnation, MessageId};
use crate::proto::keys::PublicKey;
use crate::proto::name::Name;
use crate::proto::record::{
    CursorRecord, DropNotice, GroupRecord, IntervalKey, LogName, MailHeader, NameRecord, Receipt,
};
use crate::proto::text::Text;
use crate::proto::time::Timestamp;

fn name(word: &str) -> Name {
    Name::new(word).unwrap()
}

fn group() -> GroupRecord {
    GroupRecord { group: name("g"), creator: name("x"), incarnation: Incarnation(1), request: u64::MAX }
}

fn row(word: &str, online: bool) -> NameRecord {
    let incarnation = Incarnation(u128::MAX - 1);
    NameRecord {
        name: name(word),
        addr: "[2001:db8::1]:65535".parse().unwrap(),
        incarnation,
        online,
        seen: Timestamp::from_micros(1),
        key: PublicKey([7; 32]),
    }
}

/// A direct message to `y`.
fn mail(seq: u64, text: &str) -> Mail {
    let header = MailHeader {
        seq,
        id: MessageId { incarnation: Incarnation(7), number: seq },
        kind: MessageKind::Direct,
        from: name("x"),
        group: None,
        sent_at: Timestamp::from_micros(-5),
        kept_at: Timestamp::from_micros(1_767_323_045_678_901),
        to: Some(name("y")),
        position: 0,
        recipients: 1,
        text_bytes: 0,
    };
    Mail::new(header, Text::new(text).unwrap())
}

fn receipt(seq: u64) -> Receipt {
    let (owner, reader) = (name("x"), name("y"));
    Receipt {
        seq,
        owner,
        id: MessageId { incarnation: Incarnation(7), number: seq },
        reader,
        kept_at: Timestamp::from_micros(9),
    }
}

/// A message at a position of the channel, or of the group `g`.
fn logged(seq: u64, log: &LogName, position: u64, text: &str) -> Mail {
    let (kind, group) = (log.kind(), log.group().cloned());
    let mail = mail(seq, text);
    Mail { header: MailHeader { kind, group, to: None, position, recipients: 3, ..mail.header }, ..mail }
}

fn cursor(reader: &str, log: &LogName, next: u64, end: Option<u64>) -> CursorRecord {
    let key = IntervalKey { log: log.clone(), joined: 0 };
    CursorRecord { reader: name(reader), key, next, end, own_dropped: 0, notice: None }
}

fn delivered(seq: u64, receipt: Option<Receipt>) -> Record {
    Record::Delivered { seq, receipt }
}

fn open_with(location: StoreLocation, hooks: TestHooks) -> (Store, PersistedState, Receiver<StoreAnswer>) {
    let (answer_tx, answer_rx) = mpsc::channel();
    let answer = Box::new(move |answer| answer_tx.send(answer).unwrap());
    let (store, state) = Store::open_with(location, answer, hooks).unwrap();
    (store, state, answer_rx)
}

fn open(path: &Path) -> (Store, PersistedState, Receiver<StoreAnswer>) {
    open_with(StoreLocation::File(path.to_owned()), TestHooks::default())
}

fn refusal(path: &Path) -> StoreError {
    Store::open(StoreLocation::File(path.to_owned()), Box::new(|_| {})).map(|_| ()).unwrap_err()
}

/// Opens and closes the store, and returns the state that it read at start.
fn load_state(path: &Path) -> PersistedState {
    let (store, state, _) = open(path);
    store.close();
    state
}

fn persisted(through: u64) -> StoreAnswer {
    StoreAnswer::Persisted { through, refused: Vec::new() }
}

/// A disk whose first commit blocks until the returned sender is used. The returned receiver reports that the commit
/// has started.
fn slow_disk() -> (TestHooks, mpsc::Sender<()>, Receiver<()>) {
    let ((resume, resumed), (reached_tx, reached)) = (mpsc::channel(), mpsc::channel());
    let mut first = true;
    let commit = move |db: &Connection| {
        if std::mem::take(&mut first) {
            reached_tx.send(()).unwrap();
            resumed.recv().unwrap();
        }
        db.execute_batch("COMMIT")
    };
    (TestHooks { commit: Box::new(commit), max_pages: None }, resume, reached)
}

#[test]
fn all_state_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/chat.db");
    let (store, state, answer_rx) = open(&path);
    assert_eq!(state, PersistedState::default());
    let (channel, g) = (LogName::Channel, LogName::Group(name("g")));
    let long = logged(2, &channel, 7, &"ü".repeat(Text::MAX / 2));
    let odd = logged(3, &g, 0, "it's\n\0\u{202e}\"{}\"");
    store.submit(vec![Record::Name(row("y", true)), Record::Name(row("x", true)), Record::Group(group())]);
    store.submit(vec![
        Record::Mail(logged(1, &channel, 6, "old")),
        Record::Mail(long.clone()),
        Record::Mail(odd.clone()),
    ]);
    store.submit(vec![Record::Mail(mail(4, "kept")), Record::Mail(mail(5, "hi"))]);
    store.submit(vec![Record::Name(row("x", false)), Record::Name(row("gone", true))]);
    store.submit(vec![Record::Cursor(cursor("gone", &channel, 0, None)), Record::NameRemoved(name("gone"))]);
    store.submit(vec![Record::Cursor(cursor("y", &channel, 6, None)), Record::Cursor(cursor("y", &g, 0, None))]);
    let notice = Some(DropNotice { id: mail(9, "id").header.id, count: 3, upto: 7 });
    let lagging = CursorRecord { own_dropped: 2, notice, ..cursor("y", &channel, 3, None) };
    store.submit(vec![Record::Cursor(lagging.clone()), Record::Cursor(cursor("y", &g, 0, Some(1)))]);
    store.submit(vec![Record::Trimmed { log: channel.clone(), base: 7 }, delivered(5, Some(receipt(5)))]);
    store.close();
    assert_eq!(answer_rx.iter().last(), Some(persisted(18)));

    let (store, state, answer_rx) = open(&path);
    let expected = PersistedState {
        names: vec![row("x", false), row("y", true)],
        groups: vec![group()],
        mail: vec![long.header.clone(), odd.header.clone(), mail(4, "kept").header],
        bases: vec![(channel.clone(), 7)],
        cursors: vec![lagging, cursor("y", &g, 0, Some(1))],
        receipts: vec![receipt(5)],
        last_seq: 5,
    };
    assert_eq!(state, expected);
    assert_eq!(state.mail[0].text_bytes, Text::MAX, "the length is in bytes");
    store.fetch(vec![3, 99, u64::MAX, 2, 4, 5]);
    store.fetch(Vec::new());
    store.submit(vec![Record::ReceiptGone { seq: 5 }, delivered(4, None)]);
    store.submit(vec![Record::Trimmed { log: channel, base: 8 }, Record::Trimmed { log: g.clone(), base: 1 }]);
    store.submit(vec![Record::CursorRemoved { reader: name("y"), key: cursor("y", &g, 0, None).key }]);
    store.close();
    let answers: Vec<_> = answer_rx.iter().collect();
    let mail = StoreAnswer::Mail(vec![odd, long, mail(4, "kept")]);
    assert_eq!(answers, [mail, StoreAnswer::Mail(Vec::new()), persisted(5)]);

    let state = load_state(&path);
    assert_eq!((state.mail, state.receipts, state.cursors.len()), (Vec::new(), Vec::new(), 1));
    assert_eq!(state.bases, [(LogName::Channel, 8), (g, 1)]);
    assert_eq!(state.last_seq, 5, "the highest number is remembered after its message is gone");
}

#[test]
fn a_store_in_memory_gives_the_same_answers_and_writes_no_file() {
    let (tell, files) = mpsc::channel();
    let commit = move |db: &Connection| {
        let journal: String = db.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        let scratch: i64 = db.query_row("PRAGMA temp_store", [], |row| row.get(0))?;
        tell.send((db.path().map(str::to_owned), journal, scratch)).unwrap();
        db.execute_batch("COMMIT")
    };
    let (store, state, answer_rx) =
        open_with(StoreLocation::Memory, TestHooks { commit: Box::new(commit), max_pages: None });
    assert_eq!(state, PersistedState::default());
    store.submit(vec![Record::Mail(mail(1, "hi"))]);
    store.fetch(vec![1]);
    store.close();
    assert_eq!(answer_rx.iter().collect::<Vec<_>>(), [persisted(1), StoreAnswer::Mail(vec![mail(1, "hi")])]);
    assert_eq!(files.recv(), Ok((Some(String::new()), "memory".to_owned(), 2)), "2 is memory, too");
    assert_eq!(open_with(StoreLocation::Memory, TestHooks::default()).1, PersistedState::default(), "and forgets");
}

#[test]
fn waiting_jobs_are_committed_together_and_answered_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (hooks, resume, reached) = slow_disk();
    let (store, _, answer_rx) = open_with(StoreLocation::File(folder.path().join("chat.db")), hooks);
    store.submit(vec![Record::Mail(mail(1, "first"))]);
    reached.recv().unwrap();
    for seq in 2..=1000 {
        store.submit(vec![Record::Mail(mail(seq, "more"))]);
    }
    store.fetch(vec![1000]);
    store.submit(vec![delivered(1000, None), Record::Name(row("x", true))]);
    store.fetch(vec![1000]);
    assert!(answer_rx.try_recv().is_err(), "nothing is answered before it is on disk");
    assert_eq!(store.commits(), 0);
    resume.send(()).unwrap();
    let answers: Vec<_> = answer_rx.iter().take(5).collect();
    let seen = StoreAnswer::Mail(vec![mail(1000, "more")]);
    assert_eq!(answers, [persisted(1), persisted(1000), seen, persisted(1002), StoreAnswer::Mail(Vec::new())]);
    assert_eq!(store.commits(), 2);
}

#[test]
fn a_full_store_reports_it_and_does_not_block() {
    let (hooks, resume, reached) = slow_disk();
    let (store, _, answer_rx) = open_with(StoreLocation::Memory, hooks);
    store.submit(vec![Record::NameRemoved(name("x"))]);
    reached.recv().unwrap();
    let turn = vec![Record::NameRemoved(name("x")); BATCH_RECORDS];
    for _ in 0..MAX_WAITING_RECORDS / BATCH_RECORDS {
        assert!(!store.is_full());
        store.submit(turn.clone());
    }
    assert!(store.is_full());
    store.submit(turn);
    store.fetch(vec![1]);
    resume.send(()).unwrap();
    let all = (1 + MAX_WAITING_RECORDS + BATCH_RECORDS) as u64;
    assert!(answer_rx.iter().any(|answer| answer == persisted(all)), "what came on top is not lost");
    assert!(!store.is_full());
    assert_eq!(answer_rx.recv(), Ok(StoreAnswer::Mail(Vec::new())));
}

#[test]
fn a_transaction_has_at_most_batch_records() {
    let (hooks, resume, reached) = slow_disk();
    let (store, _, answer_rx) = open_with(StoreLocation::Memory, hooks);
    store.submit(vec![Record::NameRemoved(name("x"))]);
    reached.recv().unwrap();
    for _ in 0..=BATCH_RECORDS {
        store.submit(vec![Record::NameRemoved(name("x"))]);
    }
    resume.send(()).unwrap();
    let most = BATCH_RECORDS as u64;
    assert_eq!(answer_rx.iter().take(3).collect::<Vec<_>>(), [persisted(1), persisted(1 + most), persisted(2 + most)]);
    assert_eq!(store.commits(), 3);
}

#[test]
fn a_long_write_ahead_log_is_checkpointed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let (store, _, answer_rx) = open(&path);
    let size = || fs::metadata(&path).unwrap().len();
    let empty = size();
    let big = "a".repeat(Text::MAX);
    // The log passes the limit. The answer to one more record shows that the checkpoint is complete.
    let many = (writer::CHECKPOINT_BYTES / Text::MAX) as u64 + 2;
    for seq in 1..=many {
        store.submit(vec![Record::Mail(mail(seq, &big))]);
    }
    assert!(answer_rx.iter().any(|answer| answer == persisted(many)));
    store.submit(vec![Record::Name(row("x", true))]);
    assert_eq!(answer_rx.recv(), Ok(persisted(many + 1)));
    assert!(size() > empty + (writer::CHECKPOINT_BYTES / 2) as u64, "{} bytes", size());
    store.close();
    assert_eq!(load_state(&path).mail.len() as u64, many);
}

#[test]
fn a_full_disk_refuses_only_the_records_without_room() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    load_state(&path);
    let (slow, resume, reached) = slow_disk();
    let (store, _, answer_rx) = open_with(StoreLocation::File(path.clone()), TestHooks { max_pages: Some(16), ..slow });
    store.submit(vec![Record::Mail(mail(1, "hi"))]);
    reached.recv().unwrap();
    // One transaction that is too large as a whole; within one turn, the last two records are too large.
    let big = "a".repeat(Text::MAX);
    store.submit(vec![Record::Name(row("x", true))]);
    store.submit(vec![Record::Mail(mail(2, "fits")), Record::Mail(mail(3, &big)), Record::Mail(mail(4, &big))]);
    store.fetch(vec![2, 3, 4]);
    store.submit(vec![delivered(1, Some(receipt(1)))]);
    resume.send(()).unwrap();
    assert_eq!(answer_rx.recv(), Ok(persisted(1)));
    let Ok(StoreAnswer::Warning(sentence)) = answer_rx.recv() else { panic!("a warning comes first") };
    let shown = fs::canonicalize(&path).unwrap();
    let shown = shown.display();
    assert_eq!(
        sentence,
        format!(
            "2 records were refused by the store {shown}: database or disk is full; make room, the server goes on."
        )
    );
    assert_eq!(answer_rx.recv(), Ok(StoreAnswer::Persisted { through: 5, refused: vec![4, 5] }));
    assert_eq!(answer_rx.recv(), Ok(StoreAnswer::Mail(vec![mail(2, "fits")])));
    assert_eq!(answer_rx.recv(), Ok(persisted(6)));
    store.submit(vec![Record::Mail(mail(5, "again"))]);
    assert_eq!(answer_rx.recv(), Ok(persisted(7)));
    store.close();
    assert_eq!(answer_rx.recv(), Err(mpsc::RecvError));
    let state = load_state(&path);
    assert_eq!(state.mail.iter().map(|mail| mail.seq).collect::<Vec<_>>(), [2, 5]);
    assert_eq!((state.names, state.receipts), (vec![row("x", true)], vec![receipt(1)]));
}

#[test]
fn only_the_record_that_violates_a_constraint_is_refused() {
    let (store, _, answer_rx) = open_with(StoreLocation::Memory, TestHooks::default());
    let mut same_id = mail(2, "other");
    same_id.header.id = mail(1, "hi").header.id;
    store.submit(vec![Record::Mail(mail(1, "hi")), Record::Mail(same_id), Record::Mail(mail(3, "hi"))]);
    store.submit(vec![Record::ReceiptGone { seq: u64::MAX }]);
    store.fetch(vec![1, 2, 3]);
    store.close();
    let answers: Vec<_> = answer_rx.iter().collect();
    let refused: Vec<u64> = answers
        .iter()
        .flat_map(|answer| match answer {
            StoreAnswer::Persisted { refused, .. } => refused.clone(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(refused, [2, 4]);
    let both = vec![mail(1, "hi"), mail(3, "hi")];
    assert_eq!(answers.last(), Some(&StoreAnswer::Mail(both)));
}

#[test]
fn a_failed_sync_is_fatal_and_is_the_last_answer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let mut commits = 0;
    let commit = move |db: &Connection| {
        commits += 1;
        if commits == 2 {
            return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), None));
        }
        db.execute_batch("COMMIT")
    };
    let (store, _, answer_rx) =
        open_with(StoreLocation::File(path.clone()), TestHooks { commit: Box::new(commit), max_pages: None });
    store.submit(vec![Record::Name(row("x", true))]);
    assert_eq!(answer_rx.recv(), Ok(persisted(1)));
    store.submit(vec![Record::Name(row("y", true))]);
    let Ok(StoreAnswer::Fatal(sentence)) = answer_rx.recv() else { panic!("fatal") };
    assert!(sentence.contains("cannot be trusted any more") && !sentence.contains('\n'), "{sentence}");
    // The thread has ended and has dropped the handler: later calls have no answer and do not block.
    assert_eq!(answer_rx.recv(), Err(mpsc::RecvError));
    let many = (0..MAX_WAITING_RECORDS as u64).map(|seq| Record::ReceiptGone { seq });
    store.submit(many.clone().collect());
    store.submit(many.collect());
    store.fetch(vec![1]);
    store.close();
    assert!(folder.path().join("chat.db-wal").exists(), "the log was not moved by a disk that fails");
    assert_eq!(load_state(&path).names, [row("x", true)]);
}

#[test]
fn a_transient_error_refuses_all_records_of_the_transaction() {
    let mut busy = true;
    let commit = move |db: &Connection| {
        if std::mem::take(&mut busy) {
            return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_BUSY), None));
        }
        db.execute_batch("COMMIT")
    };
    let (store, _, answer_rx) =
        open_with(StoreLocation::Memory, TestHooks { commit: Box::new(commit), max_pages: None });
    store.submit(vec![Record::Name(row("x", true)), Record::Name(row("y", true))]);
    assert!(matches!(answer_rx.recv(), Ok(StoreAnswer::Warning(_))));
    assert_eq!(answer_rx.recv(), Ok(StoreAnswer::Persisted { through: 2, refused: vec![1, 2] }));
    store.submit(vec![Record::Name(row("x", true))]);
    assert_eq!(answer_rx.recv(), Ok(persisted(3)));
    assert_eq!(store.commits(), 1);
}

#[test]
fn a_second_server_is_refused_by_any_path_and_readers_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let (store, _, answer_rx) = open(&path);
    let many = logged(2, &LogName::Channel, 0, "all");
    let cursors = ["x", "y", "z"].map(|reader| Record::Cursor(cursor(reader, &LogName::Channel, 0, None)));
    let records = [Record::Name(row("x", true)), Record::Mail(mail(1, "hi")), Record::Mail(many)];
    store.submit(records.into_iter().chain(cursors).collect());
    assert_eq!(answer_rx.recv(), Ok(persisted(6)));
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for path in [&path, &link] {
        assert!(matches!(refusal(path), StoreError::InUse { .. }));
    }
    // The query that a person makes with `sqlite3` while the server runs.
    let reader = Connection::open_with_flags(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut query =
        reader.prepare("SELECT reader || ' < ' || sender || ' ' || kept || ' ' || text FROM waiting").unwrap();
    let seen: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let time = "2026-01-02T03:04:05Z";
    assert_eq!(seen, [format!("y < x {time} hi"), format!("y < x {time} all"), format!("z < x {time} all")]);
    let seen: String = reader.query_row("SELECT seen_utc FROM names", [], |row| row.get(0)).unwrap();
    assert_eq!(seen, "1970-01-01T00:00:00Z");
    store.close();
    open(&link).0.close();
}

#[test]
fn only_the_owner_can_read_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/chat.db");
    let (store, _, answer_rx) = open(&path);
    store.submit(vec![Record::Name(row("x", true))]);
    assert_eq!(answer_rx.recv(), Ok(persisted(1)));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for ending in ["", "-wal", "-shm", ".lock"] {
        assert_eq!(mode(&folder.path().join(format!("new/folder/chat.db{ending}"))), 0o600, "{ending}");
    }
    assert_eq!((mode(&folder.path().join("new")), mode(&folder.path().join("new/folder"))), (0o700, 0o700));
    store.close();
    let empty = folder.path().join("empty.db");
    fs::write(&empty, "").unwrap();
    open(&empty).0.close();
    assert_eq!(mode(&empty), 0o600, "it was nobody's");
}

#[test]
fn a_file_of_a_newer_release_is_refused_and_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    load_state(&path);
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 4").unwrap();
    let before = fs::read(&path).unwrap();
    let shown = fs::canonicalize(&path).unwrap();
    let why = refusal(&path).to_string();
    let shown = shown.display();
    assert_eq!(
        why,
        format!(
            "The file {shown} was written by a newer release (format 4, this one knows 3); \
             use that release or name another file."
        )
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn names_of_format_1_have_no_key_until_they_are_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(include_str!("schema-1.sql")).unwrap();
    db.execute_batch(
        "INSERT INTO names VALUES ('x', '[2001:db8::1]:65535', 'fffffffffffffffffffffffffffffffe', 1, 1);
         INSERT INTO names VALUES ('y', '[2001:db8::1]:65535', 'fffffffffffffffffffffffffffffffe', 0, 1);
         PRAGMA application_id = 0x63686174; PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(db);
    let without_key = |row: NameRecord| NameRecord { key: PublicKey::NONE, ..row };
    let (store, state, _) = open(&path);
    assert_eq!(state.names, [without_key(row("x", true)), without_key(row("y", false))]);
    store.submit(vec![Record::Name(row("y", true))]);
    store.close();
    assert_eq!(load_state(&path).names, [without_key(row("x", true)), row("y", true)]);
    let db = Connection::open(&path).unwrap();
    let mut query = db.prepare("SELECT key FROM names ORDER BY name").unwrap();
    let keys: Vec<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(keys, ["00".repeat(32), "07".repeat(32)]);
}

#[test]
fn messages_to_many_of_format_2_become_logs_with_a_cursor_for_each_run_that_a_reader_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chat.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(concat!(include_str!("schema-1.sql"), include_str!("schema-2.sql"))).unwrap();
    let names = ["x", "y"].map(|name| {
        format!("INSERT INTO names VALUES ('{name}', '1.2.3.4:5', '{:032}', 0, 1, '{}');", 1, "07".repeat(32))
    });
    db.execute_batch(&names.concat()).unwrap();
    for (seq, kind, group, lacking) in [
        (2, "channel", "NULL", r#"["y","z"]"#),
        (3, "direct", "NULL", r#"["y"]"#),
        (4, "channel", "NULL", r#"["z"]"#),
        (6, "group", "'g'", r#"["y"]"#),
        (7, "channel", "NULL", r#"["y","z"]"#),
        (9, "channel", "NULL", r#"["y"]"#),
    ] {
        let id = format!("{:032x}.{seq}", 7);
        let values = format!("{seq}, '{id}', '{kind}', 'x', {group}, 1, 2, '{lacking}', 'text {seq}'");
        db.execute_batch(&format!("INSERT INTO mail VALUES ({values})")).unwrap();
    }
    let waiting = |db: &Connection| -> Vec<(String, i64, String)> {
        let mut query = db.prepare("SELECT reader, seq, text FROM waiting ORDER BY seq, reader").unwrap();
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap().map(Result::unwrap).collect()
    };
    let before = waiting(&db);
    db.execute_batch("DELETE FROM mail WHERE seq = 9; PRAGMA application_id = 0x63686174; PRAGMA user_version = 2;")
        .unwrap();
    drop(db);
    let state = load_state(&path);
    let interval = |reader: &str, log: &LogName, joined, end| CursorRecord {
        key: IntervalKey { log: log.clone(), joined },
        ..cursor(reader, log, joined, end)
    };
    let (channel, g) = (LogName::Channel, LogName::Group(name("g")));
    let expected = [
        interval("x", &channel, 3, None),
        interval("y", &channel, 0, Some(1)),
        interval("y", &channel, 2, Some(3)),
        interval("y", &channel, 3, None),
        interval("y", &g, 0, Some(1)),
        interval("z", &channel, 0, Some(3)),
    ];
    assert_eq!(state.cursors, expected);
    assert_eq!(state.mail.iter().map(|mail| mail.seq).collect::<Vec<_>>(), [2, 3, 4, 6, 7]);
    assert_eq!((state.mail[1].reader(), state.mail[4].position), (Some(&name("y")), 2));
    assert_eq!(state.last_seq, 9);
    let before: Vec<_> = before.into_iter().filter(|(_, seq, _)| *seq != 9).collect();
    assert_eq!(waiting(&Connection::open(&path).unwrap()), before);
    let (store, _, answer_rx) = open(&path);
    store.fetch(vec![2, 3, 6]);
    store.close();
    let Ok(StoreAnswer::Mail(mail)) = answer_rx.recv() else { panic!("the texts") };
    assert_eq!(mail.iter().map(|mail| mail.text.as_str()).collect::<Vec<_>>(), ["text 2", "text 3", "text 6"]);
}

#[test]
fn a_foreign_file_is_refused_and_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    for garbage in [b"x".to_vec(), b"Dear diary\n".repeat(100), b"SQLite format 3\0".repeat(200)] {
        fs::write(&path, &garbage).unwrap();
        assert!(matches!(refusal(&path), StoreError::Foreign { .. }), "{garbage:?}");
        assert_eq!(fs::read(&path).unwrap(), garbage);
    }
    let path = folder.path().join("other.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE songs (title TEXT)").unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(refusal(&path), StoreError::Foreign { .. }));
    assert_eq!(fs::read(&path).unwrap(), before);
    // An empty file becomes a store.
    let path = folder.path().join("empty.db");
    fs::write(&path, "").unwrap();
    assert_eq!(load_state(&path), PersistedState::default());
    assert_eq!(load_state(&path), PersistedState::default());
}

#[test]
fn invalid_rows_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    for (sql, reason) in [
        ("names VALUES ('a;b', '1.2.3.4:5', '00000000000000000000000000000001', 1, 0, '0')", "\"a;b\""),
        ("names VALUES ('a', 'nowhere', '00000000000000000000000000000001', 1, 0, '0')", "address"),
        ("names VALUES ('a', '1.2.3.4:5', 'me', 1, 0, '0')", "32 hexadecimal digits"),
        ("names VALUES ('a', '1.2.3.4:5', '00000000000000000000000000000001', 1, 0, 'KEY')", "64 hexadecimal digits"),
        ("receipts VALUES (-1, 'a', '00000000000000000000000000000001.1', 'b', 0)", "out of range"),
        ("log VALUES (1, 'a b', 0, '00000000000000000000000000000001.1', 'a', 1, 0, 0, 'hi')", "\"a b\""),
        ("direct VALUES (1, '00000000000000000000000000000001.1', 'a', 'b', 0, 0, '')", "has 0"),
        ("cursors VALUES ('a', '', 0, -1, NULL, 0, NULL, NULL, NULL)", "out of range"),
    ] {
        let path = folder.path().join("chat.db");
        load_state(&path);
        Connection::open(&path).unwrap().execute_batch(&format!("INSERT INTO {sql}")).unwrap();
        let why = refusal(&path);
        assert!(matches!(why, StoreError::Damaged { .. }), "{why}");
        assert!(why.to_string().contains(reason), "{why}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_path_that_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let below = file.join("chat.db");
    for path in [below.as_path(), &file.join("deeper/chat.db"), folder.path(), Path::new("/"), Path::new("")] {
        let why = refusal(path);
        assert!(matches!(why, StoreError::Unwritable { .. }), "{path:?}: {why}");
    }
    let sentence = refusal(&below).to_string();
    assert!(sentence.starts_with(&format!("Nothing can be kept in {}: ", below.display())), "{sentence}");
}
