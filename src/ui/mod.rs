//! The interactive programs: client, server and launcher, with their terminal and output.

pub mod client;
pub mod command_source;
pub mod completion;
pub mod editor;
pub mod host;
pub mod launcher;
pub mod line_source;
pub mod printer;
pub mod screen;
pub mod server;
pub mod session;
