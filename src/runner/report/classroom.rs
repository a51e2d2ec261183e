//! The result of a test step of GitHub Classroom, not base64-encoded yet.
//!
//! The statuses are pass, fail and error. Skipped cases and cases that did not run are errors: they show nothing about
//! the program.

use serde::Serialize;

use crate::runner::report::score::Score;
use crate::runner::report::summary::{CaseSummary, Grade, Summary};

/// The version of this format.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct ClassroomResults<'a> {
    version: u32,
    status: &'static str,
    max_score: Score,
    tests: Vec<ClassroomTest<'a>>,
}

#[derive(Serialize)]
struct ClassroomTest<'a> {
    name: &'a str,
    status: &'static str,
    score: Score,
    max_score: Score,
    message: String,
    /// The command that runs only this case.
    test_code: String,
    filename: String,
    line_no: usize,
    execution_time: String,
}

pub(crate) fn render(summary: &Summary<'_>) -> String {
    let results = ClassroomResults {
        version: VERSION,
        status: status_of_all(summary),
        max_score: summary.total().1,
        tests: summary.rows.iter().map(test).collect(),
    };
    let mut text = serde_json::to_string_pretty(&results).unwrap_or_default();
    text.push('\n');
    text
}

/// A failure outweighs an error, and both a pass.
fn status_of_all(summary: &Summary<'_>) -> &'static str {
    let all = || summary.rows.iter().map(status);
    ["fail", "error"].into_iter().find(|status| all().any(|one| one == *status)).unwrap_or("pass")
}

fn test<'a>(row: &'a CaseSummary<'_>) -> ClassroomTest<'a> {
    let case = row.case();
    let file = case.file.to_string_lossy().into_owned();
    ClassroomTest {
        name: &case.title,
        status: status(row),
        score: row.score,
        max_score: row.max,
        message: if row.grade == Grade::Passed { String::new() } else { row.output() },
        test_code: row.deciding().replay.clone(),
        filename: file,
        line_no: case.span.line,
        execution_time: format!("{:.3}s", row.took.as_secs_f64()),
    }
}

fn status(row: &CaseSummary<'_>) -> &'static str {
    match row.grade {
        _ if row.is_pass => "pass",
        Grade::Passed | Grade::Failed | Grade::Flaky => "fail",
        Grade::Skipped | Grade::NotRun => "error",
    }
}
