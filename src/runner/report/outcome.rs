//! The results of a run as plain data. Every report is a function of them.

use std::path::PathBuf;
use std::time::Duration;

use strum::IntoStaticStr;

use crate::proto::status::Status;
use crate::proto::time::Instant;
use crate::runner::backend::ActorExit;
use crate::runner::lang::ast::{ActorId, Span, Visibility};
use crate::runner::report::attempt::Attempt;
use crate::script::log::Nearest;

/// The results of all files.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// The results in the order of the files. The results of one case are adjacent.
    pub cases: Vec<CaseResult>,
    /// Its duration.
    pub took: Duration,
    /// The first reason for not being [`Status::Ok`].
    pub status: Status,
    /// The number of complete rounds, where there can be more than one.
    pub rounds: Option<u64>,
}

/// The identity of a case.
#[derive(Clone, Debug)]
pub struct CaseInfo {
    pub file: PathBuf,
    pub title: String,
    /// Its points, from its `case` line or its checks.
    pub points: Option<u32>,
    /// The readers that may see the expectations.
    pub visibility: Visibility,
    /// The position of its `case` line.
    pub span: Span,
    /// The number of its steps, including the setup.
    pub steps: usize,
    pub attempt: Attempt,
}

/// The result of one case.
#[derive(Clone, Debug)]
pub struct CaseResult {
    pub case: CaseInfo,
    pub verdict: Verdict,
    /// The steps that ran, including the failed one.
    pub steps: Vec<StepResult>,
    /// The results of its `check` lines.
    pub checks: Vec<CheckResult>,
    /// Typed lines, output and notes in order of time. Beyond [`CaseResult::MAX_TRANSCRIPT`] the oldest are removed.
    pub transcript: Vec<TranscriptEntry>,
    /// Its start.
    pub began: Instant,
    /// Its duration.
    pub took: Duration,
    /// The part of that time that was not spent waiting for a limit, a window or a `sleep`.
    pub overhead: Duration,
    /// The command that runs only this case again in the same way.
    pub replay: String,
    /// The number of attempts that this result represents. Attempts with equal verdicts may be combined; their
    /// durations are added.
    pub attempts: u64,
}

impl CaseResult {
    /// The most entries of a transcript.
    pub const MAX_TRANSCRIPT: usize = 16_384;

    /// The result of a case that did not begin, for this reason.
    #[must_use]
    pub fn not_run(case: CaseInfo, reason: String) -> Self {
        Self {
            case,
            verdict: Verdict::NotRun(reason),
            steps: Vec::new(),
            checks: Vec::new(),
            transcript: Vec::new(),
            began: Instant::ZERO,
            took: Duration::ZERO,
            overhead: Duration::ZERO,
            replay: String::new(),
            attempts: 1,
        }
    }

    /// Whether it passed on a retry.
    #[must_use]
    pub fn is_flaky(&self) -> bool {
        matches!(self.verdict, Verdict::Passed) && self.case.attempt.retry > 0
    }

    /// The exit status of this result. Skipped cases and cases that did not run are no failures.
    #[must_use]
    pub fn status(&self) -> Status {
        match &self.verdict {
            Verdict::Failed(failure) => failure.status,
            Verdict::Passed | Verdict::Skipped(_) | Verdict::NotRun(_) => Status::Ok,
        }
    }
}

/// Whether a case passed.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// All lines passed.
    Passed,
    /// A line failed.
    Failed(Box<CaseFailure>),
    /// The case cannot run here, for this reason.
    Skipped(String),
    /// The case did not begin, or was cut off in a later endless round, for this reason.
    NotRun(String),
}

/// The result of one line.
#[derive(Clone, Debug)]
pub struct StepResult {
    /// The position of its line.
    pub span: Span,
    /// Its start.
    pub at: Instant,
    /// Its duration.
    pub took: Duration,
    /// Whether the line passed.
    pub ok: bool,
}

/// The result of one `check` of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckResult {
    pub title: String,
    /// Its points, if the line gives any.
    pub points: Option<u32>,
    /// `None` when it was not reached.
    pub passed: Option<bool>,
    /// The failure, if it failed.
    pub failure: Option<Box<CaseFailure>>,
}

/// An entry of a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptEntry {
    pub at: Instant,
    pub actor: ActorId,
    pub kind: TranscriptKind,
    /// One line, as patterns see it.
    pub text: String,
}

/// The kind of an entry of a transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TranscriptKind {
    /// The line was typed to the actor.
    Typed,
    /// It showed this line.
    Shown,
    /// It wrote this line to standard error.
    Stderr,
    /// The runner did or noticed something.
    Note,
}

/// The failure of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseFailure {
    /// The line that failed.
    pub span: Span,
    /// The actor that failed, if one did.
    pub actor: Option<ActorId>,
    pub cause: Cause,
    /// The cause as a sentence.
    pub sentence: String,
    /// The expectation, with the values of its variables.
    pub expected: Option<String>,
    /// The most similar line that was shown.
    pub nearest: Option<Nearest>,
    /// The exit status of this failure.
    pub status: Status,
    /// The pattern that would have matched, if only the text was wrong.
    pub remedy: Option<Remedy>,
}

/// A rewrite of a pattern for `--bless`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// The pattern in the file.
    pub old: String,
    /// The pattern that matches the output.
    pub new: String,
}

/// The cause of a failure, in a word or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "UPPERCASE")]
pub enum Cause {
    /// No similar line was shown.
    Silence,
    /// The line came after its limit, by this time.
    Late(Duration),
    /// A similar line was shown.
    #[strum(serialize = "WRONG TEXT")]
    WrongText,
    /// The line came again.
    Duplicate,
    /// The actor ended unexpectedly, or with another status than expected.
    Exited(Option<ActorExit>),
    /// A forbidden line came.
    Forbidden,
    /// The actor exceeded an output limit.
    Flood,
    /// The actor could not be started, or did not become ready.
    #[strum(serialize = "NOT READY")]
    NotReady,
    /// The line cannot be executed as it is written.
    Mistake,
    /// The deadline of the run passed.
    Deadline,
    /// This signal cancelled the run.
    Halted(u8),
}

impl Cause {
    /// The name in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}
