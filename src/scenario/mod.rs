//! Scenario files with many actors: what they say, what is wrong with them, and playing them.

pub mod ast;

pub mod outcome;
mod part;
pub mod play;
pub mod stage;
mod waits;
