//! Tests of mail. It is stored, delivered in order when its reader returns, and its sender gets one receipt.

use crate::alone;
use crate::trace::{SECOND, at_rest, mail, mark, ms, row, simulation, simulation_with_records, us};
use chat::proto::console::Console;
use chat::proto::event::MessageKind;
use chat::proto::event::server::ServerEvent;
use chat::proto::id::{Incarnation, MessageId};
use chat::proto::machine::{Input, Machine, Output, ServerEffect, ServerInput};
use chat::proto::record::{CursorRecord, IntervalKey, LogName, MailHeader, PersistedState, Record};
use chat::proto::server::{MAIL_UNDER_WAY, MAILBOX, MAILBOX_BYTES, RECEIPTS_UNDER_WAY};
use chat::proto::wire::Frame;
use chat::sim::simulation::{SERVER, Simulation};

const X: usize = 1;
const Y: usize = 2;

const RECEIPT: &str = "[Offline message sent at 2026-01-01T00:00:02Z received by y.]";

/// A simulation with x and y. y is de-registered, and one message from x to y is stored.
fn with_one_stored_message() -> Simulation {
    let mut sim = simulation(&["x", "y"]);
    sim.type_line(Y, "dereg");
    sim.run_for(SECOND);
    sim.type_line(X, "send y hi");
    sim.run_for(SECOND);
    assert_eq!(sim.disk_holds(), (1, 0));
    sim
}

#[test]
fn a_receipt_is_sent_when_the_acknowledgement_of_the_reader_is_on_disk() {
    let mut sim = with_one_stored_message();
    let since = mark(&sim);
    sim.type_line(Y, "reg");
    sim.run_for(SECOND);
    // The text is read from disk, which takes 200 µs like a sync.
    let y = [
        "0.120 [Welcome, You are registered.]",
        "0.320 [You have messages]",
        "0.320 x: 2026-01-01T00:00:02Z hi",
        "0.440 [Client table updated.]",
    ];
    assert_eq!(since.trace(&sim, Y), y);
    assert_eq!(since.lines(&sim, X), ["[Client table updated.]", RECEIPT]);
    assert_eq!(sim.disk_holds(), (0, 0));
    at_rest(&sim);
}

/// Advances until the disk holds these numbers of messages and receipts.
fn run_until_disk_holds(sim: &mut Simulation, messages: usize, receipts: usize) {
    for _ in 0..1_000_000 {
        if sim.disk_holds() == (messages, receipts) {
            return;
        }
        sim.run_for(us(1));
    }
    panic!("the disk never holds {messages} messages and {receipts} receipts");
}

#[test]
fn a_receipt_is_displayed_once_although_the_server_crashes_before_its_acknowledgement_is_on_disk() {
    let mut sim = with_one_stored_message();
    let since = mark(&sim);
    sim.type_line(Y, "reg");
    run_until_disk_holds(&mut sim, 0, 1);
    // The receipt arrives after 50 µs, is displayed after 20 and acknowledged after 50. That is on disk 200 µs later.
    sim.run_for(us(130));
    assert_eq!(since.lines(&sim, X).last().map(String::as_str), Some(RECEIPT));
    sim.kill(SERVER);
    sim.start(SERVER);
    assert_eq!(sim.disk_holds(), (0, 1), "the next life of the server tells it again");
    sim.run_for(5 * SECOND);
    assert_eq!(since.lines(&sim, X).iter().filter(|line| *line == RECEIPT).count(), 1);
    assert_eq!(sim.disk_holds(), (0, 0));
    at_rest(&sim);
}

#[test]
fn a_message_is_displayed_once_although_the_server_crashes_before_its_acknowledgement_is_on_disk() {
    let mut sim = with_one_stored_message();
    let since = mark(&sim);
    sim.type_line(Y, "reg");
    sim.run_for(us(400));
    assert_eq!(since.lines(&sim, Y).last().map(String::as_str), Some("x: 2026-01-01T00:00:02Z hi"));
    sim.kill(SERVER);
    sim.start(SERVER);
    assert_eq!(sim.disk_holds(), (1, 0), "the next life of the server hands it out again");
    sim.run_for(5 * SECOND);
    assert_eq!(since.lines(&sim, Y).iter().filter(|line| line.ends_with(" hi")).count(), 1);
    assert_eq!(since.lines(&sim, X).iter().filter(|line| *line == RECEIPT).count(), 1);
    assert_eq!(sim.disk_holds(), (0, 0));
    at_rest(&sim);
}

