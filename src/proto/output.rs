//! The door of a machine: every datagram comes in and every output goes out through it, counted and traced.

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

/// What waits to be taken from a machine, in order. It is drained after every batch of inputs, so that it holds no more
/// than one batch causes; whoever drains it has a limit for its batches.
#[derive(Debug)]
pub(super) struct OutputQueue<E> {
    waiting: VecDeque<Output<E>>,
    /// The last word was said: nothing comes after it.
    closed: bool,
    trace: bool,
    /// The time that is put on events: that of the input that is being handled.
    pub(super) unix: Timestamp,
    /// How many events went out.
    pub(super) events: u64,
    /// How many datagrams came, left, and were dropped because they made no sense.
    pub(super) datagrams: Datagrams,
}

/// Counters of datagrams.
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

    /// Anything but an event and a datagram.
    pub(super) fn push(&mut self, output: Output<E>) {
        if !self.closed {
            self.closed = matches!(output, Output::Ended(_));
            self.waiting.push_back(output);
        }
    }

    /// An event. Returns its number, from 1.
    pub(super) fn say(&mut self, cmd: Option<u64>, group: Option<Name>, body: Body) -> u64 {
        if !self.closed {
            self.events += 1;
            self.push(Output::Event(Event { at: self.unix, cmd, group, body }));
        }
        self.events
    }

    /// A datagram of a link.
    pub(super) fn transmit(&mut self, to: SocketAddr, departure: Transmission) {
        self.datagrams.sent += 1;
        if self.trace {
            self.say(None, None, Body::Trace(TraceEvent::sent(to, &departure)));
        }
        self.push(Output::Transmit { to, bytes: departure.bytes });
    }

    /// A datagram outside any link.
    pub(super) fn send(&mut self, to: SocketAddr, head: &Header, frame: Option<Frame>) {
        let lines = frame.map(Frame::lines).unwrap_or_default();
        let bytes = wire::emit(head, lines.iter().map(String::as_str));
        self.transmit(to, Transmission { bytes, copy: None });
    }

    /// Answers `question`, which came from there, that the life it was meant for is gone; never in more bytes.
    pub(super) fn send_gone(&mut self, to: SocketAddr, head: &Header, question: &[u8]) {
        if wire::emit(head, []).len() <= question.len() {
            self.send(to, head, None);
        }
    }

    /// A datagram that came, if it makes sense. One of another version is told so.
    pub(super) fn receive(&mut self, from: SocketAddr, bytes: &[u8]) -> Option<Datagram> {
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
                    self.transmit(from, Transmission { bytes, copy: None });
                }
                DropReason::Version
            }
            Err(_) => DropReason::Malformed,
        };
        self.dropped(from, bytes, reason);
        None
    }

    /// Counts a datagram that came and is of no use.
    pub(super) fn dropped(&mut self, from: SocketAddr, bytes: &[u8], reason: DropReason) {
        self.datagrams.dropped += 1;
        if self.trace {
            self.say(None, None, Body::Trace(TraceEvent::dropped(from, bytes, reason)));
        }
    }
}
