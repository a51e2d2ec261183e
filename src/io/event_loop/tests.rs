//! Tests of the event loop with real sockets and small machines.

use std::cell::Cell;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::io::control::{Control, ControlPath};
use crate::proto::console::Console;
use crate::proto::event::reason::FaultKind;
use crate::proto::machine::{ServerEffect, ServerInput};
use crate::proto::status::Status;

/// Answers datagrams with themselves, counts its timeouts, and ends at a shutdown.
#[derive(Default)]
struct Echo {
    out: VecDeque<Output<ServerEffect>>,
    at: Option<Instant>,
    timeouts: u32,
    inputs: Vec<String>,
}

impl Machine for Echo {
    type Input = ServerInput;
    type Effect = ServerEffect;

    fn handle(&mut self, now: Now, input: Input<'_, ServerInput>) {
        match input {
            Input::Datagram { from, bytes } => {
                self.out.push_back(Output::Transmit { to: from, bytes: bytes.to_vec() });
            }
            Input::Timeout => {
                assert!(self.at.is_some_and(|at| at <= now.mono), "never early");
                (self.timeouts, self.at) = (self.timeouts + 1, None);
                self.out.push_back(Output::Effect(ServerEffect::Fetch(vec![7])));
            }
            Input::Shutdown => self.out.push_back(Output::Ended(Exit { status: Status::Failed, ..Exit::default() })),
            Input::Role(ServerInput::Console(Console::Table)) => self.at = Some(now.mono + Duration::from_millis(20)),
            Input::Displayed(events) => self.inputs.push(format!("Displayed({events})")),
            Input::Role(input) => self.inputs.push(format!("{input:?}")),
        }
    }

    fn poll(&mut self, _now: Now) -> Option<Output<ServerEffect>> {
        self.out.pop_front()
    }

    fn deadline(&self) -> Option<Instant> {
        self.at
    }
}

/// Passes inputs from a channel; is over after a datagram was cut.
struct Inputs {
    inputs: Receiver<Input<'static, ServerInput>>,
    effects: Vec<ServerEffect>,
    dropped: Vec<TraceEvent>,
    is_over: bool,
}

impl Host<Echo> for Inputs {
    fn next(&mut self, _now: Now) -> Option<Input<'static, ServerInput>> {
        self.inputs.try_recv().ok()
    }
    fn events(&mut self, _now: Now, _events: Vec<Event>) {}
    fn dropped(&mut self, _now: Now, dropped: TraceEvent) {
        self.is_over |= matches!(dropped, TraceEvent::Fault { fault: FaultKind::Cut, .. });
        self.dropped.push(dropped);
    }
    fn perform(&mut self, effects: Vec<ServerEffect>) {
        self.effects.extend(effects);
    }
    fn deadline(&self) -> Option<Instant> {
        None
    }
    fn is_full(&self) -> bool {
        false
    }
    fn is_over(&self, _now: Now) -> bool {
        self.is_over
    }
}

fn inputs() -> (std::sync::mpsc::Sender<Input<'static, ServerInput>>, Inputs) {
    let (sender, inputs) = channel();
    (sender, Inputs { inputs, effects: Vec::new(), dropped: Vec::new(), is_over: false })
}

#[test]
fn more_datagrams_than_one_turn_takes_are_all_answered() {
    let socket = Socket::bind(0).unwrap();
    let port = socket.local_port();
    let mut event_loop = EventLoop::new(socket, DatagramSender::default(), Clock::start()).unwrap();
    let (sender, mut host) = inputs();
    let wake = event_loop.wake();
    let peer = std::thread::spawn(move || {
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        peer.connect(("127.0.0.1", port)).unwrap();
        let mut buffer = [0; 16];
        for round in 0..3_u32 {
            for n in 0..100_u32 {
                peer.send(&(round * 100 + n).to_be_bytes()).unwrap();
            }
            for n in 0..100_u32 {
                assert_eq!(peer.recv(&mut buffer).unwrap(), 4);
                assert_eq!(buffer[..4], (round * 100 + n).to_be_bytes());
            }
        }
        sender.send(Input::Shutdown).unwrap();
        wake();
    });
    let exit = event_loop.run(&mut Echo::default(), &mut host).unwrap();
    assert_eq!(exit.map(|exit| exit.status), Some(Status::Failed));
    peer.join().unwrap();
}