#[test]
fn a_receipt_waits_for_an_offline_sender_and_follows_its_mail() {
    let mut sim = with_one_stored_message();
    sim.type_line(X, "dereg");
    sim.run_for(SECOND);
    sim.type_line(Y, "reg");
    sim.run_for(SECOND);
    sim.type_line(Y, "send x ho");
    sim.run_for(SECOND);
    assert_eq!(sim.disk_holds(), (1, 1));
    let since = mark(&sim);
    sim.type_line(X, "reg");
    sim.run_for(SECOND);
    let lines = since.lines(&sim, X);
    let order = ["[Welcome, You are registered.]", "[You have messages]", "y: 2026-01-01T00:00:05Z ho", RECEIPT];
    assert_eq!(lines.iter().filter(|line| *line != "[Client table updated.]").collect::<Vec<_>>(), order);
    at_rest(&sim);
}

#[test]
fn a_mailbox_is_limited_in_messages_and_bytes() {
    for (text, most) in [("m".to_owned(), MAILBOX), ("m".repeat(65_536), MAILBOX_BYTES / 65_536)] {
        let mail = (1..=most as u64).map(|seq| mail(seq, "x", "y", &text));
        let mut sim = simulation_with_records(mail.chain([row("y", 9)]));
        let x = sim.client("x");
        sim.run_for(SECOND);
        let since = mark(&sim);
        sim.type_line(x, "send y one more");
        sim.run_for(SECOND);
        let full = ["[No ACK from y, message sent to server.]", "[Mailbox of y is full, message not saved.]"];
        assert_eq!(since.lines(&sim, x), full);
        // Some stored messages are delivered, which makes room.
        let y = sim.client("y");
        sim.run_for(ms(4));
        sim.leave(y);
        sim.run_for(ms(500));
        let left = sim.disk_holds().0;
        assert!((1..most).contains(&left), "{left}");
        sim.type_line(x, "send y one more");
        sim.run_for(SECOND);
        assert_eq!(
            since.lines(&sim, x).last().map(String::as_str),
            Some("[Messages received by the server and saved]")
        );
    }
}

/// A simulation with one mailbox, that of the offline y, with room for `room` more messages of this text. Returns also
/// the number of messages that it can hold.
fn almost_full(text: &str, room: usize) -> (Simulation, usize) {
    let most = MAILBOX.min(MAILBOX_BYTES / text.len());
    let mail = (1..=(most - room) as u64).map(|seq| mail(seq, "x", "y", text));
    (simulation_with_records(mail.chain([row("y", 9)])), most)
}

fn count(lines: &[String], line: &str) -> usize {
    lines.iter().filter(|shown| *shown == line).count()
}

#[test]
fn messages_to_many_need_no_room_in_a_mailbox() {
    let (mut sim, most) = almost_full("m", 0);
    let x = sim.client("x");
    sim.run_for(SECOND);
    let since = mark(&sim);
    for _ in 0..100 {
        sim.type_line(x, "send_all m");
    }
    sim.run_for(5 * SECOND);
    assert_eq!(since.lines(&sim, x), vec!["[Message received by Server.]"; 100]);
    assert_eq!(sim.disk_holds(), (most + 100, 0));
    at_rest(&sim);
}

#[test]
fn concurrent_senders_do_not_overfill_a_mailbox() {
    let (mut sim, most) = almost_full("m", 5);
    let senders: Vec<usize> = (0..20).map(|number| sim.client(&format!("x{number}"))).collect();
    sim.run_for(SECOND);
    let since = mark(&sim);
    for sender in &senders {
        sim.type_line(*sender, "send y m");
    }
    sim.run_for(5 * SECOND);
    let shown: Vec<String> = senders.iter().flat_map(|sender| since.lines(&sim, *sender)).collect();
    assert_eq!(count(&shown, "[Messages received by the server and saved]"), 5);
    assert_eq!(count(&shown, "[Mailbox of y is full, message not saved.]"), 15);
    assert_eq!(sim.disk_holds(), (most, 0));
    at_rest(&sim);
}

#[test]
fn messages_that_the_disk_refused_release_their_room() {
    let (mut sim, most) = almost_full("m", 5);
    let x = sim.client("x");
    sim.run_for(SECOND);
    let since = mark(&sim);
    sim.disk().full = true;
    for _ in 0..5 {
        sim.type_line(x, "send_all m");
    }
    sim.run_for(SECOND);
    assert_eq!(since.lines(&sim, x), vec!["[The server could not save the message.]"; 5]);
    at_rest(&sim);
    sim.disk().full = false;
    for _ in 0..6 {
        sim.type_line(x, "send y m");
    }
    sim.run_for(5 * SECOND);
    let shown = since.lines(&sim, x);
    assert_eq!(count(&shown, "[Messages received by the server and saved]"), 5);
    assert_eq!(count(&shown, "[Mailbox of y is full, message not saved.]"), 1);
    assert_eq!(sim.disk_holds(), (most, 0));
    at_rest(&sim);
}

