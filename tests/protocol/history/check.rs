//! Checks the conditions that must hold in every history.

mod recipients;

use std::collections::{BTreeMap, BTreeSet};

use chat::proto::event::client::ClientEvent;
use chat::proto::event::reason::{OfflineReason, Problem};
use chat::proto::event::server::ServerEvent;
use chat::proto::event::{Body, ClientInfo, Event, MessageKind};
use chat::proto::id::{Incarnation, MessageId};
use chat::proto::record::{Mail, Record};
use chat::proto::time::Instant;
use chat::sim::simulation::SERVER;

use crate::history::check::recipients::StoredMessage;
use crate::history::{ClientRun, History, RunEnd, TestClient};

/// A message as one run of its reader displayed it.
struct DisplayedMessage<'a> {
    kind: MessageKind,
    id: MessageId,
    stored: bool,
    /// Whether it was displayed inside a group.
    in_group: bool,
    at: Instant,
    from: &'a str,
    text: &'a str,
}

/// The log of one run of a client.
struct RunLog<'a> {
    actor: &'a TestClient,
    run: &'a ClientRun,
    last: bool,
    log: &'a [(Instant, Event)],
    shown: Vec<DisplayedMessage<'a>>,
}

/// All faults of a history, one sentence each.
pub fn faults(history: &History) -> Vec<String> {
    let seen = runs(history);
    let mut faults = Vec::new();
    let kept = kept(history);
    nothing_is_left(history, &mut faults);
    for seen in &seen {
        each_command_has_its_outcome(seen, &mut faults);
        messages_are_what_was_typed(history, seen, &mut faults);
        each_message_is_shown_once(seen, &mut faults);
        direct_messages_are_in_order(seen, &mut faults);
        messages_from_the_server_are_in_order(history, seen, &mut faults);
        offline_clients_display_no_message(seen, &mut faults);
        limits_are_kept(history, seen, &mut faults);
    }
    let stored = recipients::stored(history);
    let displayed = displayed(&seen);
    promises_are_kept(&seen, &kept, &stored, &displayed, &mut faults);
    recipients::display_or_are_told(history, &seen, &stored, &displayed, &mut faults);
    nobody_goes_offline_alone(history, &seen, &mut faults);
    receipts_are_true(history, &seen, &kept, &mut faults);
    the_creator_of_a_group_gets_a_confirmation(history, &seen, &mut faults);
    last_words_were_direct(history, &seen, &mut faults);
    tables_converge(history, &seen, &mut faults);
    faults
}

fn runs(history: &History) -> Vec<RunLog<'_>> {
    let mut all = Vec::new();
    for actor in &history.actors {
        let log = history.sim.log(actor.index);
        for (at, run) in actor.runs.iter().enumerate() {
            let until = actor.runs.get(at + 1).map_or(log.len(), |next| next.log_from);
            let log = &log[run.log_from..until];
            let shown = log.iter().filter_map(|(at, event)| shown(*at, event)).collect();
            all.push(RunLog { actor, run, last: at + 1 == actor.runs.len(), log, shown });
        }
    }
    all
}

fn client_event(event: &Event) -> Option<&ClientEvent> {
    match &event.body {
        Body::Client(event) => Some(event),
        Body::Server(_) | Body::Trace(_) => None,
    }
}

fn shown(at: Instant, event: &Event) -> Option<DisplayedMessage<'_>> {
    match client_event(event)? {
        ClientEvent::Message { kind, from, text, id, stored, .. } => Some(DisplayedMessage {
            kind: *kind,
            id: *id,
            stored: stored.is_some(),
            in_group: event.group.is_some(),
            at,
            from: from.as_str(),
            text: text.as_str(),
        }),
        _ => None,
    }
}

/// All messages that were ever on the server's disk.
fn kept(history: &History) -> BTreeMap<MessageId, &Mail> {
    mail(history).map(|mail| (mail.header.id, mail)).collect()
}

fn mail(history: &History) -> impl Iterator<Item = &Mail> {
    let records = history.sim.disk_history().iter();
    records.filter_map(|record| if let Record::Mail(mail) = record { Some(mail) } else { None })
}

fn nothing_is_left(history: &History, faults: &mut Vec<String>) {
    if !history.sim.is_idle() {
        let busy =
            |actor: &&TestClient| history.sim.client_machine(actor.index).is_some_and(|client| !client.is_idle());
        let busy: Vec<&str> = history.present().iter().filter(busy).map(|actor| actor.name.as_str()).collect();
        let server = history.sim.server_machine().is_some_and(|server| !server.is_idle());
        faults.push(format!("the world does not come to rest: server {server}, clients {busy:?}"));
    }
    for actor in history.present() {
        match history.sim.client_machine(actor.index) {
            None => faults.push(format!("{} does not run at the end", actor.name)),
            Some(client) if client.unsettled() > 0 => {
                faults.push(format!("{}: {} commands without outcome", actor.name, client.unsettled()));
            }
            Some(_) => {}
        }
    }
    let (mail, receipts) = history.sim.disk_holds();
    if mail + receipts > 0 {
        faults.push(format!("{mail} messages and {receipts} receipts stay on disk although everybody is online"));
    }
}

