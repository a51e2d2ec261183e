//! Mistakes of scenario files, found before the run.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::runner::lang::ast::Span;

/// One mistake, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where.
    pub span: Span,
    /// What is wrong, without a full stop.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// The `include` lines by which the file was reached, the innermost first.
    pub included: Vec<Span>,
}

/// Why a file cannot be played.
#[derive(Debug)]
pub enum LoadError {
    /// The first file cannot be read: [`crate::proto::status::Status::Environment`].
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Mistakes in it or in what it includes, at least one, in the order of reading:
    /// [`crate::proto::status::Status::Parse`].
    Mistakes(Vec<Diagnostic>),
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.span, self.message)
    }
}

impl fmt::Display for LoadError {
    /// All of it, as people read it, without colour.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, error } => write!(f, "The file {} cannot be read: {error}.", path.display()),
            Self::Mistakes(mistakes) => f.write_str(&crate::runner::lang::caret::render(mistakes, false)),
        }
    }
}

impl std::error::Error for LoadError {}
