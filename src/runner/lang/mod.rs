//! The scenario language: parses text into a tree and reports each mistake with its place.
//!
//! Three phases: the [lexer] splits lines into tokens, the [parser] turns the tokens of a line into an item of the
//! [ast], and the [resolver] groups the lines into cases and looks up every name. Mistakes in lines are reported
//! together, whatever phase finds them. Mistakes in cases as a whole are reported only when no line has a mistake.

pub mod ast;
pub mod diagnostics;
pub(crate) mod directives;
pub(crate) mod lexer;
pub(crate) mod parser;
pub(crate) mod resolver;
pub(crate) mod scope;
pub mod source;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;

use crate::runner::lang::ast::Scenario;
use crate::runner::lang::diagnostics::LoadError;

/// Loads a scenario with its included files. `read` returns the bytes of a file. It gets the path of an included file
/// joined to the folder of the file that includes it.
///
/// # Errors
/// [`LoadError`], with the first [`source::MAX_MISTAKES`] mistakes.
pub fn load(path: &Path, read: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>) -> Result<Scenario, LoadError> {
    let bytes = read(path).map_err(|error| LoadError::Unreadable { path: path.to_owned(), error })?;
    let (first, items) = source::read_source(path, bytes, read);
    resolver::resolve(&first, items).map_err(LoadError::Mistakes)
}
