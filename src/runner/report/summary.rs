//! The summary of a run: for each case its grade, its score and the reason. Report files are functions of it.

use std::borrow::Cow;
use std::time::Duration;

use strum::{Display, VariantArray};

use crate::proto::status::Status;
pub use crate::runner::report::files::{ReportFile, ReportFiles, Unwritable};
pub use crate::runner::report::format::Format;
use crate::runner::report::outcome::{CaseInfo, CaseResult, CheckResult, RunResult, Verdict};
use crate::runner::report::score::{self, Score};
pub use crate::runner::report::view::View;
use crate::runner::report::{Report, TextReport};

/// The results of a run, ready to be written.
#[derive(Clone, Debug)]
pub struct Summary<'a> {
    /// Every case once, in the order of the first attempts.
    pub rows: Vec<CaseSummary<'a>>,
    /// The duration of the run.
    pub took: Duration,
    /// The first reason for not being [`Status::Ok`].
    pub status: Status,
    /// The number of complete rounds, where there can be more than one.
    pub rounds: Option<u64>,
}

/// The results of one case.
#[derive(Clone, Debug)]
pub struct CaseSummary<'a> {
    /// The result of each attempt; at least one.
    pub(crate) results: Vec<Cow<'a, CaseResult>>,
    /// The grade of the case.
    pub grade: Grade,
    /// The earned points: the least of all attempts.
    pub score: Score,
    /// The points that could be earned. Skipped cases and cases that did not run count, so that no exam gets easier.
    pub max: Score,
    /// The duration of all attempts.
    pub took: Duration,
    /// It passed, or it is flaky and that is allowed.
    pub is_pass: bool,
}

/// The result of all attempts at a case, in the order in which reports count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Grade {
    /// All attempts passed.
    Passed,
    /// All attempts failed.
    Failed,
    /// Some attempts passed and some failed. It is no pass unless flaky cases are allowed.
    Flaky,
    /// It cannot be run here. This is no pass.
    Skipped,
    /// Attempts are missing, and none failed.
    #[strum(to_string = "not run")]
    NotRun,
}

/// One check of a case.
#[derive(Clone, Copy, Debug)]
pub struct CheckSummary<'a> {
    pub check: &'a CheckResult,
    /// The earned points.
    pub score: Score,
    /// The points that could be earned.
    pub max: Score,
}

impl<'a> Summary<'a> {
    /// Summarizes results, as `view` may see them. The attempts at a case become one row.
    pub fn new(results: impl IntoIterator<Item = &'a CaseResult>, took: Duration, status: Status, view: View) -> Self {
        let mut rows: Vec<Vec<Cow<'a, CaseResult>>> = Vec::new();
        for result in results {
            let same = |row: &&mut Vec<Cow<'_, CaseResult>>| is_same(&row[0].case, &result.case);
            match rows.iter_mut().find(same) {
                Some(row) => row.push(view.case(result)),
                None => rows.push(vec![view.case(result)]),
            }
        }
        Self { rows: rows.into_iter().map(CaseSummary::new).collect(), took, status, rounds: None }
    }

    /// Summarizes a whole run.
    #[must_use]
    pub fn of(run: &'a RunResult, view: View) -> Self {
        Self { rounds: run.rounds, ..Self::new(&run.cases, run.took, run.status, view) }
    }

    /// The earned points of all cases, and the points that could be earned.
    #[must_use]
    pub fn total(&self) -> (Score, Score) {
        (self.rows.iter().map(|row| row.score).sum(), self.rows.iter().map(|row| row.max).sum())
    }

    /// The number of cases with this grade.
    #[must_use]
    pub fn count(&self, grade: Grade) -> usize {
        self.rows.iter().filter(|row| row.grade == grade).count()
    }
}

impl<'a> CaseSummary<'a> {
    /// The longest output, in bytes. A longer one is cut and ends with a note.
    pub const MAX_OUTPUT: usize = 64 << 10;

    fn new(results: Vec<Cow<'a, CaseResult>>) -> Self {
        let grade = Grade::of(&results);
        let lenient =
            grade == Grade::Flaky && results.iter().any(|result| result.is_flaky() && result.case.attempt.lenient);
        let decide = |result: &&Cow<'a, CaseResult>| matches!(result.verdict, Verdict::Passed) == lenient;
        // One passed attempt of two does not show that the program works: the failed attempt decides the points.
        let scores =
            results.iter().filter(|result| grade != Grade::Flaky || decide(result)).map(|result| score::earned(result));
        let score = if grade.has_run() { scores.min().unwrap_or_default() } else { Score::default() };
        let max = results.iter().map(|result| score::worth(result)).max().unwrap_or_default();
        let took = results.iter().map(|result| result.took).sum();
        Self { results, grade, score, max, took, is_pass: grade == Grade::Passed || lenient }
    }

