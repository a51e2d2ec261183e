//! The scenario language: from text to a tree, with every mistake placed.
//!
//! Three phases: the [lexer] splits lines into tokens, the [parser] turns the tokens of a line into an item of the [ast],
//! and the [resolver] puts the lines into cases and looks up every name. Mistakes of all phases are reported together, in
//! the order of the lines.

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

/// Reads a scenario and all that it includes. `read` gives the bytes of a file; the path of an included file is relative
/// to the folder of the file that includes it.
///
/// # Errors
/// [`LoadError`], with every mistake up to [`source::MAX_MISTAKES`].
pub fn load(path: &Path, read: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>) -> Result<Scenario, LoadError> {
    let bytes = read(path).map_err(|error| LoadError::Unreadable { path: path.to_owned(), error })?;
    let (first, items) = source::read_source(path, bytes, read);
    resolver::resolve(&first, items).map_err(LoadError::Mistakes)
}
