//! A server at a terminal reads commands there. It does not read the terminal while it is in the background.

use crate::support::{Program, program};
use nix::sys::signal::Signal;

fn listening(rows: &[String]) -> Option<String> {
    let named = |row: &String| Some(row.strip_prefix(">>> [Server listening on port ")?.strip_suffix(']')?.to_owned());
    rows.iter().find_map(named)
}

#[test]
fn commands_are_read_and_events_appear_above_the_line() {
    let mut server = program(["-s", "0", "--ephemeral"]).start_in_terminal();
    server.until(|screen| screen.rows().last().is_some_and(|row| row == ">>>") && screen.rows().len() == 2);
    server.press("gro");
    server.until(|screen| screen.rows().last().is_some_and(|row| row == ">>> gro"));
    let port = listening(&server.rows()).unwrap();
    let x = Program::client("x", &port, &[]);
    server.until(|screen| screen.rows()[1..] == [">>> [Client x registered]", ">>> gro"]);
    server.press("ups\r");
    let shown = [">>> [Client x registered]", ">>> groups", ">>> [No available group chats]", ">>>"];
    server.until(|screen| screen.rows()[1..] == shown);
    server.press("exit\r");
    let (status, rows) = server.end();
    assert_eq!(status, Some(0));
    assert_eq!(rows[4..], [">>> exit"]);
    drop(x);
}

#[test]
fn a_terminal_is_not_read_from_the_background() {
    let mut server = program(["-s", "0", "--ephemeral"]).start_in_background();
    // If the server read this line, it would end.
    server.press("exit\r");
    server.until(|screen| listening(&screen.rows()).is_some());
    let port = listening(&server.rows()).unwrap();
    let mut x = Program::client("x", &port, &[]);
    x.send("exit");
    assert_eq!(x.end().2, Some(0));
    server.until(|screen| screen.rows().last().is_some_and(|row| row == ">>> [Client x is offline]"));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.end().0, Some(0));
}

#[test]
fn the_launcher_becomes_a_server_or_a_client() {
    let (server, port) = Program::server();
    let mut launcher = program([""; 0]).start_in_terminal();
    launcher.until_rows(&["$"]);
    launcher.press("ChatApp -s 80\r");
    let refused = "The port must be 1024 to 65535, or 0 for a free one, and \"80\" is not.";
    launcher.until_rows(&["$ ChatApp -s 80", refused, "$"]);
    // Lines that are typed ahead reach the client.
    launcher.press(&format!("ChatApp -c x 127.0.0.1 {port} 0\rsend x hi\rexit\r"));
    server.until(">>> [Client x is offline]");
    let (status, rows) = launcher.end();
    assert_eq!(status, Some(0));
    let said: Vec<&String> = rows.iter().filter(|row| *row == ">>> x: hi").collect();
    assert_eq!(said.len(), 1, "{rows:#?}");
}

#[test]
fn lines_pasted_with_a_launcher_command_reach_the_client() {
    let (server, port) = Program::server();
    for json in ["", " --json"] {
        let mut launcher = program([""; 0]).start_in_terminal();
        launcher.until_rows(&["$"]);
        launcher.press(&format!("\u{1b}[200~ChatApp -c x 127.0.0.1 {port} 0{json}\nsend x hi\nexit\u{1b}[201~\r"));
        server.until(">>> [Client x is offline]");
        let (status, rows) = launcher.end();
        assert_eq!(status, Some(0));
        assert!(rows.concat().contains("x: hi"), "{rows:#?}");
    }
}
