//! The thin shell: every effect, and no decision. Clocks, sockets, files, signals and threads live here.

pub mod clock;
pub mod control;
pub mod event_loop;
pub mod file;
pub mod input;
pub mod sender;
pub mod signals;
pub mod socket;
pub mod store;
pub mod terminal;
