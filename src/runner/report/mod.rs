//! Reports: functions of the results of a run. Each part is written as soon as it is known.

pub mod attempt;
pub(crate) mod classroom;
pub(crate) mod files;
pub(crate) mod format;
pub(crate) mod gradescope;
pub(crate) mod json;
pub(crate) mod jsonl;
pub(crate) mod junit;
pub(crate) mod markdown;
pub mod outcome;
pub(crate) mod progress;
pub(crate) mod replace;
pub(crate) mod reporters;
pub mod score;
pub mod summary;
pub(crate) mod tap;
mod text;
pub(crate) mod view;

use std::io::{self, Write};

pub use crate::runner::report::json::JsonReport;
use crate::runner::report::outcome::{CaseInfo, CaseResult, RunResult, StepResult};
pub(crate) use crate::runner::report::text::escape_line;
pub use crate::runner::report::text::{TextReport, timeline};

/// A report on the output.
pub trait Report {
    /// A case begins.
    ///
    /// # Errors
    /// When the writer fails.
    fn case_begins(&mut self, out: &mut dyn Write, case: &CaseInfo) -> io::Result<()>;

    /// A step of the case has ended.
    ///
    /// # Errors
    /// When the writer fails.
    fn step(&mut self, out: &mut dyn Write, case: &CaseInfo, step: &StepResult) -> io::Result<()>;

    /// The case has ended.
    ///
    /// # Errors
    /// When the writer fails.
    fn case(&mut self, out: &mut dyn Write, result: &CaseResult) -> io::Result<()>;

    /// The run has ended.
    ///
    /// # Errors
    /// When the writer fails.
    fn run(&mut self, out: &mut dyn Write, result: &RunResult) -> io::Result<()>;
}
