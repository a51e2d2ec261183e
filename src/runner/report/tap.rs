//! The TAP 14 report: one test point for each case, its checks as a subtest, and diagnostics in YAML.
//!
//! A case that did not run is `not ok`, so that an interrupted run never looks complete.

use std::fmt::Write as _;

use crate::runner::report::summary::{CaseSummary, Grade, Summary};

/// The indentation of the lines of a subtest.
const SUBTEST: &str = "    ";

pub(crate) fn render(summary: &Summary<'_>) -> String {
    let mut tap = format!("TAP version 14\n1..{}\n", summary.rows.len());
    for (at, row) in summary.rows.iter().enumerate() {
        subtest(&mut tap, row);
        let ok = if row.is_pass || row.grade == Grade::Skipped { "ok" } else { "not ok" };
        _ = write!(tap, "{ok} {} - {}", at + 1, description(&row.case().title));
        match row.reason() {
            Some(reason) if row.grade == Grade::Skipped => _ = writeln!(tap, " # SKIP {}", directive(&reason)),
            _ => tap.push('\n'),
        }
        diagnostics(&mut tap, row);
    }
    tap
}

fn subtest(tap: &mut String, row: &CaseSummary<'_>) {
    let checks = &row.deciding().checks;
    if checks.is_empty() {
        return;
    }
    _ = writeln!(tap, "# Subtest: {}", description(&row.case().title));
    for (at, check) in checks.iter().enumerate() {
        let ok = if check.passed == Some(true) { "ok" } else { "not ok" };
        let title = description(&check.title);
        _ = writeln!(tap, "{SUBTEST}{ok} {} - {title}", at + 1);
        let message = match (&check.failure, check.passed) {
            (Some(failure), _) => format!("{}: {}", failure.cause.word(), failure.sentence),
            (None, None) => "not reached".to_owned(),
            (None, Some(_)) => continue,
        };
        _ = writeln!(tap, "{SUBTEST}  ---\n{SUBTEST}  message: {}\n{SUBTEST}  ...", yaml(&message));
    }
    _ = writeln!(tap, "{SUBTEST}1..{}", checks.len());
}

fn diagnostics(tap: &mut String, row: &CaseSummary<'_>) {
    let case = row.case();
    tap.push_str("  ---\n");
    if let Some(reason) = row.reason() {
        _ = writeln!(tap, "  message: {}", yaml(&reason));
    }
    _ = writeln!(tap, "  result: {}", yaml(&row.grade.to_string()));
    if let Some(cause) = row.cause() {
        _ = writeln!(tap, "  cause: {}", yaml(cause));
    }
    _ = writeln!(tap, "  at:\n    file: {}\n    line: {}", yaml(&case.file.to_string_lossy()), case.span.line);
    _ = writeln!(tap, "  score: {}\n  max_score: {}", row.score, row.max);
    _ = writeln!(tap, "  duration_ms: {:.3}", row.took.as_secs_f64() * 1000.0);
    if !matches!(row.grade, Grade::Passed | Grade::Skipped) {
        tap.push_str("  output:\n");
        for line in row.output().lines() {
            _ = writeln!(tap, "    - {}", yaml(line));
        }
    }
    tap.push_str("  ...\n");
}

/// The description of a test point. `\` and `#` are escaped as in TAP, characters that would end the line as in Rust.
fn description(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '#' => line.extend(['\\', c]),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => _ = write!(line, "\\{}", c.escape_unicode()),
            c => line.push(c),
        }
    }
    line
}

/// The text after a directive, on one line. TAP has no escapes there.
fn directive(text: &str) -> String {
    let ends_line = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.chars().map(|c| if ends_line(c) { ' ' } else { c }).collect()
}

/// A double-quoted YAML scalar on one line.
fn yaml(text: &str) -> String {
    let mut scalar = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => scalar.extend(['\\', c]),
            '\n' => scalar.push_str("\\n"),
            '\t' => scalar.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
                _ = write!(scalar, "\\u{:04x}", u32::from(c));
            }
            c => scalar.push(c),
        }
    }
    scalar.push('"');
    scalar
}
