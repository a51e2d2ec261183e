//! `chat run --jobs`: cases run in parallel, and they are reported in the order of the file.

use std::fs;

use crate::support::{obedient, program};
use chat::proto::status::Status;
use chat::runner::backend::simulated::LinkModel;
use chat::runner::report::summary::{Format, ReportFile};
use chat::runner::run::{RunOptions, SimulationOptions, run};
use tempfile::TempDir;

/// A shell command that waits until a file exists.
fn wait_for_file(file: &str) -> String {
    format!("while [ ! -e {file} ]; do sleep 0.01; done")
}

/// Runs a scenario after replacing `DIR` by the folder. Returns the status and the report without times.
fn ran(folder: &TempDir, text: &str, options: RunOptions) -> (Status, Vec<String>) {
    let file = folder.path().join("a.chat");
    fs::write(&file, text.replace("DIR", folder.path().to_str().unwrap())).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = run(&RunOptions { files: vec![file], program: Some(obedient()), ..options }, &mut out, &mut err);
    assert_eq!(String::from_utf8(err).unwrap(), "");
    let time = regex::Regex::new(r" +[0-9]+[.][0-9]{3} s").unwrap();
    let shown = String::from_utf8(out).unwrap().replace(folder.path().to_str().unwrap(), "DIR");
    (status, shown.lines().map(|line| time.replace_all(line, " TIME").into_owned()).collect())
}

/// Two cases that wait for each other. They pass only if they run in parallel.
fn two_cases() -> String {
    format!(
        "case \"a\"\nclient x\nx> touch DIR/a; {}; echo met\nx<20s met\n\
         case \"b\"\nclient x\nx> touch DIR/b; {}; echo met\nx<20s met\n",
        wait_for_file("DIR/b"),
        wait_for_file("DIR/a")
    )
}

#[test]
fn two_cases_run_in_parallel_and_are_reported_in_order() {
    let folder = TempDir::new().unwrap();
    let (status, shown) = ran(&folder, &two_cases(), RunOptions { jobs: 2, verbose: true, ..RunOptions::default() });
    let expected = [
        "CASE  a  DIR/a.chat",
        "  ok TIME  client x",
        "  ok TIME  x> touch DIR/a; while [ ! -e DIR/b ]; do sleep 0.01; done; echo met",
        "  ok TIME  x<20s met",
        "PASS  a  DIR/a.chat  3 steps in TIME (own overhead TIME)",
        "CASE  b  DIR/a.chat",
        "  ok TIME  client x",
        "  ok TIME  x> touch DIR/b; while [ ! -e DIR/a ]; do sleep 0.01; done; echo met",
        "  ok TIME  x<20s met",
        "PASS  b  DIR/a.chat  3 steps in TIME (own overhead TIME)",
        "2 cases: 2 passed, 0 failed, 0 skipped or not run; TIME (own overhead TIME)",
    ];
    assert_eq!((status, shown), (Status::Ok, expected.map(str::to_owned).to_vec()));
}

#[test]
fn one_job_runs_one_case_at_a_time() {
    let folder = TempDir::new().unwrap();
    let (status, shown) = ran(&folder, &two_cases().replacen("<20s", "<100ms", 1), RunOptions::default());
    assert_eq!(status, Status::Expected);
    assert!(shown[0].starts_with("FAIL  a  ") && shown.iter().any(|line| line.starts_with("PASS  b  ")), "{shown:#?}");
}

#[test]
fn parallel_cases_have_separate_records_ports_and_report_entries() {
    let folder = TempDir::new().unwrap();
    let report = folder.path().join("results.tap");
    let options = RunOptions {
        jobs: 2,
        record: Some(folder.path().join("kept")),
        reports: vec![ReportFile { format: Format::Tap, path: report.clone() }],
        ..RunOptions::default()
    };
    let text = two_cases().replace("echo met", "echo $*");
    let text = text.replace("x<20s met", "x<20s -c x {*} {*} {*} --typed{*}");
    assert_eq!(ran(&folder, &text, options).0, Status::Ok);
    let kept = |case: &str| fs::read_to_string(folder.path().join("kept").join(case).join("timeline.txt")).unwrap();
    let ports = ["01-a", "02-b"].map(|case| {
        let (kept, marks) = (kept(case), "-c x 127.0.0.1 ");
        let words: Vec<String> = kept.split(marks).nth(1).unwrap().split(' ').take(2).map(str::to_owned).collect();
        words
    });
    assert!(ports[0].iter().all(|port| !ports[1].contains(port)), "{ports:?}");
    let tap = fs::read_to_string(report).unwrap();
    assert!(tap.contains("\nok 1 - a\n") && tap.contains("\nok 2 - b\n"), "{tap}");
}

