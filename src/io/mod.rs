//! The thin shell: every effect, and no decision. Clocks, sockets, files, signals and threads live here.

pub mod socket;
pub mod stop;
