//! Tests of the limits of stored, held and in-flight data. Each limit can be reached and is never exceeded.

use std::collections::BTreeMap;

use crate::alone::{self, NOW, at, connect, reg, server};
use crate::peer::Peer;
use crate::trace::{DEAD, SECOND, at_rest, mail, mark, ms, simulation, simulation_with_records, us};
use chat::proto::client::{HELD, HELD_BYTES, MAX_OPEN};
use chat::proto::console::Console;
use chat::proto::event::Body;
use chat::proto::event::reason::Reason;
use chat::proto::event::server::ServerEvent;
use chat::proto::id::Incarnation;
use chat::proto::keys::PublicKey;
use chat::proto::link::congestion::{DATAGRAM, INITIAL_WINDOW};
use chat::proto::link::sender::PROBES;
use chat::proto::machine::{Input, Machine, Output, ServerEffect, ServerInput};
use chat::proto::name::Name;
use chat::proto::record::{GroupRecord, PersistedState, Record};
use chat::proto::server::{BYTES_UNDER_WAY, GROUPS, MEMBERS, REPLY_BYTES, Server, UNREGISTERED};
use chat::proto::wire::{self, Frame, Header};
use chat::sim::simulation::{SERVER, Simulation};

const X: usize = 1;
const Y: usize = 2;

/// The server's counters, as `stats` shows them.
fn stats(sim: &mut Simulation) -> BTreeMap<&'static str, u64> {
    sim.console(Console::Stats);
    sim.run_for(us(20));
    match &sim.log(SERVER).last().expect("an event").1.body {
        Body::Server(ServerEvent::Stats { stats }) => stats.clone(),
        other => panic!("{other:?}"),
    }
}

/// A simulation with x and y. y is a member of a group.
fn with_y_in_a_group() -> Simulation {
    let mut sim = simulation(&["x", "y"]);
    for line in ["create_group g", "join_group g"] {
        sim.type_line(Y, line);
        sim.run_for(SECOND);
    }
    sim
}

#[test]
fn the_messages_held_by_a_group_member_are_limited_and_further_ones_go_through_the_server() {
    for (text, most) in [("m".to_owned(), HELD), ("m".repeat(65_536), HELD_BYTES / 65_536)] {
        let mut sim = with_y_in_a_group();
        let since = mark(&sim);
        for _ in 0..most {
            sim.type_line(X, &format!("send y {text}"));
        }
        sim.run_for(SECOND);
        sim.type_line(X, "send y one more");
        sim.run_for(ms(499));
        let received = vec!["[Message received by y.]".to_owned(); most];
        assert_eq!(since.lines(&sim, X), received);
        assert_eq!(since.lines(&sim, Y), [] as [&str; 0], "all of them are held");
        sim.run_for(5 * SECOND);
        let x = since.lines(&sim, X);
        let by_server = [
            "[No ACK from y, message sent to server.]",
            "[Client y exists!!]",
            "[Messages received by the server and saved]",
        ];
        assert_eq!(x[most..most + 3], by_server);
        // Holding this message would block the server's link. It is displayed in the group, in order after the held
        // ones.
        let shown = [vec![format!("x: {text}"); most], vec!["(g) x: one more".to_owned()]].concat();
        assert!(since.lines(&sim, Y) == shown);
        sim.type_line(Y, "leave_group");
        sim.run_for(SECOND);
        assert_eq!(since.lines(&sim, Y)[most + 1..], ["[Leave group chat g]"]);
        at_rest(&sim);
    }
}

#[test]
fn the_number_of_commands_without_outcome_is_limited() {
    let mut sim = simulation(&["x"]);
    sim.pause(SERVER, true);
    let since = mark(&sim);
    for number in 0..=MAX_OPEN {
        sim.type_line(X, &format!("send_all {number}"));
    }
    sim.run_for(ms(1));
    let too_many = format!("More than {MAX_OPEN} commands have no outcome yet, wait for some of them.");
    assert_eq!(since.lines(&sim, X), [too_many]);
    sim.pause(SERVER, false);
    sim.run_for(10 * SECOND);
    let accepted = since.lines(&sim, X).iter().filter(|line| *line == "[Message received by Server.]").count();
    assert_eq!(accepted, MAX_OPEN);
    at_rest(&sim);
}

#[test]
fn the_datagrams_in_flight_are_limited_and_more_so_after_a_loss() {
    let mut sim = simulation(&["x", "y"]);
    let long = "m".repeat(65_536);
    sim.set_path(X, Y, DEAD);
    sim.keep_traffic();
    for _ in 0..3 {
        sim.type_line(X, &format!("send y {long}"));
    }
    let sent = |sim: &Simulation| sim.traffic().iter().map(|packet| packet.bytes.len()).collect::<Vec<_>>();
    let window = sent(&sim);
    let bytes: usize = window.iter().sum();
    assert!(bytes <= INITIAL_WINDOW && bytes + DATAGRAM > INITIAL_WINDOW, "all at once");
    sim.run_for(us(19_999));
    assert_eq!(sent(&sim), window);
    sim.run_for(us(1));
    assert_eq!(sent(&sim).len(), window.len() + PROBES, "sent again, a few");
}

