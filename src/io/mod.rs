//! The thin shell: every effect, and no decision. Clocks, sockets, files, signals and threads live here.

pub mod clock;
pub mod control;
pub mod drive;
pub mod file;
pub mod input;
pub mod outgoing;
pub mod socket;
pub mod stop;
pub mod store;
pub mod terminal;
