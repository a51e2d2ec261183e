//! The arguments of `chat run`.

use std::path::PathBuf;

use clap::Args;

use crate::core::pattern::{Matcher, Pattern, Style};
use crate::core::vars::Vars;
use crate::core::wrong::Wrong;
use crate::scenario::ast::Need;
use crate::scenario::process::Implementation;
use crate::scenario::run::{RunOptions, Simulation};
use crate::scenario::seed::Seed;
use crate::scenario::sheet::{Format, ReportFile, View};
use crate::scenario::simulate::Net;

/// `chat run [OPTIONS] FILE...`
#[derive(Debug, Args)]
#[command(about = "Play scenario files", override_usage = "chat run [OPTIONS] FILE...")]
pub(super) struct RunArguments {
    /// The scenario files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Report as one JSON object a line
    #[arg(long)]
    json: bool,

    /// Play every actor as people see it, instead of with --json
    #[arg(long)]
    text: bool,

    /// Match as written (exact), or without case, brackets, runs of blanks and final punctuation (loose)
    #[arg(long = "match", value_name = "exact|loose")]
    style: Option<String>,

    /// Stretch limits, windows and readiness by this factor, but not sleep
    #[arg(long, value_name = "FACTOR")]
    time_scale: Option<String>,

    /// End the whole run after this time, such as 5m
    #[arg(long, value_name = "DURATION")]
    deadline: Option<String>,

    /// Play only cases whose title holds this
    #[arg(long, value_name = "TITLE")]
    case: Option<String>,

    /// The first case that fails ends the run
    #[arg(long)]
    fail_fast: bool,

    /// Report each step as it happens
    #[arg(long, short)]
    verbose: bool,

    /// Keep a report of this format in this file, written anew after every case; can be given several times. Formats:
    /// junit, tap, json, gradescope, classroom, markdown
    #[arg(long = "report", value_name = "FORMAT=FILE")]
    reports: Vec<String>,

    /// Play another program with the same command line, such as 'python3 ChatApp.py'. What is asked of it are its words
    /// and -s PORT or -c NAME IP PORT PORT
    #[arg(long = "impl", value_name = "COMMAND", conflicts_with = "simulate")]
    implementation: Option<String>,

    /// With --impl: run it in this folder, instead of in a fresh one for each actor
    #[arg(long, value_name = "DIR", requires = "implementation")]
    impl_dir: Option<PathBuf>,

    /// With --impl: what a client shows when it is ready; without, it is when it has been quiet for 300 ms
    #[arg(long, value_name = "PATTERN", requires = "implementation")]
    ready: Option<String>,

    /// With --impl: what it can do, of groups, offline and receipts, with commas between; offline without
    #[arg(long, value_name = "LIST", requires = "implementation")]
    capabilities: Option<String>,

    /// Play on a simulated network in virtual time, as fast as the processor allows
    #[arg(long)]
    simulate: bool,

    /// With --simulate: play each case with so many seeds, 1 without
    #[arg(long, value_name = "COUNT", requires = "simulate")]
    seeds: Option<String>,

    /// The seed behind faults of the network, to play a run again; with --simulate: the (first) seed, 1 without
    #[arg(long, value_name = "SEED")]
    seed: Option<String>,

    /// With --simulate: the network, perfect without
    #[arg(long, value_name = "hostile|lan|perfect|transatlantic|wifi-lossy", requires = "simulate")]
    net: Option<String>,

    /// Who reads the reports: a student sees not what hidden cases expect
    #[arg(long, value_name = "teacher|student")]
    view: Option<String>,

    /// Rewrite expectations that failed by their text alone to what came; wildcards and captures stay. Not where CI is set
    #[arg(long)]
    bless: bool,

    /// Keep in this folder, for each case, what its actors wrote, its course, and a diagram of its datagrams
    #[arg(long, value_name = "FOLDER", conflicts_with = "simulate")]
    record: Option<PathBuf>,
}

