//! `chat run FILE...`: reads the files, plays their cases one after another on real processes, and reports.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use super::ast::{Case, Scenario, Step};
use super::audience::Audience;
use super::bless;
use super::diagnose;
use super::mistake::{Mistake, Refusal};
use super::outcome::{CaseInfo, CaseResult, RunResult, Verdict};
use super::parse;
use super::play::{Settings, play};
use super::process::{Halt, Implementation, ProcessStage, Program};
use super::record::{self, Recorder};
use super::report::{JsonReport, Report, TextReport};
use super::seed::Seed;
use super::sheet::{ReportFile, ReportFiles, View};
use super::simulate::{self, SimStage};
use crate::core::pattern::Style;
use crate::core::status::Status;
use crate::core::time::Instant;
use crate::io::clock::Clock;
use crate::io::stop::Stop;
use crate::sim::network::Net;

/// What is to be run, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOptions {
    /// The scenario files, at least one.
    pub files: Vec<PathBuf>,
    /// Report as one JSON object a line.
    pub json: bool,
    /// How exactly text must match.
    pub style: Style,
    /// Play every actor as people see it.
    pub text: bool,
    /// Stretches limits, windows and readiness; 1 leaves them alone.
    pub time_scale: f64,
    /// How long the whole run may take.
    pub deadline: Option<Duration>,
    /// Only cases whose title holds this.
    pub case: Option<String>,
    /// The first case that fails ends the run.
    pub fail_fast: bool,
    /// Report each step as it happens.
    pub verbose: bool,
    /// Reports and mistakes in colour.
    pub colour: bool,
    /// The program to play; this very one when absent.
    pub program: Option<PathBuf>,
    /// Another program, that is not ours, to play instead.
    pub implementation: Option<Implementation>,
    /// Where the random numbers behind faults of the network come from; a new seed when absent.
    pub seed: Option<Seed>,
    /// Reports that are wanted as files.
    pub reports: Vec<ReportFile>,
    /// Who reads all reports.
    pub view: View,
    /// On a simulated network instead of real processes.
    pub simulation: Option<Simulation>,
    /// Rewrite expectations that failed by their text alone.
    pub bless: bool,
    /// Where a record of each case is kept.
    pub record: Option<PathBuf>,
}

/// How a scenario is played in virtual time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Simulation {
    /// The first seed.
    pub first: u64,
    /// How many seeds each case is played with; the first that fails ends it.
    pub seeds: u64,
    /// The name of the network, and the network.
    pub net: (&'static str, Net),
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            json: false,
            style: Style::Exact,
            text: false,
            time_scale: 1.0,
            deadline: None,
            case: None,
            fail_fast: false,
            verbose: false,
            colour: false,
            program: None,
            implementation: None,
            seed: None,
            reports: Vec::new(),
            view: View::Teacher,
            simulation: None,
            bless: false,
            record: None,
        }
    }
}

/// How long after `--deadline` the runner may take to notice; then every process is ended all the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// A case to be played.
struct Planned<'a> {
    info: CaseInfo,
    scenario: &'a Scenario,
    case: &'a Case,
}

impl Planned<'_> {
    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.scenario.setup.iter().chain(&self.case.statements).map(|statement| &statement.step)
    }
}

/// Runs scenario files. Reports go to `out`, mistakes and what keeps the run from beginning to `err`. A reader of `out`
/// that goes away changes nothing. Every process is gone when this returns.
pub fn run(options: &RunOptions, out: &mut dyn Write, err: &mut dyn Write) -> Status {
    match prepare_and_run(options, out, err) {
        Ok(status) => status,
        Err((status, sentence)) => {
            // Nobody there to read it is no failure.
            drop(writeln!(err, "{sentence}"));
            status
        }
    }
}

fn prepare_and_run(options: &RunOptions, out: &mut dyn Write, err: &mut dyn Write) -> Result<Status, (Status, String)> {
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
    let program = match (&options.implementation, &options.program) {
        (Some(implementation), _) => Ok(Program::Foreign(implementation.clone())),
        (None, Some(program)) => absolute(program).map(Program::Own),
        (None, None) => std::env::current_exe().map(Program::Own),
    };
    let environment = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| (Status::Environment, format!("{what}: {error}."))
    };
    let program = program.map_err(environment("The program to play cannot be found"))?;
    let seed = options.seed.map_or_else(Seed::random, Ok).map_err(environment("The system gives no random numbers"))?;
    let halt = Halt::default();
    let asked = halt.clone();
    let stop = Stop::listen(move |signal| asked.ask(signal)).map_err(environment("Signals cannot be listened to"))?;
    let mut result = RunResult { cases: Vec::with_capacity(planned.len()), took: Duration::ZERO, status: Status::Ok };
    let infos = planned.iter().map(|planned| planned.info.clone());
    let files = ReportFiles::new(options.reports.clone(), options.view, infos);
    // Better to hear now that it cannot be written than after the last case.
    files.update(&result).map_err(|unwritable| (Status::Environment, unwritable.to_string()))?;
    let report: Box<dyn Report> = if options.json {
        Box::new(JsonReport::default())
    } else {
        Box::new(TextReport { verbose: options.verbose, colour: options.colour })
    };
    let mut audience = Audience::new(out, report, files, options.view);
    let guard = options.deadline.map(|limit| guard(limit + PATIENCE, &halt));
    play_all(options, planned, (&program, seed), &halt, &mut audience, &mut result);
    audience.run(&result);
    drop((stop, guard));
    if options.bless {
        bless::bless(&result, err);
    }
    match audience.leave() {
        Ok(()) => Ok(result.status),
        Err(sentence) => Err((result.status.or(Status::Environment), sentence)),
    }
}

