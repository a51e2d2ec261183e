//! Plays one case, on real processes or simulated, and again where it failed and may be.

use std::path::PathBuf;

use crate::io::clock::Clock;
use crate::proto::status::Status;
use crate::proto::time::Instant;
use crate::runner::backend::BackendEvent;
use crate::runner::backend::process::{CancelToken, ProcessBackend, Program};
use crate::runner::backend::simulated::{self, SimulatedBackend};
use crate::runner::exec::executor::{ExecSettings, play};
use crate::runner::exec::observer::Observer;
use crate::runner::record::{self, Recorder};
use crate::runner::report::outcome::{CaseInfo, CaseResult, Cause, StepResult, Verdict};
use crate::runner::run::plan::Planned;
use crate::runner::run::replay::replay;
use crate::runner::run::scheduler::{CaseUpdate, FinishedCase};
use crate::runner::run::seed::Seed;
use crate::runner::run::{RunOptions, SimulationOptions};

/// What every case of a run is played with. Threads share it.
pub(crate) struct CaseRunner<'a> {
    pub(crate) options: &'a RunOptions,
    pub(crate) clock: Clock,
    pub(crate) program: &'a Program,
    pub(crate) seed: Seed,
    pub(crate) halt: &'a CancelToken,
    pub(crate) settings: ExecSettings,
}

/// Told of each step.
type Tell<'t> = &'t mut dyn FnMut(CaseUpdate);

/// Reports the steps of an attempt, and records its datagrams where that is wanted.
struct AttemptObserver<'a> {
    tell: Tell<'a>,
    recorder: Option<Recorder<'a>>,
}

impl Observer for AttemptObserver<'_> {
    fn backend_event(&mut self, event: &BackendEvent) {
        if let Some(recorder) = &mut self.recorder {
            recorder.observe(event);
        }
    }

    fn step(&mut self, step: &StepResult) {
        (self.tell)(CaseUpdate::Step(step.clone()));
    }
}

