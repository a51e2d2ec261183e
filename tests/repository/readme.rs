//! Tests the documents. Sessions, shell examples and scenarios run with the documented output, the programs read and
//! write the documented JSON, lines are short, and links and commands exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use crate::support::{self, PROGRAM, TIME_LIMIT, root};
use chat::proto::wire;
use regex::Regex;
use serde_json::Value;

/// Every document, by its path from the root.
const DOCUMENTS: [&str; 6] = [README, LANGUAGE, "scenarios/GRADING.md", "src/README.md", WIRE, EVENTS];
const README: &str = "README.md";
const LANGUAGE: &str = "scenarios/README.md";
const WIRE: &str = "src/proto/README.md";
const EVENTS: &str = "src/proto/event/README.md";

/// Limits of all documents, and of the README.
const WIDTH_MAX: usize = 100;
const README_LINES_MAX: usize = 220;

/// A document with its ports replaced by free ones, and a home for its examples.
struct Document {
    text: String,
    home: tempfile::TempDir,
    _reserved: Vec<TcpListener>,
}

impl Document {
    fn read(path: &str) -> Self {
        let mut text = fs::read_to_string(root().join(path)).unwrap();
        // In two steps, because a free port may contain the digits of another port.
        let named = [("8888", "{server}"), ("9001", "{x}"), ("9002", "{y}")];
        named.iter().for_each(|(port, placeholder)| text = text.replace(port, placeholder));
        let reserved = named.map(|(_, placeholder)| {
            let (port, reserved) = free_port();
            text = text.replace(placeholder, &port.to_string());
            reserved
        });
        let home = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root().join("scenarios"), home.path().join("scenarios")).unwrap();
        Self { text, home, _reserved: reserved.into() }
    }

    /// The code blocks in one language, as lists of lines.
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
        let mut shell = support::shell(script, self.home.path());
        shell.process_group(0).env("TZ", "UTC");
        shell
    }
}

/// A program of the session. Its output goes to a file, its input comes from a pipe.
struct Terminal<'a> {
    child: Child,
    log: std::path::PathBuf,
    typed: Vec<&'a str>,
    shown: Vec<&'a str>,
}

