//! A client as a program: its socket, its input, its output and the signals, around the core's client.

use std::io::BufReader;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use anyhow::{Context, anyhow};

use crate::cli::ClientOptions;
use crate::io::clock::Clock;
use crate::io::event_loop::EventLoop;
use crate::io::input::Lines;
use crate::io::terminal;
use crate::proto::client::Client;
use crate::proto::config::ClientConfig;
use crate::proto::status::Status;
use crate::ui::client_host::ClientHost;
use crate::ui::command_source::CommandSource;
use crate::ui::completion::Completion;
use crate::ui::editor::EditorContext;
use crate::ui::line_source::LineSource;
use crate::ui::printer::{self, OutputStyle, Printer};
use crate::ui::start::{Signals, bind, outgoing, seed};

/// Runs a client to its end, with its lines from `source`.
pub fn run(options: &ClientOptions, source: LineSource) -> Status {
    match try_run(options, source) {
        Ok(status) => status,
        Err(why) => {
            printer::print_error(&format!("{why:#}"));
            Status::Environment
        }
    }
}

fn try_run(options: &ClientOptions, source: LineSource) -> anyhow::Result<Status> {
    let servers = resolve(&options.host, options.server_port)?;
    let source = match &options.script {
        None => source,
        Some(file) => {
            let opened = std::fs::File::open(file);
            let opened = opened.with_context(|| format!("The script {} cannot be read", file.display()))?;
            LineSource::Lines { reader: Box::new(BufReader::new(opened)), typed: false }
        }
    };
    let socket = bind(options.port)?;
    let config = ClientConfig {
        name: options.name.clone(),
        addr: own_address(&servers, socket.local_port()),
        servers,
        server: format!("{}:{}", bracketed(&options.host), options.server_port),
        free_port: (options.port == 0).then(|| socket.local_port()),
        seed: seed()?,
        silent_leave: options.silent_leave,
        trace: options.trace,
    };
    let clock = Clock::start();
    let mut drive = EventLoop::new(socket, outgoing(&options.trouble)?, clock)?;
    let wake = drive.wake();
    let signals = Signals::listen(wake.clone())?;
    let style = OutputStyle { json: options.json, terminal: terminal::is_output(), me: options.name.to_string() };
    let surroundings = Completion::default();
    let typed = options.typed || source.is_typed();
    let (printer, lines) = match source.editor(options.json, "client-history") {
        Ok(mut editor) => {
            let screen = editor.screen()?;
            let printer = Printer::start(style, Some(screen.clone()), wake.clone())?;
            let (lines, queue) = Lines::queue(wake.clone());
            let (signals, surroundings) = (signals.sender.clone(), surroundings.clone());
            let printing = printer.clone();
            let desk = EditorContext { lines, signals, wake, surroundings, printer, screen, only_in_foreground: false };
            editor.spawn(desk)?;
            (printing, queue)
        }
        Err(source) => (Printer::start(style, None, wake.clone())?, Lines::read(source.into_reader(), wake)?),
    };
    let _borrowed = printer.borrowed();
    let feed = CommandSource::new(lines, typed, options);
    let mut client = Client::new(clock.now(), config);
    let mut front = ClientHost::new(feed, printer, signals, surroundings);
    let ending = drive.run(&mut client, &mut front)?;
    Ok(front.end(ending, &clock))
}

/// All addresses of a host, as many as a client tries.
fn resolve(host: &str, port: u16) -> anyhow::Result<Vec<SocketAddr>> {
    let unknown = || format!("The server's host {host} is not known");
    let found = (host, port).to_socket_addrs().with_context(unknown)?;
    let mut servers: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !servers.contains(&address) && servers.len() < ClientConfig::MAX_SERVERS {
            servers.push(address);
        }
    }
    if servers.is_empty() {
        return Err(anyhow!("The server's host {host} has no address."));
    }
    Ok(servers)
}

/// The address from which the first server that can be reached is reached, with the port of our socket; asking the
/// system for it sends nothing.
fn own_address(servers: &[SocketAddr], port: u16) -> SocketAddr {
    let from = |server: &SocketAddr| {
        let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
        let probe = std::net::UdpSocket::bind(any).ok()?;
        probe.connect(server).ok()?;
        Some(probe.local_addr().ok()?.ip())
    };
    let unspecified = IpAddr::from([0, 0, 0, 0]);
    SocketAddr::new(servers.iter().find_map(from).unwrap_or(unspecified), port)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_resolved_or_named_in_one_sentence() {
        assert_eq!(resolve("127.0.0.1", 8888).unwrap(), ["127.0.0.1:8888".parse().unwrap()]);
        assert_eq!(resolve("::1", 8888).unwrap(), ["[::1]:8888".parse().unwrap()]);
        let why = resolve("no-such-host.invalid", 8888).unwrap_err().to_string();
        assert_eq!(why, "The server's host no-such-host.invalid is not known");
    }

    #[test]
    fn the_own_address_is_the_one_that_the_server_sees() {
        let servers = ["127.0.0.1:9".parse().unwrap()];
        assert_eq!(own_address(&servers, 4000), "127.0.0.1:4000".parse().unwrap());
        assert_eq!(own_address(&[], 4000), "0.0.0.0:4000".parse().unwrap());
    }
}
