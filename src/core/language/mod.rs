//! What a script of one client and a scenario share: lines, patterns, variables, logs, and the waiting for an expectation.

mod adapt;
mod json_pattern;
mod likeness;
mod literal;

pub mod directive;
pub mod log;
pub mod normal;
pub mod pattern;
pub mod script;
pub mod vars;
pub mod watch;
pub mod wrong;
