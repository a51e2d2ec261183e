//! A snapshot test of every event, as JSON and as display text. The snapshot is `tests/data/events.txt`.
//!
//! `BLESS=1 cargo test --test protocol events::` rewrites the snapshot.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chat::proto::event::client::{ClientEvent, ClientEventKind, CommandHelp};
use chat::proto::event::reason::{DropReason, FaultKind, OfflineReason, Problem, Reason, RemovalReason, RequestWord};
use chat::proto::event::server::{ServerEvent, ServerEventKind, WaitingMail};
use chat::proto::event::trace::{PacketNumber, TraceEvent, TraceEventKind};
use chat::proto::event::{Body, ClientInfo, Event, MessageKind};
use chat::proto::id::{Incarnation, MessageId};
use chat::proto::name::Name;
use chat::proto::text::Text;
use chat::proto::time::Timestamp;
use strum::IntoEnumIterator as _;

/// Defines the name of an event's variant and the list of all variants. With a new variant, the tests do not compile
/// until it is in the list, and fail until there is a sample of it.
macro_rules! variants {
    ($kind:ident, $all:ident: $event:ident { $($variant:ident)* }) => {
        fn $kind(event: &$event) -> &'static str {
            match event {
                $($event::$variant { .. } => stringify!($variant)),*
            }
        }
        const $all: &[&str] = &[$(stringify!($variant)),*];
    };
}

variants!(client_kind, CLIENT: ClientEvent {
    Started Registered Refused Table Clients Message Mail MessagesDropped Receipt Delivered NoAck Saved ClientExists Accepted
    GroupCreated GroupExists Joined NoSuchGroup Groups Members Left Removed Offline Retry ServerUnreachable
    Warning Error Help Done Exit
});

variants!(server_kind, SERVER: ServerEvent {
    Listening Loaded ClientRegistered ClientOffline Table Saved MailDelivered GroupCreated Joined Groups Members Left
    Removed Accepted Rejected Clients Mail Stats Help Warning Error Exit
});

variants!(trace_kind, TRACE: TraceEvent { Sent Received Dropped Fault });

fn name(word: &str) -> Name {
    word.parse().unwrap()
}

fn names(words: &[&str]) -> Vec<Name> {
    words.iter().map(|word| name(word)).collect()
}

fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

fn id() -> MessageId {
    MessageId { incarnation: incarnation(), number: 7 }
}

fn incarnation() -> Incarnation {
    Incarnation(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef)
}

fn rows() -> Vec<ClientInfo> {
    let row = |name: &str, addr: &str, online| ClientInfo { name: self::name(name), addr: addr.to_owned(), online };
    vec![row("x", "127.0.0.1:9001", true), row("longer", "[::1]:9002", false)]
}

fn message(kind: MessageKind, stored: bool, group: Option<&str>) -> ClientEvent {
    ClientEvent::Message {
        kind,
        from: name("y"),
        text: text("a \"b\"\n>>> [c]"),
        id: id(),
        sent_at: "2026-01-02T03:04:05.000006Z".to_owned(),
        stored: stored.then(|| "2026-01-02T03:04:06Z".to_owned()),
        group: group.map(name),
    }
}

