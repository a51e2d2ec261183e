//! Runs several cases in parallel, each on a thread of its own. They are reported in order, as if they ran one after
//! another.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, Scope};
use std::time::Duration;

use crate::proto::status::Status;
use crate::proto::time::Instant;
use crate::runner::report::attempt::Attempt;
use crate::runner::report::outcome::{CaseInfo, CaseResult, StepResult, Verdict};
use crate::runner::report::progress::ProgressLine;
use crate::runner::report::reporters::Reporters;
use crate::runner::report::summary::Unwritable;
use crate::runner::run::results::RunTally;

/// A report from the thread of a case. The last one is a [`FinishedCase`] with `is_last`.
pub(crate) enum CaseUpdate {
    Started(CaseInfo),
    Step(StepResult),
    Finished(Box<FinishedCase>),
}

/// The result of an attempt that has ended.
pub(crate) struct FinishedCase {
    pub(crate) result: CaseResult,
    /// The status of the case after this attempt and those before it.
    pub(crate) status: Status,
    /// The reason why its record is incomplete.
    pub(crate) record_error: Option<String>,
    /// No further attempt follows in this round.
    pub(crate) is_last: bool,
}

/// Runs single cases.
pub(crate) trait RunCase: Sync {
    /// Runs the case at this index in this round.
    fn run(&self, case: usize, round: u64, report: &mut dyn FnMut(CaseUpdate));

    /// The reason why no further case may begin, with its exit status.
    fn reason_to_stop(&self) -> Option<(Status, String)>;

    /// The time of the run.
    fn now(&self) -> Instant;
}

/// The options of a scheduler.
pub(crate) struct SchedulerOptions {
    /// The number of cases that run in parallel.
    pub(crate) jobs: usize,
    /// The number of rounds. Without it, rounds go on until a case fails.
    pub(crate) rounds: Option<u64>,
    /// No case begins after a failed one.
    pub(crate) fail_fast: bool,
}

/// A run in progress: the running cases, and their updates that are not reported yet.
pub(crate) struct Jobs<'a, 'b, P> {
    runner: &'a P,
    cases: Vec<CaseInfo>,
    options: SchedulerOptions,
    reporters: &'a mut Reporters<'b>,
    tally: RunTally,
    began: Instant,
    /// The round and the case that begin next.
    next: (u64, usize),
    /// The number of times that each case began.
    begun: Vec<u64>,
    /// Cases that have begun and are not fully reported, in order.
    pending: VecDeque<PendingCase>,
    /// The number of the first waiting case.
    first: u64,
    running: usize,
    failed: bool,
    /// The reason why no further case begins.
    stopped: Option<(Status, String)>,
}

struct PendingCase {
    case: usize,
    title: String,
    began: Instant,
    updates: VecDeque<CaseUpdate>,
    /// Its thread has sent its last update.
    is_over: bool,
}

type UpdateSender = SyncSender<(u64, CaseUpdate)>;

impl<'a, 'b, P: RunCase> Jobs<'a, 'b, P> {
    /// The most cases that may begin before the first of them is reported. Their updates are kept until then.
    pub(crate) const MAX_AHEAD: usize = 256;
    /// The most unread updates. Threads block beyond it.
    const MAX_UPDATES: usize = 1024;
    /// The interval at which the progress line is drawn.
    const TICK: Duration = Duration::from_secs(1);

    /// Runs all cases and reports them. The caller reports the end of the run.
    ///
    /// # Errors
    /// When a report file cannot be written before the first case, so that a wrong path fails early.
    pub(crate) fn run(
        runner: &'a P,
        cases: Vec<CaseInfo>,
        options: SchedulerOptions,
        reporters: &'a mut Reporters<'b>,
    ) -> Result<RunTally, Unwritable> {
        // Without a number of rounds, each case must run at least once.
        let tally = RunTally::new(cases.iter().cloned(), options.rounds.unwrap_or(1), options.rounds != Some(1));
        reporters.begin(&tally.result, &tally.open().collect::<Vec<_>>())?;
        let mut jobs = Self {
            runner,
            options,
            reporters,
            tally,
            began: runner.now(),
            next: (1, 0),
            begun: vec![0; cases.len()],
            pending: VecDeque::new(),
            first: 0,
            running: 0,
            failed: false,
            stopped: None,
            cases,
        };
        let (sender, updates) = mpsc::sync_channel(Self::MAX_UPDATES);
        thread::scope(|scope| jobs.run_all(scope, &sender, &updates));
        jobs.report_left_out();
        Ok(jobs.tally)
    }

