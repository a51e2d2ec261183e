//! `chat run` with rounds and retries: every report marks a case that passes only sometimes as flaky.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::support::{Program, obedient, program};
use chat::proto::status::Status;
use chat::runner::report::summary::{Format, ReportFile};
use chat::runner::run::{Rounds, RunOptions, run};
use nix::sys::signal::Signal;
use serde_json::Value;
use strum::VariantArray;
use tempfile::TempDir;

/// A run that ended.
struct RepeatedRun {
    status: Status,
    /// Its lines, without the indented lines of a failure.
    lines: Vec<String>,
    folder: TempDir,
}

impl RepeatedRun {
    /// Runs two cases: one fails in the attempts `failing`, counted from 1, and one always passes.
    fn with(failing: &[u32], options: RunOptions) -> Self {
        let folder = TempDir::new().unwrap();
        let dir = folder.path().display();
        let fails: Vec<String> = failing.iter().map(|play| format!("[ $n != {play} ] && ")).collect();
        let script = format!("echo >> {dir}/plays; n=$(wc -l < {dir}/plays); {}echo fine || exit 7", fails.concat());
        let text =
            format!("case \"now and then\" points=5\nclient x\nx> {script}\nx<10s fine\ncase \"ever\"\nsleep 1ms\n");
        let file = folder.path().join("a.chat");
        fs::write(&file, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let report = |format: &Format| ReportFile { format: *format, path: folder.path().join(format.word()) };
        let reports = Format::VARIANTS.iter().map(report).collect();
        let program = Some(obedient());
        let options = RunOptions { files: vec![file], program, reports, ..options };
        let status = run(&options, &mut out, &mut err);
        assert_eq!(String::from_utf8(err).unwrap(), "");
        let time = regex::Regex::new(r"[0-9.]+ s \(own overhead [0-9.]+ s\)").unwrap();
        let shown = String::from_utf8(out).unwrap().replace(&format!("{dir}/"), "");
        let lines = shown.lines().filter(|line| !line.starts_with(' '));
        let lines = lines.map(|line| time.replace(line, "TIME").into_owned()).collect();
        Self { status, lines, folder }
    }

    fn report(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    fn lines_are(&self, expected: &[&str]) {
        assert_eq!(self.lines, expected);
    }

    fn gradescope(&self) -> Value {
        serde_json::from_str::<Value>(&self.report("gradescope")).unwrap()["tests"][0].clone()
    }

    fn classroom(&self) -> Value {
        serde_json::from_str::<Value>(&self.report("classroom")).unwrap()["tests"][0].clone()
    }

    fn summary(&self) -> Value {
        serde_json::from_str(self.report("json").lines().last().unwrap()).unwrap()
    }
}

#[test]
fn all_rounds_run_and_a_failed_one_is_named() {
    let ran = RepeatedRun::with(&[2], RunOptions { rounds: Rounds::Number(3), ..RunOptions::default() });
    assert_eq!(ran.status, Status::Failed);
    ran.lines_are(&[
        "PASS  now and then  a.chat  round 1 of 3  3 steps in TIME, 5 points",
        "PASS  ever  a.chat  round 1 of 3  1 steps in TIME",
        "FAIL  now and then  a.chat  round 2 of 3  step 3 of 3 in TIME, 5 points",
        "PASS  ever  a.chat  round 2 of 3  1 steps in TIME",
        "PASS  now and then  a.chat  round 3 of 3  3 steps in TIME, 5 points",
        "PASS  ever  a.chat  round 3 of 3  1 steps in TIME",
        "2 cases: 1 passed, 0 failed, 1 flaky, 0 skipped or not run; 3 rounds in TIME",
    ]);
    let reason = "round 2 of 3: passed in 2 of 3 plays; EXITED: ";
    for format in ["junit", "tap", "markdown"] {
        assert!(ran.report(format).contains(reason), "{}", ran.report(format));
    }
    assert_eq!((ran.gradescope()["score"].as_i64(), ran.gradescope()["tags"][0].as_str()), (Some(0), Some("flaky")));
    let json = ran.report("json");
    let plays: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let plays: Vec<String> = plays
        .iter()
        .filter(|line| line["report"] == "case")
        .map(|line| format!("{} {} {} {}", line["title"], line["verdict"], line["round"], line["plays"]))
        .collect();
    let expected = ["\"now and then\" \"passed\" 1 2", "\"now and then\" \"failed\" 2 null", "\"ever\" \"passed\" 1 3"];
    assert_eq!(plays, expected);
    assert_eq!((&ran.summary()["rounds"], &ran.summary()["flaky"]), (&3.into(), &1.into()));
}

#[test]
fn rounds_without_a_number_end_when_a_case_fails() {
    let ran = RepeatedRun::with(&[3], RunOptions { rounds: Rounds::UntilFail, ..RunOptions::default() });
    assert_eq!(ran.status, Status::Failed);
    ran.lines_are(&[
        "PASS  now and then  a.chat  round 1  3 steps in TIME, 5 points",
        "PASS  ever  a.chat  round 1  1 steps in TIME",
        "PASS  now and then  a.chat  round 2  3 steps in TIME, 5 points",
        "PASS  ever  a.chat  round 2  1 steps in TIME",
        "FAIL  now and then  a.chat  round 3  step 3 of 3 in TIME, 5 points",
        "PASS  ever  a.chat  round 3  1 steps in TIME",
        "2 cases: 1 passed, 0 failed, 1 flaky, 0 skipped or not run; 3 rounds in TIME",
    ]);
}

/// Starts a run of our own program with `--until-fail`. Returns when its third round has begun.
fn start_endless_run(options: &[&str]) -> Program {
    let home = TempDir::new().unwrap();
    let file = home.path().join("a.chat");
    fs::write(&file, "server\nclient x\nx> send x hi\nx< x: hi\n").unwrap();
    let file = file.display().to_string();
    let program = program(["run", "--until-fail", "--jobs", "2", &file]).args(options).home(home).start();
    while !program.line().contains("round 3") {}
    program
}

#[test]
fn rounds_without_a_number_end_at_a_signal() {
    let program = start_endless_run(&[]);
    program.signal(Signal::SIGINT);
    let (lines, err, status) = program.end();
    assert_eq!((err.as_str(), status), ("", Some(130)), "{lines:#?}");
    let (last, others) = lines.split_last().unwrap();
    assert!(last.contains("1 case: 1 passed, 0 failed, 0 skipped") && last.contains(" rounds in "), "{last}");
    // An interrupted case does not count as failed.
    assert!(others.iter().all(|line| line.starts_with("PASS  ") || line.starts_with("----  ")), "{others:#?}");
}

#[test]
fn rounds_without_a_number_end_with_status_0_at_the_deadline() {
    let options =
        RunOptions { rounds: Rounds::UntilFail, deadline: Some(Duration::from_secs(3)), ..RunOptions::default() };
    let ran = RepeatedRun::with(&[], options);
    assert_eq!(ran.status, Status::Ok, "{:#?}", ran.lines);
    let last = ran.lines.last().unwrap();
    assert!(last.starts_with("2 cases: 2 passed, 0 failed, 0 skipped") && last.contains(" rounds in "), "{last}");
}

#[test]
fn a_case_that_passes_on_a_retry_is_flaky_and_fails_the_run() {
    let ran = RepeatedRun::with(&[1, 2], RunOptions { retries: 3, ..RunOptions::default() });
    assert_eq!(ran.status, Status::Failed);
    ran.lines_are(&[
        "FAIL  now and then  a.chat  step 3 of 3 in TIME, 5 points",
        "FAIL  now and then  a.chat  retry 1  step 3 of 3 in TIME, 5 points",
        "FLAKY now and then  a.chat  retry 2  3 steps in TIME, 5 points",
        "PASS  ever  a.chat  1 steps in TIME",
        "2 cases: 1 passed, 0 failed, 1 flaky, 0 skipped or not run; TIME",
    ]);
    let (junit, tap) = (ran.report("junit"), ran.report("tap"));
    assert!(
        junit.contains("failures=\"1\"")
            && junit.contains("<failure type=\"FLAKY\" message=\"passed in 1 of 3 plays; ")
    );
    assert!(tap.contains("\nnot ok 1 - now and then\n") && tap.contains("  result: \"flaky\"\n"), "{tap}");
    assert!(ran.report("markdown").contains("| 1 | now and then | flaky | 0/5 |"), "{}", ran.report("markdown"));
    let test = ran.gradescope();
    assert_eq!((&test["score"], &test["status"], &test["tags"][0]), (&0.into(), &"failed".into(), &"flaky".into()));
    assert!(test["output"].as_str().unwrap().contains("FLAKY now and then"), "{test}");
    assert_eq!((&ran.classroom()["score"], &ran.classroom()["status"]), (&0.into(), &"fail".into()));
    let summary = ran.summary();
    assert_eq!((&summary["passed"], &summary["failed"], &summary["flaky"]), (&1.into(), &1.into(), &1.into()));
    assert!(ran.report("json").contains("\"verdict\":\"flaky\",\"retry\":2"), "{}", ran.report("json"));
}

#[test]
fn flaky_cases_can_be_allowed() {
    let ran = RepeatedRun::with(&[1], RunOptions { retries: 1, allow_flaky: true, ..RunOptions::default() });
    assert_eq!(ran.status, Status::Ok);
    ran.lines_are(&[
        "FAIL  now and then  a.chat  step 3 of 3 in TIME, 5 points",
        "FLAKY now and then  a.chat  retry 1  3 steps in TIME, 5 points",
        "PASS  ever  a.chat  1 steps in TIME",
        "2 cases: 1 passed, 0 failed, 1 flaky, 0 skipped or not run; TIME",
    ]);
    let (junit, tap) = (ran.report("junit"), ran.report("tap"));
    assert!(junit.contains("failures=\"0\"") && junit.contains("<flakyFailure type=\"FLAKY\" "), "{junit}");
    assert!(tap.contains("\nok 1 - now and then\n") && tap.contains("  result: \"flaky\"\n"), "{tap}");
    assert!(ran.report("markdown").contains("| 1 | now and then | flaky | 5/5 |"), "{}", ran.report("markdown"));
    let test = ran.gradescope();
    assert_eq!((&test["score"], &test["status"], &test["tags"][0]), (&5.into(), &"passed".into(), &"flaky".into()));
    assert_eq!((&ran.classroom()["score"], &ran.classroom()["status"]), (&5.into(), &"pass".into()));
    let summary = ran.summary();
    assert_eq!((&summary["passed"], &summary["failed"], &summary["flaky"]), (&2.into(), &0.into(), &1.into()));
}

#[test]
fn a_case_has_a_limited_number_of_retries() {
    let ran = RepeatedRun::with(&[1, 2, 3, 4], RunOptions { retries: 2, ..RunOptions::default() });
    assert_eq!(ran.status, Status::Failed);
    assert_eq!(ran.lines.iter().filter(|line| line.starts_with("FAIL  now and then")).count(), 3);
    assert!(ran.lines.last().unwrap().starts_with("2 cases: 1 passed, 1 failed, 0 skipped"), "{:?}", ran.lines);
    let most = RunOptions::MAX_RETRIES;
    let all: Vec<u32> = (1..=most).collect();
    let ran = RepeatedRun::with(&all, RunOptions { retries: most, ..RunOptions::default() });
    assert!(ran.lines.iter().any(|line| line.starts_with(&format!("FLAKY now and then  a.chat  retry {most}  "))));
}

/// The sorted names in a folder.
fn folders(path: PathBuf) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

#[test]
fn each_attempt_has_a_record_of_its_own() {
    let kept = TempDir::new().unwrap();
    let record = || Some(kept.path().to_owned());
    RepeatedRun::with(&[1], RunOptions { retries: 1, record: record(), ..RunOptions::default() });
    assert_eq!(folders(kept.path().to_owned()), ["01-now-and-then", "01-now-and-then-retry-1", "02-ever"]);
    let kept = TempDir::new().unwrap();
    let record = Some(kept.path().to_owned());
    // Without a number of rounds, only the records of the first round and of failed rounds are kept.
    RepeatedRun::with(&[3], RunOptions { rounds: Rounds::UntilFail, record, ..RunOptions::default() });
    assert_eq!(folders(kept.path().to_owned()), ["01-now-and-then", "01-now-and-then-round-3", "02-ever"]);
}
