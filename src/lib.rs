//! `chat`: a scriptable chat program over UDP. One binary is the server, the client and the scenario runner.
//!
//! [`proto`] makes all decisions and performs no effects; [`io`] performs effects and makes no decisions. Imports point
//! down, from [`ui`] to [`proto`]; `src/README.md` has the complete list.

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

/// Runs the program. The first argument is the name of the program. A panic, after its message is printed, ends the
/// program with [`Status::Internal`].
#[must_use]
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    // No value that a panic may have left inconsistent is used afterwards.
    catch_unwind(AssertUnwindSafe(|| parse_and_start(arguments))).unwrap_or(Status::Internal).into()
}

fn parse_and_start(arguments: Vec<OsString>) -> Status {
    match cli::parse(arguments) {
        Ok(Role::Launcher) => match launcher::run() {
            LauncherResult::Start(role, source) => start(&role, source),
            LauncherResult::End(status) => status,
        },
        Ok(role) => start(&role, LineSource::Stdin),
        Err(EarlyExit::Text(text)) => {
            printer::print_text(&text);
            Status::Ok
        }
        Err(EarlyExit::Wrong(sentence)) => {
            printer::print_error(&sentence);
            Status::Usage
        }
        Err(EarlyExit::Refused(status, text)) => {
            // A closed standard error is not a failure: the status is reported anyway.
            printer::with_streams(|_, err| drop(writeln!(err, "{text}")));
            status
        }
    }
}

fn start(role: &Role, source: LineSource) -> Status {
    match role {
        Role::Server(options) => server::run(options, source),
        Role::Client(options) => client::run(options, source),
        Role::Run(options) => printer::with_streams(|out, err| runner::run::run(options, out, err)),
        // The launcher never returns this role.
        Role::Launcher => Status::Ok,
    }
}
