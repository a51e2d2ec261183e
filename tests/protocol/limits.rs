//! The limits of what is kept, held or under way: reached, and not passed.

use std::collections::BTreeMap;

use crate::alone::{self, NOW, at, enter, reg, server, tell};
use crate::trace::{DEAD, SECOND, at_rest, mail, mark, ms, us, world, world_with};
use chat::proto::client::{HELD, HELD_BYTES, MAX_OPEN};
use chat::proto::console::Console;
use chat::proto::event::Body;
use chat::proto::event::reason::Reason;
use chat::proto::event::server::ServerEvent;
use chat::proto::id::Incarnation;
use chat::proto::link::{WINDOW_CLEAR, WINDOW_LOSSY};
use chat::proto::machine::{Input, Machine, Output, ServerEffect, ServerInput};
use chat::proto::name::Name;
use chat::proto::record::{GroupRecord, PersistedState, Record};
use chat::proto::server::{FETCH_BYTES, GROUPS, MEMBERS, REPLY_BYTES, Server, UNREGISTERED};
use chat::proto::wire::{self, Frame, Header};
use chat::sim::simulation::{SERVER, Simulation};

const X: usize = 1;
const Y: usize = 2;

/// The server's counters.
fn stats(world: &mut Simulation) -> BTreeMap<&'static str, u64> {
    world.console(Console::Stats);
    world.run_for(us(20));
    match &world.log(SERVER).last().expect("an event").1.body {
        Body::Server(ServerEvent::Stats { stats }) => stats.clone(),
        other => panic!("{other:?}"),
    }
}

/// x and y, who is in a group.
fn one_in_a_group() -> Simulation {
    let mut world = world(&["x", "y"]);
    for line in ["create_group g", "join_group g"] {
        world.type_line(Y, line);
        world.run_for(SECOND);
    }
    world
}

#[test]
fn a_group_member_holds_so_many_messages_and_the_next_goes_by_way_of_the_server() {
    for (text, most) in [("m".to_owned(), HELD), ("m".repeat(65_536), HELD_BYTES / 65_536)] {
        let mut world = one_in_a_group();
        let since = mark(&world);
        for _ in 0..most {
            world.type_line(X, &format!("send y {text}"));
        }
        world.run_for(SECOND);
        world.type_line(X, "send y one more");
        world.run_for(ms(499));
        let received = vec!["[Message received by y.]".to_owned(); most];
        assert_eq!(since.lines(&world, X), received);
        assert_eq!(since.lines(&world, Y), [] as [&str; 0], "all of them are held");
        world.run_for(5 * SECOND);
        let x = since.lines(&world, X);
        let by_server = [
            "[No ACK from y, message sent to server.]",
            "[Client y exists!!]",
            "[Messages received by the server and saved]",
        ];
        assert_eq!(x[most..most + 3], by_server);
        // It is not held, which would block the server's link, and shown behind those that are: in order.
        let shown = [vec![format!("x: {text}"); most], vec!["(g) x: one more".to_owned()]].concat();
        assert!(since.lines(&world, Y) == shown);
        world.type_line(Y, "leave_group");
        world.run_for(SECOND);
        assert_eq!(since.lines(&world, Y)[most + 1..], ["[Leave group chat g]"]);
        at_rest(&world);
    }
}

#[test]
fn a_client_has_so_many_commands_without_outcome() {
    let mut world = world(&["x"]);
    world.pause(SERVER, true);
    let since = mark(&world);
    for number in 0..=MAX_OPEN {
        world.type_line(X, &format!("send_all {number}"));
    }
    world.run_for(ms(1));
    let too_many = format!("More than {MAX_OPEN} commands have no outcome yet, wait for some of them.");
    assert_eq!(since.lines(&world, X), [too_many]);
    world.pause(SERVER, false);
    world.run_for(10 * SECOND);
    let accepted = since.lines(&world, X).iter().filter(|line| *line == "[Message received by Server.]").count();
    assert_eq!(accepted, MAX_OPEN);
    at_rest(&world);
}

#[test]
fn a_link_has_so_many_datagrams_in_flight_and_fewer_while_losses_show() {
    let mut world = world(&["x", "y"]);
    let long = "m".repeat(65_536);
    world.set_path(X, Y, DEAD);
    let sent = world.sent();
    for _ in 0..3 {
        world.type_line(X, &format!("send y {long}"));
    }
    let window = WINDOW_CLEAR as u64;
    assert_eq!(world.sent() - sent, window, "all at once");
    world.run_for(us(19_999));
    assert_eq!(world.sent() - sent, window);
    world.run_for(us(1));
    assert_eq!(world.sent() - sent, window + WINDOW_LOSSY as u64, "sent again, a few");
}

