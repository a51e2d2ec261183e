//! The actors of a case up to a line. The resolver looks up names here, before the run.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::proto::suggest::nearest;
use crate::runner::lang::ast::{ActorId, Who};
use crate::runner::lang::parser::Mention;
use crate::script::syntax_error::SyntaxError;

/// The actors that are started up to a line.
#[derive(Clone, Debug, Default)]
pub(crate) struct ActorScope {
    /// The started actors, and whether each shows text instead of events.
    text: BTreeMap<ActorId, bool>,
    /// Missing actors that were reported. Each is reported once.
    reported_missing: BTreeSet<ActorId>,
}

impl ActorScope {
    /// The most clients of one case.
    pub(crate) const MAX_CLIENTS: usize = 1024;

    /// Resolves the names of a line, in order.
    ///
    /// # Errors
    /// The first mistake. The other actors of a `client` line with a mistake are still started.
    pub(crate) fn resolve(&mut self, mentions: &[Mention]) -> Result<(), SyntaxError> {
        let mut first = Ok(());
        for mention in mentions {
            match mention {
                Mention::Start { actor, is_text, range } => first = first.and(self.start(actor, *is_text, range)),
                Mention::Use { actor, range } => self.find(actor, range)?,
                Mention::EveryClient { range } => self.find_client(range)?,
                Mention::Events { who, range } => self.require_events(who, range)?,
            }
        }
        first
    }

    /// Whether an actor with this name was started.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.text.keys().any(|actor| actor.to_string() == word)
    }

    fn start(&mut self, actor: &ActorId, is_text: bool, range: &Range<usize>) -> Result<(), SyntaxError> {
        if self.text.contains_key(actor) {
            let error = SyntaxError::new(format!("`{actor}` was started before"), range.clone());
            return Err(error.help(format!("`restart {actor}` starts it again")));
        }
        let clients = self.text.keys().filter(|actor| **actor != ActorId::Server).count();
        if *actor != ActorId::Server && clients >= Self::MAX_CLIENTS {
            let most = Self::MAX_CLIENTS;
            return Err(SyntaxError::new(format!("a case can have at most {most} clients"), range.clone()));
        }
        self.text.insert(actor.clone(), is_text);
        Ok(())
    }

    fn find(&mut self, actor: &ActorId, range: &Range<usize>) -> Result<(), SyntaxError> {
        if self.text.contains_key(actor) || !self.reported_missing.insert(actor.clone()) {
            return Ok(());
        }
        if *actor == ActorId::Server {
            let error = SyntaxError::new("there is no server up to here", range.clone());
            return Err(error.help("a line `server` starts one"));
        }
        let name = actor.to_string();
        let known: Vec<String> = self.text.keys().map(ToString::to_string).collect();
        let help = match nearest(&name, known.iter().map(String::as_str)) {
            // Any two names of one letter differ by one change, so a suggestion would be meaningless.
            Some(meant) if name.len() > 1 => format!("did you mean `{meant}`?"),
            _ => format!("a line `client {actor}` starts it"),
        };
        Err(SyntaxError::new(format!("there is no actor `{actor}` up to here"), range.clone()).help(help))
    }

    fn find_client(&self, range: &Range<usize>) -> Result<(), SyntaxError> {
        if self.text.keys().any(|actor| *actor != ActorId::Server) {
            return Ok(());
        }
        let error = SyntaxError::new("there is no client up to here", range.clone());
        Err(error.help("a line `client x` starts one"))
    }

    fn require_events(&self, who: &Who, range: &Range<usize>) -> Result<(), SyntaxError> {
        let is_meant = |actor: &ActorId| match who {
            Who::EveryClient => *actor != ActorId::Server,
            Who::Each(actors) => actors.contains(actor),
        };
        let Some((actor, _)) = self.text.iter().find(|(actor, is_text)| **is_text && is_meant(actor)) else {
            return Ok(());
        };
        let message = format!("`{actor}` is started with `--text` and has no events for a JSON pattern");
        Err(SyntaxError::new(message, range.clone()).help("write `\\{` to begin a literal with a brace"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::name::Name;

    #[test]
    fn the_clients_of_a_case_are_limited_with_and_without_a_server() {
        let client = |n: usize| ActorId::Client(Name::new(&format!("c{n}")).unwrap());
        for server_first in [true, false] {
            let mut scope = ActorScope::default();
            if server_first {
                scope.start(&ActorId::Server, false, &(0..0)).unwrap();
            }
            for n in 0..ActorScope::MAX_CLIENTS {
                assert_eq!(scope.start(&client(n), false, &(0..0)), Ok(()));
            }
            let error = scope.start(&client(ActorScope::MAX_CLIENTS), false, &(0..0)).unwrap_err();
            assert_eq!(error.message, "a case can have at most 1024 clients");
            // The server does not count as a client.
            assert_eq!(scope.start(&ActorId::Server, false, &(0..0)).is_ok(), !server_first);
        }
    }
}
