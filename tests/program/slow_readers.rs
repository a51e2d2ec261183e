//! Messages to everybody when one reader is slow, with real programs: it is stopped, or its output is not read.
//!
//! The other readers get all messages meanwhile, and the slow one gets all of them afterwards, each once and in order.
//! It is slow for 3 s in `make test` and for 60 s in `make slow` (`CHAT_SLOW_SECONDS`), which prints times.

use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chat::proto::client::UNANSWERED;
use chat::proto::config::Retention;
use chat::proto::server::LAG_TIMEOUT;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Program, ProgramBuilder, TIME_LIMIT, program};

/// The readers beside the slow one.
const OTHERS: usize = 29;
/// More than the server has under way to one reader, and far less than half of what it keeps.
const MESSAGES: usize = 600;

/// The options of a server that keeps few messages.
const SHORT_LOG: [&str; 2] = ["--log-messages", "1000"];
/// Senders wait for a reader that lacks more messages than this.
const HALF: usize = 500;
/// More than half of what this server keeps, and the output of the slow reader. Together with the last message of
/// [`Room::end`], nothing is dropped.
const MANY: usize = 900;

const OFFLINE: &str = "[Client y is offline]";

/// Locked by the test that starts clients and sends messages, so that the machine is not busy with all tests at once.
static BUSY: Mutex<()> = Mutex::new(());

/// How long a reader is slow.
fn stall() -> Duration {
    let seconds = std::env::var("CHAT_SLOW_SECONDS");
    Duration::from_secs(seconds.map_or(3, |number| number.parse().expect("CHAT_SLOW_SECONDS is a number")))
}

/// A server, a sender x, the slow reader y and other readers. The server is dropped first, so it finds nobody offline.
struct Room {
    server: Program,
    sender: Client,
    slow: Client,
    others: Vec<Client>,
    /// The lines of the server so far.
    reported: Vec<String>,
    busy: Option<MutexGuard<'static, ()>>,
    _folder: TempDir,
}

impl Room {
    /// Returns when all clients have the complete table.
    fn open(server_options: &[&str]) -> Self {
        let busy = Some(BUSY.lock().unwrap_or_else(PoisonError::into_inner));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("db");
        let (server, port) = Program::server_with(&[&["--db", file.to_str().unwrap()], server_options].concat());
        let client = |name: &str| program(["-c", name, "127.0.0.1", &port, "0", "--json"]);
        let sender = Client::read_always(client("x").arg("--pipeline"));
        let slow = Client::read_on_demand(client("y").in_own_group());
        let others: Vec<Client> =
            (1..=OTHERS).map(|number| Client::read_always(client(&format!("r{number}")))).collect();
        let room = Self { server, sender, slow, others, reported: Vec::new(), busy, _folder: folder };
        let complete = format!("\"total\":{0},\"online_count\":{0}", OTHERS + 2);
        for client in [&room.sender, &room.slow].into_iter().chain(&room.others) {
            while !client.line().contains(&complete) {}
        }
        room
    }

    fn type_messages(&mut self, numbers: Range<usize>) {
        // A pipe holds fewer than 200 events with such a text.
        let filler = "m".repeat(100);
        numbers.for_each(|number| self.sender.program.send(&format!("send_all {number} {filler}")));
    }

    fn others_get(&self, numbers: Range<usize>) {
        self.others.iter().for_each(|reader| reader.gets(numbers.clone()));
    }

    fn server_reports(&mut self, is_wanted: impl Fn(&str) -> bool) {
        self.reported.extend(self.server.until_line(is_wanted));
    }

    /// Asserts that y has not displayed all messages.
    fn assert_lacking(&mut self) {
        self.server.send("mail");
        self.server_reports(|line| line.contains("y  ") || line.contains("[No mail is waiting]"));
        assert!(self.reported.last().unwrap().contains("y  "), "{:?}", self.reported);
    }

    /// Waits until y was slow for this time.
    fn wait_out(&mut self, since: Instant, stall: Duration) {
        self.busy = None;
        std::thread::sleep(stall.saturating_sub(since.elapsed()));
    }

    /// Sends one more message: no reader gets an earlier one again. Asserts how often the server found y offline.
    fn end(mut self, number: usize, times_offline: usize) {
        self.type_messages(number..number + 1);
        self.sender.is_answered(1);
        self.others_get(number..number + 1);
        self.slow.gets(number..number + 1);
        self.server.signal(Signal::SIGTERM);
        self.reported.extend(self.server.end().0);
        // On a machine that is too busy, all answers to pings are late: other readers are found offline, too.
        let is_other = |line: &String| line.contains("[Client r") && line.ends_with(" is offline]");
        let times = self.reported.iter().filter(|line| line.ends_with(OFFLINE)).count();
        assert!(times == times_offline || self.reported.iter().any(is_other), "{times}: {:?}", self.reported);
    }
}

