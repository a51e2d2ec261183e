//! A client at a terminal: output never damages the line being typed, and every way to end restores the terminal mode.

use crate::support::{Program, Terminal, program};
use nix::sys::signal::Signal;

/// A registered client in a terminal.
struct ClientTerminal {
    terminal: Terminal,
    start: Vec<String>,
}

fn client_terminal(name: &str, port: &str) -> ClientTerminal {
    let mut terminal = program(["-c", name, "127.0.0.1", port, "0"]).start_in_terminal();
    let known = [">>> [Welcome, You are registered.]", ">>> [Client table updated.]", ">>>"];
    terminal.until(|screen| screen.rows().get(1..) == Some(&known.map(str::to_owned)[..]));
    let mut start = terminal.rows();
    assert!(start[0].starts_with(">>> [Client listening on port "), "{start:?}");
    start.pop();
    ClientTerminal { terminal, start }
}

/// Starts the client x in a terminal whose output is not read. Returns when it is registered.
fn unread(server: &Program, port: &str) -> Terminal {
    let terminal = program(["-c", "x", "127.0.0.1", port, "0"]).unread().start_in_terminal();
    server.until(">>> [Client x registered]");
    terminal
}

impl ClientTerminal {
    /// Waits until exactly these rows follow the first rows.
    fn until(&mut self, rows: &[&str]) {
        let all: Vec<&str> = self.start.iter().map(String::as_str).chain(rows.iter().copied()).collect();
        self.terminal.until_rows(&all);
    }

    /// Waits for the end of the client. Returns the exit status and the rows after the first rows.
    fn end(self) -> (Option<i32>, Vec<String>) {
        let (status, rows) = self.terminal.end();
        (status, rows[self.start.len()..].to_vec())
    }
}

#[test]
fn messages_that_arrive_during_typing_appear_above_the_line() {
    let (_server, port) = Program::server();
    let mut x = client_terminal("x", &port);
    x.terminal.press("send y hal");
    x.until(&[">>> send y hal"]);
    let mut y = Program::client("y", &port, &[]);
    x.until(&[">>> [Client table updated.]", ">>> send y hal"]);
    y.send("send x one");
    y.send("send x two");
    y.until(">>> [Message received by x.]");
    y.until(">>> [Message received by x.]");
    x.until(&[">>> [Client table updated.]", ">>> y: one", ">>> y: two", ">>> send y hal"]);
    x.terminal.press("\u{1b}[D\u{1b}[Dx\u{7f}\u{5}lo\r");
    y.until(">>> x: hallo");
    let shown =
        [">>> [Client table updated.]", ">>> y: one", ">>> y: two", ">>> send y hallo", ">>> [Message received by y.]"];
    x.until(&[&shown[..], &[">>>"]].concat());
    x.terminal.press("exit\r");
    assert_eq!(x.end(), (Some(0), [&shown[..], &[">>> exit"]].concat().iter().map(|row| (*row).to_owned()).collect()));
}

#[test]
fn a_line_longer_than_the_screen_is_not_damaged() {
    let (_server, port) = Program::server();
    let mut x = client_terminal("x", &port);
    let text = "0123456789".repeat(20);
    x.terminal.press(&format!("send x {text}"));
    let typed = format!(">>> send x {text}");
    let rows: Vec<&str> = (0..typed.len()).step_by(80).map(|at| &typed[at..typed.len().min(at + 80)]).collect();
    x.until(&rows);
    let _y = Program::client("y", &port, &[]);
    x.until(&[&[">>> [Client table updated.]"], &rows[..]].concat());
    x.terminal.press("\r");
    let said = format!(">>> x: {text}");
    let said: Vec<&str> = (0..said.len()).step_by(80).map(|at| &said[at..said.len().min(at + 80)]).collect();
    let received = [">>> [Message received by x.]", ">>>"];
    x.until(&[&[">>> [Client table updated.]"], &rows[..], &said[..], &received[..]].concat());
}

#[test]
fn the_prompt_names_the_group() {
    let (_server, port) = Program::server();
    let mut x = client_terminal("x", &port);
    x.terminal.press("create_group g\r");
    let mut rows = vec![">>> create_group g", ">>> [Group g created by Server.]", ">>>"];
    x.until(&rows);
    x.terminal.press("join_group g\r");
    let entered = ">>> [Entered group g successfully]";
    x.terminal.until(|screen| {
        let rows = screen.rows();
        rows.iter().any(|row| row == entered)
            && rows.last().is_some_and(|row| [">>>", ">>> (g)"].contains(&row.as_str()))
    });
    rows.splice(2.., [">>> join_group g", entered]);
    if x.terminal.rows().last().is_some_and(|row| row == ">>>") {
        // The outcome arrived after the prompt was printed. The next prompt names the group.
        x.terminal.press("\r");
        rows.push(">>>");
    }
    x.until(&[&rows[..], &[">>> (g)"]].concat());
    x.terminal.press("list_members\r");
    rows.extend([">>> (g) list_members", ">>> (g) [Members in the group g:]", ">>> (g) x"]);
    x.until(&[&rows[..], &[">>> (g)"]].concat());
    x.terminal.press("leave_group\r");
    rows.extend([">>> (g) leave_group", ">>> [Leave group chat g]"]);
    x.until(&[&rows[..], &[">>>"]].concat());
}

