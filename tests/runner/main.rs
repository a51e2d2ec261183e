//! `chat run`: how scenarios are read, executed and reported, with real processes and simulated.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod bless;
mod cancel;
mod grade_a_folder;
mod impl_chatapp;
mod jobs;
mod listing;
mod mistakes;
mod processes;
mod profile;
mod record;
mod repeats;
mod report_files;
mod reports;
mod scenarios;
mod simulated_scenarios;
mod terminal;
