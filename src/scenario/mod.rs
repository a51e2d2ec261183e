//! Scenario files with many actors: what they say, and what is wrong with them.

pub mod ast;
