//! The arguments of `chat run`.

use std::path::PathBuf;

use clap::Args;

use crate::core::pattern::Style;
use crate::scenario::run::{RunOptions, Simulation};
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

    /// Play on a simulated network in virtual time, as fast as the processor allows
    #[arg(long)]
    simulate: bool,

    /// With --simulate: play each case with so many seeds, 1 without
    #[arg(long, value_name = "COUNT", requires = "simulate")]
    seeds: Option<String>,

    /// With --simulate: the (first) seed, 1 without
    #[arg(long, value_name = "SEED", requires = "simulate")]
    seed: Option<String>,

    /// With --simulate: the network, perfect without
    #[arg(long, value_name = "hostile|lan|perfect|transatlantic|wifi-lossy", requires = "simulate")]
    net: Option<String>,

    /// Who reads the reports: a student sees not what hidden cases expect
    #[arg(long, value_name = "teacher|student")]
    view: Option<String>,

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
        Ok(RunOptions {
            simulation,
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
            record: self.record,
            view: self.view.as_deref().map_or(Ok(View::default()), view)?,
        })
    }
}

impl RunArguments {
    fn simulation(&self) -> Result<Option<Simulation>, String> {
        let number = |option: &str, word: &Option<String>| match word.as_deref() {
            None => Ok(1),
            Some(word) => word.parse().map_err(|_| format!("{option} is a whole number, and {word:?} is not.")),
        };
        let (seeds, first) = (number("--seeds", &self.seeds)?, number("--seed", &self.seed)?);
        let name = self.net.as_deref().unwrap_or("perfect");
        let names = Net::PRESETS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let net = Net::PRESETS.iter().find(|(known, _)| *known == name);
        let net = *net.ok_or_else(|| format!("--net is one of {names}, and {name:?} is not."))?;
        Ok(self.simulate.then_some(Simulation { first, seeds, net }))
    }
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