fn client_events() -> Vec<ClientEvent> {
    let (addr, server) = ("0.0.0.0:9001".to_owned(), "localhost:8888".to_owned());
    let started =
        |free_port| ClientEvent::Started { server: server.clone(), addr: addr.clone(), release: "0.1.0", free_port };
    let mut events = vec![
        started(None),
        started(Some(9001)),
        ClientEvent::Registered { name: name("x") },
        ClientEvent::Table {
            partial: false,
            version: 3,
            incarnation: incarnation(),
            changed: rows(),
            total: 2,
            online_count: 1,
        },
        ClientEvent::Clients { partial: false, version: 3, clients: rows() },
        ClientEvent::Clients { partial: false, version: 0, clients: vec![] },
        message(MessageKind::Direct, false, None),
        message(MessageKind::Direct, true, None),
        message(MessageKind::Channel, false, None),
        message(MessageKind::Channel, true, None),
        message(MessageKind::Group, false, Some("g")),
        message(MessageKind::Group, true, Some("g")),
        ClientEvent::Mail { count: 3 },
        ClientEvent::MessagesDropped { kind: MessageKind::Channel, group: None, count: 12 },
        ClientEvent::MessagesDropped { kind: MessageKind::Group, group: Some(name("g")), count: 1 },
        ClientEvent::Receipt { to: name("y"), id: id(), kept_at: "2026-01-02T03:04:06Z".to_owned() },
        ClientEvent::Delivered { to: name("y"), id: id(), attempts: 2, rtt_ms: 20.5 },
        ClientEvent::NoAck { to: name("y"), id: id() },
        ClientEvent::Saved { to: name("y"), id: id() },
        ClientEvent::ClientExists { name: name("y") },
        ClientEvent::Accepted { kind: MessageKind::Channel, id: id(), recipients: 2 },
        ClientEvent::Accepted { kind: MessageKind::Group, id: id(), recipients: 0 },
        ClientEvent::GroupCreated { group: name("g") },
        ClientEvent::GroupExists { group: name("g") },
        ClientEvent::Joined { group: name("g") },
        ClientEvent::NoSuchGroup { group: name("g") },
        ClientEvent::Groups { groups: vec![] },
        ClientEvent::Groups { groups: names(&["g", "h"]) },
        ClientEvent::Members { group: name("g"), members: vec![] },
        ClientEvent::Members { group: name("g"), members: names(&["x", "y"]) },
        ClientEvent::Left { group: name("g") },
        ClientEvent::Offline { name: name("x"), reason: OfflineReason::Dereg },
        ClientEvent::Help { commands: vec![] },
        ClientEvent::Help {
            commands: vec![
                CommandHelp { usage: "send NAME TEXT".to_owned(), does: "Send a direct message." },
                CommandHelp { usage: "exit".to_owned(), does: "Leave." },
            ],
        },
        ClientEvent::Done { ok: true, reason: None },
        ClientEvent::Exit { status: 0, shown: false },
        ClientEvent::Exit { status: 3, shown: true },
    ];
    let refusals = [Reason::NameInUse, Reason::ServerFull, Reason::Refused];
    events.extend(refusals.map(|reason| ClientEvent::Refused { name: name("x"), reason, definite: true }));
    let removals = [
        RemovalReason::RegisteredAgain,
        RemovalReason::Refused(Reason::NameInUse),
        RemovalReason::Refused(Reason::ServerFull),
        RemovalReason::Refused(Reason::Refused),
    ];
    events.extend(removals.map(|reason| ClientEvent::Removed { group: name("g"), reason }));
    let requests = [
        RequestWord::Reg,
        RequestWord::Dereg,
        RequestWord::Send,
        RequestWord::SendAll,
        RequestWord::Lookup,
        RequestWord::CreateGroup,
        RequestWord::ListGroups,
        RequestWord::JoinGroup,
        RequestWord::SendGroup,
        RequestWord::ListMembers,
        RequestWord::LeaveGroup,
    ];
    events.extend(requests.map(|what| ClientEvent::Retry { what, attempt: 2, of: 5 }));
    events.extend(requests.map(|what| ClientEvent::ServerUnreachable { what, attempts: 5 }));
    let warnings = [Problem::ServerRestarted, Problem::OutputBlocked];
    events.extend(warnings.map(|code| ClientEvent::Warning { code, message: "A warning.".to_owned(), definite: true }));
    let failures = [
        Reason::BadName,
        Reason::GroupLimit,
        Reason::InvalidCommand,
        Reason::Leaving,
        Reason::MailboxFull,
        Reason::NoSuchClient,
        Reason::NotAMember,
        Reason::NotSaved,
        Reason::NotUtf8,
        Reason::Offline,
        Reason::Rejected,
        Reason::TooLong,
        Reason::TooManyCommands,
        Reason::WrongName,
    ];
    let others = [Problem::Expected, Problem::Script, Problem::Unreadable];
    let errors = failures.map(Problem::Command).into_iter().chain(others);
    events.extend(errors.map(|code| ClientEvent::Error { code, message: "It failed.".to_owned(), definite: false }));
    let silent = [
        Reason::GroupExists,
        Reason::Interrupted,
        Reason::NameInUse,
        Reason::NoSuchGroup,
        Reason::Refused,
        Reason::ServerFull,
        Reason::ServerUnreachable,
    ];
    let reasons = failures.into_iter().chain(silent);
    events.extend(reasons.map(|reason| ClientEvent::Done { ok: false, reason: Some(reason) }));
    events.extend([rows(), vec![]].map(|changed| ClientEvent::Table {
        partial: true,
        version: 3,
        incarnation: incarnation(),
        changed,
        total: 2_000,
        online_count: 1_500,
    }));
    events.push(ClientEvent::Clients { partial: true, version: 3, clients: rows() });
    events
}

