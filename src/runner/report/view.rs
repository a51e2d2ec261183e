//! The views of a report. A student sees all actions of their own program, but not the expectations of hidden cases.

use std::borrow::Cow;
use std::sync::Arc;

use strum::EnumString;

use crate::runner::lang::ast::{SourceFile, Span, Visibility};
use crate::runner::report::outcome::{CaseFailure, CaseInfo, CaseResult, Cause, StepResult, Verdict};

/// The reader of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum View {
    /// Sees everything.
    #[default]
    Teacher,
    /// Sees neither lines of the file nor expectations of cases that are not `visible`.
    Student,
}

/// The replacement for a line of a hidden case.
const HIDDEN: &str = "(hidden)";

impl View {
    /// The result of a case, as this reader may see it.
    #[must_use]
    pub fn case(self, result: &CaseResult) -> Cow<'_, CaseResult> {
        if !self.hides(&result.case) {
            return Cow::Borrowed(result);
        }
        let mut result = result.clone();
        result.case.span = hidden(&result.case.span);
        result.steps = result.steps.iter().map(hidden_step).collect();
        if let Verdict::Failed(failure) = &mut result.verdict {
            hide(failure);
        }
        result.checks.iter_mut().filter_map(|check| check.failure.as_mut()).for_each(|failure| hide(failure));
        Cow::Owned(result)
    }

    /// The result of a step, as this reader may see it.
    #[must_use]
    pub fn step<'a>(self, case: &CaseInfo, step: &'a StepResult) -> Cow<'a, StepResult> {
        if self.hides(case) { Cow::Owned(hidden_step(step)) } else { Cow::Borrowed(step) }
    }

    fn hides(self, case: &CaseInfo) -> bool {
        self == Self::Student && case.visibility != Visibility::Visible
    }
}

fn hidden_step(step: &StepResult) -> StepResult {
    StepResult { span: hidden(&step.span), ..step.clone() }
}

/// Removes the expectation of a failure. The actual output stays.
fn hide(failure: &mut CaseFailure) {
    failure.span = hidden(&failure.span);
    failure.expected = None;
    failure.remedy = None;
    let actor = failure.actor.as_ref().map_or_else(|| "somebody".to_owned(), ToString::to_string);
    match failure.cause {
        // The sentence would reveal the expected status.
        Cause::Exited(Some(end)) => failure.sentence = format!("{actor} {end}"),
        // The sentence would quote the file.
        Cause::Mistake => "a line cannot be played as it stands".clone_into(&mut failure.sentence),
        _ => {}
    }
}

/// The same position in a file without content.
fn hidden(span: &Span) -> Span {
    let source = SourceFile { path: span.source.path.clone(), text: HIDDEN.to_owned() };
    Span { source: Arc::new(source), line: span.line, column: span.column, start: 0, end: HIDDEN.len() }
}
