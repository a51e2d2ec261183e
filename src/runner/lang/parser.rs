//! The parser of scenario files: total, touches no file itself, and finds every mistake that can be found before the run.

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::runner::lang::ast::{Case, Scenario, SourceFile, Span, Statement, Step, Visibility};
use crate::runner::lang::diagnostics::{Diagnostic, LoadError};
use crate::runner::lang::directives::Meaning;
use crate::runner::lang::line;
use crate::runner::lang::scope::ActorScope;
use crate::script::syntax_error::SyntaxError;

/// The most files of one scenario, counted as often as they are included.
pub const MAX_FILES: usize = 256;
/// How deep files may include files.
pub const MAX_DEPTH: usize = 16;
/// The most bytes of one file.
pub const MAX_FILE_BYTES: usize = 1 << 20;
/// The most statements of one scenario.
pub const MAX_STATEMENTS: usize = 100_000;
/// After so many mistakes the rest of a scenario is not looked at.
pub const MAX_MISTAKES: usize = 20;

/// Reads a scenario and all that it includes. `load` gives the bytes of a file; included files are asked for by their
/// path relative to the folder of the file that includes them.
///
/// # Errors
/// [`LoadError`], with every mistake up to [`MAX_MISTAKES`].
pub fn parse(path: &Path, load: &mut dyn FnMut(&Path) -> io::Result<Vec<u8>>) -> Result<Scenario, LoadError> {
    let bytes = load(path).map_err(|error| LoadError::Unreadable { path: path.to_owned(), error })?;
    let mut parser = Parser::new(load);
    let source = parser.file(path, bytes);
    parser.finish(&source)
}

struct Parser<'a> {
    load: &'a mut dyn FnMut(&Path) -> io::Result<Vec<u8>>,
    setup: Vec<Statement>,
    cases: Vec<Case>,
    /// Who is there after the set-up, once a case has begun.
    common: ActorScope,
    cast: ActorScope,
    /// The files being read, the first one first, and the `include` lines that led to the later ones.
    reading: Vec<PathBuf>,
    included: Vec<Span>,
    files: usize,
    statements: usize,
    mistakes: Vec<Diagnostic>,
}

impl<'a> Parser<'a> {
    fn new(load: &'a mut dyn FnMut(&Path) -> io::Result<Vec<u8>>) -> Self {
        Self {
            load,
            setup: Vec::new(),
            cases: Vec::new(),
            common: ActorScope::default(),
            cast: ActorScope::default(),
            reading: Vec::new(),
            included: Vec::new(),
            files: 0,
            statements: 0,
            mistakes: Vec::new(),
        }
    }