fn accepted(kind: MessageKind, group: Option<&str>) -> ServerEvent {
    let (id, from, group, text) = (id(), name("x"), group.map(name), text("hi\nthere"));
    ServerEvent::Accepted { kind, id, from, recipients: 2, group, text }
}

fn server_events() -> Vec<ServerEvent> {
    let mut events = vec![
        ServerEvent::Listening { port: 8888, release: "0.1.0" },
        ServerEvent::Loaded { names: 2, messages: 3, file: "a\nb.db".to_owned() },
        ServerEvent::ClientRegistered { name: name("x"), addr: "127.0.0.1:9001".to_owned() },
        ServerEvent::Table { version: 3, incarnation: incarnation(), changed: rows(), total: 2, online_count: 1 },
        ServerEvent::Saved { to: name("y"), from: name("x"), id: id() },
        ServerEvent::MailDelivered { to: name("y"), from: name("x"), id: id() },
        ServerEvent::GroupCreated { group: name("g"), name: name("x") },
        ServerEvent::Joined { group: name("g"), name: name("x") },
        ServerEvent::Groups { name: Some(name("x")), groups: vec![] },
        ServerEvent::Groups { name: Some(name("x")), groups: names(&["g", "h"]) },
        ServerEvent::Groups { name: None, groups: vec![] },
        ServerEvent::Groups { name: None, groups: names(&["g", "h"]) },
        ServerEvent::Members { group: name("g"), name: name("x"), members: names(&["x", "y"]) },
        ServerEvent::Left { group: name("g"), name: name("x") },
        ServerEvent::Removed { group: name("g"), name: name("x"), reason: RemovalReason::NotResponsive },
        accepted(MessageKind::Channel, None),
        accepted(MessageKind::Group, Some("g")),
        ServerEvent::Clients { version: 3, clients: rows() },
        ServerEvent::Mail { waiting: vec![] },
        ServerEvent::Mail {
            waiting: vec![WaitingMail { name: name("x"), messages: 2 }, WaitingMail { name: name("y"), messages: 1 }],
        },
        ServerEvent::Stats { stats: BTreeMap::from([("accepted", 1), ("datagrams_in", 23)]) },
        ServerEvent::Help { message: "table   Show the table.".to_owned() },
        ServerEvent::Exit { status: 0 },
    ];
    let offline = [OfflineReason::Dereg, OfflineReason::Leave, OfflineReason::Silent];
    events.extend(offline.map(|reason| ServerEvent::ClientOffline { name: name("x"), reason }));
    let rejected =
        |reason, group: Option<&str>| ServerEvent::Rejected { reason, from: name("x"), group: group.map(name) };
    let of_names = [Reason::NameInUse, Reason::OtherName, Reason::ServerFull, Reason::MailboxFull];
    events.extend(of_names.map(|reason| rejected(reason, None)));
    let of_groups = [Reason::GroupExists, Reason::GroupLimit, Reason::NoSuchGroup, Reason::NotSaved];
    events.extend(of_groups.map(|reason| rejected(reason, Some("g"))));
    let warnings = [Problem::MailLost, Problem::NotSaved, Problem::OutputBlocked, Problem::Store];
    events.extend(warnings.map(|code| ServerEvent::Warning { code, message: "A warning.".to_owned(), definite: true }));
    let errors = [Problem::Command(Reason::InvalidCommand), Problem::Store];
    events.extend(errors.map(|code| ServerEvent::Error { code, message: "It failed.".to_owned(), definite: true }));
    let (code, message) = (Problem::PartialTables, "A warning.".to_owned());
    events.push(ServerEvent::Warning { code, message, definite: true });
    events
}

