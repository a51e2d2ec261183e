//! Executes one case on any backend: actions, expectations, readiness and checks.
//!
//! The executor reads no clock and no output by itself. Both come from [`crate::runner::backend::Backend`].

pub(crate) mod actions;
pub(crate) mod actor;
pub(crate) mod checks;
pub mod executor;
pub(crate) mod expect;
pub(crate) mod idle_time;
#[cfg(test)]
pub(crate) mod mock_backend;
pub mod observer;
pub(crate) mod readiness;
pub(crate) mod remedy;
#[cfg(test)]
mod tests;
