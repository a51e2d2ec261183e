//! The record of a case: what its actors wrote, byte for byte, what happened in order of time, and who sent what to
//! whom, as a diagram.
//!
//! A folder a case, `01-title`: `ACTOR.jsonl` (the events of one that speaks JSON, those of every datagram included) or
//! `ACTOR.out`, `ACTOR.err`, `timeline.txt` and `diagram.mmd` (Mermaid).

mod diagram;
mod flights;
mod trace;

use std::io;
use std::path::{Path, PathBuf};

use crate::proto::time::Instant;
use crate::runner::backend::{ActorOutput, Backend, BackendError, BackendEvent, LaunchSpec, NetworkChange};
use crate::runner::lang::ast::{ActorId, Need, Signal};
use crate::runner::profile::Translator;
use crate::runner::record::trace::Trace;
use crate::runner::report;
use crate::runner::report::attempt::Attempt;
use crate::runner::report::outcome::CaseResult;

/// A stage that remembers the datagrams of its actors, if that is wanted.
#[derive(Debug)]
pub struct Recorder<'a, S> {
    stage: S,
    folder: Option<&'a Path>,
    traces: Vec<Trace>,
}

/// A record that cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("The record {} cannot be written: {error}.", folder.display())]
pub struct Unkept {
    folder: PathBuf,
    error: io::Error,
}

/// The most happenings that are remembered; later ones are missing in the diagram.
pub const MAX_TRACES: usize = 100_000;

impl<'a, S: Backend> Recorder<'a, S> {
    /// A recorder of this stage; without a folder it changes and remembers nothing.
    pub fn new(stage: S, folder: Option<&'a Path>) -> Self {
        Self { stage, folder, traces: Vec::new() }
    }

    /// Ends everybody, and writes what is remembered, and the transcript.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn keep(self, result: &CaseResult) -> Result<(), Unkept> {
        let Self { stage, folder, traces } = self;
        drop(stage);
        let Some(folder) = folder else { return Ok(()) };
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text);
        let written = std::fs::create_dir_all(folder)
            .and_then(|()| write("timeline.txt", report::timeline(result)))
            .and_then(|()| {
                write("diagram.mmd", crate::runner::record::diagram::render(&traces, &result.transcript, result.began))
            });
        written.map_err(|error| Unkept { folder: folder.to_owned(), error })
    }

    fn remember(&mut self, happening: &BackendEvent) {
        if let BackendEvent::Output { actor, at, output: ActorOutput::Event(event) } = happening
            && self.folder.is_some()
            && self.traces.len() < MAX_TRACES
        {
            self.traces.extend(Trace::of(actor, *at, event));
        }
    }
}

impl<S: Backend> Backend for Recorder<'_, S> {
    fn now(&self) -> Instant {
        self.stage.now()
    }

    fn next(&mut self, until: Instant) -> BackendEvent {
        let happening = self.stage.next(until);
        self.remember(&happening);
        happening
    }

    fn start(&mut self, launch: &LaunchSpec) -> Result<(), BackendError> {
        let mut launch = launch.clone();
        let traces = launch.args.iter().any(|arg| arg == "--trace");
        if self.folder.is_some() && !launch.text && !traces {
            launch.args.push("--trace".to_owned());
        }
        self.stage.start(&launch)
    }

    fn restart(&mut self, actor: &ActorId) -> Result<(), BackendError> {
        self.stage.restart(actor)
    }

    fn type_line(&mut self, actor: &ActorId, line: &str) -> Result<(), BackendError> {
        self.stage.type_line(actor, line)
    }

    fn close_input(&mut self, actor: &ActorId) {
        self.stage.close_input(actor);
    }

    fn signal(&mut self, actor: &ActorId, signal: Signal) -> Result<(), BackendError> {
        self.stage.signal(actor, signal)
    }

    fn is_foreign(&self) -> bool {
        self.stage.is_foreign()
    }

    fn speech(&self) -> Translator {
        self.stage.speech()
    }

    fn refuses(&self, args: &[String]) -> Option<String> {
        self.stage.refuses(args)
    }

    fn lacks(&self, need: Need) -> Option<String> {
        self.stage.lacks(need)
    }

    fn disturb(&mut self, disturbance: &NetworkChange<'_>) -> Result<(), BackendError> {
        self.stage.disturb(disturbance)
    }
}

