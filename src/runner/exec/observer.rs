//! Notifications about a case while it runs.

use crate::runner::backend::BackendEvent;
use crate::runner::report::outcome::StepResult;

/// Observes a case. It receives every event and cannot change the case.
pub trait Observer {
    /// The executor received this event from the backend and has not processed it yet.
    fn backend_event(&mut self, _event: &BackendEvent) {}

    /// A step is over.
    fn step(&mut self, _step: &StepResult) {}
}

/// Ignores everything.
impl Observer for () {}