fn play_all(
    options: &RunOptions,
    planned: Vec<Planned<'_>>,
    (program, seed): (&Program, Seed),
    halt: &Halt,
    audience: &mut Audience<'_>,
    result: &mut RunResult,
) {
    let clock = Clock::start();
    let begin = clock.now().mono;
    let deadline = options.deadline.map(|limit| begin + limit);
    let settings = Settings { style: options.style, time_scale: options.time_scale, text: options.text, deadline };
    for planned in planned {
        let seed_of_faults = planned.steps().any(Step::disturbs).then_some(seed.0);
        let Planned { info, scenario, case } = planned;
        let (played, status) = match reason_to_stop(options, result, halt, clock.now().mono, deadline) {
            Some((status, reason)) => (CaseResult::not_run(info, reason), status),
            None => {
                audience.case_begins(&info);
                let replay =
                    replay(options, &info, options.simulation.map(|simulation| simulation.first).or(seed_of_faults));
                let (mut played, status) = match options.simulation {
                    Some(_) => simulate(options, &info, scenario, case, &settings, audience),
                    None => {
                        let number = result.cases.len() + 1;
                        let name = record::folder_name(number, &info.title);
                        let record = options.record.as_ref().map(|all| all.join(name));
                        let world = World { clock, program, halt, seed: seed.of_case(&info.title), record };
                        play_one(info, scenario, case, &world, &settings, audience)
                    }
                };
                if played.replay.is_empty() {
                    played.replay = replay;
                }
                (played, status)
            }
        };
        result.status = result.status.or(status);
        result.cases.push(played);
        result.took = clock.now().mono.since(begin);
        audience.case(result);
    }
}

fn play_one(
    info: CaseInfo,
    scenario: &Scenario,
    case: &Case,
    world: &World<'_>,
    settings: &Settings,
    audience: &mut Audience<'_>,
) -> (CaseResult, Status) {
    let mut stage = match ProcessStage::new(world.clock, world.program, world.halt, world.seed) {
        Ok(stage) => stage,
        Err(error) => {
            let reason = format!("there can be no temporary folder: {error}");
            return (CaseResult::not_run(info, reason), Status::Environment);
        }
    };
    let about = info.clone();
    let mut told = |step: &_| audience.step(&about, step);
    if let Some(folder) = &world.record {
        stage.keep_output(folder);
    }
    let mut stage = Recorder::new(stage, world.record.as_deref());
    let mut played = play(info, &scenario.setup, case, &mut stage, settings, &mut told);
    let end = world.clock.now().mono;
    if let Err(unkept) = stage.keep(&played) {
        audience.unrecorded(unkept.to_string());
    }
    // To end everybody is a part of the case.
    let ending = world.clock.now().mono.since(end);
    played.took += ending;
    played.overhead += ending;
    let status = played.status();
    (played, status)
}

/// Plays a case in virtual time, with one seed after another until one fails.
fn simulate(
    options: &RunOptions,
    info: &CaseInfo,
    scenario: &Scenario,
    case: &Case,
    settings: &Settings,
    audience: &mut Audience<'_>,
) -> (CaseResult, Status) {
    let simulation = options.simulation.unwrap_or(Simulation { first: 1, seeds: 1, net: ("perfect", Net::PERFECT) });
    if let Some(reason) = simulate::unsimulable(&scenario.setup, &case.statements) {
        let skipped =
            CaseResult { verdict: Verdict::Skipped(reason), ..CaseResult::not_run(info.clone(), String::new()) };
        return (skipped, Status::Ok);
    }
    let mut seed = simulation.first;
    let last = simulation.first.saturating_add(simulation.seeds.max(1) - 1);
    // Deadlines are of real time, and pass in none here.
    let settings = Settings { deadline: None, ..settings.clone() };
    loop {
        let mut stage = SimStage::new(seed, simulation.net.1);
        let mut played = play(info.clone(), &scenario.setup, case, &mut stage, &settings, &mut |_| {});
        let status = played.status();
        if status != Status::Ok || seed >= last {
            played.replay = replay(options, info, Some(seed));
            played.steps.iter().for_each(|step| audience.step(info, step));
            return (played, status);
        }
        seed += 1;
    }
}

