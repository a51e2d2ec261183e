//! The arguments of `chat run`.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use strum::VariantArray;

use crate::cli::EarlyExit;
use crate::io::file;
use crate::runner::backend::process::Implementation;
use crate::runner::backend::simulated::LinkModel;
use crate::runner::lang::ast::Need;
use crate::runner::profile::Profile;
use crate::runner::report::summary::{Format, ReportFile, View};
use crate::runner::run::seed::Seed;
use crate::runner::run::{self, Rounds, RunOptions, SimulationOptions};
use crate::script::pattern::{MatchMode, Matcher, Pattern};
use crate::script::syntax_error::SyntaxError;
use crate::script::vars::Vars;

/// Headings of option groups in the help.
const REPORTS: &str = "Reports";
const ANOTHER: &str = "Another program";
const SIMULATION: &str = "Faults and simulation";

/// Options that write files. They conflict with the options that run no case.
const FILE_WRITING_OPTIONS: [&str; 3] = ["reports", "record", "bless"];

/// `chat run [OPTIONS] FILE...`
#[derive(Debug, Args)]
#[command(about = "Play scenario files", override_usage = "chat run [OPTIONS] FILE...")]
pub(crate) struct RunArguments {
    /// The scenario files
    #[arg(value_name = "FILE", required_unless_present = "help_language")]
    files: Vec<PathBuf>,

    /// Report as one JSON object a line
    #[arg(long, help_heading = REPORTS)]
    json: bool,

    /// Play every actor as people see it, instead of with --json
    #[arg(long)]
    text: bool,

    /// Match as written (exact), or without case, brackets, runs of blanks and final punctuation (loose)
    #[arg(long = "match", value_name = "exact|loose", value_parser = match_mode)]
    style: Option<MatchMode>,

    /// Stretch limits, windows and readiness by this factor, but not sleep
    #[arg(long, value_name = "FACTOR", value_parser = time_scale)]
    time_scale: Option<f64>,

    /// End the whole run after this time, such as 5m
    #[arg(long, value_name = "DURATION", value_parser = crate::cli::duration)]
    deadline: Option<Duration>,

    /// Play only cases whose title holds this
    #[arg(long, value_name = "TITLE")]
    case: Option<String>,

    /// Report each step as it happens
    #[arg(long, short, help_heading = REPORTS)]
    verbose: bool,

    /// Keep a report of this format in this file, written anew after every case; can be given several times. Formats:
    /// junit, tap, json, gradescope, classroom, markdown
    #[arg(long = "report", value_name = "FORMAT=FILE", value_parser = report, help_heading = REPORTS)]
    reports: Vec<ReportFile>,

    /// Play another program with the same command line, such as 'python3 ChatApp.py'. What is asked of it are its words
    /// and -s PORT or -c NAME IP PORT PORT
    #[arg(long = "impl", value_name = "COMMAND", conflicts_with = "simulate", help_heading = ANOTHER)]
    implementation: Option<String>,

    /// What differs in a class or in one program: its command, folder, environment, prompt, readiness, capabilities and
    /// words for the sentences of the contract. Options here win over it
    #[arg(long, value_name = "FILE", conflicts_with = "simulate", help_heading = ANOTHER)]
    profile: Option<PathBuf>,

    /// With --impl: run it in this folder, instead of in a fresh one for each actor
    #[arg(long, value_name = "DIR", conflicts_with = "simulate", help_heading = ANOTHER)]
    impl_dir: Option<PathBuf>,

    /// With --impl: what a client shows when it is ready; without, it is when it has been quiet for 300 ms
    #[arg(long, value_name = "PATTERN", conflicts_with = "simulate", help_heading = ANOTHER)]
    ready: Option<String>,

    /// With --impl: what it can do, of groups, offline and receipts, with commas between; offline without
    #[arg(long, value_name = "LIST", conflicts_with = "simulate", help_heading = ANOTHER)]
    capabilities: Option<String>,

    /// Play on a simulated network in virtual time, as fast as the processor allows
    #[arg(long, help_heading = SIMULATION)]
    simulate: bool,

    /// With --simulate: play each case with so many seeds, 1 to 1000000; 1 without
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, requires = "simulate", value_parser = seeds, help_heading = SIMULATION)]
    seeds: Option<u64>,

    /// The seed behind faults of the network, to play a run again; with --simulate: the (first) seed, 1 without
    #[arg(long, value_name = "SEED", value_parser = seed, help_heading = SIMULATION)]
    seed: Option<u64>,

    /// With --simulate: the network, perfect without
    #[arg(long, value_name = "hostile|lan|perfect|transatlantic|wifi-lossy", requires = "simulate", value_parser = net, help_heading = SIMULATION)]
    net: Option<(&'static str, LinkModel)>,

    /// Who reads the reports: a student sees not what hidden cases expect
    #[arg(long, value_name = "teacher|student", value_parser = view, help_heading = REPORTS)]
    view: Option<View>,

    /// Rewrite expectations that failed by their text alone to what came; wildcards and captures stay. Not where CI is set
    #[arg(long, conflicts_with_all = ["repeat", "until_fail", "retries"])]
    bless: bool,

    /// Keep in this folder, for each case, what its actors wrote, its course, and a diagram of its datagrams
    #[arg(long, value_name = "FOLDER", conflicts_with = "simulate", help_heading = REPORTS)]
    record: Option<PathBuf>,

    #[command(flatten)]
    instead: RunModeArgs,

    #[command(flatten)]
    pace: Pace,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Instead of playing")]
struct RunModeArgs {
    /// Only look for mistakes, and say how many cases there are
    #[arg(long, conflicts_with = "list", conflicts_with_all = FILE_WRITING_OPTIONS)]
    check: bool,

    /// Only list the cases: where each is, its title, its points and its needs
    #[arg(long, conflicts_with_all = FILE_WRITING_OPTIONS)]
    list: bool,

    /// Show the reference of the scenario language
    #[arg(long)]
    help_language: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "How many at a time, and how often")]
