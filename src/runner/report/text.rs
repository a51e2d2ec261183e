//! The text report: one line for each case, and the details of each failure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Style};

use crate::proto::text::needs_escape;
use crate::proto::time::Instant;
use crate::runner::report::Report;
use crate::runner::report::outcome::{
    CaseFailure, CaseInfo, CaseResult, RunResult, StepResult, TranscriptEntry, TranscriptKind, Verdict,
};
use crate::runner::report::summary::{Grade, Summary, View};

/// The number of last lines of each actor that a failure shows.
const LAST_LINES: usize = 8;
/// The indentation of lines about a case.
const INDENT: &str = "      ";
/// The longest uncut line, in characters.
const MAX_SHOWN: usize = 400;

/// Writes a report as text.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextReport {
    /// Writes a line for each step when it ends.
    pub verbose: bool,
    /// Writes in colour.
    pub colour: bool,
}

const PASS_STYLE: Style = AnsiColor::Green.on_default();
const FAIL_STYLE: Style = AnsiColor::Red.on_default().bold();
const NOTE_STYLE: Style = Style::new().dimmed();

impl TextReport {
    fn paint(self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Writes where and why a line failed. Each line begins with `indent`.
    fn write_failure(
        self,
        out: &mut dyn Write,
        result: &CaseResult,
        failure: &CaseFailure,
        indent: &str,
    ) -> io::Result<()> {
        let CaseFailure { span, sentence, .. } = failure;
        writeln!(out, "{indent}at        {span}")?;
        writeln!(out, "{indent}line      {}", escape_line(span.source_line().trim()))?;
        writeln!(out, "{indent}cause     {}: {}", self.paint(FAIL_STYLE, failure.cause.word()), escape_line(sentence))?;
        if let Some(expected) = &failure.expected {
            writeln!(out, "{indent}expected  {}", escape_line(expected))?;
        }
        if let Some(nearest) = &failure.nearest {
            let at = seconds(nearest.at.since(result.began));
            writeln!(out, "{indent}nearest   {}  (at {at})", escape_line(&nearest.text))?;
        }
        Ok(())
    }

    fn failure(self, out: &mut dyn Write, result: &CaseResult, failure: &CaseFailure) -> io::Result<()> {
        self.write_failure(out, result, failure, INDENT)?;
        writeln!(out, "{INDENT}replay    {}", escape_line(&result.replay))?;
        writeln!(out, "      the last lines of each actor, in order of time:")?;
        let width = width(&result.transcript);
        for entry in last_lines(&result.transcript) {
            let line = transcript_line(entry, result.began, width);
            writeln!(
                out,
                "        {}",
                if entry.kind == TranscriptKind::Note { self.paint(NOTE_STYLE, &line) } else { line }
            )?;
        }
        Ok(())
    }
}

impl Report for TextReport {
    fn case_begins(&mut self, out: &mut dyn Write, case: &CaseInfo) -> io::Result<()> {
        if self.verbose {
            writeln!(out, "CASE  {}  {}{}", escape_line(&case.title), case.file.display(), case.attempt)?;
        }
        Ok(())
    }

    fn step(&mut self, out: &mut dyn Write, _case: &CaseInfo, step: &StepResult) -> io::Result<()> {
        if self.verbose {
            let word = if step.ok { self.paint(PASS_STYLE, "ok  ") } else { self.paint(FAIL_STYLE, "fail") };
            let line = escape_line(step.span.source_line().trim()).into_owned();
            writeln!(out, "  {word}  {:>9}  {line}", seconds(step.took))?;
        }
        Ok(())
    }

    fn case(&mut self, out: &mut dyn Write, result: &CaseResult) -> io::Result<()> {
        let CaseInfo { title, file, points, steps, attempt, .. } = &result.case;
        let name = format!("{}  {}{attempt}", escape_line(title), file.display());
        let worth = points.map_or_else(String::new, |points| format!(", {points} points"));
        let time = format!("{} (own overhead {})", seconds(result.took), seconds(result.overhead));
        match &result.verdict {
            Verdict::Passed => {
                let (style, word) = if result.is_flaky() { (FAIL_STYLE, "FLAKY ") } else { (PASS_STYLE, "PASS  ") };
                let attempts = if result.attempts > 1 { format!(", {} plays", result.attempts) } else { String::new() };
                writeln!(out, "{}{name}  {steps} steps in {time}{attempts}{worth}", self.paint(style, word))?;
            }
            Verdict::Failed(failure) => {
                let failed = result.steps.iter().position(|step| !step.ok);
                let steps_run = failed.map_or(result.steps.len(), |failed| failed + 1);
                writeln!(
                    out,
                    "{}  {name}  step {steps_run} of {steps} in {time}{worth}",
                    self.paint(FAIL_STYLE, "FAIL")
                )?;
                self.failure(out, result, failure)?;
            }
            Verdict::Skipped(reason) => writeln!(out, "SKIP  {name}  {}", escape_line(reason))?,
            Verdict::NotRun(reason) => writeln!(out, "----  {name}  not run: {}", escape_line(reason))?,
        }
        for check in &result.checks {
            let worth = check.points.map_or_else(String::new, |points| format!("  {points} points"));
            let word = match check.passed {
                Some(true) => self.paint(PASS_STYLE, "pass"),
                Some(false) => self.paint(FAIL_STYLE, "fail"),
                None => "----".to_owned(),
            };
            writeln!(out, "      {word}  {}{worth}", escape_line(&check.title))?;
            if let Some(failure) = check.failure.as_ref().filter(|failure| !is_verdict(result, failure)) {
                self.write_failure(out, result, failure, &INDENT.repeat(2))?;
            }
        }
        Ok(())
    }

