//! Tests of one turn of the event loop: its limits, its timers and its wakes.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::rc::Rc;

use super::*;
use crate::proto::machine::{ServerEffect, ServerInput};

/// Counts its datagrams, and has others to send. Ends when there is neither in a turn.
#[derive(Default)]
struct Counter {
    unsent: VecDeque<Vec<u8>>,
    to: Option<SocketAddr>,
    received: Rc<Cell<usize>>,
    sent: Rc<Cell<usize>>,
}

impl Machine for Counter {
    type Input = ServerInput;
    type Effect = ServerEffect;

    fn handle(&mut self, _now: Now, _input: Input<'_, ServerInput>) {
        self.received.update(|count| count + 1);
    }
    fn poll(&mut self, _now: Now) -> Option<Output<ServerEffect>> {
        let bytes = self.unsent.pop_front()?;
        self.sent.update(|count| count + 1);
        Some(Output::Transmit { to: self.to?, bytes })
    }
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// Records the datagrams received and sent in each turn. Is over after a turn without any.
#[derive(Default)]
struct Turns {
    received: Rc<Cell<usize>>,
    sent: Rc<Cell<usize>>,
    all: RefCell<Vec<(usize, usize)>>,
}

impl Host<Counter> for Turns {
    fn next(&mut self, _now: Now) -> Option<Input<'static, ServerInput>> {
        None
    }
    fn events(&mut self, _now: Now, _events: Vec<Event>) {}
    fn dropped(&mut self, _now: Now, _dropped: TraceEvent) {}
    fn perform(&mut self, _effects: Vec<ServerEffect>) {}
    fn deadline(&self) -> Option<Instant> {
        Some(Instant::ZERO)
    }
    fn is_full(&self) -> bool {
        false
    }
    fn is_over(&self, _now: Now) -> bool {
        let turn = (self.received.take(), self.sent.take());
        self.all.borrow_mut().push(turn);
        turn == (0, 0)
    }
}

#[test]
fn a_turn_reads_and_sends_a_limited_number_of_datagrams_and_reads_before_it_sends_more() {
    let (mut peer, socket) = (Socket::bind(0).unwrap(), Socket::bind(0).unwrap());
    let to = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // With segmentation offload, they fit into the smallest receive buffer.
    peer.send((0..READ_MAX + 10).map(|_| (to(socket.local_port()), vec![0; 8])).collect());
    let mut machine = Counter { to: Some(to(peer.local_port())), ..Counter::default() };
    machine.unsent = (0..2 * SEND_MAX + 3).map(|_| vec![0; 8]).collect();
    let mut turns = Turns { received: machine.received.clone(), sent: machine.sent.clone(), all: RefCell::default() };
    let mut event_loop = EventLoop::new(socket, DatagramSender::default(), Clock::start()).unwrap();
    assert_eq!(event_loop.run(&mut machine, &mut turns).unwrap(), None);
    let expected = [(READ_MAX, SEND_MAX), (10, SEND_MAX), (0, 3), (0, 0)];
    assert_eq!(turns.all.into_inner(), expected);
}

/// Sends itself datagrams: `early` ones for the first datagram, at which its timer becomes due, and late ones for each
/// further one, so that its socket is never empty. Ends at a timeout.
struct Flooded {
    peer: UdpSocket,
    early: usize,
    at: Option<Instant>,
    late: usize,
    inputs: Vec<&'static str>,
    has_ended: bool,
}

impl Machine for Flooded {
    type Input = ServerInput;
    type Effect = ServerEffect;

    fn handle(&mut self, now: Now, input: Input<'_, ServerInput>) {
        let Input::Datagram { bytes, .. } = input else {
            assert!(self.at.is_some_and(|at| at <= now.mono), "never early");
            self.inputs.push("timeout");
            (self.at, self.has_ended) = (None, true);
            return;
        };
        self.inputs.push(if bytes == b"late" { "late" } else { "early" });
        assert!(self.inputs.len() < 10_000, "the timer never fires");
        let (count, next) = if self.at.is_none() { (self.early, b"next") } else { (self.late, b"late") };
        self.at.get_or_insert(now.mono);
        (0..count).for_each(|_| _ = self.peer.send(next).unwrap());
    }
    fn poll(&mut self, _now: Now) -> Option<Output<ServerEffect>> {
        self.has_ended.then(|| Output::Ended(Exit::default())).inspect(|_| self.has_ended = false)
    }
    fn deadline(&self) -> Option<Instant> {
        self.at
    }
}

impl Host<Flooded> for () {
    fn next(&mut self, _now: Now) -> Option<Input<'static, ServerInput>> {
        None
    }
    fn events(&mut self, _now: Now, _events: Vec<Event>) {}
    fn dropped(&mut self, _now: Now, _dropped: TraceEvent) {}
    fn perform(&mut self, _effects: Vec<ServerEffect>) {}
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn is_full(&self) -> bool {
        false
    }
    fn is_over(&self, _now: Now) -> bool {
        false
    }
}

/// The inputs of a machine whose timer becomes due before `early` datagrams arrive. Each of these brings `late` ones.
fn flooded(early: usize, late: usize) -> Vec<&'static str> {
    let socket = Socket::bind(0).unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.connect((Ipv4Addr::LOCALHOST, socket.local_port())).unwrap();
    peer.send(b"first").unwrap();
    let mut machine = Flooded { peer, early, at: None, late, inputs: Vec::new(), has_ended: false };
    let mut event_loop = EventLoop::new(socket, DatagramSender::default(), Clock::start()).unwrap();
    assert!(event_loop.run(&mut machine, &mut ()).unwrap().is_some());
    machine.inputs
}

/// Opens a socket and waits until the system stamps datagrams when they arrive. It begins a moment after the first
/// socket asks for it; until then it gives the time of the read.
fn socket_with_receive_times() -> Socket {
    let mut socket = Socket::bind(0).unwrap();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, socket.local_port()));
    let (clock, mut batch) = (Clock::start(), ReceiveBatch::default());
    for _ in 0..1_000_000 {
        socket.send(vec![(to, b"x".to_vec())]);
        let sent = clock.now().unix;
        std::thread::yield_now();
        if socket.receive(&mut batch).is_ok()
            && batch.front().is_some_and(|received| received.arrived.is_some_and(|at| at < sent))
        {
            return socket;
        }
    }
    panic!("the system gives no receive times");
}

#[test]
fn a_due_timer_fires_after_the_datagrams_that_waited_and_before_later_ones() {
    let _keeps_the_receive_times = socket_with_receive_times();
    assert_eq!(flooded(0, 0), ["early", "timeout"]);
    assert_eq!(flooded(3, 1), ["early", "early", "early", "early", "timeout"]);
    // More than one system call returns: the socket is never found empty.
    let inputs = flooded(40, 3);
    assert_eq!(inputs[..41], ["early"; 41]);
    let timeout = inputs.iter().position(|input| *input == "timeout").unwrap();
    // A late one can have the same microsecond as the look at the timer.
    assert!((41..41 + 10).contains(&timeout), "{timeout}");
}

#[test]
fn only_the_first_wake_of_a_sleeping_loop_costs_a_system_call() {
    let state = WakeState::default();
    assert!(!state.sleep(), "it has not looked yet");
    state.run();
    assert!(!state.wake(), "it runs");
    assert!(!state.sleep(), "an input came after it looked");
    state.run();
    assert!(state.sleep());
    assert!(state.wake());
    assert!(!state.wake());
}
