//! Suggests a pattern that matches the line that came instead of the expected one.

use crate::runner::exec::executor::CaseExecutor;
use crate::runner::lang::ast::{ActorId, Step, Who};
use crate::runner::report::outcome::Remedy;
use crate::script::expect::ExpectCursor;
use crate::script::log::Nearest;
use crate::script::pattern::Pattern;

impl CaseExecutor<'_> {
    /// The remedy for an expectation that failed by its text alone. The pattern is a literal, the statement names one
    /// actor, and the rewritten pattern finds the nearest line.
    pub(crate) fn remedy(&self, actor: &ActorId, nearest: &Nearest) -> Option<Remedy> {
        let Step::Expect { who: Who::Each(actors), mode, pattern, .. } = &self.statement.step else { return None };
        if actors.len() != 1 {
            return None;
        }
        let style = self.settings.style;
        let new = pattern.adapt(&self.vars, style, &nearest.text)?;
        let matcher = Pattern::parse(&new).ok()?.fill(&self.vars, style).ok()?;
        let mut log = self.actors.get(actor)?.log.clone();
        let found = ExpectCursor::new(*mode, matcher).look(&mut log)?;
        (found.text == nearest.text).then(|| Remedy { old: pattern.as_str().to_owned(), new })
    }
}
