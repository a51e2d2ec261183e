//! Random numbers of a machine. All come from one seed, so that a run can be replayed.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::proto::id::Incarnation;

/// A cryptographic generator (ChaCha12): its numbers cannot be predicted without the seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// Creates a generator. The seed must be 32 random bytes, because cookies and incarnations depend on it.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// Creates a generator from a short number, for simulations that can be replayed. It must not be used for secrets:
    /// a number that a person chose can be guessed.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        Self::new(seed)
    }

    /// Returns 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a new random incarnation.
    pub fn incarnation(&mut self) -> Incarnation {
        Incarnation(u128::from(self.bits()) << 64 | u128::from(self.bits()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_gives_a_different_seed() {
        let mut seed = [0; 32];
        (seed[0], seed[7]) = (7, 1);
        assert_eq!(Rng::from_number(1 << 56 | 7), Rng::new(seed));
        assert_ne!(Rng::from_number(7), Rng::from_number(8));
    }
}
