//! The key of the user: a file that is made once, is private, and is refused if it cannot be trusted.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::support::{Program, program};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// A private file with this content.
fn private(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The standard error and status of a server that ends at once if its key file is accepted.
fn server(options: &[&str], data: &Path) -> (String, Option<i32>) {
    let server = program(["-s", "0", "--ephemeral"]).args(options).env("XDG_DATA_HOME", data).input("exit\n").run();
    if server.status != Some(0) {
        assert_eq!(server.stdout, "");
    }
    (server.stderr, server.status)
}

#[test]
fn programs_that_are_started_together_share_one_key() {
    let base = tempfile::tempdir().unwrap();
    let data = base.path().join("not/there/yet");
    let file = data.join("chat/identity");
    let start = |args: &[&str]| program(args).env("XDG_DATA_HOME", &data).start();
    let mut all: Vec<Program> = (0..3).map(|_| start(&["-s", "0", "--ephemeral"])).collect();
    let ports: Vec<String> = all.iter().map(Program::port).collect();
    let key = fs::read_to_string(&file).unwrap();
    let digits = key.strip_prefix("chat identity 1 ").unwrap().strip_suffix('\n').unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{key}");
    let names: Vec<_> = fs::read_dir(data.join("chat")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["identity"]);
    assert_eq!((mode(&file), mode(&data.join("chat")), mode(&base.path().join("not"))), (0o600, 0o700, 0o700));
    all.push(start(&["-c", "x", "127.0.0.1", &ports[0], "0"]));
    all[3].until(">>> [Client table updated.]");
    for mut program in all.into_iter().rev() {
        program.send("exit");
        let (_, errors, status) = program.end();
        assert_eq!((errors.as_str(), status), ("", Some(0)));
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), key, "it is made once");
}

#[test]
fn the_default_folder_is_below_home_and_may_be_a_link() {
    let home = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), home.path().join(".local")).unwrap();
    // A relative path is no data folder.
    for data in ["", "relative"] {
        let server = program(["-s", "0", "--ephemeral"]).env("HOME", home.path()).env("XDG_DATA_HOME", data);
        let server = server.folder(home.path()).input("exit\n").run();
        assert_eq!((server.stderr.as_str(), server.status), ("", Some(0)));
    }
    assert_eq!(mode(&elsewhere.path().join("share/chat/identity")), 0o600);
    assert!(!home.path().join("relative").exists());
}

#[test]
fn a_key_file_that_cannot_be_trusted_is_refused() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("chat");
    let default = folder.join("identity");
    let named = base.path().join("key");
    fs::create_dir(&folder).unwrap();
    let good = format!("chat identity 1 {}\n", "0a".repeat(32));
    let refused = |path: &PathBuf, problem: &str| {
        let sentence = format!("The key file {} {problem}\n", path.display());
        let options = ["--identity", path.to_str().unwrap()];
        let options = if *path == default { &[][..] } else { &options };
        assert_eq!(server(options, base.path()), (sentence.clone(), Some(3)));
        let client = program(["-c", "x", "127.0.0.1", "8888", "0"]).args(options);
        let client = client.env("XDG_DATA_HOME", base.path()).run();
        assert_eq!(client.parts(), (String::new(), sentence, Some(3)));
    };
    for path in [&default, &named] {
        private(path, &good);
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        refused(
            path,
            "must be private, and others may use it (mode 644); take that away with chmod 600, or name another file \
             with --identity.",
        );
        private(path, &good[1..]);
        refused(
            path,
            "is damaged: it must be the line `chat identity 1 ` and 64 hexadecimal digits; repair it or name another \
             file with --identity.",
        );
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
        refused(path, "is no regular file; name another file with --identity.");
    }
}

#[test]
fn without_a_folder_for_the_default_key_a_program_has_one_for_this_run() {
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("file");
    fs::write(&file, "").unwrap();
    let own = "this run has a key of its own, use --identity FILE to keep one.\n";
    for data in [&file, &file.join("deeper"), Path::new("/dev/null/x")] {
        let problem = format!("No key can be kept in {}/chat/identity: ", data.display());
        let (errors, status) = server(&[], data);
        assert!(errors.starts_with(&problem) && errors.ends_with(own) && errors.lines().count() == 1, "{errors}");
        assert_eq!(status, Some(0));
    }
    let homeless = program(["-s", "0", "--ephemeral"]).env("HOME", "").env("XDG_DATA_HOME", "").start();
    let mut x = program(["-c", "x", "127.0.0.1", &homeless.port(), "0"]).env("XDG_DATA_HOME", &file).start();
    x.send("send x hi");
    x.send("exit");
    let (lines, errors, status) = x.end();
    let expected = ["[Welcome, You are registered.]", "[Client table updated.]", "x: hi", "[Message received by x.]"];
    assert_eq!(lines[1..], expected.map(|line| format!(">>> {line}")));
    assert!(errors.ends_with(own), "{errors}");
    assert_eq!(status, Some(0));
    let mut homeless = homeless;
    homeless.send("exit");
    let (_, errors, status) = homeless.end();
    assert_eq!((errors, status), (format!("Without HOME there is no folder for the key; {own}"), Some(0)));
}

#[test]
fn a_named_key_file_is_made_and_used_or_refused() {
    let base = tempfile::tempdir().unwrap();
    let file = base.path().join("keys/mine");
    let path = file.to_str().unwrap();
    let data = base.path().join("data");
    assert_eq!(server(&["--identity", path], &data), (String::new(), Some(0)));
    let key = fs::read_to_string(&file).unwrap();
    assert_eq!(mode(&file), 0o600);
    // A launcher passes the option on.
    let launcher = program([""; 0]).env("XDG_DATA_HOME", &data);
    let launcher = launcher.input(&format!("ChatApp -s 0 --ephemeral --identity {path}\nexit\n")).run();
    assert_eq!((launcher.stderr.as_str(), launcher.status), ("", Some(0)));
    assert_eq!(fs::read_to_string(&file).unwrap(), key);
    assert!(!data.exists(), "the default key is not made");
    let (errors, status) = server(&["--identity", "/dev/null/x/key"], &data);
    let expected = "No key can be kept in /dev/null/x/key: Not a directory (os error 20); name a file in a folder that \
                    can be written.\n";
    assert_eq!((errors.as_str(), status), (expected, Some(3)));
}

#[test]
fn a_new_key_is_reported_at_a_terminal_only() {
    let base = tempfile::tempdir().unwrap();
    let data = base.path().to_str().unwrap();
    let notice = format!("A new key was made in {data}/chat/identity.");
    for made in [true, false] {
        let mut server = program(["-s", "0", "--ephemeral"]).env("XDG_DATA_HOME", data).start_in_terminal();
        server.until(|screen| screen.rows().last().is_some_and(|row| row == ">>>"));
        let first = server.rows()[0].clone();
        // The notice may be wider than the screen.
        assert_eq!(notice.starts_with(&first), made, "{first}");
        server.press("exit\r");
        assert_eq!(server.end().0, Some(0));
    }
}
