//! SIGHUP and servers: a server that was started under `nohup` survives it, any other server ends.

use crate::support::{Program, program};
use nix::sys::signal::Signal;

/// Starts a server by a shell that runs `before` first. Returns when the server listens.
fn server(before: &str) -> Program {
    let server = program(["-s", "0", "--ephemeral"]).after_shell_words(before).start();
    server.port();
    server
}

#[test]
fn a_server_survives_an_ignored_hangup() {
    let mut server = server("trap '' HUP;");
    server.signal(Signal::SIGHUP);
    server.send("groups\nexit");
    assert_eq!(server.end(), (vec![">>> [No available group chats]".to_owned()], String::new(), Some(0)));
}

#[test]
fn a_hangup_ends_a_server() {
    let server = server("");
    server.signal(Signal::SIGHUP);
    let (lines, _, status) = server.end();
    assert_eq!(lines, Vec::<String>::new());
    assert!(status.is_some(), "it ends by itself, and closes its store");
}
