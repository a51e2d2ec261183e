//! The loop that gives a machine its inputs and does what it wants done; it decides nothing.
//!
//! One turn: take what waits, up to [`BATCH`] datagrams and as many other inputs; drain the machine; send; hand over
//! effects and events; then wait until a deadline or until something arrives. Each input is handled at a time at which
//! it was there, so that the times that several programs tell follow from each other as what happened did.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};

use crate::io::clock::Clock;
use crate::io::input::Wake;
use crate::io::sender::{DatagramSender, Transmit};
use crate::io::socket::{Socket, is_loss};
use crate::proto::event::Event;
use crate::proto::event::trace::TraceEvent;
use crate::proto::machine::{Exit, Input, Machine, Output};
use crate::proto::time::{Instant, Now, earliest};

/// The most datagrams, and the most other inputs, of one turn: small enough to keep every deadline within a few
/// milliseconds, large enough to make one transaction and one write of many.
pub const BATCH: usize = 256;

/// The longest datagram there is.
const MAX_DATAGRAM: usize = 65_536;

const SOCKET: Token = Token(0);
const WAKER: Token = Token(1);
const CONTROL: Token = Token(2);

/// Passes inputs other than datagrams to a machine and performs its effects.
pub trait Host<M: Machine> {
    /// The next input of the machine, if there is any. Never blocks.
    fn next(&mut self, now: Now) -> Option<Input<'static, M::Input>>;

    /// Takes the events of one drain, in order. Never blocks.
    fn events(&mut self, now: Now, events: Vec<Event>);

    /// Takes in that a datagram did not leave. Never blocks.
    fn swallowed(&mut self, now: Now, swallowed: TraceEvent);

    /// Performs the effects of one turn, in order. Never blocks.
    fn perform(&mut self, effects: Vec<M::Effect>);

    /// When [`Host::next`] wants to be asked again at the latest.
    fn deadline(&self) -> Option<Instant>;

    /// Whether the machine is too far ahead of the disk: then it is given no datagrams, which wait in the socket or are
    /// lost, as on a slow network, and no time passes for it. Whoever makes it false again wakes the loop.
    fn is_full(&self) -> bool;

    /// Whether to end now, whatever the machine says.
    fn is_over(&self, now: Now) -> bool;
}

/// A socket, and what is needed to wait for it.
pub struct EventLoop {
    poll: Poll,
    ready: Events,
    waker: Arc<Waker>,
    socket: Socket,
    outgoing: DatagramSender,
    clock: Clock,
    /// The socket was left before it said that nothing waits.
    readable: bool,
    buffer: Vec<u8>,
}

impl EventLoop {
    /// Prepares to wait for this socket, and to send through `outgoing`.
    ///
    /// # Errors
    /// When the system refuses a poll or a waker.
    pub fn new(mut socket: Socket, mut outgoing: DatagramSender, clock: Clock) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        poll.registry().register(&mut socket, SOCKET, Interest::READABLE)?;
        if let Some(control) = outgoing.control() {
            poll.registry().register(control, CONTROL, Interest::READABLE)?;
        }
        let (ready, buffer) = (Events::with_capacity(8), vec![0; MAX_DATAGRAM]);
        Ok(Self { poll, ready, waker, socket, outgoing, clock, readable: true, buffer })
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
    pub fn run<M: Machine, H: Host<M>>(&mut self, machine: &mut M, front: &mut H) -> io::Result<Option<Exit>> {
        let ending = self.run_turns(machine, front);
        let rest = self.outgoing.rest();
        self.send(rest);
        ending
    }

    fn run_turns<M: Machine, H: Host<M>>(&mut self, machine: &mut M, front: &mut H) -> io::Result<Option<Exit>> {
        loop {
            // First, so that an order to a program that was stopped is in force before it sends anything.
            self.outgoing.execute_commands();
            if !front.is_full() {
                self.receive(machine)?;
                let now = self.clock.now();
                if machine.deadline().is_some_and(|at| at <= now.mono) {
                    machine.handle(now, Input::Timeout);
                }
            }
            let mut taken = 0;
            loop {
                let mut now = self.clock.now();
                while taken < BATCH
                    && let Some(input) = front.next(now)
                {
                    now = self.clock.now();
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
            let deadline = earliest(front.deadline(), self.outgoing.deadline());
            if front.is_full() {
                self.wait(deadline, taken >= BATCH)?;
            } else {
                self.wait(earliest(deadline, machine.deadline()), taken >= BATCH || self.readable)?;
            }
        }
    }

    fn receive<M: Machine>(&mut self, machine: &mut M) -> io::Result<()> {
        for _ in 0..BATCH {
            if !self.readable {
                break;
            }
            match self.socket.recv(&mut self.buffer) {
                Ok((length, from)) => {
                    machine.handle(self.clock.now(), Input::Datagram { from, bytes: &self.buffer[..length] });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                // Word that nobody listens where an earlier datagram went; the machine's own timers see to that.
                Err(error) if is_loss(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Does everything the machine wants; says whether there were events, and how the machine ended if it did.
    fn drain<M: Machine, H: Host<M>>(&mut self, machine: &mut M, front: &mut H, now: Now) -> (bool, Option<Exit>) {
        let (mut transmits, mut effects, mut events): (Vec<Transmit>, Vec<_>, Vec<_>) = Default::default();
        let mut ending = None;
        while let Some(output) = machine.poll(now) {
            match output {
                Output::Transmit { to, bytes } => transmits.push((to, bytes)),
                Output::Event(event) => events.push(event),
                Output::Effect(effect) => effects.push(effect),
                Output::Ended(how) => ending = Some(how),
            }
        }
        let (transmits, swallowed) = self.outgoing.pass(now.mono, transmits);
        self.send(transmits);
        if !effects.is_empty() {
            front.perform(effects);
        }
        let shown = !events.is_empty();
        if shown {
            front.events(now, events);
        }
        swallowed.into_iter().for_each(|swallowed| front.swallowed(now, swallowed));
        (shown, ending)
    }

    fn send(&self, transmits: Vec<Transmit>) {
        for (to, bytes) in transmits {
            // A datagram that cannot be sent is a lost one.
            drop(self.socket.send_to(&bytes, to));
        }
    }

    fn wait(&mut self, until: Option<Instant>, busy: bool) -> io::Result<()> {
        let busy = busy || self.outgoing.has_commands();
        let limit = if busy { Some(Duration::ZERO) } else { until.map(|at| at.since(self.clock.now().mono)) };
        if let Err(error) = self.poll.poll(&mut self.ready, limit)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        self.readable |= self.ready.iter().any(|event| event.token() == SOCKET);
        if let Some(control) = self.outgoing.control().filter(|_| self.ready.iter().any(|e| e.token() == CONTROL)) {
            control.set_readable();
        }
        Ok(())
    }
}
