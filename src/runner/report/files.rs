//! Reports as files, whole after every case: a run that is cut off, in whatever way, leaves what it has.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::runner::report::outcome::{CaseResult, RunResult};
use crate::runner::report::replace;
use crate::runner::report::summary::{Format, Summary, View};

/// A report that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFile {
    /// In which form.
    pub format: Format,
    /// Where. What stands there is replaced.
    pub path: PathBuf,
}

/// The reports of one run.
#[derive(Debug)]
pub struct ReportFiles {
    files: Vec<ReportFile>,
    view: View,
}

/// A report that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("The report {} cannot be written: {error}.", path.display())]
pub struct Unwritable {
    path: PathBuf,
    error: io::Error,
}

impl ReportFiles {
    /// Nothing is written yet.
    #[must_use]
    pub fn new(files: Vec<ReportFile>, view: View) -> Self {
        Self { files, view }
    }

    /// Writes everything that is known: the results so far, and the cases that are still to be run, as they stand
    /// there if the run is cut off.
    ///
    /// # Errors
    /// The first report that cannot be written; the others are, nevertheless.
    pub fn update(&self, so_far: &RunResult, open: &[&CaseResult]) -> Result<(), Unwritable> {
        self.write(so_far, open, false)
    }

    /// Writes what came of the whole run.
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
            let put = put(path, text.as_bytes(), is_last);
            written = written.and(put.map_err(|error| Unwritable { path: path.clone(), error }));
        }
        written
    }
}

/// What is no file, such as a pipe, gets the last report alone.
fn put(path: &Path, bytes: &[u8], is_last: bool) -> io::Result<()> {
    let target = replace::target(path);
    if std::fs::metadata(&target).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return if is_last { OpenOptions::new().write(true).open(&target)?.write_all(bytes) } else { Ok(()) };
    }
    replace::replace(path, bytes)
}
