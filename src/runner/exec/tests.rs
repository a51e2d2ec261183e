//! Tests of the executor on mock actors: the effect of each statement, each cause of failure, and the overhead.

use std::path::Path;

use std::time::Duration;

use crate::proto::status::Status;
use crate::proto::time::Instant;
use crate::runner::exec::executor::{ExecSettings, INTERNAL_ERROR_STATUSES, run_case};
use crate::runner::exec::mock_backend::MockBackend;
use crate::runner::lang;
use crate::runner::lang::ast::Case;
use crate::runner::report::attempt::Attempt;
use crate::runner::report::outcome::TranscriptKind;
use crate::runner::report::outcome::{CaseFailure, CaseInfo, CaseResult, Cause, Verdict};

fn run_on(backend: &MockBackend, settings: &ExecSettings, text: &str) -> Vec<CaseResult> {
    let scenario = lang::load(Path::new("a.chat"), &mut |_| Ok(text.into())).unwrap_or_else(|why| panic!("{why}"));
    let one = |case: &Case| {
        let info = CaseInfo {
            file: "a.chat".into(),
            title: case.title.clone(),
            points: case.points,
            visibility: case.visibility,
            span: case.span.clone(),
            steps: scenario.setup.len() + case.statements.len(),
            attempt: Attempt::default(),
        };
        run_case(info, &scenario.setup, case, &mut backend.clone(), settings, &mut ())
    };
    scenario.cases.iter().map(one).collect()
}

fn result_of(text: &str) -> CaseResult {
    run_on(&MockBackend::default(), &ExecSettings::default(), text).remove(0)
}

fn passes(text: &str) -> CaseResult {
    let result = result_of(text);
    assert!(matches!(result.verdict, Verdict::Passed), "{text}\n{:?}", result.verdict);
    result
}

fn failure_of(result: CaseResult) -> CaseFailure {
    match result.verdict {
        Verdict::Failed(failure) => *failure,
        other => panic!("{other:?}"),
    }
}

/// The cause in one word, the line number, the exit status and the sentence of a failure.
fn fails(text: &str) -> (&'static str, usize, u8, String) {
    let failure = failure_of(result_of(text));
    (failure.cause.word(), failure.span.line, failure.status.code(), failure.sentence)
}

fn expected(word: &'static str, line: usize, status: u8, sentence: &str) -> (&'static str, usize, u8, String) {
    (word, line, status, sentence.to_owned())
}

#[test]
fn early_output_matches_and_nothing_matches_twice() {
    passes("server\nclient x\nx> say a; say b; say c\nx< a\nx<~ c\nx< b\nx!< /a|b|c/\n");
    passes("server\nclient x\nx< [Welcome, You are registered.]\n");
    let twice = fails("server\nclient x\nx> say a\nx< a\nx< a\n");
    assert_eq!(twice, expected("SILENCE", 5, 5, "x showed nothing like it within 4s"));
}

#[test]
fn values_are_captured_and_replaced() {
    passes("server\nclient x y\nset b=two\nx> say one ${b}\nx< {a} ${b}\ny> say ${a}${a} $${a}\ny< oneone $${a}\n");
}

#[test]
fn each_actor_takes_its_own_match_within_one_limit() {
    passes("server\nclient x y\nx> say_at 3000 a\ny> say_at 3900 a\n*< a\n");
    let late = fails("server\nclient x y\nx> say_at 3000 a\ny> say_at 4200 a\nx,y< a\n");
    assert_eq!(late, expected("LATE", 5, 5, "y showed it 200ms after the limit of 4s"));
}

#[test]
fn a_match_at_the_limit_passes_and_a_later_one_is_late() {
    passes("server\nclient x\nx> say_at 1000 a\nx<1s a\n");
    let late = fails("server\nclient x\nx> say_at 1001 a\nx<1s a\n");
    assert_eq!(late, expected("LATE", 4, 5, "x showed it 1ms after the limit of 1s"));
    let silent = fails("server\nclient x\nx> say_at 1501 a\nx<1s a\n");
    assert_eq!(silent, expected("SILENCE", 4, 5, "x showed nothing like it within 1s"));
}