    fn run_all<'s>(&mut self, scope: &'s Scope<'s, '_>, sender: &UpdateSender, updates: &Receiver<(u64, CaseUpdate)>)
    where
        'a: 's,
    {
        loop {
            while let Some((round, case)) = self.take_next() {
                self.begin(scope, sender, round, case);
            }
            if self.running == 0 {
                return;
            }
            self.show_progress();
            let limit = if self.reporters.shows_progress() { Self::TICK } else { Duration::MAX };
            match updates.recv_timeout(limit) {
                Ok((number, update)) => self.receive(number, update),
                // Never disconnected: `sender` lives here.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    /// Takes the round and the case that begin now, if one may.
    fn take_next(&mut self) -> Option<(u64, usize)> {
        let (round, case) = self.next;
        let is_done = match self.options.rounds {
            Some(rounds) => round > rounds,
            // The round in which a case failed is the last.
            None => self.failed && case == 0,
        };
        if is_done || self.running >= self.options.jobs || self.pending.len() >= Self::MAX_AHEAD {
            return None;
        }
        self.stopped = self.stopped.take().or_else(|| self.reason_to_stop());
        if self.stopped.is_some() {
            return None;
        }
        self.next = if case + 1 == self.cases.len() { (round + 1, 0) } else { (round, case + 1) };
        Some((round, case))
    }

    fn reason_to_stop(&self) -> Option<(Status, String)> {
        let failed = || (Status::Ok, "a case before it failed (--fail-fast)".to_owned());
        self.runner.reason_to_stop().or_else(|| (self.options.fail_fast && self.failed).then(failed))
    }

    fn begin<'s>(&mut self, scope: &'s Scope<'s, '_>, sender: &UpdateSender, round: u64, case: usize)
    where
        'a: 's,
    {
        let number = self.first + self.pending.len() as u64;
        let mut info = self.cases[case].clone();
        info.attempt.round = round;
        let (title, began) = (info.title.clone(), self.runner.now());
        self.pending.push_back(PendingCase { case, title, began, updates: VecDeque::new(), is_over: false });
        self.begun[case] += 1;
        self.running += 1;
        let (runner, sender) = (self.runner, sender.clone());
        let last = info.clone();
        let run_case = move || {
            // The receiver lives until it has the last update.
            let mut report = |update| drop(sender.send((number, update)));
            let run = catch_unwind(AssertUnwindSafe(|| runner.run(case, round, &mut report)));
            if run.is_err() {
                report(left_out(last, "the runner has a fault of its own".to_owned(), Status::Internal));
            }
        };
        if let Err(error) = thread::Builder::new().name("case".to_owned()).spawn_scoped(scope, run_case) {
            let reason = format!("the system gives it no thread: {error}");
            self.receive(number, left_out(info, reason, Status::Environment));
        }
    }

    /// Keeps an update of the case with this number, and reports all updates that are next in order.
    fn receive(&mut self, number: u64, update: CaseUpdate) {
        let is_last = matches!(&update, CaseUpdate::Finished(finished) if finished.is_last);
        if let CaseUpdate::Finished(finished) = &update {
            self.failed |= finished.is_last && finished.status != Status::Ok;
        }
        // A case that panics after its last update is reported already.
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let Some(pending) = at.and_then(|at| self.pending.get_mut(at)) else { return };
        pending.updates.push_back(update);
        if is_last {
            pending.is_over = true;
            self.running -= 1;
        }
        self.report_ready();
    }

    fn report_ready(&mut self) {
        while let Some(front) = self.pending.front_mut() {
            let (case, updates, is_over) = (front.case, std::mem::take(&mut front.updates), front.is_over);
            for update in updates {
                self.report_update(case, update);
            }
            if !is_over {
                return;
            }
            self.pending.pop_front();
            self.first += 1;
        }
    }

    fn report_update(&mut self, case: usize, update: CaseUpdate) {
        match update {
            CaseUpdate::Started(info) => self.reporters.case_begins(&info),
            CaseUpdate::Step(step) => self.reporters.step(&self.cases[case], &step),
            CaseUpdate::Finished(finished) => {
                let FinishedCase { result, status, record_error, is_last } = *finished;
                if let Some(record_error) = record_error {
                    self.reporters.unrecorded(record_error);
                }
                let has_run = !matches!(result.verdict, Verdict::NotRun(_));
                // An incomplete round is not counted.
                let attempt = result.case.attempt;
                if !has_run && attempt.rounds.is_none() && attempt.round > 1 {
                    self.tally.result.status = self.tally.result.status.or(status);
                } else {
                    self.tally.add(case, result.clone());
                    if is_last {
                        self.tally.finish(case, status, has_run);
                    }
                }
                self.tally.result.took = self.runner.now().since(self.began);
                self.reporters.case(&result, &self.tally.result, &self.tally.open().collect::<Vec<_>>());
            }
        }
    }

    /// Reports the cases that did not begin as often as they should have.
    fn report_left_out(&mut self) {
        let Some((status, reason)) = self.stopped.take() else { return };
        if let Status::Signal(_) = status {
            self.tally.result.status = self.tally.result.status.or(status);
        }
        for case in 0..self.cases.len() {
            if self.begun[case] < self.options.rounds.unwrap_or(1) {
                let mut info = self.cases[case].clone();
                info.attempt.round = self.begun[case] + 1;
                self.report_update(case, left_out(info, reason.clone(), status));
            }
        }
    }

    fn show_progress(&mut self) {
        if !self.reporters.shows_progress() {
            return;
        }
        let now = self.runner.now();
        let running = self.pending.iter().filter(|pending| !pending.is_over);
        let running = running.map(|pending| (pending.title.as_str(), now.since(pending.began))).collect();
        let (round, case) = self.next;
        let begun = if case == 0 { self.cases.len() } else { case };
        let round = if case == 0 { round - 1 } else { round };
        let attempt = Attempt { round, ..self.cases[0].attempt };
        self.reporters.progress(&ProgressLine { running, begun, of: self.cases.len(), attempt, now });
    }
}

/// A case that was not run.
fn left_out(info: CaseInfo, reason: String, status: Status) -> CaseUpdate {
    let result = CaseResult::not_run(info, reason);
    CaseUpdate::Finished(Box::new(FinishedCase { result, status, record_error: None, is_last: true }))
}
