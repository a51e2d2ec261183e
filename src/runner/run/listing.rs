//! `--check` and `--list`: the cases of files, without running them.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use crate::proto::status::Status;
use crate::runner::report::escape_line;
use crate::runner::report::json::put;
use crate::runner::run::plan::Planned;
use crate::runner::run::{RunError, RunMode};

/// The cases of files without mistakes.
pub(crate) struct Listing<'a> {
    pub(crate) planned: &'a [Planned<'a>],
    pub(crate) files: usize,
    /// One JSON object a line.
    pub(crate) json: bool,
}

#[derive(Serialize)]
#[serde(tag = "report", rename_all = "snake_case")]
enum ListingLine<'a> {
    Checked {
        files: usize,
        cases: usize,
    },
    Listed {
        file: String,
        line: usize,
        title: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        points: Option<u32>,
        needs: Vec<&'static str>,
        visibility: &'static str,
    },
}

impl Listing<'_> {
    /// Writes the count or the list of cases. A closed output is no failure.
    pub(crate) fn write(&self, instead: RunMode, out: &mut dyn Write) -> Result<Status, RunError> {
        let written = match instead {
            RunMode::Check => self.count(out),
            RunMode::List => self.planned.iter().try_for_each(|planned| self.list(planned, out)),
        };
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err((Status::Environment, format!("The list cannot be written: {error}.")))
            }
            _ => Ok(Status::Ok),
        }
    }

    fn count(&self, out: &mut dyn Write) -> io::Result<()> {
        let (cases, files) = (self.planned.len(), self.files);
        if self.json {
            return put(out, ListingLine::Checked { files, cases });
        }
        let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        writeln!(out, "{} in {}, no mistakes", plural(cases, "case"), plural(files, "file"))
    }

    fn list(&self, planned: &Planned<'_>, out: &mut dyn Write) -> io::Result<()> {
        let info = &planned.info;
        let needs: Vec<&str> = planned.case.needs.iter().map(|need| need.word()).collect();
        if self.json {
            let (file, visibility) = (info.file.to_string_lossy().into_owned(), info.visibility.word());
            let (line, title, points) = (info.span.line, &info.title, info.points);
            return put(out, ListingLine::Listed { file, line, title, points, needs, visibility });
        }
        let place = format!("{}:{}", info.file.display(), info.span.line);
        write!(out, "{}  {}", escape_line(&place), escape_line(&info.title))?;
        if let Some(points) = info.points {
            write!(out, "  points {points}")?;
        }
        if !needs.is_empty() {
            write!(out, "  needs {}", needs.join(", "))?;
        }
        writeln!(out)
    }
}