#[test]
fn a_match_at_the_end_of_a_window_is_forbidden_and_a_later_one_is_not() {
    passes("server\nclient x\nx> say_at 701 a\nx!< a\nx< a\n");
    let came = fails("server\nclient x\nx> say_at 700 a\nx!< a\n");
    assert_eq!(came, expected("FORBIDDEN", 4, 4, "x showed `a`, 700ms into 700ms"));
}

#[test]
fn a_repeated_line_is_a_duplicate() {
    let again = fails("server\nclient x\nx> say a; say_at 500 a\nx< a\nx!< a\n");
    assert_eq!(again, expected("DUPLICATE", 5, 4, "x showed it again: `a`"));
    let instead = fails(
        "server\nclient x\nx> say message number 1; say message number 1\nx< message number 1\nx< message number 2\n",
    );
    assert_eq!(instead, expected("DUPLICATE", 5, 5, "x showed another line again within 4s"));
}

#[test]
fn a_similar_line_is_a_wrong_text_and_is_shown() {
    let result = result_of("server\nclient x\nx> say [Message recieved by y]\nx< [Message received by y.]\n");
    let failure = failure_of(result);
    assert_eq!(failure.cause, Cause::WrongText);
    assert_eq!(failure.expected.as_deref(), Some("[Message received by y.]"));
    assert_eq!(failure.nearest.map(|nearest| nearest.text).as_deref(), Some("[Message recieved by y]"));
    let skipped = fails("server\nclient x\nx> say first; say second\nx< second\nx< first\n");
    let sentence = "x showed it before what was taken last; `<~` takes lines in any order";
    assert_eq!(skipped, expected("WRONG TEXT", 5, 5, sentence));
}

#[test]
fn an_actor_that_ends_while_something_is_expected_fails_at_once() {
    let result = result_of("server\nclient x\nx> die_at 1000 1\nx< a\n");
    assert!(result.took < Duration::from_millis(1100), "{:?}", result.took);
    let sentence = "x ended with status 1 by itself, and nothing asked it to";
    assert_eq!(fails("server\nclient x\nx> die_at 1000 1\nx< a\n"), expected("EXITED", 4, 4, sentence));
    assert_eq!(fails("server\nclient x\nx> exit\nx< a\n"), expected("EXITED", 4, 4, "x ended with status 0"));
    passes("server\nclient x\nx> say last words; exit\nx< last words\nx exits 0\n");
}

#[test]
fn an_unexpected_end_fails_at_the_next_statement_with_the_actor() {
    let sentence = "x ended with status 1 by itself, and nothing asked it to";
    for line in ["x!< a", "x> say a", "x alive", "mark x", "kill x", "restart x", "*!< a", "y,x< {*}", "eof x"] {
        let text = format!("server\nclient x y\nx> say a; die 1\ny!< a\n{line}\n");
        assert_eq!(fails(&text), expected("EXITED", 5, 4, sentence), "{line}");
    }
    let at_the_end = fails("server\nclient x y\nx> die 1\ny!< a\n");
    assert_eq!(at_the_end, expected("EXITED", 4, 4, sentence));
    let in_the_window = fails("server\nclient x y\nx> die_at 100 1\nx!< a\n");
    assert_eq!(in_the_window, expected("EXITED", 4, 4, sentence));
    passes("server\nclient x y\nx> die 1\ny!< a\nx exits 1\nx!< a\n");
    // A later `exits` makes the end expected, unless a `restart` comes first.
    passes("server\nclient x\nx> say last words; die 1\nsleep 1s\nx< last words\nx exits 1\n");
    let restarted = fails("server\nclient x\nx> die 1\nsleep 1s\nrestart x\nx> die 1\nx exits 1\n");
    assert_eq!(restarted, expected("EXITED", 5, 4, sentence));
}

#[test]
fn an_expected_end_is_not_a_failure() {
    for line in ["x> exit", "kill x", "term x", "interrupt x", "hangup x", "eof x"] {
        passes(&format!("server\nclient x y\n{line}\ny!< a\n*!< a\nx exits\n"));
    }
    passes("server\nclient x\nx> event {\"event\":\"exit\",\"line\":\"[Exiting]\"}; die 3\nx< [Exiting]\nx exits 3\n");
    let settings = ExecSettings { text: true, ..ExecSettings::default() };
    let result = run_on(&MockBackend::default(), &settings, "server\nclient x\nx> say [Exiting]; die 3\nsleep 1s\n");
    assert!(matches!(result[0].verdict, Verdict::Passed), "{result:?}");
}

