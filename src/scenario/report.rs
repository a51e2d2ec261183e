//! Reports: functions of what came of a run, written as soon as each part of it is known.

pub(super) mod json;
mod text;

use std::io::{self, Write};

pub use self::json::JsonReport;
pub(super) use self::text::shown;
pub use self::text::{TextReport, timeline};
use crate::scenario::outcome::{CaseInfo, CaseResult, RunResult, StepResult};

/// A form of report.
pub trait Report {
    /// A case begins.
    ///
    /// # Errors
    /// Those of the writer.
    fn case_begins(&mut self, out: &mut dyn Write, case: &CaseInfo) -> io::Result<()>;

    /// A step of it is over.
    ///
    /// # Errors
    /// Those of the writer.
    fn step(&mut self, out: &mut dyn Write, case: &CaseInfo, step: &StepResult) -> io::Result<()>;

    /// The case is over.
    ///
    /// # Errors
    /// Those of the writer.
    fn case(&mut self, out: &mut dyn Write, result: &CaseResult) -> io::Result<()>;

    /// The run is over.
    ///
    /// # Errors
    /// Those of the writer.
    fn run(&mut self, out: &mut dyn Write, result: &RunResult) -> io::Result<()>;
}
