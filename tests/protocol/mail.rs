//! Mail: kept, handed out in order when its reader is back, and a receipt for its sender, once.

use crate::alone;
use crate::trace::{SECOND, at_rest, mail, mark, ms, row, us, world, world_with};
use chat::proto::console::Console;
use chat::proto::event::MessageKind;
use chat::proto::event::server::ServerEvent;
use chat::proto::id::{Incarnation, MessageId};
use chat::proto::machine::{Input, Machine, Output, ServerEffect, ServerInput};
use chat::proto::record::{MailHeader, PersistedState, Record};
use chat::proto::server::{MAILBOX, MAILBOX_BYTES, POSTS_UNDER_WAY, RECEIPTS_UNDER_WAY};
use chat::proto::wire::Frame;
use chat::sim::simulation::{SERVER, Simulation};

const X: usize = 1;
const Y: usize = 2;

const RECEIPT: &str = "[Offline message sent at 2026-01-01T00:00:02Z received by y.]";

/// x and y, who de-registered; x sent it one message, that is kept.
fn kept() -> Simulation {
    let mut world = world(&["x", "y"]);
    world.type_line(Y, "dereg");
    world.run_for(SECOND);
    world.type_line(X, "send y hi");
    world.run_for(SECOND);
    assert_eq!(world.disk_holds(), (1, 0));
    world
}

#[test]
fn a_receipt_comes_when_the_reader_has_acknowledged_and_the_server_has_it_on_disk() {
    let mut world = kept();
    let since = mark(&world);
    world.type_line(Y, "reg");
    world.run_for(SECOND);
    // The text is read from disk, which takes 200 µs as a sync does.
    let y = [
        "0.120 [Welcome, You are registered.]",
        "0.320 [You have messages]",
        "0.320 x: 2026-01-01T00:00:02Z hi",
        "0.440 [Client table updated.]",
    ];
    assert_eq!(since.trace(&world, Y), y);
    assert_eq!(since.lines(&world, X), ["[Client table updated.]", RECEIPT]);
    assert_eq!(world.disk_holds(), (0, 0));
    at_rest(&world);
}

/// Lets time pass until so much is on disk.
fn run_until_disk_holds(world: &mut Simulation, messages: usize, receipts: usize) {
    for _ in 0..1_000_000 {
        if world.disk_holds() == (messages, receipts) {
            return;
        }
        world.run_for(us(1));
    }
    panic!("the disk never holds {messages} messages and {receipts} receipts");
}

#[test]
fn a_receipt_is_told_once_although_the_server_dies_before_it_knows_that_it_was() {
    let mut world = kept();
    let since = mark(&world);
    world.type_line(Y, "reg");
    run_until_disk_holds(&mut world, 0, 1);
    // It is told in 50 µs, shown in 20 and acknowledged in 50; that it was is on disk 200 µs later.
    world.run_for(us(130));
    assert_eq!(since.lines(&world, X).last().map(String::as_str), Some(RECEIPT));
    world.kill(SERVER);
    world.start(SERVER);
    assert_eq!(world.disk_holds(), (0, 1), "the next life of the server tells it again");
    world.run_for(5 * SECOND);
    assert_eq!(since.lines(&world, X).iter().filter(|line| *line == RECEIPT).count(), 1);
    assert_eq!(world.disk_holds(), (0, 0));
    at_rest(&world);
}

#[test]
fn a_message_is_shown_once_although_the_server_dies_before_it_knows_that_it_was() {
    let mut world = kept();
    let since = mark(&world);
    world.type_line(Y, "reg");
    world.run_for(us(400));
    assert_eq!(since.lines(&world, Y).last().map(String::as_str), Some("x: 2026-01-01T00:00:02Z hi"));
    world.kill(SERVER);
    world.start(SERVER);
    assert_eq!(world.disk_holds(), (1, 0), "the next life of the server hands it out again");
    world.run_for(5 * SECOND);
    assert_eq!(since.lines(&world, Y).iter().filter(|line| line.ends_with(" hi")).count(), 1);
    assert_eq!(since.lines(&world, X).iter().filter(|line| *line == RECEIPT).count(), 1);
    assert_eq!(world.disk_holds(), (0, 0));
    at_rest(&world);
}

