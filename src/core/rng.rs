//! The core's random numbers: all from one seed, so that a run can be replayed.

use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use super::id::Life;

/// A seeded generator that cannot be guessed without its seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Rng(ChaCha12Rng);

impl Rng {
    /// A generator from 32 random bytes.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// The id of a new life.
    pub fn life(&mut self) -> Life {
        Life(u128::from(self.bits()) << 64 | u128::from(self.bits()))
    }
}
