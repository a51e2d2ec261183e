//! Mistakes in scenario files and profiles, and their rendering: the message, `file:line:column`, the line, a caret and
//! help.

use std::fmt;
use std::io;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Element, Level, Renderer, Snippet};

use crate::runner::lang::ast::Span;

/// The most columns of a shown line. A longer line is cut around the caret.
const WIDTH: usize = 140;

/// One mistake and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The place of the caret.
    pub span: Span,
    /// One sentence without a full stop.
    pub message: String,
    /// The way to correct it.
    pub help: Option<String>,
    /// The `include` lines by which the file was reached, the innermost first.
    pub included: Vec<Span>,
}

/// The reason why a file cannot be run.
#[derive(Debug)]
pub enum LoadError {
    /// The first file cannot be read: [`crate::proto::status::Status::Environment`].
    Unreadable { path: PathBuf, error: io::Error },
    /// At least one mistake in the file or in its included files: [`crate::proto::status::Status::Parse`].
    Mistakes(Vec<Diagnostic>),
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.span, self.message)
    }
}

impl fmt::Display for LoadError {
    /// The rendered mistakes, without colour.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } => write!(f, "The file {} cannot be read: {error}.", path.display()),
            Self::Mistakes(mistakes) => f.write_str(&render(mistakes, false)),
        }
    }
}

impl std::error::Error for LoadError {}

/// Renders all mistakes, with a blank line between two. Each ends in a newline.
#[must_use]
pub fn render(mistakes: &[Diagnostic], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.term_width(WIDTH);
    let shown: Vec<String> = mistakes.iter().map(|mistake| render_one(mistake, &renderer) + "\n").collect();
    shown.join("\n")
}

fn render_one(mistake: &Diagnostic, renderer: &Renderer) -> String {
    let span = &mistake.span;
    let line = span.source_line();
    let column: usize = line.chars().take(span.column.saturating_sub(1)).map(char::len_utf8).sum();
    // The caret may stand one place after the end of the line, for missing text.
    let length = span.end.saturating_sub(span.start).min(line.len() + 1 - column);
    let path = span.source.path.display().to_string();
    let snippet = Snippet::source(line)
        .line_start(span.line)
        .path(path)
        .annotation(AnnotationKind::Primary.span(column..column + length));
    let help = mistake.help.as_ref().map(|help| Element::from(Level::HELP.message(help.as_str())));
    let notes = mistake.included.iter().map(|span| Element::from(Level::NOTE.message(format!("included from {span}"))));
    let group = Level::ERROR.primary_title(mistake.message.as_str()).element(snippet);
    renderer.render(&[group.elements(help.into_iter().chain(notes))])
}
