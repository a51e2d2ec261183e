//! Tests of lists: the messages that wait for one reader go to the server as one request, which is decided as a whole.

use crate::alone::{self, NOW, at, connect, reg, server};
use crate::peer::Peer;
use crate::trace::{DEAD, SECOND, at_rest, mail, mark, ms, row, simulation, simulation_with_records};
use chat::proto::client::UNDER_WAY;
use chat::proto::event::client::ClientEvent;
use chat::proto::event::{Body, Event};
use chat::proto::id::{Incarnation, MessageId};
use chat::proto::machine::{Input, Machine, Output, ServerEffect, ServerInput};
use chat::proto::record::{PersistedState, Record};
use chat::proto::server::{MAILBOX, Server};
use chat::proto::wire::{self, Answer, Frame, MAX_LIST, MAX_LIST_BYTES, RequestOutcome};
use chat::sim::simulation::{SERVER, Simulation};

const X: usize = 1;
const Y: usize = 2;

const NO_ACK: &str = "[No ACK from y, message sent to server.]";
const SAVED: &str = "[Messages received by the server and saved]";
const FULL: &str = "[Mailbox of y is full, message not saved.]";
const EXISTS: &str = "[Client y exists!!]";

/// A simulation with x and y. y is de-registered.
fn with_y_offline() -> Simulation {
    let mut sim = simulation(&["x", "y"]);
    sim.type_line(Y, "dereg");
    sim.run_for(SECOND);
    sim.keep_traffic();
    sim
}

fn send(sim: &mut Simulation, texts: impl IntoIterator<Item = String>) {
    for text in texts {
        sim.type_line(X, &format!("send y {text}"));
    }
}

fn numbers(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| number.to_string())
}

/// The requests to save in the traffic, in order: the number of messages of each, and `again`.
fn requests(sim: &Simulation) -> Vec<(usize, bool)> {
    let sent = sim.traffic().iter().filter(|packet| packet.actor == X && !packet.came);
    let frames = sent.flat_map(|packet| wire::parse(&packet.bytes).expect("a datagram").frames());
    let of_frame = |frame| match frame {
        Frame::Save { again, .. } => Some((1, again)),
        Frame::Saves { n, again, .. } => Some((n, again)),
        _ => None,
    };
    frames.filter_map(of_frame).collect()
}

fn repeated(line: &str, count: usize) -> Vec<String> {
    vec![line.to_owned(); count]
}

/// The texts of the messages from x that y displayed, in order.
fn received(lines: &[String]) -> Vec<&str> {
    lines.iter().filter(|line| line.starts_with("x: ")).filter_map(|line| line.rsplit(' ').next()).collect()
}

#[test]
fn messages_that_wait_for_an_answer_go_to_the_server_as_one_list_and_are_kept_in_order() {
    let mut sim = with_y_offline();
    let since = mark(&sim);
    send(&mut sim, numbers(10));
    sim.run_for(SECOND);
    let first = [NO_ACK, SAVED].map(str::to_owned).to_vec();
    assert_eq!(since.lines(&sim, X), [first, repeated(NO_ACK, 9), repeated(SAVED, 9)].concat());
    assert_eq!(requests(&sim), [(1, false), (9, false)], "the second one left after the answer to the first one");
    assert_eq!(sim.disk_holds(), (10, 0));
    sim.type_line(Y, "reg");
    sim.run_for(SECOND);
    assert_eq!(received(&since.lines(&sim, Y)), numbers(10).collect::<Vec<_>>());
    at_rest(&sim);
}

#[test]
fn a_list_is_limited_in_messages_and_bytes() {
    for (text, most) in [("m".to_owned(), MAX_LIST), ("m".repeat(65_536), MAX_LIST_BYTES / 65_536)] {
        let mut sim = with_y_offline();
        send(&mut sim, vec![text; most + 2]);
        sim.run_for(10 * SECOND);
        assert_eq!(requests(&sim), [(1, false), (most, false), (1, false)]);
        assert_eq!(sim.disk_holds(), (most + 2, 0));
        at_rest(&sim);
    }
}

