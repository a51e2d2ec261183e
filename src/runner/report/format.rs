//! The forms in which a summary can be written, and who reads each.

use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::runner::report::outcome::RunResult;
use crate::runner::report::summary::{Summary, View};
use crate::runner::report::{classroom, gradescope, jsonl, junit, markdown, tap};

/// A form of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Format {
    /// JUnit XML: continuous integration.
    Junit,
    /// TAP 14: test harnesses.
    Tap,
    /// JSON lines: programs. The lines of `chat run --json`, but for those of steps.
    Json,
    /// Gradescope's `results.json`.
    Gradescope,
    /// The result of a test step of GitHub Classroom, before it is encoded in base64.
    Classroom,
    /// A table with what failed below it: people.
    Markdown,
}

impl Format {
    /// The word on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// The whole report of a run, as `view` may see it.
    #[must_use]
    pub fn render(self, run: &RunResult, view: View) -> String {
        self.write(&Summary::of(run, view))
    }

    /// The whole report of what stands on a summary.
    #[must_use]
    pub fn write(self, summary: &Summary<'_>) -> String {
        match self {
            Self::Junit => junit::render(summary),
            Self::Tap => tap::render(summary),
            Self::Json => jsonl::render(summary),
            Self::Gradescope => gradescope::render(summary),
            Self::Classroom => classroom::render(summary),
            Self::Markdown => markdown::render(summary),
        }
    }
}
