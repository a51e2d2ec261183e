//! A mistake in something that a person wrote: what is wrong, where, and what would be right.

use std::ops::Range;

/// A mistake in a piece of text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// What is wrong, without a full stop.
    pub message: String,
    /// Which bytes of the text it is about; it may end one byte behind the text, where something is missing.
    pub range: Range<usize>,
    /// What would be right.
    pub help: Option<String>,
}

impl SyntaxError {
    /// A mistake without help.
    #[must_use]
    pub fn new(message: impl Into<String>, range: Range<usize>) -> Self {
        Self { message: message.into(), range, help: None }
    }

    /// The same with help.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same for a longer text, in which this one begins at `offset`.
    #[must_use]
    pub fn shift(self, offset: usize) -> Self {
        Self { range: self.range.start + offset..self.range.end + offset, ..self }
    }
}
