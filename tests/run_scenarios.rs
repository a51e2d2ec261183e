//! Every scenario passes, played as events and as people see it.

use std::path::{Path, PathBuf};

use chat::core::status::Status;
use chat::scenario::run::{RunOptions, run};

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "chat")).collect();
    files.sort();
    files
}

/// Plays every scenario, and gives back the status and what was reported.
fn play(options: &RunOptions) -> (Status, String) {
    let program = Some(PathBuf::from(env!("CARGO_BIN_EXE_chat")));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let options = RunOptions { files: scenarios(), program, ..options.clone() };
    let status = run(&options, &mut out, &mut err);
    (status, String::from_utf8(out).unwrap() + &String::from_utf8(err).unwrap())
}

#[test]
fn every_scenario_passes_as_events() {
    let (status, report) = play(&RunOptions::default());
    assert_eq!(status, Status::Ok, "{report}");
}

#[test]
fn every_scenario_passes_as_people_see_it() {
    let (status, report) = play(&RunOptions { text: true, ..RunOptions::default() });
    assert_eq!(status, Status::Ok, "{report}");
}