/// After everything is healed, direct messages go from client to client.
fn last_words_were_direct(history: &History, seen: &[RunLog<'_>], faults: &mut Vec<String>) {
    for text in &history.last_words {
        let live = |seen: &&RunLog<'_>| seen.shown.iter().any(|message| message.text == text && !message.stored);
        if seen.iter().filter(live).count() != 1 {
            faults.push(format!("{:.20} did not come live", text));
        }
    }
    // The rows of a partial table may be stale.
    if has_partial_tables(history) {
        return;
    }
    // If several clients had the same name, a receipt may have gone to another one. Then a message takes longer.
    let alone = |seen: &&RunLog<'_>| history.actors.iter().filter(|actor| actor.name == seen.actor.name).count() == 1;
    for seen in seen.iter().filter(|seen| seen.last).filter(alone) {
        let lacked = |event: &Event| matches!(client_event(event), Some(ClientEvent::NoAck { .. }));
        for (at, _) in seen.log.iter().filter(|(at, event)| *at >= history.well_since && lacked(event)) {
            faults.push(format!("{} at {at:?}: no acknowledgement although all is well", seen.actor.name));
        }
    }
}

fn has_partial_tables(history: &History) -> bool {
    let is_report =
        |event: &Event| matches!(event.body, Body::Server(ServerEvent::Warning { code: Problem::PartialTables, .. }));
    history.sim.log(SERVER).iter().any(|(_, event)| is_report(event))
}

fn each_command_has_its_outcome(seen: &RunLog<'_>, faults: &mut Vec<String>) {
    let mut done: BTreeMap<u64, u32> = BTreeMap::new();
    for (at, event) in seen.log {
        let Some(cmd) = event.cmd else { continue };
        if done.contains_key(&cmd) {
            faults.push(format!("{} at {at:?}: command {cmd} goes on after its outcome: {event:?}", seen.actor.name));
        }
        if matches!(client_event(event), Some(ClientEvent::Done { .. })) {
            *done.entry(cmd).or_default() += 1;
        }
    }
    if seen.run.end == RunEnd::ByItself {
        for cmd in (1..=seen.run.typed).filter(|cmd| !done.contains_key(cmd)) {
            faults.push(format!("{}: command {cmd} of {} has no outcome", seen.actor.name, seen.run.typed));
        }
    }
}

/// A command that reports an existing group did not itself create that group.
fn the_creator_of_a_group_gets_a_confirmation(history: &History, seen: &[RunLog<'_>], faults: &mut Vec<String>) {
    let mut reports: BTreeMap<String, usize> = BTreeMap::new();
    for (_, event) in seen.iter().flat_map(|seen| seen.log) {
        if let Some(ClientEvent::GroupExists { group }) = client_event(event) {
            *reports.entry(format!("create_group {group}")).or_default() += 1;
        }
    }
    for (command, count) in reports {
        let typed = history.script.iter().filter(|(_, line)| line.ends_with(&command)).count();
        if count >= typed {
            faults.push(format!("{command}, typed {typed} times, found the group there {count} times"));
        }
    }
}

fn messages_are_what_was_typed(history: &History, seen: &RunLog<'_>, faults: &mut Vec<String>) {
    for message in &seen.shown {
        let fits = history.texts.get(message.text).is_some_and(|typed| {
            let direct = message.kind == MessageKind::Direct;
            typed.from == message.from
                && typed.to.is_some() == direct
                && (!direct || typed.to.as_ref() == Some(&seen.actor.name))
        });
        if !fits {
            faults.push(format!("{} was shown what nobody typed: {:.80}", seen.actor.name, message.text));
        }
    }
}

fn each_message_is_shown_once(seen: &RunLog<'_>, faults: &mut Vec<String>) {
    let mut ids = BTreeSet::new();
    for message in &seen.shown {
        if !ids.insert(message.id) {
            faults.push(format!("{} at {:?}: shown twice: {:.20}", seen.actor.name, message.at, message.text));
        }
    }
}

fn direct_messages_are_in_order(seen: &RunLog<'_>, faults: &mut Vec<String>) {
    let mut last: BTreeMap<Incarnation, (u64, &str)> = BTreeMap::new();
    // A direct message is displayed inside a group only when the limit of held messages is reached. It is displayed
    // before the held ones.
    for message in seen.shown.iter().filter(|message| message.kind == MessageKind::Direct && !message.in_group) {
        let (number, text) = last.insert(message.id.incarnation, (message.id.number, message.text)).unwrap_or((0, ""));
        if number > message.id.number {
            let (name, from) = (&seen.actor.name, message.from);
            faults.push(format!("{name} at {:?}: {from}'s {:.20} came after {text:.20}", message.at, message.text));
        }
    }
}

fn messages_from_the_server_are_in_order(history: &History, seen: &RunLog<'_>, faults: &mut Vec<String>) {
    // A restarted server may accept a message a second time if its sender did not get the first answer.
    let mut places: BTreeMap<MessageId, BTreeSet<u64>> = BTreeMap::new();
    for mail in mail(history) {
        places.entry(mail.header.id).or_default().insert(mail.header.seq);
    }
    let mut last = 0;
    let passed_on = |message: &&DisplayedMessage<'_>| message.kind != MessageKind::Direct || message.stored;
    for message in seen.shown.iter().filter(passed_on) {
        let Some(places) = places.get(&message.id) else {
            faults.push(format!("{}: {:.20} was passed on and never kept", seen.actor.name, message.text));
            continue;
        };
        match places.range(last..).next() {
            Some(place) => last = *place,
            None => {
                faults.push(format!("{} at {:?}: {:.20} is out of order", seen.actor.name, message.at, message.text));
            }
        }
    }
}

fn offline_clients_display_no_message(seen: &RunLog<'_>, faults: &mut Vec<String>) {
    let mut offline = None;
    for (at, event) in seen.log {
        match client_event(event) {
            Some(ClientEvent::Offline { .. }) => offline = Some(*at),
            Some(ClientEvent::Registered { .. }) => offline = None,
            // Messages held in a group are displayed at the same moment, after this event.
            Some(ClientEvent::Message { text, .. }) if offline.is_some_and(|since| since < *at) => {
                faults.push(format!("{} at {at:?}: shown while offline: {:.20}", seen.actor.name, text.as_str()));
            }
            _ => {}
        }
    }
}

fn limits_are_kept(history: &History, seen: &RunLog<'_>, faults: &mut Vec<String>) {
    if history.held_up.is_some() {
        return;
    }
    for (at, event) in seen.log {
        if let Some(ClientEvent::Delivered { rtt_ms, .. }) = client_event(event)
            && *rtt_ms > 500.0
        {
            faults.push(format!("{} at {at:?}: acknowledged after {rtt_ms} ms", seen.actor.name));
        }
    }
}

/// The messages that each client displayed in any of its runs, by name.
fn displayed<'a>(seen: &[RunLog<'a>]) -> BTreeSet<(&'a str, MessageId)> {
    let of_run = |seen: &RunLog<'a>| {
        let name = seen.actor.name.as_str();
        seen.shown.iter().map(|message| (name, message.id)).collect::<Vec<_>>()
    };
    seen.iter().flat_map(of_run).collect()
}