    /// The case.
    #[must_use]
    pub fn case(&self) -> &CaseInfo {
        &self.deciding().case
    }

    /// The most significant attempt: the first that failed, else the first that did not pass, else the first.
    #[must_use]
    pub fn deciding(&self) -> &CaseResult {
        let worst = |result: &&Cow<'a, CaseResult>| matches!(result.verdict, Verdict::Failed(_));
        let not_run = |result: &&Cow<'a, CaseResult>| !matches!(result.verdict, Verdict::Passed);
        self.results.iter().find(worst).or_else(|| self.results.iter().find(not_run)).unwrap_or(&self.results[0])
    }

    /// The kind of failure, in a word or two. `None` for passed and skipped cases.
    #[must_use]
    pub fn cause(&self) -> Option<&'static str> {
        match &self.deciding().verdict {
            Verdict::Failed(failure) => Some(failure.cause.word()),
            Verdict::NotRun(_) => Some("NOT RUN"),
            Verdict::Passed | Verdict::Skipped(_) => None,
        }
    }

    /// The reason why it did not pass, as one sentence without a full stop.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let count = |of: fn(&CaseResult) -> bool| {
            self.results.iter().filter(|result| of(result)).map(|result| result.attempts).sum()
        };
        let (passed, all): (u64, u64) = (count(|result| matches!(result.verdict, Verdict::Passed)), count(|_| true));
        let attempt = self.case().attempt;
        let round =
            if attempt.is_repeated() { format!("{}: ", attempt.to_string().trim_start()) } else { String::new() };
        let often = if all == 1 { round } else { format!("{round}passed in {passed} of {all} plays; ") };
        match &self.deciding().verdict {
            Verdict::Passed => None,
            Verdict::Failed(failure) => Some(format!("{often}{}: {}", failure.cause.word(), failure.sentence)),
            Verdict::Skipped(reason) => Some(reason.clone()),
            Verdict::NotRun(reason) => Some(format!("{often}not run: {reason}")),
        }
    }

    /// Its checks, with the points of each.
    #[must_use]
    pub fn parts(&self) -> Vec<CheckSummary<'_>> {
        let result = self.deciding();
        let shares = score::shares(result).into_iter();
        let earned = |check: &CheckResult, max| if check.passed == Some(true) { max } else { Score::default() };
        result
            .checks
            .iter()
            .zip(shares)
            .map(|(check, max)| CheckSummary { check, score: earned(check, max), max })
            .collect()
    }

    /// The text report of all attempts.
    #[must_use]
    pub fn output(&self) -> String {
        let mut bytes = Vec::new();
        for result in &self.results {
            // A write to memory does not fail.
            drop(TextReport::default().case(&mut bytes, result));
        }
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if text.len() > Self::MAX_OUTPUT {
            let end = (0..=Self::MAX_OUTPUT).rfind(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
            text.push_str("… (the rest is cut)\n");
        }
        text
    }
}

impl Grade {
    fn of(results: &[Cow<'_, CaseResult>]) -> Self {
        let any = |of: fn(&Verdict) -> bool| results.iter().any(|result| of(&result.verdict));
        let passed = any(|verdict| matches!(verdict, Verdict::Passed));
        if any(|verdict| matches!(verdict, Verdict::Failed(_))) {
            return if passed { Self::Flaky } else { Self::Failed };
        }
        if any(|verdict| matches!(verdict, Verdict::NotRun(_))) {
            return Self::NotRun;
        }
        if any(|verdict| matches!(verdict, Verdict::Skipped(_))) { Self::Skipped } else { Self::Passed }
    }

    fn has_run(self) -> bool {
        matches!(self, Self::Passed | Self::Failed | Self::Flaky)
    }
}

/// Whether two attempts are of the same case of the same file.
fn is_same(one: &CaseInfo, other: &CaseInfo) -> bool {
    (&one.file, one.span.line, &one.title) == (&other.file, other.span.line, &other.title)
}
