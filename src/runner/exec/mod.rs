//! Runs one case, statement by statement, on any backend.

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
