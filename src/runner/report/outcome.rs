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
    /// Every case, in the order of the files; one that was run several times has several results, one behind the
    /// other.
    pub cases: Vec<CaseResult>,
    /// How long it took.
    pub took: Duration,
    /// The first reason for not being [`Status::Ok`].
    pub status: Status,
    /// The number of complete rounds, where there can be more than one.
    pub rounds: Option<u64>,
}

/// The identity of a case.
#[derive(Clone, Debug)]
pub struct CaseInfo {
    /// Its file.
    pub file: PathBuf,
    /// Its title.
    pub title: String,
    /// Its points, from its `case` line or its checks.
    pub points: Option<u32>,
    /// Who may see the result.
    pub visibility: Visibility,
    /// Its place.
    pub span: Span,
    /// The number of its steps, those of the setup included.
    pub steps: usize,
    /// The number of the attempt.
    pub attempt: Attempt,
}

/// The result of one case.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// Which.
    pub case: CaseInfo,
    /// Passed or not.
    pub verdict: Verdict,
    /// The steps that were run, the failed one included.
    pub steps: Vec<StepResult>,
    /// Its parts, if it says `check`.
    pub checks: Vec<CheckResult>,
    /// What everybody typed and showed, in order of time; the oldest are gone beyond [`CaseResult::MAX_HEARD`].
    pub transcript: Vec<TranscriptEntry>,
    /// When it began.
    pub began: Instant,
    /// How long it took.
    pub took: Duration,
    /// The part of that time that was not spent waiting for a limit, a window or a `sleep`.
    pub overhead: Duration,
    /// The command that runs just this case again in the same way.
    pub replay: String,
    /// The number of attempts that this result stands for. Attempts with equal verdicts may be counted together, also in
    /// time.
    pub attempts: u64,
}

impl CaseResult {
    /// The most entries of a transcript.
    pub const MAX_TRANSCRIPT: usize = 16_384;

    /// A case that was not begun, for this reason.
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

    /// Whether it passed only when it was run again.
    #[must_use]
    pub fn is_flaky(&self) -> bool {
        matches!(self.verdict, Verdict::Passed) && self.case.attempt.retry > 0
    }

    /// The exit status that it stands for. What was skipped is no failure.
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
    /// Every line of it.
    Passed,
    /// A line failed.
    Failed(Box<CaseFailure>),
    /// It cannot be run here, for this reason.
    Skipped(String),
    /// It was not begun, for this reason.
    NotRun(String),
}

/// One line that was run.
#[derive(Clone, Debug)]
pub struct StepResult {
    /// Its place.
    pub span: Span,
    /// When it began.
    pub at: Instant,
    /// How long it took.
    pub took: Duration,
    /// Whether it did what it says.
    pub ok: bool,
}

/// One part of a case.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckResult {
    /// Its title.
    pub title: String,
    /// What it is worth.
    pub points: Option<u32>,
    /// `None` when it was not reached.
    pub passed: Option<bool>,
    /// Why it failed.
    pub failure: Option<Box<CaseFailure>>,
}

/// An entry of a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptEntry {
    /// When.
    pub at: Instant,
    /// Whose.
    pub actor: ActorId,
    /// What kind of thing.
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
    /// Whose fault it is.
    pub actor: Option<ActorId>,
    /// In one word.
    pub cause: Cause,
    /// The cause as a sentence.
    pub sentence: String,
    /// What was expected, with its variables in place.
    pub expected: Option<String>,
    /// What came nearest.
    pub nearest: Option<Nearest>,
    /// The exit status that it stands for.
    pub status: Status,
    /// How the pattern would have matched what came instead, where it failed by its text alone.
    pub remedy: Option<Remedy>,
}

/// A pattern as it is written, and as it would have to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// As it is.
    pub old: String,
    /// As it would have to be.
    pub new: String,
}

/// The cause of a failure, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "UPPERCASE")]
pub enum Cause {
    /// Nothing came that looks like it.
    Silence,
    /// It came after its limit, by this.
    Late(Duration),
    /// Something like it came.
    #[strum(serialize = "WRONG TEXT")]
    WrongText,
    /// It came again.
    Duplicate,
    /// The actor has ended, or with another status.
    Exited(Option<ActorExit>),
    /// What must not come came.
    Forbidden,
    /// The actor wrote without end.
    Flood,
    /// The actor could not be started, or did not become ready.
    #[strum(serialize = "NOT READY")]
    NotReady,
    /// The line cannot be run as it stands.
    Mistake,
    /// The time for the whole run is over.
    Deadline,
    /// The runner was ended by this signal.
    Halted(u8),
}

impl Cause {
    /// The word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}