/// The name of a play's folder: the number of the case, from 1, what of its title can stand in any name of a file, and
/// which round and retry it is but for the first.
#[must_use]
pub fn folder_name(number: usize, title: &str, turn: Attempt) -> String {
    /// The most characters of a title.
    const MAX: usize = 40;
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let title = words.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    let title: String = title.chars().take(MAX).collect();
    let mut name = format!("{number:02}-{}", title.trim_end_matches('-')).trim_end_matches('-').to_owned();
    if turn.round > 1 {
        name += &format!("-round-{}", turn.round);
    }
    if turn.retry > 0 {
        name += &format!("-retry-{}", turn.retry);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_a_name_that_any_system_takes() {
        let name = |number, title: &str| folder_name(number, title, Attempt::default());
        assert_eq!(name(3, "x leaves; \"y\" / ../ stays?"), "03-x-leaves-y-stays");
        assert_eq!(name(12, "…"), "12");
        assert_eq!(name(1, &"ab ".repeat(30)), "01-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-ab-a");
        assert_eq!(folder_name(1, "a", Attempt { round: 7, retry: 2, ..Attempt::default() }), "01-a-round-7-retry-2");
    }

    /// A stage of which only happenings are asked.
    struct RecordedBackend(Vec<BackendEvent>, Vec<LaunchSpec>);

    impl Backend for RecordedBackend {
        fn now(&self) -> Instant {
            Instant::ZERO
        }
        fn next(&mut self, _: Instant) -> BackendEvent {
            self.0.pop().unwrap_or(BackendEvent::Time)
        }
        fn start(&mut self, launch: &LaunchSpec) -> Result<(), BackendError> {
            self.1.push(launch.clone());
            Ok(())
        }
        fn restart(&mut self, _: &ActorId) -> Result<(), BackendError> {
            Ok(())
        }
        fn type_line(&mut self, _: &ActorId, _: &str) -> Result<(), BackendError> {
            Ok(())
        }
        fn close_input(&mut self, _: &ActorId) {}
        fn signal(&mut self, _: &ActorId, _: Signal) -> Result<(), BackendError> {
            Ok(())
        }
        fn lacks(&self, _: Need) -> Option<String> {
            None
        }
        fn disturb(&mut self, _: &NetworkChange<'_>) -> Result<(), BackendError> {
            Ok(())
        }
    }

    fn happening() -> BackendEvent {
        let event = serde_json::json!({"ts": "2026-01-02T03:04:05.678901Z", "event": "mail", "line": "a"});
        BackendEvent::Output { actor: ActorId::Server, at: Instant::ZERO, output: ActorOutput::Event(event) }
    }

    #[test]
    fn so_much_is_remembered_and_nothing_unasked() {
        let all = vec![happening(); MAX_TRACES + 1];
        for (folder, remembered) in [(None, 0), (Some(Path::new("none")), MAX_TRACES)] {
            let mut recorder = Recorder::new(RecordedBackend(all.clone(), Vec::new()), folder);
            while recorder.next(Instant::ZERO) != BackendEvent::Time {}
            assert_eq!(recorder.traces.len(), remembered);
        }
    }

    #[test]
    fn those_who_speak_in_events_are_asked_for_every_datagram() {
        for (folder, text, args, expected) in [
            (Some(Path::new("none")), false, vec![], vec!["--trace"]),
            (Some(Path::new("none")), false, vec!["--trace"], vec!["--trace"]),
            (Some(Path::new("none")), true, vec![], vec![]),
            (None, false, vec![], vec![]),
        ] {
            let mut recorder = Recorder::new(RecordedBackend(Vec::new(), Vec::new()), folder);
            let args = args.into_iter().map(str::to_owned).collect();
            recorder.start(&LaunchSpec { actor: ActorId::Server, name: "server".to_owned(), args, text }).unwrap();
            assert_eq!(recorder.stage.1[0].args, expected);
        }
    }
}
