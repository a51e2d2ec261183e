//! Every scenario passes with real processes, both with JSON output and with text output.

use std::path::PathBuf;

use crate::support::{PROGRAM, root};
use chat::proto::status::Status;
use chat::runner::run::{RunOptions, run};

/// Number of cases that run in parallel. Cases mostly wait, so it may exceed the number of processors.
const PARALLEL_CASES: usize = 4;

fn scenarios() -> Vec<PathBuf> {
    let folder = root().join("scenarios");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "chat")).collect();
    files.sort();
    files
}

/// Runs files. No case may fail or be skipped.
fn pass(files: Vec<PathBuf>, text: bool) {
    let program = Some(PathBuf::from(PROGRAM));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let options = RunOptions { files, program, text, jobs: PARALLEL_CASES, ..RunOptions::default() };
    let status = run(&options, &mut out, &mut err);
    let report = String::from_utf8(out).unwrap() + &String::from_utf8(err).unwrap();
    assert!(status == Status::Ok && !report.contains("SKIP  "), "{report}");
}

#[test]
fn every_scenario_passes_as_events() {
    assert!(scenarios().len() >= 25, "scenarios are missing");
    pass(scenarios(), false);
}

#[test]
fn every_scenario_passes_as_text() {
    pass(scenarios(), true);
}
