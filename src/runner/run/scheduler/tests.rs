//! Tests of the scheduler: parallel cases, the order of reports, and rounds.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Barrier, Condvar, Mutex};

use super::*;
use crate::runner::lang::ast::{SourceFile, Span, Visibility};
use crate::runner::report::TextReport;
use crate::runner::report::attempt::Attempt;
use crate::runner::report::summary::{ReportFiles, View};
use crate::runner::run::RunOptions;

/// Runs a function for each case. It receives the case and the round, and returns the status.
struct FakeRunner<F>(F);

impl<F: Fn(usize, u64) -> Status + Sync> RunCase for FakeRunner<F> {
    fn run(&self, case: usize, round: u64, report: &mut dyn FnMut(CaseUpdate)) {
        let mut info = info(case, None);
        info.attempt.round = round;
        report(CaseUpdate::Started(info.clone()));
        let status = (self.0)(case, round);
        let verdict = if status == Status::Ok { Verdict::Passed } else { Verdict::Skipped("of a failure".to_owned()) };
        let result = CaseResult { verdict, ..CaseResult::not_run(info, String::new()) };
        report(CaseUpdate::Finished(Box::new(FinishedCase { result, status, record_error: None, is_last: true })));
    }

    fn reason_to_stop(&self) -> Option<(Status, String)> {
        None
    }

    fn now(&self) -> Instant {
        Instant::ZERO
    }
}

fn info(case: usize, rounds: Option<u64>) -> CaseInfo {
    let source = Arc::new(SourceFile { path: "a.chat".into(), text: String::new() });
    let span = Span { source, line: case + 1, column: 1, start: 0, end: 0 };
    let (file, title, attempt) =
        (PathBuf::from("a.chat"), format!("case {case}"), Attempt { rounds, ..Attempt::default() });
    CaseInfo { file, title, points: None, visibility: Visibility::Visible, span, steps: 0, attempt }
}

/// Runs this number of cases. Returns the report and the tally.
fn run_cases(
    cases: usize,
    options: SchedulerOptions,
    run: impl Fn(usize, u64) -> Status + Sync,
) -> (Vec<String>, RunTally) {
    let mut out = Vec::new();
    let report = Box::new(TextReport { verbose: true, colour: false });
    let files = ReportFiles::new(Vec::new(), View::Teacher);
    let mut reporters = Reporters::new(&mut out, report, files, View::Teacher);
    let infos = (0..cases).map(|case| info(case, options.rounds)).collect();
    let tally = Jobs::run(&FakeRunner(run), infos, options, &mut reporters).unwrap();
    let text = String::from_utf8(out).unwrap();
    (text.lines().map(|line| line.split("  ").take(2).collect::<Vec<_>>().join(" ")).collect(), tally)
}

fn options(jobs: usize) -> SchedulerOptions {
    SchedulerOptions { jobs, rounds: Some(1), fail_fast: false }
}

#[test]
fn as_many_cases_as_allowed_run_in_parallel_and_are_reported_in_order() {
    let all = Barrier::new(RunOptions::MAX_JOBS);
    let (lines, tally) = run_cases(RunOptions::MAX_JOBS, options(RunOptions::MAX_JOBS), |_, _| {
        // The barrier opens only when all cases run at once.
        all.wait();
        Status::Ok
    });
    let expected =
        (0..RunOptions::MAX_JOBS).flat_map(|case| [format!("CASE case {case}"), format!("PASS case {case}")]);
    assert_eq!(lines, expected.collect::<Vec<_>>());
    assert_eq!(tally.result.cases.len(), RunOptions::MAX_JOBS);
    assert_eq!(tally.open().count(), 0);
}

#[test]
fn one_job_runs_cases_one_after_another() {
    let running = Mutex::new(());
    let (lines, _) =
        run_cases(9, options(1), |_, _| if running.try_lock().is_ok() { Status::Ok } else { Status::Failed });
    assert!(lines.iter().all(|line| !line.starts_with("SKIP")), "{lines:?}");
}

#[test]
fn cases_do_not_run_too_far_ahead_of_the_report() {
    let ahead = Jobs::<FakeRunner<fn(usize, u64) -> Status>>::MAX_AHEAD;
    let (begun, more) = (Mutex::new(BTreeSet::new()), Condvar::new());
    let too_far = Mutex::new(Vec::new());
    run_cases(ahead + 20, options(4), |case, _| {
        let mut all = begun.lock().unwrap();
        if case >= ahead && !all.contains(&0) {
            too_far.lock().unwrap().push(case);
        }
        if case == 0 {
            // Waits until all cases have begun that may begin before this one is reported.
            all = more.wait_while(all, |all| all.len() < ahead - 1).unwrap();
        }
        all.insert(case);
        more.notify_all();
        Status::Ok
    });
    assert_eq!(*too_far.lock().unwrap(), Vec::<usize>::new());
    assert_eq!(begun.lock().unwrap().len(), ahead + 20);
}

#[test]
fn a_panic_of_the_runner_ends_one_case() {
    let (lines, tally) = run_cases(3, options(2), |case, _| if case == 1 { panic!("on purpose") } else { Status::Ok });
    assert_eq!(lines, ["CASE case 0", "PASS case 0", "CASE case 1", "---- case 1", "CASE case 2", "PASS case 2"]);
    assert_eq!(tally.result.status, Status::Internal);
}

#[test]
fn endless_rounds_end_after_the_failed_one() {
    let options = SchedulerOptions { jobs: 1, rounds: None, fail_fast: false };
    let runner = Mutex::new(Vec::new());
    let (_, tally) = run_cases(2, options, |case, round| {
        runner.lock().unwrap().push((round, case));
        if (round, case) == (3, 0) { Status::Expected } else { Status::Ok }
    });
    assert_eq!(*runner.lock().unwrap(), [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1)]);
    assert_eq!((tally.result.status, tally.result.rounds), (Status::Expected, Some(3)));
}

#[test]
fn a_case_with_missing_attempts_is_reported_once() {
    let options = SchedulerOptions { jobs: 1, rounds: Some(5), fail_fast: true };
    let fails = |case, round| if (round, case) == (2, 0) { Status::Failed } else { Status::Ok };
    let (lines, tally) = run_cases(2, options, fails);
    let expected = ["PASS case 0", "PASS case 1", "SKIP case 0", "---- case 0", "---- case 1"];
    assert_eq!(
        lines.iter().filter(|line| !line.starts_with("CASE")).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
    assert_eq!((tally.result.status, tally.result.rounds), (Status::Failed, Some(1)));
}
