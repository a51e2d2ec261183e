//! Converts records to rows and back. Only this module and the schema know the columns.
//!
//! Reading is strict: a value that this program would not write is an error.

use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{CachedStatement, Connection, Error, OptionalExtension, Params, Row, params};

use crate::proto::event::MessageKind;
use crate::proto::id::MessageId;
use crate::proto::name::Name;
use crate::proto::record::{
    CursorRecord, DropNotice, GroupRecord, IntervalKey, LogName, Mail, MailHeader, NameRecord, PersistedState, Receipt,
    Record,
};
use crate::proto::text::Text;
use crate::proto::time::Timestamp;

/// Approximate size of a record without its text, in bytes.
const ROW_BYTES: usize = 200;

/// Approximate size of a record in memory and on disk, in bytes.
pub(super) fn weight(record: &Record) -> usize {
    ROW_BYTES + if let Record::Mail(mail) = record { mail.header.text_bytes } else { 0 }
}

/// Writes a record within the open transaction.
pub(super) fn write(db: &Connection, record: &Record) -> rusqlite::Result<()> {
    match record {
        Record::Name(row) => run(
            db,
            "INSERT INTO names (name, addr, life, online, seen, key) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (name) DO UPDATE SET addr = ?2, life = ?3, online = ?4, seen = ?5, key = ?6",
            params![
                row.name.as_str(),
                row.addr.to_string(),
                row.incarnation.to_string(),
                row.online,
                row.seen.micros(),
                row.key.to_string(),
            ],
        ),
        Record::NameRemoved(name) => {
            run(db, "DELETE FROM cursors WHERE reader = ?1", params![name.as_str()])?;
            run(db, "DELETE FROM names WHERE name = ?1", params![name.as_str()])
        }
        Record::Group(row) => run(
            db,
            "INSERT INTO groups (name, creator, life, request) VALUES (?1, ?2, ?3, ?4)",
            params![row.group.as_str(), row.creator.as_str(), row.incarnation.to_string(), row.request.to_string()],
        ),
        Record::Mail(mail) => write_mail(db, mail),
        Record::Delivered { seq, receipt } => {
            run(db, "DELETE FROM direct WHERE seq = ?1", params![number(*seq)?])?;
            receipt.as_ref().map_or(Ok(()), |receipt| write_receipt(db, receipt))
        }
        Record::Cursor(cursor) => write_cursor(db, cursor),
        Record::CursorRemoved { reader, key } => run(
            db,
            "DELETE FROM cursors WHERE reader = ?1 AND grp = ?2 AND joined = ?3",
            params![reader.as_str(), log_word(&key.log), number(key.joined)?],
        ),
        Record::Trimmed { log, base } => {
            let row = params![log_word(log), number(*base)?];
            run(db, "DELETE FROM log WHERE grp = ?1 AND position < ?2", row)?;
            run(db, "INSERT INTO bases VALUES (?1, ?2) ON CONFLICT (grp) DO UPDATE SET base = ?2", row)
        }
        Record::ReceiptGone { seq } => run(db, "DELETE FROM receipts WHERE seq = ?1", params![number(*seq)?]),
    }
}

fn write_mail(db: &Connection, mail: &Mail) -> rusqlite::Result<()> {
    let header = &mail.header;
    let (seq, id, from, text) = (number(header.seq)?, header.id.to_string(), header.from.as_str(), mail.text.as_str());
    let (sent_at, kept_at) = (header.sent_at.micros(), header.kept_at.micros());
    if let Some(log) = header.log() {
        let recipients = i64::try_from(header.recipients).unwrap_or(i64::MAX);
        return run(
            db,
            "INSERT INTO log (seq, grp, position, id, sender, recipients, sent_at, kept_at, text)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![seq, log_word(&log), number(header.position)?, id, from, recipients, sent_at, kept_at, text],
        );
    }
    run(
        db,
        "INSERT INTO direct (seq, id, sender, reader, sent_at, kept_at, text) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![seq, id, from, header.reader().map(Name::as_str), sent_at, kept_at, text],
    )
}