#[test]
fn exits_checks_the_status_and_the_limit() {
    let other = fails("server\nclient x\nx> die 1\nx exits 0\n");
    assert_eq!(other, expected("EXITED", 4, 4, "x ended with status 1 instead of status 0"));
    let never = fails("server\nclient x\nx exits\n");
    assert_eq!(never, expected("SILENCE", 3, 5, "x still runs after 4s"));
    let late = fails("server\nclient x\nx> die_at 4100 0\nx exits 0\n");
    assert_eq!(late, expected("LATE", 4, 5, "x ended with status 0 100ms after the limit of 4s"));
    passes("server\nclient x y\nkill y\n*> exit\n* exits 0\n");
}

#[test]
fn an_internal_error_of_the_program_always_fails() {
    for status in INTERNAL_ERROR_STATUSES {
        let text = format!("server\nclient x y\nx> exit\ny> die {status}\nx!< a\ny exits {status}\n");
        let (cause, _, code, sentence) = fails(&text);
        assert_eq!((cause, code), ("EXITED", 4));
        assert_eq!(sentence, format!("y ended with status {status}, which means a fault of the program itself"));
    }
}

#[test]
fn a_client_is_ready_when_every_reachable_table_lists_it() {
    let backend = MockBackend { silent: vec!["y"], ..MockBackend::default() };
    let failure = failure_of(run_on(&backend, &ExecSettings::default(), "server\nclient x y\n").remove(0));
    assert_eq!((failure.cause, failure.sentence.as_str()), (Cause::NotReady, "y was not registered within 10s"));
    let backend = MockBackend { without_table: vec!["x"], ..MockBackend::default() };
    let failure = failure_of(run_on(&backend, &ExecSettings::default(), "server\nclient x y\n").remove(0));
    assert_eq!(failure.sentence, "the table of x did not name x within 10s");
    // An actor that is paused, offline or ended gets no table updates, and nothing waits for it.
    for line in ["pause x", "kill x", "x> event {\"event\":\"offline\"}\nx< {\"event\":\"offline\"}"] {
        passes(&format!("server\nclient x\n{line}\nclient y\n"));
    }
}

#[test]
fn readiness_of_text_actors_waits_for_silence() {
    let settings = ExecSettings { text: true, ..ExecSettings::default() };
    let text = "server\nclient x y\nx< [Welcome, You are registered.]\nrestart y\n";
    let result = run_on(&MockBackend::default(), &settings, text).remove(0);
    assert!(matches!(result.verdict, Verdict::Passed), "{:?}", result.verdict);
    assert!(result.took >= Duration::from_millis(150), "three times it was silent: {:?}", result.took);
    let backend = MockBackend { without_table: vec!["x"], ..MockBackend::default() };
    let failure = failure_of(run_on(&backend, &settings, "server\nclient x y\n").remove(0));
    assert_eq!(failure.cause, Cause::NotReady);
}

#[test]
fn a_client_that_ends_before_it_is_ready_is_not_a_failure() {
    let backend = MockBackend { refused: vec!["y"], ..MockBackend::default() };
    let text = "server\nclient x y\ny< [The name is in use.]\nx!< a\ny exits 4\n";
    let result = run_on(&backend, &ExecSettings::default(), text).remove(0);
    assert!(matches!(result.verdict, Verdict::Passed), "{:?}", result.verdict);
}

#[test]
fn a_server_that_does_not_start_fails_with_the_environment_status() {
    let failure = fails("server --impossible\n");
    assert_eq!(failure, expected("NOT READY", 1, 3, "server cannot be started: no such program"));
}

#[test]
fn the_log_continues_after_a_restart() {
    passes("server\nclient x\nx> say a\nkill x\nrestart x\nx> say b\nx< a\nx< [Welcome, You are registered.]\nx< b\n");
    passes("server\nclient x\nrestart x\nx alive\nrestart server\n");
}