/// The command that plays just this case again, with this seed if there is one.
fn replay(options: &RunOptions, info: &CaseInfo, seed: Option<u64>) -> String {
    let mut words = vec!["chat".to_owned(), "run".to_owned()];
    if let Some(simulation) = options.simulation {
        words.extend(["--simulate", "--net", simulation.net.0].map(str::to_owned));
    }
    if let Some(seed) = seed {
        words.extend(["--seed".to_owned(), seed.to_string()]);
    }
    if let Some(implementation) = &options.implementation {
        words.extend(implementation.spelled());
    }
    if options.text {
        words.push("--text".to_owned());
    }
    words.extend(["--case".to_owned(), info.title.clone(), info.file.display().to_string()]);
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

/// Where a case is played.
struct World<'a> {
    clock: Clock,
    program: &'a Program,
    halt: &'a Halt,
    seed: Seed,
    record: Option<PathBuf>,
}

/// Ends every process after this time, even when the runner is blocked by whoever reads its report; not when what it
/// gives back is dropped before.
fn guard(limit: Duration, halt: &Halt) -> Sender<()> {
    let (guarded, over) = mpsc::channel();
    let halt = halt.clone();
    let waiting = move || {
        if over.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            halt.end_all();
        }
    };
    // Without the thread the runner's own look at the clock has to do.
    drop(thread::Builder::new().name("deadline".to_owned()).spawn(waiting));
    guarded
}

/// Why no further case is played, if that is so, and the exit status for that.
fn reason_to_stop(
    options: &RunOptions,
    result: &RunResult,
    halt: &Halt,
    now: Instant,
    deadline: Option<Instant>,
) -> Option<(Status, String)> {
    if let Some(signal) = halt.signal() {
        return Some((Status::Signal(signal), format!("the run was ended by signal {signal}")));
    }
    if deadline.is_some_and(|deadline| deadline <= now) {
        return Some((Status::Expected, "the time for the whole run is over (--deadline)".to_owned()));
    }
    let failed = result.status != Status::Ok;
    (options.fail_fast && failed).then(|| (result.status, "a case before it failed (--fail-fast)".to_owned()))
}

/// Reads every file, and shows every mistake before giving up.
fn read_all(options: &RunOptions, err: &mut dyn Write) -> Result<Vec<Scenario>, Status> {
    let mut scenarios = Vec::with_capacity(options.files.len());
    let mut status = Status::Ok;
    for file in &options.files {
        let refusal = match parse::parse(file, &mut |path| read(path)) {
            Ok(scenario) => match unplayable(options, &scenario) {
                mistakes if mistakes.is_empty() => {
                    scenarios.push(scenario);
                    continue;
                }
                mistakes => Refusal::Mistakes(mistakes),
            },
            Err(refusal) => refusal,
        };
        let (text, reason) = match &refusal {
            Refusal::Unreadable { .. } => (refusal.to_string(), Status::Environment),
            Refusal::Mistakes(mistakes) => (diagnose::render(mistakes, options.colour), Status::Parse),
        };
        drop(writeln!(err, "{}", text.trim_end()));
        status = status.or(reason);
    }
    if status == Status::Ok { Ok(scenarios) } else { Err(status) }
}

/// Reads a file, but for what is beyond the limit of the parser, which refuses it then.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read;
    let limit = u64::try_from(parse::MAX_FILE_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// JSON patterns, where every actor is played as people see it.
fn unplayable(options: &RunOptions, scenario: &Scenario) -> Vec<Mistake> {
    let all = scenario.setup.iter().chain(scenario.cases.iter().flat_map(|case| &case.statements));
    let json = all.filter(|statement| match &statement.step {
        Step::Expect { pattern, .. } => pattern.is_json() && (options.text || options.implementation.is_some()),
        _ => false,
    });
    let mistake = |statement: &super::ast::Statement| Mistake {
        span: statement.span.clone(),
        message: "a JSON pattern never matches what people see".to_owned(),
        help: Some(format!("play it without --{}", if options.implementation.is_some() { "impl" } else { "text" })),
        included: Vec::new(),
    };
    json.map(mistake).collect()
}

/// The cases to be played, in order.
fn plan<'a>(options: &RunOptions, scenarios: &'a [Scenario]) -> Vec<Planned<'a>> {
    let mut planned = Vec::new();
    for (file, scenario) in options.files.iter().zip(scenarios) {
        for case in &scenario.cases {
            if options.case.as_ref().is_some_and(|word| !case.title.contains(word.as_str())) {
                continue;
            }
            let info = CaseInfo {
                file: file.clone(),
                title: case.title.clone(),
                points: case.worth(),
                visibility: case.visibility,
                span: case.span.clone(),
                steps: scenario.setup.len() + case.statements.len(),
            };
            planned.push(Planned { info, scenario, case });
        }
    }
    planned
}

/// A program given by a path with a slash is looked for from here, not from the folders of the actors.
fn absolute(program: &Path) -> io::Result<PathBuf> {
    if program.components().count() > 1 { std::path::absolute(program) } else { Ok(program.to_owned()) }
}
