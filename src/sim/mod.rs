//! The same machines on a simulated network and a forgetful disk, in virtual time, replayable from a seed.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod actor;
mod air;
pub mod disk;
pub mod network;
pub mod world;