impl RunArguments {
    pub(super) fn options(self, colour: bool) -> Result<RunOptions, String> {
        let style = match self.style.as_deref() {
            None | Some("exact") => Style::Exact,
            Some("loose") => Style::Loose,
            Some(word) => return Err(format!("--match is exact or loose, not {word:?}.")),
        };
        let time_scale = match self.time_scale.as_deref() {
            None => 1.0,
            Some(word) => word
                .parse()
                .ok()
                .filter(|factor| (0.1..=100.0).contains(factor))
                .ok_or_else(|| format!("--time-scale is a factor from 0.1 to 100, and {word:?} is not."))?,
        };
        let simulation = self.simulation()?;
        let implementation = self.implementation(style, time_scale)?;
        Ok(RunOptions {
            simulation,
            seed: number("--seed", self.seed.as_deref())?.map(Seed),
            implementation,
            files: self.files,
            json: self.json,
            style,
            text: self.text,
            time_scale,
            deadline: self.deadline.as_deref().map(super::duration).transpose()?,
            case: self.case,
            fail_fast: self.fail_fast,
            verbose: self.verbose,
            colour,
            program: None,
            reports: self.reports.iter().map(|word| report(word)).collect::<Result<_, _>>()?,
            bless: self.bless,
            record: self.record,
            view: self.view.as_deref().map_or(Ok(View::default()), view)?,
        })
    }
}

impl RunArguments {
    fn implementation(&self, style: Style, time_scale: f64) -> Result<Option<Implementation>, String> {
        let Some(command) = &self.implementation else { return Ok(None) };
        let words = shlex::split(command).filter(|words| !words.is_empty());
        let words =
            words.ok_or_else(|| format!("--impl is a command as a shell splits it, and {command:?} is none."))?;
        if let Some(folder) = self.impl_dir.as_ref().filter(|folder| !folder.is_dir()) {
            return Err(format!("--impl-dir is a folder, and {} is none.", folder.display()));
        }
        let capabilities = self.capabilities.as_deref().map(capabilities).transpose()?;
        Ok(Some(Implementation {
            words,
            folder: self.impl_dir.clone(),
            ready: self.ready.as_deref().map(|pattern| ready(pattern, style)).transpose()?,
            capabilities: capabilities.unwrap_or(Implementation::USUAL.to_vec()),
            quiet: Implementation::QUIET.mul_f64(time_scale),
        }))
    }

    fn simulation(&self) -> Result<Option<Simulation>, String> {
        let seeds = number("--seeds", self.seeds.as_deref())?.unwrap_or(1);
        let first = number("--seed", self.seed.as_deref())?.unwrap_or(1);
        let name = self.net.as_deref().unwrap_or("perfect");
        let names = Net::PRESETS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let net = Net::PRESETS.iter().find(|(known, _)| *known == name);
        let net = *net.ok_or_else(|| format!("--net is one of {names}, and {name:?} is not."))?;
        Ok(self.simulate.then_some(Simulation { first, seeds, net }))
    }
}

fn number(option: &str, word: Option<&str>) -> Result<Option<u64>, String> {
    let wrong = |word: &str| format!("{option} is a whole number, and {word:?} is not.");
    word.map(|word| word.parse().map_err(|_| wrong(word))).transpose()
}

fn ready(pattern: &str, style: Style) -> Result<(String, Matcher), String> {
    let wrong = |why: Wrong| format!("--ready is a pattern of text, and {pattern:?} is not: {}.", why.message);
    let parsed = Pattern::parse(pattern).map_err(wrong)?;
    if parsed.is_json() {
        return Err(format!("--ready is a pattern of text, and {pattern:?} is one of JSON."));
    }
    Ok((pattern.to_owned(), parsed.fill(&Vars::default(), style).map_err(wrong)?))
}

fn capabilities(list: &str) -> Result<Vec<Need>, String> {
    let need = |word: &str| {
        let known = Need::ALL.into_iter().find(|(known, need)| *known == word && *need != Need::Faults);
        known.map(|(_, need)| need).ok_or_else(|| {
            format!("--capabilities are groups, offline and receipts with commas between, and {word:?} is none.")
        })
    };
    list.split(',').map(str::trim).filter(|word| !word.is_empty()).map(need).collect()
}

fn report(word: &str) -> Result<ReportFile, String> {
    let formats = Format::ALL.map(|(name, _)| name).join(", ");
    let wrong = || format!("--report is FORMAT=FILE with a format of {formats}, and {word:?} is not.");
    let (name, path) = word.split_once('=').filter(|(_, path)| !path.is_empty()).ok_or_else(wrong)?;
    let (_, format) = Format::ALL.into_iter().find(|(one, _)| *one == name).ok_or_else(wrong)?;
    Ok(ReportFile { format, path: path.into() })
}

fn view(word: &str) -> Result<View, String> {
    let found = View::ALL.into_iter().find(|(name, _)| *name == word);
    found.map(|(_, view)| view).ok_or_else(|| format!("--view is teacher or student, not {word:?}."))
}
