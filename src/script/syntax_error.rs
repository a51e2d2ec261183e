//! The error type of all parsers of scripts, scenarios and patterns: a message, a place and help.

use std::ops::Range;

/// A mistake in a piece of text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// The mistake as a sentence without a full stop.
    pub message: String,
    /// The affected bytes of the text. The range may end one byte after the text when something is missing there.
    pub range: Range<usize>,
    /// The way to correct the mistake.
    pub help: Option<String>,
}

impl SyntaxError {
    /// A mistake without help.
    #[must_use]
    pub fn new(message: impl Into<String>, range: Range<usize>) -> Self {
        Self { message: message.into(), range, help: None }
    }

    /// Adds help.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Moves the range into a longer text, in which this text begins at byte `offset`.
    #[must_use]
    pub fn shift(self, offset: usize) -> Self {
        Self { range: self.range.start + offset..self.range.end + offset, ..self }
    }
}
