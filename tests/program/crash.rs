//! A real server is killed with SIGKILL at random moments while a client saves mail and another reads it: whatever the
//! sender saw as saved is shown, once in each life of its reader. `CHAT_KILLS=200` kills more often, `CHAT_SEED` at
//! other moments.

use std::collections::BTreeMap;

use crate::support::Program;
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// How many messages are sent between two kills.
const MESSAGES: u64 = 40;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |word| word.parse().unwrap())
}

/// KillTimes to kill at: an xorshift generator (Marsaglia 2003) is random enough, and replays.
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

impl CrashTest {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("chat.db").display().to_string();
        let (server, port) = Program::server_with(&["--db", &file]);
        Self { server, port, folder, kills: 0 }
    }

    fn kill_and_restart(&mut self) {
        self.server.signal(Signal::SIGKILL);
        self.server.until_end();
        let file = self.folder.path().join("chat.db").display().to_string();
        self.server = Program::start(&["-s", &self.port, "--db", &file]);
        assert_eq!(self.server.port(), self.port);
        self.kills += 1;
    }

    fn client(&self, name: &str) -> Program {
        Program::start(&["-c", name, "127.0.0.1", &self.port, "0", "--json", "--typed"])
    }

    /// x sends, and the server is killed after so many of its events; returns what x saw saved.
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

    /// y reads, and the server is killed after so many of its events; returns when all of `wanted` was shown.
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
fn what_was_saved_survives_any_kill() {
    let (kills, seed) = (setting("CHAT_KILLS", 25), setting("CHAT_SEED", 1));
    let mut moments = KillTimes(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut scene = CrashTest::new();
    scene.read(&[], 0);
    let mut round = 0;
    while scene.kills < kills {
        round += 1;
        let (while_saving, while_reading) = (1 + moments.below(MESSAGES * 3), 1 + moments.below(MESSAGES + 6));
        let saved = scene.save(round, while_saving);
        assert_eq!(saved.len() as u64, MESSAGES, "round {round}: replay with CHAT_SEED={seed}");
        scene.read(&saved, while_reading);
    }
}
