//! `chat`: the scriptable chat tool over UDP. One binary is the server, the client and the scenario runner.
//!
//! Imports point one way: `ui → scenario → sim, io → core`. The core decides everything and touches
//! nothing; what touches the world decides nothing.

pub mod cli;
pub mod io;
pub mod netem;
pub mod proto;
pub mod runner;
pub mod script;
pub mod sim;
pub mod ui;

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use crate::cli::{EarlyExit, Role};
use crate::proto::status::Status;
use crate::ui::launcher::{self, LauncherResult};
use crate::ui::line_source::LineSource;
use crate::ui::{client, printer, server};

/// Runs the program with these arguments, the first being its own name. A panic, which has said what it is about, ends
/// it with [`Status::Internal`].
#[must_use]
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    // Nothing is used again that a panic may have left half done.
    catch_unwind(AssertUnwindSafe(|| play(arguments))).unwrap_or(Status::Internal).into()
}

fn play(arguments: Vec<OsString>) -> Status {
    match cli::parse(arguments) {
        Ok(Role::Launcher) => match launcher::run() {
            LauncherResult::Start(role, source) => start(&role, source),
            LauncherResult::End(status) => status,
        },
        Ok(role) => start(&role, LineSource::Stdin),
        Err(EarlyExit::Text(text)) => {
            printer::answer(&text);
            Status::Ok
        }
        Err(EarlyExit::Wrong(sentence)) => {
            printer::print_error(&sentence);
            Status::Usage
        }
        Err(EarlyExit::Refused(status, text)) => {
            // Nobody there to read it is no failure.
            printer::report(|_, err| drop(writeln!(err, "{text}")));
            status
        }
    }
}

fn start(role: &Role, source: LineSource) -> Status {
    match role {
        Role::Server(options) => server::run(options, source),
        Role::Client(options) => client::run(options, source),
        Role::Run(options) => printer::report(|out, err| runner::run::run(options, out, err)),
        // A launcher starts no launcher.
        Role::Launcher => Status::Ok,
    }
}
