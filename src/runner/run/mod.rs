//! `chat run FILE...`: reads scenario files, runs their cases in parallel on real or simulated actors, and reports the
//! results.

pub(crate) mod bless;
mod case_runner;
mod input_files;
mod listing;
mod options;
mod overwritten;
mod plan;
mod replay;
mod results;
mod scheduler;
pub mod seed;

use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::io::clock::Clock;
use crate::io::signals::SignalListener;
use crate::proto::status::Status;
use crate::proto::time::Instant;
use crate::runner::backend::process::{CancelToken, Program, Subreaper};
use crate::runner::exec::executor::ExecSettings;
use crate::runner::report::reporters::Reporters;
use crate::runner::report::summary::ReportFiles;
use crate::runner::report::{JsonReport, Report, TextReport};
use crate::runner::run::case_runner::CaseRunner;
use crate::runner::run::input_files::read_all;
use crate::runner::run::listing::Listing;
pub use crate::runner::run::options::{Rounds, RunMode, RunOptions, SimulationOptions};
use crate::runner::run::overwritten::overwritten;
use crate::runner::run::plan::{Planned, plan};
use crate::runner::run::scheduler::{CaseUpdate, Jobs, RunCase, SchedulerOptions};
use crate::runner::run::seed::Seed;

/// Time limit for the runner to notice `--deadline`. After it, all processes are killed in any case.
const DEADLINE_GRACE: Duration = Duration::from_secs(1);

/// An error that ends a run: its status and a sentence.
type RunError = (Status, String);

/// Runs scenario files. Reports go to `out`, mistakes and errors to `err`. A closed `out` changes nothing. All
/// processes have ended when this returns.
pub fn run(options: &RunOptions, out: &mut dyn Write, err: &mut dyn Write) -> Status {
    match prepare_and_run(options, out, err) {
        Ok(status) => status,
        Err((status, sentence)) => {
            // A closed `err` is no failure.
            drop(writeln!(err, "{sentence}"));
            status
        }
    }
}

fn prepare_and_run(options: &RunOptions, out: &mut dyn Write, err: &mut dyn Write) -> Result<Status, RunError> {
    if let Some(refusal) = options.bless.then(bless::refusal).flatten() {
        return Err((Status::Usage, refusal));
    }
    let scenarios = match read_all(options, err) {
        Ok(scenarios) => scenarios,
        Err(status) => return Ok(status),
    };
    let planned = plan(options, &scenarios);
    if planned.is_empty() {
        let word = options.case.as_deref().unwrap_or_default();
        return Err((Status::Usage, format!("No case has a title with {word:?} in it.")));
    }
    if let Some(instead) = options.instead {
        return Listing { planned: &planned, files: options.files.len(), json: options.json }.write(instead, out);
    }
    if let Some(sentence) = overwritten(options, &scenarios) {
        return Err((Status::Usage, sentence));
    }
    let program = program(options)?;
    let seed = options.seed.map_or_else(Seed::random, Ok).map_err(environment("The system gives no random numbers"))?;
    let cancel = CancelToken::default();
    let signal_token = cancel.clone();
    let signal_listener = SignalListener::listen(move |signal| signal_token.cancel(signal))
        .map_err(environment("Signals cannot be listened to"))?;
    let clock = Clock::start();
    let deadline = options.deadline.map(|limit| clock.now().mono + limit);
    let mut reporters = reporters(options, deadline, out);
    let guard = options.deadline.map(|limit| guard(limit + DEADLINE_GRACE, &cancel));
    let subreaper = options.implementation.is_some().then(Subreaper::register);
    let settings = ExecSettings {
        style: options.style,
        time_scale: options.time_scale,
        text: options.text,
        trace: options.record.is_some(),
        deadline,
    };
    let runner = CaseRunner { options, clock, program: &program, seed, cancel: &cancel, settings };
    let cases_to_run = PlannedCases { runner, planned };
    let schedule =
        SchedulerOptions { jobs: options.jobs, rounds: options.rounds.number(), fail_fast: options.fail_fast };
    let cases = cases_to_run.planned.iter().map(|planned| planned.info.clone()).collect();
    let result = Jobs::run(&cases_to_run, cases, schedule, &mut reporters)
        .map_err(|why| (Status::Environment, why.to_string()))?
        .result;
    reporters.run(&result);
    drop((signal_listener, guard, subreaper));
    if options.bless {
        bless::bless(&result, err);
    }
    match reporters.finish() {
        Ok(()) => Ok(result.status),
        Err(sentence) => Err((result.status.or(Status::Environment), sentence)),
    }
}

/// The planned cases with their runner.
struct PlannedCases<'a> {
    runner: CaseRunner<'a>,
    planned: Vec<Planned<'a>>,
}

impl RunCase for PlannedCases<'_> {
    fn run(&self, case: usize, round: u64, report: &mut dyn FnMut(CaseUpdate)) {
        self.runner.run(&self.planned[case], case + 1, round, report);
    }

    fn reason_to_stop(&self) -> Option<(Status, String)> {
        self.runner.reason_to_stop()
    }

    fn now(&self) -> Instant {
        self.runner.now()
    }
}

fn reporters<'a>(options: &RunOptions, deadline: Option<Instant>, out: &'a mut dyn Write) -> Reporters<'a> {
    let files = ReportFiles::new(options.reports.clone(), options.view);
    let report: Box<dyn Report> = if options.json {
        Box::new(JsonReport::default())
    } else {
        Box::new(TextReport { verbose: options.verbose, colour: options.colour })
    };
    let mut reporters = Reporters::new(out, report, files, options.view);
    if options.live && !options.json {
        reporters.show_progress(deadline);
    }
    reporters
}

/// The program to run. A path with a slash is relative to the current folder, not to the folders of the actors.
fn program(options: &RunOptions) -> Result<Program, RunError> {
    let absolute =
        |path: &Path| if path.components().count() > 1 { std::path::absolute(path) } else { Ok(path.to_owned()) };
    let program = match (&options.implementation, &options.program) {
        (Some(implementation), _) => return Ok(Program::External(Box::new(implementation.clone()))),
        (None, Some(program)) => absolute(program),
        (None, None) => std::env::current_exe(),
    };
    program.map(Program::Own).map_err(environment("The program to play cannot be found"))
}

fn environment(what: &str) -> impl FnOnce(io::Error) -> RunError + '_ {
    move |error| (Status::Environment, format!("{what}: {error}."))
}

/// Kills all processes after this time, even when the reader of a report blocks the runner. Dropping the result disarms
/// it.
fn guard(limit: Duration, cancel: &CancelToken) -> Sender<()> {
    let (guarded, over) = mpsc::channel();
    let cancel = cancel.clone();
    let waiting = move || {
        if over.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            cancel.kill_all();
        }
    };
    // If there is no thread, the deadline checks of the runner must suffice.
    drop(thread::Builder::new().name("deadline".to_owned()).spawn(waiting));
    guarded
}