#[test]
fn control_characters_are_escaped() {
    let (_server, port) = Program::server();
    let mut x = client_terminal("x", &port);
    let mut y = Program::client("y", &port, &[]);
    y.send("send x \u{1b}[2J\u{1b}]0;title\u{7}\u{202e}evil\u{9b}31m");
    y.until(">>> [Message received by x.]");
    let shown = ">>> y: \\u{1b}[2J\\u{1b}]0;title\\u{7}\\u{202e}evil\\u{9b}31m";
    x.until(&[">>> [Client table updated.]", shown, ">>>"]);
}

#[test]
fn commands_and_names_are_completed() {
    let (_server, port) = Program::server();
    let mut x = client_terminal("x", &port);
    let _other = Program::client("somebody", &port, &[]);
    x.until(&[">>> [Client table updated.]", ">>>"]);
    x.terminal.press("tab\t\r");
    x.terminal.until(|screen| screen.rows().iter().any(|row| row == ">>> table"));
    x.terminal.press("send so\thi\r");
    x.terminal.until(|screen| screen.rows().iter().any(|row| row == ">>> [Message received by somebody.]"));
}

#[test]
fn ctrl_c_leaves_with_notice() {
    let (server, port) = Program::server();
    let mut x = client_terminal("x", &port);
    x.terminal.press("send y half");
    x.until(&[">>> send y half"]);
    x.terminal.press("\u{3}");
    assert_eq!(x.end().0, Some(130));
    server.until(">>> [Client x is offline]");
}

#[test]
fn ctrl_d_is_the_end_of_the_input() {
    let (server, port) = Program::server();
    let mut x = client_terminal("x", &port);
    x.terminal.press("send x last\r");
    let rows = [">>> send x last", ">>> x: last", ">>> [Message received by x.]", ">>>"];
    x.until(&rows);
    x.terminal.press("\u{4}");
    assert_eq!(x.end(), (Some(0), rows.map(str::to_owned).to_vec()));
    server.until(">>> [Client x is offline]");
}

#[test]
fn signals_end_a_client_and_erase_the_line() {
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let (server, port) = Program::server();
        let mut x = client_terminal("x", &port);
        x.terminal.press("send y half");
        x.until(&[">>> send y half"]);
        x.terminal.signal(signal);
        assert_eq!(x.end(), (Some(status), Vec::<String>::new()), "{signal}");
        server.until(">>> [Client x is offline]");
    }
}

#[test]
fn a_signal_counts_commands_without_outcome() {
    let (server, port) = Program::server();
    let mut x = client_terminal("x", &port);
    server.signal(Signal::SIGSTOP);
    x.terminal.press("list_groups\r");
    x.terminal.press("create_group g\r");
    x.until(&[">>> list_groups", ">>> create_group g", ">>>"]);
    x.terminal.signal(Signal::SIGTERM);
    let (status, rows) = x.end();
    server.signal(Signal::SIGCONT);
    let expected = [">>> list_groups", ">>> create_group g", "2 commands had no outcome."];
    assert_eq!((status, rows), (Some(143), expected.map(str::to_owned).to_vec()));
}

#[test]
fn a_client_prints_its_last_events_when_the_server_is_gone() {
    for _ in 0..2 {
        let (server, port) = Program::server();
        let mut x = client_terminal("x", &port);
        drop(server);
        x.terminal.press("list_groups\r");
        x.until(&[">>> list_groups", ">>>"]);
        x.terminal.press("half a li");
        let rows = [">>> list_groups", ">>> [Server not responding]", ">>> [Exiting]"].map(str::to_owned).to_vec();
        assert_eq!(x.end(), (Some(3), rows));
    }
}

#[test]
fn a_client_whose_window_is_closed_leaves_with_notice() {
    let (server, port) = Program::server();
    let mut terminal = unread(&server, &port);
    terminal.close_window();
    server.until(">>> [Client x is offline]");
    assert_eq!(terminal.end().0, Some(129));
}

#[test]
fn an_unread_terminal_delays_no_signal() {
    let (server, port) = Program::server();
    let mut terminal = unread(&server, &port);
    // Together the answers are longer than the buffer of a terminal.
    for _ in 0..64 {
        terminal.press("help\r");
    }
    terminal.press(&format!("send x {}\r", "a".repeat(3000)));
    terminal.signal(Signal::SIGTERM);
    assert_eq!(terminal.end().0, Some(143));
}

#[test]
fn ctrl_z_without_a_shell_keeps_the_line() {
    let (_server, port) = Program::server();
    let mut x = client_terminal("x", &port);
    x.terminal.press("send x so");
    x.until(&[">>> send x so"]);
    x.terminal.press("\u{1a}");
    x.until(&[">>> send x so", ">>> send x so"]);
    x.terminal.press(" far\r");
    x.until(&[">>> send x so", ">>> send x so far", ">>> x: so far", ">>> [Message received by x.]", ">>>"]);
}
