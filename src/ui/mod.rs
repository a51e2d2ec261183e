//! What people meet: the command line, output, the line editor and the launcher.

pub mod backlog;
pub mod cli;
pub mod client;
pub mod client_front;
pub mod feed;
pub mod launcher;
pub mod output;
pub mod repl;
pub mod sanitize;
pub mod screen;
pub mod server;
pub mod server_front;
pub mod source;
pub mod start;
pub mod surroundings;
