//! A network emulator without I/O: commands that set faults, models of links, and the queue that applies both. Pure.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod emulator;
pub mod fault;
pub mod link_model;