fn trace_events() -> Vec<TraceEvent> {
    let (peer, frame, bytes) = ("127.0.0.1:9002".to_owned(), "msg".to_owned(), 204);
    let (none, number) = (PacketNumber::default(), PacketNumber { link: Some(incarnation()), pn: Some(7) });
    let sent = |copy, number| TraceEvent::Sent { peer: peer.clone(), frame: frame.clone(), bytes, copy, number };
    let mut events = vec![sent(None, none), sent(Some(1), number)];
    events.push(TraceEvent::Received { peer: peer.clone(), frame: frame.clone(), bytes, number });
    let dropped =
        |reason| TraceEvent::Dropped { peer: peer.clone(), frame: frame.clone(), bytes, reason, number: none };
    events.extend(DropReason::iter().map(dropped));
    let fault = |fault| TraceEvent::Fault { peer: peer.clone(), frame: frame.clone(), bytes, fault };
    events.extend([FaultKind::Loss, FaultKind::Drop, FaultKind::Cut].map(fault));
    events
}

/// Writes the samples of one role: each event as JSON, followed by its display text, and checks that none is missing.
fn role(snapshot: &mut String, me: &str, events: Vec<(&'static str, Body)>, all: &[&str]) {
    let mut missing: Vec<&str> = all.to_vec();
    for (seq, (kind, body)) in (1..).zip(events) {
        missing.retain(|name| *name != kind);
        // Every other event has the optional members of the envelope.
        let (cmd, group) = if seq % 2 == 0 { (Some(seq / 2), Some(name("g"))) } else { (None, None) };
        let event = Event { at: Timestamp::from_micros(1_767_323_045_678_901), cmd, group, body };
        writeln!(snapshot, "{}", event.json(seq, me)).unwrap();
        for line in event.line().iter().flat_map(|line| line.split('\n')) {
            writeln!(snapshot, "    {}{line}", event.prompt()).unwrap();
        }
    }
    assert_eq!(missing, Vec::<&str>::new(), "no sample");
}

/// The kind in the JSON of an event, which the scenario runner parses.
fn named(body: &Body) -> String {
    let event = Event { at: Timestamp::default(), cmd: None, group: None, body: body.clone() };
    let value: serde_json::Value = serde_json::from_str(&event.json(1, "x")).unwrap();
    value["event"].as_str().unwrap().to_owned()
}

#[test]
fn the_kind_of_an_event_parses_back_from_its_json() {
    for event in client_events() {
        let kind = ClientEventKind::from(&event);
        assert_eq!(named(&Body::Client(event)).parse(), Ok(kind));
    }
    for event in server_events() {
        let kind = ServerEventKind::from(&event);
        assert_eq!(named(&Body::Server(event)).parse(), Ok(kind));
    }
    for event in trace_events() {
        let kind = TraceEventKind::from(&event);
        assert_eq!(named(&Body::Trace(event)).parse(), Ok(kind));
    }
}

#[test]
fn all_events_equal_the_snapshot() {
    let mut snapshot = String::new();
    let of_clients = client_events().into_iter().map(|event| (client_kind(&event), Body::Client(event)));
    role(&mut snapshot, "x", of_clients.collect(), CLIENT);
    let of_servers = server_events().into_iter().map(|event| (server_kind(&event), Body::Server(event)));
    role(&mut snapshot, "server", of_servers.collect(), SERVER);
    let of_datagrams = trace_events().into_iter().map(|event| (trace_kind(&event), Body::Trace(event)));
    role(&mut snapshot, "x", of_datagrams.collect(), TRACE);
    let file = std::path::Path::new("tests/data/events.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(file, &snapshot).unwrap();
    }
    let kept = std::fs::read_to_string(file).unwrap_or_default();
    assert!(snapshot == kept, "events changed; `BLESS=1 cargo test --test protocol events::` writes:\n{snapshot}");
}
