//! Event loop: feeds inputs to a machine and performs its outputs. It makes no decisions.
//!
//! One turn reads up to [`BATCH`] datagrams and as many other inputs, drains the machine, sends, hands effects and
//! events to the host, and waits for the next input or the earliest deadline. Each input is handled with a timestamp
//! taken after it arrived, so that timestamps from several programs agree with the order of events.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};

use crate::io::clock::Clock;
use crate::io::input::Wake;
use crate::io::sender::{DatagramSender, Transmit};
use crate::io::socket::{BUFFER_BYTES, Socket, is_loss};
use crate::proto::event::Event;
use crate::proto::event::trace::TraceEvent;
use crate::proto::machine::{Exit, Input, Machine, Output};
use crate::proto::time::{Instant, Now, earliest};

/// The maximum of datagrams, and of other inputs, in one turn. Small enough to keep every deadline within a few
/// milliseconds, large enough to combine many inputs into one transaction and one write.
pub const BATCH: usize = 256;

/// The most datagrams that are handled before a due timer: as many as the receive buffer of the socket can hold.
const POSTPONED: usize = BUFFER_BYTES / 256;

/// The longest datagram of UDP, in bytes.
const DATAGRAM_BYTES_MAX: usize = 65_536;

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

/// A socket, the poll that waits for it, and the sender of datagrams.
pub struct EventLoop {
    poll: Poll,
    ready: Events,
    waker: Arc<Waker>,
    socket: Socket,
    sender: DatagramSender,
    clock: Clock,
    /// The last read of the socket did not return `WouldBlock`.
    readable: bool,
    /// Datagrams that were read since a timer of the machine became due.
    postponed: usize,
    buffer: Vec<u8>,
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
        let (ready, buffer) = (Events::with_capacity(8), vec![0; DATAGRAM_BYTES_MAX]);
        Ok(Self { poll, ready, waker, socket, sender, clock, readable: true, postponed: 0, buffer })
    }

    /// A function that ends the wait of the loop, from any thread.
    #[must_use]
    pub fn wake(&self) -> Wake {
        let waker = self.waker.clone();
        // A waker fails if its counter is full: the loop is awake already.
        Arc::new(move || drop(waker.wake()))
    }

    /// Runs until the machine ends. Returns `None` if the host ended before.
    ///
    /// # Errors
    /// The poll or the socket fails. An error of one datagram only loses it.
    pub fn run<M: Machine, H: Host<M>>(&mut self, machine: &mut M, host: &mut H) -> io::Result<Option<Exit>> {
        let exit = self.run_turns(machine, host);
        let delayed = self.sender.take_delayed();
        self.send(delayed);
        exit
    }

    fn run_turns<M: Machine, H: Host<M>>(&mut self, machine: &mut M, host: &mut H) -> io::Result<Option<Exit>> {
        loop {
            // First, so that a command to a stopped program is in force before it sends anything.
            self.sender.apply_commands();
            if !host.is_full() {
                self.receive(machine)?;
                self.time_out(machine);
            }
            let mut inputs = 0;
            loop {
                let mut now = self.clock.now();
                while inputs < BATCH
                    && let Some(input) = host.next(now)
                {
                    now = self.clock.now();
                    machine.handle(now, input);
                    inputs += 1;
                }
                let (has_events, exit) = self.drain(machine, host, now);
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
            let deadline = earliest(host.deadline(), self.sender.deadline());
            if host.is_full() {
                self.wait(deadline, inputs >= BATCH)?;
            } else {
                self.wait(earliest(deadline, machine.deadline()), inputs >= BATCH || self.readable)?;
            }
        }
    }

    /// Fires the timers of the machine. Datagrams that wait in the socket are handled first, because one of them may be
    /// the acknowledgement that a timer waits for. At most [`POSTPONED`] can: their arrival must not stop all timers.
    fn time_out<M: Machine>(&mut self, machine: &mut M) {
        let now = self.clock.now();
        if machine.deadline().is_none_or(|at| at > now.mono) {
            self.postponed = 0;
        } else if self.readable && self.postponed < POSTPONED {
            self.postponed += BATCH;
        } else {
            self.postponed = 0;
            machine.handle(now, Input::Timeout);
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
                // An earlier datagram found no listener. The machine's timers handle that.
                Err(error) if is_loss(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Performs all outputs of the machine. Returns whether there were events, and the exit of the machine if it ended.
    fn drain<M: Machine, H: Host<M>>(&mut self, machine: &mut M, host: &mut H, now: Now) -> (bool, Option<Exit>) {
        let (mut transmits, mut effects, mut events): (Vec<Transmit>, Vec<_>, Vec<_>) = Default::default();
        let mut exit = None;
        while let Some(output) = machine.poll(now) {
            match output {
                Output::Transmit { to, bytes } => transmits.push((to, bytes)),
                Output::Event(event) => events.push(event),
                Output::Effect(effect) => effects.push(effect),
                Output::Ended(ended) => exit = Some(ended),
            }
        }
        let (transmits, dropped) = self.sender.pass(now.mono, transmits);
        self.send(transmits);
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

    fn send(&self, transmits: Vec<Transmit>) {
        for (to, bytes) in transmits {
            // A datagram that cannot be sent is lost.
            drop(self.socket.send_to(&bytes, to));
        }
    }

    fn wait(&mut self, until: Option<Instant>, is_busy: bool) -> io::Result<()> {
        let is_busy = is_busy || self.sender.has_commands();
        let limit = if is_busy { Some(Duration::ZERO) } else { until.map(|at| at.since(self.clock.now().mono)) };
        if let Err(error) = self.poll.poll(&mut self.ready, limit)
            && error.kind() != io::ErrorKind::Interrupted
        {
            return Err(error);
        }
        self.readable |= self.ready.iter().any(|event| event.token() == SOCKET);
        if let Some(control) = self.sender.control().filter(|_| self.ready.iter().any(|e| e.token() == CONTROL)) {
            control.set_readable();
        }
        Ok(())
    }
}
