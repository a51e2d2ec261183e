//! `chat run --report`: report files are complete after every case, however the run ends.

use std::path::Path;

use crate::support::{Program, program};
use nix::sys::signal::Signal;
use serde_json::Value;

/// Three cases: one passes, one takes long and has no actors, one does not start.
const CASES: &str = "
case \"first\" points=2
sleep 1ms
case \"second\" points=3
sleep 60s
case \"third\" visibility=hidden
sleep 1ms
";

/// Starts a run of these cases in a folder, with reports there. Returns when its second case has started.
fn start_run(folder: &Path) -> Program {
    std::fs::write(folder.join("a.chat"), CASES).unwrap();
    let reports = ["--report", "gradescope=results.json", "--report", "tap=results.tap"];
    let run = program(["run", "a.chat", "--verbose", "--jobs", "1"]).args(reports).folder(folder).start();
    run.until_line(|line| line.starts_with("CASE  second"));
    run
}

/// The name, the first tag and the score of each test in the Gradescope report.
fn results(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("results.json")).unwrap();
    let results: Value = serde_json::from_str(&text).unwrap();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let line = |test: &Value| format!("{} {} {}", word(&test["name"]), word(&test["tags"][0]), test["score"]);
    results["tests"].as_array().unwrap().iter().map(line).collect()
}

/// The sorted names of all files in a folder.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_killed_run_leaves_complete_reports() {
    let folder = tempfile::tempdir().unwrap();
    let run = start_run(folder.path());
    run.signal(Signal::SIGKILL);
    assert_eq!(run.end().2, None);
    assert_eq!(results(folder.path()), ["first passed 2", "second not run 0", "third not run 0"]);
    assert_eq!(files(folder.path()), ["a.chat", "results.json", "results.tap"]);
}

#[test]
fn a_run_that_a_signal_ends_reports_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = start_run(folder.path());
    run.signal(Signal::SIGTERM);
    assert_eq!(run.end().2, Some(143));
    assert_eq!(results(folder.path()), ["first passed 2", "second failed 0", "third not run 0"]);
    let tap = std::fs::read_to_string(folder.path().join("results.tap")).unwrap();
    let reasons: Vec<&str> = tap.lines().filter(|line| line.starts_with("  message: ")).collect();
    let halted = "the run was ended by signal 15\"";
    assert_eq!(reasons, [format!("  message: \"HALTED: {halted}"), format!("  message: \"not run: {halted}")]);
}

/// Runs one run_quick_case case. Returns its standard error and its status.
fn run_quick_case(folder: &Path, options: &[&str]) -> (String, Option<i32>) {
    std::fs::write(folder.join("a.chat"), "sleep 1ms\n").unwrap();
    let run = program(["run", "a.chat"]).args(options).folder(folder).run();
    (run.stderr, run.status)
}

#[test]
fn a_report_replaces_an_old_file_and_follows_links() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real.md"), folder.path().join("link.md"));
    std::fs::write(&real, "old\n".repeat(1000)).unwrap();
    std::os::unix::fs::symlink("real.md", &link).unwrap();
    assert_eq!(run_quick_case(folder.path(), &["--report", "markdown=link.md"]), (String::new(), Some(0)));
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    let text = std::fs::read_to_string(&real).unwrap();
    assert!(text.starts_with("**1 of 1 points**, 1 passed\n") && !text.contains("old"), "{text}");
}

#[test]
fn a_pipe_receives_only_the_last_report() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.chat"), "sleep 1ms\n").unwrap();
    let text = program(["run", "a.chat", "--report", "tap=/dev/stderr"]).folder(folder.path()).run().stderr;
    assert_eq!(text.matches("TAP version 14").count(), 1, "{text}");
    assert!(text.contains("\nok 1 - a\n"), "{text}");
}

#[test]
fn an_unwritable_report_is_an_error_before_any_case_runs() {
    let folder = tempfile::tempdir().unwrap();
    let (said, status) = run_quick_case(folder.path(), &["--report", "junit=none/r.xml"]);
    let sentence = "The report none/r.xml cannot be written: No such file or directory (os error 2).\n";
    assert_eq!((said.as_str(), status), (sentence, Some(3)));
    assert_eq!(files(folder.path()), ["a.chat"]);
}

#[test]
fn invalid_report_options_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for word in ["junit", "junit=", "html=x", "=x"] {
        let sentence = format!(
            "--report is FORMAT=FILE with a format of junit, tap, json, gradescope, classroom, markdown, and {word:?} is \
             not.\n"
        );
        assert_eq!(run_quick_case(folder.path(), &["--report", word]), (sentence, Some(1)));
    }
    let sentence = "--view is teacher or student, not \"dean\".\n".to_owned();
    assert_eq!(run_quick_case(folder.path(), &["--view", "dean"]), (sentence, Some(1)));
}

#[test]
fn a_report_must_not_replace_an_input_file_or_another_report() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("a.chat"), "include b.chat\nx alive\n").unwrap();
    std::fs::write(file("b.chat"), "client x\n").unwrap();
    std::fs::write(file("class.toml"), "command = \"cat\"\n").unwrap();
    std::os::unix::fs::symlink("b.chat", file("link")).unwrap();
    let read = |path| format!("The report {path} would take the place of a file of this run; name another one.\n");
    for (reports, sentence) in [
        (&["json=a.chat"][..], read("a.chat")),
        (&["tap=c", "tap=link"], read("link")),
        (&["tap=./class.toml"], read("./class.toml")),
        (&["tap=c", "json=./c"], "Two reports would be written to ./c; name a file for each.\n".to_owned()),
    ] {
        let reports = reports.iter().flat_map(|report| ["--report", report]);
        let run = program(["run", "--profile", "class.toml", "a.chat"]).args(reports).folder(folder.path()).run();
        assert_eq!(run.parts(), (String::new(), sentence, Some(1)));
    }
    assert_eq!(files(folder.path()), ["a.chat", "b.chat", "class.toml", "link"]);
}
