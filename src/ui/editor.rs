//! The line editor at a terminal: reads lines on a thread of its own while output appears above the line being typed.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::Duration;

use nix::libc::{SIGHUP, SIGINT};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustyline::completion::{Completer, Pair};
use rustyline::config::{ColorMode, CompletionType, Config};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{
    Cmd, ConditionalEventHandler, Context, Editor, Event, EventContext, EventHandler, ExternalPrinter, Helper,
    KeyEvent, RepeatCount,
};

use crate::io::input::{InputLine, LineSender, Wake};
use crate::io::terminal::{self, Mode};
use crate::ui::completion::Completion;
use crate::ui::printer::Printer;
use crate::ui::screen::Screen;

/// How long the next prompt waits for the outcome of the last line, so that it stands below it and names the group of
/// the moment. What takes longer appears above the prompt.
const ANSWER_LIMIT: Duration = Duration::from_millis(150);

/// How often a process in the background looks whether the terminal listens to it again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The most lines of history that are kept.
const MAX_HISTORY: usize = 1_000;

/// A line editor that nothing was typed into yet, or that holds what was typed ahead.
pub struct LineEditor {
    editor: Editor<Assistant, FileHistory>,
    /// The mode of the terminal as it was found.
    mode: Mode,
    history: Option<PathBuf>,
    /// What was pasted together with the last line, and is read before anything else is typed.
    pasted: VecDeque<String>,
}

/// What one reading of a line came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A line.
    Line(String),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D.
    End,
    /// The terminal was closed.
    Hangup,
    /// The terminal listens to another process.
    Background,
}

impl LineEditor {
    /// An editor of the terminal on standard input and output, with the history of this name.
    ///
    /// # Errors
    /// Where there is no terminal.
    pub fn new(history: &str) -> anyhow::Result<Self> {
        let mode = Mode::save().ok_or_else(|| anyhow::anyhow!("Standard input is no terminal."))?;
        let config = Config::builder()
            .max_history_size(MAX_HISTORY)?
            .completion_type(CompletionType::List)
            // The highlighter is how the screen learns of repaints; it adds no colour.
            .color_mode(ColorMode::Forced)
            .build();
        let mut editor = Self { editor: Editor::with_config(config)?, mode, history: None, pasted: VecDeque::new() };
        editor.use_history(history);
        Ok(editor)
    }

    /// From now on lines are kept in the history of this name; where they cannot be kept they are not.
    pub fn use_history(&mut self, name: &str) {
        // Nothing depends on a history.
        let _ = self.editor.clear_history();
        self.history = state_folder().filter(|folder| std::fs::create_dir_all(folder).is_ok()).map(|f| f.join(name));
        if let Some(file) = &self.history {
            let _ = self.editor.load_history(file);
        }
    }

    /// Reads one line; of several that were pasted together, the next one.
    pub fn read(&mut self, prompt: &str) -> Typed {
        if let Some(line) = self.next_pasted() {
            return Typed::Line(line);
        }
        match self.editor.readline(prompt) {
            Ok(text) => {
                if !text.trim().is_empty() && self.editor.add_history_entry(text.as_str()).unwrap_or(false) {
                    self.keep_history();
                }
                let mut lines = text.split('\n').map(str::to_owned);
                let first = lines.next().unwrap_or_default();
                self.pasted = lines.collect();
                Typed::Line(first)
            }
            Err(ReadlineError::Interrupted) => Typed::Interrupt,
            Err(_) if terminal::is_hung_up() => Typed::Hangup,
            Err(ReadlineError::Eof) => Typed::End,
            Err(_) if !terminal::is_foreground() => Typed::Background,
            Err(_) => Typed::End,
        }
    }

    /// The next of the lines that were pasted together and not read yet.
    pub(super) fn next_pasted(&mut self) -> Option<String> {
        self.pasted.pop_front()
    }

    fn keep_history(&mut self) {
        if let Some(file) = &self.history {
            let _ = self.editor.append_history(file);
        }
    }

    /// The screen that this editor shares with the writing thread.
    ///
    /// # Errors
    /// Where there is no terminal.
    pub fn screen(&mut self) -> anyhow::Result<Screen> {
        let mut bell = self.editor.create_external_printer()?;
        Ok(Screen::new(move |text| drop(bell.print(text)), self.mode)?)
    }

    /// Reads lines from now on, on a thread of its own, until the end of the input or of the program.
    ///
    /// # Errors
    /// When the system refuses another thread.
    pub fn spawn(self, context: EditorContext) -> std::io::Result<()> {
        std::thread::Builder::new().name("editor".to_owned()).spawn(move || self.serve(&context)).map(drop)
    }

