//! Event loop: feeds inputs to a machine and performs its outputs. It makes no decisions.
//!
//! One turn reads until the socket is empty, at most [`READ_MAX`] datagrams, takes up to [`BATCH`] other inputs, sends
//! at most [`SEND_MAX`] datagrams, hands effects and events to the host, and waits for the next input or the earliest
//! deadline. It reads more than it sends, because each datagram sent may bring an answer, and an answer that finds the
//! socket full is lost. Each input is handled with a timestamp taken after it arrived, so that timestamps from several
//! programs agree with the order of events.

#[cfg(test)]
mod tests;
#[cfg(test)]
mod turn_tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};

use crate::io::clock::Clock;
use crate::io::input::Wake;
use crate::io::sender::{DatagramSender, Transmit};
use crate::io::socket::{ReceiveBatch, Received, Socket, is_loss};
use crate::proto::event::Event;
use crate::proto::event::trace::TraceEvent;
use crate::proto::machine::{Exit, Input, Machine, Output};
use crate::proto::time::{Instant, Now, Timestamp, earliest};

/// The most datagrams that one turn reads.
pub const READ_MAX: usize = 2_048;

/// The most datagrams that one turn sends. The rest stays in the machine, which picks them in turn over its links.
pub const SEND_MAX: usize = 512;

/// The most inputs of one turn that are not datagrams. Small enough to keep every deadline within a few milliseconds,
/// large enough to combine many inputs into one transaction and one write.
pub const BATCH: usize = 256;

/// A timer fires this long after it was due, whatever waits in the socket.
const LATE: Duration = Duration::from_millis(100);

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
const CONTROL: Token = Token(2);

/// Passes inputs other than datagrams to a machine, displays its events and performs its effects.
pub trait Host<M: Machine> {
    /// The next input of the machine, if there is any. Never blocks.
    fn next(&mut self, now: Now) -> Option<Input<'static, M::Input>>;

    /// Displays the events of one drain, in order. Never blocks.
    fn events(&mut self, now: Now, events: Vec<Event>);

    /// Displays that a network fault dropped a datagram. Never blocks.
    fn dropped(&mut self, now: Now, dropped: TraceEvent);

    /// Performs the effects of one turn, in order. Never blocks.
    fn perform(&mut self, effects: Vec<M::Effect>);

    /// When to call [`Host::next`] again at the latest.
    fn deadline(&self) -> Option<Instant>;

    /// Whether the machine is too far ahead of the disk. While this is true the loop reads no datagrams, which wait in
    /// the socket or are lost, and no timer of the machine fires. The loop must be woken when it becomes false.
    fn is_full(&self) -> bool;

    /// Whether to end now, even if the machine has not ended.
    fn is_over(&self, now: Now) -> bool;
}

/// Whether the loop runs, so that a wake needs no system call.
#[derive(Debug, Default)]
struct WakeState(AtomicU8);

impl WakeState {
    /// The loop has not looked at its inputs since it slept, or was woken.
    const WOKEN: u8 = 0;
    const RUNNING: u8 = 1;
    const ASLEEP: u8 = 2;

    /// Notes an input. Returns whether the loop sleeps, so that it must be woken.
    fn wake(&self) -> bool {
        self.0.swap(Self::WOKEN, Ordering::SeqCst) == Self::ASLEEP
    }

    /// Notes that the loop looks at all inputs from now on.
    fn run(&self) {
        self.0.store(Self::RUNNING, Ordering::SeqCst);
    }

