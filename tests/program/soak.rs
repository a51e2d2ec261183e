//! Soak test with real programs: logins, groups, mail and loss. No message is lost, and memory use does not grow.
//!
//! It takes two seconds in `make test` and ten minutes in `make soak` (`CHAT_SOAK_SECONDS`). It prints memory and
//! links.

use std::time::{Duration, Instant};

use crate::support::Program;
use chat::proto::server::LEFT_TIMEOUT;
use serde_json::Value;

const LOSS: &[&str] = &["--json", "--typed", "--fault", "loss=10%,delay=1ms"];

fn event(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// The resident memory of a process in KiB, if the system reports it.
fn memory(program: &Program) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

struct Client(Program);

impl Client {
    fn start(name: &str, port: &str) -> Self {
        let client = Self(Program::start(&[&["-c", name, "127.0.0.1", port, "0"], LOSS].concat()));
        client.until(|event| event["event"] == "table");
        client
    }

    /// Returns all events up to the first one for which `fits` is true.
    fn until(&self, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
        let mut seen = Vec::new();
        loop {
            seen.push(event(&self.0.line()));
            if seen.last().is_some_and(&fits) {
                return seen;
            }
        }
    }

    /// Types a command and waits for its outcome. The command must succeed.
    fn does(&mut self, line: &str) -> Vec<Value> {
        self.0.send(line);
        let seen = self.until(|event| event["event"] == "done");
        assert_eq!(seen.last().unwrap()["ok"], true, "{line}: {seen:?}");
        seen
    }

    fn leaves(mut self) {
        self.0.send("exit");
        assert_eq!(self.0.end().2, Some(0));
    }
}

/// Returns the numbers of links and of stored messages of the server.
fn stats(server: &mut Program) -> (u64, u64) {
    server.send("stats");
    loop {
        let event = event(&server.line());
        if event["event"] == "stats" {
            let stat = |key: &str| event["stats"][key].as_u64().unwrap();
            return (stat("links"), stat("messages_kept"));
        }
    }
}

/// Runs one round: each reader must display every message to it.
fn round(number: u64, port: &str, x: &mut Client, y: &mut Client) {
    let text = |what: &str| format!("{what} {number}");
    let shown = |text: &str, events: &[Value]| events.iter().filter(|event| event["text"] == text).count();
    x.does(&format!("send y {}", text("direct")));
    x.does(&format!("send_all {}", text("channel")));
    let seen = y.until(|event| event["text"] == text("channel").as_str());
    assert!(shown(&text("direct"), &seen) <= 1);
    y.does("dereg");
    x.does(&format!("send y {}", text("mail")));
    y.0.send("reg");
    let seen = y.until(|event| event["text"] == text("mail").as_str());
    assert_eq!(shown(&text("mail"), &seen), 1);
    y.until(|event| event["event"] == "done");
    let guest = format!("guest{}", number % 7);
    let mut z = Client::start(&guest, port);
    for client in [&mut *x, &mut *y] {
        client.does("join_group g");
    }
    x.does(&format!("send_group {}", text("group")));
    y.until(|event| event["text"] == text("group").as_str());
    x.does("leave_group");
    y.does("leave_group");
    z.does(&format!("send x {}", text("from a guest")));
    x.until(|event| event["text"] == text("from a guest").as_str());
    z.leaves();
}

#[test]
#[allow(clippy::print_stdout, reason = "people who let it run for ten minutes want to see it")]
fn memory_does_not_grow_and_no_message_is_lost() {
    let seconds = std::env::var("CHAT_SOAK_SECONDS").map_or(2, |word| word.parse().unwrap());
    let mut server = Program::start(&["-s", "0", "--json", "--fault", "loss=10%"]);
    let port = event(&server.line())["port"].to_string();
    let (mut x, mut y) = (Client::start("x", &port), Client::start("y", &port));
    x.does("create_group g");
    let (begin, mut number, mut warm) = (Instant::now(), 0, None);
    while number < 10 || begin.elapsed() < Duration::from_secs(seconds) {
        number += 1;
        round(number, &port, &mut x, &mut y);
        if number % 50 == 0 || number == 10 {
            let (links, kept) = stats(&mut server);
            let resident = memory(&server);
            println!("round {number}: server {resident:?} KiB, {links} links, {kept} messages kept");
            assert!(links <= 2 + 7, "{links} links");
            warm = warm.or(resident.filter(|_| number >= 100));
        }
    }
    if let (Some(warm), Some(end)) = (warm, memory(&server)) {
        println!("server after warm-up {warm} KiB, at the end {end} KiB, {number} rounds");
        assert!(end < warm * 2, "memory grew from {warm} to {end} KiB");
    }
    x.leaves();
    y.leaves();
    // The store keeps only the channel messages that offline guests have missed. A link stays for ten seconds after its
    // client left.
    let (left, mut kept) = (Instant::now(), 0);
    let mut links = 1;
    while links > 0 && left.elapsed() < 3 * LEFT_TIMEOUT {
        (links, kept) = stats(&mut server);
    }
    assert_eq!(links, 0);
    assert!(kept <= number, "{kept} messages kept");
}