fn write_cursor(db: &Connection, cursor: &CursorRecord) -> rusqlite::Result<()> {
    let notice = cursor.notice;
    run(
        db,
        "INSERT INTO cursors (reader, grp, joined, next, \"end\", own_dropped, notice, notice_count, notice_upto)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (reader, grp, joined) DO UPDATE SET
         next = ?4, \"end\" = ?5, own_dropped = ?6, notice = ?7, notice_count = ?8, notice_upto = ?9",
        params![
            cursor.reader.as_str(),
            log_word(&cursor.key.log),
            number(cursor.key.joined)?,
            number(cursor.next)?,
            cursor.end.map(number).transpose()?,
            number(cursor.own_dropped)?,
            notice.map(|notice| notice.id.to_string()),
            notice.map(|notice| number(notice.count)).transpose()?,
            notice.map(|notice| number(notice.upto)).transpose()?,
        ],
    )
}

fn write_receipt(db: &Connection, receipt: &Receipt) -> rusqlite::Result<()> {
    run(
        db,
        "INSERT INTO receipts (seq, owner, id, reader, kept_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![
            number(receipt.seq)?,
            receipt.owner.as_str(),
            receipt.id.to_string(),
            receipt.reader.as_str(),
            receipt.kept_at.micros(),
        ],
    )
}

/// The columns of a message, without its text or its table.
const DIRECT: &str = "SELECT seq, id, sender, sent_at, kept_at, reader, NULL, 0, 1";
const LOGGED: &str = "SELECT seq, id, sender, sent_at, kept_at, NULL, grp, position, recipients";

/// Reads the messages with these numbers, in this order. Numbers without a message are skipped.
pub(super) fn fetch(db: &Connection, seqs: &[u64]) -> rusqlite::Result<Vec<Mail>> {
    let mut direct = db.prepare_cached(&format!("{DIRECT}, text FROM direct WHERE seq = ?1"))?;
    let mut logged = db.prepare_cached(&format!("{LOGGED}, text FROM log WHERE seq = ?1"))?;
    let mut found = Vec::new();
    for seq in seqs {
        let Ok(seq) = i64::try_from(*seq) else { continue };
        // A reader gets mostly messages of one kind.
        let mail = logged.query_row([seq], read_mail).optional()?;
        found.extend(if mail.is_some() { mail } else { direct.query_row([seq], read_mail).optional()? });
    }
    Ok(found)
}

/// Reads the whole state, without the texts of the messages: they stay on disk until they are fetched.
pub(super) fn load(db: &Connection) -> rusqlite::Result<PersistedState> {
    Ok(PersistedState {
        names: all(db.prepare_cached("SELECT name, addr, life, online, seen, key FROM names ORDER BY name")?, |row| {
            Ok(NameRecord {
                name: parsed(row, 0)?,
                addr: parsed(row, 1)?,
                incarnation: parsed(row, 2)?,
                online: row.get(3)?,
                seen: time(row, 4)?,
                key: parsed(row, 5)?,
            })
        })?,
        groups: all(db.prepare_cached("SELECT name, creator, life, request FROM groups ORDER BY name")?, |row| {
            Ok(GroupRecord {
                group: parsed(row, 0)?,
                creator: parsed(row, 1)?,
                incarnation: parsed(row, 2)?,
                request: parsed(row, 3)?,
            })
        })?,
        mail: all(
            db.prepare_cached(&format!(
                "{DIRECT}, octet_length(text) FROM direct UNION ALL {LOGGED}, octet_length(text) FROM log ORDER BY seq"
            ))?,
            read_stored_header,
        )?,
        bases: all(db.prepare_cached("SELECT grp, base FROM bases ORDER BY grp")?, |row| {
            Ok((log_name(row, 0)?, unsigned(row, 1)?))
        })?,
        cursors: all(
            db.prepare_cached(
                "SELECT reader, grp, joined, next, \"end\", own_dropped, notice, notice_count, notice_upto
                 FROM cursors ORDER BY reader, grp, joined",
            )?,
            read_cursor,
        )?,
        receipts: all(
            db.prepare_cached("SELECT seq, owner, id, reader, kept_at FROM receipts ORDER BY seq")?,
            |row| {
                Ok(Receipt {
                    seq: unsigned(row, 0)?,
                    owner: parsed(row, 1)?,
                    id: parsed(row, 2)?,
                    reader: parsed(row, 3)?,
                    kept_at: time(row, 4)?,
                })
            },
        )?,
        last_seq: db.query_row(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name IN ('direct', 'log')",
            [],
            |row| unsigned(row, 0),
        )?,
    })
}