struct Pace {
    /// Play so many cases at a time, 1 to 64; without, as many as there are processors but at least 4. With --impl as
    /// many as there are processors, with --impl-dir 1
    #[arg(long, short, value_name = "COUNT", allow_negative_numbers = true, value_parser = jobs)]
    jobs: Option<usize>,

    /// Play all cases so often, 1 to 100000; each has to pass each time
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, conflicts_with_all = ["until_fail", "retries"], value_parser = repeat)]
    repeat: Option<u64>,

    /// Play all cases again and again, until one fails or --deadline has passed
    #[arg(long, conflicts_with = "retries")]
    until_fail: bool,

    /// Play a case that fails again, so often at most, 0 to 16; one that passes then is flaky, and fails the run
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, conflicts_with = "simulate", value_parser = retries)]
    retries: Option<u32>,

    /// With --retries: what is flaky fails nothing and earns its points
    #[arg(long, requires = "retries")]
    allow_flaky: bool,

    /// No case begins after one that failed
    #[arg(long, overrides_with = "keep_going")]
    fail_fast: bool,

    /// Play all cases whatever fails, which is usual; of this and --fail-fast the last one counts
    #[arg(long, overrides_with = "fail_fast")]
    keep_going: bool,
}

impl Pace {
    fn rounds(&self) -> Rounds {
        if self.until_fail { Rounds::UntilFail } else { Rounds::Number(self.repeat.unwrap_or(1)) }
    }
}

impl RunArguments {
    /// Whether the reference of the language is requested.
    pub(crate) fn asks_for_language(&self) -> bool {
        self.instead.help_language
    }

    /// `terminal` is true if reports go to a terminal that can erase a line; `colour` if they may be in colour.
    pub(crate) fn options(self, terminal: bool, colour: bool) -> Result<RunOptions, EarlyExit> {
        let style = self.style.unwrap_or_default();
        let time_scale = self.time_scale.unwrap_or(1.0);
        let simulation = self.simulation();
        let implementation = self.implementation(style, time_scale)?;
        let usual = || RunOptions::usual_jobs(implementation.as_ref(), simulation.is_some());
        Ok(RunOptions {
            instead: match self.instead {
                RunModeArgs { check: true, .. } => Some(run::RunMode::Check),
                RunModeArgs { list: true, .. } => Some(run::RunMode::List),
                RunModeArgs { .. } => None,
            },
            jobs: self.pace.jobs.unwrap_or_else(usual),
            rounds: self.pace.rounds(),
            retries: self.pace.retries.unwrap_or(0),
            allow_flaky: self.pace.allow_flaky,
            live: terminal && !self.json,
            simulation,
            seed: self.seed.map(Seed),
            implementation,
            files: self.files,
            json: self.json,
            style,
            text: self.text,
            time_scale,
            deadline: self.deadline,
            case: self.case,
            fail_fast: self.pace.fail_fast,
            verbose: self.verbose,
            colour,
            program: None,
            reports: self.reports,
            bless: self.bless,
            record: self.record,
            view: self.view.unwrap_or_default(),
        })
    }
}

