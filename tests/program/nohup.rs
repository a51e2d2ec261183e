//! A server that was started to survive its terminal survives it; any other ends with it.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A server behind these words of a shell, once it listens.
fn server(before: &str) -> (Child, BufReader<ChildStdout>) {
    crate::support::undo_nohup();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{before} exec \"$0\" -s 0 --ephemeral"), env!("CARGO_BIN_EXE_chat")]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = BufReader::new(child.stdout.take().unwrap());
    assert!(line(&mut shown).starts_with(">>> [Server listening on port "));
    (child, shown)
}

fn line(shown: &mut impl BufRead) -> String {
    let mut line = String::new();
    shown.read_line(&mut line).unwrap();
    line
}

fn hang_up(child: &Child) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGHUP).unwrap();
}

#[test]
fn a_hangup_that_is_ignored_ends_nothing() {
    let (mut child, mut shown) = server("trap '' HUP;");
    hang_up(&child);
    child.stdin.as_ref().unwrap().write_all(b"groups\nexit\n").unwrap();
    assert_eq!(line(&mut shown), ">>> [No available group chats]\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_hangup_ends_a_server_otherwise() {
    let (mut child, mut shown) = server("");
    hang_up(&child);
    assert_eq!(line(&mut shown), "");
    assert!(child.wait().unwrap().code().is_some(), "it ends by itself, and closes its store");
}
