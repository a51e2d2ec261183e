//! A server that was started to survive its terminal survives it; any other ends with it.

use crate::support::{Program, program};
use nix::sys::signal::Signal;

/// A server started by a shell after these words, once it listens.
fn server(before: &str) -> Program {
    let server = program(["-s", "0", "--ephemeral"]).after_shell_words(before).start();
    server.port();
    server
}

#[test]
fn a_hangup_that_is_ignored_ends_nothing() {
    let mut server = server("trap '' HUP;");
    server.signal(Signal::SIGHUP);
    server.send("groups\nexit");
    assert_eq!(server.end(), (vec![">>> [No available group chats]".to_owned()], String::new(), Some(0)));
}

#[test]
fn a_hangup_ends_a_server_otherwise() {
    let server = server("");
    server.signal(Signal::SIGHUP);
    let (lines, _, status) = server.end();
    assert_eq!(lines, Vec::<String>::new());
    assert!(status.is_some(), "it ends by itself, and closes its store");
}
