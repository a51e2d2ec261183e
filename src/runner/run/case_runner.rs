//! Runs one case, on real processes or simulated, and retries it after a failure as often as the options allow.

use std::path::PathBuf;

use crate::io::clock::Clock;
use crate::proto::status::Status;
use crate::proto::time::Instant;
use crate::runner::backend::BackendEvent;
use crate::runner::backend::process::{CancelToken, ProcessBackend, Program};
use crate::runner::backend::simulated::{self, SimulatedBackend};
use crate::runner::exec::executor::{ExecSettings, run_case};
use crate::runner::exec::observer::Observer;
use crate::runner::record::{self, Recorder};
use crate::runner::report::outcome::{CaseInfo, CaseResult, Cause, StepResult, Verdict};
use crate::runner::run::plan::Planned;
use crate::runner::run::replay::replay;
use crate::runner::run::scheduler::{CaseUpdate, FinishedCase};
use crate::runner::run::seed::Seed;
use crate::runner::run::{RunOptions, SimulationOptions};

/// The shared state of all cases of a run. Threads share it.
pub(crate) struct CaseRunner<'a> {
    pub(crate) options: &'a RunOptions,
    pub(crate) clock: Clock,
    pub(crate) program: &'a Program,
    pub(crate) seed: Seed,
    pub(crate) cancel: &'a CancelToken,
    pub(crate) settings: ExecSettings,
}

/// Receives the updates of a case.
type ReportUpdate<'t> = &'t mut dyn FnMut(CaseUpdate);

/// Reports the steps of an attempt, and records its datagrams where that is wanted.
struct AttemptObserver<'a> {
    report: ReportUpdate<'a>,
    recorder: Option<Recorder<'a>>,
}

impl Observer for AttemptObserver<'_> {
    fn backend_event(&mut self, event: &BackendEvent) {
        if let Some(recorder) = &mut self.recorder {
            recorder.observe(event);
        }
    }

    fn step(&mut self, step: &StepResult) {
        (self.report)(CaseUpdate::Step(step.clone()));
    }
}

