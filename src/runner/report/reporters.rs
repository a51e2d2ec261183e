//! Sends the results of a running run to the output and to the report files, as far as the view allows.

use std::io::{self, ErrorKind, Write};

use crate::proto::time::Instant;
use crate::runner::report::Report;
use crate::runner::report::outcome::{CaseInfo, CaseResult, RunResult, StepResult};
use crate::runner::report::progress::ProgressLine;
use crate::runner::report::summary::{ReportFiles, Unwritable, View};

/// All reports of a run. A failed write ends nothing; [`Reporters::finish`] returns it.
pub(crate) struct Reporters<'a> {
    out: &'a mut dyn Write,
    report: Box<dyn Report>,
    files: ReportFiles,
    view: View,
    /// The error that ended writing to the output.
    write_error: Option<io::Error>,
    unwritable: Option<Unwritable>,
    /// The progress line as it is drawn, and the deadline of the run. Absent where no progress is shown.
    progress: Option<(String, Option<Instant>)>,
    /// The reason why a record is incomplete.
    unrecorded: Option<String>,
}

impl<'a> Reporters<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, report: Box<dyn Report>, files: ReportFiles, view: View) -> Self {
        Self { out, report, files, view, write_error: None, unwritable: None, progress: None, unrecorded: None }
    }

    /// Enables [`Reporters::progress`], which shows the time until the deadline.
    pub(crate) fn show_progress(&mut self, deadline: Option<Instant>) {
        self.progress = Some((String::new(), deadline));
    }

    pub(crate) fn shows_progress(&self) -> bool {
        self.progress.is_some() && self.write_error.is_none()
    }

    /// Draws the running cases below everything that was reported.
    pub(crate) fn progress(&mut self, progress: &ProgressLine<'_>) {
        let Some((drawn, deadline)) = &mut self.progress else { return };
        let line = progress.draw(*deadline);
        if *drawn != line {
            let text = format!("{}{line}", if drawn.is_empty() { "" } else { ProgressLine::ERASE });
            *drawn = line;
            self.write(text.as_bytes());
        }
    }

    /// Writes the report files before the first case.
    pub(crate) fn begin(&mut self, so_far: &RunResult, open: &[&CaseResult]) -> Result<(), Unwritable> {
        self.files.update(so_far, open)
    }

    pub(crate) fn case_begins(&mut self, case: &CaseInfo) {
        self.put(|report, out| report.case_begins(out, case));
    }

    pub(crate) fn step(&mut self, case: &CaseInfo, step: &StepResult) {
        let step = self.view.step(case, step);
        self.put(|report, out| report.step(out, case, &step));
    }

    /// Reports a finished case, which is among the results so far. `open` are the cases that still have to run.
    pub(crate) fn case(&mut self, result: &CaseResult, so_far: &RunResult, open: &[&CaseResult]) {
        // Files come first: a slow reader of the output must not delay them.
        let written = self.files.update(so_far, open);
        self.unwritable = self.unwritable.take().or(written.err());
        let seen = self.view.case(result);
        self.put(|report, out| report.case(out, &seen));
    }

    /// Reports a record that cannot be written.
    pub(crate) fn unrecorded(&mut self, sentence: String) {
        self.unrecorded.get_or_insert(sentence);
    }

    pub(crate) fn run(&mut self, result: &RunResult) {
        let written = self.files.finish(result);
        self.unwritable = self.unwritable.take().or(written.err());
        self.put(|report, out| report.run(out, result));
    }

    /// The first failed write, as one sentence. A closed output is no failure.
    ///
    /// # Errors
    /// That sentence.
    pub(crate) fn finish(self) -> Result<(), String> {
        match (self.write_error, self.unwritable) {
            (Some(error), _) if error.kind() != ErrorKind::BrokenPipe => {
                Err(format!("The report cannot be written: {error}."))
            }
            (_, Some(unwritable)) => Err(unwritable.to_string()),
            _ => self.unrecorded.map_or(Ok(()), Err),
        }
    }

    fn put(&mut self, report: impl FnOnce(&mut dyn Report, &mut dyn Write) -> io::Result<()>) {
        let mut text = Vec::new();
        // A write to memory does not fail.
        drop(report(self.report.as_mut(), &mut text));
        if text.is_empty() {
            return;
        }
        if let Some((drawn, _)) = self.progress.as_mut().filter(|(drawn, _)| !drawn.is_empty()) {
            drawn.clear();
            text.splice(..0, ProgressLine::ERASE.bytes());
        }
        self.write(&text);
    }

    fn write(&mut self, text: &[u8]) {
        if self.write_error.is_none() {
            self.write_error = self.out.write_all(text).and_then(|()| self.out.flush()).err();
        }
    }
}
