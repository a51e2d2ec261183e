//! Every scenario passes, played as events and as people see it.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use chat::core::status::Status;
use chat::scenario::run::{RunOptions, run};

/// How many files are played at once: they wait more than they work.
const AT_ONCE: usize = 4;

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "chat")).collect();
    files.sort();
    files
}

/// Plays a scenario, and gives back the status and what was reported.
fn play(file: PathBuf, text: bool) -> (Status, String) {
    let program = Some(PathBuf::from(env!("CARGO_BIN_EXE_chat")));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let options = RunOptions { files: vec![file], program, text, ..RunOptions::default() };
    let status = run(&options, &mut out, &mut err);
    (status, String::from_utf8(out).unwrap() + &String::from_utf8(err).unwrap())
}

/// The reports of those that did not pass.
fn failures(text: bool) -> Vec<String> {
    let (files, failures) = (Mutex::new(scenarios()), Mutex::new(Vec::new()));
    assert!(files.lock().unwrap().len() >= 18, "scenarios are missing");
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(file) = files.lock().unwrap().pop() else { return };
                    let (status, report) = play(file, text);
                    if status != Status::Ok || report.contains("SKIP") {
                        failures.lock().unwrap().push(report);
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

#[test]
fn every_scenario_passes_as_events() {
    let failures = failures(false);
    assert!(failures.is_empty(), "{}", failures.concat());
}

#[test]
fn every_scenario_passes_as_people_see_it() {
    let failures = failures(true);
    assert!(failures.is_empty(), "{}", failures.concat());
}
