//! Checks: parts of a case that pass or fail separately.

use crate::runner::exec::executor::{Abort, CaseExecutor, Executed};
use crate::runner::lang::ast::{Statement, Step};
use crate::runner::report::outcome::{CaseFailure, Cause, CheckResult};

impl CaseExecutor<'_> {
    /// Begins a check. The previous check passes unless it has failed.
    pub(crate) fn begin_check(&mut self, title: &str, points: Option<u32>) {
        self.pass_check();
        self.checks.push(unreached(title, points));
    }

    /// Marks the running check as passed unless it has failed.
    pub(crate) fn pass_check(&mut self) {
        if let Some(check) = self.checks.last_mut().filter(|check| check.passed.is_none()) {
            check.passed = Some(true);
        }
    }

    /// Fails the running check and returns how many of the remaining statements belong to it and are skipped.
    ///
    /// # Errors
    /// The failure, when it ends the whole case: no check is running, an actor has vanished, or the cause is not an
    /// unmet expectation.
    pub(crate) fn skip_failed_check(&mut self, failure: Abort, remaining: &[&Statement]) -> Executed<usize> {
        self.fail_check(&failure);
        let harmless = match failure.cause {
            Cause::Silence | Cause::Late(_) | Cause::WrongText | Cause::Duplicate | Cause::Forbidden => true,
            Cause::Exited(_) | Cause::Flood | Cause::NotReady => false,
            Cause::Mistake | Cause::Deadline | Cause::Halted(_) => false,
        };
        let goes_on = harmless
            && !self.checks.is_empty()
            && !self.actors.values().any(crate::runner::exec::actor::ActorState::has_vanished);
        if !goes_on {
            return Err(failure);
        }
        self.failed.get_or_insert(failure);
        Ok(remaining.iter().take_while(|statement| !matches!(statement.step, Step::Check { .. })).count())
    }

    pub(crate) fn fail_check(&mut self, failure: &CaseFailure) {
        if let Some(check) = self.checks.last_mut().filter(|check| check.passed.is_none()) {
            check.passed = Some(false);
            check.failure = Some(Box::new(failure.clone()));
        }
    }

    /// Adds a result for each check that was not reached.
    pub(crate) fn add_unreached(&mut self) {
        for statement in self.remaining {
            if let Step::Check { title, points } = &statement.step {
                self.checks.push(unreached(title, *points));
            }
        }
    }
}

fn unreached(title: &str, points: Option<u32>) -> CheckResult {
    CheckResult { title: title.to_owned(), points, passed: None, failure: None }
}
