//! The options of `chat run` that run no case: `--check`, `--list`, `--help` and `--help-language`.

use std::fs;

use crate::support::program;
use tempfile::TempDir;

const GOOD: &str = "server\nclient x\ncase \"one\" points=2 needs=offline,groups\nx alive\n\
                    case \"t\u{202e}wo\" visibility=hidden\nx alive\n";

/// Runs `chat run` in a folder with a valid and an invalid file. Returns its output, its errors and its status.
fn chat(words: &[&str]) -> (String, String, Option<i32>) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("good.chat"), GOOD).unwrap();
    fs::write(folder.path().join("bad.chat"), "server\nclent x\n").unwrap();
    // No case can run here, because its folder cannot be created.
    program(["run"]).args(words).folder(folder.path()).env("TMPDIR", "/nowhere").run().parts()
}

#[test]
fn files_without_a_mistake_are_counted() {
    let said = |text: &str| (text.to_owned(), String::new(), Some(0));
    assert_eq!(chat(&["--check", "good.chat"]), said("2 cases in 1 file, no mistakes\n"));
    assert_eq!(chat(&["--check", "good.chat", "good.chat"]), said("4 cases in 2 files, no mistakes\n"));
    let json = "{\"v\":1,\"report\":\"checked\",\"files\":1,\"cases\":2}\n";
    assert_eq!(chat(&["--check", "--json", "good.chat"]), said(json));
}

#[test]
fn check_and_list_report_mistakes() {
    for words in [&["--check"][..], &["--list"], &["--check", "--json"]] {
        let (out, err, status) = chat(&[words, &["good.chat", "bad.chat"]].concat());
        assert_eq!((out.as_str(), status), ("", Some(2)));
        assert!(err.contains("bad.chat:2:1") && err.contains("did you mean"), "{err}");
    }
    assert_eq!(chat(&["--check", "none.chat"]).2, Some(3));
}

#[test]
fn missing_arguments_are_named() {
    for (words, missing) in [(&[][..], "FILE"), (&["--check"], "FILE"), (&["good.chat", "--allow-flaky"], "--retries")]
    {
        let sentence = format!("{missing} is missing; chat run --help shows what goes with what.\n");
        assert_eq!(chat(words), (String::new(), sentence, Some(1)));
    }
}

#[test]
fn the_help_is_divided_into_groups() {
    let (help, _, status) = chat(&["--help"]);
    assert_eq!(status, Some(0));
    let groups: Vec<&str> = help.lines().filter(|line| line.ends_with(':') && !line.starts_with(' ')).collect();
    let expected = ["Arguments:", "Options:", "Reports:", "Another program:", "Faults and simulation:"];
    let more = ["Instead of playing:", "How many at a time, and how often:"];
    assert_eq!(groups, [&expected[..], &more].concat());
}

#[test]
fn cases_are_listed_and_none_runs() {
    let (out, err, status) = chat(&["--list", "good.chat"]);
    let expected = "good.chat:3  one  points 2  needs offline, groups\ngood.chat:5  t\\u{202e}wo\n";
    assert_eq!((out.as_str(), err.as_str(), status), (expected, "", Some(0)));
    let (out, _, _) = chat(&["--list", "good.chat", "--case", "one", "--json"]);
    let expected = "{\"v\":1,\"report\":\"listed\",\"file\":\"good.chat\",\"line\":3,\"title\":\"one\",\"points\":2,\
                    \"needs\":[\"offline\",\"groups\"],\"visibility\":\"visible\"}\n";
    assert_eq!(out, expected);
    assert_eq!(chat(&["--list", "good.chat", "--case", "three"]).2, Some(1));
}

#[test]
fn the_language_reference_needs_no_file() {
    let said = (chat::runner::language().to_owned(), String::new(), Some(0));
    assert_eq!(self::chat(&["--help-language"]), said);
}