/// A message that was received or saved is displayed by its reader. One that was accepted is on disk.
fn promises_are_kept(
    seen: &[RunLog<'_>],
    kept: &BTreeMap<MessageId, &Mail>,
    stored: &[StoredMessage<'_>],
    displayed: &BTreeSet<(&str, MessageId)>,
    faults: &mut Vec<String>,
) {
    // A killed group member loses the messages that it held.
    let may_have_held = |name: &str| {
        seen.iter().any(|seen| seen.actor.name == name && seen.run.joined && seen.run.end == RunEnd::Killed)
    };
    for seen in seen {
        for (at, event) in seen.log {
            let (name, promise) = (&seen.actor.name, client_event(event));
            match promise {
                Some(ClientEvent::Delivered { to, id, .. })
                    if !displayed.contains(&(to.as_str(), *id)) && !may_have_held(to.as_str()) =>
                {
                    faults.push(format!("{name} at {at:?}: {to} received {id} and was never shown it"));
                }
                Some(ClientEvent::Saved { to, id })
                    if kept.get(id).is_none_or(|mail| mail.header.reader() != Some(to)) =>
                {
                    faults.push(format!("{name} at {at:?}: {id} was saved and is not on disk"));
                }
                Some(ClientEvent::Accepted { id, recipients, .. }) if *recipients > 0 && !kept.contains_key(id) => {
                    faults.push(format!("{name} at {at:?}: {id} was accepted and is not on disk"));
                }
                _ => {}
            }
        }
    }
    for StoredMessage { mail, readers, is_for_everybody } in stored {
        if mail.header.kind == MessageKind::Channel && !is_for_everybody {
            faults.push(format!("{:.20} is not for everybody", mail.text.as_str()));
        }
        for reader in readers.iter().filter(|_| mail.header.kind == MessageKind::Direct) {
            let is_displayed = displayed.contains(&(reader.as_str(), mail.header.id));
            if !is_displayed && !may_have_held(reader.as_str()) {
                faults.push(format!("{reader} was never shown the kept {:.20}", mail.text.as_str()));
            }
        }
    }
}

/// In a crowd, slow readers and full paths are no reason to report a client offline, or the server unreachable.
fn nobody_goes_offline_alone(history: &History, seen: &[RunLog<'_>], faults: &mut Vec<String>) {
    if !history.is_crowd || history.server_killed {
        return;
    }
    for seen in seen {
        let is_report = |event: &Event| matches!(client_event(event), Some(ClientEvent::ServerUnreachable { .. }));
        for (at, _) in seen.log.iter().filter(|(_, event)| is_report(event)) {
            faults.push(format!("{} at {at:?}: no server although it ran", seen.actor.name));
        }
    }
    for (at, event) in history.sim.log(SERVER) {
        let Body::Server(ServerEvent::ClientOffline { name, reason: OfflineReason::Silent }) = &event.body else {
            continue;
        };
        let was_killed = |actor: &TestClient| actor.runs.iter().any(|run| run.end != RunEnd::ByItself);
        if !history.actors.iter().any(|actor| actor.name == name.as_str() && was_killed(actor)) {
            faults.push(format!("{name} was reported silent at {at:?} although it ran"));
        }
    }
}

fn receipts_are_true(
    history: &History,
    seen: &[RunLog<'_>],
    kept: &BTreeMap<MessageId, &Mail>,
    faults: &mut Vec<String>,
) {
    let mut receipts: BTreeMap<MessageId, u32> = BTreeMap::new();
    for run in seen {
        let mut here = BTreeSet::new();
        for (at, event) in run.log {
            let Some(ClientEvent::Receipt { to, id, .. }) = client_event(event) else { continue };
            *receipts.entry(*id).or_default() += 1;
            if !here.insert(*id) {
                faults.push(format!("{} at {at:?}: a second receipt for {id}", run.actor.name));
            }
            let shown = |other: &RunLog<'_>| {
                let early = other.shown.iter().any(|message| message.id == *id && message.at <= *at);
                other.actor.name == to.as_str() && (early || other.run.joined)
            };
            if !seen.iter().any(shown) {
                faults.push(format!("{} at {at:?}: a receipt for {id}, which {to} was not shown", run.actor.name));
            }
        }
    }
    for mail in kept.values().filter(|mail| mail.header.kind == MessageKind::Direct) {
        match receipts.get(&mail.header.id) {
            None => faults.push(format!("no receipt for {:.20}", mail.text.as_str())),
            // A run may have displayed a receipt and ended before its acknowledgement arrived.
            Some(2..) if !history.server_killed && !history.ended_unheard(mail.header.from.as_str()) => {
                faults.push(format!("more than one receipt for {:.20}", mail.text.as_str()));
            }
            Some(_) => {}
        }
    }
}

fn tables_converge(history: &History, seen: &[RunLog<'_>], faults: &mut Vec<String>) {
    let server = history.sim.log(SERVER).iter().rev().find_map(|(_, event)| match &event.body {
        Body::Server(ServerEvent::Clients { clients, .. }) => Some(clients),
        _ => None,
    });
    let Some(expected) = server else {
        return faults.push("the server shows no table".to_owned());
    };
    let offline: Vec<&ClientInfo> = expected.iter().filter(|row| !row.online).collect();
    if !offline.is_empty() {
        faults.push(format!("still offline at the end: {offline:?}"));
    }
    let present: Vec<&str> = history.present().iter().map(|actor| actor.name.as_str()).collect();
    for seen in seen.iter().filter(|seen| seen.last && present.contains(&seen.actor.name.as_str())) {
        let own = seen.log.iter().rev().find_map(|(_, event)| match client_event(event) {
            Some(ClientEvent::Clients { partial, clients, .. }) => Some((*partial, clients)),
            _ => None,
        });
        let is_original = history.present().iter().any(|actor| actor.index == seen.actor.index);
        // A partial table has at least the client's own row. Other rows may be stale.
        let is_right = own.is_some_and(|(partial, own)| {
            let is_own = |row: &&ClientInfo| row.name.as_str() == seen.actor.name;
            if partial { own.iter().find(is_own) == expected.iter().find(is_own) } else { own == expected }
        });
        if is_original && !is_right {
            faults.push(format!("{} has another table: {own:?} instead of {expected:?}", seen.actor.name));
        }
    }
}
