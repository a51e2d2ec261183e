//! Cancelled runs: every process is killed, the report is written, and the exit status shows the reason.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::time::{Duration, Instant};

use crate::support::{Program, program};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// A run of `chat run`. Its actors have their folders below a folder of this run.
struct Run {
    folder: TempDir,
    program: Program,
    out: BufReader<ChildStdout>,
}

impl Run {
    fn start(text: &str, options: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("a.chat");
        fs::write(&file, text).unwrap();
        let actors = folder.path().join("actors");
        fs::create_dir(&actors).unwrap();
        let mut program = program(["run"]).args(options).arg(file).env("TMPDIR", actors).unread().start();
        let out = BufReader::new(program.stdout.take().unwrap());
        Self { folder, program, out }
    }

    fn actors(&self) -> PathBuf {
        self.folder.path().join("actors")
    }

    /// Reads the report up to a line that contains `wanted`.
    fn read_to(&mut self, wanted: &str) {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert!(self.out.read_line(&mut line).unwrap() > 0, "the report ended before {wanted:?}");
        }
    }

    fn signal(&self, signal: Signal) {
        self.program.signal(signal);
    }

    /// Reads the rest of the report and waits for the end. Returns the report and the status.
    fn finish(mut self) -> (String, Option<i32>) {
        let actors = self.actors();
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        let (_, _, status) = self.program.end();
        assert_eq!(living(&actors), Vec::<String>::new());
        assert_eq!(fs::read_dir(actors).unwrap().count(), 0, "folders are left");
        (rest, status)
    }
}

/// Command lines of the processes whose working directory is below a folder.
fn living(folder: &Path) -> Vec<String> {
    let folder = fs::canonicalize(folder).unwrap();
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| Some(entry.ok()?.path()));
    let there = processes.filter(|path| fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&folder)));
    there.filter_map(|path| fs::read_to_string(path.join("cmdline")).ok()).filter(|line| !line.is_empty()).collect()
}

/// Waits until `wished` is true for the processes in a folder.
fn until(folder: &Path, what: &str, wished: impl Fn(&[String]) -> bool) {
    let begin = Instant::now();
    while !wished(&living(folder)) {
        assert!(begin.elapsed() < Duration::from_secs(60), "no {what}, but {:?}", living(folder));
        std::thread::yield_now();
    }
}

/// Waits until no process has its working directory below a folder.
fn until_no_process_lives(folder: &Path) {
    until(folder, "empty folder", <[String]>::is_empty);
}

const TWO_CASES: &str = "server\nclient x y\n\ncase \"a\"\nx<10m nothing\n\ncase \"b\"\nx alive\n";

#[test]
fn a_signal_ends_every_process_and_the_report_is_written() {
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let mut run = Run::start(TWO_CASES, &["--verbose", "--jobs", "1"]);
        run.read_to("client x y");
        assert_eq!(living(&run.actors()).len(), 3);
        run.signal(signal);
        let (report, code) = run.finish();
        assert_eq!(code, Some(status), "{report}");
        assert!(
            report.contains(&format!("cause     HALTED: the run was ended by signal {}", signal as i32)),
            "{report}"
        );
        assert!(report.contains("----  b  ") && report.contains("2 cases: 0 passed, 1 failed, 1 skipped"), "{report}");
    }
}

#[test]
fn a_deadline_ends_every_process_and_the_report_is_written() {
    let (report, code) = Run::start(TWO_CASES, &["--jobs", "1", "--deadline", "2s"]).finish();
    assert_eq!(code, Some(5), "{report}");
    assert!(report.contains("cause     DEADLINE: ") && report.contains("----  b  "), "{report}");
}

/// Three cases that wait, and a fourth that does not start while they run.
const WAITING: &str = "server\nclient x\ncase \"a\"\nx<10m nothing\ncase \"b\"\nx<10m nothing\n\
                       case \"c\"\nsleep 10m\ncase \"d\"\nx alive\n";

#[test]
fn a_signal_ends_all_running_cases() {
    let run = Run::start(WAITING, &["--jobs", "3"]);
    // Each case has a server and a client. A case that is not cancelled runs for minutes.
    until(&run.actors(), "six processes", |living| living.len() == 6);
    run.signal(Signal::SIGTERM);
    let (report, code) = run.finish();
    assert_eq!(code, Some(143), "{report}");
    assert_eq!(report.matches("cause     HALTED: the run was ended by signal 15").count(), 3, "{report}");
    assert!(report.contains("----  d  ") && report.contains("4 cases: 0 passed, 3 failed, 1 skipped"), "{report}");
}

#[test]
fn a_deadline_ends_all_running_cases() {
    let (report, code) = Run::start(WAITING, &["--jobs", "3", "--deadline", "3s"]).finish();
    assert_eq!(code, Some(5), "{report}");
    assert_eq!(report.matches("cause     DEADLINE: ").count(), 3, "{report}");
    assert!(report.contains("----  d  ") && report.contains("4 cases: 0 passed, 3 failed, 1 skipped"), "{report}");
}

/// A scenario whose report fills a pipe before the last line of the scenario.
fn talkative() -> String {
    let line = format!("x> {}\n", "a".repeat(390));
    format!("server\nclient x y\n{}sleep 10m\n", line.repeat(400))
}

#[test]
fn a_run_with_an_unread_report_still_ends_every_process() {
    let mut run = Run::start(&talkative(), &["--verbose"]);
    run.read_to("client x y");
    run.signal(Signal::SIGTERM);
    until_no_process_lives(&run.actors());
    let (_, code) = run.finish();
    assert_eq!(code, Some(143));

    let mut run = Run::start(&talkative(), &["--verbose", "--deadline", "2s"]);
    run.read_to("server");
    until_no_process_lives(&run.actors());
    let (_, code) = run.finish();
    assert_eq!(code, Some(5));
}

#[test]
fn a_closed_report_does_not_end_the_run() {
    let Run { folder, program, out } = Run::start("server\nclient x\nx> send x hi\nx< x: hi\n", &[]);
    drop(out);
    assert_eq!(program.end().2, Some(0));
    assert_eq!(living(folder.path()), Vec::<String>::new());
}
