//! Events of single datagrams, in clients and servers.

use std::net::SocketAddr;

use serde::Serialize;
use strum::{EnumDiscriminants, EnumString};

use crate::proto::event::reason::{DropReason, FaultKind};
use crate::proto::id::Incarnation;
use crate::proto::link::Transmission;
use crate::proto::wire::{self, Frame};

/// An event of one datagram. It has no line for display.
///
/// All except [`TraceEvent::Fault`] require `--trace`. `frame` is the kind of the first frame.
#[derive(Clone, Debug, PartialEq, Serialize, EnumDiscriminants)]
#[serde(tag = "event", rename_all = "snake_case")]
#[strum_discriminants(name(TraceEventKind), derive(EnumString), strum(serialize_all = "snake_case"))]
#[strum_discriminants(doc = "The kind of [`TraceEvent`], as the member `event` names it.")]
#[strum_discriminants(allow(missing_docs, reason = "the kinds are those of the event contract"))]
#[allow(missing_docs, reason = "the members are those of the event contract, by name")]
pub enum TraceEvent {
    /// It was sent. `copy` counts retransmissions from 1.
    Sent {
        peer: String,
        frame: String,
        bytes: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        copy: Option<u32>,
        #[serde(flatten)]
        number: PacketNumber,
    },
    /// It was received.
    Received {
        peer: String,
        frame: String,
        bytes: usize,
        #[serde(flatten)]
        number: PacketNumber,
    },
    /// It was received and ignored.
    Dropped {
        peer: String,
        frame: String,
        bytes: usize,
        reason: DropReason,
        #[serde(flatten)]
        number: PacketNumber,
    },
    /// A requested network fault dropped it before it was sent: `loss`, `drop` or `cut`.
    Fault { peer: String, frame: String, bytes: usize, fault: FaultKind },
}

/// The number of a datagram, if its header has one. With the addresses of both ends it identifies the datagram. A
/// retransmission has a new number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PacketNumber {
    /// The incarnation of the sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<Incarnation>,
    /// The number of the datagram on its link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pn: Option<u64>,
}

/// The members that all events of datagrams share.
struct DatagramSummary {
    peer: String,
    frame: String,
    bytes: usize,
    number: PacketNumber,
}

impl DatagramSummary {
    fn new(peer: SocketAddr, bytes: &[u8]) -> Self {
        let datagram = wire::parse(bytes).ok();
        let head = datagram.as_ref().map(|datagram| &datagram.head).filter(|head| head.pn.is_some());
        let number = head.map(|head| PacketNumber { link: head.me, pn: head.pn }).unwrap_or_default();
        let frame =
            datagram.as_ref().map_or("malformed", |datagram| datagram.frames().first().map_or("head", Frame::kind));
        Self { peer: peer.to_string(), frame: frame.to_owned(), bytes: bytes.len(), number }
    }
}

impl TraceEvent {
    pub(crate) fn sent(to: SocketAddr, transmission: &Transmission) -> Self {
        let DatagramSummary { peer, frame, bytes, number } = DatagramSummary::new(to, &transmission.bytes);
        let copy = transmission.copy.filter(|copy| *copy > 1).map(|copy| copy - 1);
        Self::Sent { peer, frame, bytes, copy, number }
    }

    pub(crate) fn received(from: SocketAddr, bytes: &[u8]) -> Self {
        let DatagramSummary { peer, frame, bytes, number } = DatagramSummary::new(from, bytes);
        Self::Received { peer, frame, bytes, number }
    }

    /// The event of a datagram that this kind of fault dropped.
    #[must_use]
    pub fn fault(to: SocketAddr, bytes: &[u8], fault: FaultKind) -> Self {
        let DatagramSummary { peer, frame, bytes, .. } = DatagramSummary::new(to, bytes);
        Self::Fault { peer, frame, bytes, fault }
    }

    pub(crate) fn dropped(from: SocketAddr, bytes: &[u8], reason: DropReason) -> Self {
        let DatagramSummary { peer, frame, bytes, number } = DatagramSummary::new(from, bytes);
        Self::Dropped { peer, frame, bytes, reason, number }
    }
}
