//! Reports that would take the place of what a run reads, or of each other.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::io::file::folder;
use crate::runner::lang::ast::Scenario;
use crate::runner::run::RunOptions;

/// Which report must not be written where it is wanted, and why.
pub(crate) fn overwritten(options: &RunOptions, scenarios: &[Scenario]) -> Option<String> {
    if options.reports.is_empty() {
        return None;
    }
    let profile = options.implementation.as_ref().and_then(|program| program.profile.as_ref());
    let included = scenarios.iter().flat_map(|scenario| {
        let cases = scenario.cases.iter().flat_map(|case| &case.statements);
        scenario.setup.iter().chain(cases).map(|statement| &statement.span.source.path)
    });
    let included: BTreeSet<&PathBuf> = included.chain(&options.files).chain(profile).collect();
    let read: BTreeSet<PathBuf> = included.into_iter().filter_map(|path| file(path)).collect();
    let mut written = BTreeSet::new();
    options.reports.iter().find_map(|report| {
        let (shown, place) = (report.path.display(), file(&report.path)?);
        if read.contains(&place) {
            return Some(format!("The report {shown} would take the place of a file of this run; name another one."));
        }
        let again = !written.insert(place);
        again.then(|| format!("Two reports would be written to {shown}; name a file for each."))
    })
}

/// A file by its only path, whether it is there yet or not. What is no file, such as a pipe, can be shared.
fn file(path: &Path) -> Option<PathBuf> {
    if let Ok(found) = fs::metadata(path) {
        return if found.is_file() { fs::canonicalize(path).ok() } else { None };
    }
    Some(fs::canonicalize(folder(path)).ok()?.join(path.file_name()?))
}