    /// Returns whether the loop may sleep: no input came since it began to look.
    fn sleep(&self) -> bool {
        self.0.compare_exchange(Self::RUNNING, Self::ASLEEP, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

/// A socket, the poll that waits for it, and the sender of datagrams.
pub struct EventLoop {
    poll: Poll,
    ready: Events,
    waker: Arc<Waker>,
    wake_state: Arc<WakeState>,
    socket: Socket,
    sender: DatagramSender,
    clock: Clock,
    received: ReceiveBatch,
    /// Whether datagrams may wait in the socket.
    readable: bool,
    /// A time at which no datagram waited: the latest one that is known.
    empty_at: Instant,
    /// When the loop saw that a timer of the machine is due while datagrams may have waited.
    due_since: Option<Now>,
    /// Whether the machine may have more datagrams to send.
    has_unsent: bool,
}

impl EventLoop {
    /// Registers the socket and the control socket of `sender`.
    ///
    /// # Errors
    /// The system refuses a poll or a waker.
    pub fn new(mut socket: Socket, mut sender: DatagramSender, clock: Clock) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        poll.registry().register(&mut socket, SOCKET, Interest::READABLE)?;
        if let Some(control) = sender.control() {
            poll.registry().register(control, CONTROL, Interest::READABLE)?;
        }
        Ok(Self {
            poll,
            ready: Events::with_capacity(8),
            waker,
            wake_state: Arc::default(),
            socket,
            sender,
            clock,
            received: ReceiveBatch::default(),
            readable: true,
            empty_at: Instant::ZERO,
            due_since: None,
            has_unsent: false,
        })
    }

    /// A function that ends the wait of the loop, from any thread.
    #[must_use]
    pub fn wake(&self) -> Wake {
        let (waker, state) = (self.waker.clone(), self.wake_state.clone());
        Arc::new(move || {
            if state.wake() {
                // A waker fails if its counter is full: the loop is awake already.
                drop(waker.wake());
            }
        })
    }

    /// Runs until the machine ends. Returns `None` if the host ended before.
    ///
    /// # Errors
    /// The poll or the socket fails. An error of one datagram only loses it.
    pub fn run<M: Machine, H: Host<M>>(&mut self, machine: &mut M, host: &mut H) -> io::Result<Option<Exit>> {
        let exit = self.run_turns(machine, host);
        let delayed = self.sender.take_delayed();
        self.socket.send(delayed);
        exit
    }

    fn run_turns<M: Machine, H: Host<M>>(&mut self, machine: &mut M, host: &mut H) -> io::Result<Option<Exit>> {
        loop {
            // First, so that a command to a stopped program is in force before it sends anything.
            self.sender.apply_commands();
            self.wake_state.run();
            if !host.is_full() {
                self.receive(machine)?;
                self.time_out(machine, self.clock.now());
            }
            let (mut inputs, mut room) = (0, SEND_MAX);
            loop {
                let mut now = self.clock.now();
                while inputs < BATCH
                    && let Some(input) = host.next(now)
                {
                    now = self.clock.now();
                    machine.handle(now, input);
                    inputs += 1;
                }
                let (has_events, exit) = self.drain(machine, host, now, &mut room);
                if exit.is_some() {
                    return Ok(exit);
                }
                // The host may have waited for one of these events.
                if !has_events || inputs >= BATCH {
                    break;
                }
            }
            if host.is_over(self.clock.now()) {
                return Ok(None);
            }
            let is_busy = inputs >= BATCH || self.has_unsent;
            let deadline = earliest(host.deadline(), self.sender.deadline());
            if host.is_full() {
                self.wait(deadline, is_busy)?;
            } else {
                let may_receive = self.readable || self.received.front().is_some();
                self.wait(earliest(deadline, machine.deadline()), is_busy || may_receive)?;
            }
        }
    }

    /// Fires the timers of the machine. Datagrams that waited in the socket when the loop saw that a timer is due are
    /// handled first, because one of them may be the acknowledgement that the timer waits for.
    ///
    /// The socket is a queue. A later datagram, by the time at which the system received it, therefore shows that they
    /// have been handled, as an empty socket does. What arrives later does not postpone a timer. Only the timers that
    /// were due at that time fire.
    fn time_out<M: Machine>(&mut self, machine: &mut M, now: Now) {
        let Some(at) = machine.deadline().filter(|at| *at <= now.mono) else {
            self.due_since = None;
            return;
        };
        if self.received.front().is_none() && self.empty_at >= at {
            self.due_since = None;
            machine.handle(Now { mono: self.empty_at, ..now }, Input::Timeout);
        } else {
            self.readable |= self.received.front().is_none();
            self.due_since.get_or_insert(now);
        }
    }

    /// Fires the timers that were due at `due_since` if the next datagram is a later one. A datagram without a
    /// receive time counts as later. For a moment after the first socket asks for them, Linux gives the time of the
    /// read.
    fn time_out_before<M: Machine>(&mut self, machine: &mut M, now: Now, arrived: Option<Timestamp>) {
        let is_later = |since: &Now| {
            // Receive times are civil: while the clock was set back, they say nothing.
            arrived.is_none_or(|at| at > since.unix) || now.mono.since(since.mono) > LATE
        };
        if let Some(since) = self.due_since.take_if(|since| is_later(since))
            && machine.deadline().is_some_and(|at| at <= since.mono)
        {
            machine.handle(Now { mono: since.mono, ..now }, Input::Timeout);
        }
    }

    fn receive<M: Machine>(&mut self, machine: &mut M) -> io::Result<()> {
        let mut deadline = machine.deadline();
        for _ in 0..READ_MAX {
            if self.received.front().is_none() && !self.fill()? {
                break;
            }
            let arrived = self.received.front().and_then(|received| received.arrived);
            let now = self.clock.now();
            if deadline.take_if(|at| *at <= now.mono).is_some() {
                self.due_since.get_or_insert(now);
            }
            self.time_out_before(machine, now, arrived);
            let Some(Received { from, bytes, .. }) = self.received.front() else { break };
            machine.handle(now, Input::Datagram { from, bytes });
            self.received.pop();
        }
        Ok(())
    }

    /// Reads the socket if datagrams may wait there. Returns whether there were any.
    fn fill(&mut self) -> io::Result<bool> {
        while self.readable {
            let now = self.clock.now().mono;
            match self.socket.receive(&mut self.received) {
                Ok(has_more) => {
                    self.readable = has_more;
                    if !has_more {
                        self.empty_at = now;
                    }
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    (self.readable, self.empty_at) = (false, now);
                }
                // An earlier datagram found no listener. The machine's timers handle that.
                Err(error) if is_loss(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Performs the outputs of the machine until there are `room` datagrams, and reduces `room`. Returns whether there
    /// were events, and the exit of the machine if it ended.
    fn drain<M: Machine, H: Host<M>>(
        &mut self,
        machine: &mut M,
        host: &mut H,
        now: Now,
        room: &mut usize,
    ) -> (bool, Option<Exit>) {
        let (mut transmits, mut effects, mut events): (Vec<Transmit>, Vec<_>, Vec<_>) = Default::default();
        let mut exit = None;
        self.has_unsent = true;
        while transmits.len() < *room {
            let Some(output) = machine.poll(now) else {
                self.has_unsent = false;
                break;
            };
            match output {
                Output::Transmit { to, bytes } => transmits.push((to, bytes)),
                Output::Event(event) => events.push(event),
                Output::Effect(effect) => effects.push(effect),
                Output::Ended(ended) => exit = Some(ended),
            }
        }
        *room -= transmits.len();
        let (transmits, dropped) = self.sender.pass(now.mono, transmits);
        self.socket.send(transmits);
        if !effects.is_empty() {
            host.perform(effects);
        }
        let has_events = !events.is_empty();
        if has_events {
            host.events(now, events);
        }
        dropped.into_iter().for_each(|dropped| host.dropped(now, dropped));
        (has_events, exit)
    }

    /// Waits for an input until a deadline, or only looks if the loop is busy.
    fn wait(&mut self, until: Option<Instant>, is_busy: bool) -> io::Result<()> {
        let now = self.clock.now().mono;
        let is_busy = is_busy || self.sender.has_commands() || until.is_some_and(|at| at <= now);
        if is_busy && self.sender.control().is_none() {
            // The next turn reads the socket, which says more than the poll and costs as much. It looks at the inputs
            // of the host, too.
            self.readable = true;
            return Ok(());
        }
        let may_sleep = !is_busy && self.wake_state.sleep();
        let limit = if may_sleep { until.map(|at| at.since(now)) } else { Some(Duration::ZERO) };
        if let Err(error) = self.poll.poll(&mut self.ready, limit) {
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        let is_readable = self.ready.iter().any(|event| event.token() == SOCKET);
        if !is_readable && !self.readable {
            let timed_out = if may_sleep && self.ready.is_empty() { until } else { None };
            self.empty_at = timed_out.unwrap_or(now);
        }
        self.readable |= is_readable;
        if let Some(control) = self.sender.control().filter(|_| self.ready.iter().any(|e| e.token() == CONTROL)) {
            control.set_readable();
        }
        Ok(())
    }
}
