//! Finds reports that would overwrite an input file of the run or another report.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::io::file::folder;
use crate::runner::lang::ast::Scenario;
use crate::runner::run::RunOptions;

/// The error of the first report that must not be written to its path, if there is one.
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

/// The canonical path of a file that may not exist yet. `None` for pipes and devices, which reports may share.
fn file(path: &Path) -> Option<PathBuf> {
    if let Ok(found) = fs::metadata(path) {
        return if found.is_file() { fs::canonicalize(path).ok() } else { None };
    }
    Some(fs::canonicalize(folder(path)).ok()?.join(path.file_name()?))
}
