//! Output queue of a machine. It also parses received datagrams, counts datagrams and emits their trace events.
//!
//! Nothing can be queued after [`Output::Ended`].

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::proto::event::reason::DropReason;
use crate::proto::event::trace::TraceEvent;
use crate::proto::event::{Body, Event};
use crate::proto::link::Transmission;
use crate::proto::machine::Output;
use crate::proto::name::Name;
use crate::proto::time::Timestamp;
use crate::proto::wire::{self, Datagram, Frame, Header, Malformed};

/// The outputs that wait for the host, in order. The queue has no limit of its own: the host limits the size of a batch
/// of inputs and drains the queue after each batch.
#[derive(Debug)]
pub(super) struct OutputQueue<E> {
    waiting: VecDeque<Output<E>>,
    /// Whether [`Output::Ended`] was queued. Later outputs are dropped.
    closed: bool,
    /// Whether datagrams have trace events.
    trace: bool,
    /// The timestamp of new events, which is the time of the current input.
    pub(super) unix: Timestamp,
    /// The number of queued events so far, which is also the number of the last event.
    pub(super) events: u64,
    pub(super) datagrams: Datagrams,
}

/// Counters of datagrams. A dropped datagram is also a received one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Datagrams {
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) dropped: u64,
}

impl<E> OutputQueue<E> {
    pub(super) fn new(unix: Timestamp, trace: bool) -> Self {
        Self { waiting: VecDeque::new(), closed: false, trace, unix, events: 0, datagrams: Datagrams::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Output<E>> {
        self.waiting.pop_front()
    }

    /// Queues an output. Use [`Self::say`] for events and [`Self::transmit`] or [`Self::send`] for datagrams, which
    /// count.
    pub(super) fn push(&mut self, output: Output<E>) {
        if !self.closed {
            self.closed = matches!(output, Output::Ended(_));
            self.waiting.push_back(output);
        }
    }

    /// Queues an event. Returns its number, from 1.
    pub(super) fn say(&mut self, cmd: Option<u64>, group: Option<Name>, body: Body) -> u64 {
        if !self.closed {
            self.events += 1;
            self.push(Output::Event(Event { at: self.unix, cmd, group, body }));
        }
        self.events
    }

    /// Queues a datagram of a link.
    pub(super) fn transmit(&mut self, to: SocketAddr, transmission: Transmission) {
        self.datagrams.sent += 1;
        if self.trace {
            self.say(None, None, Body::Trace(TraceEvent::sent(to, &transmission)));
        }
        self.push(Output::Transmit { to, bytes: transmission.bytes });
    }

    /// Queues a datagram outside any link, without a tag.
    pub(super) fn send(&mut self, to: SocketAddr, head: &Header, frame: Option<Frame>) {
        let lines = frame.map(Frame::lines).unwrap_or_default();
        self.send_bytes(to, wire::emit(head, lines.iter().map(String::as_str)));
    }

    /// Queues a datagram outside any link that is encoded already.
    pub(super) fn send_bytes(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        self.transmit(to, Transmission { bytes, copy: None });
    }

    /// Answers the datagram `question` from `to`, because its incarnation has ended. Sends nothing if the answer would
    /// be longer than `question`.
    pub(super) fn send_gone(&mut self, to: SocketAddr, head: &Header, question: &[u8]) {
        if wire::emit(head, []).len() <= question.len() {
            self.send(to, head, None);
        }
    }

    /// Parses the header of a received datagram. `None` if it is malformed or of another version; the latter is answered
    /// by `no`.
    pub(super) fn receive<'b>(&mut self, from: SocketAddr, bytes: &'b [u8]) -> Option<Datagram<'b>> {
        self.datagrams.received += 1;
        let reason = match wire::parse(bytes) {
            Ok(datagram) => {
                if self.trace {
                    self.say(None, None, Body::Trace(TraceEvent::received(from, bytes)));
                }
                return Some(datagram);
            }
            Err(Malformed::Version) => {
                if let Some(bytes) = wire::refuse_version(bytes) {
                    self.send_bytes(from, bytes);
                }
                DropReason::Version
            }
            Err(_) => DropReason::Malformed,
        };
        self.dropped(from, bytes, reason);
        None
    }

    /// Counts and traces a received datagram that is ignored.
    pub(super) fn dropped(&mut self, from: SocketAddr, bytes: &[u8], reason: DropReason) {
        self.datagrams.dropped += 1;
        if self.trace {
            self.say(None, None, Body::Trace(TraceEvent::dropped(from, bytes, reason)));
        }
    }
}
