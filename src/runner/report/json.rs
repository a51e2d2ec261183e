//! The JSON report: one object a line. A key never changes its type. Absent members are left out.
//!
//! | `report` | further members |
//! | --- | --- |
//! | `case_started` | `file`, `line`, `title`, `steps`, `points`, `round` (from 1, if there may be several), `retry` (from 1, after a failed attempt) |
//! | `step` | `file`, `line`, `text`, `at_ms` (since the first step of the case), `took_ms`, `ok` |
//! | `failure` | `file`, `line`, `column`, `text`, `actor`, `cause`, `message`, `expected`, `nearest`, `late_ms`, `status`, `replay`, `transcript` (rows: `at_ms`, `actor`, `kind`, `text`) |
//! | `case` | `file`, `line`, `title`, `verdict` (`passed`, `flaky` for a pass on a retry, `failed`, `skipped`, `not_run`), `reason`, `round`, `retry`, `plays` (the number of equal attempts, if more than one), `took_ms`, `overhead_ms`, `points`, `score`, `max_score`, `visibility`, `checks` (rows: `title`, `points`, `passed`, `line`, `cause`, `message`) |
//! | `summary` | `cases`, `passed`, `failed` (with flaky cases; allowed flaky cases count as passed), `flaky`, `rounds` (complete ones, if there may be several), `skipped` (with cases that did not run), `score`, `max_score`, `took_ms`, `status` |

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::proto::time::Instant;
use crate::runner::report::Report;
use crate::runner::report::attempt::Attempt;
use crate::runner::report::outcome::{
    CaseFailure, CaseInfo, CaseResult, Cause, CheckResult, RunResult, StepResult, TranscriptEntry, TranscriptKind,
    Verdict,
};
use crate::runner::report::score::{self, Score};
use crate::runner::report::summary::{Grade, Summary, View};

/// The version of these lines.
const VERSION: u32 = 1;

/// Writes a report as JSON lines.
#[derive(Debug, Default)]
pub struct JsonReport {
    /// The start of the first step of the current case.
    began: Option<Instant>,
}

#[derive(Serialize)]
struct ReportEnvelope<L> {
    v: u32,
    #[serde(flatten)]
    line: L,
}

#[derive(Serialize)]
#[serde(tag = "report", rename_all = "snake_case")]
enum ReportLine<'a> {
    CaseStarted {
        #[serde(flatten)]
        place: SourcePosition<'a>,
        title: &'a str,
        steps: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        points: Option<u32>,
        #[serde(flatten)]
        number: AttemptNumber,
    },
    Step {
        #[serde(flatten)]
        place: SourcePosition<'a>,
        text: &'a str,
        at_ms: f64,
        took_ms: f64,
        ok: bool,
    },
    Failure {
        #[serde(flatten)]
        place: SourcePosition<'a>,
        column: usize,
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        actor: Option<String>,
        cause: &'a str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        expected: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        nearest: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        late_ms: Option<f64>,
        status: u8,
        replay: &'a str,
        transcript: Vec<JsonTranscriptEntry<'a>>,
    },
    Case {
        #[serde(flatten)]
        place: SourcePosition<'a>,
        title: &'a str,
        verdict: &'a str,
        #[serde(flatten)]
        number: AttemptNumber,
        #[serde(skip_serializing_if = "Option::is_none")]
        plays: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        took_ms: f64,
        overhead_ms: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        points: Option<u32>,
        score: Score,
        max_score: Score,
        visibility: &'static str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        checks: Vec<JsonCheck<'a>>,
    },
    Summary {
        cases: usize,
        passed: usize,
        failed: usize,
        flaky: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        rounds: Option<u64>,
        skipped: usize,
        score: Score,
        max_score: Score,
        took_ms: f64,
        status: u8,
    },
}

#[derive(Serialize)]
struct SourcePosition<'a> {
    file: std::borrow::Cow<'a, str>,
    line: usize,
}

/// The number of an attempt, as JSON members.
#[derive(Serialize)]
struct AttemptNumber {
    #[serde(skip_serializing_if = "Option::is_none")]
    round: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u32>,
}

impl From<Attempt> for AttemptNumber {
    fn from(attempt: Attempt) -> Self {
        Self {
            round: attempt.is_repeated().then_some(attempt.round),
            retry: Some(attempt.retry).filter(|retry| *retry > 0),
        }
    }
}

#[derive(Serialize)]
struct JsonTranscriptEntry<'a> {
    at_ms: f64,
    actor: String,
    kind: &'a str,
    text: &'a str,
}

#[derive(Serialize)]
struct JsonCheck<'a> {
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    points: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    passed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl<'a> From<&'a CheckResult> for JsonCheck<'a> {
    fn from(check: &'a CheckResult) -> Self {
        let failure = check.failure.as_ref();
        Self {
            title: &check.title,
            points: check.points,
            passed: check.passed,
            line: failure.map(|failure| failure.span.line),
            cause: failure.map(|failure| failure.cause.word()),
            message: failure.map(|failure| failure.sentence.as_str()),
        }
    }
}

