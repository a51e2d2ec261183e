//! JSON lines: what `chat run --json` writes, but for the lines of steps.

use crate::runner::report::summary::Summary;
use crate::runner::report::{JsonReport, Report};

pub(crate) fn render(summary: &Summary<'_>) -> String {
    let (mut report, mut lines) = (JsonReport::default(), Vec::new());
    for play in summary.rows.iter().flat_map(|row| &row.results) {
        // Memory takes everything.
        drop(report.case(&mut lines, play));
    }
    drop(JsonReport::summary(&mut lines, summary));
    String::from_utf8_lossy(&lines).into_owned()
}
