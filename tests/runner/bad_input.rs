//! Invalid scenario files and badly behaved programs: the run ends, reports the reason, and leaves nothing behind.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;

use crate::support::{program, root};
use tempfile::TempDir;

fn run(folder: &Path, options: &[&str]) -> (String, Option<i32>) {
    program(["run"]).args(options).folder(folder).run().combined()
}

#[test]
fn invalid_scenarios_are_refused_before_any_program_is_started() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("empty", b"");
    write("bytes", &(0..=255).collect::<Vec<u8>>());
    write("zeros", &[0; 4096]);
    write("long", &vec![b'#'; (1 << 20) + 1]);
    write("cycle", b"include \"cycle\"\n");
    write("one", b"client x\ninclude \"other\"\n");
    write("other", b"include \"./one\"\n");
    fs::create_dir(folder.path().join("folder")).unwrap();
    for (file, status, said) in [
        ("empty", 2, "there is nothing to play here"),
        ("bytes", 2, "this is not UTF-8 text"),
        ("zeros", 2, "is no directive"),
        ("long", 2, "this file has more than 1 MiB"),
        ("cycle", 2, "this file would include itself"),
        ("one", 2, "this file would include itself"),
        ("folder", 3, "The file folder cannot be read: "),
        ("missing", 3, "The file missing cannot be read: "),
    ] {
        // If the program were started, it would create this file.
        let (report, code) = run(folder.path(), &["--impl", "touch started", "--impl-dir", ".", file]);
        assert!(code == Some(status) && report.contains(said), "{file}: {report}");
    }
    assert!(!folder.path().join("started").exists());
}

#[test]
fn a_daemon_without_group_and_environment_is_killed_and_its_port_is_free() {
    let folder = TempDir::new().unwrap();
    let number = folder.path().join("number");
    let daemon = root().join("tests/data/stand-ins/daemon.py");
    let program = format!("python3 {} {}", daemon.display(), number.display());
    fs::write(folder.path().join("a.chat"), "server\nserver< it has begun\n").unwrap();
    let (report, code) = run(folder.path(), &["--impl", &program, "a.chat"]);
    assert_eq!(code, Some(0), "{report}");
    let number = fs::read_to_string(number).unwrap();
    let (pid, port) = number.split_once(' ').unwrap();
    assert!(!Path::new("/proc").join(pid).exists(), "{pid} runs");
    UdpSocket::bind(("0.0.0.0", port.parse().unwrap())).unwrap();
}
