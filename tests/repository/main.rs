//! Tests of the repository: the structure of its source, and the correctness of its documents and scenarios.

#[path = "../support/mod.rs"]
mod support;

mod contract_strings;
mod house;
mod readme;
