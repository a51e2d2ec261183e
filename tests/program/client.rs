//! A client with pipes: its output, its exit status, and every way in which it ends.

use std::process::Stdio;

use crate::support::{Program, program};
use nix::sys::signal::Signal;

/// Runs a script to its end. Returns the lines except the port line, standard error and the exit status.
fn run_script(port: &str, options: &[&str], script: &str) -> (Vec<String>, String, Option<i32>) {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("script");
    std::fs::write(&file, script).unwrap();
    let script = ["--script", file.to_str().unwrap()];
    let client = Program::start(&[&["-c", "x", "127.0.0.1", port, "0"], &script[..], options].concat());
    let (mut lines, errors, status) = client.end();
    if !options.contains(&"--json") {
        assert!(lines.remove(0).starts_with(">>> [Client listening on port "));
    }
    (lines, errors, status)
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_script_runs_and_no_prompt_is_printed_alone() {
    let (_server, port) = Program::server();
    let script =
        "# a comment\n\nsend x it's \"me\"\nsend w hi\ncreate_group g\njoin_group g\nlist_members\nleave_group\n";
    let expected = "\
>>> [Welcome, You are registered.]
>>> [Client table updated.]
>>> x: it's \"me\"
>>> [Message received by x.]
>>> [Client w does not exist.]
>>> [Group g created by Server.]
>>> [Entered group g successfully]
>>> (g) [Members in the group g:]
>>> (g) x
>>> [Leave group chat g]";
    assert_eq!(run_script(&port, &[], script), (lines(expected), String::new(), Some(4)));
}

#[test]
fn events_are_numbered_without_gaps_and_exit_is_the_last() {
    let (_server, port) = Program::server();
    let (lines, errors, status) = run_script(&port, &["--json"], "send x hi\nsend_all hi\nbogus\n");
    assert_eq!((errors.as_str(), status), ("", Some(4)));
    let events: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (n, event) in events.iter().enumerate() {
        assert_eq!((&event["v"], &event["seq"], &event["me"]), (&1.into(), &(n + 1).into(), &"x".into()), "{event}");
    }
    let done: Vec<(u64, bool)> = events
        .iter()
        .filter(|event| event["event"] == "done")
        .map(|event| (event["cmd"].as_u64().unwrap(), event["ok"].as_bool().unwrap()))
        .collect();
    assert_eq!(done, [(1, true), (2, true), (3, false)]);
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["status"]), (&"exit".into(), &4.into()));
    assert_eq!(events.iter().filter(|event| event["event"] == "exit").count(), 1);
}

#[test]
fn the_status_reports_the_first_failure() {
    let (_server, port) = Program::server();
    let status = |options: &[&str], script: &str| run_script(&port, options, script).2;
    assert_eq!(status(&[], "send x hi\n< x: hi\n"), Some(0));
    assert_eq!(status(&[], "<50ms nothing\nsend w hi\n"), Some(5));
    assert_eq!(status(&[], "send w hi\n<50ms nothing\n"), Some(4));
    assert_eq!(status(&[], "send x hi\n!<50ms x: hi\n"), Some(4));
    assert_eq!(status(&[], "<50ms\n"), Some(2));
    assert_eq!(status(&["--typed"], "< x: hi\n"), Some(4));
}

#[test]
fn a_byte_order_mark_before_a_script_is_ignored() {
    let (_server, port) = Program::server();
    let (lines, errors, status) = run_script(&port, &[], "\u{feff}send x hi\n< x: hi\nsend x \u{feff}!\n");
    assert_eq!((lines.contains(&">>> x: hi".to_owned()), errors.as_str(), status), (true, "", Some(0)), "{lines:?}");
    assert!(lines.contains(&">>> x: \u{feff}!".to_owned()), "{lines:?}");
}

#[test]
fn a_failed_command_ends_a_script_with_fail_fast() {
    let (_server, port) = Program::server();
    let (lines, _, status) = run_script(&port, &["--fail-fast", "--on-eof", "stay"], "send w hi\nsend x never\n");
    assert_eq!(lines.last().map(String::as_str), Some(">>> [Client w does not exist.]"));
    assert_eq!(status, Some(4));
}

#[test]
fn without_a_server_a_client_reports_it_and_ends() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port().to_string();
    let mut client = Program::start(&["-c", "x", "127.0.0.1", &port, "0"]);
    client.stdin = None;
    let (mut lines, errors, status) = client.end();
    lines.remove(0);
    assert_eq!(lines, [">>> [Server not responding]", ">>> [Exiting]"]);
    assert_eq!((errors.as_str(), status), ("", Some(3)));
}

#[test]
fn a_name_that_is_online_is_refused() {
    let (_server, port) = Program::server();
    let _x = Program::client("x", &port, &[]);
    let (lines, errors, status) = run_script(&port, &[], "send x never\n");
    assert_eq!((lines, errors.as_str(), status), (vec![">>> [The name x is already in use.]".to_owned()], "", Some(4)));
}

#[test]
fn lines_of_any_length_and_any_bytes_are_answered() {
    let (_server, port) = Program::server();
    let script = format!("send x {}\nsend x after\n", "a".repeat(2_000_000));
    let (lines, _, status) = run_script(&port, &[], &script);
    let long = ">>> A message must have at most 65536 bytes, and this one has 2000000.";
    assert_eq!(lines[2..], [long, ">>> x: after", ">>> [Message received by x.]"]);
    assert_eq!(status, Some(4));

    let longest = "b".repeat(65_536);
    let (lines, _, status) = run_script(&port, &[], &format!("send x {longest}\n"));
    assert_eq!((lines[2].as_str(), status), (format!(">>> x: {longest}").as_str(), Some(0)));
}

