//! How a pattern would have to be written to match what came instead.

use crate::core::language::log::Nearest;
use crate::core::language::pattern::Pattern;
use crate::core::language::watch::Watch;
use crate::scenario::ast::{Actor, Step, Who};
use crate::scenario::outcome::Remedy;
use crate::scenario::play::Player;

impl Player<'_> {
    /// The remedy of an expectation that failed by its text alone: it is a literal, of one actor, and what came nearest
    /// would be found in its place.
    pub(super) fn remedy(&self, actor: &Actor, nearest: &Nearest) -> Option<Remedy> {
        let Step::Expect { who: Who::Each(actors), how, pattern, .. } = &self.now_playing.step else { return None };
        if actors.len() != 1 {
            return None;
        }
        let style = self.settings.style;
        let new = pattern.adapt(&self.vars, style, &nearest.text)?;
        let matcher = Pattern::parse(&new).ok()?.fill(&self.vars, style).ok()?;
        let mut log = self.cast.get(actor)?.log.clone();
        let found = Watch::new(*how, matcher).look(&mut log)?;
        (found.text == nearest.text).then(|| Remedy { old: pattern.as_str().to_owned(), new })
    }
}
