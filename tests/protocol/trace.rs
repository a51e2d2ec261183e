//! Worlds for tests that read like traces: who shows what, and when, to the microsecond.

use std::net::SocketAddr;
use std::time::Duration;

use chat::netem::link_model::LinkModel;
use chat::proto::event::MessageKind;
use chat::proto::id::{Incarnation, MessageId};
use chat::proto::name::Name;
use chat::proto::record::{Mail, MailHeader, NameRecord, Record};
use chat::proto::text::Text;
use chat::proto::time::{Instant, Timestamp};
use chat::sim::simulation::{SERVER, Simulation};

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub const fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

/// 2026-01-01T00:00:00Z, a second before a world begins.
pub const EPOCH: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

pub const SECOND: Duration = Duration::from_secs(1);

/// A network that loses everything.
pub const DEAD: LinkModel = LinkModel { loss: 1.0, ..LinkModel::PERFECT };

/// A world with these clients, registered one after another: actors 1, 2 and so on. A datagram takes 50 µs, a sync
/// 200 µs, and what is to be shown is shown after 20 µs.
pub fn world(names: &[&str]) -> Simulation {
    let mut world = Simulation::new(1, LinkModel::PERFECT);
    for name in names {
        world.client(name);
        world.run_for(ms(100));
    }
    assert!(world.is_idle(), "nothing is under way");
    world
}

/// A world whose server finds these records on its disk.
pub fn world_with(records: impl IntoIterator<Item = Record>) -> Simulation {
    let mut world = Simulation::without_server(1, LinkModel::PERFECT);
    let now = world.now();
    for record in records {
        world.disk().write(now, record);
    }
    world.disk().sync(now);
    world.start(SERVER);
    world
}

/// The row of somebody who is offline.
pub fn row(name: &str, incarnation: u128) -> Record {
    let (name, addr) = (Name::new(name).expect("a name"), SocketAddr::from(([10, 1, 0, 0], 7000)));
    Record::Name(NameRecord { name, addr, incarnation: Incarnation(incarnation), online: false, seen: EPOCH })
}

/// A kept direct message.
pub fn mail(seq: u64, from: &str, to: &str, text: &str) -> Record {
    let header = MailHeader {
        seq,
        id: MessageId { incarnation: Incarnation(1), number: seq },
        kind: MessageKind::Direct,
        from: Name::new(from).expect("a name"),
        group: None,
        sent_at: EPOCH,
        kept_at: EPOCH,
        undelivered_to: [Name::new(to).expect("a name")].into(),
        text_bytes: 0,
    };
    Record::Mail(Mail::new(header, Text::new(text).expect("a text")))
}

/// A moment, from which on the logs are looked at.
pub struct Mark {
    at: Instant,
    logs: Vec<usize>,
}

pub fn mark(world: &Simulation) -> Mark {
    Mark { at: world.now(), logs: (0..world.actors()).map(|index| world.log(index).len()).collect() }
}

impl Mark {
    /// What an actor showed since then: milliseconds, the group in front, the line. Lines of one event are joined by ` / `.
    pub fn trace(&self, world: &Simulation, actor: usize) -> Vec<String> {
        let since = self.logs.get(actor).copied().unwrap_or(0);
        let shown = world.log(actor)[since..].iter().filter_map(|(at, event)| {
            let group = event.group.as_ref().map(|group| format!("({group}) ")).unwrap_or_default();
            let line = event.line()?.replace('\n', " / ");
            let micros = at.since(self.at).as_micros();
            Some(format!("{}.{:03} {group}{line}", micros / 1000, micros % 1000))
        });
        shown.collect()
    }

    /// The same without the times.
    pub fn lines(&self, world: &Simulation, actor: usize) -> Vec<String> {
        let trace = self.trace(world, actor);
        trace.iter().map(|line| line.split_once(' ').expect("a time").1.to_owned()).collect()
    }
}

/// Nothing is under way, queued or half assembled anywhere.
pub fn at_rest(world: &Simulation) {
    assert!(world.is_idle(), "something is left");
}
