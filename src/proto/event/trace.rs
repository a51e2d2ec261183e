//! What client and server alike have to say of single datagrams: those that left, came, or were swallowed.

use std::net::SocketAddr;

use serde::Serialize;
use strum::{EnumDiscriminants, EnumString};

use crate::proto::event::reason::{DropReason, FaultKind};
use crate::proto::link::Transmission;
use crate::proto::wire;

/// Something that happened to one datagram. No line of it is shown to people.
#[derive(Clone, Debug, PartialEq, Serialize, EnumDiscriminants)]
#[serde(tag = "event", rename_all = "snake_case")]
#[strum_discriminants(name(TraceEventKind), derive(EnumString), strum(serialize_all = "snake_case"))]
#[strum_discriminants(doc = "The kind of [`TraceEvent`], as the member `event` names it.")]
#[strum_discriminants(allow(missing_docs, reason = "the kinds are those of the event contract"))]
#[allow(missing_docs, reason = "the members are those of the event contract, by name")]
pub enum TraceEvent {
    /// It left (`--trace`). `frame` is the first frame in it, `copy` counts retransmissions from 1.
    Sent {
        peer: String,
        frame: String,
        bytes: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        copy: Option<u32>,
    },
    /// It came (`--trace`).
    Received { peer: String, frame: String, bytes: usize },
    /// It was swallowed, because it made no sense (`--trace`).
    Dropped { peer: String, frame: String, bytes: usize, reason: DropReason },
    /// It was swallowed on its way out by a fault of the network that was asked for: `loss`, `drop` or `cut`.
    Fault { peer: String, frame: String, bytes: usize, fault: FaultKind },
}

impl TraceEvent {
    pub(crate) fn sent(to: SocketAddr, departure: &Transmission) -> Self {
        let Transmission { bytes, copy } = departure;
        let (peer, frame) = (to.to_string(), wire::summary(bytes));
        let copy = copy.filter(|copy| *copy > 1).map(|copy| copy - 1);
        Self::Sent { peer, frame, bytes: bytes.len(), copy }
    }

    pub(crate) fn received(from: SocketAddr, bytes: &[u8]) -> Self {
        Self::Received { peer: from.to_string(), frame: wire::summary(bytes), bytes: bytes.len() }
    }

    /// Of a datagram that the fault of this name took away.
    #[must_use]
    pub fn fault(to: SocketAddr, bytes: &[u8], fault: FaultKind) -> Self {
        Self::Fault { peer: to.to_string(), frame: wire::summary(bytes), bytes: bytes.len(), fault }
    }

    pub(crate) fn dropped(from: SocketAddr, bytes: &[u8], reason: DropReason) -> Self {
        Self::Dropped { peer: from.to_string(), frame: wire::summary(bytes), bytes: bytes.len(), reason }
    }
}
