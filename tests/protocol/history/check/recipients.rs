//! Recipients: who must get each stored message, from the records on disk, and whether each reader of a log displayed
//! its messages or was told that they were dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chat::proto::event::MessageKind;
use chat::proto::event::client::ClientEvent;
use chat::proto::id::MessageId;
use chat::proto::name::Name;
use chat::proto::record::{CursorRecord, IntervalKey, LogName, Mail, Record};

use crate::history::History;
use crate::history::check::{RunLog, client_event};

/// The longest time from the display of a message to the arrival of its acknowledgement. Within it, a client that goes
/// offline may have displayed messages of which the server counts some as dropped later.
const UNHEARD: Duration = Duration::from_secs(5);

/// A message that was written to disk.
pub struct StoredMessage<'a> {
    pub mail: &'a Mail,
    /// The clients that must get it.
    pub readers: BTreeSet<&'a Name>,
    /// Whether these are all names except its sender.
    pub is_for_everybody: bool,
}

/// All messages that were ever written to disk, in order.
pub fn stored(history: &History) -> Vec<StoredMessage<'_>> {
    let mut all = Vec::new();
    let mut names = BTreeSet::new();
    let mut cursors: BTreeMap<(&Name, &IntervalKey), &CursorRecord> = BTreeMap::new();
    for record in history.sim.disk_history() {
        match record {
            Record::Name(row) => {
                names.insert(&row.name);
            }
            Record::Cursor(cursor) => {
                cursors.insert((&cursor.reader, &cursor.key), cursor);
            }
            Record::CursorRemoved { reader, key } => {
                cursors.remove(&(reader, key));
            }
            Record::NameRemoved(name) => cursors.retain(|(reader, _), _| *reader != name),
            Record::Mail(mail) => {
                let readers: BTreeSet<&Name> = match mail.header.log() {
                    None => mail.header.reader().into_iter().collect(),
                    Some(log) => {
                        let position = mail.header.position;
                        let reads = |cursor: &&&CursorRecord| {
                            let IntervalKey { log: own, joined } = &cursor.key;
                            *own == log && *joined <= position && cursor.end.is_none_or(|end| position < end)
                        };
                        let readers = cursors.values().filter(reads).map(|cursor| &cursor.reader);
                        readers.filter(|reader| **reader != mail.header.from).collect()
                    }
                };
                let everybody = names.iter().copied().filter(|name| **name != mail.header.from);
                let is_for_everybody = everybody.eq(readers.iter().copied());
                all.push(StoredMessage { mail, readers, is_for_everybody });
            }
            _ => {}
        }
    }
    all
}

/// Each reader of a log displayed its messages or was told how many were dropped.
pub fn display_or_are_told(
    history: &History,
    seen: &[RunLog<'_>],
    stored: &[StoredMessage<'_>],
    displayed: &BTreeSet<(&str, MessageId)>,
    faults: &mut Vec<String>,
) {
    let mut due: BTreeMap<(&str, LogName), BTreeSet<MessageId>> = BTreeMap::new();
    for StoredMessage { mail, readers, .. } in stored {
        let Some(log) = mail.header.log() else { continue };
        for reader in readers {
            due.entry((reader.as_str(), log.clone())).or_default().insert(mail.header.id);
        }
    }
    let mut dropped: BTreeMap<(&str, LogName), usize> = BTreeMap::new();
    for seen in seen {
        for (_, event) in seen.log {
            let Some(ClientEvent::MessagesDropped { group, count, .. }) = client_event(event) else { continue };
            let log = group.clone().map_or(LogName::Channel, LogName::Group);
            let key = (seen.actor.name.as_str(), log);
            due.entry(key.clone()).or_default();
            *dropped.entry(key).or_default() += usize::try_from(*count).expect("a number of messages");
        }
    }
    for (key, ids) in &due {
        let (reader, log) = key;
        let (all, dropped) = (ids.len(), dropped.get(key).copied().unwrap_or_default());
        let shown = ids.iter().filter(|id| displayed.contains(&(*reader, **id))).count();
        let is_exact = !history.server_killed && runs_of(seen, reader).count() == 1;
        let again = || runs_of(seen, reader).map(unheard).sum::<usize>();
        if shown + dropped < all || (is_exact && shown + dropped > all + again()) {
            faults.push(format!("{reader} was shown {shown} and told of {dropped} of {all} messages of {log:?}"));
        }
    }
}

fn runs_of<'a, 'b>(seen: &'a [RunLog<'b>], name: &'a str) -> impl Iterator<Item = &'a RunLog<'b>> {
    seen.iter().filter(move |seen| seen.actor.name == name)
}

/// The number of messages to many whose acknowledgement may have been lost when the client went offline.
fn unheard(seen: &RunLog<'_>) -> usize {
    let is_offline = |event| matches!(client_event(event), Some(ClientEvent::Offline { .. }));
    let ends: Vec<_> = seen.log.iter().filter(|(_, event)| is_offline(event)).map(|(at, _)| *at).collect();
    let may_be_unheard = |at| ends.iter().any(|end| at <= *end && end.since(at) <= UNHEARD);
    let to_many = seen.shown.iter().filter(|message| message.kind != MessageKind::Direct);
    to_many.filter(|message| may_be_unheard(message.at)).count()
}
