//! The repository itself: the structure of its source, and that its documents and scenarios are complete and true.

#[path = "../support/mod.rs"]
mod support;

mod contract_strings;
mod house;
mod readme;
