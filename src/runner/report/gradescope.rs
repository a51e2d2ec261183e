//! Gradescope's `results.json`. Its statuses are passed and failed only; tags carry the grade and the cause.

use serde::Serialize;

use crate::runner::lang::ast::Visibility;
use crate::runner::report::score::Score;
use crate::runner::report::summary::{CaseSummary, Grade, Summary};

#[derive(Serialize)]
struct GradescopeResults<'a> {
    /// In whole seconds.
    execution_time: u64,
    visibility: &'static str,
    tests: Vec<GradescopeTest<'a>>,
}

#[derive(Serialize)]
struct GradescopeTest<'a> {
    score: Score,
    max_score: Score,
    status: &'static str,
    name: &'a str,
    name_format: &'static str,
    number: String,
    output: String,
    output_format: &'static str,
    tags: Vec<String>,
    visibility: &'static str,
}

pub(crate) fn render(summary: &Summary<'_>) -> String {
    let tests = summary.rows.iter().enumerate().map(|(at, row)| test(at + 1, row)).collect();
    let results =
        GradescopeResults { execution_time: summary.took.as_secs(), visibility: Visibility::Visible.word(), tests };
    let mut text = serde_json::to_string_pretty(&results).unwrap_or_default();
    text.push('\n');
    text
}

fn test<'a>(number: usize, row: &'a CaseSummary<'_>) -> GradescopeTest<'a> {
    let case = row.case();
    GradescopeTest {
        score: row.score,
        max_score: row.max,
        status: if row.is_pass { "passed" } else { "failed" },
        name: &case.title,
        name_format: "text",
        number: number.to_string(),
        output: row.output(),
        output_format: "text",
        tags: tags(row),
        visibility: case.visibility.word(),
    }
}

/// The grade and the cause of the failure.
fn tags(row: &CaseSummary<'_>) -> Vec<String> {
    let mut tags = vec![row.grade.to_string()];
    tags.extend(row.cause().filter(|_| row.grade != Grade::NotRun).map(str::to_owned));
    tags
}