impl CaseRunner<'_> {
    /// Runs a case in a round and retries it after failures. `number` counts cases from 1. The last update is a
    /// [`FinishedCase`] with `is_last`.
    pub(crate) fn run(&self, planned: &Planned<'_>, number: usize, round: u64, report: ReportUpdate<'_>) {
        let mut info = planned.info.clone();
        info.attempt.round = round;
        let mut all = Status::Ok;
        loop {
            report(CaseUpdate::Started(info.clone()));
            let (mut result, status, record_error) = self.run_attempt(planned, number, info.clone(), report);
            let status = Self::normalize_cut_off(&mut result, status);
            let passed = matches!(result.verdict, Verdict::Passed);
            all = if passed && info.attempt.lenient { Status::Ok } else { all.or(status) };
            let failed = matches!(result.verdict, Verdict::Failed(_));
            let will_retry = failed && info.attempt.retry < self.options.retries && self.reason_to_stop().is_none();
            report(CaseUpdate::Finished(Box::new(FinishedCase {
                result,
                status: all,
                record_error,
                is_last: !will_retry,
            })));
            if !will_retry {
                return;
            }
            info.attempt.retry += 1;
        }
    }

    /// The reason why no further case may run, with its exit status.
    pub(crate) fn reason_to_stop(&self) -> Option<(Status, String)> {
        if let Some(signal) = self.cancel.signal() {
            return Some((Status::Signal(signal), format!("the run was ended by signal {signal}")));
        }
        let is_over = self.settings.deadline.is_some_and(|deadline| deadline <= self.now());
        is_over.then(|| (Status::Expected, "the time for the whole run is over (--deadline)".to_owned()))
    }

    /// The time of the run.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now().mono
    }

    /// Turns an interrupted case of a later endless round into one that did not run. Endless rounds always end with an
    /// interruption, which is no failure of the case.
    fn normalize_cut_off(result: &mut CaseResult, status: Status) -> Status {
        if result.case.attempt.rounds.is_some() || result.case.attempt.round == 1 {
            return status;
        }
        let (status, reason) = match &result.verdict {
            Verdict::NotRun(_) if status == Status::Expected => return Status::Ok,
            Verdict::Failed(failure) => match failure.cause {
                Cause::Deadline => (Status::Ok, failure.sentence.clone()),
                Cause::Halted(signal) => (Status::Signal(signal), failure.sentence.clone()),
                _ => return status,
            },
            _ => return status,
        };
        result.verdict = Verdict::NotRun(reason);
        status
    }

    fn run_attempt(
        &self,
        planned: &Planned<'_>,
        number: usize,
        info: CaseInfo,
        report: ReportUpdate<'_>,
    ) -> (CaseResult, Status, Option<String>) {
        if let Some(simulation) = self.options.simulation {
            let (result, status) = self.simulated(planned, info, simulation, report);
            return (result, status, None);
        }
        // Each round has other random numbers. A retry has the same ones.
        let seed = Seed(self.seed.0.wrapping_add(info.attempt.round - 1));
        let replay = replay(self.options, &info, planned.changes_network().then_some(seed.0));
        let record =
            self.options.record.as_ref().map(|all| all.join(record::folder_name(number, &info.title, info.attempt)));
        let (mut result, record_error) = self.with_processes(planned, info, seed, record, report);
        result.replay = replay;
        let status = match &result.verdict {
            Verdict::NotRun(_) => Status::Environment,
            _ => result.status(),
        };
        (result, status, record_error)
    }

    fn with_processes(
        &self,
        planned: &Planned<'_>,
        info: CaseInfo,
        seed: Seed,
        record: Option<PathBuf>,
        report: ReportUpdate<'_>,
    ) -> (CaseResult, Option<String>) {
        let mut backend = match ProcessBackend::new(self.clock, self.program, self.cancel, seed.of_case(&info.title)) {
            Ok(backend) => backend,
            Err(error) => {
                let reason = format!("there can be no temporary folder: {error}");
                return (CaseResult::not_run(info, reason), None);
            }
        };
        if let Some(folder) = &record {
            backend.keep_output(folder);
        }
        let mut observer = AttemptObserver { report, recorder: record.as_deref().map(Recorder::new) };
        let mut result =
            run_case(info, &planned.scenario.setup, planned.case, &mut backend, &self.settings, &mut observer);
        let end = self.now();
        // The drop kills all actors, which may write to their files until then.
        drop(backend);
        let written = observer.recorder.map_or(Ok(()), |recorder| recorder.write(&result));
        let record_error = written.err().map(|record_error| record_error.to_string());
        // The shutdown of the actors is a part of the case.
        let shutdown_time = self.now().since(end);
        result.took += shutdown_time;
        result.overhead += shutdown_time;
        self.prune_record(&result, record);
        (result, record_error)
    }

    /// Removes the record of a passed case in later endless rounds, which would fill the disk.
    fn prune_record(&self, result: &CaseResult, record: Option<PathBuf>) {
        let attempt = result.case.attempt;
        if let Some(folder) = record
            && attempt.rounds.is_none()
            && attempt.round > 1
            && matches!(result.verdict, Verdict::Passed)
        {
            // Files that cannot be removed do no harm.
            drop(std::fs::remove_dir_all(folder));
        }
    }

    /// Runs a case in virtual time with one seed after another, until a seed fails. Each round uses new seeds.
    fn simulated(
        &self,
        planned: &Planned<'_>,
        info: CaseInfo,
        simulation: SimulationOptions,
        report: ReportUpdate<'_>,
    ) -> (CaseResult, Status) {
        let Planned { scenario, case, .. } = planned;
        if let Some(reason) = simulated::unsimulable(&scenario.setup, &case.statements) {
            let skipped = CaseResult { verdict: Verdict::Skipped(reason), ..CaseResult::not_run(info, String::new()) };
            return (skipped, Status::Ok);
        }
        let seeds = simulation.seeds;
        let mut seed = simulation.first.saturating_add((info.attempt.round - 1).saturating_mul(seeds));
        let last = seed.saturating_add(seeds.saturating_sub(1));
        // The deadline is in real time. Between two seeds, `reason_to_stop` checks it.
        let settings = ExecSettings { deadline: None, trace: false, ..self.settings.clone() };
        loop {
            if let Some((status, reason)) = self.reason_to_stop() {
                return (CaseResult::not_run(info, reason), status);
            }
            let mut backend = SimulatedBackend::new(seed, simulation.net.1);
            let mut result = run_case(info.clone(), &scenario.setup, case, &mut backend, &settings, &mut ());
            let status = result.status();
            if status != Status::Ok || seed >= last {
                result.replay = replay(self.options, &info, Some(seed));
                result.steps.iter().for_each(|step| report(CaseUpdate::Step(step.clone())));
                return (result, status);
            }
            seed += 1;
        }
    }
}
