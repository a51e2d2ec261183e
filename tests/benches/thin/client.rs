//! A client that only speaks the wire format: it registers, acknowledges, keeps alive, and checks what it gets.
//!
//! It scans frames instead of parsing them, and does not check tags, because thousands of clients share the processors
//! with the server that is measured. It relies on the order of members in which the server writes them.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use chat::proto::id::Incarnation;
use chat::proto::keys::{Identity, LinkKeys, PublicKey, SharedSecret};
use chat::proto::link::PROBE;
use chat::proto::link::packets::ReceivedPackets;
use chat::proto::name::Name;
use chat::proto::wire::{self, Datagram, Frame, Header, MAX_BARE_RANGES, MAX_RANGES};
use mio::net::UdpSocket;

use crate::thin::order::OrderCheck;
use crate::thin::table::KnownRows;

/// Interval of keep-alives, as in the client of the program.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Time before the first repetition of `hello` or `reg`. It doubles with each one, up to [`REPEAT_MAX`].
const REPEAT: Duration = Duration::from_millis(100);
const REPEAT_MAX: Duration = Duration::from_millis(800);
/// The most contents that wait for an earlier one.
const BUFFERED_MAX: usize = 512;
/// The number of the only content that a thin client sends: `reg`.
const REG_SEQ: u64 = 1;

/// The progress of a client. A client never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    Waiting,
    Joining,
    Registered,
    /// It knows that all clients of its fleet are online.
    Complete,
}

/// The link to the server.
struct ThinLink {
    server: Incarnation,
    keys: LinkKeys,
    /// Stands in all headers until a datagram of the server arrives.
    cookie: Option<String>,
    next_pn: u64,
    packets: ReceivedPackets,
    expected: u64,
    early: BTreeMap<u64, Vec<u8>>,
    owes_ack: bool,
    answer: Option<u32>,
}

pub struct ThinClient {
    pub socket: UdpSocket,
    pub progress: Progress,
    pub order: OrderCheck,
    /// Messages that arrived and are new.
    pub posts: u64,
    name: String,
    me: Incarnation,
    key: PublicKey,
    secret: SharedSecret,
    link: Option<ThinLink>,
    is_reg_acked: bool,
    welcomes: u32,
    rows: KnownRows,
    /// When to repeat the last request, or to send a keep-alive.
    due: Option<Instant>,
    repeats: u32,
}

impl ThinClient {
    /// A client of a server on this machine. It learns when `fleet` clients `n0`, `n1`, … are online.
    pub fn new(name: String, me: Incarnation, server: SocketAddr, key: PublicKey, fleet: usize) -> io::Result<Self> {
        let mut secret = [1; 32];
        secret[..16].copy_from_slice(&me.0.to_le_bytes());
        let identity = Identity::from_secret(secret);
        let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(1024 * 1024);
        Ok(Self {
            socket: UdpSocket::from_std(socket),
            progress: Progress::Waiting,
            order: OrderCheck::default(),
            posts: 0,
            name,
            me,
            key: identity.public(),
            secret: identity.agree(key).ok_or(io::ErrorKind::InvalidData)?,
            link: None,
            is_reg_acked: false,
            welcomes: 0,
            rows: KnownRows::new(fleet),
            due: None,
            repeats: 0,
        })
    }

    /// Begins the registration.
    pub fn join(&mut self, now: Instant) {
        self.progress = Progress::Joining;
        self.repeat(now);
    }

    /// Repeats the last request, or sends a keep-alive.
    pub fn timeout(&mut self, now: Instant) {
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        if self.is_reg_acked {
            let alive = Frame::Alive { table: self.rows.version() };
            return self.send(now, &[alive], |head| head.ask = Some(PROBE));
        }
        self.repeat(now);
    }

    fn repeat(&mut self, now: Instant) {
        if self.link.is_some() {
            let name = Name::new(&self.name).expect("a name");
            let reg = Frame::Reg { r: 1, name, via: Ipv4Addr::LOCALHOST.into() };
            self.send(now, &[reg], |head| (head.seq, head.low) = (Some(REG_SEQ), Some(REG_SEQ)));
        } else {
            let _ = self.socket.send(&wire::emit_hello(self.me, "1"));
        }
        self.due = Some(now + (REPEAT * 2_u32.pow(self.repeats.min(8))).min(REPEAT_MAX));
        self.repeats += 1;
    }

    /// Reads all datagrams that wait, and acknowledges them together.
    pub fn read(&mut self, now: Instant, buffer: &mut [u8]) {
        loop {
            match self.socket.recv(buffer) {
                Ok(length) => self.receive(now, &buffer[..length]),
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => break,
                // An error about an earlier datagram, which is repeated.
                Err(_) => {}
            }
        }
        if self.link.as_ref().is_some_and(|link| link.owes_ack) {
            self.send(now, &[], |_| {});
        }
    }

