//! The formats of report files, with the readers of each.

use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::runner::report::outcome::RunResult;
use crate::runner::report::summary::{Summary, View};
use crate::runner::report::{classroom, gradescope, jsonl, junit, markdown, tap};

/// A format of report files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Format {
    /// JUnit XML, for continuous integration.
    Junit,
    /// TAP 14, for test harnesses.
    Tap,
    /// JSON lines, for programs: the output of `chat run --json` without the lines of steps.
    Json,
    /// Gradescope's `results.json`.
    Gradescope,
    /// The result of a test step of GitHub Classroom. It is not base64-encoded yet.
    Classroom,
    /// Markdown: a table of all cases, followed by the failures.
    Markdown,
}

impl Format {
    /// The word on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// Renders the report of a run, as `view` may see it.
    #[must_use]
    pub fn render(self, run: &RunResult, view: View) -> String {
        self.write(&Summary::of(run, view))
    }

    /// Renders the report of a summary.
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
