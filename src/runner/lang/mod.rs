//! The scenario language: from text to a tree, with every mistake placed.

pub mod ast;
pub mod caret;
pub mod diagnostics;
pub(crate) mod directives;
pub(crate) mod lexer;
pub(crate) mod line;
pub mod parser;
pub(crate) mod scope;
