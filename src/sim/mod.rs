//! The machines of the protocol on a simulated network and disk, in virtual time, replayable from a seed. Pure.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod actor;
pub mod disk;
pub(crate) mod inspect;
pub mod simulation;