#[test]
fn who_has_proven_its_address_and_has_no_name_is_remembered_within_limits() {
    let mut world = world(&["x"]);
    let links = stats(&mut world)["links"];
    assert_eq!(links, 1);
    for _ in 0..=UNREGISTERED {
        world.client("x");
    }
    world.run_for(ms(100));
    assert_eq!(stats(&mut world)["links"], links + UNREGISTERED as u64);
    world.run_for(ms(9_899));
    assert_eq!(stats(&mut world)["links"], links + UNREGISTERED as u64);
    // The first one was forgotten for the last one, asked again, and was remembered anew.
    world.run_for(SECOND);
    assert_eq!(stats(&mut world)["links"], links, "after ten seconds they are forgotten");
    at_rest(&world);
}

#[test]
fn so_many_bytes_of_mail_are_read_from_disk_at_a_time() {
    let each = 65_536;
    let mail = (1..=64).map(|seq| match mail(seq, "y", "x", &"m".repeat(each)) {
        Record::Mail(mail) => mail.header,
        other => panic!("{other:?}"),
    });
    let mut server = server(PersistedState { mail: mail.collect(), last_seq: 64, ..PersistedState::default() });
    enter(&mut server, Incarnation(1), at(7000), |cookie| vec![reg("x", cookie)]);
    let fetched: Vec<Vec<u64>> = std::iter::from_fn(|| server.poll(NOW))
        .filter_map(|output| if let Output::Effect(ServerEffect::Fetch(seqs)) = output { Some(seqs) } else { None })
        .collect();
    assert_eq!(fetched, [(1..=(FETCH_BYTES / each) as u64).collect::<Vec<u64>>()]);
}

#[test]
fn a_group_has_so_many_members() {
    let group = alone::name("g");
    let kept = PersistedState { groups: vec![record(group.clone())], ..PersistedState::default() };
    let mut server = server(kept);
    for number in 0..=MEMBERS {
        let incarnation = Incarnation(1 + number as u128);
        let from = at(1024 + u16::try_from(number).unwrap());
        let join = Frame::Join { r: 2, group: group.clone() };
        enter(&mut server, incarnation, from, |cookie| vec![reg(&format!("n{number}"), cookie), join]);
        let refusal = std::iter::from_fn(|| server.poll(NOW)).filter_map(alone::event).find_map(|event| match event {
            ServerEvent::Joined { .. } => Some(None),
            ServerEvent::Rejected { reason, .. } => Some(Some(reason)),
            _ => None,
        });
        assert_eq!(refusal, Some((number >= MEMBERS).then_some(Reason::GroupLimit)), "{number}");
    }
}

/// As many groups as there can be, with names as long as they can be.
fn all_groups() -> impl Iterator<Item = Name> {
    (0..GROUPS).map(|number| alone::name(&format!("{number:032}")))
}

/// A group that an earlier life of a client created.
fn record(group: Name) -> GroupRecord {
    GroupRecord { group, creator: alone::name("x"), incarnation: Incarnation(1 << 64), request: 1 }
}

/// A client that asks much.
struct Asker {
    me: Incarnation,
    server: Incarnation,
    /// What it asks, datagram by datagram, from number 2 on.
    asks: Vec<Vec<Frame>>,
    /// How far the server acknowledged that.
    acked: u64,
    /// The last number that came from the server.
    last: u64,
    replies: Vec<Frame>,
}

impl Asker {
    /// Sends, again and again, what is not acknowledged, until the server neither acknowledges nor replies any more.
    /// Returns how many requests it took meanwhile.
    fn ask(&mut self, server: &mut Server, acknowledges: bool) -> usize {
        let (mut taken, mut before) = (0, None);
        while before.replace((self.acked, self.last)) != Some((self.acked, self.last)) {
            let ack = acknowledges.then_some(self.last);
            let head = Header { low: Some(1), ack, ..Header::new(self.me, Some(self.server)) };
            tell(server, at(7000), &head, vec![]);
            let window = (2..).zip(&self.asks).filter(|(n, _)| *n > self.acked).take(256);
            for (n, frames) in window {
                tell(server, at(7000), &Header { n: Some(n), ..head.clone() }, frames.clone());
            }
            while let Some(output) = server.poll(NOW) {
                if let Output::Transmit { bytes, .. } = &output {
                    let datagram = wire::parse(bytes).unwrap();
                    self.acked = self.acked.max(datagram.head.ack.unwrap_or(0));
                    self.last = self.last.max(datagram.head.n.unwrap_or(0));
                    let is_reply = |frame: &Frame| matches!(frame, Frame::Answer { .. } | Frame::Refused { .. });
                    self.replies.extend(datagram.frames.into_iter().filter(is_reply));
                }
                let event = alone::event(output);
                taken += usize::from(matches!(event, Some(ServerEvent::Groups { .. } | ServerEvent::Rejected { .. })));
            }
        }
        taken
    }
}

