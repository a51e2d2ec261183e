//! The loop that gives a machine its inputs and does what it wants done; it decides nothing.
//!
//! One turn: take what waits, up to [`BATCH`] datagrams and as many other inputs, all at the same `now`; drain the
//! machine; send; hand over records and events; then wait until a deadline or until something arrives.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};

use super::clock::Clock;
use super::input::Wake;
use super::socket::{Socket, is_loss};
use crate::core::event::Event;
use crate::core::machine::{Ending, Input, Machine, Output};
use crate::core::record::Record;
use crate::core::time::{Instant, Now, earliest};

/// The most datagrams, and the most other inputs, of one turn: small enough to keep every deadline within a few
/// milliseconds, large enough to make one transaction and one write of many.
pub const BATCH: usize = 256;

/// The longest datagram there is.
const MAX_DATAGRAM: usize = 65_536;

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);

/// What stands around a machine: gives it what is no datagram, takes from it what is none.
pub trait Front {
    /// The next thing to tell the machine, if there is any. Never blocks.
    fn next(&mut self, now: Now) -> Option<Input<'static>>;

    /// Takes the events of one drain, in order. Never blocks.
    fn events(&mut self, now: Now, events: Vec<Event>);

    /// Takes the records of one turn, which belong together. Never blocks.
    fn records(&mut self, records: Vec<Record>);

    /// Is asked for messages on disk. Never blocks.
    fn fetch(&mut self, seqs: Vec<u64>);

    /// When [`Front::next`] wants to be asked again at the latest.
    fn deadline(&self) -> Option<Instant>;

    /// Whether to end now, whatever the machine says.
    fn is_over(&self, now: Now) -> bool;
}

/// A socket, and what is needed to wait for it.
pub struct Drive {
    poll: Poll,
    ready: Events,
    waker: Arc<Waker>,
    socket: Socket,
    clock: Clock,
    /// The socket was left before it said that nothing waits.
    readable: bool,
    buffer: Vec<u8>,
}