#[test]
fn a_list_is_kept_up_to_the_first_message_that_does_not_fit() {
    let records = (1..=(MAILBOX - 5) as u64).map(|seq| mail(seq, "x", "y", "m"));
    let mut sim = simulation_with_records(records.chain([row("y", 9)]));
    let x = sim.client("x");
    sim.run_for(SECOND);
    let since = mark(&sim);
    send(&mut sim, numbers(20));
    sim.run_for(5 * SECOND);
    assert_eq!(x, X);
    let first = [NO_ACK, SAVED].map(str::to_owned).to_vec();
    let list = [repeated(NO_ACK, 19), repeated(SAVED, 4), repeated(FULL, 15)].concat();
    assert_eq!(since.lines(&sim, X), [first, list].concat());
    assert_eq!(sim.disk_holds(), (MAILBOX, 0));
    at_rest(&sim);
}

#[test]
fn a_list_to_a_living_reader_is_sent_directly_again_and_kept_if_that_fails_too() {
    for heals in [true, false] {
        let mut sim = simulation(&["x", "y"]);
        sim.keep_traffic();
        sim.set_path(X, Y, DEAD);
        let since = mark(&sim);
        send(&mut sim, numbers(5));
        sim.run_for(ms(501));
        let begun = [repeated(NO_ACK, 5), repeated(EXISTS, 1)].concat();
        assert_eq!(since.lines(&sim, X), begun);
        if heals {
            sim.heal();
        }
        sim.run_for(2 * SECOND);
        let (outcome, list) = if heals { ("[Message received by y.]", None) } else { (SAVED, Some((5, true))) };
        let lines = since.lines(&sim, X).into_iter().filter(|line| !line.starts_with("[Offline message"));
        assert_eq!(lines.collect::<Vec<_>>(), [begun, repeated(outcome, 5)].concat());
        assert_eq!(requests(&sim), [Some((5, false)), list].into_iter().flatten().collect::<Vec<_>>());
        assert_eq!(since.lines(&sim, Y), ["x: 0", "x: 1", "x: 2", "x: 3", "x: 4"], "in the live form");
        at_rest(&sim);
    }
}

#[test]
fn a_long_list_to_a_living_reader_is_sent_again_in_order() {
    let mut sim = simulation(&["x", "y"]);
    sim.set_path(X, Y, DEAD);
    let since = mark(&sim);
    send(&mut sim, numbers(3 * UNDER_WAY));
    sim.run_for(ms(501));
    sim.heal();
    sim.run_for(5 * SECOND);
    assert_eq!(received(&since.lines(&sim, Y)), numbers(3 * UNDER_WAY).collect::<Vec<_>>());
    let delivered = since.lines(&sim, X).iter().filter(|line| *line == "[Message received by y.]").count();
    assert_eq!(delivered, 3 * UNDER_WAY);
    at_rest(&sim);
}

#[test]
fn a_server_that_crashes_at_any_record_of_a_list_keeps_each_message_once_and_in_order() {
    const COUNT: usize = 8;
    let moments = (0..=COUNT).map(|record| (record, false)).chain((0..COUNT).map(|record| (record, true)));
    for (record, before_next) in moments {
        let mut sim = with_y_offline();
        let since = mark(&sim);
        let before = sim.disk_history().len();
        (sim.disk().dies_at, sim.disk().dies_before_next) = (Some(before + record), before_next);
        send(&mut sim, numbers(COUNT));
        sim.run_for(20 * SECOND);
        assert_eq!(sim.disk().dies_at, None, "it died");
        let moment = format!("after record {record}, before the next one: {before_next}");
        let lines = since.lines(&sim, X);
        assert_eq!(lines.iter().filter(|line| *line == SAVED).count(), COUNT, "{moment}: {lines:?}");
        sim.type_line(Y, "reg");
        sim.run_for(20 * SECOND);
        assert_eq!(received(&since.lines(&sim, Y)), numbers(COUNT).collect::<Vec<_>>(), "{moment}");
        at_rest(&sim);
    }
}

