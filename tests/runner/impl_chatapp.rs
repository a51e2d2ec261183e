//! `chat run --impl` with another chat program: without faults it passes, and each fault is found and named.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use crate::support::{program, root};
use tempfile::TempDir;

/// The command of the other program, with these faults.
fn chatapp(faults: &[&str]) -> String {
    let faults: String = faults.iter().map(|fault| format!(" --fault {fault}")).collect();
    format!("python3 {}{faults}", root().join("tests/peers/chatapp.py").display())
}

fn run_file(implementation: &str, options: &[&str], file: &Path) -> (String, Option<i32>) {
    program(["run", "--impl", implementation]).args(options).arg(file).run().combined()
}

fn run_text(implementation: &str, options: &[&str], text: &str) -> (String, Option<i32>) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.chat");
    fs::write(&file, text).unwrap();
    run_file(implementation, options, &file)
}

fn scenario(name: &str) -> PathBuf {
    root().join("scenarios").join(name)
}

#[test]
fn a_program_without_faults_passes_the_classic_cases() {
    for name in ["test-case-1.chat", "test-case-2.chat"] {
        let (report, status) = run_file(&chatapp(&[]), &[], &scenario(name));
        assert_eq!(status, Some(0), "{report}");
        assert!(report.contains("1 case: 1 passed"), "{report}");
    }
}

const TWO: &str = "server\nclient x y\n";

#[test]
fn each_fault_is_found_by_a_case_made_for_it() {
    let send = "x> send y hi\ny< x: hi\n";
    let twice = format!("{TWO}{send}y!<2s x: hi\n");
    let brackets = format!("{TWO}{send}x< [Message received by y.]\n");
    // Five attempts of 500 ms: neither one nor six.
    let retries =
        format!("{TWO}kill server\nmark\nx> dereg x\nx!<2s {{*}}\nx<900ms [Server not responding]\nx exits 3\n");
    let leaves = format!("{TWO}y> dereg y\ny< [You are Offline. Bye.]\ny!< {{*}}\ny alive\n");
    let empty = format!("{TWO}mark\nx> \nx!< {{*}}\nx alive\n");
    let check = |(fault, text, status, cause): (&str, &str, i32, &str)| {
        let (report, code) = run_text(&chatapp(&[fault]), &[], text);
        assert_eq!(code, Some(status), "{fault}: {report}");
        assert!(report.contains(cause), "{fault}: {report}");
        let (report, code) = run_text(&chatapp(&[]), &[], text);
        assert_eq!(code, Some(0), "without {fault}: {report}");
    };
    let faults = [
        ("shows-twice", twice.as_str(), 4, "DUPLICATE: y showed it again: `x: hi`"),
        ("no-brackets", brackets.as_str(), 5, "WRONG TEXT: x showed something else within 4s"),
        ("exits-on-dereg", leaves.as_str(), 4, "EXITED"),
        ("never-retries", retries.as_str(), 4, "FORBIDDEN: x showed `[Server not responding]`"),
        ("six-attempts", retries.as_str(), 5, "LATE: x showed it "),
        ("crashes-on-empty", empty.as_str(), 4, "EXITED"),
    ];
    // The runs mostly wait, so all run in parallel.
    thread::scope(|scope| {
        for fault in faults {
            scope.spawn(move || check(fault));
        }
    });
}

/// Command lines of the processes that have outlived their run.
fn left_processes(folder: &Path) -> Vec<String> {
    let folder = folder.as_os_str().as_encoded_bytes();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let holds = |bytes: Vec<u8>| bytes.windows(folder.len()).any(|part| part == folder);
    let ours = processes.filter(|path| fs::read(path.join("environ")).is_ok_and(holds));
    ours.map(|path| fs::read_to_string(path.join("cmdline")).unwrap_or_default()).collect()
}

/// Runs a stubborn client alone. Asserts that none of its processes and files is left_processes.
fn run_stubborn(implementation: &str, tail: &str) -> (String, Option<i32>) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.chat");
    fs::write(&file, format!("client x\n{tail}")).unwrap();
    let run = program(["run", "--impl", implementation]).arg(&file).env("TMPDIR", folder.path()).run();
    assert_eq!(left_processes(folder.path()), Vec::<String>::new(), "{implementation}");
    let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, ["a.chat"]);
    run.combined()
}

