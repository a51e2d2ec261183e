//! The record of a case: the output of its actors, byte for byte, the transcript in order of time, and a diagram of the
//! datagrams.
//!
//! Each case has a folder, such as `01-title`, with the files `ACTOR.jsonl` (events, including those of all datagrams)
//! or `ACTOR.out` (text), `ACTOR.err`, `timeline.txt` and `diagram.mmd` (Mermaid).

mod diagram;
mod sent_datagrams;
mod trace;

use std::io;
use std::path::{Path, PathBuf};

use crate::runner::backend::{ActorOutput, BackendEvent};
use crate::runner::record::trace::Trace;
use crate::runner::report;
use crate::runner::report::attempt::Attempt;
use crate::runner::report::outcome::CaseResult;

/// Remembers the datagrams of the actors of a case, and writes its record.
#[derive(Debug)]
pub struct Recorder<'a> {
    folder: &'a Path,
    traces: Vec<Trace>,
}

/// The error of a record that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("The record {} cannot be written: {error}.", folder.display())]
pub struct RecordError {
    folder: PathBuf,
    error: io::Error,
}

/// The most traces of a case. The diagram lacks later ones.
pub const MAX_TRACES: usize = 100_000;

impl<'a> Recorder<'a> {
    /// Creates a recorder that writes to this folder.
    #[must_use]
    pub fn new(folder: &'a Path) -> Self {
        Self { folder, traces: Vec::new() }
    }

    /// Remembers an event of an actor.
    pub fn observe(&mut self, event: &BackendEvent) {
        if let BackendEvent::Output { actor, at, output: ActorOutput::Event(event) } = event
            && self.traces.len() < MAX_TRACES
        {
            self.traces.extend(Trace::of(actor, *at, event));
        }
    }

    /// Writes the transcript and the diagram. The actors must have ended.
    ///
    /// # Errors
    /// [`RecordError`]
    pub fn write(self, result: &CaseResult) -> Result<(), RecordError> {
        let Self { folder, traces } = self;
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text);
        let written = std::fs::create_dir_all(folder)
            .and_then(|()| write("timeline.txt", report::timeline(result)))
            .and_then(|()| write("diagram.mmd", diagram::render(&traces, &result.transcript, result.began)));
        written.map_err(|error| RecordError { folder: folder.to_owned(), error })
    }
}

/// The folder name of an attempt: the number of the case, from 1, the letters and digits of its title, and the numbers
/// of later rounds and of retries.
#[must_use]
pub fn folder_name(number: usize, title: &str, attempt: Attempt) -> String {
    /// The most characters of a title.
    const MAX: usize = 40;
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let title = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    let title: String = title.chars().take(MAX).collect();
    let mut name = format!("{number:02}-{}", title.trim_end_matches('-')).trim_end_matches('-').to_owned();
    if attempt.round > 1 {
        name += &format!("-round-{}", attempt.round);
    }
    if attempt.retry > 0 {
        name += &format!("-retry-{}", attempt.retry);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::time::Instant;
    use crate::runner::lang::ast::ActorId;

    #[test]
    fn folder_names_are_portable() {
        let name = |number, title: &str| folder_name(number, title, Attempt::default());
        assert_eq!(name(3, "x leaves; \"y\" / ../ stays?"), "03-x-leaves-y-stays");
        assert_eq!(name(12, "…"), "12");
        assert_eq!(name(1, &"ab ".repeat(30)), "01-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-a");
        assert_eq!(folder_name(1, "a", Attempt { round: 7, retry: 2, ..Attempt::default() }), "01-a-round-7-retry-2");
    }

    #[test]
    fn the_number_of_traces_is_limited() {
        let event = serde_json::json!({"ts": "2026-01-02T03:04:05.678901Z", "event": "mail", "line": "a"});
        let event =
            BackendEvent::Output { actor: ActorId::Server, at: Instant::ZERO, output: ActorOutput::Event(event) };
        let mut recorder = Recorder::new(Path::new("none"));
        for _ in 0..=MAX_TRACES {
            recorder.observe(&event);
        }
        assert_eq!(recorder.traces.len(), MAX_TRACES);
    }
}
