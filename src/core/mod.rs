//! The pure core: decides everything and touches nothing. No clock, socket, file, thread or print in here.

#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

mod door;

pub mod client;
pub mod client_event;
pub mod command;
pub mod config;
pub mod console;
pub mod directory;
pub mod event;
pub mod fault;
pub mod id;
pub mod inbound;
pub mod language;
pub mod link;
pub mod links;
pub mod machine;
pub mod name;
pub mod obeyed;
pub mod record;
pub mod rng;
pub mod rtt;
pub mod server;
pub mod server_event;
pub mod status;
pub mod suggest;
pub mod time;
pub mod trace_event;
pub mod wire;
