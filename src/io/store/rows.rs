//! Converts records to rows and back. Only this module and the schema know the columns.
//!
//! Reading is strict: a value that this program would not write is an error.

use std::collections::BTreeSet;
use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{CachedStatement, Connection, Error, OptionalExtension, Params, Row, params};

use crate::proto::event::MessageKind;
use crate::proto::name::Name;
use crate::proto::record::{GroupRecord, Mail, MailHeader, NameRecord, PersistedState, Receipt, Record};
use crate::proto::text::Text;
use crate::proto::time::Timestamp;

/// Approximate size of a record without its text and its list of names, in bytes.
const ROW_BYTES: usize = 200;

/// Approximate size of a record in memory and on disk, in bytes.
pub(super) fn weight(record: &Record) -> usize {
    let names = |names: &BTreeSet<Name>| names.len() * (Name::MAX + 3);
    ROW_BYTES
        + match record {
            Record::Mail(mail) => mail.header.text_bytes + names(&mail.header.undelivered_to),
            Record::Delivered { undelivered_to, .. } => names(undelivered_to),
            Record::Name(_) | Record::NameRemoved(_) | Record::Group(_) | Record::ReceiptGone { .. } => 0,
        }
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
        Record::NameRemoved(name) => run(db, "DELETE FROM names WHERE name = ?1", params![name.as_str()]),
        Record::Group(row) => run(
            db,
            "INSERT INTO groups (name, creator, life, request) VALUES (?1, ?2, ?3, ?4)",
            params![row.group.as_str(), row.creator.as_str(), row.incarnation.to_string(), row.request.to_string()],
        ),
        Record::Mail(mail) => write_mail(db, mail),
        Record::Delivered { seq, undelivered_to, receipt } => {
            if undelivered_to.is_empty() {
                run(db, "DELETE FROM mail WHERE seq = ?1", params![number(*seq)?])?;
            } else {
                let row = params![number(*seq)?, array(undelivered_to)?];
                run(db, "UPDATE mail SET lacking = ?2 WHERE seq = ?1", row)?;
            }
            receipt.as_ref().map_or(Ok(()), |receipt| write_receipt(db, receipt))
        }
        Record::ReceiptGone { seq } => run(db, "DELETE FROM receipts WHERE seq = ?1", params![number(*seq)?]),
    }
}

fn write_mail(db: &Connection, mail: &Mail) -> rusqlite::Result<()> {
    let header = &mail.header;
    run(
        db,
        "INSERT INTO mail (seq, id, kind, sender, grp, sent_at, kept_at, lacking, text)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            number(header.seq)?,
            header.id.to_string(),
            word(header.kind),
            header.from.as_str(),
            header.group.as_ref().map(Name::as_str),
            header.sent_at.micros(),
            header.kept_at.micros(),
            array(&header.undelivered_to)?,
            mail.text.as_str(),
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

/// Reads the messages with these numbers, in this order. Numbers without a message are skipped.
pub(super) fn fetch(db: &Connection, seqs: &[u64]) -> rusqlite::Result<Vec<Mail>> {
    let mut query = db.prepare_cached(
        "SELECT seq, id, kind, sender, grp, sent_at, kept_at, lacking, text FROM mail WHERE seq = ?1",
    )?;
    let mut found = Vec::new();
    for seq in seqs {
        let Ok(seq) = i64::try_from(*seq) else { continue };
        found.extend(query.query_row([seq], read_mail).optional()?);
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
            db.prepare_cached(
                "SELECT seq, id, kind, sender, grp, sent_at, kept_at, lacking, octet_length(text) FROM mail ORDER BY seq",
            )?,
            read_stored_header,
        )?,
        receipts: all(
            db.prepare_cached("SELECT seq, owner, id, reader, kept_at FROM receipts ORDER BY seq")?,
            |row| {
                Ok(Receipt {
                    seq: seq(row, 0)?,
                    owner: parsed(row, 1)?,
                    id: parsed(row, 2)?,
                    reader: parsed(row, 3)?,
                    kept_at: time(row, 4)?,
                })
            },
        )?,
        last_seq: db
            .query_row("SELECT seq FROM sqlite_sequence WHERE name = 'mail'", [], |row| seq(row, 0))
            .optional()?
            .unwrap_or(0),
    })
}

fn read_mail(row: &Row<'_>) -> rusqlite::Result<Mail> {
    let text = Text::new(row.get_ref(8)?.as_str().map_err(|why| invalid(8, why))?).map_err(|why| invalid(8, why))?;
    Ok(Mail::new(read_header(row, text.as_str().len())?, text))
}

/// The header of a message whose text stays on disk.
fn read_stored_header(row: &Row<'_>) -> rusqlite::Result<MailHeader> {
    let bytes: usize = usize::try_from(row.get::<_, i64>(8)?).map_err(|why| invalid(8, why))?;
    if !(1..=Text::MAX).contains(&bytes) {
        return Err(invalid(8, format!("A kept message must have 1 to {} bytes, and one has {bytes}", Text::MAX)));
    }
    read_header(row, bytes)
}

fn read_header(row: &Row<'_>, text_bytes: usize) -> rusqlite::Result<MailHeader> {
    Ok(MailHeader {
        seq: seq(row, 0)?,
        id: parsed(row, 1)?,
        kind: kind(row, 2)?,
        from: parsed(row, 3)?,
        group: row.get::<_, Option<Parsed<Name>>>(4)?.map(|name| name.0),
        sent_at: time(row, 5)?,
        kept_at: time(row, 6)?,
        undelivered_to: names(row, 7)?,
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

fn array(names: &BTreeSet<Name>) -> rusqlite::Result<String> {
    serde_json::to_string(names).map_err(|why| Error::ToSqlConversionFailure(why.into()))
}

fn word(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Direct => "direct",
        MessageKind::Channel => "channel",
        MessageKind::Group => "group",
    }
}

fn kind(row: &Row<'_>, column: usize) -> rusqlite::Result<MessageKind> {
    let found: String = row.get(column)?;
    let kinds = [MessageKind::Direct, MessageKind::Channel, MessageKind::Group];
    let sentence = || invalid(column, format!("A message is direct, channel or group, and one is {found:?}"));
    kinds.into_iter().find(|kind| word(*kind) == found).ok_or_else(sentence)
}

fn names(row: &Row<'_>, column: usize) -> rusqlite::Result<BTreeSet<Name>> {
    let found: String = row.get(column)?;
    serde_json::from_str(&found).map_err(|why| invalid(column, why))
}

fn seq(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
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