impl<'a> Terminal<'a> {
    /// Starts the program of a block and waits for the output that it prints by itself: one line of a server, at most
    /// two lines of a client. Later output depends on the lines that are typed.
    fn start(readme: &Document, number: usize, block: &[&'a str]) -> Self {
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
            assert!(since.elapsed() < TIME_LIMIT, "{:?} and no more of {:?}", self.lines(), self.shown);
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
fn the_session_has_the_documented_output() {
    let readme = Document::read(README);
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
fn the_examples_of_the_readme_have_the_documented_output() {
    let run = run_examples(&Document::read(README));
    assert!(run >= 7, "only {run} examples were run");
}

#[test]
fn the_examples_of_the_wire_format_have_the_documented_output() {
    let run = run_examples(&Document::read(WIRE));
    assert!(run >= 3, "only {run} examples were run");
}

/// Runs the shell examples of a document, compares their output, and returns how many were run.
fn run_examples(document: &Document) -> usize {
    let blocks = document.blocks("console");
    let examples = blocks.into_iter().skip_while(|block| !block[0].ends_with('&')).flatten();
    // All examples run in one shell, because they build on each other. A mark separates the outputs of the commands.
    // A server in the background ends with the shell, even if the examples have a mistake.
    let mut script = "trap 'kill $(jobs -p) 2>/dev/null' EXIT\n".to_owned();
    let mut expected = Vec::<(String, Vec<String>)>::new();
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
    // `$?` in an example must be the status of the command before it, not of the `printf` between them.
    let script = script.replace("\nprintf '\\036'\n", "\ns=$?; printf '\\036'; (exit $s)\n");
    let mut shell = document.shell(&script).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = String::new();
    shell.stdout.take().unwrap().read_to_string(&mut shown).unwrap();
    shell.wait().unwrap();

    let mut run = 0;
    let shown: Vec<&str> = shown.split('\u{1e}').skip(1).collect();
    assert_eq!(shown.len(), expected.len(), "{shown:#?}");
    for ((command, expected), shown) in expected.iter().zip(shown) {
        let first_words = command.split('|').filter_map(|part| part.split_whitespace().next());
        if first_words.filter(|tool| ["jq", "nc", "sqlite3"].contains(tool)).any(|tool| !exists(tool)) {
            // A fresh machine lacks these tools. Examples without them run everywhere.
            continue;
        }
        let shown: Vec<&str> = shown.lines().collect();
        assert!(
            shown.len() == expected.len() && expected.iter().zip(&shown).all(|(a, b)| is_like(a, b)),
            "$ {command}\nexpected {expected:#?}\nshown {shown:#?}"
        );
        run += 1;
    }
    run
}

#[test]
fn the_scenarios_of_documents_pass() {
    let mut run = 0;
    for path in DOCUMENTS {
        let document = Document::read(path);
        for (number, block) in document.blocks("chat").iter().enumerate() {
            let file = document.home.path().join(format!("{number}.chat"));
            fs::write(&file, block.join("\n") + "\n").unwrap();
            let output = document.shell(&format!("chat run {number}.chat")).output().unwrap();
            assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stdout));
            run += 1;
        }
    }
    assert!(run >= 6, "only {run} scenarios were run");
}

#[test]
fn the_picture_shows_a_real_session() {
    let folder = tempfile::tempdir().unwrap();
    let drawn = folder.path().join("session.svg");
    let script = root().join("tests/support/picture.py");
    let status = Command::new("python3").arg(script).arg(PROGRAM).arg(&drawn).status().unwrap();
    assert!(status.success());
    let committed = fs::read_to_string(root().join("scenarios/session.svg")).unwrap();
    assert!(fs::read_to_string(drawn).unwrap() == committed, "scenarios/session.svg is outdated: run `make picture`");
}

#[test]
fn documents_keep_their_limits_of_length_and_width() {
    for path in DOCUMENTS {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let wide = text.lines().enumerate().filter(|(_, line)| line.chars().count() > WIDTH_MAX);
        let wide: Vec<_> = wide.map(|(at, line)| format!("{path}:{}: {line}", at + 1)).collect();
        assert_eq!(wide, Vec::<String>::new());
        let lines = text.lines().count();
        assert!(path != README || lines <= README_LINES_MAX, "{path} has {lines} lines, more than {README_LINES_MAX}");
    }
}

#[test]
fn links_and_commands_of_documents_exist() {
    let link = Regex::new(r"\]\(([^)#:]+)(?:#[^)]*)?\)").unwrap();
    let command = Regex::new(r"(?m)[`^]make ([a-z0-9-]+)").unwrap();
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    for path in DOCUMENTS {
        let text = fs::read_to_string(root().join(path)).unwrap();
        let folder = root().join(path).parent().unwrap().to_owned();
        for found in link.captures_iter(&text) {
            assert!(folder.join(&found[1]).exists(), "{path} links to {}", &found[1]);
        }
        for found in command.captures_iter(&text) {
            assert!(makefile.contains(&format!("\n{}:", &found[1])), "{path} mentions `make {}`", &found[1]);
        }
    }
}

/// The letters that stand for incarnations in the examples of the wire format.
const INCARNATIONS: [&str; 3] = ["X", "Y", "S"];

#[test]
fn the_datagrams_of_the_wire_format_are_read_and_written_as_documented() {
    let text = fs::read_to_string(root().join(WIRE)).unwrap();
    let document = Document { text, ..Document::read(WIRE) };
    let mut kinds = BTreeSet::new();
    for block in document.blocks("json") {
        for lines in block.split(|line| line.is_empty()) {
            let mut bytes = lines.join("\n") + "\n";
            for (number, letter) in INCARNATIONS.iter().enumerate() {
                let id = format!("\"{:032x}", number + 1);
                bytes = bytes.replace(&format!("\"{letter}\""), &format!("{id}\""));
                bytes = bytes.replace(&format!("\"{letter}."), &format!("{id}."));
                bytes = bytes.replace(&format!("\"K{letter}\""), &format!("\"{:064x}\"", number + 1));
            }
            let datagram = wire::parse(bytes.as_bytes()).unwrap_or_else(|why| panic!("{why:?}: {bytes}"));
            let frames = datagram.frames();
            kinds.extend(frames.iter().map(wire::Frame::kind));
            let frames: Vec<String> = frames.into_iter().flat_map(wire::Frame::lines).collect();
            let mut emitted = wire::emit(&datagram.head, frames.iter().map(String::as_str));
            if let Some(tag) = datagram.tag {
                wire::append_tag(&mut emitted, tag);
            }
            assert_eq!(datagram.tag.is_some(), datagram.head.pn.is_some(), "a link has numbers and tags: {bytes}");
            assert_eq!(String::from_utf8(emitted).unwrap(), bytes);
        }
    }
    // `kind` has an arm for every frame, so its arms list all kinds.
    let arm = Regex::new(r#"(?m)^ +Self::\w+(?: \{ \.\. \}|\(_\))? => "(\w+)",$"#).unwrap();
    let source = sources().into_iter().find(|(path, _)| path.ends_with("wire/frame.rs")).unwrap().1;
    let known: BTreeSet<&str> = arm.captures_iter(&source).map(|found| found.extract::<1>().1[0]).collect();
    assert!(known.len() >= 24, "{known:?}");
    assert_eq!(&known - &kinds, BTreeSet::from(["unknown"]), "frames without an example");
    let undocumented = kinds.iter().filter(|kind| !document.text.contains(&format!("`{kind}`")));
    assert_eq!(undocumented.collect::<Vec<_>>(), Vec::<&&str>::new());
}

#[test]
fn the_limits_of_the_wire_format_are_documented() {
    let text = fs::read_to_string(root().join(WIRE)).unwrap();
    let limits = [
        (wire::MAX_DATAGRAM, "a datagram"),
        (wire::MIN_HELLO, "a datagram with `hello`, at least"),
        (wire::MAX_HEAD, "a header beside frames, with its newline"),
        (wire::MAX_BARE_HEAD, "a header without frames, with its newline"),
        (wire::TAG_LINE, "a tag line"),
        (wire::MAX_FRAME, "a frame with its newline"),
        (wire::MAX_TOKEN, "a token: ASCII letters and digits"),
        (wire::MAX_COOKIE, "a cookie: ASCII letters and digits"),
        (chat::proto::text::Text::MAX, "a text, in all its parts"),
        (wire::MAX_LIST_BYTES, "all texts of a list for `saves`"),
    ];
    for (limit, of) in limits {
        let row = format!("\n| {} | {of} |\n", grouped(limit));
        assert!(text.contains(&row), "{row}");
    }
}

/// Formats a number with a comma between thousands.
fn grouped(number: usize) -> String {
    if number < 1_000 { number.to_string() } else { format!("{},{:03}", grouped(number / 1_000), number % 1_000) }
}

/// The documented members of an event. The value is true if the member is optional.
type Members = BTreeMap<String, bool>;

/// Rows of a table of events, by the name in the first column.
fn event_rows<'a>(text: &'a str, title: &str) -> BTreeMap<&'a str, Members> {
    let section = text.split("\n## ").find(|section| section.starts_with(title)).expect(title);
    let member = Regex::new(r"`(\w+)`(\?)?").unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let (name, members) = (cells.next().unwrap(), cells.next().unwrap());
        let members = member.captures_iter(members).map(|found| (found[1].to_owned(), found.get(2).is_some()));
        (name.trim_end_matches('?').trim_matches('`'), members.collect())
    })
    .collect()
}