impl Drive {
    /// Prepares to wait for this socket.
    ///
    /// # Errors
    /// When the system refuses a poll or a waker.
    pub fn new(mut socket: Socket, clock: Clock) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        poll.registry().register(&mut socket, SOCKET, Interest::READABLE)?;
        let (ready, buffer) = (Events::with_capacity(8), vec![0; MAX_DATAGRAM]);
        Ok(Self { poll, ready, waker, socket, clock, readable: true, buffer })
    }

    /// Ends the wait of the loop, from any thread.
    #[must_use]
    pub fn wake(&self) -> Wake {
        let waker = self.waker.clone();
        // A waker that fails has a full counter, so that the loop is awake already.
        Arc::new(move || drop(waker.wake()))
    }

    /// Runs until the machine has ended, or until the front is over: then there is no ending.
    ///
    /// # Errors
    /// When waiting itself or the socket fails; trouble of single datagrams is only loss.
    pub fn run<M: Machine, F: Front>(&mut self, machine: &mut M, front: &mut F) -> io::Result<Option<Ending>> {
        loop {
            let now = self.clock.now();
            self.receive(machine, now)?;
            if machine.deadline().is_some_and(|at| at <= now.mono) {
                machine.handle(now, Input::Timeout);
            }
            let mut taken = 0;
            loop {
                while taken < BATCH
                    && let Some(input) = front.next(now)
                {
                    machine.handle(now, input);
                    taken += 1;
                }
                let (shown, ending) = self.drain(machine, front, now);
                if ending.is_some() {
                    return Ok(ending);
                }
                // What was shown may be what the front waited for.
                if !shown || taken >= BATCH {
                    break;
                }
            }
            if front.is_over(self.clock.now()) {
                return Ok(None);
            }
            self.wait(earliest(machine.deadline(), front.deadline()), taken >= BATCH)?;
        }
    }

    fn receive<M: Machine>(&mut self, machine: &mut M, now: Now) -> io::Result<()> {
        for _ in 0..BATCH {
            if !self.readable {
                break;
            }
            match self.socket.recv(&mut self.buffer) {
                Ok((length, from)) => machine.handle(now, Input::Datagram { from, bytes: &self.buffer[..length] }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                // Word that nobody listens where an earlier datagram went; the machine's own timers see to that.
                Err(error) if is_loss(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Does everything the machine wants; says whether there were events, and how the machine ended if it did.
    fn drain<M: Machine, F: Front>(&self, machine: &mut M, front: &mut F, now: Now) -> (bool, Option<Ending>) {
        let (mut transmits, mut records, mut events): (Vec<(SocketAddr, Vec<u8>)>, Vec<_>, Vec<_>) = Default::default();
        let mut ending = None;
        while let Some(output) = machine.poll(now) {
            match output {
                Output::Transmit { to, bytes } => transmits.push((to, bytes)),
                Output::Persist(record) => records.push(record),
                Output::Fetch(seqs) => front.fetch(seqs),
                Output::Event(event) => events.push(event),
                Output::Ended(how) => ending = Some(how),
            }
        }
        for (to, bytes) in transmits {
            // A datagram that cannot be sent is a lost one.
            drop(self.socket.send_to(&bytes, to));
        }
        if !records.is_empty() {
            front.records(records);
        }
        let shown = !events.is_empty();
        if shown {
            front.events(now, events);
        }
        (shown, ending)
    }

    fn wait(&mut self, until: Option<Instant>, busy: bool) -> io::Result<()> {
        let limit =
            if busy || self.readable { Some(Duration::ZERO) } else { until.map(|at| at.since(self.clock.now().mono)) };
        if let Err(error) = self.poll.poll(&mut self.ready, limit)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        self.readable |= self.ready.iter().any(|event| event.token() == SOCKET);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::core::command::Command;
    use crate::core::console::Console;
    use crate::core::record::Mail;
    use crate::core::status::Status;

    /// Answers datagrams with themselves, counts its timeouts, and ends when it is told to leave.
    #[derive(Default)]
    struct Echo {
        out: VecDeque<Output>,
        at: Option<Instant>,
        timeouts: u32,
        inputs: Vec<String>,
    }

    impl Machine for Echo {
        fn handle(&mut self, now: Now, input: Input<'_>) {
            match input {
                Input::Datagram { from, bytes } => {
                    self.out.push_back(Output::Transmit { to: from, bytes: bytes.to_vec() });
                }
                Input::Timeout => {
                    assert!(self.at.is_some_and(|at| at <= now.mono), "never early");
                    (self.timeouts, self.at) = (self.timeouts + 1, None);
                    self.out.push_back(Output::Fetch(vec![7]));
                }
                Input::Leave => {
                    self.out.push_back(Output::Ended(Ending { status: Status::Failed, ..Ending::default() }))
                }
                Input::Command(_) => self.at = Some(now.mono + Duration::from_millis(20)),
                other => self.inputs.push(format!("{other:?}")),
            }
        }

        fn poll(&mut self, _now: Now) -> Option<Output> {
            self.out.pop_front()
        }

        fn deadline(&self) -> Option<Instant> {
            self.at
        }
    }

    /// Gives inputs from a channel; leaves when it is asked to fetch.
    struct Inputs {
        inputs: Receiver<Input<'static>>,
        fetched: Vec<u64>,
        over: bool,
    }

    impl Front for Inputs {
        fn next(&mut self, _now: Now) -> Option<Input<'static>> {
            self.inputs.try_recv().ok()
        }
        fn events(&mut self, _now: Now, _events: Vec<Event>) {}
        fn records(&mut self, _records: Vec<Record>) {}
        fn fetch(&mut self, seqs: Vec<u64>) {
            self.fetched.extend(seqs);
        }
        fn deadline(&self) -> Option<Instant> {
            None
        }
        fn is_over(&self, _now: Now) -> bool {
            self.over
        }
    }

    fn front() -> (std::sync::mpsc::Sender<Input<'static>>, Inputs) {
        let (tell, inputs) = channel();
        (tell, Inputs { inputs, fetched: Vec::new(), over: false })
    }

    #[test]
    fn more_datagrams_than_one_turn_takes_are_all_answered() {
        let socket = Socket::bind(0).unwrap();
        let port = socket.local_port();
        let mut drive = Drive::new(socket, Clock::start()).unwrap();
        let (tell, mut front) = front();
        let wake = drive.wake();
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
            tell.send(Input::Leave).unwrap();
            wake();
        });
        let ending = drive.run(&mut Echo::default(), &mut front).unwrap();
        assert_eq!(ending.map(|ending| ending.status), Some(Status::Failed));
        peer.join().unwrap();
    }

    #[test]
    fn a_deadline_is_kept_and_never_early() {
        let mut drive = Drive::new(Socket::bind(0).unwrap(), Clock::start()).unwrap();
        let (tell, mut front) = front();
        tell.send(Input::Command(Ok(Command::Table))).unwrap();
        let mut machine = Echo::default();
        let wake = drive.wake();
        // Ends when the machine was told of its deadline: nothing else ever wakes the loop.
        struct Until<'a>(&'a mut Inputs, std::sync::mpsc::Sender<Input<'static>>, Wake);
        impl Front for Until<'_> {
            fn next(&mut self, now: Now) -> Option<Input<'static>> {
                self.0.next(now)
            }
            fn events(&mut self, _now: Now, _events: Vec<Event>) {}
            fn records(&mut self, _records: Vec<Record>) {}
            fn fetch(&mut self, seqs: Vec<u64>) {
                self.0.fetch(seqs);
                self.1.send(Input::Leave).unwrap();
                (self.2)();
            }
            fn deadline(&self) -> Option<Instant> {
                None
            }
            fn is_over(&self, _now: Now) -> bool {
                false
            }
        }
        assert!(drive.run(&mut machine, &mut Until(&mut front, tell, wake)).unwrap().is_some());
        assert_eq!((machine.timeouts, front.fetched), (1, vec![7]));
    }

    #[test]
    fn every_other_input_reaches_the_machine_in_order_even_if_there_are_many() {
        let mut drive = Drive::new(Socket::bind(0).unwrap(), Clock::start()).unwrap();
        let (tell, mut front) = front();
        let count = BATCH * 2 + 3;
        for n in 0..count {
            tell.send(Input::Shown(n as u64)).unwrap();
        }
        tell.send(Input::Console(Console::Help)).unwrap();
        tell.send(Input::Mail(Vec::<Mail>::new())).unwrap();
        tell.send(Input::Leave).unwrap();
        let mut machine = Echo::default();
        drive.run(&mut machine, &mut front).unwrap();
        let mut expected: Vec<String> = (0..count).map(|n| format!("Shown({n})")).collect();
        expected.extend(["Console(Help)".to_owned(), "Mail([])".to_owned()]);
        assert_eq!(machine.inputs, expected);
    }

    #[test]
    fn a_front_that_is_over_ends_the_loop_without_an_ending() {
        let mut drive = Drive::new(Socket::bind(0).unwrap(), Clock::start()).unwrap();
        let (_tell, mut front) = front();
        front.over = true;
        assert_eq!(drive.run(&mut Echo::default(), &mut front).unwrap(), None);
    }
}
