//! The JUnit XML report for continuous integration: one suite for each file, one test case for each case.
//!
//! A case that did not run is an error, not skipped, so that an interrupted run is never green.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use crate::runner::report::outcome::Verdict;
use crate::runner::report::summary::{CaseSummary, Grade, Summary};

pub(crate) fn render(summary: &Summary<'_>) -> String {
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let rows: Vec<&CaseSummary<'_>> = summary.rows.iter().collect();
    open(&mut xml, 0, "testsuites", "chat run", &rows, summary.took);
    for (file, rows) in suites(rows) {
        let took = rows.iter().map(|row| row.took).sum();
        open(&mut xml, 1, "testsuite", &file, &rows, took);
        for row in rows {
            test_case(&mut xml, &file, row);
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// Groups the cases by file, in the order of the run.
fn suites<'s, 'a>(rows: Vec<&'s CaseSummary<'a>>) -> Vec<(String, Vec<&'s CaseSummary<'a>>)> {
    let mut suites: Vec<(String, Vec<&CaseSummary<'_>>)> = Vec::new();
    for row in rows {
        let file = row.case().file.to_string_lossy().into_owned();
        match suites.iter_mut().find(|(name, _)| *name == file) {
            Some((_, suite)) => suite.push(row),
            None => suites.push((file, vec![row])),
        }
    }
    suites
}

fn open(xml: &mut String, depth: usize, element: &str, name: &str, rows: &[&CaseSummary<'_>], took: Duration) {
    let count = |grades: &[Grade]| rows.iter().filter(|row| grades.contains(&row.grade)).count();
    let failed = rows.iter().filter(|row| matches!(row.grade, Grade::Failed | Grade::Flaky) && !row.is_pass);
    let (failures, errors) = (failed.count(), count(&[Grade::NotRun]));
    // The outer element has no attribute `skipped`.
    let skipped = if depth > 0 { format!(" skipped=\"{}\"", count(&[Grade::Skipped])) } else { String::new() };
    let (indent, name, tests, time) = ("  ".repeat(depth), attribute(name), rows.len(), seconds(took));
    _ = writeln!(
        xml,
        "{indent}<{element} name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\"{skipped} \
         time=\"{time}\">"
    );
}

fn test_case(xml: &mut String, file: &str, row: &CaseSummary<'_>) {
    let case = row.case();
    let (name, file, line, time) = (attribute(&case.title), attribute(file), case.span.line, seconds(row.took));
    _ = write!(
        xml,
        "    <testcase name=\"{name}\" classname=\"{file}\" file=\"{file}\" line=\"{line}\" time=\"{time}\""
    );
    let Some(reason) = row.reason() else {
        xml.push_str("/>\n");
        return;
    };
    let message = attribute(&reason);
    xml.push_str(">\n");
    if row.grade == Grade::Skipped {
        _ = writeln!(xml, "      <skipped message=\"{message}\"/>");
    } else {
        // `flakyFailure` comes from Maven Surefire. Readers that know it count the case as passed.
        let element = match row.grade {
            Grade::NotRun => "error",
            _ if row.is_pass => "flakyFailure",
            _ => "failure",
        };
        let kind = if row.grade == Grade::Flaky { "FLAKY" } else { row.cause().unwrap_or_default() };
        _ = writeln!(xml, "      <{element} type=\"{kind}\" message=\"{message}\">{}</{element}>", text(&place(row)));
        _ = writeln!(xml, "      <system-out>{}</system-out>", text(&row.output()));
    }
    xml.push_str("    </testcase>\n");
}

/// The position and the text of the failed line.
fn place(row: &CaseSummary<'_>) -> String {
    match &row.deciding().verdict {
        Verdict::Failed(failure) => format!("{}: {}", failure.span, failure.span.source_line().trim()),
        _ => row.case().span.to_string(),
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.3}", took.as_secs_f64())
}

fn text(text: &str) -> Cow<'_, str> {
    escaped(text, |c| matches!(c, '\n' | '\t'))
}

/// Escapes an attribute value. A reader replaces raw newlines with blanks, so they are escaped too.
fn attribute(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// Escapes text for XML. Characters that XML 1.0 cannot contain become `\u{..}`.
fn escaped(text: &str, is_plain: impl Fn(char) -> bool) -> Cow<'_, str> {
    let needs = |c: char| !is_plain(c) && (c.is_control() || matches!(c, '&' | '<' | '>' | '"' | '\'') || !is_xml(c));
    if !text.contains(needs) {
        return text.into();
    }
    let mut xml = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '"' => xml.push_str("&quot;"),
            '\'' => xml.push_str("&apos;"),
            c if !is_xml(c) => xml.extend(c.escape_unicode()),
            c if needs(c) => _ = write!(xml, "&#{};", u32::from(c)),
            c => xml.push(c),
        }
    }
    xml.into()
}

/// The production `Char` of XML 1.0.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}
