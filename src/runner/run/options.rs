//! The options of a run.

use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

use crate::netem::link_model::LinkModel;
use crate::runner::backend::process::Implementation;
use crate::runner::report::summary::{ReportFile, View};
use crate::runner::run::seed::Seed;
use crate::script::pattern::MatchMode;

/// The options of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOptions {
    /// The scenario files, at least one.
    pub files: Vec<PathBuf>,
    /// Report as one JSON object a line.
    pub json: bool,
    /// The strictness of text matches.
    pub style: MatchMode,
    /// Run every actor with text output instead of JSON.
    pub text: bool,
    /// The factor for limits, windows and readiness. 1 changes nothing.
    pub time_scale: f64,
    /// Time limit for the whole run.
    pub deadline: Option<Duration>,
    /// Run only cases whose title contains this.
    pub case: Option<String>,
    /// Only check or list the files, without running them.
    pub instead: Option<RunMode>,
    /// The number of cases that run in parallel, 1 to [`RunOptions::MAX_JOBS`].
    pub jobs: usize,
    /// The number of rounds of all cases.
    pub rounds: Rounds,
    /// The most retries of a failed case, up to [`RunOptions::MAX_RETRIES`]. A case that passes on a retry is flaky.
    pub retries: u32,
    /// Flaky cases count as passed, and earn their points.
    pub allow_flaky: bool,
    /// No case begins after a failed one.
    pub fail_fast: bool,
    /// Report each step when it ends.
    pub verbose: bool,
    /// Show the progress line. The output must be a terminal.
    pub live: bool,
    /// Write reports and mistakes in colour.
    pub colour: bool,
    /// The program to run. When absent, it is the running executable.
    pub program: Option<PathBuf>,
    /// An external program to run instead.
    pub implementation: Option<Implementation>,
    /// The seed of the random numbers of network faults. A new one when absent.
    pub seed: Option<Seed>,
    /// The report files to write.
    pub reports: Vec<ReportFile>,
    /// The reader of all reports.
    pub view: View,
    /// Run on a simulated network instead of real processes.
    pub simulation: Option<SimulationOptions>,
    /// Rewrite expectations that failed by their text alone.
    pub bless: bool,
    /// The folder for the records of all cases.
    pub record: Option<PathBuf>,
}

/// The options of a simulated run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SimulationOptions {
    /// The first seed.
    pub first: u64,
    /// The number of seeds for each case, 1 to [`SimulationOptions::MAX_SEEDS`]. The first failure ends the case.
    pub seeds: u64,
    /// The name of the network, and the network.
    pub net: (&'static str, LinkModel),
}

impl SimulationOptions {
    /// The most seeds for each case in one round.
    pub const MAX_SEEDS: u64 = 1_000_000;
}

/// The modes that do not run the scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunMode {
    /// Report mistakes, or else the number of cases.
    Check,
    /// List the cases.
    List,
}

/// The number of rounds of all cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounds {
    /// A fixed number, 1 to [`RunOptions::MAX_ROUNDS`]. Each case must pass each time.
    Number(u64),
    /// Rounds until a case fails or the deadline passes.
    UntilFail,
}

impl Rounds {
    /// The fixed number, if there is one.
    #[must_use]
    pub fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => Some(number),
            Self::UntilFail => None,
        }
    }
}

impl RunOptions {
    /// The most parallel cases. Each has several processes, and each process several threads.
    pub const MAX_JOBS: usize = 64;
    /// The most rounds of a fixed number.
    pub const MAX_ROUNDS: u64 = 100_000;
    /// The most retries of a failed case.
    pub const MAX_RETRIES: u32 = 16;

    /// The default number of parallel cases.
    ///
    /// Our own program mostly waits, so at least 4 cases run in parallel. Cases of an external program, which may be
    /// busy, and simulated cases get a processor each. Cases in a common folder run one at a time, because their files
    /// could conflict.
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
