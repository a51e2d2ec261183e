//! Tests of real servers and clients, with pipes or in a terminal.

#[path = "../support/mod.rs"]
mod support;

mod arguments;
mod client;
mod crash;
mod crowd;
mod faults;
mod identity;
mod nohup;
mod python_client;
mod server;
mod slow_readers;
mod soak;
mod terminal_client;
mod terminal_server;