#[test]
fn after_a_failure_running_cases_finish_and_no_other_starts() {
    let folder = TempDir::new().unwrap();
    // The second case ends when the report of the first case is written.
    let text = format!(
        "case \"a\"\nclient x\nx> {}; exit 3\nx exits 0\n\
         case \"b\"\nclient x\nx> touch DIR/b; until grep -q verdict.:.failed DIR/r.json; do sleep 0.01; done; echo seen\n\
         x<20s seen\ncase \"c\"\nclient x\nx alive\n",
        wait_for_file("DIR/b")
    );
    let reports = vec![ReportFile { format: Format::Json, path: folder.path().join("r.json") }];
    let options = RunOptions { jobs: 2, fail_fast: true, reports, ..RunOptions::default() };
    let (status, shown) = ran(&folder, &text, options);
    let cases: Vec<&str> = shown.iter().filter(|line| !line.starts_with(' ')).map(String::as_str).collect();
    let expected = [
        "FAIL  a  DIR/a.chat  step 3 of 3 in TIME (own overhead TIME)",
        "PASS  b  DIR/a.chat  3 steps in TIME (own overhead TIME)",
        "----  c  DIR/a.chat  not run: a case before it failed (--fail-fast)",
        "3 cases: 1 passed, 1 failed, 1 skipped or not run; TIME (own overhead TIME)",
    ];
    assert_eq!((status, cases), (Status::Failed, expected.to_vec()));
}

#[test]
fn parallel_simulated_cases_give_the_same_report() {
    let folder = TempDir::new().unwrap();
    let text: String = (0..9).map(|n| format!("case \"{n}\"\nserver\nclient x y\nx> send y hi\ny< x: hi\n")).collect();
    let net = *LinkModel::PRESETS.iter().find(|(name, _)| *name == "lan").unwrap();
    let simulation = Some(SimulationOptions { first: 7, seeds: 5, net });
    let run_with_jobs =
        |jobs| ran(&folder, &text, RunOptions { jobs, simulation, verbose: true, ..RunOptions::default() });
    let (one, several) = (run_with_jobs(1), run_with_jobs(4));
    assert_eq!(one, several);
    assert_eq!(one.0, Status::Ok);
}

/// Runs two_cases cases with these options. Returns standard output, standard error and the status.
fn chat(words: &[&str]) -> (String, String, Option<i32>) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("a.chat"), "case \"a\"\nsleep 1ms\ncase \"b\"\nclient x\nx< {\"event\":\"zz\"}\n")
        .unwrap();
    program(["run", "a.chat"]).args(words).folder(folder.path()).run().parts()
}

#[test]
fn numbers_beyond_their_limits_are_refused() {
    let limits = [("--jobs", 1, 64), ("--repeat", 1, 100_000), ("--retries", 0, 16), ("--seeds", 1, 1_000_000)];
    for (option, least, most) in limits {
        let chat =
            |words: &[&str]| chat(&[if option == "--seeds" { &["--simulate"][..] } else { &[] }, words].concat());
        for word in [(least - 1).to_string(), (most + 1).to_string(), "many".to_owned(), String::new()] {
            let sentence = format!("{option} is a number from {least} to {most}, and {word:?} is not.\n");
            assert_eq!(chat(&[option, &word]), (String::new(), sentence, Some(1)));
        }
        for word in [least.to_string(), most.to_string()] {
            assert_eq!(chat(&["--check", option, &word]).2, Some(0), "{option} {word}");
        }
    }
}

#[test]
fn the_last_of_two_opposite_options_counts() {
    let fast = ["--case", "b", "--jobs", "1", "--time-scale", "0.1"];
    let (_, _, status) = chat(&[&fast[..], &["--keep-going", "--fail-fast"]].concat());
    assert_eq!(status, Some(5));
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.chat");
    fs::write(&file, "case \"a\"\nclient x\nkill x\nx exits 0\ncase \"b\"\nsleep 1ms\n").unwrap();
    for (words, summary) in [
        (&[][..], "1 passed, 1 failed, 0 skipped"),
        (&["--fail-fast"], "0 passed, 1 failed, 1 skipped"),
        (&["--fail-fast", "--keep-going"], "1 passed, 1 failed, 0 skipped"),
        (&["--keep-going", "--fail-fast"], "0 passed, 1 failed, 1 skipped"),
    ] {
        let shown = program(["run", "--jobs", "1"]).args(words).arg(&file).run().stdout;
        assert!(shown.contains(summary), "{words:?}: {shown}");
    }
}

#[test]
fn conflicting_options_are_refused() {
    for (words, sentence) in [
        (&["--repeat", "2", "--until-fail"][..], "--repeat and --until-fail exclude each other.\n"),
        (&["--repeat", "2", "--retries", "2"], "--repeat and --retries exclude each other.\n"),
        (&["--until-fail", "--retries", "2"], "--until-fail and --retries exclude each other.\n"),
        (&["--bless", "--retries", "2"], "--bless and --retries exclude each other.\n"),
        (&["--simulate", "--retries", "2"], "--simulate and --retries exclude each other.\n"),
        (&["--check", "--list"], "--check and --list exclude each other.\n"),
        (&["--check", "--bless"], "--check and --bless exclude each other.\n"),
        (&["--report", "tap=a", "--list"], "--report and --list exclude each other.\n"),
    ] {
        assert_eq!(chat(words), (String::new(), sentence.to_owned(), Some(1)));
    }
}