impl RunArguments {
    /// The external program, described by the options and the profile. An option overrides the profile.
    fn implementation(&self, style: MatchMode, time_scale: f64) -> Result<Option<Implementation>, EarlyExit> {
        let profile = match &self.profile {
            Some(path) => Profile::read(path, |path| file::read(path, Profile::MAX_BYTES))?,
            None => Profile::default(),
        };
        let words = self.implementation.as_deref().map(command).transpose()?.or_else(|| profile.command.clone());
        let Some(words) = words else { return self.missing_program_error().map_or(Ok(None), |why| Err(why.into())) };
        if let Some(folder) = self.impl_dir.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(format!("--impl-dir is a folder, and {} is none.", folder.display()).into());
        }
        let capabilities = self.capabilities.as_deref().map(capabilities).transpose()?.or(profile.capabilities.clone());
        let ready_at = self.ready.as_ref().or(profile.ready.as_ref());
        Ok(Some(Implementation {
            words,
            folder: self.impl_dir.clone().or(profile.folder.clone()),
            ready: ready_at.map(|pattern| ready(pattern, style)).transpose()?,
            capabilities: capabilities.unwrap_or(Implementation::USUAL.to_vec()),
            quiet: Implementation::QUIET.mul_f64(time_scale),
            profile: self.profile.clone(),
            environment: profile.environment.clone(),
            translator: profile.translator(style),
        }))
    }

    /// The error if an option concerns an external program but no command is given. Without it our own program would
    /// run instead.
    fn missing_program_error(&self) -> Option<String> {
        let given = [
            ("--profile", self.profile.is_some()),
            ("--impl-dir", self.impl_dir.is_some()),
            ("--ready", self.ready.is_some()),
            ("--capabilities", self.capabilities.is_some()),
        ];
        let (option, _) = given.into_iter().find(|(_, given)| *given)?;
        Some(match &self.profile {
            Some(path) => format!("{} names no command: add --impl COMMAND, or command to the file.", path.display()),
            None => format!("{option} needs the program that it is about: add --impl COMMAND."),
        })
    }

    fn simulation(&self) -> Option<SimulationOptions> {
        let (first, seeds) = (self.seed.unwrap_or(1), self.seeds.unwrap_or(1));
        let net = self.net.unwrap_or(("perfect", LinkModel::PERFECT));
        self.simulate.then_some(SimulationOptions { first, seeds, net })
    }
}

fn match_mode(word: &str) -> Result<MatchMode, String> {
    match word {
        "exact" => Ok(MatchMode::Exact),
        "loose" => Ok(MatchMode::Loose),
        _ => Err(format!("--match is exact or loose, not {word:?}.")),
    }
}

fn time_scale(word: &str) -> Result<f64, String> {
    let factor = word.parse().ok().filter(|factor| (0.1..=100.0).contains(factor));
    factor.ok_or_else(|| format!("--time-scale is a factor from 0.1 to 100, and {word:?} is not."))
}

fn seed(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("--seed is a whole number, and {word:?} is not."))
}

fn seeds(word: &str) -> Result<u64, String> {
    number_within("--seeds", word, 1..=SimulationOptions::MAX_SEEDS)
}

fn net(word: &str) -> Result<(&'static str, LinkModel), String> {
    let names = LinkModel::PRESETS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let net = LinkModel::PRESETS.iter().find(|(known, _)| *known == word);
    net.copied().ok_or_else(|| format!("--net is one of {names}, and {word:?} is not."))
}

fn jobs(word: &str) -> Result<usize, String> {
    number_within("--jobs", word, 1..=RunOptions::MAX_JOBS)
}

fn repeat(word: &str) -> Result<u64, String> {
    number_within("--repeat", word, 1..=RunOptions::MAX_ROUNDS)
}

fn retries(word: &str) -> Result<u32, String> {
    number_within("--retries", word, 0..=RunOptions::MAX_RETRIES)
}

fn number_within<N>(option: &str, word: &str, range: RangeInclusive<N>) -> Result<N, String>
where
    N: FromStr + Display + PartialOrd,
{
    let number = word.parse().ok().filter(|number| range.contains(number));
    let wrong = || format!("{option} is a number from {} to {}, and {word:?} is not.", range.start(), range.end());
    number.ok_or_else(wrong)
}

fn command(text: &str) -> Result<Vec<String>, String> {
    let words = shlex::split(text).filter(|words| !words.is_empty());
    words.ok_or_else(|| format!("--impl is a command as a shell splits it, and {text:?} is none."))
}

fn ready(pattern: &str, style: MatchMode) -> Result<(String, Matcher), String> {
    let wrong = |why: SyntaxError| format!("--ready is a pattern of text, and {pattern:?} is not: {}.", why.message);
    let parsed = Pattern::parse(pattern).map_err(wrong)?;
    if parsed.is_json() {
        return Err(format!("--ready is a pattern of text, and {pattern:?} is one of JSON."));
    }
    Ok((pattern.to_owned(), parsed.fill(&Vars::default(), style).map_err(wrong)?))
}

fn capabilities(list: &str) -> Result<Vec<Need>, String> {
    let need = |word: &str| {
        Implementation::capability(word).ok_or_else(|| {
            format!("--capabilities are groups, offline and receipts with commas between, and {word:?} is none.")
        })
    };
    list.split(',').map(str::trim).filter(|word| !word.is_empty()).map(need).collect()
}

fn report(word: &str) -> Result<ReportFile, String> {
    let formats: Vec<&str> = Format::VARIANTS.iter().map(|format| format.word()).collect();
    let formats = formats.join(", ");
    let wrong = || format!("--report is FORMAT=FILE with a format of {formats}, and {word:?} is not.");
    let (name, path) = word.split_once('=').filter(|(_, path)| !path.is_empty()).ok_or_else(wrong)?;
    let format = name.parse().map_err(|_| wrong())?;
    Ok(ReportFile { format, path: path.into() })
}

fn view(word: &str) -> Result<View, String> {
    word.parse().map_err(|_| format!("--view is teacher or student, not {word:?}."))
}