#[test]
fn a_receipt_waits_for_its_owner_and_comes_after_its_mail() {
    let mut world = kept();
    world.type_line(X, "dereg");
    world.run_for(SECOND);
    world.type_line(Y, "reg");
    world.run_for(SECOND);
    world.type_line(Y, "send x ho");
    world.run_for(SECOND);
    assert_eq!(world.disk_holds(), (1, 1));
    let since = mark(&world);
    world.type_line(X, "reg");
    world.run_for(SECOND);
    let lines = since.lines(&world, X);
    let order = ["[Welcome, You are registered.]", "[You have messages]", "y: 2026-01-01T00:00:05Z ho", RECEIPT];
    assert_eq!(lines.iter().filter(|line| *line != "[Client table updated.]").collect::<Vec<_>>(), order);
    at_rest(&world);
}

#[test]
fn a_mailbox_takes_so_many_messages_and_bytes() {
    for (text, most) in [("m".to_owned(), MAILBOX), ("m".repeat(65_536), MAILBOX_BYTES / 65_536)] {
        let mail = (1..=most as u64).map(|seq| mail(seq, "x", "y", &text));
        let mut world = world_with(mail.chain([row("y", 9)]));
        let x = world.client("x");
        world.run_for(SECOND);
        let since = mark(&world);
        world.type_line(x, "send y one more");
        world.run_for(SECOND);
        let full = ["[No ACK from y, message sent to server.]", "[Mailbox of y is full, message not saved.]"];
        assert_eq!(since.lines(&world, x), full);
        // What is there is handed out, and then there is room.
        let y = world.client("y");
        world.run_for(ms(4));
        world.leave(y);
        world.run_for(ms(500));
        let left = world.disk_holds().0;
        assert!((1..most).contains(&left), "{left}");
        world.type_line(x, "send y one more");
        world.run_for(SECOND);
        assert_eq!(
            since.lines(&world, x).last().map(String::as_str),
            Some("[Messages received by the server and saved]")
        );
    }
}

/// A world whose only mailbox, that of y who is away, has room for so many more messages of this text.
fn almost_full(text: &str, room: usize) -> (Simulation, usize) {
    let most = MAILBOX.min(MAILBOX_BYTES / text.len());
    let mail = (1..=(most - room) as u64).map(|seq| mail(seq, "x", "y", text));
    (world_with(mail.chain([row("y", 9)])), most)
}

fn count(lines: &[String], line: &str) -> usize {
    lines.iter().filter(|shown| *shown == line).count()
}

#[test]
fn what_is_being_written_takes_its_room_in_a_mailbox() {
    for (text, sent) in [("m".to_owned(), 100), ("m".repeat(65_536), 20)] {
        let (mut world, most) = almost_full(&text, 5);
        let x = world.client("x");
        world.run_for(SECOND);
        let since = mark(&world);
        for _ in 0..sent {
            world.type_line(x, &format!("send_all {text}"));
        }
        world.run_for(5 * SECOND);
        assert_eq!(since.lines(&world, x), vec!["[Message received by Server.]"; sent]);
        assert_eq!(world.disk_holds(), (most, 0));
        at_rest(&world);
    }
}

#[test]
fn senders_that_come_together_fill_a_mailbox_and_no_more() {
    let (mut world, most) = almost_full("m", 5);
    let senders: Vec<usize> = (0..20).map(|number| world.client(&format!("x{number}"))).collect();
    world.run_for(SECOND);
    let since = mark(&world);
    for sender in &senders {
        world.type_line(*sender, "send y m");
    }
    world.run_for(5 * SECOND);
    let shown: Vec<String> = senders.iter().flat_map(|sender| since.lines(&world, *sender)).collect();
    assert_eq!(count(&shown, "[Messages received by the server and saved]"), 5);
    assert_eq!(count(&shown, "[Mailbox of y is full, message not saved.]"), 15);
    assert_eq!(world.disk_holds(), (most, 0));
    at_rest(&world);
}

#[test]
fn what_could_not_be_written_leaves_its_room_to_others() {
    let (mut world, most) = almost_full("m", 5);
    let x = world.client("x");
    world.run_for(SECOND);
    let since = mark(&world);
    world.disk().full = true;
    for _ in 0..5 {
        world.type_line(x, "send_all m");
    }
    world.run_for(SECOND);
    assert_eq!(since.lines(&world, x), vec!["[The server could not save the message.]"; 5]);
    at_rest(&world);
    world.disk().full = false;
    for _ in 0..6 {
        world.type_line(x, "send y m");
    }
    world.run_for(5 * SECOND);
    let shown = since.lines(&world, x);
    assert_eq!(count(&shown, "[Messages received by the server and saved]"), 5);
    assert_eq!(count(&shown, "[Mailbox of y is full, message not saved.]"), 1);
    assert_eq!(world.disk_holds(), (most, 0));
    at_rest(&world);
}

