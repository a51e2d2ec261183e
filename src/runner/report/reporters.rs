//! Everybody who hears of a run while it happens: a reader of the output, and reports as files. Each sees what its
//! view allows.

use std::io::{self, ErrorKind, Write};

use crate::proto::time::Instant;
use crate::runner::report::Report;
use crate::runner::report::outcome::{CaseInfo, CaseResult, RunResult, StepResult};
use crate::runner::report::progress::ProgressLine;
use crate::runner::report::summary::{ReportFiles, Unwritable, View};

/// Those who are told. What cannot be told ends nothing; [`Reporters::leave`] says it.
pub(crate) struct Reporters<'a> {
    out: &'a mut dyn Write,
    report: Box<dyn Report>,
    files: ReportFiles,
    view: View,
    /// Why the reader of the output hears no more.
    deaf: Option<io::Error>,
    unwritable: Option<Unwritable>,
    /// The line of what is being played as it is drawn now, and when the run has to be over; absent where none is wanted.
    live: Option<(String, Option<Instant>)>,
    /// Why a record is not whole.
    unrecorded: Option<String>,
}

impl<'a> Reporters<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, report: Box<dyn Report>, files: ReportFiles, view: View) -> Self {
        Self { out, report, files, view, deaf: None, unwritable: None, live: None, unrecorded: None }
    }

    /// From now on [`Reporters::live`] is shown, with the time that is left.
    pub(crate) fn show_live(&mut self, deadline: Option<Instant>) {
        self.live = Some((String::new(), deadline));
    }

    pub(crate) fn is_live(&self) -> bool {
        self.live.is_some() && self.deaf.is_none()
    }

    /// What is being played, below everything that was reported.
    pub(crate) fn live(&mut self, live: &ProgressLine<'_>) {
        let Some((drawn, deadline)) = &mut self.live else { return };
        let line = live.drawn(*deadline);
        if *drawn != line {
            let text = format!("{}{line}", if drawn.is_empty() { "" } else { ProgressLine::ERASE });
            *drawn = line;
            self.write(text.as_bytes());
        }
    }

    /// Nothing was played yet.
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

    /// A case is over. What it came to stands among the results so far already; `open` are those still to be played.
    pub(crate) fn case(&mut self, played: &CaseResult, so_far: &RunResult, open: &[&CaseResult]) {
        // Files first: they wait for no reader.
        let written = self.files.update(so_far, open);
        self.unwritable = self.unwritable.take().or(written.err());
        let seen = self.view.case(played);
        self.put(|report, out| report.case(out, &seen));
    }

    /// A record could not be kept.
    pub(crate) fn unrecorded(&mut self, sentence: String) {
        self.unrecorded.get_or_insert(sentence);
    }

    pub(crate) fn run(&mut self, result: &RunResult) {
        let written = self.files.finish(result);
        self.unwritable = self.unwritable.take().or(written.err());
        self.put(|report, out| report.run(out, result));
    }

    /// What could not be told, as one sentence. A reader that went away is no mistake.
    pub(crate) fn leave(self) -> Result<(), String> {
        match (self.deaf, self.unwritable) {
            (Some(error), _) if error.kind() != ErrorKind::BrokenPipe => {
                Err(format!("The report cannot be written: {error}."))
            }
            (_, Some(unwritable)) => Err(unwritable.to_string()),
            _ => self.unrecorded.map_or(Ok(()), Err),
        }
    }

    fn put(&mut self, tell: impl FnOnce(&mut dyn Report, &mut dyn Write) -> io::Result<()>) {
        let mut text = Vec::new();
        // Memory takes everything.
        drop(tell(self.report.as_mut(), &mut text));
        if text.is_empty() {
            return;
        }
        if let Some((drawn, _)) = self.live.as_mut().filter(|(drawn, _)| !drawn.is_empty()) {
            drawn.clear();
            text.splice(..0, ProgressLine::ERASE.bytes());
        }
        self.write(&text);
    }

    fn write(&mut self, text: &[u8]) {
        if self.deaf.is_none() {
            self.deaf = self.out.write_all(text).and_then(|()| self.out.flush()).err();
        }
    }
}
