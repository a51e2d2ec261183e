//! The `chat` binary: passes its arguments to the library and returns the exit status.

use std::process::ExitCode;

fn main() -> ExitCode {
    chat::run(std::env::args_os().collect())
}
