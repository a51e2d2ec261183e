//! What is to be run, and how.

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use crate::netem::link_model::LinkModel;
use crate::runner::backend::process::Implementation;
use crate::runner::report::summary::{ReportFile, View};
use crate::runner::run::seed::Seed;
use crate::script::pattern::MatchMode;

/// What is to be run, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOptions {
    /// The scenario files, at least one.
    pub files: Vec<PathBuf>,
    /// Report as one JSON object a line.
    pub json: bool,
    /// How exactly text must match.
    pub style: MatchMode,
    /// Play every actor as people see it.
    pub text: bool,
    /// Stretches limits, windows and readiness; 1 leaves them alone.
    pub time_scale: f64,
    /// How long the whole run may take.
    pub deadline: Option<Duration>,
    /// Only cases whose title holds this.
    pub case: Option<String>,
    /// Do only this.
    pub instead: Option<RunMode>,
    /// How many cases are run at a time, 1 to [`RunOptions::MAX_JOBS`].
    pub jobs: usize,
    /// How often all cases are run.
    pub rounds: Rounds,
    /// How often a case that failed is run again, at most [`RunOptions::MAX_RETRIES`]. One that passes then is flaky.
    pub retries: u32,
    /// What is flaky fails nothing, and earns its points.
    pub allow_flaky: bool,
    /// No case begins after one that failed.
    pub fail_fast: bool,
    /// Report each step as it happens.
    pub verbose: bool,
    /// Show beside the report what is running: it goes to a terminal.
    pub live: bool,
    /// Reports and mistakes in colour.
    pub colour: bool,
    /// The program to run; this very one when absent.
    pub program: Option<PathBuf>,
    /// Another program, that is not ours, to run instead.
    pub implementation: Option<Implementation>,
    /// Where the random numbers behind faults of the network come from; a new seed when absent.
    pub seed: Option<Seed>,
    /// Reports that are wanted as files.
    pub reports: Vec<ReportFile>,
    /// Who reads all reports.
    pub view: View,
    /// On a simulated network instead of real processes.
    pub simulation: Option<SimulationOptions>,
    /// Rewrite expectations that failed by their text alone.
    pub bless: bool,
    /// Where a record of each case is kept.
    pub record: Option<PathBuf>,
}

/// How a scenario is run in virtual time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SimulationOptions {
    /// The first seed.
    pub first: u64,
    /// How many seeds each case is run with, 1 to [`SimulationOptions::MAX_SEEDS`]; the first that fails ends it.
    pub seeds: u64,
    /// The name of the network, and the network.
    pub net: (&'static str, LinkModel),
}

impl SimulationOptions {
    /// The most seeds that each case is run with in one round.
    pub const MAX_SEEDS: u64 = 1_000_000;
}

/// What is asked of scenarios instead of running them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunMode {
    /// Whether there are mistakes, and how many cases there are.
    Check,
    /// Which cases there are.
    List,
}

/// How often all cases are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounds {
    /// So often, from 1 to [`RunOptions::MAX_ROUNDS`]: each case has to pass each time.
    Number(u64),
    /// Until a case fails, or the time is over.
    UntilFail,
}

impl Rounds {
    /// How many there are to be, where that is known.
    #[must_use]
    pub fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::UntilFail => None,
        }
    }
}

impl RunOptions {
    /// The most cases that are run at a time: each has some processes, and for each of them some threads.
    pub const MAX_JOBS: usize = 64;
    /// The most rounds, but for those that have no end.
    pub const MAX_ROUNDS: u64 = 100_000;
    /// The most times that a case is run again because it failed.
    pub const MAX_RETRIES: u32 = 16;

    /// How many cases are run at a time where nobody says it.
    ///
    /// Cases wait more than they work, so a small machine runs more of them than it has processors. Another program
    /// is not known to wait: each of its cases has a processor. Where its actors share a folder, cases would too.
    #[must_use]
    pub fn usual_jobs(implementation: Option<&Implementation>, is_simulated: bool) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let jobs = match implementation {
            Some(Implementation { folder: Some(_), .. }) => 1,
            Some(_) => cores,
            None if is_simulated => cores,
            None => cores.max(4),
        };
        jobs.min(Self::MAX_JOBS)
    }
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            json: false,
            style: MatchMode::Exact,
            text: false,
            time_scale: 1.0,
            deadline: None,
            case: None,
            instead: None,
            jobs: 1,
            rounds: Rounds::Number(1),
            retries: 0,
            allow_flaky: false,
            fail_fast: false,
            verbose: false,
            live: false,
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