#[test]
fn a_run_ends_and_leaves_nothing_behind_however_stubborn_the_program_is() {
    for (manners, tail, status, said) in [
        (&["hard-to-end", "deaf"][..], "x< la la la\nterm x\ninterrupt x\nx alive\n", 0, "1 passed"),
        (&["hard-to-end", "deaf"], "term x\nx exits\n", 5, "SILENCE: x still runs after 4s"),
        (&["leaves-children"], "kill x\nx exits 137\n", 0, "1 passed"),
        (&["leaves-children"], "x<10ms nothing\n", 5, "SILENCE"),
        (&["deaf"], "x> hello\nx> is anybody there?\nx!< {*}\nx alive\n", 4, "FORBIDDEN: x showed `la la la`"),
        (&["closes-terminal"], "x< good bye\nx<1s anything\n", 5, "it has closed its terminal, and runs on"),
        (&["floods"], "x< here it comes\nx> do\nx<60s the end\n", 4, "x wrote more than 64 MiB"),
        (&["fast-talker"], "x< [Message received\nx> go on\nx< more\n", 5, "WRONG TEXT: x went on after"),
    ] {
        let (report, code) = run_stubborn(&chatapp(manners), tail);
        assert_eq!(code, Some(status), "{manners:?} {report}");
        assert!(report.contains(said), "{manners:?} {report}");
    }
    for (missing, said) in [
        ("/nowhere/chat", "x cannot be started: /nowhere/chat: No such file"),
        ("no-such-program-anywhere", "x cannot be started: no-such-program-anywhere: No such file"),
    ] {
        let (report, code) = run_stubborn(missing, "");
        assert_eq!(code, Some(3), "{report}");
        assert!(report.contains(said), "{report}");
    }
    let (report, _) = run_stubborn("python3 missing.py", "x< hi\n");
    assert!(report.contains("EXITED") && report.contains("status 2"), "{report}");
}

#[test]
fn cases_beyond_the_capabilities_are_skipped_with_the_reason() {
    for (text, reason) in [
        ("case \"a\" needs=groups\nserver\n", "the program is not said to have groups (--capabilities)"),
        ("case \"a\" needs=faults\nserver\n", "the network of a program that is not ours cannot be disturbed"),
        ("case \"a\"\nserver\nclient x y\ncut x y\n", "the network of a program that is not ours cannot be disturbed"),
        ("case \"a\"\nserver\nclient x -- --pipeline\n", "a program that is not ours has no option --pipeline"),
        ("case \"a\"\nserver --data a\n", "a program that is not ours has no option --data"),
    ] {
        let (report, code) = run_text("/nowhere/chat", &[], text);
        assert!(code == Some(0) && report.contains("1 skipped") && report.contains(reason), "{report}");
    }
    // With all needed capabilities the case is not skipped, so it fails at the start of the program.
    let groups = "case \"a\" needs=groups\nserver\n";
    let (report, code) = run_text("/nowhere/chat", &["--capabilities", "groups,receipts"], groups);
    assert!(code == Some(3) && report.contains("cannot be started"), "{report}");
}

#[test]
fn mistakes_are_found_before_the_run() {
    let json = "server\nclient x\nx< {\"event\":\"done\"}\n";
    let (report, code) = run_text("/nowhere/chat", &[], json);
    assert!(code == Some(2) && report.contains("play it without --impl"), "{report}");
    for (implementation, options, said) in [
        ("it's", &[][..], "--impl is a command as a shell splits it"),
        (" ", &[], "--impl is a command as a shell splits it"),
        ("a", &["--capabilities", "faults"], "--capabilities are groups, offline and receipts"),
        ("a", &["--ready", "{"], "--ready is a pattern of text"),
        ("a", &["--ready", "{\"event\":1}"], "is one of JSON"),
        ("a", &["--impl-dir", "/nowhere"], "--impl-dir is a folder, and /nowhere is none"),
    ] {
        let (report, code) = run_text(implementation, options, "server\n");
        assert!(code == Some(1) && report.contains(said), "{options:?} {report}");
    }
}

#[test]
fn ready_and_impl_dir_set_the_readiness_and_the_folder() {
    let folder = TempDir::new().unwrap();
    fs::copy(root().join("tests/peers/chatapp.py"), folder.path().join("ChatApp.py")).unwrap();
    let folder = folder.path().to_str().unwrap();
    let options = ["--impl-dir", folder, "--ready", "[Client table {*}"];
    let text = "server\nclient x y\nx< [Client table updated.]\nx,y< [Client table updated.]\nx> send y hi\ny< x: hi\n";
    let (report, code) = run_text("python3 ChatApp.py", &options, text);
    assert_eq!(code, Some(0), "{report}");
    // A program that never prints the pattern is never ready. The report has the command to replay it.
    let options = ["--impl-dir", folder, "--ready", "never", "--time-scale", "0.1", "--capabilities", "groups"];
    let (report, code) = run_text("python3 ChatApp.py", &options, "client x\n");
    assert!(code == Some(5) && report.contains("NOT READY: x was not ready within 1s"), "{report}");
    let options = format!("--impl 'python3 ChatApp.py' --impl-dir {folder} --ready never --capabilities groups ");
    assert!(report.contains(&options), "{report}");
}

#[test]
fn lines_that_two_threads_print_at_once_are_separated() {
    let text = "client x\nx< [Welcome, You are registered.]\nx< [Client table updated.]\nx> hi\n";
    let both = ">>> [Welcome, You are registered.]>>> [Client table updated.]\\n";
    let (report, code) = run_text(&format!("sh -c 'printf \"{both}\\n\"; cat'"), &[], text);
    assert_eq!(code, Some(0), "{report}");
    // Without a newline at the end, the second sentence does not count.
    let (report, code) = run_text(&format!("sh -c 'printf \"{both}\"; cat'"), &["--time-scale", "0.2"], text);
    assert_eq!(code, Some(5), "{report}");
}
