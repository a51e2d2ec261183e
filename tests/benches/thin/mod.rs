//! A fleet of thin clients in a few threads of this process. Each client has its own socket, incarnation and key.

pub mod client;
pub mod order;
mod table;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chat::proto::id::Incarnation;
use chat::proto::keys::PublicKey;
use chat::proto::wire::{self, Frame};
use mio::{Events, Interest, Poll, Token};
use nix::unistd::Pid;

use crate::machine::{self, cpu_time};
use crate::programs::Server;
use crate::thin::client::{Progress, ThinClient};
use crate::thin::order::{Faults, OrderCheck};

/// Interval at which threads look for requests to repeat, and at which a wait looks at the counters.
const TICK: Duration = Duration::from_millis(10);
const LOOK: Duration = Duration::from_millis(1);
/// After this time without news from a server that is idle, what is missing counts as lost.
pub const STALL: Duration = Duration::from_secs(4);
/// The CPU time below which a server was idle during a [`STALL`].
const IDLE: Duration = Duration::from_millis(100);

/// Counters of a fleet. Times are microseconds since the fleet began to join; 0 if it has not happened.
#[derive(Default)]
struct Counters {
    registered: AtomicU64,
    complete: AtomicU64,
    posts: AtomicU64,
    first_post_at: AtomicU64,
    last_news_at: AtomicU64,
    is_stopping: AtomicBool,
}

/// The counters at one moment.
#[derive(Clone, Copy, Debug)]
pub struct FleetState {
    pub registered: u64,
    pub complete: u64,
    pub posts: u64,
    pub first_post_at: Duration,
    pub last_news_at: Duration,
}

/// The end of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitEnd {
    Done,
    /// Nothing new has arrived for [`STALL`], and the server does nothing about it.
    Stalled,
    /// The time limit ended while there was progress.
    TooSlow,
}

/// Running thin clients. They end with [`Fleet::end`].
pub struct Fleet {
    server: Pid,
    counters: Arc<Counters>,
    begin: Instant,
    threads: Vec<JoinHandle<Vec<OrderCheck>>>,
}