/// Shuts the machine down when it is dropped, so that a peer that fails ends the loop too.
struct ShutdownOnDrop(std::sync::mpsc::Sender<Input<'static, ServerInput>>, Wake);

impl Drop for ShutdownOnDrop {
    fn drop(&mut self) {
        // The loop may have ended already.
        drop(self.0.send(Input::Shutdown));
        (self.1)();
    }
}

#[test]
fn fault_commands_are_in_force_when_they_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = ControlPath::new(folder.path().join("control")).unwrap();
    let asker = std::os::unix::net::UnixDatagram::bind(folder.path().join("asker")).unwrap();
    let socket = Socket::bind(0).unwrap();
    let port = socket.local_port();
    let datagrams = DatagramSender::new(None, Some(Control::bind(&path).unwrap()));
    let mut event_loop = EventLoop::new(socket, datagrams, Clock::start()).unwrap();
    let (sender, mut host) = inputs();
    let shutdown = ShutdownOnDrop(sender, event_loop.wake());
    let peer = std::thread::spawn(move || {
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        peer.connect(("127.0.0.1", port)).unwrap();
        asker.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let order = |order: &str| {
            let mut buffer = [0; 16];
            asker.send_to(order.as_bytes(), path.as_path()).unwrap();
            let bytes = asker.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..bytes], b"ok");
        };
        let answers = |sent: &[u8], count: usize| -> Vec<u8> {
            sent.iter().for_each(|byte| _ = peer.send(&[*byte]).unwrap());
            let mut buffer = [0];
            let mut answer = || peer.recv(&mut buffer).map(|_| buffer[0]).unwrap();
            (0..count).map(|_| answer()).collect()
        };
        order("drop=1");
        assert_eq!(answers(b"12", 1), b"2");
        order("duplicate=100%");
        assert_eq!(answers(b"3", 2), b"33");
        order("heal,delay=20ms");
        assert_eq!(answers(b"4", 1), b"4");
        // The delay is longer than any test. The datagram leaves when the loop ends, after a datagram was cut.
        order("heal,delay=1h");
        let other = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        order(&format!("to={},cut", other.local_addr().unwrap()));
        answers(b"5", 0);
        other.send_to(b"67", ("127.0.0.1", port)).unwrap();
        assert_eq!(answers(b"", 1), b"5");
        drop(shutdown);
    });
    event_loop.run(&mut Echo::default(), &mut host).unwrap();
    peer.join().unwrap();
    let faults: Vec<_> = host
        .dropped
        .iter()
        .filter_map(|dropped| match dropped {
            TraceEvent::Fault { fault, bytes, .. } => Some((*fault, *bytes)),
            _ => None,
        })
        .collect();
    assert_eq!(faults, [(FaultKind::Drop, 1), (FaultKind::Cut, 2)]);
}

#[test]
fn a_deadline_is_kept_and_never_early() {
    let mut event_loop = EventLoop::new(Socket::bind(0).unwrap(), DatagramSender::default(), Clock::start()).unwrap();
    let (sender, mut host) = inputs();
    sender.send(Input::Role(ServerInput::Console(Console::Table))).unwrap();
    let mut machine = Echo::default();
    let wake = event_loop.wake();
    // Ends after the timeout of the machine: nothing else wakes the loop.
    struct Until<'a>(&'a mut Inputs, std::sync::mpsc::Sender<Input<'static, ServerInput>>, Wake);
    impl Host<Echo> for Until<'_> {
        fn next(&mut self, now: Now) -> Option<Input<'static, ServerInput>> {
            self.0.next(now)
        }
        fn events(&mut self, _now: Now, _events: Vec<Event>) {}
        fn dropped(&mut self, _now: Now, _dropped: TraceEvent) {}
        fn perform(&mut self, effects: Vec<ServerEffect>) {
            self.0.effects.extend(effects);
            self.1.send(Input::Shutdown).unwrap();
            (self.2)();
        }
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
    assert!(event_loop.run(&mut machine, &mut Until(&mut host, sender, wake)).unwrap().is_some());
    assert_eq!((machine.timeouts, host.effects), (1, vec![ServerEffect::Fetch(vec![7])]));
}

