//! JSON lines: what `chat run --json` writes, but for the lines of steps.

use crate::scenario::report::{JsonReport, Report};
use crate::scenario::sheet::Sheet;

pub(super) fn render(sheet: &Sheet<'_>) -> String {
    let (mut report, mut lines) = (JsonReport::default(), Vec::new());
    for play in sheet.rows.iter().flat_map(|row| &row.plays) {
        // Memory takes everything.
        drop(report.case(&mut lines, play));
    }
    drop(JsonReport::summary(&mut lines, sheet));
    String::from_utf8_lossy(&lines).into_owned()
}