#[test]
fn a_server_that_dies_while_it_writes_has_the_same_room_afterwards() {
    let (mut world, most) = almost_full("m", 5);
    let x = world.client("x");
    world.run_for(SECOND);
    let since = mark(&world);
    for _ in 0..10 {
        world.type_line(x, "send_all m");
    }
    // They are there after 50 µs and written after 200 more.
    world.run_for(us(200));
    assert!(world.disk().next().is_some() && world.disk_holds() == (most - 5, 0));
    world.kill(SERVER);
    world.start(SERVER);
    world.run_for(5 * SECOND);
    assert_eq!(count(&since.lines(&world, x), "[Message received by Server.]"), 10);
    assert_eq!(world.disk_holds(), (most, 0));
    at_rest(&world);
}

#[test]
fn no_more_messages_and_receipts_are_under_way_to_one_client_than_the_limits() {
    let most = POSTS_UNDER_WAY.max(RECEIPTS_UNDER_WAY) * 2;
    let mut world = world(&["x", "y"]);
    world.type_line(Y, "dereg");
    world.run_for(SECOND);
    for number in 0..most {
        world.type_line(X, &format!("send y {number}"));
    }
    world.run_for(5 * SECOND);
    // y shows nothing: what it was sent stays under way.
    world.type_line(Y, "reg");
    world.run_for(us(1));
    world.block(Y, true);
    world.run_for(ms(10));
    assert_eq!(world.showing(Y), 2 + POSTS_UNDER_WAY, "welcome, announcement and so many messages");
    world.block(X, true);
    world.block(Y, false);
    world.run_for(ms(10));
    // The update that says that y is back, and so many receipts.
    assert_eq!(world.showing(X), 1 + RECEIPTS_UNDER_WAY);
    world.block(X, false);
    world.run_for(5 * SECOND);
    assert_eq!(world.disk_holds(), (0, 0));
    at_rest(&world);
}

#[test]
fn a_message_that_is_not_on_disk_any_more_keeps_none_of_its_readers_offline() {
    let lost = match mail(1, "z", "x", "hi all") {
        Record::Mail(mail) => {
            MailHeader { kind: MessageKind::Channel, undelivered_to: ["x", "y"].map(alone::name).into(), ..mail.header }
        }
        other => panic!("{other:?}"),
    };
    let mut server = alone::server(PersistedState { mail: vec![lost], last_seq: 1, ..PersistedState::default() });
    for (incarnation, port, reader) in [(1, 7001, "x"), (2, 7002, "y")] {
        alone::enter(&mut server, Incarnation(incarnation), alone::at(port), |cookie| vec![alone::reg(reader, cookie)]);
    }
    alone::events(&mut server);
    // It was asked for twice: the first answer is enough for both, and the second is none to anybody.
    for _ in 0..2 {
        server.handle(alone::NOW, Input::Role(ServerInput::Mail(vec![])));
        server.handle(alone::NOW, Input::Role(ServerInput::Console(Console::Table)));
        let tables = alone::events(&mut server).into_iter().filter_map(|event| match event {
            ServerEvent::Clients { clients, .. } => Some(clients.iter().filter(|row| row.online).count()),
            _ => None,
        });
        assert_eq!(tables.collect::<Vec<_>>(), [2]);
    }
}

#[test]
fn a_message_with_the_id_of_somebody_else_is_not_kept() {
    let kept = |owner: u128| {
        // Somebody is away, so that there is something to keep.
        let Record::Name(away) = row("y", 9) else { unreachable!() };
        let mut server = alone::server(PersistedState { names: vec![away], ..PersistedState::default() });
        let id = MessageId { incarnation: Incarnation(owner), number: 1 };
        let all = Frame::All { r: 2, id, at: 0, text: "hi".to_owned() };
        alone::enter(&mut server, Incarnation(5), alone::at(1), |cookie| vec![alone::reg("x", cookie), all]);
        let outputs = std::iter::from_fn(|| server.poll(alone::NOW));
        outputs.filter(|output| matches!(output, Output::Effect(ServerEffect::Persist(Record::Mail(_))))).count()
    };
    assert_eq!((kept(5), kept(6)), (1, 0));
}
