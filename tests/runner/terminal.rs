//! `chat run` at a terminal: a progress line shows the running cases, and the finished report contains none of it.

use std::fs;

use crate::support::{Program, program};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// Writes a file with a quick case and a case that waits into a folder.
fn write_two_cases(folder: &TempDir) {
    let text = "case \"quick \u{202e}\"\nsleep 1ms\ncase \"waits\"\nserver\nclient x\nx<10m nothing\n";
    fs::write(folder.path().join("a.chat"), text).unwrap();
}

/// The report without times.
fn timeless(rows: &[String]) -> Vec<String> {
    let time = regex::Regex::new(r"[0-9]+[.][0-9]{3} s").unwrap();
    rows.iter().map(|row| time.replace_all(row, "TIME").into_owned()).collect()
}

#[test]
fn the_progress_line_shows_running_cases_and_disappears() {
    let folder = TempDir::new().unwrap();
    write_two_cases(&folder);
    let run = program(["run", "--jobs", "1", "--deadline", "9m", "a.chat"]).folder(folder.path());
    let mut terminal = run.env("NO_COLOR", "1").env("TMPDIR", folder.path()).start_in_terminal();
    // The line is below the reported cases, and it counts the seconds.
    let live = regex::Regex::new("^2 of 2, 5[0-9]{2} s left: waits [1-9][0-9]* s$").unwrap();
    terminal.until(|screen| screen.rows().len() == 2 && live.is_match(&screen.rows()[1]));
    terminal.signal(Signal::SIGINT);
    let (status, rows) = terminal.end();
    let rows = timeless(&rows);
    assert_eq!(status, Some(130));
    assert_eq!(rows[0], "PASS  quick \\u{202e}  a.chat  1 steps in TIME (own overhead TIME)");
    assert_eq!(rows[1], "FAIL  waits  a.chat  step 3 of 3 in TIME (own overhead TIME)");
    // The last line is longer than the screen is wide, so it takes write_two_cases rows.
    let last: String = rows[rows.len() - 2..].concat().replace(' ', "");
    assert!(last.starts_with("2cases:1passed,1failed,0skippedornotrun;") && last.ends_with(')'), "{rows:#?}");
    assert!(!rows.iter().any(|row| row.contains(" of 2, ")), "{rows:#?}");
}

#[test]
fn control_characters_in_titles_are_escaped() {
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
fn other_outputs_have_no_progress_line() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.chat"), "case \"a\"\nsleep 1500ms\n").unwrap();
    let file = folder.path().join("a.chat").display().to_string();
    for words in [&["run", &file][..], &["run", "--json", &file]] {
        let (lines, _, status) = Program::start(words).end();
        assert_eq!(status, Some(0));
        assert!(!lines.concat().contains(['\u{1b}', '\r']), "{lines:?}");
    }
    // JSON output has no progress line, and neither has a terminal that cannot erase a line.
    for (term, words) in [("xterm", &["run", "--json", &file][..]), ("dumb", &["run", &file])] {
        let terminal = program(words).env("TERM", term).env("NO_COLOR", "1").start_in_terminal();
        let (status, rows) = terminal.end();
        assert_eq!(status, Some(0));
        assert!(!rows.iter().any(|row| row.contains("1 of 1")), "{rows:?}");
    }
}
