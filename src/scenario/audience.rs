//! Everybody who hears of a run while it happens: a reader of the output, and reports as files. Each sees what its
//! view allows.

use std::io::{self, ErrorKind, Write};

use super::outcome::{CaseInfo, RunResult, StepResult};
use super::report::Report;
use super::sheet::{ReportFiles, Unwritable, View};

/// Those who are told. What cannot be told ends nothing; [`Audience::leave`] says it.
pub(super) struct Audience<'a> {
    out: &'a mut dyn Write,
    report: Box<dyn Report>,
    files: ReportFiles,
    view: View,
    /// Why the reader of the output hears no more.
    deaf: Option<io::Error>,
    unwritable: Option<Unwritable>,
    /// Why a record is not whole.
    unrecorded: Option<String>,
}

impl<'a> Audience<'a> {
    pub(super) fn new(out: &'a mut dyn Write, report: Box<dyn Report>, files: ReportFiles, view: View) -> Self {
        Self { out, report, files, view, deaf: None, unwritable: None, unrecorded: None }
    }

    pub(super) fn case_begins(&mut self, case: &CaseInfo) {
        self.put(|report, out| report.case_begins(out, case));
    }

    pub(super) fn step(&mut self, case: &CaseInfo, step: &StepResult) {
        let step = self.view.step(case, step);
        self.put(|report, out| report.step(out, case, &step));
    }

    /// The last of these cases is over.
    pub(super) fn case(&mut self, so_far: &RunResult) {
        // Files first: they wait for no reader.
        let written = self.files.update(so_far);
        self.unwritable = self.unwritable.take().or(written.err());
        if let Some(last) = so_far.cases.last() {
            let seen = self.view.case(last);
            self.put(|report, out| report.case(out, &seen));
        }
    }

    /// A record could not be kept.
    pub(super) fn unrecorded(&mut self, sentence: String) {
        self.unrecorded.get_or_insert(sentence);
    }

    pub(super) fn run(&mut self, result: &RunResult) {
        let written = self.files.finish(result);
        self.unwritable = self.unwritable.take().or(written.err());
        self.put(|report, out| report.run(out, result));
    }

    /// What could not be told, as one sentence. A reader that went away is no mistake.
    pub(super) fn leave(self) -> Result<(), String> {
        match (self.deaf, self.unwritable) {
            (Some(error), _) if error.kind() != ErrorKind::BrokenPipe => {
                Err(format!("The report cannot be written: {error}."))
            }
            (_, Some(unwritable)) => Err(unwritable.to_string()),
            _ => self.unrecorded.map_or(Ok(()), Err),
        }
    }

    fn put(&mut self, tell: impl FnOnce(&mut dyn Report, &mut dyn Write) -> io::Result<()>) {
        if self.deaf.is_none() {
            self.deaf = tell(self.report.as_mut(), self.out).and_then(|()| self.out.flush()).err();
        }
    }
}
