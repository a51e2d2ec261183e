//! The results of the attempts so far. Equal results are counted, so that endless rounds need bounded memory.

use std::time::Duration;

use crate::proto::status::Status;
use crate::runner::report::outcome::{CaseInfo, CaseResult, RunResult, Verdict};

/// The results of a run in progress.
pub(crate) struct RunTally {
    pub(crate) result: RunResult,
    /// The case of each result.
    owners: Vec<usize>,
    /// Each case as reports show it while attempts are missing, and the number of missing attempts.
    open: Vec<(CaseResult, u64)>,
    /// The number of cases that have run in the current round.
    in_round: usize,
}

impl RunTally {
    /// The most failed attempts at one case that are kept. Later ones are added to the last of them.
    pub(crate) const MAX_FAILURES: usize = 20;

    /// The tally before the first attempt. `attempts` are missing of each case.
    pub(crate) fn new(cases: impl IntoIterator<Item = CaseInfo>, attempts: u64, are_counted: bool) -> Self {
        let reason = || "the run ended before it".to_owned();
        let open = cases.into_iter().map(|case| (CaseResult::not_run(case, reason()), attempts)).collect();
        let rounds = are_counted.then_some(0);
        let result = RunResult { cases: Vec::new(), took: Duration::ZERO, status: Status::Ok, rounds };
        Self { result, owners: Vec::new(), open, in_round: 0 }
    }

    /// The cases with missing attempts.
    pub(crate) fn open(&self) -> impl Iterator<Item = &CaseResult> {
        self.open.iter().filter(|(_, missing)| *missing > 0).map(|(case, _)| case)
    }

    /// Adds an attempt at the case at this index.
    pub(crate) fn add(&mut self, owner: usize, added: CaseResult) {
        let of_owner = || self.owners.iter().enumerate().filter(|(_, one)| **one == owner).map(|(at, _)| at);
        let equal = of_owner().filter(|at| kind(&self.result.cases[*at]) == kind(&added));
        let limit = if kind(&added) == ResultKind::Failed { Self::MAX_FAILURES } else { 1 };
        if let Some(at) = equal.clone().next_back().filter(|_| equal.count() >= limit) {
            let kept = &mut self.result.cases[at];
            kept.attempts += added.attempts;
            kept.took += added.took;
            kept.overhead += added.overhead;
            return;
        }
        let at = of_owner().next_back().map_or(self.owners.len(), |last| last + 1);
        self.owners.insert(at, owner);
        self.result.cases.insert(at, added);
    }

    /// Finishes a case in the current round. A case that has not run does not complete the round.
    pub(crate) fn finish(&mut self, owner: usize, status: Status, has_run: bool) {
        self.result.status = self.result.status.or(status);
        if let Some((_, missing)) = self.open.get_mut(owner) {
            *missing = missing.saturating_sub(1);
        }
        self.in_round += usize::from(has_run);
        if has_run && self.in_round == self.open.len() {
            self.in_round = 0;
            self.result.rounds = self.result.rounds.map(|rounds| rounds + 1);
        }
    }
}

#[derive(PartialEq, Eq)]
enum ResultKind {
    Passed,
    PassedOnRetry,
    Failed,
    Skipped,
    NotRun,
}

fn kind(added: &CaseResult) -> ResultKind {
    match added.verdict {
        Verdict::Passed if added.case.attempt.retry > 0 => ResultKind::PassedOnRetry,
        Verdict::Passed => ResultKind::Passed,
        Verdict::Failed(_) => ResultKind::Failed,
        Verdict::Skipped(_) => ResultKind::Skipped,
        Verdict::NotRun(_) => ResultKind::NotRun,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::runner::lang::ast::{SourceFile, Span, Visibility};
    use crate::runner::report::attempt::Attempt;
    use crate::runner::report::outcome::{CaseFailure, Cause};

    fn info(line: usize) -> CaseInfo {
        let source = Arc::new(SourceFile { path: "a.chat".into(), text: String::new() });
        let span = Span { source, line, column: 1, start: 0, end: 0 };
        let (visibility, attempt) = (Visibility::Visible, Attempt { rounds: None, ..Attempt::default() });
        CaseInfo { file: "a.chat".into(), title: "a".to_owned(), points: None, visibility, span, steps: 0, attempt }
    }

    fn run(line: usize, fails: bool) -> CaseResult {
        let failure = || CaseFailure {
            span: info(line).span,
            actor: None,
            cause: Cause::Silence,
            sentence: String::new(),
            expected: None,
            nearest: None,
            status: Status::Expected,
            remedy: None,
        };
        let verdict = if fails { Verdict::Failed(Box::new(failure())) } else { Verdict::Passed };
        let took = Duration::from_secs(1);
        CaseResult { verdict, took, ..CaseResult::not_run(info(line), String::new()) }
    }

    #[test]
    fn equal_results_are_counted_and_the_first_failures_are_kept() {
        let mut tally = RunTally::new([info(1), info(2)], 30, true);
        for _ in 0..RunTally::MAX_FAILURES + 10 {
            for (owner, fails) in [(0, true), (0, false), (1, false)] {
                tally.add(owner, run(owner + 1, fails));
            }
            tally.finish(0, Status::Expected, true);
            tally.finish(1, Status::Ok, true);
        }
        let attempts: Vec<(usize, u64, u64)> =
            tally.result.cases.iter().map(|case| (case.case.span.line, case.attempts, case.took.as_secs())).collect();
        let mut expected = vec![(1, 1, 1), (1, 30, 30)];
        expected.extend([(1, 1, 1); RunTally::MAX_FAILURES - 2]);
        expected.extend([(1, 11, 11), (2, 30, 30)]);
        assert_eq!(attempts, expected);
        assert_eq!((tally.open().count(), tally.result.rounds), (0, Some(30)));
        assert_eq!(tally.result.status, Status::Expected);
    }

    #[test]
    fn a_case_with_missing_attempts_is_open() {
        let mut tally = RunTally::new([info(1), info(2)], 2, false);
        tally.finish(0, Status::Ok, true);
        tally.finish(1, Status::Ok, false);
        tally.finish(0, Status::Ok, true);
        assert_eq!(tally.open().map(|case| case.case.span.line).collect::<Vec<_>>(), [2]);
        assert_eq!(tally.result.rounds, None);
    }
}
