//! Tests of the event loop with real sockets and small machines.

use std::collections::VecDeque;
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