#[test]
fn a_server_that_crashes_while_it_writes_has_the_same_room_afterwards() {
    let (mut sim, most) = almost_full("m", 5);
    let senders: Vec<usize> = (0..10).map(|number| sim.client(&format!("x{number}"))).collect();
    sim.run_for(SECOND);
    let since = mark(&sim);
    for sender in &senders {
        sim.type_line(*sender, "send y m");
    }
    // The messages arrive after 50 µs and are synced 200 µs later.
    sim.run_for(us(200));
    assert!(sim.disk().next().is_some() && sim.disk_holds() == (most - 5, 0));
    sim.kill(SERVER);
    sim.start(SERVER);
    sim.run_for(5 * SECOND);
    let shown: Vec<String> = senders.iter().flat_map(|sender| since.lines(&sim, *sender)).collect();
    assert_eq!(count(&shown, "[Messages received by the server and saved]"), 5);
    assert_eq!(count(&shown, "[Mailbox of y is full, message not saved.]"), 5);
    assert_eq!(sim.disk_holds(), (most, 0));
    at_rest(&sim);
}

#[test]
fn messages_and_receipts_under_way_to_one_client_are_limited() {
    let most = MAIL_UNDER_WAY.max(RECEIPTS_UNDER_WAY) * 2;
    let mut sim = simulation(&["x", "y"]);
    sim.type_line(Y, "dereg");
    sim.run_for(SECOND);
    for number in 0..most {
        sim.type_line(X, &format!("send y {number}"));
    }
    sim.run_for(5 * SECOND);
    // y displays nothing, so the messages to it stay under way.
    sim.type_line(Y, "reg");
    sim.run_for(us(1));
    sim.block(Y, true);
    sim.run_for(ms(10));
    assert_eq!(sim.showing(Y), 2 + MAIL_UNDER_WAY, "welcome, announcement and so many messages");
    sim.block(X, true);
    sim.block(Y, false);
    sim.run_for(ms(10));
    // The update with y online, and the receipts up to the limit.
    assert_eq!(sim.showing(X), 1 + RECEIPTS_UNDER_WAY);
    sim.block(X, false);
    sim.run_for(5 * SECOND);
    assert_eq!(sim.disk_holds(), (0, 0));
    at_rest(&sim);
}

#[test]
fn a_message_missing_on_disk_does_not_keep_its_readers_offline() {
    let lost = match mail(1, "z", "x", "hi all") {
        Record::Mail(mail) => MailHeader { kind: MessageKind::Channel, to: None, ..mail.header },
        other => panic!("{other:?}"),
    };
    let cursor = |reader| CursorRecord {
        reader: alone::name(reader),
        key: IntervalKey { log: LogName::Channel, joined: 0 },
        next: 0,
        end: None,
        own_dropped: 0,
        notice: None,
    };
    let (mail, cursors) = (vec![lost], vec![cursor("x"), cursor("y")]);
    let mut server = alone::server(PersistedState { mail, cursors, last_seq: 1, ..PersistedState::default() });
    for (incarnation, port, reader) in [(1, 7001, "x"), (2, 7002, "y")] {
        alone::connect(&mut server, Incarnation(incarnation), alone::at(port), vec![alone::reg(reader)]);
    }
    alone::events(&mut server);
    // The server fetched the message once for each reader. Each answer moves a reader online.
    for online in [1, 2] {
        server.handle(alone::NOW, Input::Role(ServerInput::Mail(vec![])));
        server.handle(alone::NOW, Input::Role(ServerInput::Console(Console::Table)));
        let tables = alone::events(&mut server).into_iter().filter_map(|event| match event {
            ServerEvent::Clients { clients, .. } => Some(clients.iter().filter(|row| row.online).count()),
            _ => None,
        });
        assert_eq!(tables.collect::<Vec<_>>(), [online]);
    }
}

#[test]
fn a_message_with_the_id_of_another_client_is_not_stored() {
    let kept = |owner: u128| {
        // An offline client makes the server store the message.
        let Record::Name(away) = row("y", 9) else { unreachable!() };
        let mut server = alone::server(PersistedState { names: vec![away], ..PersistedState::default() });
        let id = MessageId { incarnation: Incarnation(owner), number: 1 };
        let all = Frame::All { r: 2, id, at: 0, text: "hi".to_owned() };
        alone::connect(&mut server, Incarnation(5), alone::at(1), vec![alone::reg("x"), all]);
        let outputs = std::iter::from_fn(|| server.poll(alone::NOW));
        outputs.filter(|output| matches!(output, Output::Effect(ServerEffect::Persist(Record::Mail(_))))).count()
    };
    assert_eq!((kept(5), kept(6)), (1, 0));
}
