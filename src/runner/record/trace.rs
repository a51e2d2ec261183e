//! Reads the events of actors for the diagram: datagrams, ports and lines, each with its time.

use serde_json::Value;

use crate::proto::event::client::ClientEventKind;
use crate::proto::event::server::ServerEventKind;
use crate::proto::event::trace::TraceEventKind;
use crate::proto::time::Instant;
use crate::runner::lang::ast::ActorId;

/// One event of an actor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trace {
    pub(crate) actor: ActorId,
    /// The time at which the runner read it.
    pub(crate) read_at: Instant,
    /// The time of the event in microseconds of civil time. The actors of a case share a clock.
    pub(crate) micros: i64,
    pub(crate) kind: TraceKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TraceKind {
    /// The actor listens on `port`, and its server on `server`.
    Listens {
        port: u16,
        server: Option<u16>,
    },
    Sent {
        datagram: TracedDatagram,
        /// Counts retransmissions from 1.
        copy: Option<u64>,
    },
    Received(TracedDatagram),
    /// The actor received it and ignored it for this reason.
    Dropped(TracedDatagram, String),
    /// The actor sent it, and this fault dropped it.
    Fault(TracedDatagram, String),
    /// The actor showed this line.
    Shown(String),
}

/// A datagram as one end reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TracedDatagram {
    /// The port at the other end. All actors of a case are on one host.
    pub(crate) port: u16,
    pub(crate) frame: String,
    pub(crate) bytes: u64,
    /// The incarnation of its sender and its number on the link. `None` for datagrams without a number, and when the
    /// event does not report it.
    pub(crate) number: Option<(String, u64)>,
}

impl Trace {
    pub(crate) fn of(actor: &ActorId, read_at: Instant, event: &Value) -> Option<Self> {
        let stamp: jiff::Timestamp = event["ts"].as_str()?.parse().ok()?;
        let kind = TraceKind::of(event)?;
        Some(Self { actor: actor.clone(), read_at, micros: stamp.as_microsecond(), kind })
    }
}

impl TraceKind {
    fn of(event: &Value) -> Option<Self> {
        let word = |member: &str| event[member].as_str().unwrap_or_default().to_owned();
        let datagram = || {
            let number = event["n"].as_u64().map(|n| (word("link"), n));
            let (port, bytes) = (port(&event["peer"])?, event["bytes"].as_u64()?);
            Some(TracedDatagram { port, frame: word("frame"), bytes, number })
        };
        let kind = event["event"].as_str()?;
        if let Ok(kind) = kind.parse() {
            return match kind {
                TraceEventKind::Sent => Some(Self::Sent { datagram: datagram()?, copy: event["copy"].as_u64() }),
                TraceEventKind::Received => datagram().map(Self::Received),
                TraceEventKind::Dropped => Some(Self::Dropped(datagram()?, word("reason"))),
                TraceEventKind::Fault => Some(Self::Fault(datagram()?, word("fault"))),
            };
        }
        if kind.parse() == Ok(ClientEventKind::Started) {
            return Some(Self::Listens { port: port(&event["addr"])?, server: port(&event["server"]) });
        }
        if kind.parse() == Ok(ServerEventKind::Listening) {
            return Some(Self::Listens { port: u16::try_from(event["port"].as_u64()?).ok()?, server: None });
        }
        event["line"].as_str().map(|line| Self::Shown(line.to_owned()))
    }
}

/// The port of `ADDRESS:PORT`.
fn port(address: &Value) -> Option<u16> {
    address.as_str()?.rsplit_once(':')?.1.parse().ok()
}
