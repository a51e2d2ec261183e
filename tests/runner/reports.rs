//! Report formats. A small run must produce exactly the files in `tests/data/reports`; `BLESS=1` rewrites them. Reports
//! of random runs must be read correctly by independent parsers.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::support::root;
use chat::proto::status::Status;
use chat::proto::time::Instant;
use chat::runner::backend::ActorExit;
use chat::runner::lang::ast::{ActorId, SourceFile, Span, Visibility};
use chat::runner::report::attempt::Attempt;
use chat::runner::report::outcome::{
    CaseFailure, CaseInfo, CaseResult, Cause, CheckResult, RunResult, StepResult, TranscriptEntry, TranscriptKind,
    Verdict,
};
use chat::runner::report::summary::{CaseSummary, Format, View};
use chat::script::log::Nearest;
use proptest::prelude::*;
use serde_json::{Value, json};
use strum::VariantArray;

/// Expectations of a hidden case, one for each place of a report that could reveal them.
const SECRETS: [&str; 4] = ["another secret", "secret pattern", "secret status", "y exits 0"];

fn span(line: usize, text: &str) -> Span {
    let source = Arc::new(SourceFile { path: "a.chat".into(), text: text.to_owned() });
    Span { source, line, column: 1, start: 0, end: text.len() }
}

fn case(line: usize, title: &str) -> CaseResult {
    let span = span(line, "case");
    let (file, title) = (PathBuf::from("a.chat"), title.to_owned());
    let case = CaseInfo {
        file,
        title,
        points: None,
        visibility: Visibility::Visible,
        span,
        steps: 3,
        attempt: Attempt::default(),
    };
    let (took, overhead) = (Duration::from_millis(1250), Duration::from_millis(50));
    let (verdict, steps, checks, transcript) = (Verdict::Passed, Vec::new(), Vec::new(), Vec::new());
    CaseResult {
        case,
        verdict,
        steps,
        checks,
        transcript,
        began: Instant::ZERO,
        took,
        overhead,
        replay: "chat run".to_owned(),
        attempts: 1,
    }
}

fn failure(line: usize, text: &str, cause: Cause, sentence: &str) -> Verdict {
    Verdict::Failed(Box::new(CaseFailure {
        span: span(line, text),
        actor: Some(ActorId::Server),
        cause,
        sentence: sentence.to_owned(),
        expected: Some(text.to_owned()),
        nearest: Some(Nearest { at: Instant::from_micros(1_000_000), text: "what came".to_owned(), likeness: 0.5 }),
        status: Status::Expected,
        remedy: None,
    }))
}

fn transcript_entry(kind: TranscriptKind, text: &str) -> TranscriptEntry {
    TranscriptEntry { at: Instant::from_micros(500_000), actor: ActorId::Server, kind, text: text.to_owned() }
}

fn check(title: &str, points: Option<u32>, passed: Option<bool>) -> CheckResult {
    let why = || match failure(12, "y< another secret", Cause::Silence, "y showed nothing like it") {
        Verdict::Failed(failure) => Some(failure),
        _ => None,
    };
    let failure = if passed == Some(false) { why() } else { None };
    CheckResult { title: title.to_owned(), points, passed, failure }
}

fn run(cases: Vec<CaseResult>) -> RunResult {
    RunResult { cases, took: Duration::from_secs(10), status: Status::Expected, rounds: None }
}

/// A run with one case of each kind.
fn small() -> RunResult {
    let mut partly = case(5, "partly <&> | *x* # 1");
    partly.case.points = Some(5);
    partly.case.visibility = Visibility::Hidden;
    partly.verdict = failure(9, "y< secret pattern", Cause::WrongText, "y showed something else within 4s");
    partly.checks = vec![
        check("sent", Some(2), Some(true)),
        check("shown", None, Some(true)),
        check("shown once", None, Some(false)),
        check("and \\ never #", Some(1), None),
    ];
    partly.steps =
        vec![StepResult { span: span(9, "y< secret pattern"), at: Instant::ZERO, took: Duration::ZERO, ok: false }];
    partly.transcript = vec![
        transcript_entry(TranscriptKind::Typed, "send y hi"),
        transcript_entry(TranscriptKind::Shown, "\u{1b}[1mbold\u{0}"),
    ];
    let mut exits = case(20, "it ends well");
    exits.case.visibility = Visibility::AfterPublished;
    let end = ActorExit { status: 1, signal: None };
    exits.verdict =
        failure(22, "y exits 0", Cause::Exited(Some(end)), "server ended with status 1 instead of secret status");
    let mut unsteady = case(30, "now and then");
    unsteady.verdict =
        failure(31, "x< a", Cause::Late(Duration::from_millis(7)), "x showed it 7ms after the limit of 4s");
    let mut skipped = case(40, "no faults here");
    skipped.verdict = Verdict::Skipped("the network between processes cannot be disturbed".to_owned());
    let mut unplayed = case(50, "too late");
    unplayed.verdict = Verdict::NotRun("the time for the whole run is over (--deadline)".to_owned());
    unplayed.took = Duration::ZERO;
    run(vec![case(1, "works"), partly, exits, case(30, "now and then"), unsteady, skipped, unplayed])
}

