//! A server with pipes: its console commands, its files, and every way in which it ends.

use crate::support::{Program, program};
use nix::sys::signal::Signal;

#[test]
fn a_server_keeps_running_at_the_end_of_its_input() {
    let (mut server, port) = Program::server();
    server.stdin = None;
    let mut x = Program::client("x", &port, &[]);
    x.send("exit");
    assert_eq!(x.end().2, Some(0));
    server.until(">>> [Client x is offline]");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.end(), (vec![], String::new(), Some(0)));
}

#[test]
fn signals_and_exit_end_a_server_with_status_0() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (server, _) = Program::server();
        server.signal(signal);
        assert_eq!(server.end(), (vec![], String::new(), Some(0)), "{signal}");
    }
    let (mut server, _) = Program::server();
    server.send("exit");
    assert_eq!(server.end(), (vec![], String::new(), Some(0)));
}

#[test]
fn console_commands_are_answered() {
    let (mut server, _) = Program::server();
    for word in ["groups", "", "mail", "exit"] {
        server.send(word);
    }
    let (lines, errors, status) = server.end();
    assert_eq!(lines, [">>> [No available group chats]", ">>> [No mail is waiting]"]);
    assert_eq!((errors.as_str(), status), ("", Some(0)));
}

#[test]
fn events_are_json_and_exit_is_the_last() {
    let mut server = Program::start(&["-s", "0", "--ephemeral", "--json"]);
    server.send("exit");
    let (lines, errors, status) = server.end();
    assert_eq!((errors.as_str(), status), ("", Some(0)));
    let events: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&events[0]["event"], &events[0]["seq"], &events[0]["me"]),
        (&"listening".into(), &1.into(), &"server".into())
    );
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["status"], &last["seq"]), (&"exit".into(), &0.into(), &events.len().into()));
}

#[test]
fn the_store_is_in_the_state_folder_and_named_by_the_port() {
    let server = Program::start(&["-s", "0"]);
    let port = server.port();
    let mut x = Program::client("x", &port, &[]);
    x.send("create_group g");
    x.until(">>> [Group g created by Server.]");
    let file = server.home.path().join(format!(".local/state/chat/server-{port}.db"));
    assert!(file.is_file());
    server.signal(Signal::SIGTERM);
    // The home folder is removed with the server, so the store is copied after the server has ended.
    let copy = tempfile::tempdir().unwrap();
    let kept = copy.path().join("kept.db");
    server.until_end();
    std::fs::copy(&file, &kept).unwrap();
    let (mut again, _) = Program::server_with(&["--db", kept.to_str().unwrap()]);
    again.until(&format!(">>> [1 names and 0 messages from {}]", kept.display()));
    again.send("groups");
    again.until(">>> g");
}

#[test]
fn an_unwritable_store_is_reported_in_one_sentence() {
    let server = Program::start(&["-s", "0", "--db", "/proc/no/such/folder/file.db"]);
    let (lines, errors, status) = server.end();
    assert_eq!((lines, status), (vec![], Some(3)));
    assert!(errors.lines().count() == 1 && errors.contains("/proc/no/such/folder"), "{errors}");
}

#[test]
fn a_port_in_use_is_reported_in_one_sentence() {
    let (_server, port) = Program::server();
    let second = Program::start(&["-s", &port, "--ephemeral"]);
    let sentence = format!("Port {port} is in use, choose another one, or 0 for a free one.\n");
    assert_eq!(second.end(), (vec![], sentence, Some(3)));
}

#[test]
fn sighup_ends_a_server_with_status_129() {
    let (server, _) = Program::server();
    server.signal(Signal::SIGHUP);
    assert_eq!(server.end(), (vec![], String::new(), Some(129)));
}

#[test]
fn a_failed_write_of_output_is_reported() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let server = program(["-s", "0", "--ephemeral"]).stdout(full).start();
    let sentence = "The output could not be written: no storage space.\n";
    assert_eq!(server.end(), (vec![], sentence.to_owned(), Some(3)));
}
