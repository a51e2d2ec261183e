//! The README is true: its sessions, its shell examples and its scenarios are run, and show what it says they show.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Far beyond what anything here needs; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The blocks of the README in one language, as lists of lines, with its ports replaced by free ones.
struct Readme {
    text: String,
    home: tempfile::TempDir,
    _reserved: Vec<TcpListener>,
}

impl Readme {
    fn new() -> Self {
        let mut text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
        // In two steps, since a free port may hold the digits of another one.
        let named = [("8888", "{server}"), ("9001", "{x}"), ("9002", "{y}")];
        named.iter().for_each(|(port, stand_in)| text = text.replace(port, stand_in));
        let reserved = named.map(|(_, stand_in)| {
            let (port, reserved) = free_port();
            text = text.replace(stand_in, &port.to_string());
            reserved
        });
        let home = tempfile::tempdir().unwrap();
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        std::os::unix::fs::symlink(scenarios, home.path().join("scenarios")).unwrap();
        Self { text, home, _reserved: reserved.into() }
    }

    fn blocks(&self, language: &str) -> Vec<Vec<&str>> {
        let opening = format!("```{language}");
        let mut blocks = Vec::new();
        let mut lines = self.text.lines();
        while lines.any(|line| line == opening) {
            blocks.push(lines.by_ref().take_while(|line| *line != "```").collect());
        }
        blocks
    }

    /// A shell in a folder of its own, where `chat` is the program under test.
    fn shell(&self, script: &str) -> Command {
        let built = Path::new(env!("CARGO_BIN_EXE_chat")).parent().unwrap();
        let path = format!("{}:{}", built.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("bash");
        shell.args(["-c", script]).current_dir(self.home.path()).process_group(0);
        shell.env("PATH", path).env("HOME", self.home.path()).env_remove("XDG_STATE_HOME").env("TZ", "UTC");
        shell
    }
}

/// A program of the session: what it shows goes to a file, what it is told comes through a pipe.
struct Terminal<'a> {
    child: Child,
    log: std::path::PathBuf,
    typed: Vec<&'a str>,
    shown: Vec<&'a str>,
}

impl<'a> Terminal<'a> {
    /// Starts the program of a block and waits until it shows what stands before the first typed line, as far as that
    /// is its own doing: all of it for who types, the first line for who only listens.
    fn start(readme: &Readme, number: usize, block: &[&'a str]) -> Self {
        let log = readme.home.path().join(format!("terminal-{number}"));
        let command = block[0].strip_prefix("$ ").expect("a block begins with a command");
        let child = readme
            .shell(&format!("exec {command}"))
            .stdin(Stdio::piped())
            .stdout(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let is_typed = |line: &&&str| {
            let words = line.strip_prefix(">>> ").unwrap_or(line);
            matches!(chat::proto::command::parse(words.as_bytes()), Ok(Some(_)))
        };
        let typed = block[1..].iter().filter(is_typed).map(|line| line.trim_start_matches(">>> ")).collect();
        let shown = block[1..].iter().filter(|line| !is_typed(line)).copied().collect();
        let terminal = Self { child, log, typed, shown };
        terminal.wait_for(terminal.shown.len().min(if command.contains(" -s ") { 1 } else { 2 }));
        terminal
    }

    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.log).unwrap().lines().map(str::to_owned).collect()
    }