impl Report for JsonReport {
    fn case_begins(&mut self, out: &mut dyn Write, case: &CaseInfo) -> io::Result<()> {
        self.began = None;
        let CaseInfo { title, steps, points, attempt, .. } = case;
        let (place, number) = (place(case), AttemptNumber::from(*attempt));
        put(out, ReportLine::CaseStarted { place, title, steps: *steps, points: *points, number })
    }

    fn step(&mut self, out: &mut dyn Write, _case: &CaseInfo, step: &StepResult) -> io::Result<()> {
        let at_ms = millis(step.at.since(*self.began.get_or_insert(step.at)));
        let place = SourcePosition { file: step.span.source.path.to_string_lossy(), line: step.span.line };
        let text = step.span.source_line().trim();
        put(out, ReportLine::Step { place, text, at_ms, took_ms: millis(step.took), ok: step.ok })
    }

    fn case(&mut self, out: &mut dyn Write, result: &CaseResult) -> io::Result<()> {
        let (verdict, reason) = match &result.verdict {
            Verdict::Passed if result.is_flaky() => ("flaky", None),
            Verdict::Passed => ("passed", None),
            Verdict::Failed(failure) => {
                put(out, failure_line(result, failure))?;
                ("failed", Some(failure.sentence.as_str()))
            }
            Verdict::Skipped(reason) => ("skipped", Some(reason.as_str())),
            Verdict::NotRun(reason) => ("not_run", Some(reason.as_str())),
        };
        let line = ReportLine::Case {
            place: place(&result.case),
            title: &result.case.title,
            verdict,
            number: result.case.attempt.into(),
            plays: Some(result.attempts).filter(|plays| *plays > 1),
            reason,
            took_ms: millis(result.took),
            overhead_ms: millis(result.overhead),
            points: result.case.points,
            score: score::earned(result),
            max_score: score::worth(result),
            visibility: result.case.visibility.word(),
            checks: result.checks.iter().map(JsonCheck::from).collect(),
        };
        put(out, line)
    }

    fn run(&mut self, out: &mut dyn Write, result: &RunResult) -> io::Result<()> {
        Self::summary(out, &Summary::of(result, View::Teacher))
    }
}

impl JsonReport {
    /// The last line.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn summary(out: &mut dyn Write, summary: &Summary<'_>) -> io::Result<()> {
        let ((score, max_score), flaky) = (summary.total(), summary.count(Grade::Flaky));
        let passed = summary.rows.iter().filter(|row| row.is_pass).count();
        let line = ReportLine::Summary {
            cases: summary.rows.len(),
            passed,
            failed: summary.count(Grade::Failed) + flaky - (passed - summary.count(Grade::Passed)),
            flaky,
            rounds: summary.rounds,
            skipped: summary.count(Grade::Skipped) + summary.count(Grade::NotRun),
            score,
            max_score,
            took_ms: millis(summary.took),
            status: summary.status.code(),
        };
        put(out, line)
    }
}

fn failure_line<'a>(result: &'a CaseResult, failure: &'a CaseFailure) -> ReportLine<'a> {
    let row = |entry: &'a TranscriptEntry| JsonTranscriptEntry {
        at_ms: millis(entry.at.since(result.began)),
        actor: entry.actor.to_string(),
        kind: match entry.kind {
            TranscriptKind::Typed => "typed",
            TranscriptKind::Shown => "shown",
            TranscriptKind::Stderr => "complained",
            TranscriptKind::Note => "note",
        },
        text: &entry.text,
    };
    let late = |cause| if let Cause::Late(by) = cause { Some(millis(by)) } else { None };
    ReportLine::Failure {
        place: SourcePosition { file: failure.span.source.path.to_string_lossy(), line: failure.span.line },
        column: failure.span.column,
        text: failure.span.source_line().trim(),
        actor: failure.actor.as_ref().map(ToString::to_string),
        cause: failure.cause.word(),
        message: &failure.sentence,
        expected: failure.expected.as_deref(),
        nearest: failure.nearest.as_ref().map(|nearest| nearest.text.as_str()),
        late_ms: late(failure.cause),
        status: failure.status.code(),
        replay: &result.replay,
        transcript: result.transcript.iter().map(row).collect(),
    }
}

/// Writes one line. Its member `report` is its type.
pub(crate) fn put(out: &mut dyn Write, line: impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(&ReportEnvelope { v: VERSION, line })?;
    writeln!(out, "{text}")
}

fn place(case: &CaseInfo) -> SourcePosition<'_> {
    SourcePosition { file: case.file.to_string_lossy(), line: case.span.line }
}

/// Converts to milliseconds, with a resolution of a microsecond.
#[allow(clippy::cast_precision_loss, reason = "exact up to 285 years")]
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
