//! Simulations for tests that compare the displayed lines and their times, to the microsecond.

use std::net::SocketAddr;
use std::time::Duration;

use chat::netem::link_model::LinkModel;
use chat::proto::event::MessageKind;
use chat::proto::id::{Incarnation, MessageId};
use chat::proto::keys::PublicKey;
use chat::proto::name::Name;
use chat::proto::record::{Mail, MailHeader, NameRecord, Record};
use chat::proto::server::WHOLE_TABLE;
use chat::proto::text::Text;
use chat::proto::time::{Instant, Timestamp};
use chat::sim::simulation::{SERVER, Simulation};

pub const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

pub const fn us(us: u64) -> Duration {
    Duration::from_micros(us)
}

/// 2026-01-01T00:00:00Z, one second before a simulation begins.
pub const EPOCH: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

pub const SECOND: Duration = Duration::from_secs(1);

/// A link that loses all datagrams.
pub const DEAD: LinkModel = LinkModel { loss: 1.0, ..LinkModel::PERFECT };

/// A simulation with these clients, registered one after another as the actors 1, 2 and so on. A datagram takes 50
/// µs, a sync 200 µs, and the display of an event 20 µs.
pub fn simulation(names: &[&str]) -> Simulation {
    let mut sim = Simulation::new(1, LinkModel::PERFECT);
    for name in names {
        sim.client(name);
        sim.run_for(ms(100));
    }
    assert!(sim.is_idle(), "nothing is under way");
    sim
}

/// A simulation whose server has these records on its disk when it starts.
pub fn simulation_with_records(records: impl IntoIterator<Item = Record>) -> Simulation {
    simulation_with_whole_tables(WHOLE_TABLE, records)
}

/// A simulation like that of [`simulation_with_records`], where clients have the whole table up to this many names.
pub fn simulation_with_whole_tables(names: usize, records: impl IntoIterator<Item = Record>) -> Simulation {
    let mut sim = Simulation::without_server(1, LinkModel::PERFECT);
    sim.limits.whole_table = names;
    let now = sim.now();
    for record in records {
        sim.disk().write(now, record);
    }
    sim.disk().sync(now);
    sim.start(SERVER);
    sim
}

/// The row of an offline client.
pub fn row(name: &str, incarnation: u128) -> Record {
    let (name, addr) = (Name::new(name).expect("a name"), SocketAddr::from(([10, 1, 0, 0], 7000)));
    Record::Name(NameRecord {
        name,
        addr,
        incarnation: Incarnation(incarnation),
        online: false,
        seen: EPOCH,
        key: PublicKey::NONE,
    })
}

/// A stored direct message.
pub fn mail(seq: u64, from: &str, to: &str, text: &str) -> Record {
    let header = MailHeader {
        seq,
        id: MessageId { incarnation: Incarnation(1), number: seq },
        kind: MessageKind::Direct,
        from: Name::new(from).expect("a name"),
        group: None,
        sent_at: EPOCH,
        kept_at: EPOCH,
        to: Some(Name::new(to).expect("a name")),
        position: 0,
        recipients: 1,
        text_bytes: 0,
    };
    Record::Mail(Mail::new(header, Text::new(text).expect("a text")))
}

/// A position in all logs, at one time. Traces begin there.
pub struct Mark {
    at: Instant,
    logs: Vec<usize>,
}

pub fn mark(sim: &Simulation) -> Mark {
    Mark { at: sim.now(), logs: (0..sim.actors()).map(|index| sim.log(index).len()).collect() }
}

impl Mark {
    /// The events that an actor displayed since the mark: milliseconds, the group in the prompt, and the line. The
    /// lines of one event are joined by ` / `.
    pub fn trace(&self, sim: &Simulation, actor: usize) -> Vec<String> {
        let since = self.logs.get(actor).copied().unwrap_or(0);
        let shown = sim.log(actor)[since..].iter().filter_map(|(at, event)| {
            let group = event.group.as_ref().map(|group| format!("({group}) ")).unwrap_or_default();
            let line = event.line()?.replace('\n', " / ");
            let micros = at.since(self.at).as_micros();
            Some(format!("{}.{:03} {group}{line}", micros / 1000, micros % 1000))
        });
        shown.collect()
    }

    /// The same lines without the times.
    pub fn lines(&self, sim: &Simulation, actor: usize) -> Vec<String> {
        let trace = self.trace(sim, actor);
        trace.iter().map(|line| line.split_once(' ').expect("a time").1.to_owned()).collect()
    }
}

/// Asserts that nothing is under way, queued or partly assembled anywhere.
pub fn at_rest(sim: &Simulation) {
    assert!(sim.is_idle(), "something is left");
}