#[test]
fn a_list_that_the_disk_refuses_is_not_kept() {
    let mut sim = with_y_offline();
    sim.disk().full = true;
    let since = mark(&sim);
    send(&mut sim, numbers(5));
    sim.run_for(SECOND);
    let lines = since.lines(&sim, X);
    assert_eq!(lines.iter().filter(|line| *line == "[The server could not save the message.]").count(), 5);
    at_rest(&sim);
    sim.disk().full = false;
    send(&mut sim, numbers(5));
    sim.run_for(SECOND);
    assert_eq!(sim.disk_holds(), (5, 0));
    at_rest(&sim);
}

const CLIENT: Incarnation = Incarnation(5);
/// The number of records of the start, one cursor, and of the registration.
const RECORDS: u64 = 4;

fn item(number: u64) -> Frame {
    Frame::Item { id: MessageId { incarnation: CLIENT, number }, at: 0, text: number.to_string() }
}

fn saves(r: u64, n: usize) -> Frame {
    Frame::Saves { r, to: alone::name("y"), n, again: false }
}

/// The records of the server until it has no more output, and its answers on the wire.
fn outputs(server: &mut Server) -> (Vec<Record>, Vec<Answer>) {
    let (mut records, mut answers) = (Vec::new(), Vec::new());
    while let Some(output) = server.poll(NOW) {
        match output {
            Output::Effect(ServerEffect::Persist(record)) => records.push(record),
            Output::Transmit { bytes, .. } => {
                let frames = wire::parse(&bytes).expect("a datagram").frames();
                answers.extend(frames.into_iter().filter_map(|frame| match frame {
                    Frame::Answer(answer) => Some(answer),
                    _ => None,
                }));
            }
            _ => {}
        }
    }
    (records, answers)
}

/// A server with the offline client y and the online client x.
fn server_with_x() -> (Server, Peer, Incarnation) {
    let Record::Name(away) = row("y", 9) else { unreachable!() };
    let mut server = server(PersistedState { names: vec![away], ..PersistedState::default() });
    let (x, me) = connect(&mut server, CLIENT, at(1), vec![reg("x")]);
    outputs(&mut server);
    server.handle(NOW, Input::Role(ServerInput::Persisted { through: RECORDS, refused: vec![] }));
    outputs(&mut server);
    (server, x, me)
}

/// Makes x send these frames. Returns the numbers of the messages that the server writes, and its answers.
fn give(server: &mut Server, x: &mut Peer, me: Incarnation, frames: Vec<Frame>) -> (Vec<u64>, Vec<Answer>) {
    for frame in frames {
        x.push(me, frame);
    }
    x.deliver(NOW, server);
    let (records, answers) = outputs(server);
    let ids = records.iter().filter_map(|record| match record {
        Record::Mail(mail) => Some(mail.header.id.number),
        _ => None,
    });
    (ids.collect(), answers)
}

#[test]
fn the_last_items_are_the_list_because_aborted_ones_can_precede_them() {
    let (mut server, mut x, me) = server_with_x();
    let frames = vec![item(1), item(2), item(1), item(2), item(3), saves(2, 3)];
    assert_eq!(give(&mut server, &mut x, me, frames), (vec![1, 2, 3], vec![]), "the answer waits for the disk");
}

#[test]
fn an_incomplete_list_is_refused_as_a_whole() {
    let (mut server, mut x, me) = server_with_x();
    let failed = Answer::new(2, RequestOutcome::Failed);
    assert_eq!(give(&mut server, &mut x, me, vec![item(1), item(2), saves(2, 3)]), (vec![], vec![failed]));
}

#[test]
fn a_list_with_one_id_twice_is_refused_as_a_whole() {
    let (mut server, mut x, me) = server_with_x();
    let failed = Answer::new(2, RequestOutcome::Failed);
    assert_eq!(give(&mut server, &mut x, me, vec![item(1), item(1), saves(2, 2)]), (vec![], vec![failed]));
}

