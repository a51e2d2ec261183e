//! JSON lines: the output of `chat run --json`, without the lines of steps.

use crate::runner::report::summary::Summary;
use crate::runner::report::{JsonReport, Report};

pub(crate) fn render(summary: &Summary<'_>) -> String {
    let (mut report, mut lines) = (JsonReport::default(), Vec::new());
    for result in summary.rows.iter().flat_map(|row| &row.results) {
        // A write to memory does not fail.
        drop(report.case(&mut lines, result));
    }
    drop(JsonReport::summary(&mut lines, summary));
    String::from_utf8_lossy(&lines).into_owned()
}
