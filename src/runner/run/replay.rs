//! The command that runs a failed case again.

use crate::runner::report::outcome::CaseInfo;
use crate::runner::run::RunOptions;
use crate::script::pattern::MatchMode;

/// The command that runs only this case again, with this seed if there is one.
pub(crate) fn replay(options: &RunOptions, info: &CaseInfo, seed: Option<u64>) -> String {
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
    if options.style == MatchMode::Loose {
        words.extend(["--match", "loose"].map(str::to_owned));
    }
    if options.time_scale != 1.0 {
        words.extend(["--time-scale".to_owned(), options.time_scale.to_string()]);
    }
    words.extend(["--case".to_owned(), info.title.clone(), info.file.display().to_string()]);
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}
