//! The same machines on a simulated network and a forgetful disk, in virtual time, replayable from a seed.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod actor;
pub mod disk;
pub(crate) mod inspect;
pub mod simulation;
