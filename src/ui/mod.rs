//! What people meet: the command line, output, the line editor and the launcher.

pub mod backlog;
pub mod client;
pub mod client_host;
pub mod command_source;
pub mod completion;
pub mod editor;
pub mod launcher;
pub mod line_source;
pub mod printer;
pub mod screen;
pub mod server;
pub mod server_host;
pub mod start;
