//! Writes report files after every case. Each file is complete at any time, so an interrupted run leaves valid reports.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::runner::report::outcome::{CaseResult, RunResult};
use crate::runner::report::replace;
use crate::runner::report::summary::{Format, Summary, View};

/// A requested report file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFile {
    pub format: Format,
    /// An existing file is replaced.
    pub path: PathBuf,
}

/// The report files of one run.
#[derive(Debug)]
pub struct ReportFiles {
    files: Vec<ReportFile>,
    view: View,
}

/// The error of a report that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("The report {} cannot be written: {error}.", path.display())]
pub struct Unwritable {
    path: PathBuf,
    error: io::Error,
}

impl ReportFiles {
    /// Writes nothing yet.
    #[must_use]
    pub fn new(files: Vec<ReportFile>, view: View) -> Self {
        Self { files, view }
    }

    /// Writes the results so far. `open` are the results that open cases have if the run is interrupted now.
    ///
    /// # Errors
    /// The first report that cannot be written. The others are written nevertheless.
    pub fn update(&self, so_far: &RunResult, open: &[&CaseResult]) -> Result<(), Unwritable> {
        self.write(so_far, open, false)
    }

    /// Writes the results of the whole run.
    ///
    /// # Errors
    /// As for [`ReportFiles::update`].
    pub fn finish(&self, run: &RunResult) -> Result<(), Unwritable> {
        self.write(run, &[], true)
    }

    fn write(&self, so_far: &RunResult, open: &[&CaseResult], is_last: bool) -> Result<(), Unwritable> {
        if self.files.is_empty() {
            return Ok(());
        }
        let mut summary =
            Summary::new(so_far.cases.iter().chain(open.iter().copied()), so_far.took, so_far.status, self.view);
        summary.rounds = so_far.rounds;
        let mut written = Ok(());
        for ReportFile { format, path } in &self.files {
            let text = format.write(&summary);
            let write_report = write_report(path, text.as_bytes(), is_last);
            written = written.and(write_report.map_err(|error| Unwritable { path: path.clone(), error }));
        }
        written
    }
}

/// Writes a report. A pipe or a device gets the last report only, because it cannot be replaced.
fn write_report(path: &Path, bytes: &[u8], is_last: bool) -> io::Result<()> {
    let target = replace::target(path);
    if std::fs::metadata(&target).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        return if is_last { OpenOptions::new().write(true).open(&target)?.write_all(bytes) } else { Ok(()) };
    }
    replace::replace(path, bytes)
}
