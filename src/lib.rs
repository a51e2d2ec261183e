//! `chat`: the scriptable chat tool over UDP. One binary is the server, the client and the scenario runner.
//!
//! Imports point one way: `ui → scenario → sim, io → core`. The core decides everything and touches
//! nothing; what touches the world decides nothing.

pub mod core;
pub mod io;
pub mod scenario;
pub mod sim;
pub mod ui;

/// Runs the program with these arguments, the first being its own name.
#[must_use]
pub fn run(_arguments: Vec<std::ffi::OsString>) -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
