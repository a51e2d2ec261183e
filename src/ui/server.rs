//! A server as a program: its socket, its store, its words and the signals, around the core's server.

use std::sync::mpsc::channel;

use anyhow::anyhow;

use crate::cli::{ServerOptions, StoreChoice};
use crate::io::clock::Clock;
use crate::io::event_loop::EventLoop;
use crate::io::input::{Lines, Wake};
use crate::io::store::{self, Store};
use crate::io::terminal;
use crate::proto::config::ServerConfig;
use crate::proto::server::Server;
use crate::proto::status::Status;
use crate::ui::completion::Completion;
use crate::ui::editor::{EditorContext, state_folder};
use crate::ui::line_source::LineSource;
use crate::ui::printer::{OutputStyle, Printer, print_error};
use crate::ui::server_host::ServerHost;
use crate::ui::start::{Signals, bind, outgoing, seed};

/// Runs a server to its end, with its words from `source`.
pub fn run(options: &ServerOptions, source: LineSource) -> Status {
    if source.is_typed() {
        terminal::stay_running_in_background();
    }
    match try_run(options, source) {
        Ok(status) => status,
        Err(why) => {
            print_error(&format!("{why:#}"));
            Status::Environment
        }
    }
}

fn try_run(options: &ServerOptions, source: LineSource) -> anyhow::Result<Status> {
    let socket = bind(options.port)?;
    let port = socket.local_port();
    let clock = Clock::start();
    let mut drive = EventLoop::new(socket, outgoing(&options.trouble)?, clock)?;
    let wake = drive.wake();
    let place = place(&options.place, port)?;
    let signals = Signals::listen(wake.clone())?;
    let file = match &place {
        store::StoreLocation::File(file) => file.display().to_string(),
        store::StoreLocation::Memory => "memory".to_owned(),
    };
    let (answer, answers) = channel();
    let told = wake.clone();
    let (store, kept) = Store::open(
        place,
        Box::new(move |said| {
            // Nobody listens any more when the program is ending already.
            let _ = answer.send(said);
            told();
        }),
    )?;
    let config = ServerConfig { port, seed: seed()?, kept, mailbox: options.mailbox, file, trace: options.trace };

    let style = OutputStyle { json: options.json, terminal: terminal::is_output(), me: "server".to_owned() };
    let (printer, lines) = desk(options, source, style, &signals, wake)?;
    let _borrowed = printer.borrowed();
    let mut server = Server::new(clock.now(), config);
    let mut front = ServerHost::new(lines, printer, store, answers, signals);
    let ending = drive.run(&mut server, &mut front)?;
    Ok(front.end(ending, &clock))
}

/// Where the words come from and the events go.
fn desk(
    options: &ServerOptions,
    source: LineSource,
    style: OutputStyle,
    signals: &Signals,
    wake: Wake,
) -> anyhow::Result<(Printer, Lines)> {
    match source.editor(options.json, "server-history") {
        Ok(mut editor) => {
            let screen = editor.screen()?;
            let printer = Printer::start(style, Some(screen.clone()), wake.clone())?;
            let (lines, queue) = Lines::queue(wake.clone());
            let (signals, surroundings) = (signals.sender.clone(), Completion::of_server());
            let printing = printer.clone();
            let desk = EditorContext { lines, signals, wake, surroundings, printer, screen, only_in_foreground: true };
            editor.spawn(desk)?;
            Ok((printing, queue))
        }
        Err(source) => {
            let printer = Printer::start(style, None, wake.clone())?;
            let lines = if source.is_typed() && !terminal::is_foreground() {
                Lines::queue(wake).1
            } else {
                Lines::read(source.into_reader(), wake)?
            };
            Ok((printer, lines))
        }
    }
}

/// Where things are kept.
fn place(place: &StoreChoice, port: u16) -> anyhow::Result<store::StoreLocation> {
    Ok(match place {
        StoreChoice::Memory => store::StoreLocation::Memory,
        StoreChoice::File(file) => store::StoreLocation::File(file.clone()),
        StoreChoice::Usual => {
            let folder = state_folder().ok_or_else(|| {
                anyhow!("Without HOME there is no folder for names and mail; use --db FILE or --ephemeral.")
            })?;
            store::StoreLocation::File(folder.join(format!("server-{port}.db")))
        }
    })
}
