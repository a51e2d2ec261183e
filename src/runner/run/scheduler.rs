//! Plays several cases at a time, each on a thread of its own, and tells of them as if they were played one after
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

/// What the thread of a case tells. The last is an [`FinishedCase`] that says so.
pub(crate) enum CaseUpdate {
    Begins(CaseInfo),
    Step(StepResult),
    Over(Box<FinishedCase>),
}

/// A play is over.
pub(crate) struct FinishedCase {
    pub(crate) played: CaseResult,
    /// What the case comes to, with its plays before this one.
    pub(crate) status: Status,
    /// Why its record is not whole.
    pub(crate) unkept: Option<String>,
    /// It is not played again in this round.
    pub(crate) is_last: bool,
}

/// How cases are played one by one.
pub(crate) trait RunCase: Sync {
    /// Plays the case at this place in this round.
    fn play(&self, case: usize, round: u64, tell: &mut dyn FnMut(CaseUpdate));

    /// Why no further case begins, if that is so, and the exit status for that.
    fn reason_to_stop(&self) -> Option<(Status, String)>;

    /// The time of the run.
    fn now(&self) -> Instant;
}

/// What is to be played.
pub(crate) struct SchedulerOptions {
    /// How many at a time.
    pub(crate) jobs: usize,
    /// How many rounds; as many as pass where there is no number.
    pub(crate) rounds: Option<u64>,
    /// No case begins after one that failed.
    pub(crate) fail_fast: bool,
}

/// A run while it goes on: which cases are being played, and what they told that is not reported yet.
pub(crate) struct Jobs<'a, 'b, P> {
    plays: &'a P,
    cases: Vec<CaseInfo>,
    order: SchedulerOptions,
    audience: &'a mut Reporters<'b>,
    tally: RunTally,
    began: Instant,
    /// The next to begin.
    next: (u64, usize),
    /// How often each case began.
    begun: Vec<u64>,
    /// Those that have begun and are not reported in full, in order.
    waiting: VecDeque<PendingCase>,
    /// The number of the first of them.
    first: u64,
    running: usize,
    failed: bool,
    /// Why no further case begins.
    stopped: Option<(Status, String)>,
}

struct PendingCase {
    case: usize,
    title: String,
    began: Instant,
    told: VecDeque<CaseUpdate>,
    /// Its thread has told everything.
    is_over: bool,
}

type UpdateSender = SyncSender<(u64, CaseUpdate)>;

impl<'a, 'b, P: RunCase> Jobs<'a, 'b, P> {
    /// The most cases that may have begun before the first of them is reported: what they told is kept until then.
    pub(crate) const MAX_AHEAD: usize = 256;
    /// How many things may be told before those who tell them have to wait.
    const MAX_TOLD: usize = 1024;
    /// How often the line of what is being played is drawn anew.
    const TICK: Duration = Duration::from_secs(1);

    /// Plays all of it, and gives back what came of it. The audience has heard everything but that it is the end.
    ///
    /// # Errors
    /// When a report cannot be written before anything is played: better to hear that now than after the last case.
    pub(crate) fn run(
        plays: &'a P,
        cases: Vec<CaseInfo>,
        order: SchedulerOptions,
        audience: &'a mut Reporters<'b>,
    ) -> Result<RunTally, Unwritable> {
        // Without a number a case is owed one play; how many come of it is not known.
        let tally = RunTally::new(cases.iter().cloned(), order.rounds.unwrap_or(1), order.rounds != Some(1));
        audience.begin(&tally.result, &tally.open().collect::<Vec<_>>())?;
        let mut jobs = Self {
            plays,
            order,
            audience,
            tally,
            began: plays.now(),
            next: (1, 0),
            begun: vec![0; cases.len()],
            waiting: VecDeque::new(),
            first: 0,
            running: 0,
            failed: false,
            stopped: None,
            cases,
        };
        let (tell, told) = mpsc::sync_channel(Self::MAX_TOLD);
        thread::scope(|scope| jobs.play_all(scope, &tell, &told));
        jobs.leave_out();
        Ok(jobs.tally)
    }

