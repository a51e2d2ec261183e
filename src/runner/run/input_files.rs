//! Reads the files of a run, and shows all mistakes in them before any case runs.

use std::io::Write;

use crate::io::file;
use crate::proto::status::Status;
use crate::runner::lang::ast::{Scenario, Statement, Step};
use crate::runner::lang::diagnostics::{self, Diagnostic, LoadError};
use crate::runner::lang::{self, source};
use crate::runner::run::RunOptions;

/// Reads all files and writes all mistakes. Returns the scenarios, or the status of the first unusable file.
pub(crate) fn read_all(options: &RunOptions, err: &mut dyn Write) -> Result<Vec<Scenario>, Status> {
    let mut scenarios = Vec::with_capacity(options.files.len());
    let mut status = Status::Ok;
    for file in &options.files {
        let refusal = match lang::load(file, &mut |path| file::read(path, source::MAX_FILE_BYTES)) {
            Ok(scenario) => match json_mistakes(options, &scenario) {
                mistakes if mistakes.is_empty() => {
                    scenarios.push(scenario);
                    continue;
                }
                mistakes => LoadError::Mistakes(mistakes),
            },
            Err(refusal) => refusal,
        };
        let (text, reason) = match &refusal {
            LoadError::Unreadable { .. } => (refusal.to_string(), Status::Environment),
            LoadError::Mistakes(mistakes) => (diagnostics::render(mistakes, options.colour), Status::Parse),
        };
        drop(writeln!(err, "{}", text.trim_end()));
        status = status.or(reason);
    }
    if status == Status::Ok { Ok(scenarios) } else { Err(status) }
}

/// The mistakes of JSON patterns in a run with text output.
fn json_mistakes(options: &RunOptions, scenario: &Scenario) -> Vec<Diagnostic> {
    let all = scenario.setup.iter().chain(scenario.cases.iter().flat_map(|case| &case.statements));
    let json = all.filter(|statement| match &statement.step {
        Step::Expect { pattern, .. } => pattern.is_json() && (options.text || options.implementation.is_some()),
        _ => false,
    });
    let mistake = |statement: &Statement| Diagnostic {
        span: statement.span.clone(),
        message: "a JSON pattern never matches what people see".to_owned(),
        help: Some(format!("play it without --{}", if options.implementation.is_some() { "impl" } else { "text" })),
        included: Vec::new(),
    };
    json.map(mistake).collect()
}