/// The tables of client events, of server events, and of datagram events, which both have.
struct EventTables<'a> {
    client: BTreeMap<&'a str, Members>,
    server: BTreeMap<&'a str, Members>,
    datagrams: BTreeMap<&'a str, Members>,
}

impl<'a> EventTables<'a> {
    fn new(text: &'a str) -> Self {
        let [client, server, datagrams] = EVENT_SECTIONS.map(|(_, title)| event_rows(text, title));
        Self { client, server, datagrams }
    }
}

/// The prefixes of the event enums in the source, and the sections of the document.
const EVENT_SECTIONS: [(&str, &str); 3] =
    [("Client", "Events of a client"), ("Server", "Events of a server"), ("Trace", "Events of datagrams")];

/// Checks one event of a program against the tables of the document.
fn check_event(tables: &EventTables<'_>, event: &Value) {
    let envelope = ["cmd", "event", "line", "me", "seq", "ts", "v"];
    let own = if event["me"] == "server" { &tables.server } else { &tables.client };
    let kind = event["event"].as_str().unwrap_or_default();
    let documented = own.get(kind).or_else(|| tables.datagrams.get(kind));
    let members = documented.unwrap_or_else(|| panic!("not documented: {event}"));
    let keys: BTreeSet<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
    let promised = envelope.iter().copied().filter(|key| !["cmd", "line"].contains(key));
    let required = members.iter().filter(|(_, optional)| !**optional).map(|(key, _)| key.as_str());
    let missing: Vec<&str> = promised.chain(required).filter(|key| !keys.contains(key)).collect();
    assert_eq!(missing, Vec::<&str>::new(), "missing in {event}");
    let more: Vec<_> = keys.iter().filter(|key| !envelope.contains(key) && !members.contains_key(**key)).collect();
    assert_eq!(more, Vec::<&&str>::new(), "not documented in {event}");
    assert!(event["v"] == chat::proto::event::VERSION && event.as_object().unwrap().values().all(|v| !v.is_null()));
}