    fn send(&mut self, now: Instant, frames: &[Frame], change: impl FnOnce(&mut Header)) {
        let Some(link) = &mut self.link else { return };
        let mut head = Header::new(self.me, Some(link.server));
        head.pn = Some(link.next_pn);
        link.next_pn += 1;
        if let Some(cookie) = &link.cookie {
            (head.key, head.cookie) = (Some(self.key), Some(cookie.clone()));
        } else {
            head.ack = link.packets.ranges(if frames.is_empty() { MAX_BARE_RANGES } else { MAX_RANGES });
            head.done = link.expected - 1;
            head.answer = link.answer.take();
            link.owes_ack = false;
        }
        change(&mut head);
        let lines: Vec<String> = frames.iter().cloned().flat_map(Frame::lines).collect();
        let mut bytes = wire::emit(&head, lines.iter().map(String::as_str));
        let tag = link.keys.tag(&bytes);
        wire::append_tag(&mut bytes, tag);
        // A datagram that does not leave is lost, and what matters is repeated.
        let _ = self.socket.send(&bytes);
        if self.is_reg_acked {
            self.due = Some(now + KEEP_ALIVE);
        }
    }

    fn receive(&mut self, now: Instant, bytes: &[u8]) {
        let Ok(datagram) = wire::parse(bytes) else { return };
        let Some(server) = datagram.head.me else { return };
        match &self.link {
            None => self.challenged(now, server, &datagram),
            Some(link) if link.server == server && datagram.head.you == Some(self.me) => self.linked(now, &datagram),
            Some(_) => {}
        }
    }

    fn challenged(&mut self, now: Instant, server: Incarnation, datagram: &Datagram<'_>) {
        let Some(Frame::Challenge { cookie, .. }) = datagram.only_frame() else { return };
        self.link = Some(ThinLink {
            server,
            keys: LinkKeys::new(&self.secret, self.me, server),
            cookie: Some(cookie),
            next_pn: 1,
            packets: ReceivedPackets::default(),
            expected: 1,
            early: BTreeMap::new(),
            owes_ack: false,
            answer: None,
        });
        self.repeats = 0;
        self.repeat(now);
    }

    fn linked(&mut self, now: Instant, datagram: &Datagram<'_>) {
        let (head, Some(link)) = (&datagram.head, &mut self.link) else { return };
        let Some(pn) = head.pn.filter(|pn| link.packets.is_new(*pn)) else { return };
        if head.seq.is_some_and(|seq| seq > link.expected) && link.early.len() >= BUFFERED_MAX {
            return;
        }
        link.cookie = None;
        link.packets.insert(pn);
        link.owes_ack |= head.elicits_ack();
        link.answer = head.ask.filter(|number| *number != PROBE).or(link.answer);
        if let Some(low) = head.low.filter(|low| *low > link.expected) {
            link.early = link.early.split_off(&low);
            link.expected = low;
        }
        if !self.is_reg_acked && head.done >= REG_SEQ {
            (self.is_reg_acked, self.due) = (true, Some(now + KEEP_ALIVE));
        }
        let Some(seq) = head.seq else { return };
        if seq > link.expected {
            link.early.insert(seq, datagram.body.to_vec());
        } else if seq == link.expected {
            link.expected += 1;
            self.pass(datagram.body);
        }
        while let Some(link) = &mut self.link
            && let Some(body) = link.early.remove(&link.expected)
        {
            link.expected += 1;
            self.pass(&body);
        }
    }

    /// Processes the frames of the next content.
    fn pass(&mut self, body: &[u8]) {
        for line in body.split(|byte| *byte == b'\n') {
            if line.starts_with(br#"{"t":"post""#) {
                self.post(line);
            } else if line.starts_with(br#"{"t":"rows""#) {
                self.rows.update(line);
                if self.rows.are_all_online() {
                    self.progress = Progress::Complete;
                }
            } else if line.starts_with(br#"{"t":"welcome""#) {
                self.welcomes += 1;
                self.progress = self.progress.max(Progress::Registered);
            }
        }
    }

    /// The text of a message ends with its number.
    fn post(&mut self, line: &[u8]) {
        let text = line.strip_suffix(br#""}"#).unwrap_or(line);
        let digits = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let number = text[text.len() - digits..].iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'));
        // After a return the server repeats what it knows no acknowledgement of, and a client shows it once.
        if self.welcomes > 1 && self.order.has(number) {
            return;
        }
        self.posts += u64::from(self.order.arrived(number));
    }
}
