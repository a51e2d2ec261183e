//! Networks as they misbehave, sans I/O: faults of one program, and models of links. Pure.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod emulator;
pub mod fault;
pub mod link_model;