#[test]
fn sessions_without_a_name_are_limited_in_number_and_time() {
    let mut sim = simulation(&["x"]);
    let links = stats(&mut sim)["links"];
    assert_eq!(links, 1);
    for _ in 0..=UNREGISTERED {
        sim.client("x");
    }
    sim.run_for(ms(100));
    assert_eq!(stats(&mut sim)["links"], links + UNREGISTERED as u64);
    sim.run_for(ms(9_899));
    assert_eq!(stats(&mut sim)["links"], links + UNREGISTERED as u64);
    // The last session displaced the first one. The first client registered again and got a new session.
    sim.run_for(SECOND);
    assert_eq!(stats(&mut sim)["links"], links, "after ten seconds they are forgotten");
    at_rest(&sim);
}

#[test]
fn the_bytes_of_one_fetch_are_limited() {
    let each = 65_536;
    let mail = (1..=64).map(|seq| match mail(seq, "y", "x", &"m".repeat(each)) {
        Record::Mail(mail) => mail.header,
        other => panic!("{other:?}"),
    });
    let mut server = server(PersistedState { mail: mail.collect(), last_seq: 64, ..PersistedState::default() });
    connect(&mut server, Incarnation(1), at(7000), vec![reg("x")]);
    let fetched: Vec<Vec<u64>> = std::iter::from_fn(|| server.poll(NOW))
        .filter_map(|output| if let Output::Effect(ServerEffect::Fetch(seqs)) = output { Some(seqs) } else { None })
        .collect();
    assert_eq!(fetched, [(1..=(BYTES_UNDER_WAY / each) as u64).collect::<Vec<u64>>()]);
}

#[test]
fn the_members_of_a_group_are_limited() {
    let group = alone::name("g");
    let kept = PersistedState { groups: vec![record(group.clone())], ..PersistedState::default() };
    let mut server = server(kept);
    for number in 0..=MEMBERS {
        let incarnation = Incarnation(1 + number as u128);
        let from = at(1024 + u16::try_from(number).unwrap());
        let join = Frame::Join { r: 2, group: group.clone() };
        connect(&mut server, incarnation, from, vec![reg(&format!("n{number}")), join]);
        let refusal = std::iter::from_fn(|| server.poll(NOW)).filter_map(alone::event).find_map(|event| match event {
            ServerEvent::Joined { .. } => Some(None),
            ServerEvent::Rejected { reason, .. } => Some(Some(reason)),
            _ => None,
        });
        assert_eq!(refusal, Some((number >= MEMBERS).then_some(Reason::GroupLimit)), "{number}");
    }
}

/// The greatest number of groups, with names of the greatest length.
fn all_groups() -> impl Iterator<Item = Name> {
    (0..GROUPS).map(|number| alone::name(&format!("{number:032}")))
}

/// A group that an earlier incarnation of a client created.
fn record(group: Name) -> GroupRecord {
    GroupRecord { group, creator: alone::name("x"), incarnation: Incarnation(1 << 64), request: 1 }
}

/// A client that sends many requests, and acknowledges replies only when the test wants it.
struct Requester {
    peer: Peer,
    server: Incarnation,
    server_key: PublicKey,
    /// The number of its next datagram.
    pn: u64,
    /// Its requests by content. The first content has number 2.
    requests: Vec<Vec<Frame>>,
    /// The server processed all contents up to this number.
    done: u64,
    /// The highest number of a content of the server.
    last: u64,
    replies: Vec<Frame>,
}

impl Requester {
    fn send(&mut self, server: &mut Server, head: Header, frames: Vec<Frame>) {
        self.pn += 1;
        let head = Header { pn: Some(self.pn), low: Some(1), ..head };
        let bytes = self.peer.seal(self.server_key, &head, frames);
        server.handle(NOW, Input::Datagram { from: self.peer.addr, bytes: &bytes });
    }

    /// Retransmits the requests that are not done until the server neither takes them nor replies any more. Returns the
    /// number of requests that the server processed in this time.
    fn send_all(&mut self, server: &mut Server, acknowledges: bool) -> usize {
        let (mut taken, mut before) = (0, None);
        while before.replace((self.done, self.last)) != Some((self.done, self.last)) {
            let done = if acknowledges { self.last } else { 0 };
            let head = Header { done, ..Header::new(self.peer.incarnation, Some(self.server)) };
            self.send(server, head.clone(), vec![]);
            let window = (2..).zip(self.requests.clone()).filter(|(seq, _)| *seq > self.done).take(256);
            for (seq, frames) in window.collect::<Vec<_>>() {
                self.send(server, Header { seq: Some(seq), ..head.clone() }, frames);
            }
            while let Some(output) = server.poll(NOW) {
                if let Output::Transmit { bytes, .. } = &output {
                    let datagram = wire::parse(bytes).unwrap();
                    self.done = self.done.max(datagram.head.done);
                    if let Some(seq) = datagram.head.seq {
                        assert!(seq <= self.last + 1, "in order");
                        self.last = self.last.max(seq);
                        let is_reply = |frame: &Frame| matches!(frame, Frame::Answer(_) | Frame::Refused { .. });
                        self.replies.extend(datagram.frames().into_iter().filter(is_reply));
                    }
                }
                let event = alone::event(output);
                taken += usize::from(matches!(event, Some(ServerEvent::Groups { .. } | ServerEvent::Rejected { .. })));
            }
        }
        taken
    }
}