/// A client with JSON output.
struct Client {
    program: Program,
    /// Its output, if it is read on demand.
    lines: Option<Receiver<String>>,
}

impl Client {
    fn read_always(builder: ProgramBuilder) -> Self {
        Self { program: builder.start(), lines: None }
    }

    /// While nobody asks for a line, the output of this client is blocked as soon as the pipe is full.
    fn read_on_demand(builder: ProgramBuilder) -> Self {
        let mut program = builder.unread().start();
        let stdout = BufReader::new(program.stdout.take().unwrap());
        let (send, lines) = sync_channel(0);
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { program, lines: Some(lines) }
    }

    fn line(&self) -> String {
        match &self.lines {
            None => self.program.line(),
            Some(lines) => lines.recv_timeout(TIME_LIMIT).expect("a line of output"),
        }
    }

    /// The next event of one of these kinds.
    fn event(&self, kinds: &[&str]) -> Value {
        loop {
            let event: Value = serde_json::from_str(&self.line()).unwrap();
            if kinds.iter().any(|kind| event["event"] == *kind) {
                return event;
            }
        }
    }

    /// Asserts that the next messages to everybody are these.
    fn gets(&self, numbers: Range<usize>) {
        for number in numbers {
            let mut event = self.event(&["message", "messages_dropped"]);
            while event["kind"] == "direct" {
                event = self.event(&["message", "messages_dropped"]);
            }
            let shown = event["text"].as_str().and_then(|text| text.split(' ').next()?.parse().ok());
            assert_eq!(shown, Some(number), "{event}");
        }
    }

    /// Waits until the server has accepted so many further messages.
    fn is_answered(&self, messages: usize) {
        let mut accepted = 0;
        while accepted < messages {
            let event = self.event(&["accepted", "done"]);
            accepted += usize::from(event["event"] == "accepted");
            assert_ne!(event["ok"], false, "{event}");
        }
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "`make slow` shows it")]
fn a_stopped_reader_goes_offline_and_gets_everything_when_it_continues() {
    let mut room = Room::open(&[]);
    room.slow.program.signal(Signal::SIGSTOP);
    let since = Instant::now();
    room.type_messages(0..MESSAGES);
    room.others_get(0..MESSAGES);
    let others = since.elapsed();
    room.sender.is_answered(MESSAGES);
    room.server_reports(|line| line.ends_with(OFFLINE));
    room.assert_lacking();
    room.wait_out(since, stall());
    room.slow.program.signal(Signal::SIGCONT);
    let since = Instant::now();
    room.slow.gets(0..MESSAGES);
    println!("stopped: {OTHERS} readers have {MESSAGES} messages after {others:.2?}, y {:.2?} later", since.elapsed());
    room.server_reports(|line| line.ends_with("[Client y registered]"));
    room.end(MESSAGES, 1);
}

#[test]
#[allow(clippy::print_stdout, reason = "`make slow` shows it")]
fn a_reader_with_a_blocked_output_stays_online_and_delays_nobody() {
    assert!(2 * MESSAGES < Retention::default().messages);
    let mut room = Room::open(&[]);
    let since = Instant::now();
    room.type_messages(0..MESSAGES);
    room.others_get(0..MESSAGES);
    let others = since.elapsed();
    room.sender.is_answered(MESSAGES);
    room.wait_out(since, stall());
    room.assert_lacking();
    let since = Instant::now();
    room.slow.gets(0..MESSAGES);
    println!("blocked: {OTHERS} readers have {MESSAGES} messages after {others:.2?}, y {:.2?} later", since.elapsed());
    room.end(MESSAGES, 0);
}

#[test]
fn a_sender_waits_while_a_reader_with_a_blocked_output_lacks_more_than_half() {
    let mut room = Room::open(&SHORT_LOG);
    room.type_messages(0..MANY);
    room.sender.is_answered(HALF);
    // The sender would not wait longer than the time limit.
    room.wait_out(Instant::now(), stall().min(LAG_TIMEOUT / 2));
    // Everything else goes on. On a busy machine, r1 may acknowledge so late that the server saves the message.
    room.sender.program.send("send r1 hi");
    let mut answered = HALF;
    while room.sender.event(&["accepted", "delivered", "saved"])["event"] == "accepted" {
        answered += 1;
    }
    assert!(answered < MANY, "all {answered} answers came");
    let sent = MANY.min(answered + UNANSWERED);
    room.others_get(0..sent);
    room.assert_lacking();
    room.slow.gets(0..MANY);
    room.others_get(sent..MANY);
    room.sender.is_answered(MANY - answered);
    room.end(MANY, 0);
}
