//! `chat run --report`: the files are whole after every case, whatever ends the run.

use std::path::Path;

use crate::support::{Program, program};
use nix::sys::signal::Signal;
use serde_json::Value;

/// One that passes, one that needs nobody and lasts long, one that is never reached.
const CASES: &str = "
case \"first\" points=2
sleep 1ms
case \"second\" points=3
sleep 60s
case \"third\" visibility=hidden
sleep 1ms
";

/// The run of these cases in a folder, with reports there, once its second case is being played.
fn begun(folder: &Path) -> Program {
    std::fs::write(folder.join("a.chat"), CASES).unwrap();
    let reports = ["--report", "gradescope=results.json", "--report", "tap=results.tap"];
    let run = program(["run", "a.chat", "--verbose", "--jobs", "1"]).args(reports).folder(folder).start();
    run.until_line(|line| line.starts_with("CASE  second"));
    run
}

/// Names, statuses and what the tags say, from Gradescope's file.
fn results(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("results.json")).unwrap();
    let results: Value = serde_json::from_str(&text).unwrap();
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let line = |test: &Value| format!("{} {} {}", word(&test["name"]), word(&test["tags"][0]), test["score"]);
    results["tests"].as_array().unwrap().iter().map(line).collect()
}

/// Everything in the folder; a report that was being written is none of it.
fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_run_that_is_killed_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let run = begun(folder.path());
    run.signal(Signal::SIGKILL);
    assert_eq!(run.end().2, None);
    assert_eq!(results(folder.path()), ["first passed 2", "second not run 0", "third not run 0"]);
    assert_eq!(files(folder.path()), ["a.chat", "results.json", "results.tap"]);
}

#[test]
fn a_run_that_is_asked_to_end_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let run = begun(folder.path());
    run.signal(Signal::SIGTERM);
    assert_eq!(run.end().2, Some(143));
    assert_eq!(results(folder.path()), ["first passed 2", "second failed 0", "third not run 0"]);
    let tap = std::fs::read_to_string(folder.path().join("results.tap")).unwrap();
    let reasons: Vec<&str> = tap.lines().filter(|line| line.starts_with("  message: ")).collect();
    let halted = "the run was ended by signal 15\"";
    assert_eq!(reasons, [format!("  message: \"HALTED: {halted}"), format!("  message: \"not run: {halted}")]);
}

/// A run of one quick case: what it said on standard error, and its status.
fn quick(folder: &Path, options: &[&str]) -> (String, Option<i32>) {
    std::fs::write(folder.join("a.chat"), "sleep 1ms\n").unwrap();
    let run = program(["run", "a.chat"]).args(options).folder(folder).run();
    (run.stderr, run.status)
}

#[test]
fn a_report_replaces_what_stands_there_and_links_lead_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real.md"), folder.path().join("link.md"));
    std::fs::write(&real, "old\n".repeat(1000)).unwrap();
    std::os::unix::fs::symlink("real.md", &link).unwrap();
    assert_eq!(quick(folder.path(), &["--report", "markdown=link.md"]), (String::new(), Some(0)));
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    let text = std::fs::read_to_string(&real).unwrap();
    assert!(text.starts_with("**1 of 1 points**, 1 passed\n") && !text.contains("old"), "{text}");
}

#[test]
fn a_pipe_gets_the_last_report_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.chat"), "sleep 1ms\n").unwrap();
    let text = program(["run", "a.chat", "--report", "tap=/dev/stderr"]).folder(folder.path()).run().stderr;
    assert_eq!(text.matches("TAP version 14").count(), 1, "{text}");
    assert!(text.contains("\nok 1 - a\n"), "{text}");
}

#[test]
fn a_report_that_cannot_be_written_is_said_before_anything_is_played() {
    let folder = tempfile::tempdir().unwrap();
    let (said, status) = quick(folder.path(), &["--report", "junit=none/r.xml"]);
    let sentence = "The report none/r.xml cannot be written: No such file or directory (os error 2).\n";
    assert_eq!((said.as_str(), status), (sentence, Some(3)));
    assert_eq!(files(folder.path()), ["a.chat"]);
}

#[test]
fn wrong_words_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for word in ["junit", "junit=", "html=x", "=x"] {
        let sentence = format!(
            "--report is FORMAT=FILE with a format of junit, tap, json, gradescope, classroom, markdown, and {word:?} is \
             not.\n"
        );
        assert_eq!(quick(folder.path(), &["--report", word]), (sentence, Some(1)));
    }
    let sentence = "--view is teacher or student, not \"dean\".\n".to_owned();
    assert_eq!(quick(folder.path(), &["--view", "dean"]), (sentence, Some(1)));
}

#[test]
fn no_report_takes_the_place_of_what_is_read_or_of_another_report() {
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
