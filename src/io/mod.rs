//! Performs the effects of the program: clocks, sockets, files, signals and threads. It makes no decisions; the
//! machines in [`crate::proto`] do.

pub mod clock;
pub mod control;
pub mod direct_output;
pub mod event_loop;
pub mod file;
pub mod identity;
pub mod input;
mod send_batch;
pub mod sender;
pub mod signals;
pub mod socket;
pub mod store;
pub mod terminal;