fn endings() -> [(Format, &'static str); 6] {
    [
        (Format::Junit, "xml"),
        (Format::Tap, "tap"),
        (Format::Json, "jsonl"),
        (Format::Gradescope, "gradescope.json"),
        (Format::Classroom, "classroom.json"),
        (Format::Markdown, "md"),
    ]
}

#[test]
fn every_format_matches_its_expected_file() {
    let folder = root().join("tests/data/reports");
    let mut wrong = String::new();
    for (format, ending) in endings() {
        for (view, who) in [(View::Teacher, "small"), (View::Student, "small-student")] {
            let (shown, file) = (format.render(&small(), view), folder.join(format!("{who}.{ending}")));
            if std::env::var_os("BLESS").is_some() {
                std::fs::write(&file, &shown).expect("writable");
            }
            let expected = std::fs::read_to_string(&file).unwrap_or_default();
            if shown != expected {
                wrong += &format!("== {}\n-- expected\n{expected}-- shown\n{shown}", file.display());
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_student_sees_the_behaviour_but_not_the_expectations_of_hidden_cases() {
    let hiding = |run: &RunResult, view| endings().map(|(format, _)| format.render(run, view));
    let for_teacher = hiding(&small(), View::Teacher).concat();
    assert!(SECRETS.iter().all(|secret| for_teacher.contains(secret)), "{for_teacher}");
    for text in hiding(&small(), View::Student) {
        assert!(!SECRETS.iter().any(|secret| text.contains(secret)), "{text}");
        let did = ["y showed something else within 4s", "server ended with status 1"];
        assert!(did.iter().all(|did| text.contains(did)), "{text}");
    }
    let mut open = small();
    open.cases.iter_mut().for_each(|result| result.case.visibility = Visibility::Visible);
    assert_eq!(hiding(&open, View::Student), hiding(&open, View::Teacher));
}

#[test]
fn an_output_has_a_limit() {
    let mut long = case(1, "long");
    long.verdict = failure(2, "x< a", Cause::Silence, "nothing");
    // Each line is cut at a lower limit. This many lines exceed the limit of the output.
    let line = |n: usize| TranscriptEntry {
        actor: ActorId::Client(format!("x{n}").parse().unwrap()),
        ..transcript_entry(TranscriptKind::Shown, &"é".repeat(300))
    };
    long.transcript = (0..200).map(line).collect();
    let text = Format::Gradescope.render(&run(vec![long.clone()]), View::Teacher);
    let output = serde_json::from_str::<Value>(&text).unwrap()["tests"][0]["output"].as_str().unwrap().to_owned();
    assert!(output.ends_with("é… (the rest is cut)\n") && output.len() > CaseSummary::MAX_OUTPUT, "{}", output.len());
    assert!(output.len() < CaseSummary::MAX_OUTPUT + 64, "{}", output.len());
    long.transcript.truncate(20);
    assert!(!Format::Gradescope.render(&run(vec![long]), View::Teacher).contains("is cut"));
}

/// A process with independent parsers. It answers each request line with one line.
struct Reader {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Reader {
    fn start() -> Self {
        let script = root().join("tests/peers/read_report.py");
        let mut command = Command::new("python3");
        let mut child =
            command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 is installed");
        let (requests, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, requests, answers }
    }

    /// Parses a report. Returns its cases, or an error message.
    fn read(&mut self, format: Format, text: &str) -> Result<Vec<Value>, String> {
        writeln!(self.requests, "{}", json!({"format": format.word(), "text": text})).unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        match answer["cases"].as_array() {
            Some(cases) => Ok(cases.clone()),
            None => Err(format!("{}\n{text}", answer["wrong"])),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        drop((self.child.kill(), self.child.wait()));
    }
}

/// Escapes text as a format does in titles and reasons if it cannot hold some characters.
fn shown(format: Format, text: &str) -> String {
    let ends_line = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let show = |c: char| match format {
        Format::Junit => match u32::from(c) {
            9 | 10 | 13 | 0x20..=0xfffd | 0x10000.. => c.to_string(),
            code => format!("\\u{{{code:x}}}"),
        },
        Format::Tap if ends_line(c) => format!("\\u{{{:x}}}", u32::from(c)),
        Format::Markdown if ends_line(c) => " ".to_owned(),
        _ => c.to_string(),
    };
    text.chars().map(show).collect()
}

/// All attempts of one case, and the result that every report must show for it.
#[derive(Clone, Debug)]
struct Expected {
    attempts: Vec<CaseResult>,
    mark: &'static str,
    score: f64,
    max: f64,
}

/// Compares the cases that a parser found with the expected ones.
fn compare(format: Format, found: &[Value], expected: &[Expected]) -> Result<(), TestCaseError> {
    if format == Format::Json {
        // JSON has one line for each attempt. The reader of the report combines them.
        let attempts: usize = expected.iter().map(|case| case.attempts.len()).sum();
        prop_assert_eq!(found.len(), attempts);
    } else {
        prop_assert_eq!(found.len(), expected.len());
    }
    let whole = |case: &Expected| if format == Format::Json { case.attempts.len() } else { 1 };
    let all = expected.iter().flat_map(|case| std::iter::repeat_n(case, whole(case)));
    for (found, case) in found.iter().zip(all) {
        prop_assert_eq!(&found["name"], &json!(shown(format, &case.attempts[0].case.title)));
        if format != Format::Json || case.attempts.len() == 1 {
            let mark = |mark: &Value| mark.is_null() || mark == case.mark;
            prop_assert!(mark(&found["mark"]), "{} is {}", found, case.mark);
            let near = |value: &Value, right: f64| value.as_f64().is_none_or(|value| (value - right).abs() < 1e-6);
            prop_assert!(near(&found["score"], case.score), "{} not {}", found, case.score);
        }
        prop_assert!(
            found["max"].as_f64().is_none_or(|max| (max - case.max).abs() < 1e-6),
            "{} not {}",
            found,
            case.max
        );
        let status = match case.mark {
            "passed" => "pass",
            "failed" | "flaky" => "fail",
            _ => "error",
        };
        prop_assert!(found["status"].is_null() || found["status"] == status, "{}", found);
        if let ([attempt], Some(checks)) = (&case.attempts[..], found["checks"].as_array()) {
            let right = attempt.checks.iter().map(|check| json!([shown(format, &check.title), check.passed]));
            prop_assert_eq!(checks, &right.collect::<Vec<_>>());
        }
    }
    Ok(())
}

/// Text with characters and words that are special in some format.
fn text() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(vec![
        "#",
        "\\",
        "\\\\",
        "|",
        "```",
        "]]>",
        "<",
        "&amp;",
        "\"",
        "'",
        "\0",
        "\u{1b}[2J",
        "\n",
        "\r",
        "\t",
        "\u{85}",
        "\u{2028}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{feff}",
        " # SKIP x",
        "---",
        "...",
        "1..3",
        "ok 1",
        "- ",
        ": ",
        "é",
        "😀",
    ]);
    let piece = prop_oneof![nasty.prop_map(str::to_owned), any::<char>().prop_map(String::from), "[ -~]{0,8}"];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(Verdict::Passed),
        (text(), text()).prop_map(|(line, sentence)| failure(7, &line, Cause::Silence, &sentence)),
        text().prop_map(Verdict::Skipped),
        text().prop_map(Verdict::NotRun),
    ]
}

prop_compose! {
    /// One or two attempts of a case, with the same outcomes of its checks.
    fn attempts_of_case(line: usize)(
        title in text(),
        verdicts in prop::collection::vec(verdict(), 1..3),
        checks in prop::collection::vec((text(), prop::option::of(0..5_u32), any::<Option<bool>>()), 0..4),
        points in prop::option::of(20..30_u32),
        said in prop::collection::vec(text(), 0..4),
    ) -> Vec<CaseResult> {
        let attempt = |verdict: Verdict| {
            let mut attempt = case(line, &title);
            attempt.case.points = points;
            let open = matches!(verdict, Verdict::Passed | Verdict::Failed(_));
            let passed = |passed| if matches!(verdict, Verdict::Passed) { Some(true) } else { passed };
            if open && points.is_some() {
                attempt.checks = checks.iter().map(|(title, points, ok)| check(title, *points, passed(*ok))).collect();
            }
            attempt.transcript = said.iter().map(|text| transcript_entry(TranscriptKind::Shown, text)).collect();
            attempt.verdict = verdict;
            attempt
        };
        verdicts.into_iter().map(attempt).collect()
    }
}

/// A second implementation of the rules for points and marks.
fn grade(attempts: Vec<CaseResult>) -> Expected {
    let max = f64::from(attempts[0].case.points.unwrap_or(1));
    let earned = |attempt: &CaseResult| match attempt.verdict {
        Verdict::Passed => max,
        Verdict::Failed(_) => {
            let said: u32 = attempt.checks.iter().filter_map(|check| check.points).sum();
            let open = attempt.checks.iter().filter(|check| check.points.is_none()).count();
            #[allow(clippy::cast_precision_loss, reason = "a few")]
            let share = ((max - f64::from(said)) * 1000.0 / open.max(1) as f64).floor() / 1000.0;
            let passed = attempt.checks.iter().filter(|check| check.passed == Some(true));
            passed.map(|check| check.points.map_or(share, f64::from)).sum()
        }
        _ => 0.0,
    };
    let has = |of: fn(&Verdict) -> bool| attempts.iter().any(|attempt| of(&attempt.verdict));
    let (passed, failed) = (has(|it| matches!(it, Verdict::Passed)), has(|it| matches!(it, Verdict::Failed(_))));
    let mark = match (passed, failed) {
        (true, true) => "flaky",
        (false, true) => "failed",
        _ if has(|it| matches!(it, Verdict::NotRun(_))) => "not run",
        _ if has(|it| matches!(it, Verdict::Skipped(_))) => "skipped",
        _ => "passed",
    };
    let least = attempts.iter().map(earned).fold(f64::INFINITY, f64::min);
    let score = if matches!(mark, "passed" | "failed" | "flaky") { least } else { 0.0 };
    Expected { attempts, mark, score, max }
}

#[test]
fn independent_parsers_read_the_results_of_random_runs() {
    let mut reader = Reader::start();
    let cases = (1..5_usize).prop_flat_map(|count| (1..=count).map(attempts_of_case).collect::<Vec<_>>());
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 192,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let reader = std::cell::RefCell::new(&mut reader);
    let checked = runner.run(&cases, |cases| {
        let expected: Vec<Expected> = cases.into_iter().map(grade).collect();
        let result = run(expected.iter().flat_map(|case| case.attempts.clone()).collect());
        for &format in Format::VARIANTS {
            let found = reader.borrow_mut().read(format, &format.render(&result, View::Teacher));
            compare(format, &found.map_err(TestCaseError::fail)?, &expected)?;
        }
        Ok(())
    });
    checked.unwrap();
}

#[test]
fn flaky_cases_are_reported_whether_allowed_or_not() {
    let mut reader = Reader::start();
    for (lenient, score, status) in [(false, 2.0, "fail"), (true, 5.0, "pass")] {
        let mut attempts = [case(5, "now and then"), case(5, "now and then")];
        for (attempt, retry) in attempts.iter_mut().zip(0..) {
            attempt.case.attempt = Attempt { retry, lenient, ..Attempt::default() };
            attempt.case.points = Some(5);
        }
        // The check "one" passed in both attempts.
        attempts[0].verdict = failure(9, "y< a", Cause::Silence, "y showed nothing like it");
        attempts[0].checks = vec![check("one", Some(2), Some(true)), check("other", Some(3), Some(false))];
        attempts[1].checks = vec![check("one", Some(2), Some(true)), check("other", Some(3), Some(true))];
        for &format in Format::VARIANTS {
            let text = format.render(&run(attempts.to_vec()), View::Teacher);
            let found = reader.read(format, &text).unwrap();
            let found = found.last().unwrap();
            assert!(found["mark"].is_null() || found["mark"] == "flaky", "{text}");
            assert!(found["status"].is_null() || found["status"] == status, "{text}");
            // A line of JSON describes a single attempt.
            let score = if format == Format::Json && !lenient { 0.0 } else { score };
            assert!(found["score"].is_null() || found["score"] == score, "{text}");
        }
    }
}

#[test]
fn the_parsers_refuse_truncated_reports() {
    let mut reader = Reader::start();
    let whole = small();
    for &format in Format::VARIANTS {
        let text = format.render(&whole, View::Teacher);
        assert!(reader.read(format, &text).is_ok());
        let end = text.len() - 4;
        assert!(reader.read(format, &text[..end]).is_err(), "{}", &text[..end]);
    }
}
