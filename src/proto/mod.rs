//! The protocol: the state machines of client and server, sans I/O. They make all decisions and perform no effects.
//!
//! No code here uses a clock, socket, file or thread. Time, random seeds and bytes are arguments.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]
#![warn(missing_docs)]

pub mod client;
pub mod command;
pub mod config;
pub mod console;
pub mod event;
pub mod hex;
pub mod id;
pub mod keys;
pub mod link;
pub mod machine;
pub mod name;
mod output;
pub mod record;
pub mod rng;
pub mod server;
pub mod status;
pub mod suggest;
pub mod template;
pub mod text;
pub mod time;
pub mod wire;
