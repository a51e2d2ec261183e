//! The source of a program's input lines: standard input, a file, or a line editor.

use std::io::{BufRead, BufReader, Cursor, Read as _, empty, stdin};

use crate::io::terminal;
use crate::ui::editor::LineEditor;

/// Source of input lines.
pub enum LineSource {
    /// Standard input.
    Stdin,
    /// A file, or the rest of a pipe.
    Lines {
        /// Reads them.
        reader: Box<dyn BufRead + Send>,
        /// A person types them.
        is_typed: bool,
    },
    /// The line editor of the launcher.
    Editor(Box<LineEditor>),
}

impl LineSource {
    /// Whether a person types the lines.
    #[must_use]
    pub fn is_typed(&self) -> bool {
        match self {
            Self::Stdin => terminal::is_input(),
            Self::Lines { is_typed, .. } => *is_typed,
            Self::Editor(_) => true,
        }
    }

    /// A line editor with the history of this name.
    ///
    /// # Errors
    /// The source itself, if its lines are not edited.
    pub fn editor(self, json: bool, history: &str) -> Result<Box<LineEditor>, Self> {
        match self {
            Self::Editor(mut editor) if !json => {
                editor.use_history(history);
                Ok(editor)
            }
            // Without an editor a terminal is read like a file, after the lines that were pasted already.
            Self::Editor(mut editor) => {
                let pasted: String = std::iter::from_fn(|| editor.next_pasted()).map(|line| line + "\n").collect();
                let reader = BufReader::new(Cursor::new(pasted).chain(stdin()));
                Err(Self::Lines { reader: Box::new(reader), is_typed: true })
            }
            Self::Stdin if !json && terminal::can_edit() => {
                LineEditor::new(history).map(Box::new).map_err(|_| Self::Stdin)
            }
            other => Err(other),
        }
    }

    /// Reads the lines without an editor.
    #[must_use]
    pub fn into_reader(self) -> Box<dyn BufRead + Send> {
        match self {
            Self::Stdin => Box::new(BufReader::new(stdin())),
            Self::Lines { reader, .. } => reader,
            Self::Editor(_) => Box::new(empty()),
        }
    }
}
