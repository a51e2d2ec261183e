//! Where the lines of a program come from.

use std::io::{BufRead, BufReader, Cursor, Read as _, empty, stdin};

use crate::io::terminal;
use crate::ui::editor::LineEditor;

/// A place from which lines come.
pub enum LineSource {
    /// Standard input, whatever it is.
    Stdin,
    /// A file, or what is left of a pipe.
    Lines {
        /// Gives them.
        reader: Box<dyn BufRead + Send>,
        /// A person types them.
        is_typed: bool,
    },
    /// A line editor that was in use already.
    Editor(Box<LineEditor>),
}

impl LineSource {
    /// Whether a person types, so that lines mean what they mean at a terminal.
    #[must_use]
    pub fn is_typed(&self) -> bool {
        match self {
            Self::Stdin => terminal::is_input(),
            Self::Lines { is_typed, .. } => *is_typed,
            Self::Editor(_) => true,
        }
    }

    /// A line editor with the history of this name, where lines can be edited; otherwise the source again.
    ///
    /// # Errors
    /// The source itself, which is not to be edited.
    pub fn editor(self, json: bool, history: &str) -> Result<Box<LineEditor>, Self> {
        match self {
            Self::Editor(mut editor) if !json => {
                editor.use_history(history);
                Ok(editor)
            }
            // Without an editor a terminal is read as any other file, behind what was pasted already.
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

    /// Reads it as it is.
    #[must_use]
    pub fn into_reader(self) -> Box<dyn BufRead + Send> {
        match self {
            Self::Stdin => Box::new(BufReader::new(stdin())),
            Self::Lines { reader, .. } => reader,
            Self::Editor(_) => Box::new(empty()),
        }
    }
}
