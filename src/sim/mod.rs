//! The same machines on a simulated network and a forgetful disk, in virtual time, replayable from a seed.

pub mod disk;
pub mod network;
pub mod world;