    fn wait_for(&self, lines: usize) {
        let since = Instant::now();
        while self.lines().len() < lines {
            assert!(since.elapsed() < PATIENCE, "{:?} and no more of {:?}", self.lines(), self.shown);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_session_shows_what_it_says() {
    let readme = Readme::new();
    let blocks = readme.blocks("console");
    let blocks: Vec<_> = blocks.into_iter().take_while(|block| !block[0].ends_with('&')).collect();
    assert_eq!(blocks.len(), 3, "a server and two clients");
    let mut terminals: Vec<_> =
        blocks.iter().enumerate().map(|(number, block)| Terminal::start(&readme, number, block)).collect();
    for terminal in &mut terminals {
        for line in &terminal.typed {
            writeln!(terminal.child.stdin.as_ref().unwrap(), "{line}").unwrap();
        }
    }
    for terminal in &terminals {
        terminal.wait_for(terminal.shown.len());
        assert_eq!(terminal.lines(), terminal.shown);
    }
    assert!(terminals[2].child.wait().unwrap().success());
}

#[test]
fn the_examples_show_what_they_say() {
    let readme = Readme::new();
    let blocks = readme.blocks("console");
    let examples = blocks.into_iter().skip_while(|block| !block[0].ends_with('&')).flatten();
    // One shell for all of them, since they build on each other. What each command shows is set off by a mark.
    let (mut script, mut expected) = (String::new(), Vec::<(String, Vec<String>)>::new());
    for line in examples {
        if let Some(command) = line.strip_prefix("$ ") {
            script.push_str("\nprintf '\\036'\n");
            script.push_str(command);
            expected.push((command.to_owned(), Vec::new()));
        } else if let Some(more) = line.strip_prefix("> ") {
            script.push('\n');
            script.push_str(more);
        } else {
            expected.last_mut().unwrap().1.push(line.to_owned());
        }
    }
    script.push_str("\nstatus=$?\nkill $!\nwait\nexit $status\n");
    // The status that an example shows is that of the command before it, not of the mark between them.
    let script = script.replace("\nprintf '\\036'\n", "\ns=$?; printf '\\036'; (exit $s)\n");
    let mut shell = readme.shell(&script).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = String::new();
    shell.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    shell.wait().unwrap();

    let mut run = 0;
    let shown: Vec<&str> = shown.split('\u{1e}').skip(1).collect();
    assert_eq!(shown.len(), expected.len(), "{shown:#?}");
    for ((command, expected), shown) in expected.iter().zip(shown) {
        let tool = command.split(' ').next().unwrap();
        if ["jq", "sqlite3"].contains(&tool) && !exists(tool) {
            // Not part of a fresh machine; the examples of our own program are run everywhere.
            continue;
        }
        let shown: Vec<&str> = shown.lines().collect();
        assert!(
            shown.len() == expected.len() && expected.iter().zip(&shown).all(|(a, b)| is_like(a, b)),
            "$ {command}\nexpected {expected:#?}\nshown {shown:#?}"
        );
        run += 1;
    }
    assert!(run >= 5, "only {run} examples were run");
}

#[test]
fn the_scenarios_pass() {
    let readme = Readme::new();
    let blocks = readme.blocks("chat");
    assert!(blocks.len() >= 5, "the examples of the reference are missing");
    for (number, block) in blocks.iter().enumerate() {
        let file = readme.home.path().join(format!("{number}.chat"));
        fs::write(&file, block.join("\n") + "\n").unwrap();
        let played = readme.shell(&format!("chat run {number}.chat")).output().unwrap();
        assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stdout));
    }
}

/// A port that is free, of those that the system gives to nobody unasked, and what keeps it from others: so it stays
/// free until it is used.
fn free_port() -> (u16, TcpListener) {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() % 10_000;
    loop {
        let port = 10_000 + (first + 37 * u32::from(GIVEN.fetch_add(1, Ordering::Relaxed))) % 20_000;
        // The TCP port of the same number is how a run of scenarios tells others that it uses one.
        let Ok(reserved) = TcpListener::bind(("127.0.0.1", port as u16)) else { continue };
        if UdpSocket::bind(("::", port as u16)).or_else(|_| UdpSocket::bind(("0.0.0.0", port as u16))).is_ok() {
            return (port as u16, reserved);
        }
    }
}

fn exists(tool: &str) -> bool {
    Command::new(tool).arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Whether a line is as the README says, where `{*}` is anything.
fn is_like(said: &str, shown: &str) -> bool {
    match said.split_once("{*}") {
        Some((before, after)) => shown.starts_with(before) && shown.ends_with(after),
        None => said == shown,
    }
}