#[test]
fn many_other_inputs_reach_the_machine_in_order() {
    let mut event_loop = EventLoop::new(Socket::bind(0).unwrap(), DatagramSender::default(), Clock::start()).unwrap();
    let (sender, mut host) = inputs();
    let count = BATCH * 2 + 3;
    for n in 0..count {
        sender.send(Input::Displayed(n as u64)).unwrap();
    }
    sender.send(Input::Role(ServerInput::Console(Console::Help))).unwrap();
    sender.send(Input::Role(ServerInput::Mail(Vec::new()))).unwrap();
    sender.send(Input::Shutdown).unwrap();
    let mut machine = Echo::default();
    event_loop.run(&mut machine, &mut host).unwrap();
    let mut expected: Vec<String> = (0..count).map(|n| format!("Displayed({n})")).collect();
    expected.extend(["Console(Help)".to_owned(), "Mail([])".to_owned()]);
    assert_eq!(machine.inputs, expected);
}

#[test]
fn a_host_that_is_over_ends_the_loop_without_an_exit() {
    let mut event_loop = EventLoop::new(Socket::bind(0).unwrap(), DatagramSender::default(), Clock::start()).unwrap();
    let (_sender, mut host) = inputs();
    host.is_over = true;
    assert_eq!(event_loop.run(&mut Echo::default(), &mut host).unwrap(), None);
}

/// Records its inputs, and ends at its deadline, which has passed from the start.
#[derive(Default)]
struct Diary(Vec<&'static str>, VecDeque<Output<ServerEffect>>);

impl Machine for Diary {
    type Input = ServerInput;
    type Effect = ServerEffect;

    fn handle(&mut self, _now: Now, input: Input<'_, ServerInput>) {
        self.0.push(match input {
            Input::Datagram { .. } => "datagram",
            Input::Timeout => {
                self.1.push_back(Output::Ended(Exit::default()));
                "timeout"
            }
            _ => "answer",
        });
    }
    fn poll(&mut self, _now: Now) -> Option<Output<ServerEffect>> {
        self.1.pop_front()
    }
    fn deadline(&self) -> Option<Instant> {
        Some(Instant::ZERO)
    }
}

/// Is full until its store has answered a given number of times, once a turn.
struct Full(u32, bool);

impl Host<Diary> for Full {
    fn next(&mut self, _now: Now) -> Option<Input<'static, ServerInput>> {
        self.1 = !self.1 && self.0 > 0;
        self.0 -= u32::from(self.1);
        self.1.then_some(Input::Role(ServerInput::Persisted { through: 1, refused: Vec::new() }))
    }
    fn events(&mut self, _now: Now, _events: Vec<Event>) {}
    fn dropped(&mut self, _now: Now, _dropped: TraceEvent) {}
    fn perform(&mut self, _effects: Vec<ServerEffect>) {}
    fn deadline(&self) -> Option<Instant> {
        Some(Instant::ZERO)
    }
    fn is_full(&self) -> bool {
        self.0 > 0
    }
    fn is_over(&self, _now: Now) -> bool {
        false
    }
}

#[test]
fn a_machine_far_ahead_of_the_disk_gets_only_the_answers_of_the_disk() {
    let mut socket = Socket::bind(0).unwrap();
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.send_to(b"1", ("127.0.0.1", socket.local_port())).unwrap();
    // The datagram is there before the first turn.
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&mut socket, Token(0), Interest::READABLE).unwrap();
    poll.poll(&mut Events::with_capacity(1), Some(Duration::from_secs(30))).unwrap();
    poll.registry().deregister(&mut socket).unwrap();
    let mut event_loop = EventLoop::new(socket, DatagramSender::default(), Clock::start()).unwrap();
    let mut machine = Diary::default();
    event_loop.run(&mut machine, &mut Full(3, false)).unwrap();
    assert_eq!(machine.0, ["answer", "answer", "answer", "datagram", "timeout"]);
}

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
    all: std::cell::RefCell<Vec<(usize, usize)>>,
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
    let mut turns =
        Turns { received: machine.received.clone(), sent: machine.sent.clone(), all: std::cell::RefCell::default() };
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