#[test]
fn example_events_have_the_documented_members() {
    let document = Document::read(EVENTS);
    let tables = EventTables::new(&document.text);
    let mut checked = 0;
    for block in document.blocks("json") {
        for event in serde_json::Deserializer::from_str(&block.join("\n")).into_iter::<Value>() {
            check_event(&tables, &event.unwrap());
            checked += 1;
        }
    }
    assert!(checked >= 10, "only {checked} events were checked");
}

#[test]
fn the_events_of_real_programs_are_documented() {
    let document = Document::read(EVENTS);
    let files = ["groups", "receipt-case-1", "taken-name", "fault-lost-datagrams", "what-the-server-shows"];
    let files: Vec<String> = files.iter().map(|name| format!("scenarios/{name}.chat")).collect();
    let output = document.shell(&format!("chat run --record record {}", files.join(" "))).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let (tables, mut kinds) = (EventTables::new(&document.text), BTreeSet::new());
    for case in fs::read_dir(document.home.path().join("record")).unwrap() {
        for file in fs::read_dir(case.unwrap().path()).unwrap().map(|entry| entry.unwrap().path()) {
            if file.extension().is_some_and(|ending| ending == "jsonl") {
                for line in fs::read_to_string(file).unwrap().lines() {
                    let event: Value = serde_json::from_str(line).unwrap();
                    check_event(&tables, &event);
                    kinds.insert((event["me"] == "server", event["event"].as_str().unwrap().to_owned()));
                }
            }
        }
    }
    assert!(kinds.len() >= 40, "only {} kinds of events came: {kinds:?}", kinds.len());
}

#[test]
fn every_event_is_documented() {
    let text = fs::read_to_string(root().join(EVENTS)).unwrap();
    let variant = Regex::new(r"(?m)^    ([A-Z]\w+)").unwrap();
    for (role, title) in EVENT_SECTIONS {
        let opening = format!("\npub enum {role}Event {{\n");
        let source = sources().into_values().find(|source| source.contains(&opening)).unwrap();
        let body = source.split(&opening).nth(1).and_then(|rest| rest.split("\n}\n").next()).unwrap();
        let known: BTreeSet<String> = variant.captures_iter(body).map(|found| snake_case(&found[1])).collect();
        let documented: BTreeSet<String> = event_rows(&text, title).into_keys().map(str::to_owned).collect();
        assert_eq!(documented, known, "{title}");
    }
}

fn snake_case(name: &str) -> String {
    let letters = name.char_indices().map(|(at, letter)| {
        let blank = if at > 0 && letter.is_uppercase() { "_" } else { "" };
        format!("{blank}{}", letter.to_lowercase())
    });
    letters.collect()
}

/// The text of every source file, by its path.
fn sources() -> BTreeMap<String, String> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root().join("src")]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.insert(path.to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

/// Returns a free port below the ephemeral ports of Linux, and a listener that reserves it until it is used.
fn free_port() -> (u16, TcpListener) {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() % 10_000;
    loop {
        let port = 10_000 + (first + 37 * u32::from(GIVEN.fetch_add(1, Ordering::Relaxed))) % 20_000;
        // The scenario runner uses the TCP port of the same number as a lock of the UDP port.
        let Ok(reserved) = TcpListener::bind(("127.0.0.1", port as u16)) else { continue };
        if UdpSocket::bind(("::", port as u16)).or_else(|_| UdpSocket::bind(("0.0.0.0", port as u16))).is_ok() {
            return (port as u16, reserved);
        }
    }
}

fn exists(tool: &str) -> bool {
    let mut shell = Command::new("bash");
    let found = shell.args(["-c", &format!("command -v {tool}")]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// Whether a line matches the documented one. `{*}` matches any text.
fn is_like(said: &str, shown: &str) -> bool {
    let pattern: Vec<String> = said.split("{*}").map(regex::escape).collect();
    Regex::new(&format!("^{}$", pattern.join(".*"))).unwrap().is_match(shown)
}
