//! Reads the files of a scenario and parses them line by line, with each included file in its place.
//!
//! The limits on files and statements are enforced here. The caller passes the function that reads a file.

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::runner::lang::ast::{SourceFile, Span};
use crate::runner::lang::diagnostics::Diagnostic;
use crate::runner::lang::lexer;
use crate::runner::lang::parser::{Item, ParsedLine, parse_line};
use crate::script::syntax_error::SyntaxError;

/// The most files of one scenario. A file counts each time it is included.
pub const MAX_FILES: usize = 256;
/// The greatest nesting depth of files. The first file has depth 1.
pub const MAX_DEPTH: usize = 16;
/// The most bytes of one file.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// The most statements of one scenario.
pub const MAX_STATEMENTS: usize = 100_000;
/// The most mistakes that are reported. The rest of the scenario is not read.
pub const MAX_MISTAKES: usize = 20;

/// Returns the bytes of a file.
pub(crate) type ReadFile<'a> = &'a mut dyn FnMut(&Path) -> io::Result<Vec<u8>>;

/// A parsed line, or a mistake found while reading.
pub(crate) enum SourceItem {
    Line(SourceLine),
    /// A mistake in a file, an `include` line or the number of statements.
    Mistake(Diagnostic),
}

/// A parsed line and its place.
pub(crate) struct SourceLine {
    pub(crate) parsed: ParsedLine,
    /// The line without surrounding blanks.
    pub(crate) span: Span,
    /// Offset in the file at which the line begins.
    start: usize,
    /// The `include` lines that led to the file, the innermost first.
    pub(crate) included: Arc<[Span]>,
}

impl SourceLine {
    /// A mistake in this line.
    pub(crate) fn mistake(&self, error: SyntaxError) -> Diagnostic {
        let span = Span::in_line(&self.span.source, self.span.line, self.start, &error.range);
        diagnostic(span, error, &self.included)
    }

    /// A mistake about the whole line.
    pub(crate) fn mistake_of_all(&self, error: SyntaxError) -> Diagnostic {
        diagnostic(self.span.clone(), error, &self.included)
    }
}

/// Reads a file, given as its bytes, and all files that it includes.
pub(crate) fn read_source(path: &Path, bytes: Vec<u8>, read: ReadFile<'_>) -> (Arc<SourceFile>, Vec<SourceItem>) {
    let mut reader = SourceReader {
        read,
        items: Vec::new(),
        open: Vec::new(),
        included: Arc::new([]),
        files: 0,
        statements: 0,
        mistakes: 0,
    };
    let source = reader.file(path, bytes);
    (source, reader.items)
}

struct SourceReader<'a> {
    read: ReadFile<'a>,
    items: Vec<SourceItem>,
    /// The files being read, the outermost first.
    open: Vec<PathBuf>,
    /// The `include` lines that led to the file being read, the innermost first.
    included: Arc<[Span]>,
    files: usize,
    statements: usize,
    mistakes: usize,
}

impl SourceReader<'_> {
    fn file(&mut self, path: &Path, bytes: Vec<u8>) -> Arc<SourceFile> {
        self.files += 1;
        let is_too_long = bytes.len() > MAX_FILE_BYTES;
        let bytes = if is_too_long { Vec::new() } else { bytes };
        let (text, bad) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(at))
            }
        };
        let source = Arc::new(SourceFile { path: path.to_owned(), text });
        if is_too_long {
            self.mistake(Span::first_line(&source), SyntaxError::new("this file has more than 1 MiB", 0..0));
        }
        if let Some(at) = bad {
            // Up to this byte the text equals the bytes of the file.
            let line = 1 + source.text[..at].matches('\n').count();
            let start = source.text[..at].rfind('\n').map_or(0, |end| end + 1);
            let range = at - start..at - start + '\u{fffd}'.len_utf8();
            let span = Span::in_line(&source, line, start, &range);
            self.mistake(span, SyntaxError::new("this is not UTF-8 text", range));
            return source;
        }
        self.open.push(without_dots(path));
        self.lines(&source);
        self.open.pop();
        source
    }

    fn lines(&mut self, source: &Arc<SourceFile>) {
        for line in lexer::lines(&source.text) {
            if self.mistakes >= MAX_MISTAKES {
                return;
            }
            let Some(parsed) = parse_line(line.text) else { continue };
            let words = line.text.len() - line.text.trim_start().len()..line.text.trim_end().len();
            let span = Span::in_line(source, line.number, line.start, &words);
            self.line(SourceLine { parsed, span, start: line.start, included: Arc::clone(&self.included) });
        }
    }

    fn line(&mut self, line: SourceLine) {
        let has_error = line.parsed.error.is_some();
        self.mistakes += usize::from(has_error);
        if !has_error && !matches!(line.parsed.item, Some(Item::Unknown { .. })) {
            self.statements += 1;
            if self.statements > MAX_STATEMENTS {
                if self.statements == MAX_STATEMENTS + 1 {
                    let error = SyntaxError::new("a scenario can have at most 100000 statements", 0..0);
                    self.mistake(line.span, error);
                }
                return;
            }
        }
        let Some(Item::Include { file, range }) = &line.parsed.item else {
            self.items.push(SourceItem::Line(line));
            return;
        };
        let span = Span::in_line(&line.span.source, line.span.line, line.start, range);
        if let Err(error) = self.include(file, &span) {
            self.mistake(span, error);
        }
    }

    fn include(&mut self, file: &str, span: &Span) -> Result<(), SyntaxError> {
        let path = span.source.path.parent().unwrap_or(Path::new("")).join(file);
        if self.open.contains(&without_dots(&path)) {
            return Err(SyntaxError::new("this file would include itself", 0..0));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(SyntaxError::new("files can include files at most 16 deep", 0..0));
        }
        if self.files >= MAX_FILES {
            return Err(SyntaxError::new("a scenario can have at most 256 files", 0..0));
        }
        let bytes = (self.read)(&path).map_err(|error| {
            SyntaxError::new(format!("this file cannot be read: {error}"), 0..0)
                .help(format!("it was looked for as `{}`", path.display()))
        })?;
        let outer = Arc::clone(&self.included);
        self.included = std::iter::once(span).chain(outer.iter()).cloned().collect();
        self.file(&path, bytes);
        self.included = outer;
        Ok(())
    }

    fn mistake(&mut self, span: Span, error: SyntaxError) {
        self.mistakes += 1;
        self.items.push(SourceItem::Mistake(diagnostic(span, error, &self.included)));
    }
}

fn diagnostic(span: Span, error: SyntaxError, included: &[Span]) -> Diagnostic {
    Diagnostic { span, message: error.message, help: error.help, included: included.to_vec() }
}

/// Removes `.` and `..` from a path by its text alone. That is enough to find a cycle. A cycle through a symbolic link
/// ends at [`MAX_DEPTH`].
pub(crate) fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}
