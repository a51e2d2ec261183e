//! The sheet of a run: a row a case, with its mark, its score and why. Reports that are files are functions of it.

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

/// What came of a run, ready to be written.
#[derive(Clone, Debug)]
pub struct Summary<'a> {
    /// Every case once, in the order in which they were first played.
    pub rows: Vec<CaseSummary<'a>>,
    /// How long the run took.
    pub took: Duration,
    /// The first reason for not being [`Status::Ok`].
    pub status: Status,
    /// How many whole rounds were played, where there was to be more than one.
    pub rounds: Option<u64>,
}

/// What came of one case.
#[derive(Clone, Debug)]
pub struct CaseSummary<'a> {
    /// How often it was played, and what came of it each time; at least one.
    pub(crate) plays: Vec<Cow<'a, CaseResult>>,
    /// What it comes to.
    pub mark: Grade,
    /// What was earned: the least of all plays.
    pub score: Score,
    /// What could be earned. What was skipped or not run stays in it: nobody gets an easier exam unseen.
    pub max: Score,
    /// How long all plays took.
    pub took: Duration,
    /// It passed, or it is flaky and may be.
    pub is_pass: bool,
}

/// The result of all attempts at a case, in the order in which reports count them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Grade {
    /// It passed, each time.
    Passed,
    /// It failed, each time.
    Failed,
    /// It passed and it failed: no pass, unless that is allowed.
    Flaky,
    /// It cannot be played here: no pass either.
    Skipped,
    /// It was not played, or not as often as it should have been.
    #[strum(to_string = "not run")]
    NotRun,
}

/// One check of a case.
#[derive(Clone, Copy, Debug)]
pub struct CheckSummary<'a> {
    /// Which.
    pub check: &'a CheckResult,
    /// What was earned.
    pub score: Score,
    /// What could be earned.
    pub max: Score,
}

impl<'a> Summary<'a> {
    /// The sheet of what was played, as `view` may see it. Plays of the same case become one row.
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

    /// The sheet of a whole run.
    #[must_use]
    pub fn of(run: &'a RunResult, view: View) -> Self {
        Self { rounds: run.rounds, ..Self::new(&run.cases, run.took, run.status, view) }
    }

    /// What was earned and what could be, in all.
    #[must_use]
    pub fn total(&self) -> (Score, Score) {
        (self.rows.iter().map(|row| row.score).sum(), self.rows.iter().map(|row| row.max).sum())
    }

    /// How many cases have this mark.
    #[must_use]
    pub fn count(&self, mark: Grade) -> usize {
        self.rows.iter().filter(|row| row.mark == mark).count()
    }
}

impl<'a> CaseSummary<'a> {
    /// The longest output, in bytes. What is beyond is cut, which is said.
    pub const MAX_OUTPUT: usize = 64 << 10;

    fn new(plays: Vec<Cow<'a, CaseResult>>) -> Self {
        let mark = Grade::of(&plays);
        let lenient = mark == Grade::Flaky && plays.iter().any(|play| play.is_flaky() && play.case.turn.lenient);
        let decide = |play: &&Cow<'a, CaseResult>| matches!(play.verdict, Verdict::Passed) == lenient;
        // Somebody who passed in one of two plays has not shown that the program works: what was earned is what the
        // failed one earned.
        let scores = plays.iter().filter(|play| mark != Grade::Flaky || decide(play)).map(|play| score::earned(play));
        let score = if mark.is_played() { scores.min().unwrap_or_default() } else { Score::default() };
        let max = plays.iter().map(|play| score::worth(play)).max().unwrap_or_default();
        let took = plays.iter().map(|play| play.took).sum();
        Self { plays, mark, score, max, took, is_pass: mark == Grade::Passed || lenient }
    }

    /// Which case.
    #[must_use]
    pub fn case(&self) -> &CaseInfo {
        &self.deciding().case
    }

    /// The play that tells most: the first that failed, or was not played, or the first.
    #[must_use]
    pub fn deciding(&self) -> &CaseResult {
        let worst = |play: &&Cow<'a, CaseResult>| matches!(play.verdict, Verdict::Failed(_));
        let unplayed = |play: &&Cow<'a, CaseResult>| !matches!(play.verdict, Verdict::Passed);
        self.plays.iter().find(worst).or_else(|| self.plays.iter().find(unplayed)).unwrap_or(&self.plays[0])
    }

    /// One word for the kind of failure, where there is one.
    #[must_use]
    pub fn cause(&self) -> Option<&'static str> {
        match &self.deciding().verdict {
            Verdict::Failed(failure) => Some(failure.cause.word()),
            Verdict::NotRun(_) => Some("NOT RUN"),
            Verdict::Passed | Verdict::Skipped(_) => None,
        }
    }

    /// Why it is no pass, as one sentence without an end.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let count =
            |of: fn(&CaseResult) -> bool| self.plays.iter().filter(|play| of(play)).map(|play| play.plays).sum();
        let (passed, all): (u64, u64) = (count(|play| matches!(play.verdict, Verdict::Passed)), count(|_| true));
        let turn = self.case().turn;
        let round = if turn.is_repeated() { format!("{}: ", turn.to_string().trim_start()) } else { String::new() };
        let often = if all == 1 { round } else { format!("{round}passed in {passed} of {all} plays; ") };
        match &self.deciding().verdict {
            Verdict::Passed => None,
            Verdict::Failed(failure) => Some(format!("{often}{}: {}", failure.cause.word(), failure.sentence)),
            Verdict::Skipped(reason) => Some(reason.clone()),
            Verdict::NotRun(reason) => Some(format!("{often}not run: {reason}")),
        }
    }

    /// Its checks, with what each was worth and earned.
    #[must_use]
    pub fn parts(&self) -> Vec<CheckSummary<'_>> {
        let play = self.deciding();
        let shares = score::shares(play).into_iter();
        let earned = |check: &CheckResult, max| if check.passed == Some(true) { max } else { Score::default() };
        play.checks
            .iter()
            .zip(shares)
            .map(|(check, max)| CheckSummary { check, score: earned(check, max), max })
            .collect()
    }

    /// Everything that is needed to understand it, for people: what the terminal shows of each play.
    #[must_use]
    pub fn output(&self) -> String {
        let mut bytes = Vec::new();
        for play in &self.plays {
            // Memory takes everything.
            drop(TextReport::default().case(&mut bytes, play));
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
    fn of(plays: &[Cow<'_, CaseResult>]) -> Self {
        let any = |of: fn(&Verdict) -> bool| plays.iter().any(|play| of(&play.verdict));
        let passed = any(|verdict| matches!(verdict, Verdict::Passed));
        if any(|verdict| matches!(verdict, Verdict::Failed(_))) {
            return if passed { Self::Flaky } else { Self::Failed };
        }
        if any(|verdict| matches!(verdict, Verdict::NotRun(_))) {
            return Self::NotRun;
        }
        if any(|verdict| matches!(verdict, Verdict::Skipped(_))) { Self::Skipped } else { Self::Passed }
    }

    fn is_played(self) -> bool {
        matches!(self, Self::Passed | Self::Failed | Self::Flaky)
    }
}

/// Whether two plays are of the same case of the same file.
fn is_same(one: &CaseInfo, other: &CaseInfo) -> bool {
    (&one.file, one.span.line, &one.title) == (&other.file, other.span.line, &other.title)
}