#[test]
fn messages_after_one_that_the_disk_refused_are_removed_again() {
    let (mut server, mut x, me) = server_with_x();
    give(&mut server, &mut x, me, vec![item(1), item(2), item(3), saves(2, 3)]);
    let persisted = |through, refused| Input::Role(ServerInput::Persisted { through, refused });
    server.handle(NOW, persisted(RECORDS + 1, vec![]));
    server.handle(NOW, persisted(RECORDS + 3, vec![RECORDS + 2]));
    let (records, answers) = outputs(&mut server);
    assert!(answers.is_empty(), "the answer waits for the disk");
    assert!(matches!(&records[..], [Record::Delivered { seq: 3, .. }]));
    server.handle(NOW, persisted(RECORDS + 4, vec![]));
    let failed = Answer { recipients: 1, ..Answer::new(2, RequestOutcome::Failed) };
    assert_eq!(outputs(&mut server).1, [failed]);
}

#[test]
fn a_repeated_list_writes_only_the_messages_that_are_not_kept() {
    let (mut server, mut x, me) = server_with_x();
    give(&mut server, &mut x, me, vec![item(1), item(2), saves(2, 2)]);
    server.handle(NOW, Input::Role(ServerInput::Persisted { through: RECORDS + 2, refused: vec![] }));
    outputs(&mut server);
    let (ids, _) = give(&mut server, &mut x, me, vec![item(1), item(2), item(3), saves(3, 3)]);
    assert_eq!(ids, [3]);
    server.handle(NOW, Input::Role(ServerInput::Persisted { through: RECORDS + 3, refused: vec![] }));
    assert_eq!(outputs(&mut server).1, [Answer::new(3, RequestOutcome::Saved)]);
    let (ids, answers) = give(&mut server, &mut x, me, vec![item(1), item(3), saves(4, 2)]);
    assert_eq!((ids, answers), (vec![], vec![Answer::new(4, RequestOutcome::Saved)]));
}

#[test]
fn a_received_request_is_not_sent_again_and_one_probe_asks_for_all() {
    let readers = ["a", "b", "c"];
    let mut sim = simulation(&["x", "a", "b", "c"]);
    for reader in 2..=4 {
        sim.pause(reader, true);
    }
    for reader in readers {
        sim.type_line(X, &format!("send {reader} hi"));
    }
    // The direct attempts end. The server receives the requests 50 µs later, and pings the readers for 500 ms.
    sim.run_for(ms(999));
    sim.keep_traffic();
    let since = mark(&sim);
    // The update of the table would show that the server is there.
    sim.drop_next(SERVER, X, 1);
    sim.run_for(ms(2));
    let sent = sim.traffic().iter().filter(|packet| packet.actor == X && !packet.came);
    let asks = sent.filter(|packet| wire::parse(&packet.bytes).expect("a datagram").head.ask == Some(0)).count();
    assert_eq!((asks, requests(&sim)), (1, vec![]));
    sim.run_for(SECOND);
    assert_eq!(since.lines(&sim, X).iter().filter(|line| *line == SAVED).count(), 3);
    assert_eq!(retries(&sim), [] as [u32; 0]);
}

/// The attempts of the `retry` events of x.
fn retries(sim: &Simulation) -> Vec<u32> {
    let attempt = |(_, event): &(_, Event)| match event.body {
        Body::Client(ClientEvent::Retry { attempt, .. }) => Some(attempt),
        _ => None,
    };
    sim.log(X).iter().filter_map(attempt).collect()
}

#[test]
fn a_retry_is_reported_only_if_the_server_was_asked_and_silent() {
    let mut sim = simulation(&["x", "y"]);
    sim.pause(Y, true);
    sim.type_line(X, "send y hi");
    sim.run_for(ms(700));
    sim.kill(SERVER);
    // The server received the request at 500 ms. The first probe leaves 500 ms later.
    sim.run_for(ms(800));
    assert_eq!(retries(&sim), [] as [u32; 0]);
    sim.run_for(2 * SECOND);
    assert_eq!(retries(&sim), [3, 4, 5]);
}
