//! What an event tells of datagrams, and when.

use serde_json::Value;

use crate::proto::event::client::ClientEventKind;
use crate::proto::event::server::ServerEventKind;
use crate::proto::event::trace::TraceEventKind;
use crate::proto::time::Instant;
use crate::runner::lang::ast::ActorId;

/// Something that an actor said of itself.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trace {
    pub(crate) actor: ActorId,
    /// When the runner heard of it.
    pub(crate) heard: Instant,
    /// When it happened, in microseconds of civil time: the actors of a case share a clock.
    pub(crate) micros: i64,
    pub(crate) what: TraceKind,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TraceKind {
    /// It listens on this port, and its server, if that is another, on that one.
    Listens {
        port: u16,
        server: Option<u16>,
    },
    Sent {
        datagram: TracedDatagram,
        /// Which retransmission it is.
        copy: Option<u64>,
    },
    Received(TracedDatagram),
    /// It came, and was not taken in, for this reason.
    Dropped(TracedDatagram, String),
    /// It was sent, and a fault took it away.
    Fault(TracedDatagram, String),
    /// It showed this.
    Shown(String),
}

/// What is known of a datagram at one end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TracedDatagram {
    /// The port at the other end. All actors of a case are on one host.
    pub(crate) port: u16,
    pub(crate) frame: String,
    pub(crate) bytes: u64,
}

impl Trace {
    pub(crate) fn of(actor: &ActorId, heard: Instant, event: &Value) -> Option<Self> {
        let stamp: jiff::Timestamp = event["ts"].as_str()?.parse().ok()?;
        let what = TraceKind::of(event)?;
        Some(Self { actor: actor.clone(), heard, micros: stamp.as_microsecond(), what })
    }
}

impl TraceKind {
    fn of(event: &Value) -> Option<Self> {
        let word = |member: &str| event[member].as_str().unwrap_or_default().to_owned();
        let datagram = || {
            Some(TracedDatagram { port: port(&event["peer"])?, frame: word("frame"), bytes: event["bytes"].as_u64()? })
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
