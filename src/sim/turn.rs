//! How a world goes on: from one thing that happens to the next.

use std::net::SocketAddr;
use std::time::Duration;

use crate::proto::machine::{Input, Machine, Output, ServerEffect, ServerInput};
use crate::proto::time::{Instant, earliest};
use crate::sim::actor::{SimActor, SimInput};
use crate::sim::network::{Flying, OutgoingDatagram};
use crate::sim::simulation::{PacketTrace, SERVER, SYNC, Simulation};

impl Simulation {
    /// Tells an actor something; one that is paused hears of it when it is resumed.
    pub(crate) fn tell(&mut self, index: usize, input: Input<'static, SimInput>) {
        if self.actors[index].paused {
            self.actors[index].keep_input(input);
        } else {
            self.handle(index, input);
        }
    }

    /// One that goes on finds what a stopped process finds: first the datagrams in its socket, then what is late, then
    /// what was typed and asked of it, in order.
    pub(crate) fn catch_up(&mut self, index: usize) {
        while let Some((from, bytes)) = self.actors[index].next_datagram() {
            self.receive(index, from, &bytes);
        }
        self.wake(index);
        while let Some(input) = self.actors[index].next_input() {
            self.handle(index, input);
        }
    }

    fn receive(&mut self, index: usize, from: SocketAddr, bytes: &[u8]) {
        self.passes(index, true, bytes);
        self.handle(index, Input::Datagram { from, bytes });
    }

    fn handle(&mut self, index: usize, input: Input<'_, SimInput>) {
        let now = self.clock();
        if let Some(role) = &mut self.actors[index].role {
            role.handle(now, input);
            self.drain(index);
        }
    }

    pub(crate) fn drain(&mut self, index: usize) {
        let now = self.clock();
        while let Some(output) = self.actors[index].role.as_mut().and_then(|role| role.poll(now)) {
            match output {
                Output::Transmit { to, bytes } => {
                    // Who swallowed it is of no interest here.
                    let _ = self.actors[index].faults.send(self.now, to, &bytes);
                    self.depart(index);
                }
                Output::Effect(ServerEffect::Persist(record)) => self.disk.write(self.now + SYNC, record),
                Output::Effect(ServerEffect::Fetch(seqs)) => {
                    self.actors[index].fetched.push_back((self.now + SYNC, seqs));
                }
                Output::Event(event) => self.actors[index].say(self.now, event),
                Output::Ended(ending) => {
                    let rest = self.actors[index].role.as_mut().and_then(|role| role.poll(now));
                    assert!(rest.is_none(), "nothing comes after the end: {rest:?}");
                    self.actors[index].ended(self.now, ending);
                    if index == SERVER {
                        self.disk.close();
                    }
                }
            }
        }
        self.actors[index].deadline = self.actors[index].role.as_mut().and_then(|role| role.deadline());
    }

    /// Gives the network what an actor's faults let go by now.
    fn depart(&mut self, index: usize) {
        while let Some((to, bytes)) = self.actors[index].faults.due(self.now) {
            let reader = self.actors.iter().position(|actor| actor.addr == to);
            self.passes(index, false, &bytes);
            let datagram = OutgoingDatagram { from: self.actors[index].addr, bytes };
            self.air.send(self.now, &mut self.rng, index, reader, datagram);
        }
    }

    /// When something happens next, if nothing is typed.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let all = self.actors.iter().map(SimActor::next);
        all.fold(earliest(self.air.next(), self.disk.next()), earliest)
    }

    /// Goes to the next thing that happens, but not beyond `until`. Returns whether there was one.
    pub fn step(&mut self, until: Instant) -> bool {
        let Some(next) = self.next().filter(|next| *next <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        while let Some(Flying { to: index, from, bytes }) = self.air.arrived(self.now) {
            if self.actors[index].paused {
                self.actors[index].keep_datagram(from, bytes);
            } else {
                self.receive(index, from, &bytes);
            }
        }
        self.sync();
        for index in 0..self.actors.len() {
            if !self.actors[index].paused {
                self.wake(index);
            }
        }
        true
    }

    /// Syncs what is due; the server hears of it, or dies before and starts again.
    fn sync(&mut self) {
        if self.disk.next().is_none_or(|at| at > self.now) {
            return;
        }
        let synced = self.disk.sync(self.now);
        if self.disk.is_at_death(self.now) {
            self.disk.dies_at = None;
            self.kill(SERVER);
            self.start(SERVER);
        } else if let Some((through, refused)) = synced {
            self.tell(SERVER, Input::Role(SimInput::Server(ServerInput::Persisted { through, refused })));
        }
    }

    fn wake(&mut self, index: usize) {
        while self.actors[index].fetched.front().is_some_and(|(at, _)| *at <= self.now)
            && let Some((_, seqs)) = self.actors[index].fetched.pop_front()
        {
            let mail = self.disk.fetch(&seqs);
            self.handle(index, Input::Role(SimInput::Server(ServerInput::Mail(mail))));
        }
        self.depart(index);
        if let Some(shown) = self.actors[index].show(self.now) {
            self.handle(index, Input::Displayed(shown));
        }
        if self.actors[index].deadline.is_some_and(|at| at <= self.now) {
            self.handle(index, Input::Timeout);
        }
    }

    /// Lets this much time pass.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    fn passes(&mut self, actor: usize, came: bool, bytes: &[u8]) {
        if let Some(traffic) = &mut self.traffic {
            traffic.push(PacketTrace { at: self.now, actor, came, bytes: bytes.to_vec() });
        }
    }
}