    fn run(&mut self, out: &mut dyn Write, result: &RunResult) -> io::Result<()> {
        let summary = Summary::of(result, View::Teacher);
        let (passed, failed, flaky) =
            (summary.count(Grade::Passed), summary.count(Grade::Failed), summary.count(Grade::Flaky));
        let all = summary.rows.len();
        let others = all - passed - failed - flaky;
        let flaky = if flaky > 0 { format!("{flaky} flaky, ") } else { String::new() };
        let rounds = match result.rounds {
            None => String::new(),
            Some(1) => "1 round in ".to_owned(),
            Some(rounds) => format!("{rounds} rounds in "),
        };
        let cases = if all == 1 { "case" } else { "cases" };
        let overhead = result.cases.iter().map(|case| case.overhead).sum();
        writeln!(
            out,
            "{all} {cases}: {passed} passed, {failed} failed, {flaky}{others} skipped or not run; {rounds}{} (own overhead {})",
            seconds(result.took),
            seconds(overhead)
        )
    }
}

/// The whole transcript of a case in order of time, one line for each entry.
#[must_use]
pub fn timeline(result: &CaseResult) -> String {
    let width = width(&result.transcript);
    result.transcript.iter().map(|entry| transcript_line(entry, result.began, width) + "\n").collect()
}

/// The width of the column of actors.
fn width(transcript: &[TranscriptEntry]) -> usize {
    transcript.iter().map(|entry| entry.actor.to_string().len()).max().unwrap_or(0)
}

/// Whether this failure decided the case.
fn is_verdict(result: &CaseResult, failure: &CaseFailure) -> bool {
    matches!(&result.verdict, Verdict::Failed(first) if **first == *failure)
}

/// The last lines of every actor, in order of time.
fn last_lines(transcript: &[TranscriptEntry]) -> Vec<&TranscriptEntry> {
    let mut counts = BTreeMap::new();
    let mut last: Vec<&TranscriptEntry> = Vec::new();
    for entry in transcript.iter().rev() {
        let count: &mut usize = counts.entry(&entry.actor).or_default();
        *count += 1;
        if *count <= LAST_LINES {
            last.push(entry);
        }
    }
    last.reverse();
    last.sort_by_key(|entry| entry.at);
    last
}

fn transcript_line(entry: &TranscriptEntry, began: Instant, width: usize) -> String {
    let sign = match entry.kind {
        TranscriptKind::Typed => "> ",
        TranscriptKind::Shown => "  ",
        TranscriptKind::Stderr => "! ",
        TranscriptKind::Note => "# ",
    };
    let (at, actor) = (seconds(entry.at.since(began)), entry.actor.to_string());
    format!("{at:>9}  {actor:width$}{sign}{}", escape_line(&entry.text))
}

fn seconds(duration: Duration) -> String {
    format!("{:.3} s", duration.as_secs_f64())
}

/// Untrusted text on one line. Characters that control a terminal are escaped, and text beyond [`MAX_SHOWN`] is cut.
pub(crate) fn escape_line(text: &str) -> Cow<'_, str> {
    let long = text.chars().nth(MAX_SHOWN).is_some();
    if !long && !text.contains(needs_escape) {
        return text.into();
    }
    let mut line = String::new();
    for c in text.chars().take(MAX_SHOWN) {
        if needs_escape(c) {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    if long {
        line.push('…');
    }
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::lang::ast::ActorId;

    fn entry(at: u64, actor: &str, text: &str) -> TranscriptEntry {
        let actor = if actor == "server" { ActorId::Server } else { ActorId::Client(actor.parse().unwrap()) };
        TranscriptEntry { at: Instant::from_micros(at), actor, kind: TranscriptKind::Shown, text: text.to_owned() }
    }

    #[test]
    fn a_quiet_actor_keeps_its_last_lines_beside_a_verbose_one() {
        let mut transcript = vec![entry(0, "y", "quiet")];
        transcript.extend((1..100).map(|n| entry(n, "x", &n.to_string())));
        transcript.push(entry(50, "server", "between"));
        let texts: Vec<&str> = last_lines(&transcript).iter().map(|entry| entry.text.as_str()).collect();
        let expected = ["quiet", "between", "92", "93", "94", "95", "96", "97", "98", "99"];
        assert_eq!(texts, expected);
    }

    #[test]
    fn control_characters_are_escaped_and_long_lines_are_cut() {
        assert_eq!(escape_line("a\u{1b}[2J\u{202e}é"), "a\\u{1b}[2J\\u{202e}é");
        assert_eq!(escape_line("x: hi"), "x: hi");
        assert_eq!(escape_line(&"é".repeat(MAX_SHOWN + 1)).chars().count(), MAX_SHOWN + 1);
        assert!(escape_line(&"é".repeat(MAX_SHOWN + 1)).ends_with('…'));
        assert!(!escape_line(&"é".repeat(MAX_SHOWN)).ends_with('…'));
    }
}
