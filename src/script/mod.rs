//! What a script of one client and a scenario share: lines, patterns, variables, logs, and the waiting for an expectation.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod directive;
pub mod expect;
pub mod interpreter;
pub mod log;
pub mod pattern;
pub mod syntax_error;
pub mod vars;