    fn play_all<'s>(&mut self, scope: &'s Scope<'s, '_>, tell: &UpdateSender, told: &Receiver<(u64, CaseUpdate)>)
    where
        'a: 's,
    {
        loop {
            while let Some((round, case)) = self.take_next() {
                self.begin(scope, tell, round, case);
            }
            if self.running == 0 {
                return;
            }
            self.show_live();
            let limit = if self.audience.is_live() { Self::TICK } else { Duration::MAX };
            match told.recv_timeout(limit) {
                Ok((number, told)) => self.hear(number, told),
                // Never disconnected: there is a sender here.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    /// The round and the case that begin now, if one may.
    fn take_next(&mut self) -> Option<(u64, usize)> {
        let (round, case) = self.next;
        let is_done = match self.order.rounds {
            Some(rounds) => round > rounds,
            // The round in which a case failed is the last.
            None => self.failed && case == 0,
        };
        if is_done || self.running >= self.order.jobs || self.waiting.len() >= Self::MAX_AHEAD {
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
        self.plays.reason_to_stop().or_else(|| (self.order.fail_fast && self.failed).then(failed))
    }

    fn begin<'s>(&mut self, scope: &'s Scope<'s, '_>, tell: &UpdateSender, round: u64, case: usize)
    where
        'a: 's,
    {
        let number = self.first + self.waiting.len() as u64;
        let mut info = self.cases[case].clone();
        info.turn.round = round;
        let (title, began) = (info.title.clone(), self.plays.now());
        self.waiting.push_back(PendingCase { case, title, began, told: VecDeque::new(), is_over: false });
        self.begun[case] += 1;
        self.running += 1;
        let (plays, tell) = (self.plays, tell.clone());
        let last = info.clone();
        let playing = move || {
            // It listens until it has heard the last.
            let mut told = |told| drop(tell.send((number, told)));
            let play = catch_unwind(AssertUnwindSafe(|| plays.play(case, round, &mut told)));
            if play.is_err() {
                told(left_out(last, "the runner has a fault of its own".to_owned(), Status::Internal));
            }
        };
        if let Err(error) = thread::Builder::new().name("case".to_owned()).spawn_scoped(scope, playing) {
            let reason = format!("the system gives it no thread: {error}");
            self.hear(number, left_out(info, reason, Status::Environment));
        }
    }

    /// Keeps what the play of this number told, and reports what is next in order.
    fn hear(&mut self, number: u64, told: CaseUpdate) {
        let is_last = matches!(&told, CaseUpdate::Over(over) if over.is_last);
        if let CaseUpdate::Over(over) = &told {
            self.failed |= over.is_last && over.status != Status::Ok;
        }
        // One that panics behind its last word was reported already.
        let at = number.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let Some(waiting) = at.and_then(|at| self.waiting.get_mut(at)) else { return };
        waiting.told.push_back(told);
        if is_last {
            waiting.is_over = true;
            self.running -= 1;
        }
        self.report();
    }

    fn report(&mut self) {
        while let Some(front) = self.waiting.front_mut() {
            let (case, told, is_over) = (front.case, std::mem::take(&mut front.told), front.is_over);
            for told in told {
                self.tell(case, told);
            }
            if !is_over {
                return;
            }
            self.waiting.pop_front();
            self.first += 1;
        }
    }

    fn tell(&mut self, case: usize, told: CaseUpdate) {
        match told {
            CaseUpdate::Begins(info) => self.audience.case_begins(&info),
            CaseUpdate::Step(step) => self.audience.step(&self.cases[case], &step),
            CaseUpdate::Over(over) => {
                let FinishedCase { played, status, unkept, is_last } = *over;
                if let Some(unkept) = unkept {
                    self.audience.unrecorded(unkept);
                }
                let was_played = !matches!(played.verdict, Verdict::NotRun(_));
                // A round that was cut off counts for nothing.
                let turn = played.case.turn;
                if !was_played && turn.rounds.is_none() && turn.round > 1 {
                    self.tally.result.status = self.tally.result.status.or(status);
                } else {
                    self.tally.play(case, played.clone());
                    if is_last {
                        self.tally.over(case, status, was_played);
                    }
                }
                self.tally.result.took = self.plays.now().since(self.began);
                self.audience.case(&played, &self.tally.result, &self.tally.open().collect::<Vec<_>>());
            }
        }
    }

    /// Tells of the cases that did not begin as often as they had to.
    fn leave_out(&mut self) {
        let Some((status, reason)) = self.stopped.take() else { return };
        if let Status::Signal(_) = status {
            self.tally.result.status = self.tally.result.status.or(status);
        }
        for case in 0..self.cases.len() {
            if self.begun[case] < self.order.rounds.unwrap_or(1) {
                let mut info = self.cases[case].clone();
                info.turn.round = self.begun[case] + 1;
                self.tell(case, left_out(info, reason.clone(), status));
            }
        }
    }

    fn show_live(&mut self) {
        if !self.audience.is_live() {
            return;
        }
        let now = self.plays.now();
        let running = self.waiting.iter().filter(|waiting| !waiting.is_over);
        let running = running.map(|waiting| (waiting.title.as_str(), now.since(waiting.began))).collect();
        let (round, case) = self.next;
        let begun = if case == 0 { self.cases.len() } else { case };
        let round = if case == 0 { round - 1 } else { round };
        let turn = Attempt { round, ..self.cases[0].turn };
        self.audience.live(&ProgressLine { running, begun, of: self.cases.len(), turn, now });
    }
}

/// A case that was not played.
fn left_out(info: CaseInfo, reason: String, status: Status) -> CaseUpdate {
    let played = CaseResult::not_run(info, reason);
    CaseUpdate::Over(Box::new(FinishedCase { played, status, unkept: None, is_last: true }))
}