#[test]
fn a_mark_hides_earlier_output() {
    passes(
        "server\nclient x y\nx> say a\ny> say a\nsleep 10ms\nmark x\nx!< a\nx!<~ a\ny< a\n"
            .replace("x!<~ a\n", "")
            .as_str(),
    );
    passes("server\nclient x y\nx> say a\ny> say a\nsleep 10ms\nmark\n*!< a\n");
}

#[test]
fn overhead_is_the_time_without_waiting() {
    let result = passes(
        "server\nclient x\nsleep 1s\nx!< a\nx> event {\"event\":\"no_ack\"}\nx< {\"event\":\"no_ack\"}\nx> say_at 20 a\nx< a\n",
    );
    assert_eq!(result.took, Duration::from_millis(3 + 1000 + 700 + 1 + 20));
    // The `no_ack` came 1 ms after its command, so it accounts for 1 ms of waiting.
    assert_eq!(result.overhead, Duration::from_millis(3 + 20));
    let failed = result_of("server\nclient x\nx< a\n");
    assert_eq!(failed.overhead, Duration::from_millis(3));
}

#[test]
fn the_time_scale_applies_to_limits_and_windows_but_not_to_sleep() {
    let settings = ExecSettings { time_scale: 2.0, ..ExecSettings::default() };
    let text = "server\nclient x\nx> say_at 7000 a\nx< a\nsleep 1s\nx!< b\n";
    let result = run_on(&MockBackend::default(), &settings, text).remove(0);
    assert!(matches!(result.verdict, Verdict::Passed), "{:?}", result.verdict);
    assert_eq!(result.took, Duration::from_millis(3 + 7000 + 1000 + 1400));
}

#[test]
fn a_flood_a_deadline_and_a_signal_end_the_case() {
    assert_eq!(fails("server\nclient x\nx> flood\nsleep 1s\n"), expected("FLOOD", 4, 4, "too much"));
    let deadline = Some(Instant::ZERO + Duration::from_secs(3));
    let settings = ExecSettings { deadline, ..ExecSettings::default() };
    let result = run_on(&MockBackend::default(), &settings, "server\nclient x\nx< a\n").remove(0);
    assert_eq!(result.took, Duration::from_secs(3));
    let failure = failure_of(result);
    assert_eq!((failure.cause, failure.status), (Cause::Deadline, Status::Expected));
    let backend = MockBackend { cancelled: Some(15), ..MockBackend::default() };
    let failure = failure_of(run_on(&backend, &ExecSettings::default(), "server\n").remove(0));
    assert_eq!((failure.cause, failure.status), (Cause::Halted(15), Status::Signal(15)));
}

#[test]
fn unsupported_cases_are_skipped_before_any_actor_starts() {
    for text in ["case \"a\" needs=faults\nserver\n", "server\nclient x y\ndrop x->y 1\nx< a\n"] {
        let result = result_of(text);
        assert!(matches!(&result.verdict, Verdict::Skipped(why) if why == "puppets have no network"));
        assert!(result.steps.is_empty() && result.transcript.is_empty());
    }
}

/// The result of each check, and the first failing line.
fn checks(text: &str) -> (Vec<(String, Option<bool>)>, Option<usize>) {
    let result = result_of(text);
    let failing = match &result.verdict {
        Verdict::Failed(failure) => Some(failure.span.line),
        _ => None,
    };
    (result.checks.into_iter().map(|check| (check.title, check.passed)).collect(), failing)
}

fn expected_checks<const N: usize>(checks: [(&str, Option<bool>); N]) -> Vec<(String, Option<bool>)> {
    checks.map(|(title, passed)| (title.to_owned(), passed)).to_vec()
}

