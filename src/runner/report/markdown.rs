//! The Markdown report: the total, a table of cases and checks, and the full text of each failure.

use std::fmt::Write as _;

use strum::VariantArray;

use crate::runner::report::score::Score;
use crate::runner::report::summary::{CaseSummary, Grade, Summary};

pub(crate) fn render(summary: &Summary<'_>) -> String {
    let (score, max) = summary.total();
    let mut text = format!("**{score} of {max} points**, {}\n\n", counts(summary));
    text.push_str("| # | Case | Result | Points | Time | Why |\n| --: | --- | --- | --: | --: | --- |\n");
    for (at, row) in summary.rows.iter().enumerate() {
        cells(&mut text, at + 1, row);
    }
    for (at, row) in summary.rows.iter().enumerate() {
        if matches!(row.grade, Grade::Failed | Grade::Flaky) {
            let (output, title) = (row.output(), inline(&row.case().title));
            let fence = fence(&output);
            _ = write!(text, "\n### {}. {title}\n\n{fence}text\n{output}{fence}\n", at + 1);
        }
    }
    text
}

/// The count of each grade that occurs, and the points that could not be earned.
fn counts(summary: &Summary<'_>) -> String {
    let counted = Grade::VARIANTS.iter().map(|grade| (summary.count(*grade), grade));
    let mut words: Vec<String> = counted.filter(|(n, _)| *n > 0).map(|(n, grade)| format!("{n} {grade}")).collect();
    let open = summary.rows.iter().filter(|row| matches!(row.grade, Grade::Skipped | Grade::NotRun));
    let lost = open.map(|row| row.max).sum::<Score>();
    if lost > Score::default() {
        words.push(format!("points that could not be earned: {lost}"));
    }
    words.join(", ")
}

fn cells(text: &mut String, number: usize, row: &CaseSummary<'_>) {
    let (title, why) = (inline(&row.case().title), inline(&row.reason().unwrap_or_default()));
    let (grade, score, max, took) = (row.grade, row.score, row.max, row.took.as_secs_f64());
    _ = writeln!(text, "| {number} | {title} | {grade} | {score}/{max} | {took:.3} s | {why} |");
    for (at, part) in row.parts().iter().enumerate() {
        let (title, score, max) = (inline(&part.check.title), part.score, part.max);
        let grade = match part.check.passed {
            Some(true) => "passed",
            Some(false) => "failed",
            None => "not reached",
        };
        let why = part.check.failure.as_ref().map(|failure| format!("{}: {}", failure.cause.word(), failure.sentence));
        let why = inline(&why.unwrap_or_default());
        _ = writeln!(text, "| {number}.{} | {title} | {grade} | {score}/{max} |  | {why} |", at + 1);
    }
}

/// Escapes text for a cell of a table.
fn inline(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') => cell.push(' '),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '&' | '|' | '~' | '#' => cell.extend(['\\', c]),
            c => cell.push(c),
        }
    }
    cell
}

/// A fence of more backticks than any run in the text, at least three.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(3.max(longest + 1))
}