/// The number of the first request. All later ones have the same number of digits.
const R: u64 = 1_000_000;

#[test]
fn unacknowledged_replies_are_limited_in_bytes_and_the_rest_follows_with_the_acknowledgements() {
    let lists: Vec<Vec<Frame>> = (R..R + 40).map(|r| vec![Frame::Groups { r }]).collect();
    let via = at(1).ip();
    let other = |r| Frame::Reg { r, name: alone::name("y"), via };
    let refused = (0..5_000).map(|n| (0..8).map(|at| other(R + n * 8 + at)).collect()).collect();
    for requests in [lists, refused] {
        let count: usize = requests.iter().map(Vec::len).sum();
        let groups = all_groups().map(record).collect();
        let mut server = server(PersistedState { groups, ..PersistedState::default() });
        let (peer, incarnation) = connect(&mut server, Incarnation(1), at(7000), vec![reg("x")]);
        let mut requester = Requester {
            peer,
            server: incarnation,
            server_key: alone::identity().public(),
            pn: 1,
            requests,
            done: 0,
            last: 0,
            replies: Vec::new(),
        };
        let taken = requester.send_all(&mut server, false);
        assert!(taken < count, "{taken}");
        assert_eq!(taken + requester.send_all(&mut server, true), count);
        let last_of_each = requester.replies.iter().filter_map(|reply| match reply {
            Frame::Answer(answer) => (!answer.more).then_some(answer.request),
            Frame::Refused { r, .. } => Some(*r),
            _ => None,
        });
        assert!(last_of_each.eq(R..R + count as u64), "each is answered once, in order");
        let bytes: usize = requester.replies.into_iter().flat_map(Frame::lines).map(|line| line.len()).sum();
        assert_eq!(taken, REPLY_BYTES.div_ceil(bytes / count), "{bytes} bytes in all");
        server.handle(NOW, Input::Role(ServerInput::Persisted { through: u64::MAX, refused: Vec::new() }));
        assert!(server.is_idle());
    }
}

#[test]
fn a_client_gets_all_replies_although_they_exceed_the_limit_of_unacknowledged_bytes() {
    let groups: Vec<Name> = all_groups().collect();
    let listed =
        format!("[Available group chats:]\n{}", groups.iter().map(Name::as_str).collect::<Vec<_>>().join("\n"));
    let mut sim = simulation_with_records(groups.into_iter().map(|group| Record::Group(record(group))));
    let x = sim.client("x");
    sim.run_for(SECOND);
    let since = mark(&sim);
    for _ in 0..40 {
        sim.type_line(x, "list_groups");
    }
    sim.run_for(10 * SECOND);
    assert_eq!(since.lines(&sim, x), vec![listed.replace('\n', " / "); 40]);
    at_rest(&sim);
}

#[test]
fn a_list_interrupted_by_a_restart_is_sent_again_from_its_beginning() {
    let groups: Vec<Name> = all_groups().collect();
    let names: Vec<&str> = groups.iter().map(Name::as_str).collect();
    let listed = format!("[Available group chats:] / {}", names.join(" / "));
    for moment in (50..2_000).step_by(150) {
        let mut sim = simulation_with_records(groups.iter().cloned().map(|group| Record::Group(record(group))));
        let x = sim.client("x");
        sim.run_for(SECOND);
        let since = mark(&sim);
        sim.type_line(x, "list_groups");
        sim.run_for(us(moment));
        sim.kill(SERVER);
        sim.start(SERVER);
        sim.run_for(10 * SECOND);
        let shown = since.lines(&sim, x);
        let lists: Vec<&String> = shown.iter().filter(|line| line.starts_with("[Available")).collect();
        assert_eq!(lists, [&listed], "after {moment} us");
        at_rest(&sim);
    }
}

#[test]
fn the_answer_to_a_de_registration_is_aborted_when_the_client_is_gone() {
    let mut server = server(PersistedState::default());
    let frames = vec![reg("x"), Frame::Dereg { r: 2 }];
    let (mut x, me) = connect(&mut server, Incarnation(1), at(7000), frames);
    server.handle(NOW, Input::Role(ServerInput::Persisted { through: u64::MAX, refused: Vec::new() }));
    while server.poll(NOW).is_some() {}
    assert!(!server.is_idle(), "the answer is not acknowledged");
    alone::send_datagram(&mut server, at(7000), &Header::gone(Incarnation(1), me), vec![]);
    assert!(!server.is_idle(), "anybody can write that");
    x.push_unnumbered(me, Frame::Bye);
    x.deliver(NOW, &mut server);
    while server.poll(NOW).is_some() {}
    assert!(server.is_idle());
}