/// A number of a request that is as long as all others.
const R: u64 = 1_000_000;

#[test]
fn who_does_not_acknowledge_its_answers_has_so_many_bytes_of_them_and_all_when_it_does() {
    let lists: Vec<Vec<Frame>> = (R..R + 40).map(|r| vec![Frame::Groups { r }]).collect();
    let via = at(1).ip();
    let other = |r| Frame::Reg { r, name: alone::name("y"), cookie: String::new(), via };
    let refused = (0..5_000).map(|n| (0..8).map(|at| other(R + n * 8 + at)).collect()).collect();
    for asks in [lists, refused] {
        let requests: usize = asks.iter().map(Vec::len).sum();
        let groups = all_groups().map(record).collect();
        let mut server = server(PersistedState { groups, ..PersistedState::default() });
        let me = Incarnation(1);
        let incarnation = enter(&mut server, me, at(7000), |cookie| vec![reg("x", cookie)]);
        let mut asker = Asker { me, server: incarnation, asks, acked: 0, last: 0, replies: Vec::new() };
        let taken = asker.ask(&mut server, false);
        assert!(taken < requests, "{taken}");
        assert_eq!(taken + asker.ask(&mut server, true), requests);
        let last_of_each = asker.replies.iter().filter_map(|reply| match reply {
            Frame::Answer { r, more: false, .. } | Frame::Refused { r, .. } => Some(*r),
            _ => None,
        });
        assert!(last_of_each.eq(R..R + requests as u64), "each is answered once, in order");
        let bytes: usize = asker.replies.into_iter().flat_map(Frame::lines).map(|line| line.len()).sum();
        assert_eq!(taken, REPLY_BYTES.div_ceil(bytes / requests), "{bytes} bytes in all");
        server.handle(NOW, Input::Role(ServerInput::Persisted { through: u64::MAX, refused: Vec::new() }));
        assert!(server.is_idle());
    }
}

#[test]
fn a_client_has_all_answers_although_they_are_more_than_it_may_leave_unacknowledged() {
    let groups: Vec<Name> = all_groups().collect();
    let listed =
        format!("[Available group chats:]\n{}", groups.iter().map(Name::as_str).collect::<Vec<_>>().join("\n"));
    let mut world = world_with(groups.into_iter().map(|group| Record::Group(record(group))));
    let x = world.client("x");
    world.run_for(SECOND);
    let since = mark(&world);
    for _ in 0..40 {
        world.type_line(x, "list_groups");
    }
    world.run_for(10 * SECOND);
    assert_eq!(since.lines(&world, x), vec![listed.replace('\n', " / "); 40]);
    at_rest(&world);
}

#[test]
fn a_list_that_a_restart_cuts_off_comes_again_from_its_beginning() {
    let groups: Vec<Name> = all_groups().collect();
    let names: Vec<&str> = groups.iter().map(Name::as_str).collect();
    let listed = format!("[Available group chats:] / {}", names.join(" / "));
    for moment in (50..2_000).step_by(150) {
        let mut world = world_with(groups.iter().cloned().map(|group| Record::Group(record(group))));
        let x = world.client("x");
        world.run_for(SECOND);
        let since = mark(&world);
        world.type_line(x, "list_groups");
        world.run_for(us(moment));
        world.kill(SERVER);
        world.start(SERVER);
        world.run_for(10 * SECOND);
        let shown = since.lines(&world, x);
        let lists: Vec<&String> = shown.iter().filter(|line| line.starts_with("[Available")).collect();
        assert_eq!(lists, [&listed], "after {moment} us");
        at_rest(&world);
    }
}

#[test]
fn who_left_and_is_gone_is_not_answered_any_more() {
    let mut server = server(PersistedState::default());
    let asks = |cookie| vec![reg("x", cookie), Frame::Dereg { r: 2 }];
    let me = enter(&mut server, Incarnation(1), at(7000), asks);
    server.handle(NOW, Input::Role(ServerInput::Persisted { through: u64::MAX, refused: Vec::new() }));
    while server.poll(NOW).is_some() {}
    assert!(!server.is_idle(), "the answer is not acknowledged");
    let gone = wire::emit(&Header::gone(Incarnation(1), me), []);
    server.handle(NOW, Input::Datagram { from: at(7001), bytes: &gone });
    assert!(!server.is_idle(), "another address cannot know");
    server.handle(NOW, Input::Datagram { from: at(7000), bytes: &gone });
    while server.poll(NOW).is_some() {}
    assert!(server.is_idle());
}
