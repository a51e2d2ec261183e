//! Where the random numbers behind faults of the network come from: one number a run, and others derived from it.

use std::hash::Hasher;
use std::io;

use siphasher::sip::SipHasher13;

use crate::runner::lang::ast::ActorId;

/// A seed. The same one gives every case, and every life of every actor, the same random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// A new one, short enough to be written down.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(u32::from_le_bytes(bytes).into()))
    }

    /// That of a case, whatever is run before it.
    #[must_use]
    pub fn of_case(self, title: &str) -> Self {
        self.derived(0, title)
    }

    /// That of a life of an actor, counted from 1.
    #[must_use]
    pub fn of_life(self, actor: &ActorId, life: u32) -> Self {
        self.derived(life.into(), &actor.to_string())
    }

    fn derived(self, number: u64, word: &str) -> Self {
        let mut hasher = SipHasher13::new_with_keys(self.0, number);
        hasher.write(word.as_bytes());
        Self(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_actor_and_life_has_another_one_and_always_the_same() {
        let x = ActorId::Client("x".parse().unwrap());
        let seeds = |seed: u64| {
            let case = Seed(seed).of_case("a");
            [Seed(seed), case, Seed(seed).of_case("b"), case.of_life(&x, 1), case.of_life(&x, 2)]
                .into_iter()
                .chain([case.of_life(&ActorId::Server, 1)])
                .collect::<Vec<_>>()
        };
        let (mut all, again) = ([seeds(7), seeds(8)].concat(), [seeds(7), seeds(8)].concat());
        assert_eq!(all, again);
        all.sort_by_key(|seed| seed.0);
        all.dedup();
        assert_eq!(all.len(), 12);
    }
}
