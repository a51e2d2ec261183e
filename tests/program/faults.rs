//! Network faults, injected where a datagram is sent: from the command line, and by commands to a running program.

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::support::{PROGRAM, Program, TIME_LIMIT, program};
use chat::proto::status::Status;
use chat::runner::run::seed::Seed;
use chat::runner::run::{RunOptions, run};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// Starts a server with JSON output. Returns it with its port.
fn server(options: &[&str]) -> (Program, String) {
    let server = Program::start(&[&["-s", "0", "--ephemeral", "--json"], options].concat());
    let port = until(&server, "listening").last().unwrap()["port"].to_string();
    (server, port)
}

/// Starts a client with JSON output. Returns it with its address when it is registered.
fn client(name: &str, port: &str, options: &[&str]) -> (Program, String) {
    let client = Program::start(&[&["-c", name, "127.0.0.1", port, "0", "--json", "--typed"], options].concat());
    let addr = until(&client, "started").last().unwrap()["addr"].as_str().unwrap().to_owned();
    until(&client, "table");
    (client, addr)
}

fn event(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|why| panic!("{line:?} is no event: {why}"))
}

/// All events up to and including the next one of this kind.
fn until(program: &Program, kind: &str) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    while seen.last().is_none_or(|event| event["event"] != kind) {
        seen.push(event(&program.line()));
    }
    seen
}

fn rest(program: Program) -> (Vec<Value>, Option<i32>) {
    let (lines, _, status) = program.end();
    (lines.iter().map(|line| event(line)).collect(), status)
}

fn of_kind<'a>(events: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["event"] == kind)
}

/// Sends fault commands to control sockets, from a socket of its own.
struct ControlClient {
    folder: TempDir,
    socket: UnixDatagram,
}

impl ControlClient {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("orders")).unwrap();
        socket.set_read_timeout(Some(TIME_LIMIT)).unwrap();
        Self { folder, socket }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sends a command and returns the answer.
    fn send_command(&self, path: &Path, command: &str) -> String {
        self.socket.send_to(command.as_bytes(), path).unwrap();
        let mut buffer = [0; 1024];
        let bytes = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..bytes].to_vec()).unwrap()
    }
}

#[test]
fn a_client_that_loses_every_datagram_reports_it_and_finds_no_server() {
    let (_server, port) = server(&[]);
    let arguments = ["-c", "x", "127.0.0.1", &port, "0", "--json", "--fault", "loss=100%,seed=7"];
    let (events, status) = rest(Program::start(&arguments));
    assert_eq!(status, Some(3));
    let seqs: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=events.len() as u64).collect::<Vec<_>>());
    let faults: Vec<&Value> = of_kind(&events, "fault").collect();
    assert!(faults.len() >= 5, "one an attempt at least: {events:#?}");
    for fault in faults {
        let members = ["fault", "frame", "peer", "line"].map(|member| fault[member].clone());
        assert_eq!(members, ["loss".into(), "hello".into(), format!("127.0.0.1:{port}").into(), Value::Null]);
        assert!(fault["bytes"].as_u64().unwrap() > 20);
    }
    assert_eq!(events.last().unwrap()["event"], "exit");
}

#[test]
fn text_output_has_no_fault_events() {
    let (_server, port) = server(&[]);
    let arguments = ["-c", "x", "127.0.0.1", &port, "0", "--fault", "loss=100%"];
    let (lines, errors, status) = Program::start(&arguments).end();
    let lines: Vec<&str> = lines.iter().filter(|line| !line.contains("listening")).map(String::as_str).collect();
    assert_eq!(lines, [">>> [Server not responding]", ">>> [Exiting]"]);
    assert_eq!((errors.as_str(), status), ("", Some(3)));
}