#[test]
fn a_signal_ends_a_client_with_notice_and_counts_commands_without_outcome() {
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let (server, port) = Program::server();
        let x = Program::client("x", &port, &["--on-eof", "stay"]);
        x.signal(signal);
        assert_eq!(x.end(), (vec![], String::new(), Some(status)));
        server.until(">>> [Client x is offline]");
    }
    let (server, port) = Program::server();
    let mut x = Program::client("x", &port, &["--typed", "--json", "--text"]);
    x.send("send x first");
    x.until(">>> [Message received by x.]");
    server.signal(Signal::SIGSTOP);
    x.send("list_groups");
    x.send("send x second");
    // A message to oneself needs no server. Its outcome shows that the client has read the line before, too.
    x.until(">>> [Message received by x.]");
    x.signal(Signal::SIGTERM);
    assert_eq!(x.end(), (vec![], "1 command had no outcome.\n".to_owned(), Some(143)));
    server.signal(Signal::SIGCONT);
}

#[test]
fn options_set_the_behaviour_at_the_end_of_the_input() {
    let (server, port) = Program::server();
    let mut x = Program::client("x", &port, &["--on-eof", "stay"]);
    x.stdin = None;
    let mut y = Program::client("y", &port, &[]);
    y.send("send x still here?");
    y.until(">>> [Message received by x.]");
    x.until(">>> y: still here?");
    y.stdin = None;
    assert_eq!(y.end().2, Some(0));
    server.until(">>> [Client y is offline]");
    let (_, _, status) = run_script(&port, &["--linger", "20ms"], "");
    assert_eq!(status, Some(4), "the name is in use");
}

#[test]
fn a_client_whose_output_is_closed_leaves_with_notice() {
    let (server, port) = Program::server();
    let mut x = program(["-c", "x", "127.0.0.1", &port, "0"]).unread().start();
    let mut reader = std::io::BufReader::new(x.stdout.take().unwrap());
    let mut line = String::new();
    while !line.ends_with("[Client table updated.]\n") {
        assert_ne!(std::io::BufRead::read_line(&mut reader, &mut line).unwrap(), 0, "{line}");
    }
    drop(reader);
    let _y = Program::client("y", &port, &[]);
    server.until(">>> [Client x is offline]");
    assert_eq!(x.end(), (vec![], String::new(), Some(0)));
}

#[test]
fn a_blocked_output_delays_no_signal_and_loses_no_message() {
    let (server, port) = Program::server();
    // The output is an unread pipe, which holds 64 KiB.
    let x = program(["-c", "x", "127.0.0.1", &port, "0", "--on-eof", "stay"]).stdin(Stdio::null()).unread().start();
    server.until(">>> [Client x registered]");
    let mut y = Program::client("y", &port, &[]);
    let text = "a".repeat(60_000);
    y.send(&format!("send x {text}"));
    y.until(">>> [Message received by x.]");
    y.send(&format!("send x {text}"));
    x.signal(Signal::SIGTERM);
    assert_eq!(x.end().2, Some(143));
    // The client did not display the message, so it did not acknowledge it.
    y.until(">>> [Messages received by the server and saved]");
}

#[test]
fn the_launcher_in_a_pipe_becomes_the_client_that_a_line_starts() {
    let (_server, port) = Program::server();
    let mut launcher = Program::start(&[]);
    launcher.send("");
    launcher.send("bogus");
    launcher.send(&format!("ChatApp -c x 127.0.0.1 {port} 0"));
    launcher.send("send x hi");
    launcher.send("< x: hi");
    launcher.send("exit");
    let (lines, errors, status) = launcher.end();
    assert_eq!(
        lines[1..],
        [
            ">>> [Welcome, You are registered.]",
            ">>> [Client table updated.]",
            ">>> x: hi",
            ">>> [Message received by x.]"
        ]
    );
    assert!(errors.starts_with("There is no command \"bogus\" here"), "{errors}");
    assert_eq!(status, Some(0));
}

#[test]
fn input_without_end_delays_no_signal() {
    let (server, port) = Program::server();
    // A line that never ends.
    let zeros = std::fs::File::open("/dev/zero").unwrap();
    let x = program(["-c", "x", "127.0.0.1", &port, "0"]).stdin(zeros).start();
    server.until(">>> [Client x registered]");
    x.signal(Signal::SIGTERM);
    assert_eq!(x.end().2, Some(143));

    // Empty lines without a pause.
    let mut z = program(["-c", "z", "127.0.0.1", &port, "0"]).stdout(Stdio::null()).start();
    let mut stdin = z.stdin.take().unwrap();
    let writer = std::thread::spawn(move || while std::io::Write::write_all(&mut stdin, &[b'\n'; 4096]).is_ok() {});
    server.until(">>> [Client z registered]");
    z.signal(Signal::SIGTERM);
    assert_eq!(z.end().2, Some(143));
    writer.join().unwrap();
}

#[test]
fn a_failed_write_of_output_is_reported() {
    let (_server, port) = Program::server();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let x = program(["-c", "x", "127.0.0.1", &port, "0"]).stdin(Stdio::null()).stdout(full).start();
    let sentence = "The output could not be written: no storage space.\n";
    assert_eq!(x.end(), (vec![], sentence.to_owned(), Some(3)));
}

#[test]
fn an_unreadable_script_is_an_error() {
    let (_server, port) = Program::server();
    let home = tempfile::tempdir().unwrap();
    let (shown, _, status) = program(["-c", "x", "127.0.0.1", &port, "0", "--script"]).arg(home.path()).run().parts();
    assert_eq!(shown.lines().last(), Some(">>> The input could not be read: is a directory."), "{shown}");
    assert_eq!(status, Some(3));
}
