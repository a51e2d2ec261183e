//! Scenarios with stand-in programs: the runner controls processes as the scenario says, and leaves none behind.

use std::fs;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::support::obedient;
use chat::io::clock::Clock;
use chat::proto::status::Status;
use chat::runner::backend::process::{CancelToken, ProcessBackend, Program};
use chat::runner::backend::{Backend, LaunchSpec};
use chat::runner::lang::ast::ActorId;
use chat::runner::run::seed::Seed;
use chat::runner::run::{RunOptions, run};
use chat::script::pattern::MatchMode;
use tempfile::TempDir;

struct RunOutput {
    status: Status,
    out: String,
    err: String,
}

fn run_with(text: &str, options: RunOptions) -> RunOutput {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.chat");
    fs::write(&file, text).unwrap();
    let program = Some(options.program.clone().unwrap_or_else(obedient));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = run(&RunOptions { files: vec![file], program, ..options }, &mut out, &mut err);
    RunOutput { status, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn ran(text: &str) -> RunOutput {
    run_with(text, RunOptions::default())
}

fn passes(text: &str) -> RunOutput {
    let ran = ran(text);
    assert_eq!(ran.status, Status::Ok, "{}{}", ran.out, ran.err);
    ran
}

/// Asserts that the run fails with this status and that its report contains `report`.
fn fails(text: &str, status: Status, report: &str) {
    let ran = ran(text);
    assert_eq!(ran.status, status, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains(report), "no {report:?} in\n{}", ran.out);
}

/// Whether a process runs. A zombie does not.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Runs a scenario in which `x` starts a background process. Returns the pid of that process after the run.
fn pid_after(tail: &str, status: Status) -> String {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("pid");
    let text = format!("client x\nx> sleep 1000 & echo $! > {}; echo there\nx< there\n{tail}\n", file.display());
    let ran = ran(&text);
    assert_eq!(ran.status, status, "{}{}", ran.out, ran.err);
    fs::read_to_string(file).unwrap().trim().to_owned()
}

#[test]
fn every_process_of_a_group_is_killed_however_the_case_ends() {
    for (tail, status) in [
        ("x alive", Status::Ok),
        ("x<10ms nothing", Status::Expected),
        ("kill x", Status::Ok),
        ("pause x", Status::Ok),
        ("x> exit 7\nx exits 0", Status::Failed),
        ("x> trap '' TERM INT HUP; echo stubborn\nx< stubborn\nterm x\ninterrupt x\nhangup x", Status::Ok),
    ] {
        let pid = pid_after(tail, status);
        assert!(!pid.is_empty() && !runs(&pid), "{tail}: {pid}");
    }
}

#[test]
fn a_restart_kills_the_old_process_group() {
    let pid = pid_after("x> trap 'exit 0' TERM\nrestart x\nx alive\nx< [Welcome, You are registered.]", Status::Ok);
    assert!(!pid.is_empty() && !runs(&pid));
}

#[test]
fn an_actor_has_a_home_and_an_environment_of_its_own() {
    let ran = passes(
        "server\nclient x\nmark\nserver> echo $HOME\nserver< {server}\nx> echo $HOME; pwd; echo $NO_COLOR:$TZ:$LC_ALL\n\
         x< {home}\nx< ${home}\nx< 1:UTC:C.UTF-8\n\
         x> ls -d $XDG_STATE_HOME $XDG_CONFIG_HOME $XDG_DATA_HOME $XDG_CACHE_HOME $XDG_RUNTIME_DIR $TMPDIR | wc -l\n\
         x< 6\nx> [ $HOME = ${server} ] || echo other\nx< other\nx> echo kept > file; echo $HOME\nx< ${home}\n\
         kill x\nrestart x\nx> cat file\nx< kept\nx> echo $HOME\nx< ${home}\n",
    );
    assert!(ran.out.contains("PASS"), "{}", ran.out);
}

#[test]
fn a_restart_keeps_arguments_and_port() {
    passes(
        "server --db file\nclient x=y -- --trace\nserver> echo $*\nserver< -s {port} --json --control {*} --fault seed={*} --db file\nx> echo $*\n\
         x< -c y 127.0.0.1 ${port} {own} --typed --json --control {*} --fault seed={*} --trace\nkill x\nkill server\nrestart server\nserver> echo $*\n\
         server< -s ${port} --json --control {*} --fault seed={*} --db file\nrestart x\nx> echo $*\n\
         x< -c y 127.0.0.1 ${port} ${own} --typed --json --control {*} --fault seed={*} --trace\n",
    );
}

#[test]
fn a_client_with_text_output_knows_its_port_from_the_start() {
    passes(
        "server --text\nclient x -- --text\nx> echo $*\nx< /^-c x 127.0.0.1 (?<port>[1-9]\\d+) [1-9]\\d+ --typed --control \\S+ --fault seed=\\d+ --text$/\nserver> echo $*\nserver< -s ${port} --control {*} --fault seed={*} --text\n",
    );
}

#[test]
fn without_a_server_nobody_listens_on_its_port() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("words");
    passes(&format!("client x\nx> echo $* > {}; echo done\nx< done\n", file.display()));
    let words = fs::read_to_string(file).unwrap();
    let port: u16 = words.split(' ').nth(3).unwrap().parse().unwrap();
    assert!(port >= 1024, "{words}");
    // The port is free again after the run. Another program may use it for a short time.
    let since = Instant::now();
    while let Err(why) = std::net::UdpSocket::bind(("127.0.0.1", port)) {
        assert!(since.elapsed() < Duration::from_secs(30), "{why}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn each_signal_directive_sends_its_signal() {
    passes("client x\nterm x\nx exits 143\n");
    passes("client x\ninterrupt x\nx exits 130\n");
    passes("client x\nhangup x\nx exits 129\n");
    passes("client x\nkill x\nx exits 137\n");
    passes(
        "client x\nx> trap 'echo caught' INT\nx> echo set\nx< set\ninterrupt x\nx> echo more\nx< caught\nx< more\nx alive\n",
    );
    passes("client x\npause x\nx> echo awake\nx!< awake\nresume x\nx< awake\n");
    passes("client x\neof x\nx exits 0\n");
}

#[test]
fn each_cause_is_reported() {
    fails("client x\nx<10ms hello\n", Status::Expected, "cause     SILENCE: x showed nothing like it within 10ms");
    fails("client x\nx> sleep 0.1; echo hello\nx<10ms hello\n", Status::Expected, "cause     LATE: x showed it ");
    fails("client x\nx> echo hallo\nx<1s hello\n", Status::Expected, "cause     WRONG TEXT: x showed something else");
    fails("client x\nx> echo a; echo a\nx< a\nx!< a\n", Status::Failed, "cause     DUPLICATE: x showed it again: `a`");
    fails("client x\nx> exit 9\nx< a\n", Status::Failed, "cause     EXITED: x ended with status 9 by itself");
    fails("client x\nx> kill -SEGV $$\nx< a\n", Status::Failed, "cause     EXITED: x was ended by signal 11");
    fails("client x\nx> echo a\nx!< a\n", Status::Failed, "cause     FORBIDDEN: x showed `a`");
    fails("client x\nx> exec yes\nsleep 30m\n", Status::Failed, "cause     FLOOD: x wrote more than 500000 lines");
    fails("client x\nx> exec yes >&2\nsleep 30m\n", Status::Failed, "cause     FLOOD: x wrote more than 500000 lines");
    let endless = "client x\nx> exec tr '\\0' a < /dev/zero\nsleep 30m\n";
    fails(endless, Status::Failed, "cause     FLOOD: x wrote a line of more than 4 MiB");
}

#[test]
fn a_failure_shows_the_line_and_the_last_output_of_every_actor() {
    let ran = ran(
        "server\nclient x\nserver> echo from the server\nserver< from the server\nx> echo oops >&2; echo hallo\nx<1s hello\n",
    );
    for part in
        ["a.chat:6:1\n", "line      x<1s hello\n", "expected  hello\n", "nearest   hallo  (at ", "  from the server\n"]
    {
        assert!(ran.out.contains(part), "no {part:?} in\n{}", ran.out);
    }
    assert!(ran.out.contains("! oops\n") && ran.out.contains("> echo oops >&2; echo hallo\n"), "{}", ran.out);
    assert!(ran.out.ends_with(")\n") && ran.out.contains("1 case: 0 passed, 1 failed, 0 skipped or not run; "));
}

#[test]
fn an_actor_that_never_reads_blocks_nothing() {
    let long = format!("client x\nset v={}\n{}", "a".repeat(1000), "set v=${v}${v}\n".repeat(6));
    let deaf = format!("{long}x> echo deaf; exec sleep 1000\nx< deaf\n");
    passes(&format!("{deaf}{}x alive\nkill x\n", "x> ${v}\n".repeat(60)));
    let text = format!("{deaf}{}", "x> ${v}\n".repeat(80));
    fails(&text, Status::Failed, "x does not read its input, and more than 4 MiB wait already");
    let closed = "client x\nx> echo deaf; exec sleep 1000\nx< deaf\neof x\nx> echo a\n";
    fails(closed, Status::Failed, "x cannot be typed to, its input is closed");
}

#[test]
fn output_held_open_by_another_process_does_not_delay_the_end() {
    // A process that has left the process group keeps the output open. The end of the actor is noticed anyway.
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("pid");
    passes(&format!(
        "client x\nx> setsid sh -c 'echo $$ > {0}; exec sleep 20' & while [ ! -s {0} ]; do sleep 0.01; done; exit 3\nx exits 3\n",
        file.display()
    ));
    let pid = fs::read_to_string(file).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.trim().parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn a_last_line_without_a_newline_counts() {
    passes("client x -- --text\nx> printf 'last words'; exit 3\nx< last words\nx exits 3\n");
}

#[test]
fn each_reason_that_prevents_a_run_has_its_own_status() {
    let missing = RunOptions { program: Some("/nowhere/chat".into()), ..RunOptions::default() };
    let ran = run_with("client x\nx alive\n", missing);
    assert_eq!(ran.status, Status::Environment);
    assert!(ran.out.contains("cause     NOT READY: x cannot be started: "), "{}", ran.out);
    let ran = self::ran("client x\nx< \n");
    assert_eq!((ran.status, ran.out.as_str()), (Status::Parse, ""));
    assert!(ran.err.contains("a.chat:2:"), "{}", ran.err);
    let options = RunOptions { files: vec!["/nowhere.chat".into()], ..RunOptions::default() };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    assert_eq!(run(&options, &mut out, &mut err), Status::Environment);
    assert!(String::from_utf8(err).unwrap().starts_with("The file /nowhere.chat cannot be read: "));
    let options = RunOptions { case: Some("zzz".to_owned()), ..RunOptions::default() };
    let ran = run_with("client x\nx alive\n", options);
    assert_eq!(ran.status, Status::Usage);
    assert_eq!(ran.err, "No case has a title with \"zzz\" in it.\n");
    let options = RunOptions { text: true, ..RunOptions::default() };
    let ran = run_with("client x\nx< {\"event\":\"registered\"}\n", options);
    assert_eq!(ran.status, Status::Parse);
    assert!(ran.err.contains("a JSON pattern never matches what people see"), "{}", ran.err);
    let ran = self::ran("server --bogus\n");
    assert_eq!(ran.status, Status::Ok, "the stand-in does not mind");
}

#[test]
fn the_next_case_runs_after_a_failure_and_the_first_status_counts() {
    let text = "client x\ncase \"a\"\nx> exit 9\nx exits 0\ncase \"b\"\nx<10ms a\ncase \"c\"\nx alive\n";
    let ran = self::ran(text);
    assert_eq!(ran.status, Status::Failed);
    assert!(ran.out.contains("3 cases: 1 passed, 2 failed, 0 skipped or not run; "), "{}", ran.out);
    let ran = run_with(text, RunOptions { fail_fast: true, ..RunOptions::default() });
    assert!(ran.out.contains("3 cases: 0 passed, 1 failed, 2 skipped or not run; "), "{}", ran.out);
    let ran = run_with(text, RunOptions { case: Some("c".to_owned()), ..RunOptions::default() });
    assert_eq!(ran.status, Status::Ok, "{}", ran.out);
    let deadline = Some(Duration::from_secs(2));
    let ran = run_with(
        "client x\ncase \"a\"\nx<1m a\ncase \"b\"\nx alive\n",
        RunOptions { deadline, ..RunOptions::default() },
    );
    assert_eq!(ran.status, Status::Expected);
    assert!(ran.out.contains("cause     DEADLINE: ") && ran.out.contains("----  b  "), "{}", ran.out);
}

#[test]
fn the_replay_command_has_the_same_options() {
    let options = RunOptions { style: MatchMode::Loose, time_scale: 0.5, ..RunOptions::default() };
    let ran = run_with("client x\nx<10ms a\n", options);
    assert!(ran.out.contains("      replay    chat run --match loose --time-scale 0.5 --case a /"), "{}", ran.out);
}

#[test]
fn a_program_without_fault_control_fails_the_case() {
    let report = "cause     NOT READY: x does not take orders for its network";
    fails("client x\ndrop x->* 1\nx alive\n", Status::Environment, report);
    // An actor that has ended sends nothing, so it needs no faults.
    passes("client x\nx> exit 0\ndrop x->* 1\nheal\nx exits 0\n");
}

#[test]
fn a_json_report_has_one_object_a_line() {
    let text = "client x\ncase \"a\" points=2\nx alive\ncase \"b\"\nx> echo hallo\nx<1s hello\n";
    let ran = run_with(text, RunOptions { json: true, ..RunOptions::default() });
    let lines: Vec<serde_json::Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = lines.iter().map(|line| line["report"].as_str().unwrap()).collect();
    let expected =
        ["case_started", "step", "step", "case", "case_started", "step", "step", "step", "failure", "case", "summary"];
    assert_eq!(kinds, expected);
    assert!(lines.iter().all(|line| line["v"] == 1));
    assert_eq!((&lines[3]["verdict"], &lines[3]["points"]), (&"passed".into(), &2.into()));
    let failure = &lines[8];
    assert_eq!(
        (&failure["cause"], &failure["line"], &failure["actor"]),
        (&"WRONG TEXT".into(), &6.into(), &"x".into())
    );
    assert_eq!((&failure["expected"], &failure["nearest"]), (&"hello".into(), &"hallo".into()));
    assert!(failure["transcript"].as_array().unwrap().iter().any(|row| row["kind"] == "typed"));
    assert_eq!((&lines[10]["passed"], &lines[10]["status"]), (&1.into(), &5.into()));
}

#[test]
fn verbose_reports_each_step() {
    let ran = run_with("client x\nx alive\n", RunOptions { verbose: true, ..RunOptions::default() });
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("CASE  a  ") && lines[1].ends_with("client x") && lines[2].ends_with("x alive"));
}

#[test]
fn a_closed_report_output_does_not_change_the_status() {
    struct Gone(io::ErrorKind);
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.chat");
    fs::write(&file, "client x\nx alive\n").unwrap();
    let options = RunOptions { files: vec![file], program: Some(obedient()), ..RunOptions::default() };
    let mut err = Vec::new();
    assert_eq!(run(&options, &mut Gone(io::ErrorKind::BrokenPipe), &mut err), Status::Ok);
    assert_eq!(String::from_utf8(err.clone()).unwrap(), "");
    assert_eq!(run(&options, &mut Gone(io::ErrorKind::StorageFull), &mut err), Status::Environment);
    assert!(String::from_utf8(err).unwrap().starts_with("The report cannot be written: "));
}

#[test]
fn a_panic_kills_every_process() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("pid");
    let (clock, cancel) = (Clock::start(), CancelToken::default());
    let script = format!("echo $$ > {}; echo there", file.display());
    let panicked = std::panic::catch_unwind(|| {
        let mut backend = ProcessBackend::new(clock, &Program::Own(obedient()), &cancel, Seed(7)).unwrap();
        let actor = ActorId::Client("x".parse().unwrap());
        let launch = LaunchSpec { actor: actor.clone(), name: "x".to_owned(), args: Vec::new(), text: true };
        backend.start(&launch).unwrap();
        backend.type_line(&actor, &script).unwrap();
        while fs::read_to_string(&file).unwrap_or_default().is_empty() {
            let until = backend.now() + Duration::from_millis(10);
            backend.next(until);
        }
        panic!("on purpose");
    });
    assert!(panicked.is_err());
    let pid = fs::read_to_string(&file).unwrap();
    assert!(!pid.trim().is_empty() && !runs(pid.trim()), "{pid}");
}