#[test]
fn a_failed_check_ends_alone_and_the_first_failure_decides() {
    let (yes, no) = (Some(true), Some(false));
    let head = "server\nclient x\ncase \"a\"\ncheck \"one\" points=1\nx> say a\nx< a\n";
    let text = format!("{head}check \"two\"\nx< b\nx< never played\ncheck \"three\"\nx> say c\nx< c\n");
    assert_eq!(checks(&text), (expected_checks([("one", yes), ("two", no), ("three", yes)]), Some(8)));
    let result = result_of(&text);
    let lines: Vec<usize> = result.steps.iter().map(|step| step.span.line).collect();
    assert_eq!(lines, [1, 2, 4, 5, 6, 7, 8, 10, 11, 12]);
    let failures: Vec<_> = result.checks.iter().map(|check| check.failure.as_ref().map(|why| why.span.line)).collect();
    assert_eq!(failures, [None, Some(8), None]);
    let text = format!("{head}x< a\ncheck \"two\"\nx> say b\nx!<1s b\n");
    assert_eq!(checks(&text), (expected_checks([("one", no), ("two", no)]), Some(7)));
    // A failure before the first check ends the whole case.
    let text = "server\nclient x\nx< a\ncheck \"one\"\nx> say a\nx< a\n";
    assert_eq!(checks(text), (expected_checks([("one", None)]), Some(3)));
}

#[test]
fn an_actor_that_ended_unexpectedly_ends_the_case() {
    let (yes, no) = (Some(true), Some(false));
    for line in ["x> die 1", "y> die 1", "x> flood", "x> exit\nx exits 3", "client z\nz> die 6\nz exits"] {
        let text = format!(
            "server\nclient x y\ncheck \"one\"\nx alive\ncheck \"two\"\n{line}\nx< a\ncheck \"three\"\ny alive\n"
        );
        let (found, _) = checks(&text);
        assert_eq!(found, expected_checks([("one", yes), ("two", no), ("three", None)]), "{line}");
    }
    // The first failing line decides here too.
    let text = "server\nclient x\ncheck \"one\"\nx< a\ncheck \"two\"\nx> die 1\nx< a\ncheck \"three\"\nx alive\n";
    assert_eq!(checks(text), (expected_checks([("one", no), ("two", no), ("three", None)]), Some(4)));
}

#[test]
fn each_case_has_actors_and_variables_of_its_own() {
    let text = "server\nclient x\ncase \"a\"\nset v=1\nx> exit\nx exits 0\ncase \"b\"\nx> say ${v}\nx< ${v}\nx alive\n";
    let results = run_on(&MockBackend::default(), &ExecSettings::default(), text);
    assert!(results.iter().all(|result| matches!(result.verdict, Verdict::Passed)), "{results:?}");
}

#[test]
fn a_transcript_has_input_and_output_and_a_limit() {
    let result = passes("server\nclient x\nx> say a\nx< a\n");
    let typed = result.transcript.iter().find(|entry| entry.kind == TranscriptKind::Typed).unwrap();
    assert_eq!((typed.actor.to_string().as_str(), typed.text.as_str()), ("x", "say a"));
    assert!(result.transcript.iter().any(|entry| entry.kind == TranscriptKind::Shown && entry.text == "a"));
    let many = "say a; ".repeat(200) + "say a";
    let lines: String = (0..100).map(|_| format!("x> {many}\nsleep 2ms\n")).collect();
    assert_eq!(passes(&format!("server\nclient x\n{lines}")).transcript.len(), CaseResult::MAX_TRANSCRIPT);
}

#[test]
fn statements_that_cannot_run_are_mistakes() {
    let long = "a".repeat(1000);
    let (cause, line, status, _) = fails(&format!("server\nclient x\nset v={long}\nx< /(${{v}}){{999}}/\n"));
    assert_eq!((cause, line, status), ("MISTAKE", 4, 2));
    let doubled = "set v=${v}${v}\n".repeat(18);
    let (cause, _, status, sentence) = fails(&format!("server\nset v=ab\n{doubled}"));
    assert_eq!((cause, status), ("MISTAKE", 2));
    assert!(sentence.contains("131072"), "{sentence}");
}

#[test]
fn actors_that_show_events_get_the_trace_option() {
    let trace = ExecSettings { trace: true, ..ExecSettings::default() };
    let text = ExecSettings { text: true, ..trace.clone() };
    for (settings, args, expected) in
        [(&trace, "", "--trace"), (&trace, "--trace", "--trace"), (&text, "", ""), (&ExecSettings::default(), "", "")]
    {
        let backend = MockBackend::default();
        run_on(&backend, settings, &format!("server {args}\n"));
        assert_eq!(backend.launched.borrow().join(" "), expected, "{settings:?} {args}");
    }
}
