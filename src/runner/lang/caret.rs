//! Mistakes as people read them: the message, `file:line:column`, the line, a caret and help.

use annotate_snippets::{AnnotationKind, Element, Level, Renderer, Snippet};

use crate::runner::lang::diagnostics::Diagnostic;

/// The most columns of a line that are shown; longer ones are cut around the caret.
const WIDTH: usize = 140;

/// All mistakes, a blank line between two, each ending in a newline.
#[must_use]
pub fn render(mistakes: &[Diagnostic], colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.term_width(WIDTH);
    let shown: Vec<String> = mistakes.iter().map(|mistake| one(mistake, &renderer) + "\n").collect();
    shown.join("\n")
}

fn one(mistake: &Diagnostic, renderer: &Renderer) -> String {
    let span = &mistake.span;
    let line = span.source_line();
    let column: usize = line.chars().take(span.column.saturating_sub(1)).map(char::len_utf8).sum();
    // A caret may stand one place behind the end of the line, where something is missing.
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
