//! The machines of the protocol on a simulated network and disk, in virtual time. A seed replays a run exactly. Pure.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod actor;
pub mod disk;
pub(crate) mod inspect;
pub mod simulation;
