//! Separates lines that two threads of a program printed at once. A program that writes text and newline separately may
//! print `A`, `B`, newline, newline.
//!
//! An extra newline marks two lines that were printed at once. Without it they are one line.

use crate::proto::event::sentences::SentenceKind;
use crate::script::pattern::normalize::{normal, strip_prompt};

/// The longest line that is examined, in bytes.
const MAX_LINE: usize = 4_096;
/// The start of a prompt.
const PROMPT: &str = ">>> ";

/// Splits interleaved lines. It holds a candidate back until the next line decides.
#[derive(Debug, Default)]
pub(crate) struct InterleavedSplitter {
    /// The pieces of the candidate line.
    held: Vec<String>,
    /// The number of extra newlines that must still follow, if the candidate is several lines.
    missing_ends: usize,
}

impl InterleavedSplitter {
    /// Processes the next line, without its newline. `report` receives each decided line, and returns false when the
    /// receiver is gone. The result is false then too.
    pub(crate) fn line(&mut self, line: &str, report: &mut dyn FnMut(String) -> bool) -> bool {
        if !self.held.is_empty() {
            if normal(line).is_none() {
                self.missing_ends -= 1;
                return self.missing_ends > 0 || std::mem::take(&mut self.held).into_iter().all(report);
            }
            if !self.flush(report) {
                return false;
            }
        }
        let pieces = pieces(line);
        if pieces.len() == 1 {
            return report(line.to_owned());
        }
        self.missing_ends = pieces.len() - 1;
        self.held = pieces.into_iter().map(str::to_owned).collect();
        true
    }

    /// Reports the held candidate as one line. Called after a silence.
    pub(crate) fn flush(&mut self, report: &mut dyn FnMut(String) -> bool) -> bool {
        let held = std::mem::take(&mut self.held).concat();
        held.is_empty() || report(held)
    }

    /// Whether a candidate is held.
    pub(crate) fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }
}

/// Splits a candidate into its possible lines. An ordinary line stays whole.
fn pieces<'a>(line: &'a str) -> Vec<&'a str> {
    let mut pieces = Vec::new();
    let mut rest = line;
    let first_cut = |rest: &'a str| {
        let mut cuts = rest.char_indices().skip(1).map(|(at, _)| rest.split_at(at));
        cuts.find(|(left, right)| is_seam(left, right))
    };
    while line.len() <= MAX_LINE
        && let Some((piece, more)) = first_cut(rest)
    {
        pieces.push(piece);
        rest = more;
    }
    pieces.push(rest);
    pieces
}

/// Whether a second line may begin between these two parts: at a prompt beside a sentence in brackets, or at a sentence
/// after another sentence. A channel message is no such sentence, because its text may contain brackets.
fn is_seam(left: &str, right: &str) -> bool {
    let prompt = right.starts_with(PROMPT);
    let is_candidate = prompt || (right.starts_with('[') && left.ends_with(']'));
    if !is_candidate {
        return false;
    }
    let Some(content) = normal(left) else { return false };
    if prompt {
        return content.ends_with(']') || strip_prompt(right).starts_with('[');
    }
    is_sentence(&content) && !SentenceKind::ChannelMessage.is_begun_by(&content)
}

/// Whether the bracket that opens at the start closes at the end.
fn is_sentence(text: &str) -> bool {
    let mut open = 0_usize;
    let closed = text.find(|letter| {
        match letter {
            '[' => open += 1,
            ']' => open = open.saturating_sub(1),
            _ => {}
        }
        open == 0
    });
    text.starts_with('[') && closed == Some(text.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reported lines, with a flush at the end.
    fn reported(lines: &[&str]) -> Vec<String> {
        let (mut splitter, mut reported) = (InterleavedSplitter::default(), Vec::new());
        let mut report = |line| {
            reported.push(line);
            true
        };
        assert!(lines.iter().all(|line| splitter.line(line, &mut report)));
        assert!(splitter.flush(&mut report) && !splitter.is_holding());
        reported
    }

    #[test]
    fn interleaved_lines_are_reported_one_by_one() {
        for (line, pieces) in [
            (">>> [Client table updated.]>>> [Welcome, You are registered.]", [27, 61].as_slice()),
            (">>> x: hi>>> [Message received by y.]", &[9, 37]),
            (">>> [Message received by y.]>>> x: hi", &[28, 37]),
            ("[Client table updated.][Message received by y.]", &[23, 47]),
            (">>> [a]>>> [b]>>> (g) [c]", &[7, 14, 25]),
        ] {
            let expected: Vec<&str> =
                pieces.iter().scan(0, |from, to| Some(&line[std::mem::replace(from, *to)..*to])).collect();
            let ends = vec![""; expected.len() - 1];
            assert_eq!(reported(&[&[line], &ends[..], &["next"]].concat()), [&expected[..], &["next"]].concat());
        }
    }

    #[test]
    fn without_an_extra_newline_they_are_one_line() {
        let line = ">>> [a]>>> [b]";
        assert_eq!(reported(&[line]), [line]);
        assert_eq!(reported(&[line, "next"]), [line, "next"]);
        assert_eq!(reported(&[line, line, ""]), [line, ">>> [a]", ">>> [b]"]);
        assert_eq!(reported(&["[a][b][c]", "", "next"]), ["[a][b][c]", "next"]);
    }

    #[test]
    fn an_ambiguous_line_is_not_split() {
        for line in [
            ">>> x: [a][b]",
            "[Channel_Message x: a][b]",
            "[a] [b]",
            ">>> >>> [a]",
            ">>> x: hi >>> there",
            "[a[b]][",
            "é",
            &format!("[{}][b]", "a".repeat(MAX_LINE)),
        ] {
            let seams = usize::from(line == "[a[b]][");
            assert_eq!(pieces(line).len(), 1 + seams, "{line}");
        }
    }
}