impl Fleet {
    /// Starts the clients `n0`, `n1`, …, of which at most `at_once` register at the same time.
    pub fn join(server: &Server, count: usize, at_once: usize) -> io::Result<Self> {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, server.port));
        let key = key_of(addr)?;
        let threads = machine::cpus().min(2).min(count);
        let mut parts: Vec<Vec<ThinClient>> = (0..threads).map(|_| Vec::new()).collect();
        let seed: u128 = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos()) << 40;
        for number in 0..count {
            let me = Incarnation(seed + number as u128);
            parts[number % threads].push(ThinClient::new(format!("n{number}"), me, addr, key, count)?);
        }
        let (counters, begin) = (Arc::new(Counters::default()), Instant::now());
        let threads = parts.into_iter().map(|clients| {
            let part = Part { clients, at_once: at_once.div_ceil(threads), counters: Arc::clone(&counters), begin };
            std::thread::spawn(move || part.run().expect("an epoll instance and sockets"))
        });
        Ok(Self { server: server.pid(), threads: threads.collect(), begin, counters })
    }

    pub fn state(&self) -> FleetState {
        let counters = &self.counters;
        let time = |at: &AtomicU64| Duration::from_micros(at.load(SeqCst));
        FleetState {
            registered: counters.registered.load(SeqCst),
            complete: counters.complete.load(SeqCst),
            posts: counters.posts.load(SeqCst),
            first_post_at: time(&counters.first_post_at),
            last_news_at: time(&counters.last_news_at),
        }
    }

    /// Waits for a state, at most until `limit` after the fleet began to join.
    pub fn wait(&self, limit: Duration, is_wanted: impl Fn(FleetState) -> bool) -> WaitEnd {
        let (mut since, mut used) = (self.begin.elapsed(), cpu_time(self.server));
        loop {
            let (state, now) = (self.state(), self.begin.elapsed());
            if is_wanted(state) {
                return WaitEnd::Done;
            }
            if now > limit {
                return WaitEnd::TooSlow;
            }
            if now > state.last_news_at.max(since) + STALL {
                let used_before = std::mem::replace(&mut used, cpu_time(self.server));
                if used < used_before + IDLE {
                    return WaitEnd::Stalled;
                }
                since = now;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The time since the fleet began to join.
    pub fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// Ends all clients, without a word to the server. Returns the faults, if each of them should have got `expected`
    /// messages.
    pub fn end(self, expected: u64) -> Faults {
        self.counters.is_stopping.store(true, SeqCst);
        let mut faults = Faults::default();
        for thread in self.threads {
            let checks = thread.join().expect("a thread of the fleet");
            checks.iter().for_each(|check| faults += check.faults(expected));
        }
        faults
    }
}

/// The clients of one thread.
struct Part {
    clients: Vec<ThinClient>,
    at_once: usize,
    counters: Arc<Counters>,
    begin: Instant,
}

impl Part {
    fn run(mut self) -> io::Result<Vec<OrderCheck>> {
        let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(1_024));
        for (number, client) in self.clients.iter_mut().enumerate() {
            poll.registry().register(&mut client.socket, Token(number), Interest::READABLE)?;
        }
        let (mut buffer, mut next, mut joining) = ([0; 2_048], 0, 0);
        let mut ticked_at = self.begin;
        while !self.counters.is_stopping.load(SeqCst) {
            while joining < self.at_once && next < self.clients.len() {
                self.clients[next].join(Instant::now());
                (next, joining) = (next + 1, joining + 1);
            }
            match poll.poll(&mut events, Some(TICK)) {
                Err(why) if why.kind() != io::ErrorKind::Interrupted => return Err(why),
                _ => {}
            }
            for event in &events {
                joining -= usize::from(self.read(event.token().0, &mut buffer));
            }
            if ticked_at.elapsed() >= TICK {
                ticked_at = Instant::now();
                self.clients[..next].iter_mut().for_each(|client| client.timeout(ticked_at));
            }
        }
        Ok(self.clients.into_iter().map(|client| client.order).collect())
    }

    /// Reads what waits for a client and counts the news. Returns whether the client is registered now and was not.
    fn read(&mut self, number: usize, buffer: &mut [u8]) -> bool {
        let (client, counters) = (&mut self.clients[number], &self.counters);
        let (progress, posts) = (client.progress, client.posts);
        client.read(Instant::now(), buffer);
        if (client.progress, client.posts) == (progress, posts) {
            return false;
        }
        let at = u64::try_from(self.begin.elapsed().as_micros()).unwrap_or(u64::MAX);
        counters.last_news_at.fetch_max(at, SeqCst);
        if client.posts > posts {
            let _ = counters.first_post_at.compare_exchange(0, at, SeqCst, SeqCst);
            counters.posts.fetch_add(client.posts - posts, SeqCst);
        }
        let reached = |step: Progress| progress < step && client.progress >= step;
        counters.complete.fetch_add(u64::from(reached(Progress::Complete)), SeqCst);
        counters.registered.fetch_add(u64::from(reached(Progress::Registered)), SeqCst);
        reached(Progress::Registered)
    }
}

/// Asks a server for its public key.
fn key_of(server: SocketAddr) -> io::Result<PublicKey> {
    let (socket, mut buffer) = (UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?, [0; 2_048]);
    socket.connect(server)?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut result = Err(io::ErrorKind::TimedOut.into());
    for _ in 0..5 {
        socket.send(&wire::emit_hello(Incarnation(1), "1"))?;
        result = socket.recv(&mut buffer);
        if let Ok(length) = result
            && let Ok(datagram) = wire::parse(&buffer[..length])
            && let Some(Frame::Challenge { key, .. }) = datagram.only_frame()
        {
            return Ok(key);
        }
    }
    Err(result.err().unwrap_or_else(|| io::ErrorKind::InvalidData.into()))
}