    fn file(&mut self, path: &Path, bytes: Vec<u8>) -> Arc<SourceFile> {
        self.files += 1;
        let too_long = bytes.len() > MAX_FILE_BYTES;
        let bytes = if too_long { Vec::new() } else { bytes };
        let (text, bad) = match String::from_utf8(bytes) {
            Ok(text) => (text, None),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                (String::from_utf8_lossy(error.as_bytes()).into_owned(), Some(at))
            }
        };
        let source = Arc::new(SourceFile { path: path.to_owned(), text });
        if too_long {
            self.mistake(whole(&source), SyntaxError::new("this file has more than 1 MiB", 0..0));
        }
        if let Some(at) = bad {
            // Up to there the text is what the file holds.
            let line = 1 + source.text[..at].matches('\n').count();
            let begin = source.text[..at].rfind('\n').map_or(0, |end| end + 1);
            let wrong = SyntaxError::new("this is not UTF-8 text", at - begin..at - begin + '\u{fffd}'.len_utf8());
            self.mistake(place(&source, line, begin, &wrong.range), wrong);
            return source;
        }
        self.reading.push(plain(path));
        self.lines(&source);
        self.reading.pop();
        source
    }

    fn lines(&mut self, source: &Arc<SourceFile>) {
        let bom = if source.text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let mut begin = bom;
        for (number, line) in (1..).zip(source.text[bom..].split('\n')) {
            if self.mistakes.len() >= MAX_MISTAKES {
                return;
            }
            let text = line.strip_suffix('\r').unwrap_or(line);
            match line::parse(text, &mut self.cast) {
                Ok(None) => {}
                Ok(Some(meaning)) => {
                    let words = text.len() - text.trim_start().len()..text.trim_end().len();
                    self.meaning(meaning, place(source, number, begin, &words), begin);
                }
                Err(wrong) => {
                    let span = place(source, number, begin, &wrong.range);
                    self.mistake(span.clone(), wrong);
                    if text.split_whitespace().next() == Some("case") {
                        // It begins a case all the same, so that its actors are not those of the one before.
                        self.begin(Case::untitled(span));
                    }
                }
            }
            begin += line.len() + 1;
        }
    }

    fn meaning(&mut self, meaning: Meaning, span: Span, begin: usize) {
        self.statements += 1;
        if self.statements > MAX_STATEMENTS {
            if self.statements == MAX_STATEMENTS + 1 {
                self.mistake(span, SyntaxError::new("a scenario can have at most 100000 statements", 0..0));
            }
            return;
        }
        match meaning {
            Meaning::Step(step) => {
                let statement = Statement { span, step };
                match self.cases.last_mut() {
                    Some(case) => case.statements.push(statement),
                    None => self.setup.push(statement),
                }
            }
            Meaning::Case { title, points, needs, visibility } => {
                self.begin(Case { title, points, needs, visibility, ..Case::untitled(span) });
            }
            Meaning::Include { file, range } => {
                let span = place(&span.source, span.line, begin, &range);
                if let Err(wrong) = self.include(&file, &span) {
                    self.mistake(span, wrong);
                }
            }
        }
    }

    fn begin(&mut self, case: Case) {
        if self.cases.is_empty() {
            self.common = self.cast.clone();
            self.no_checks_in_the_setup();
        }
        self.cast = self.common.clone();
        self.cases.push(case);
    }

    fn include(&mut self, file: &str, span: &Span) -> Result<(), SyntaxError> {
        let path = span.source.path.parent().unwrap_or(Path::new("")).join(file);
        if self.reading.contains(&plain(&path)) {
            return Err(SyntaxError::new("this file would include itself", 0..0));
        }
        if self.reading.len() >= MAX_DEPTH {
            return Err(SyntaxError::new("files can include files at most 16 deep", 0..0));
        }
        if self.files >= MAX_FILES {
            return Err(SyntaxError::new("a scenario can have at most 256 files", 0..0));
        }
        let bytes = (self.load)(&path).map_err(|error| {
            SyntaxError::new(format!("this file cannot be read: {error}"), 0..0)
                .help(format!("it was looked for as `{}`", path.display()))
        })?;
        self.included.push(span.clone());
        self.file(&path, bytes);
        self.included.pop();
        Ok(())
    }

    fn mistake(&mut self, span: Span, wrong: SyntaxError) {
        if self.mistakes.len() < MAX_MISTAKES {
            let included = self.included.iter().rev().cloned().collect();
            self.mistakes.push(Diagnostic { span, message: wrong.message, help: wrong.help, included });
        }
    }

    fn no_checks_in_the_setup(&mut self) {
        let checks = self.setup.iter().filter(|statement| matches!(statement.step, Step::Check { .. }));
        for span in checks.map(|check| check.span.clone()).collect::<Vec<_>>() {
            let wrong = SyntaxError::new("a check is a part of a case, and this one stands before the first", 0..0);
            self.mistake(span, wrong.help("put it behind a `case` line"));
        }
    }

    fn finish(mut self, source: &Arc<SourceFile>) -> Result<Scenario, LoadError> {
        if self.cases.is_empty() {
            let title = source.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let statements = std::mem::take(&mut self.setup);
            self.cases.push(Case { title, statements, ..Case::untitled(whole(source)) });
        }
        if self.mistakes.is_empty() {
            for (span, wrong) in self.cases.iter().filter_map(flaw).collect::<Vec<_>>() {
                self.mistake(span, wrong);
            }
        }
        if self.mistakes.is_empty() {
            return Ok(Scenario { setup: self.setup, cases: self.cases });
        }
        Err(LoadError::Mistakes(self.mistakes))
    }
}

impl Case {
    fn untitled(span: Span) -> Self {
        let (title, visibility) = (String::new(), Visibility::default());
        Self { title, points: None, needs: Vec::new(), visibility, span, statements: Vec::new() }
    }
}

/// What is wrong with a case as a whole.
fn flaw(case: &Case) -> Option<(Span, SyntaxError)> {
    if case.statements.is_empty() {
        let wrong = SyntaxError::new("there is nothing to play here", 0..0)
            .help("a line `x< PATTERN` is what can pass or fail");
        return Some((case.span.clone(), wrong));
    }
    let worth = |statement: &Statement| match statement.step {
        Step::Check { points, .. } => points.map(u64::from),
        _ => None,
    };
    let sum: u64 = case.statements.iter().filter_map(worth).sum();
    let points = u64::from(case.points?);
    let message = || format!("this case is worth {points} and its checks {sum}");
    (sum > points)
        .then(|| (case.span.clone(), SyntaxError::new(message(), 0..0).help("checks share the points of their case")))
}

/// A place in the line that begins at byte `begin`: of characters that are partly in the range, all.
fn place(source: &Arc<SourceFile>, line: usize, begin: usize, range: &std::ops::Range<usize>) -> Span {
    let text = source.text.as_str();
    let inside = |at: &usize| *at < text.len() && !text.is_char_boundary(*at);
    let start = (0..=begin + range.start).rev().find(|at| !inside(at)).unwrap_or(begin);
    let end = (begin + range.end..).find(|at| !inside(at)).unwrap_or(start);
    let column = 1 + text.get(begin..start).unwrap_or("").chars().count();
    Span { source: Arc::clone(source), line, column, start, end }
}

/// The beginning of a file, where a mistake is about all of it.
fn whole(source: &Arc<SourceFile>) -> Span {
    let length = source.text.lines().next().map_or(0, str::len);
    Span { source: Arc::clone(source), line: 1, column: 1, start: 0, end: length }
}

/// A path without `.` and `..`, as far as its text tells: enough to see a cycle, and a link that hides one ends at
/// [`MAX_DEPTH`].
fn plain(path: &Path) -> PathBuf {
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
