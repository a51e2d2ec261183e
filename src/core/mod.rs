//! The pure core: decides everything and touches nothing. No clock, socket, file, thread or print in here.

pub mod client_event;
pub mod command;
pub mod config;
pub mod console;
pub mod directive;
pub mod event;
pub mod id;
mod json_pattern;
mod likeness;
mod literal;
pub mod log;
pub mod machine;
pub mod name;
pub mod normal;
pub mod pattern;
pub mod record;
pub mod script;
pub mod server_event;
pub mod status;
pub mod suggest;
pub mod time;
pub mod vars;
pub mod watch;
pub mod wrong;
