//! Who is in a case so far: every name in a file is looked up here before the run.

use std::collections::{BTreeMap, BTreeSet};

use crate::proto::name::Name;
use crate::proto::suggest::nearest;
use crate::runner::lang::ast::{ActorId, Peer, Who};
use crate::runner::lang::lexer::Word;
use crate::script::syntax_error::SyntaxError;

/// The actors that were started up to a line.
#[derive(Clone, Debug, Default)]
pub(crate) struct ActorScope {
    /// Whether each shows text instead of events.
    text: BTreeMap<ActorId, bool>,
    /// Those who were missed once: they are not missed again.
    missed: BTreeSet<ActorId>,
}

impl ActorScope {
    /// The most clients of one case.
    pub(crate) const MAX_CLIENTS: usize = 1024;

    /// Brings somebody in.
    pub(crate) fn enter(&mut self, actor: ActorId, text: bool, word: &Word) -> Result<(), SyntaxError> {
        if self.text.contains_key(&actor) {
            let wrong = SyntaxError::new(format!("`{actor}` was started before"), word.range.clone());
            return Err(wrong.help(format!("`restart {actor}` starts it again")));
        }
        let clients = self.text.keys().filter(|actor| **actor != ActorId::Server).count();
        if actor != ActorId::Server && clients >= Self::MAX_CLIENTS {
            let most = Self::MAX_CLIENTS;
            return Err(SyntaxError::new(format!("a case can have at most {most} clients"), word.range.clone()));
        }
        self.text.insert(actor, text);
        Ok(())
    }

    /// Whether an actor of this name is there.
    pub(crate) fn has(&self, word: &str) -> bool {
        self.text.keys().any(|actor| actor.to_string() == word)
    }

    /// Somebody by name.
    pub(crate) fn actor(&mut self, word: &Word) -> Result<ActorId, SyntaxError> {
        let range = word.range.clone();
        let actor = match word.text.as_str() {
            "server" => ActorId::Server,
            text => ActorId::Client(Name::new(text).map_err(|bad| {
                let message = bad.to_string();
                SyntaxError::new(message.trim_end_matches('.'), range.clone())
            })?),
        };
        if self.text.contains_key(&actor) || !self.missed.insert(actor.clone()) {
            return Ok(actor);
        }
        if actor == ActorId::Server {
            return Err(SyntaxError::new("there is no server up to here", range).help("a line `server` starts one"));
        }
        let known: Vec<String> = self.text.keys().map(ToString::to_string).collect();
        let help = match nearest(&word.text, known.iter().map(String::as_str)) {
            // One letter is always one letter away from another.
            Some(meant) if word.text.len() > 1 => format!("did you mean `{meant}`?"),
            _ => format!("a line `client {actor}` starts it"),
        };
        Err(SyntaxError::new(format!("there is no actor `{actor}` up to here"), range).help(help))
    }

    /// One end of a way: somebody by name, or `*`.
    pub(crate) fn peer(&mut self, word: &Word) -> Result<Peer, SyntaxError> {
        if word.text == "*" { Ok(Peer::Anybody) } else { self.actor(word).map(Peer::Actor) }
    }

    /// What stands in front of an actor line: a name, names between commas, or `*`.
    pub(crate) fn who(&mut self, word: &Word) -> Result<Who, SyntaxError> {
        if word.text == "*" {
            if !self.text.keys().any(|actor| *actor != ActorId::Server) {
                let wrong = SyntaxError::new("there is no client up to here", word.range.clone());
                return Err(wrong.help("a line `client x` starts one"));
            }
            return Ok(Who::EveryClient);
        }
        let mut at = word.range.start;
        let mut actors = Vec::new();
        for text in word.text.split(',') {
            let range = at..at + text.len();
            at = range.end + 1;
            let item = Word { text: text.to_owned(), range: range.clone() };
            if text.is_empty() || text == "*" {
                let wrong = SyntaxError::new("a name is expected between commas", range);
                return Err(wrong.help("write `x,y`, without blanks, or `*` alone"));
            }
            let actor = self.actor(&item)?;
            if actors.contains(&actor) {
                return Err(SyntaxError::new(format!("`{actor}` stands here twice"), range));
            }
            actors.push(actor);
        }
        Ok(Who::Each(actors))
    }

    /// The first of them that shows text instead of events.
    pub(crate) fn without_events(&self, who: &Who) -> Option<&ActorId> {
        self.text.iter().find_map(|(actor, text)| {
            let meant = match who {
                Who::EveryClient => *actor != ActorId::Server,
                Who::Each(actors) => actors.contains(actor),
            };
            (*text && meant).then_some(actor)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_of_a_case_are_limited_whether_there_is_a_server_or_not() {
        let word = Word { text: String::new(), range: 0..0 };
        let client = |n: usize| ActorId::Client(Name::new(&format!("c{n}")).unwrap());
        for server_first in [true, false] {
            let mut cast = ActorScope::default();
            if server_first {
                cast.enter(ActorId::Server, false, &word).unwrap();
            }
            for n in 0..ActorScope::MAX_CLIENTS {
                assert_eq!(cast.enter(client(n), false, &word), Ok(()));
            }
            let wrong = cast.enter(client(ActorScope::MAX_CLIENTS), false, &word).unwrap_err();
            assert_eq!(wrong.message, "a case can have at most 1024 clients");
            // A server is none of them.
            assert_eq!(cast.enter(ActorId::Server, false, &word).is_ok(), !server_first);
        }
    }
}
