//! The core's random numbers: all from one seed, so that a run can be replayed.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::proto::id::Incarnation;

/// A seeded generator that cannot be guessed without its seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// A generator from 32 random bytes.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// A generator from a number that a person can write down: for runs to be replayed, not for secrets.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        Self::new(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// The id of a new life.
    pub fn incarnation(&mut self) -> Incarnation {
        Incarnation(u128::from(self.bits()) << 64 | u128::from(self.bits()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_seed_of_its_own() {
        let mut seed = [0; 32];
        (seed[0], seed[7]) = (7, 1);
        assert_eq!(Rng::from_number(1 << 56 | 7), Rng::new(seed));
        assert_ne!(Rng::from_number(7), Rng::from_number(8));
    }
}
