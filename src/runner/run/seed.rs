//! Seeds for the random numbers of network faults. All seeds of a run derive from one number.

use std::hash::Hasher;
use std::io;

use siphasher::sip::SipHasher13;

use crate::runner::lang::ast::ActorId;

/// A seed. Equal seeds give each case, and each incarnation of each actor, equal random numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl Seed {
    /// A random seed of 32 bits, short enough to write down.
    ///
    /// # Errors
    /// When the system provides no random numbers.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 4];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(u32::from_le_bytes(bytes).into()))
    }

    /// The seed of a case. It does not depend on the cases that run before.
    #[must_use]
    pub fn of_case(self, title: &str) -> Self {
        self.derived(0, title)
    }

    /// The seed of an incarnation of an actor, counted from 1.
    #[must_use]
    pub fn of_incarnation(self, actor: &ActorId, incarnation: u32) -> Self {
        self.derived(incarnation.into(), &actor.to_string())
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
    fn each_case_actor_and_incarnation_has_a_seed_of_its_own() {
        let x = ActorId::Client("x".parse().unwrap());
        let seeds = |seed: u64| {
            let case = Seed(seed).of_case("a");
            [Seed(seed), case, Seed(seed).of_case("b"), case.of_incarnation(&x, 1), case.of_incarnation(&x, 2)]
                .into_iter()
                .chain([case.of_incarnation(&ActorId::Server, 1)])
                .collect::<Vec<_>>()
        };
        let (mut all, again) = ([seeds(7), seeds(8)].concat(), [seeds(7), seeds(8)].concat());
        assert_eq!(all, again);
        all.sort_by_key(|seed| seed.0);
        all.dedup();
        assert_eq!(all.len(), 12);
    }
}