    fn serve(mut self, context: &EditorContext) {
        let shared = context.printer.shared().clone();
        let assistant = Assistant { context: context.clone(), ordinary: Cell::new(false) };
        self.editor.set_helper(Some(assistant));
        let suspend = EventHandler::Conditional(Box::new(Suspend(context.clone())));
        self.editor.bind_sequence(KeyEvent::ctrl('Z'), suspend);
        context.printer.wait_for_answer(ANSWER_LIMIT);
        loop {
            let typed = match self.next_pasted() {
                Some(line) => Typed::Line(line),
                None => {
                    context.wait_for_foreground();
                    let prompt = context.completion.prompt();
                    context.screen.enter(&shared);
                    let typed = self.read(&prompt);
                    context.screen.leave(&shared);
                    typed
                }
            };
            match typed {
                Typed::Line(line) => {
                    context.printer.await_answer();
                    if !context.lines.send(InputLine::Whole(line.into_bytes())) {
                        return;
                    }
                    context.printer.wait_for_answer(ANSWER_LIMIT);
                }
                Typed::Interrupt => context.signal(SIGINT),
                Typed::Hangup => return context.signal(SIGHUP),
                Typed::Background => std::thread::sleep(LOOK_AGAIN),
                Typed::End => {
                    // Whether anybody still listens makes no difference to the last word.
                    let _ = context.lines.send(InputLine::End);
                    return;
                }
            }
        }
    }
}

/// Everything around the person who types.
#[derive(Clone)]
pub struct EditorContext {
    /// Where lines go.
    pub lines: LineSender,
    /// Where Ctrl-C goes, and word that the terminal was closed, as the numbers of their signals.
    pub signals: Sender<i32>,
    /// Wakes whoever takes them.
    pub wake: Wake,
    /// What can be completed, and the prompt.
    pub completion: Completion,
    /// Writes what happens.
    pub printer: Printer,
    /// Shared with the printer.
    pub screen: Screen,
    /// Whether to leave the terminal alone while it listens to another process.
    pub only_in_foreground: bool,
}

impl EditorContext {
    /// Nobody tells a process when the terminal listens to it again, so it has to look.
    fn wait_for_foreground(&self) {
        while self.only_in_foreground && !terminal::is_foreground() {
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn signal(&self, signal: i32) {
        // Nobody takes it any more when the program is ending already.
        let _ = self.signals.send(signal);
        (self.wake)();
    }
}

/// The folder for what programs remember about their user: `$XDG_STATE_HOME/chat`, else `~/.local/state/chat`.
#[must_use]
pub fn state_folder() -> Option<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    state.map(|state| state.join("chat"))
}

/// Ctrl-Z: stops the process, with the terminal as its parent wants it.
struct Suspend(EditorContext);

impl ConditionalEventHandler for Suspend {
    fn handle(&self, _event: &Event, _n: RepeatCount, _positive: bool, _context: &EventContext<'_>) -> Option<Cmd> {
        let context = &self.0;
        context.screen.pause(context.printer.shared(), || {
            // Where nobody could let it go on again the system does not stop it.
            let _ = kill(Pid::from_raw(0), Signal::SIGTSTP);
            context.wait_for_foreground();
        });
        Some(Cmd::Repaint)
    }
}

/// Completes words for the editor, and tells the screen when it paints.
struct Assistant {
    context: EditorContext,
    /// The next repaint is one of the editor's own, not an answer to the bell.
    ordinary: Cell<bool>,
}

impl Highlighter for Assistant {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, default: bool) -> Cow<'b, str> {
        let ordinary = self.ordinary.replace(false);
        self.context.screen.repaint(self.context.printer.shared(), ordinary);
        if !default {
            return prompt.into();
        }
        // The group may have changed since: the right prompt is shown where it fits into the room of the old one.
        let present = self.context.completion.prompt();
        if present.len() < prompt.len() { format!("{present:0$}", prompt.len()).into() } else { prompt.into() }
    }

    /// Every key repaints the line, after it has said so here.
    fn highlight_char(&self, _line: &str, _pos: usize, _kind: CmdKind) -> bool {
        self.ordinary.set(true);
        true
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _ctx: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, candidates) = self.context.completion.complete(&line[..pos]);
        let pair = |text: String| Pair { display: text.trim_end().to_owned(), replacement: text };
        Ok((start, candidates.into_iter().map(pair).collect()))
    }
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Validator for Assistant {}

impl Helper for Assistant {}
