//! `chat run` at a terminal: a line says what is being played, and nothing is left of it in the report.

use std::fs;

use crate::support::{Program, program};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// Two cases of which the second begins behind the first one, in a folder.
fn two(folder: &TempDir) {
    let text = "case \"quick \u{202e}\"\nsleep 1ms\ncase \"waits\"\nserver\nclient x\nx<10m nothing\n";
    fs::write(folder.path().join("a.chat"), text).unwrap();
}

/// The report without times.
fn timeless(rows: &[String]) -> Vec<String> {
    let time = regex::Regex::new(r"[0-9]+[.][0-9]{3} s").unwrap();
    rows.iter().map(|row| time.replace_all(row, "TIME").into_owned()).collect()
}

#[test]
fn a_line_says_what_is_being_played_and_goes() {
    let folder = TempDir::new().unwrap();
    two(&folder);
    let run = program(["run", "--jobs", "1", "--deadline", "9m", "a.chat"]).folder(folder.path());
    let mut terminal = run.env("NO_COLOR", "1").env("TMPDIR", folder.path()).start_in_terminal();
    // It stands below what is reported already, and counts the seconds.
    let live = regex::Regex::new("^2 of 2, 5[0-9]{2} s left: waits [1-9][0-9]* s$").unwrap();
    terminal.until(|screen| screen.rows().len() == 2 && live.is_match(&screen.rows()[1]));
    terminal.signal(Signal::SIGINT);
    let (status, rows) = terminal.end();
    let rows = timeless(&rows);
    assert_eq!(status, Some(130));
    assert_eq!(rows[0], "PASS  quick \\u{202e}  a.chat  1 steps in TIME (own overhead TIME)");
    assert_eq!(rows[1], "FAIL  waits  a.chat  step 3 of 3 in TIME (own overhead TIME)");
    // Longer than the screen is wide.
    let last: String = rows[rows.len() - 2..].concat().replace(' ', "");
    assert!(last.starts_with("2cases:1passed,1failed,0skippedornotrun;") && last.ends_with(')'), "{rows:#?}");
    assert!(!rows.iter().any(|row| row.contains(" of 2, ")), "{rows:#?}");
}

#[test]
fn titles_are_shown_and_not_obeyed() {
    let folder = TempDir::new().unwrap();
    let text = "case \"a\u{202e}b\u{2066}\"\nserver\nclient x\nx<10m nothing\n";
    fs::write(folder.path().join("a.chat"), text).unwrap();
    let run = program(["run", "--jobs", "1", "a.chat"]).folder(folder.path());
    let mut terminal = run.env("NO_COLOR", "1").env("TMPDIR", folder.path()).start_in_terminal();
    let live = regex::Regex::new(r"^1 of 1: a\\u\{202e\}b\\u\{2066\} [1-9][0-9]* s$").unwrap();
    terminal.until(|screen| screen.rows().len() == 1 && live.is_match(&screen.rows()[0]));
    terminal.signal(Signal::SIGTERM);
    assert_eq!(terminal.end().0, Some(143));
}

#[test]
fn elsewhere_there_is_no_such_line() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.chat"), "case \"a\"\nsleep 1500ms\n").unwrap();
    let file = folder.path().join("a.chat").display().to_string();
    for words in [&["run", &file][..], &["run", "--json", &file]] {
        let (lines, _, status) = Program::start(words).end();
        assert_eq!(status, Some(0));
        assert!(!lines.concat().contains(['\u{1b}', '\r']), "{lines:?}");
    }
    // Nor for programs that read a terminal, or where a line cannot be taken away again.
    for (term, words) in [("xterm", &["run", "--json", &file][..]), ("dumb", &["run", &file])] {
        let terminal = program(words).env("TERM", term).env("NO_COLOR", "1").start_in_terminal();
        let (status, rows) = terminal.end();
        assert_eq!(status, Some(0));
        assert!(!rows.iter().any(|row| row.contains("1 of 1")), "{rows:?}");
    }
}
