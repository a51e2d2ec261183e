//! Faults of the network, decided where a datagram is sent: on the command line, and by orders to a running program.

mod support;

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use serde_json::Value;
use support::{PATIENCE, Program};
use tempfile::TempDir;

/// A server that shows events, its events so far, and its port.
fn server(options: &[&str]) -> (Program, String) {
    let server = Program::start(&[&["-s", "0", "--ephemeral", "--json"], options].concat());
    let port = until(&server, "listening").last().unwrap()["port"].to_string();
    (server, port)
}

/// A client that shows events, registered, with the address that it has.
fn client(name: &str, port: &str, options: &[&str]) -> (Program, String) {
    let client = Program::start(&[&["-c", name, "127.0.0.1", port, "0", "--json", "--typed"], options].concat());
    let addr = until(&client, "started").last().unwrap()["addr"].as_str().unwrap().to_owned();
    until(&client, "table");
    (client, addr)
}

fn event(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|why| panic!("{line:?} is no event: {why}"))
}

/// All events up to the next one of this kind, which is among them.
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

/// Whoever gives orders, from a path of its own.
struct Orders {
    folder: TempDir,
    socket: UnixDatagram,
}

impl Orders {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("orders")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { folder, socket }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Gives an order, and returns the answer.
    fn give(&self, path: &Path, order: &str) -> String {
        self.socket.send_to(order.as_bytes(), path).unwrap();
        let mut buffer = [0; 1024];
        let bytes = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..bytes].to_vec()).unwrap()
    }
}

#[test]
fn a_client_that_loses_everything_says_so_and_finds_no_server() {
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
fn faults_are_no_lines_for_people() {
    let (_server, port) = server(&[]);
    let arguments = ["-c", "x", "127.0.0.1", &port, "0", "--fault", "loss=100%"];
    let (lines, errors, status) = Program::start(&arguments).end();
    let lines: Vec<&str> = lines.iter().filter(|line| !line.contains("listening")).map(String::as_str).collect();
    assert_eq!(lines, [">>> [Server not responding]", ">>> [Exiting]"]);
    assert_eq!((errors.as_str(), status), ("", Some(3)));
}

#[test]
fn what_is_late_is_late_by_so_much_and_what_is_doubled_is_shown_once() {
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
fn what_is_overtaken_is_shown_in_the_order_typed() {
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
fn orders_are_in_force_when_they_are_answered() {
    let orders = Orders::new();
    let path = orders.path("y");
    let (_server, port) = server(&[]);
    let (y, _) = client("y", &port, &["--control", path.to_str().unwrap()]);
    let (mut x, addr) = client("x", &port, &[]);

    assert_eq!(orders.give(&path, &format!("to={addr},drop=1")), "ok");
    x.send("send y hi");
    let events = until(&x, "done");
    let delivered = of_kind(&events, "delivered").next().unwrap();
    assert!(delivered["attempts"].as_u64().unwrap() > 1, "the first acknowledgement was lost: {delivered}");
    let lost = until(&y, "fault").pop().unwrap();
    assert_eq!((&lost["fault"], &lost["peer"]), (&"drop".into(), &addr.into()));

    let wrong = orders.give(&path, "drop=some");
    assert!(wrong.starts_with("A fault is loss=30%") && wrong.ends_with("and \"drop=some\" is not."), "{wrong}");
    // A client that hears the server and says nothing keeps nothing from anybody, and its own words go nowhere.
    assert_eq!(orders.give(&path, "cut"), "ok");
    x.send("send y are you there?");
    let mut outcomes = until(&x, "done");
    outcomes.retain(|event| event["cmd"] == 2 && event["line"].is_string());
    let lines: Vec<&str> = outcomes.iter().filter_map(|event| event["line"].as_str()).collect();
    let kept = ["[No ACK from y, message sent to server.]", "[Messages received by the server and saved]"];
    assert_eq!(lines, kept);
    assert_eq!(until(&y, "fault").last().unwrap()["fault"], "cut");
    assert_eq!(orders.give(&path, "heal"), "ok");

    assert!(path.exists());
    y.signal(Signal::SIGTERM);
    assert_eq!(y.end().2, Some(143));
    assert!(!path.exists(), "the path is removed at the end");
}

#[test]
fn a_program_that_was_killed_leaves_its_path_to_the_next_one() {
    let orders = Orders::new();
    let path = orders.path("server");
    let with = ["--control", path.to_str().unwrap()];
    let (killed, _) = server(&with);
    killed.signal(Signal::SIGKILL);
    assert_eq!(killed.end().2, None);
    assert!(path.exists());
    let (second, _) = server(&with);
    assert_eq!(orders.give(&path, "heal\n"), "ok");
    let (lines, errors, status) = Program::start(&[&["-s", "0", "--ephemeral"], &with[..]].concat()).end();
    let sentence = format!("{} is there already, choose another path.\n", path.display());
    assert_eq!((lines, errors, status), (Vec::new(), sentence, Some(3)));
    second.signal(Signal::SIGTERM);
    assert_eq!(second.end().2, Some(0));
    assert!(!path.exists());
}

#[test]
fn a_server_tells_what_it_lost() {
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr: SocketAddr = peer.local_addr().unwrap();
    let (server, port) = server(&["--fault", &format!("to={addr},drop=1")]);
    let hello = "{\"chat\":1,\"me\":\"00000000000000000000000000000001\"}\n{\"t\":\"hello\",\"token\":\"1\"}\n";
    peer.set_read_timeout(Some(PATIENCE)).unwrap();
    for _ in 0..2 {
        peer.send_to(hello.as_bytes(), format!("127.0.0.1:{port}")).unwrap();
    }
    let fault = until(&server, "fault").pop().unwrap();
    let members = ["me", "fault", "frame", "peer"].map(|member| fault[member].as_str().unwrap().to_owned());
    assert_eq!(members, ["server".to_owned(), "drop".to_owned(), "challenge".to_owned(), addr.to_string()]);
    assert!(peer.recv(&mut [0; 2048]).is_ok(), "the second answer arrives");
}
