//! The line editor at a terminal. It reads lines on a thread of its own while output appears above the line being
//! typed.

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

use crate::io::file::state_folder;
use crate::io::input::{InputLine, LineSender, Wake};
use crate::io::terminal::{self, Mode};
use crate::ui::completion::Completion;
use crate::ui::printer::Printer;
use crate::ui::screen::Screen;

/// Time limit for the next prompt to wait for the outcome of the last line, so that the prompt appears below the
/// outcome and shows the current group. A later outcome appears above the prompt.
const ANSWER_LIMIT: Duration = Duration::from_millis(150);

/// Interval at which a process in the background checks whether it is in the foreground again.
const FOREGROUND_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The maximum of lines in a history.
const MAX_HISTORY: usize = 1_000;

/// A line editor that is not reading, and the pasted lines that it has not returned yet.
pub struct LineEditor {
    editor: Editor<Assistant, FileHistory>,
    /// The mode of the terminal before the editor changed it.
    mode: Mode,
    history: Option<PathBuf>,
    /// The lines that were pasted together with the last one. They are read before any other.
    pasted: VecDeque<String>,
}

/// Result of reading a line.
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
    /// The process is in the background.
    Background,
}

impl LineEditor {
    /// An editor of the terminal on standard input and output, with the history of this name.
    ///
    /// # Errors
    /// There is no terminal.
    pub fn new(history: &str) -> anyhow::Result<Self> {
        let mode = Mode::save().ok_or_else(|| anyhow::anyhow!("Standard input is no terminal."))?;
        let config = Config::builder()
            .max_history_size(MAX_HISTORY)?
            .completion_type(CompletionType::List)
            // The highlighter reports repaints to the screen; it adds no colour.
            .color_mode(ColorMode::Forced)
            .build();
        let mut editor = Self { editor: Editor::with_config(config)?, mode, history: None, pasted: VecDeque::new() };
        editor.use_history(history);
        Ok(editor)
    }

    /// Saves lines in the history of this name from now on. A history that cannot be written is not an error.
    pub fn use_history(&mut self, name: &str) {
        // Nothing depends on a history.
        let _ = self.editor.clear_history();
        self.history = state_folder().filter(|folder| std::fs::create_dir_all(folder).is_ok()).map(|f| f.join(name));
        if let Some(file) = &self.history {
            let _ = self.editor.load_history(file);
        }
    }

    /// Reads one line. Returns a pasted line first, without reading the terminal.
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

    /// Removes and returns the next pasted line.
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
    /// There is no terminal, or the system refuses another thread.
    pub fn screen(&mut self) -> anyhow::Result<Screen> {
        let mut external = self.editor.create_external_printer()?;
        Ok(Screen::new(move |text| drop(external.print(text)), self.mode)?)
    }

    /// Reads lines on a thread of its own until the end of the input or of the program.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn spawn(self, context: EditorContext) -> std::io::Result<()> {
        std::thread::Builder::new().name("editor".to_owned()).spawn(move || self.serve(&context)).map(drop)
    }

    fn serve(mut self, context: &EditorContext) {
        let shared = context.printer.shared().clone();
        let assistant = Assistant { context: context.clone(), is_ordinary: Cell::new(false) };
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
                Typed::Background => std::thread::sleep(FOREGROUND_CHECK_INTERVAL),
                Typed::End => {
                    // Nobody receives it when the program is ending already.
                    let _ = context.lines.send(InputLine::End);
                    return;
                }
            }
        }
    }
}

/// Everything that the editor's thread needs.
#[derive(Clone)]
pub struct EditorContext {
    /// Receives the lines.
    pub lines: LineSender,
    /// Receives SIGINT for Ctrl-C and SIGHUP for a closed terminal.
    pub signals: Sender<i32>,
    /// Wakes the event loop after a signal.
    pub wake: Wake,
    /// The completions and the prompt.
    pub completion: Completion,
    /// Prints events above the line.
    pub printer: Printer,
    /// Shared with the printer.
    pub screen: Screen,
    /// Whether the editor waits while the process is in the background.
    pub only_in_foreground: bool,
}

impl EditorContext {
    /// No signal reports that a process is in the foreground again, so this polls.
    fn wait_for_foreground(&self) {
        while self.only_in_foreground && !terminal::is_foreground() {
            std::thread::sleep(FOREGROUND_CHECK_INTERVAL);
        }
    }

    fn signal(&self, signal: i32) {
        // Nobody receives it when the program is ending already.
        let _ = self.signals.send(signal);
        (self.wake)();
    }
}

/// Handles Ctrl-Z: restores the mode of the terminal and stops the process.
struct Suspend(EditorContext);

impl ConditionalEventHandler for Suspend {
    fn handle(&self, _event: &Event, _n: RepeatCount, _positive: bool, _context: &EventContext<'_>) -> Option<Cmd> {
        let context = &self.0;
        context.screen.pause(context.printer.shared(), || {
            // POSIX: the system does not stop an orphaned process group, because no shell could continue it.
            let _ = kill(Pid::from_raw(0), Signal::SIGTSTP);
            context.wait_for_foreground();
        });
        Some(Cmd::Repaint)
    }
}

/// Completes words for the editor and reports its repaints to the screen.
struct Assistant {
    context: EditorContext,
    /// The next repaint follows a key, not a wake.
    is_ordinary: Cell<bool>,
}

impl Highlighter for Assistant {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, default: bool) -> Cow<'b, str> {
        let ordinary = self.is_ordinary.replace(false);
        self.context.screen.repaint(self.context.printer.shared(), ordinary);
        if !default {
            return prompt.into();
        }
        // The group may have changed. The current prompt is shown if it fits into the width of the old one.
        let present = self.context.completion.prompt();
        if present.len() < prompt.len() { format!("{present:0$}", prompt.len()).into() } else { prompt.into() }
    }

    /// The editor calls this before it repaints the line after a key.
    fn highlight_char(&self, _line: &str, _pos: usize, _kind: CmdKind) -> bool {
        self.is_ordinary.set(true);
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