impl CaseRunner<'_> {
    /// Plays a case, the one of this number from 1, in this round, and again as often as a failure allows. The last that
    /// is told is that it is over.
    pub(crate) fn play(&self, planned: &Planned<'_>, number: usize, round: u64, tell: Tell<'_>) {
        let mut info = planned.info.clone();
        info.turn.round = round;
        let mut all = Status::Ok;
        loop {
            tell(CaseUpdate::Begins(info.clone()));
            let (mut played, status, unkept) = self.once(planned, number, info.clone(), tell);
            let status = Self::cut_off(&mut played, status);
            let passed = matches!(played.verdict, Verdict::Passed);
            all = if passed && info.turn.lenient { Status::Ok } else { all.or(status) };
            let failed = matches!(played.verdict, Verdict::Failed(_));
            let again = failed && info.turn.retry < self.options.retries && self.reason_to_stop().is_none();
            tell(CaseUpdate::Over(Box::new(FinishedCase { played, status: all, unkept, is_last: !again })));
            if !again {
                return;
            }
            info.turn.retry += 1;
        }
    }

    /// Why nothing more is played, if that is so, and the exit status for that.
    pub(crate) fn reason_to_stop(&self) -> Option<(Status, String)> {
        if let Some(signal) = self.halt.signal() {
            return Some((Status::Signal(signal), format!("the run was ended by signal {signal}")));
        }
        let is_over = self.settings.deadline.is_some_and(|deadline| deadline <= self.now());
        is_over.then(|| (Status::Expected, "the time for the whole run is over (--deadline)".to_owned()))
    }

    /// The time of the run.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now().mono
    }

    /// Rounds without a number end by being cut off: what that cuts off after the first one has not failed.
    fn cut_off(played: &mut CaseResult, status: Status) -> Status {
        if played.case.turn.rounds.is_some() || played.case.turn.round == 1 {
            return status;
        }
        let (status, reason) = match &played.verdict {
            Verdict::NotRun(_) if status == Status::Expected => return Status::Ok,
            Verdict::Failed(failure) => match failure.cause {
                Cause::Deadline => (Status::Ok, failure.sentence.clone()),
                Cause::Halted(signal) => (Status::Signal(signal), failure.sentence.clone()),
                _ => return status,
            },
            _ => return status,
        };
        played.verdict = Verdict::NotRun(reason);
        status
    }

    fn once(
        &self,
        planned: &Planned<'_>,
        number: usize,
        info: CaseInfo,
        tell: Tell<'_>,
    ) -> (CaseResult, Status, Option<String>) {
        if let Some(simulation) = self.options.simulation {
            let (played, status) = self.simulated(planned, info, simulation, tell);
            return (played, status, None);
        }
        // Each round has other random numbers; a retry is the same play again.
        let seed = Seed(self.seed.0.wrapping_add(info.turn.round - 1));
        let replay = replay(self.options, &info, planned.disturbs().then_some(seed.0));
        let record =
            self.options.record.as_ref().map(|all| all.join(record::folder_name(number, &info.title, info.turn)));
        let (mut played, unkept) = self.with_processes(planned, info, seed, record, tell);
        played.replay = replay;
        let status = match &played.verdict {
            Verdict::NotRun(_) => Status::Environment,
            _ => played.status(),
        };
        (played, status, unkept)
    }

    fn with_processes(
        &self,
        planned: &Planned<'_>,
        info: CaseInfo,
        seed: Seed,
        record: Option<PathBuf>,
        tell: Tell<'_>,
    ) -> (CaseResult, Option<String>) {
        let mut stage = match ProcessBackend::new(self.clock, self.program, self.halt, seed.of_case(&info.title)) {
            Ok(stage) => stage,
            Err(error) => {
                let reason = format!("there can be no temporary folder: {error}");
                return (CaseResult::not_run(info, reason), None);
            }
        };
        if let Some(folder) = &record {
            stage.keep_output(folder);
        }
        let mut observer = AttemptObserver { tell, recorder: record.as_deref().map(Recorder::new) };
        let mut played = play(info, &planned.scenario.setup, planned.case, &mut stage, &self.settings, &mut observer);
        let end = self.now();
        // The end of the backend ends every actor, which may still write to its files.
        drop(stage);
        let written = observer.recorder.map_or(Ok(()), |recorder| recorder.write(&played));
        let unkept = written.err().map(|unkept| unkept.to_string());
        // To end everybody is a part of the case.
        let ending = self.now().since(end);
        played.took += ending;
        played.overhead += ending;
        self.forget(&played, record);
        (played, unkept)
    }

    /// Rounds without a number would fill the disk: they keep the record of the first one, and of what fails.
    fn forget(&self, played: &CaseResult, record: Option<PathBuf>) {
        let turn = played.case.turn;
        if let Some(folder) = record
            && turn.rounds.is_none()
            && turn.round > 1
            && matches!(played.verdict, Verdict::Passed)
        {
            // What stays there is in nobody's way.
            drop(std::fs::remove_dir_all(folder));
        }
    }

    /// Plays a case in virtual time, with one seed after another until one fails. Each round goes on with other seeds.
    fn simulated(
        &self,
        planned: &Planned<'_>,
        info: CaseInfo,
        simulation: SimulationOptions,
        tell: Tell<'_>,
    ) -> (CaseResult, Status) {
        let Planned { scenario, case, .. } = planned;
        if let Some(reason) = simulated::unsimulable(&scenario.setup, &case.statements) {
            let skipped = CaseResult { verdict: Verdict::Skipped(reason), ..CaseResult::not_run(info, String::new()) };
            return (skipped, Status::Ok);
        }
        let seeds = simulation.seeds;
        let mut seed = simulation.first.saturating_add((info.turn.round - 1).saturating_mul(seeds));
        let last = seed.saturating_add(seeds.saturating_sub(1));
        // Deadlines are of real time, and pass in none here.
        let settings = ExecSettings { deadline: None, trace: false, ..self.settings.clone() };
        loop {
            if let Some((status, reason)) = self.reason_to_stop() {
                return (CaseResult::not_run(info, reason), status);
            }
            let mut stage = SimulatedBackend::new(seed, simulation.net.1);
            let mut played = play(info.clone(), &scenario.setup, case, &mut stage, &settings, &mut ());
            let status = played.status();
            if status != Status::Ok || seed >= last {
                played.replay = replay(self.options, &info, Some(seed));
                played.steps.iter().for_each(|step| tell(CaseUpdate::Step(step.clone())));
                return (played, status);
            }
            seed += 1;
        }
    }
}
