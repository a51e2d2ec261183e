//! Kills a real server with SIGKILL at random times while one client saves mail and another reads it. Each message that
//! the sender saw as saved must be displayed, at most once in each incarnation of its reader.
//!
//! `CHAT_KILLS=200` kills more often; another `CHAT_SEED` kills at other times.

use std::collections::BTreeMap;

use crate::support::Program;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// Number of messages sent between two kills.
const MESSAGES: u64 = 40;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |word| word.parse().unwrap())
}

/// Random times of kills. An xorshift generator (Marsaglia 2003) is random enough and can be replayed.
struct KillTimes(u64);

impl KillTimes {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn event(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

struct CrashTest {
    server: Program,
    port: String,
    folder: TempDir,
    kills: u64,
}

/// The options of the server for its files. A restarted server needs its key: the clients trust no other one.
fn files(folder: &TempDir) -> [String; 4] {
    let path = |name| folder.path().join(name).display().to_string();
    ["--db".to_owned(), path("chat.db"), "--identity".to_owned(), path("identity")]
}

impl CrashTest {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (server, port) = Program::server_with(&files(&folder).each_ref().map(String::as_str));
        Self { server, port, folder, kills: 0 }
    }

    fn kill_and_restart(&mut self) {
        self.server.signal(Signal::SIGKILL);
        self.server.until_end();
        let files = files(&self.folder);
        self.server = Program::start(&[&["-s", &self.port], &files.each_ref().map(String::as_str)[..]].concat());
        assert_eq!(self.server.port(), self.port);
        self.kills += 1;
    }

    fn client(&self, name: &str) -> Program {
        Program::start(&["-c", name, "127.0.0.1", &self.port, "0", "--json", "--typed"])
    }

    /// Lets x send, and kills the server after `kill_after` events of x. Returns the messages that x saw as saved.
    fn save(&mut self, round: u64, kill_after: u64) -> Vec<String> {
        let mut x = self.client("x");
        while event(&x.line())["event"] != "table" {}
        for number in 0..MESSAGES {
            x.send(&format!("send y {round}-{number}"));
        }
        let (mut done, mut seen, mut saved) = (0, 0, Vec::new());
        while done < MESSAGES {
            let event = event(&x.line());
            seen += 1;
            if seen == kill_after {
                self.kill_and_restart();
            }
            let number = event["cmd"].as_u64().map(|cmd| cmd - 1);
            match event["event"].as_str().unwrap() {
                "saved" => saved.push(format!("{round}-{}", number.unwrap())),
                "done" => done += 1,
                _ => {}
            }
        }
        x.send("exit");
        assert_eq!(x.end().2, Some(0), "everything was saved");
        saved
    }

    /// Lets y read, and kills the server after `kill_after` events of y. Returns when y has displayed all of `wanted`.
    fn read(&mut self, wanted: &[String], kill_after: u64) {
        let mut y = self.client("y");
        let (mut shown, mut seen) = (BTreeMap::<String, u32>::new(), 0);
        while !wanted.iter().all(|text| shown.contains_key(text)) {
            let event = event(&y.line());
            seen += 1;
            if seen == kill_after {
                self.kill_and_restart();
            }
            if event["event"] == "message" {
                let text = event["text"].as_str().unwrap().to_owned();
                let times = shown.entry(text.clone()).or_default();
                *times += 1;
                assert_eq!(*times, 1, "{text} was shown twice in one life");
            }
        }
        y.send("exit");
        let (rest, _, status) = y.end();
        let again = rest.iter().map(|line| event(line)).filter(|event| event["event"] == "message");
        assert_eq!(again.filter(|event| shown.contains_key(event["text"].as_str().unwrap())).count(), 0);
        assert_eq!(status, Some(0));
    }
}

#[test]
fn saved_messages_survive_every_kill() {
    let (kills, seed) = (setting("CHAT_KILLS", 25), setting("CHAT_SEED", 1));
    let mut kill_times = KillTimes(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut test = CrashTest::new();
    test.read(&[], 0);
    let mut round = 0;
    while test.kills < kills {
        round += 1;
        let (while_saving, while_reading) = (1 + kill_times.below(MESSAGES * 3), 1 + kill_times.below(MESSAGES + 6));
        let saved = test.save(round, while_saving);
        assert_eq!(saved.len() as u64, MESSAGES, "round {round}: replay with CHAT_SEED={seed}");
        test.read(&saved, while_reading);
    }
}
