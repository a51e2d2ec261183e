//! The cases of a run, in order.

use crate::runner::lang::ast::{Case, Scenario, Step};
use crate::runner::report::attempt::Attempt;
use crate::runner::report::outcome::CaseInfo;
use crate::runner::run::RunOptions;

/// A case that will run, in its first attempt.
pub(crate) struct Planned<'a> {
    pub(crate) info: CaseInfo,
    pub(crate) scenario: &'a Scenario,
    pub(crate) case: &'a Case,
}

impl Planned<'_> {
    /// Whether it injects network faults, which need random numbers.
    pub(crate) fn changes_network(&self) -> bool {
        let statements = self.scenario.setup.iter().chain(&self.case.statements);
        statements.map(|statement| &statement.step).any(Step::changes_network)
    }
}

/// Plans the cases, in order. `--case` selects by title.
pub(crate) fn plan<'a>(options: &RunOptions, scenarios: &'a [Scenario]) -> Vec<Planned<'a>> {
    let attempt = Attempt { rounds: options.rounds.number(), lenient: options.allow_flaky, ..Attempt::default() };
    let mut planned = Vec::new();
    for (file, scenario) in options.files.iter().zip(scenarios) {
        for case in &scenario.cases {
            if options.case.as_ref().is_some_and(|word| !case.title.contains(word.as_str())) {
                continue;
            }
            let info = CaseInfo {
                file: file.clone(),
                title: case.title.clone(),
                points: case.worth(),
                visibility: case.visibility,
                span: case.span.clone(),
                steps: scenario.setup.len() + case.statements.len(),
                attempt,
            };
            planned.push(Planned { info, scenario, case });
        }
    }
    planned
}
