//! A wrong argument gives one clear sentence on standard error, nothing on standard output, and exit status 1.

use crate::support::{ProgramBuilder, program};
use predicates::ord::eq;
use predicates::str::is_empty;

/// `chat` with these arguments and without a home folder.
fn without_home(arguments: &[&str]) -> ProgramBuilder {
    program(arguments).env("HOME", "/nonexistent")
}

/// Runs `chat`; returns its standard output, standard error and exit status.
fn chat(arguments: &[&str]) -> (String, String, Option<i32>) {
    without_home(arguments).run().parts()
}

fn refused(arguments: &[&str], sentence: &str) {
    without_home(arguments).assert().code(1).stdout(is_empty()).stderr(eq(format!("{sentence}\n")));
}

#[test]
fn ports_outside_their_range_are_refused() {
    let right = "must be 1024 to 65535, or 0 for a free one, and";
    for port in ["80", "1023", "65536", "-1", "abc", "", "8888.5", "+", "99999999999999999999"] {
        refused(&["-s", port], &format!("The port {right} {port:?} is not."));
        refused(&["-c", "x", "127.0.0.1", "8888", port], &format!("The client's port {right} {port:?} is not."));
    }
    for port in ["0", "1023", "abc"] {
        let sentence = format!("The server's port must be 1024 to 65535, and {port:?} is not.");
        refused(&["-c", "x", "127.0.0.1", port, "9999"], &sentence);
    }
}

#[test]
fn invalid_names_are_refused() {
    let wrong = |name: &str| {
        format!(
            "The name {name:?} is not allowed: use letters, digits, '_', '-' and '.', beginning with a letter or digit."
        )
    };
    for name in ["a b", "a;b", "_a", ".a", "é", "a\tb"] {
        refused(&["-c", name, "127.0.0.1", "8888", "9999"], &wrong(name));
    }
    refused(&["-c", "server", "127.0.0.1", "8888", "9999"], "The name server is reserved, choose another one.");
    let long = "a".repeat(33);
    let sentence = "A name must have 1 to 32 characters, and this one has 33.";
    refused(&["-c", &long, "127.0.0.1", "8888", "9999"], sentence);
    refused(&["-c", "", "127.0.0.1", "8888", "9999"], "A name must have 1 to 32 characters, and this one is empty.");
}

#[test]
fn invalid_addresses_are_refused() {
    for host in ["300.1.1.1", "1.2.3", "127.0.0.1.", "1:2", "[::1", "a b", "", "-a", "a..b", "a/b"] {
        // A word that begins with '-' is an argument of its own.
        if !host.starts_with('-') {
            let sentence = format!("The server's address must be IPv4, IPv6 or a host name, and {host:?} is none.");
            refused(&["-c", "x", host, "8888", "9999"], &sentence);
        }
    }
}

#[test]
fn a_client_needs_its_four_arguments() {
    let sentence = |count| format!("-c needs 4 arguments, NAME SERVER-IP SERVER-PORT CLIENT-PORT, and got {count}.");
    refused(&["-c"], &sentence(0));
    refused(&["-c", "x"], &sentence(1));
    refused(&["-c", "x", "127.0.0.1", "8888"], &sentence(3));
    refused(&["-c", "x", "127.0.0.1", "8888", "9999", "more"], &sentence(5));
}