#[test]
fn delays_add_up_and_duplicates_are_displayed_once() {
    let (_server, port) = server(&["--fault", "duplicate=100%"]);
    let (y, _) = client("y", &port, &["--fault", "duplicate=100%,delay=15ms"]);
    let (mut x, _) = client("x", &port, &["--fault", "delay=10ms", "--fault", "delay=25ms,duplicate=100%"]);
    for text in ["one", "two"] {
        x.send(&format!("send y {text}"));
        let events = until(&x, "done");
        let delivered = of_kind(&events, "delivered").next().unwrap_or_else(|| panic!("{events:#?}"));
        assert!(delivered["rtt_ms"].as_f64().unwrap() >= 40.0, "there and back: {delivered}");
    }
    x.stdin = None;
    assert_eq!(rest(x).1, Some(0));
    y.signal(Signal::SIGTERM);
    let (events, _) = rest(y);
    let texts: Vec<&str> = of_kind(&events, "message").filter_map(|event| event["text"].as_str()).collect();
    assert_eq!(texts, ["one", "two"]);
}

#[test]
fn reordered_messages_are_displayed_in_the_order_typed() {
    let (_server, port) = server(&[]);
    let (y, _) = client("y", &port, &[]);
    let (mut x, _) = client("x", &port, &["--fault", "reorder=60%,seed=7"]);
    let texts: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    texts.iter().for_each(|text| x.send(&format!("send y {text}")));
    for _ in &texts {
        until(&x, "done");
    }
    let mut seen = Vec::new();
    while seen.len() < texts.len() {
        seen.push(until(&y, "message").last().unwrap()["text"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen, texts);
}

#[test]
fn fault_commands_are_in_force_when_they_are_answered() {
    let control = ControlClient::new();
    let path = control.path("y");
    let (_server, port) = server(&[]);
    let (y, _) = client("y", &port, &["--control", path.to_str().unwrap()]);
    let (mut x, addr) = client("x", &port, &[]);

    assert_eq!(control.send_command(&path, &format!("to={addr},drop=1")), "ok");
    x.send("send y hi");
    let events = until(&x, "done");
    let delivered = of_kind(&events, "delivered").next().unwrap();
    assert!(delivered["attempts"].as_u64().unwrap() > 1, "the first acknowledgement was lost: {delivered}");
    let lost = until(&y, "fault").pop().unwrap();
    assert_eq!((&lost["fault"], &lost["peer"]), (&"drop".into(), &addr.into()));

    let wrong = control.send_command(&path, "drop=some");
    assert!(wrong.starts_with("A fault is loss=30%") && wrong.ends_with("and \"drop=some\" is not."), "{wrong}");
    // y receives but sends nothing: it acknowledges nothing, so the server saves its mail.
    assert_eq!(control.send_command(&path, "cut"), "ok");
    x.send("send y are you there?");
    let mut outcomes = until(&x, "done");
    outcomes.retain(|event| event["cmd"] == 2 && event["line"].is_string());
    let lines: Vec<&str> = outcomes.iter().filter_map(|event| event["line"].as_str()).collect();
    let kept = ["[No ACK from y, message sent to server.]", "[Messages received by the server and saved]"];
    assert_eq!(lines, kept);
    assert_eq!(until(&y, "fault").last().unwrap()["fault"], "cut");
    assert_eq!(control.send_command(&path, "heal"), "ok");

    assert!(path.exists());
    y.signal(Signal::SIGTERM);
    assert_eq!(y.end().2, Some(143));
    assert!(!path.exists(), "the path is removed at the end");
}

#[test]
fn a_program_takes_over_the_control_path_of_a_killed_one() {
    let control = ControlClient::new();
    let path = control.path("server");
    let with = ["--control", path.to_str().unwrap()];
    let (killed, _) = server(&with);
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.end().2, None);
    assert!(path.exists());
    let (second, _) = server(&with);
    assert_eq!(control.send_command(&path, "heal\n"), "ok");
    let (lines, errors, status) = Program::start(&[&["-s", "0", "--ephemeral"], &with[..]].concat()).end();
    let sentence = format!("{} is there already, choose another path.\n", path.display());
    assert_eq!((lines, errors, status), (Vec::new(), sentence, Some(3)));
    second.signal(Signal::SIGTERM);
    assert_eq!(second.end().2, Some(0));
    assert!(!path.exists());
}

#[test]
fn a_server_reports_dropped_datagrams() {
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr: SocketAddr = peer.local_addr().unwrap();
    let (server, port) = server(&["--fault", &format!("to={addr},drop=1")]);
    let hello = chat::proto::wire::emit_hello(chat::proto::id::Incarnation(1), "1");
    peer.set_read_timeout(Some(TIME_LIMIT)).unwrap();
    for _ in 0..2 {
        peer.send_to(&hello, format!("127.0.0.1:{port}")).unwrap();
    }
    let fault = until(&server, "fault").pop().unwrap();
    let members = ["me", "fault", "frame", "peer"].map(|member| fault[member].as_str().unwrap().to_owned());
    assert_eq!(members, ["server".to_owned(), "drop".to_owned(), "challenge".to_owned(), addr.to_string()]);
    assert!(peer.recv(&mut [0; 2048]).is_ok(), "the second answer arrives");
}

/// Runs a scenario with real processes. Returns the status and the report.
fn run_scenario(text: &str, seed: Option<u64>) -> (Status, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.chat");
    std::fs::write(&file, text).unwrap();
    let program = Some(PathBuf::from(PROGRAM));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let options = RunOptions { files: vec![file], program, seed: seed.map(Seed), ..RunOptions::default() };
    let status = run(&options, &mut out, &mut err);
    (status, String::from_utf8(out).unwrap() + &String::from_utf8(err).unwrap())
}

fn passes(text: &str) {
    let (status, report) = run_scenario(text, None);
    assert_eq!(status, Status::Ok, "{report}");
    assert!(report.contains("1 case: 1 passed"), "{report}");
}

#[test]
fn scenario_drop_drops_a_number_of_datagrams_in_one_direction() {
    passes(
        r#"server
client x y z
drop y->x 2
y> send z hi
y< {"event":"delivered","to":"z"}
y!<100ms {"event":"fault"}
x> send y hi
y< {"event":"fault","fault":"drop","frame":"head"}
y< {"event":"fault","fault":"drop","frame":"head"}
x< {"event":"delivered","to":"y"}
y!< {"event":"fault"}
"#,
    );
}

#[test]
fn scenario_loss_ends_with_heal() {
    passes(
        r#"server
client x y
loss x->* 100%
x> send y hi
x< {"event":"fault","fault":"loss","frame":"msg"}
x< [No ACK from y, message sent to server.]
x< {"event":"fault","fault":"loss","frame":"save"}
heal
x< [Client y exists!!]
y< x: hi
mark
x> send y again
x< {"event":"delivered"}
x!< {"event":"fault"}
"#,
    );
}

#[test]
fn scenario_duplicate_sends_each_datagram_twice() {
    passes(
        r#"server
client x
client y -- --trace
duplicate x->y 100%
mark y
x> send y hi
y<~ {"event":"received","frame":"msg"}
y<~ {"event":"received","frame":"msg"}
y<~ x: hi
x< [Message received by y.]
y!<2s x: hi
"#,
    );
}

#[test]
fn scenario_delay_beyond_the_first_ack_timeout_causes_a_retransmission() {
    passes(
        r#"server
client x
client y -- --trace
delay x->y 100ms
x> send y hi
x< {"event":"delivered","to":"y"}
# Sent again while the first was on its way: y received more than one.
y<~ {"event":"received","frame":"msg"}
y<~ {"event":"received","frame":"msg"}
y<~ x: hi
y!<1s x: hi
"#,
    );
}

#[test]
fn scenario_reorder_lets_the_next_datagram_overtake() {
    passes(
        r#"server
client x y
reorder x->y 100%
x> send y 1
y< x: 1
x< {"event":"delivered","to":"y"}
x> send y 2
y< x: 2
x< {"event":"delivered","to":"y"}
"#,
    );
}

#[test]
fn scenario_cut_works_in_both_directions_and_ends_with_heal() {
    passes(
        r#"server
client x y z
cut x y
x> send y hi
x< {"event":"fault","fault":"cut","frame":"msg"}
y> send x hi
y< {"event":"fault","fault":"cut","frame":"msg"}
x,y< {"event":"no_ack"}
x> send z hi
z< x: hi
# Until then each tries again, and what is swallowed of that is told.
x,y< {"event":"saved"}
heal
mark
x> send y again
y< x: again
x!< {"event":"fault"}
"#,
    );
}

#[test]
fn faults_survive_a_restart_and_apply_to_later_actors() {
    passes(
        r#"server
client x y
loss x->server 100%
cut y *
kill x
restart x
x< {"event":"fault","fault":"loss","frame":"hello"}
x< [Server not responding]
cut * server
client z
z< {"event":"fault","fault":"cut","frame":"hello"}
z< [Server not responding]
heal
restart x
x< [Welcome, You are registered.]
x!< {"event":"fault"}
"#,
    );
}

#[test]
fn faults_for_a_killed_actor_apply_from_its_next_start() {
    passes(
        r#"server
client x
kill x
drop x->server 2
drop x->server 1
restart x
x< {"event":"fault","fault":"drop","frame":"hello"}
x< {"event":"fault","fault":"drop","frame":"hello"}
x< {"event":"fault","fault":"drop","frame":"hello"}
x< [Welcome, You are registered.]
x!< {"event":"fault"}
"#,
    );
}

#[test]
fn a_paused_actor_applies_fault_commands_before_it_sends() {
    passes(
        r#"server
client x y
pause y
x> send y hi
drop y->x 1
loss y->* 100%
resume y
y< x: hi
y< {"event":"fault","fault":"drop","frame":"head"}
y< {"event":"fault","fault":"loss","frame":"head"}
heal
x< {"event":"done"}
"#,
    );
}

#[test]
fn without_a_control_socket_faults_are_skipped_with_the_reason() {
    let home = tempfile::tempdir().unwrap();
    let deep = home.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let file = home.path().join("a.chat");
    std::fs::write(&file, "server\nclient x\ncase \"a\" needs=faults\nx alive\ncase \"b\"\nx alive\n").unwrap();
    let (report, _, status) = program(["run"]).arg(&file).env("TMPDIR", &deep).run().parts();
    assert_eq!(status, Some(0), "{report}");
    let skipped = report.lines().find(|line| line.starts_with("SKIP  a  ")).unwrap();
    assert!(skipped.contains("The path of a control socket can have about 100 bytes, and "), "{skipped}");
    assert!(report.contains("2 cases: 1 passed, 0 failed, 1 skipped or not run; "), "{report}");
}

#[test]
fn a_failure_names_the_seed_only_if_the_case_has_faults() {
    let (status, report) = run_scenario("server\nclient x\nloss x->* 10%\nx<100ms no such line\n", Some(5));
    assert_eq!(status, Status::Expected);
    assert!(report.contains("replay    chat run --seed 5 --case "), "{report}");
    let (status, report) = run_scenario("server\nclient x\nx<100ms no such line\n", Some(5));
    assert_eq!(status, Status::Expected);
    assert!(report.contains("replay    chat run --case "), "{report}");
}

#[test]
fn the_same_seed_loses_the_same_datagrams() {
    // No server answers, so each client sends the same datagrams.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let lost = ["7", "7", "8"].map(|seed| {
        let command = format!("loss=50%,seed={seed}");
        Program::start(&["-c", "x", "127.0.0.1", &port, "0", "--json", "--trace", "--fault", &command])
    });
    let lost = lost.map(|client| {
        let (events, _) = rest(client);
        let mut lost: Vec<bool> = Vec::new();
        for event in &events {
            match event["event"].as_str() {
                Some("sent") => lost.push(false),
                Some("fault") => *lost.last_mut().unwrap() = true,
                _ => {}
            }
        }
        assert!(lost.len() >= 10, "{events:#?}");
        lost.truncate(10);
        lost
    });
    assert_eq!(lost[0], lost[1]);
    assert_ne!(lost[0], lost[2]);
}
