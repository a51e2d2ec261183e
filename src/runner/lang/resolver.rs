//! The resolver: groups parsed lines into cases, and checks each name against the actors that were started before it.

use std::sync::Arc;

use crate::runner::lang::ast::{Case, Scenario, SourceFile, Span, Statement, Step};
use crate::runner::lang::diagnostics::Diagnostic;
use crate::runner::lang::parser::{CaseHeader, Item, Mention, actor_alone};
use crate::runner::lang::scope::ActorScope;
use crate::runner::lang::source::{MAX_MISTAKES, SourceItem, SourceLine};
use crate::script::syntax_error::SyntaxError;

/// Builds the scenario from its lines. The first file's name is the title when there is no `case` line.
///
/// # Errors
/// The first [`MAX_MISTAKES`] mistakes in lines, or, without any, the mistakes in cases as a whole.
pub(crate) fn resolve(first: &Arc<SourceFile>, items: Vec<SourceItem>) -> Result<Scenario, Vec<Diagnostic>> {
    let mut resolver = Resolver::default();
    for item in items {
        match item {
            SourceItem::Line(line) => resolver.line(line),
            SourceItem::Mistake(mistake) => resolver.mistakes.push(mistake),
        }
    }
    resolver.finish(first)
}

#[derive(Default)]
struct Resolver {
    setup: Vec<Statement>,
    cases: Vec<Case>,
    /// The actors of the setup, from the first case on.
    common: ActorScope,
    scope: ActorScope,
    mistakes: Vec<Diagnostic>,
}

impl Resolver {
    fn line(&mut self, mut line: SourceLine) {
        let item = line.parsed.item.take();
        let error = match (line.parsed.error.take(), &item) {
            (Some(error), _) => {
                self.start_actors(&line.parsed.mentions);
                Some(error)
            }
            (None, Some(Item::Unknown { word, error })) => {
                Some(if self.scope.has(&word.text) { actor_alone(word) } else { error.clone() })
            }
            (None, _) => self.scope.resolve(&line.parsed.mentions).err(),
        };
        let has_error = error.is_some();
        self.mistakes.extend(error.map(|error| line.mistake(error)));
        match item {
            Some(Item::Case(header)) => self.begin_case(header, &line),
            Some(Item::Step(step)) if !has_error => {
                let statement = Statement { span: line.span, step };
                self.cases.last_mut().map_or(&mut self.setup, |case| &mut case.statements).push(statement);
            }
            _ => {}
        }
    }

    /// Starts the other actors of a line with a mistake, so that later lines find them.
    fn start_actors(&mut self, mentions: &[Mention]) {
        for mention in mentions.iter().filter(|mention| matches!(mention, Mention::Start { .. })) {
            drop(self.scope.resolve(std::slice::from_ref(mention)));
        }
    }

    fn begin_case(&mut self, header: CaseHeader, line: &SourceLine) {
        if self.cases.is_empty() {
            self.common = self.scope.clone();
            self.refuse_checks_in_setup(line);
        }
        self.scope = self.common.clone();
        self.cases.push(case(header, line.span.clone()));
    }

    fn refuse_checks_in_setup(&mut self, line: &SourceLine) {
        let checks = self.setup.iter().filter(|statement| matches!(statement.step, Step::Check { .. }));
        let error = SyntaxError::new("a check is a part of a case, and this one stands before the first", 0..0);
        let error = error.help("put it behind a `case` line");
        let mistake = |check: &Statement| Diagnostic { span: check.span.clone(), ..line.mistake_of_all(error.clone()) };
        self.mistakes.extend(checks.map(mistake));
    }

    fn finish(mut self, first: &Arc<SourceFile>) -> Result<Scenario, Vec<Diagnostic>> {
        if self.cases.is_empty() {
            let title = first.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let statements = std::mem::take(&mut self.setup);
            let header = CaseHeader { title, ..CaseHeader::default() };
            self.cases.push(Case { statements, ..case(header, Span::first_line(first)) });
        }
        if self.mistakes.is_empty() {
            self.mistakes = self.cases.iter().filter_map(case_mistake).collect();
        }
        if self.mistakes.is_empty() {
            return Ok(Scenario { setup: self.setup, cases: self.cases });
        }
        self.mistakes.truncate(MAX_MISTAKES);
        Err(self.mistakes)
    }
}

fn case(header: CaseHeader, span: Span) -> Case {
    let CaseHeader { title, points, needs, visibility } = header;
    Case { title, points, needs, visibility, span, statements: Vec::new() }
}

/// The mistake in a case as a whole, if there is one.
fn case_mistake(case: &Case) -> Option<Diagnostic> {
    let mistake = |message: String, help: &str| Diagnostic {
        span: case.span.clone(),
        message,
        help: Some(help.to_owned()),
        included: Vec::new(),
    };
    if case.statements.is_empty() {
        let message = "there is nothing to play here".to_owned();
        return Some(mistake(message, "a line `x< PATTERN` is what can pass or fail"));
    }
    let worth = |statement: &Statement| match statement.step {
        Step::Check { points, .. } => points.map(u64::from),
        _ => None,
    };
    let sum: u64 = case.statements.iter().filter_map(worth).sum();
    let points = u64::from(case.points?);
    let message = || format!("this case is worth {points} and its checks {sum}");
    (sum > points).then(|| mistake(message(), "checks share the points of their case"))
}