#[test]
fn options_of_another_role_are_refused() {
    refused(&["-s", "0", "--typed"], "--typed is an option of a client (-c), not of a server.");
    refused(&["-s", "0", "--linger", "1s"], "--linger is an option of a client (-c), not of a server.");
    let client = ["-c", "x", "127.0.0.1", "8888", "9999"];
    let with = |more: &[&'static str]| [&client[..], more].concat();
    let of_server = "--db, --ephemeral, --mailbox, --whole-table and those of logs are options of a server, a client \
                     keeps nothing.";
    refused(&with(&["--whole-table", "9"]), of_server);
    refused(&with(&["--db", "f"]), of_server);
    refused(&with(&["--on-eof", "wait"]), "--on-eof is exit or stay, not \"wait\".");
    let long = "A duration is written like 5s, 250ms or 1m, up to 24h, and \"25h\" is not.";
    refused(&with(&["--linger", "25h"]), long);
    refused(
        &with(&["--linger", "soon"]),
        "A duration is written like 5s, 250ms or 1m, up to 24h, and \"soon\" is not.",
    );
    refused(&with(&["--linger", "1s", "--on-eof", "exit"]), "--on-eof exit and --linger exclude each other.");
    refused(&with(&["-s", "8888"]), "Use either -s for a server or -c for a client, not both.");
    let role = "Options need a role: use -s PORT, or -c NAME SERVER-IP SERVER-PORT CLIENT-PORT.";
    refused(&["--json"], role);
    refused(&["--identity", "f"], role);
    let more = "There are more words than `-s <PORT>` takes; chat --help shows what goes with what.";
    refused(&["-s", "8888", "9"], more);
    for (option, what, most) in [
        ("--log-messages", "messages", "1000000"),
        ("--log-mib", "MiB", "1048576"),
        ("--logs-mib", "MiB", "1048576"),
        ("--log-days", "days", "3650"),
    ] {
        let sentence = |word| format!("{option} is a number of {what} from 1 to {most}, and {word:?} is not.");
        for word in ["0", "1048577", "many", "-1"] {
            refused(&["-s", "0", option, word], &sentence(word));
        }
    }
    for names in ["0", "65537", "many", "-1"] {
        let sentence = format!("--whole-table is a number of names from 1 to 65536, and {names:?} is not.");
        refused(&["-s", "0", "--whole-table", names], &sentence);
    }
    refused(&["-s", "0", "--db", "f", "--ephemeral"], "--db and --ephemeral exclude each other.");
}

#[test]
fn invalid_faults_are_refused() {
    let right = "A fault is loss=30%, delay=20ms, duplicate=10%, reorder=10%, drop=2, cut, to=IP:PORT, seed=7 or heal, \
                 separated by commas, and";
    for (command, item) in
        [("loss=30", "loss=30"), ("drop=1,delay", "delay"), ("", ""), ("to=localhost:1", "to=localhost:1")]
    {
        let sentence = format!("{right} {item:?} is not.");
        refused(&["-s", "0", "--fault", command], &sentence);
        refused(&["-c", "x", "127.0.0.1", "8888", "9999", "--fault", "cut", "--fault", command], &sentence);
    }
    let long = format!("/tmp/{}", "a".repeat(150));
    let sentence =
        format!("The path of a control socket can have about 100 bytes, and {long} has 155; use a shorter one.");
    refused(&["-s", "0", "--control", &long], &sentence);
    refused(&["-s", "0", "--control", ""], "--control needs a value; chat --help shows which.");
    refused(&["--fault", "cut"], "Options need a role: use -s PORT, or -c NAME SERVER-IP SERVER-PORT CLIENT-PORT.");
}

#[test]
fn unknown_arguments_are_refused() {
    refused(&["-s"], "-s needs a value; chat --help shows which.");
    refused(&["-x"], "There is no argument \"-x\"; chat --help shows what there is.");
    refused(&["-s", "0", "--identity", ""], "--identity needs a value; chat --help shows which.");
    refused(&["-s", "0", "--jsn"], "There is no argument \"--jsn\", did you mean --json?");
    refused(&["-s", "0", "--json=1"], "--json takes no value.");
    refused(&["-s", "0", "-s", "0"], "-s can be given only once.");
}

#[test]
fn help_and_version_are_answers_not_mistakes() {
    let (out, err, status) = chat(&["--version"]);
    assert_eq!((out.as_str(), err.as_str(), status), (concat!("chat ", env!("CARGO_PKG_VERSION"), "\n"), "", Some(0)));
    let (out, err, status) = chat(&["--help"]);
    assert_eq!((err.as_str(), status), ("", Some(0)));
    for word in [
        "-s PORT",
        "-c NAME SERVER-IP SERVER-PORT CLIENT-PORT",
        "chat run FILE...",
        "--json",
        "--ephemeral",
        "--identity",
    ] {
        assert!(out.contains(word), "{word} is missing in:\n{out}");
    }
}

#[test]
fn failures_of_the_environment_have_status_3() {
    let (out, err, status) = chat(&["-c", "x", "127.0.0.1", "8888", "0", "--script", "/no/such/file"]);
    let sentence = "The script /no/such/file cannot be read: No such file or directory (os error 2).\n";
    assert_eq!((out.as_str(), err.as_str(), status), ("", sentence, Some(3)));

    let taken = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (out, err, status) = chat(&["-c", "x", "127.0.0.1", "8888", &port]);
    let sentence = format!("Port {port} is in use, choose another one, or 0 for a free one.\n");
    assert_eq!((out.as_str(), err, status), ("", sentence, Some(3)));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "precious").unwrap();
    let path = file.to_str().unwrap();
    let (out, err, status) = chat(&["-s", "0", "--ephemeral", "--control", path]);
    let sentence = format!("{path} is there already, choose another path.\n");
    assert_eq!((out.as_str(), err, status), ("", sentence, Some(3)));
    assert_eq!(std::fs::read(&file).unwrap(), b"precious");
    let nowhere = folder.path().join("no").join("where");
    let (out, err, status) = chat(&["-s", "0", "--ephemeral", "--control", nowhere.to_str().unwrap()]);
    let sentence =
        format!("Orders cannot be taken at {}: No such file or directory (os error 2).\n", nowhere.display());
    assert_eq!((out.as_str(), err, status), ("", sentence, Some(3)));
}

#[test]
fn the_launcher_answers_mistakes_with_the_same_sentences() {
    let input = "ls\nChatApp -s 80\n-c x\nhelp\nexit\nChatApp -s 80\n";
    let (out, err, status) = without_home(&[]).input(input).run().parts();
    let expected = "There is no command \"ls\" here; type ChatApp -s PORT, ChatApp -c NAME SERVER-IP SERVER-PORT \
                    CLIENT-PORT, help or exit.\n\
                    The port must be 1024 to 65535, or 0 for a free one, and \"80\" is not.\n\
                    -c needs 4 arguments, NAME SERVER-IP SERVER-PORT CLIENT-PORT, and got 1.\n";
    assert_eq!((err.as_str(), status), (expected, Some(1)));
    assert!(out.starts_with("ChatApp -s PORT ") && !out.contains("$ "), "{out}");
}
