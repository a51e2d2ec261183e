//! The parts that scripts of one client and scenarios share: lines, patterns, variables, logs and expectations. The
//! interpreter of client scripts is here too.
//!
//! This module is pure: it reads no clock, file or socket.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod directive;
pub mod expect;
pub mod interpreter;
pub mod log;
pub mod pattern;
pub mod syntax_error;
pub mod vars;