fn read_cursor(row: &Row<'_>) -> rusqlite::Result<CursorRecord> {
    let notice = match row.get::<_, Option<Parsed<MessageId>>>(6)? {
        Some(id) => Some(DropNotice { id: id.0, count: unsigned(row, 7)?, upto: unsigned(row, 8)? }),
        None => None,
    };
    let end = if row.get_ref(4)? == ValueRef::Null { None } else { Some(unsigned(row, 4)?) };
    Ok(CursorRecord {
        reader: parsed(row, 0)?,
        key: IntervalKey { log: log_name(row, 1)?, joined: unsigned(row, 2)? },
        next: unsigned(row, 3)?,
        end,
        own_dropped: unsigned(row, 5)?,
        notice,
    })
}

fn read_mail(row: &Row<'_>) -> rusqlite::Result<Mail> {
    let text = Text::new(row.get_ref(9)?.as_str().map_err(|why| invalid(9, why))?).map_err(|why| invalid(9, why))?;
    Ok(Mail::new(read_header(row, text.as_str().len())?, text))
}

/// The header of a message whose text stays on disk.
fn read_stored_header(row: &Row<'_>) -> rusqlite::Result<MailHeader> {
    let bytes: usize = usize::try_from(row.get::<_, i64>(9)?).map_err(|why| invalid(9, why))?;
    if !(1..=Text::MAX).contains(&bytes) {
        return Err(invalid(9, format!("A kept message must have 1 to {} bytes, and one has {bytes}", Text::MAX)));
    }
    read_header(row, bytes)
}

fn read_header(row: &Row<'_>, text_bytes: usize) -> rusqlite::Result<MailHeader> {
    let log = if row.get_ref(6)? == ValueRef::Null { None } else { Some(log_name(row, 6)?) };
    Ok(MailHeader {
        seq: unsigned(row, 0)?,
        id: parsed(row, 1)?,
        kind: log.as_ref().map_or(MessageKind::Direct, LogName::kind),
        from: parsed(row, 2)?,
        group: log.as_ref().and_then(LogName::group).cloned(),
        sent_at: time(row, 3)?,
        kept_at: time(row, 4)?,
        to: row.get::<_, Option<Parsed<Name>>>(5)?.map(|name| name.0),
        position: unsigned(row, 7)?,
        recipients: usize::try_from(unsigned(row, 8)?).map_err(|why| invalid(8, why))?,
        text_bytes,
    })
}

fn run(db: &Connection, sql: &str, values: impl Params) -> rusqlite::Result<()> {
    db.prepare_cached(sql)?.execute(values).map(|_| ())
}

fn all<T>(mut query: CachedStatement<'_>, read: fn(&Row<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<Vec<T>> {
    query.query_map([], read)?.collect()
}

/// Converts to SQLite's integers, which end at 2^63 - 1. No server reaches that number.
fn number(seq: u64) -> rusqlite::Result<i64> {
    i64::try_from(seq).map_err(|why| Error::ToSqlConversionFailure(why.into()))
}

/// The name of a log on disk.
fn log_word(log: &LogName) -> &str {
    log.group().map_or("", Name::as_str)
}

fn log_name(row: &Row<'_>, column: usize) -> rusqlite::Result<LogName> {
    match row.get_ref(column)?.as_str()? {
        "" => Ok(LogName::Channel),
        _ => parsed(row, column).map(LogName::Group),
    }
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|why| invalid(column, why))
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_micros)
}

/// A text column, parsed with `FromStr`.
struct Parsed<T>(T);

impl<T: FromStr<Err: std::error::Error + Send + Sync + 'static>> FromSql for Parsed<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Parsed).map_err(FromSqlError::other)
    }
}

fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<T> {
    row.get::<_, Parsed<T>>(column).map(|parsed| parsed.0)
}

/// The error for a value that this program never writes.
fn invalid(column: usize, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, why.into())
}
