//! Lines that two threads of a program wrote at once: where text and end of line leave one by one, `A`, `B`, end, end
//! is what comes of two lines. The end too many tells them from one line that reads so.

use crate::proto::event::sentences::SentenceKind;
use crate::script::pattern::normalize::{normal, strip_prompt};

/// The longest line in which two are looked for, in bytes.
const MAX_LINE: usize = 4_096;
/// How a prompt begins.
const PROMPT: &str = ">>> ";

/// Takes lines as they come and gives them as they were meant.
#[derive(Debug, Default)]
pub(crate) struct InterleavedSplitter {
    /// The pieces of a line that may be several.
    held: Vec<String>,
    /// How many ends of line are still to come, if it is.
    owed: usize,
}

impl InterleavedSplitter {
    /// The next line, without its end. `tell` gets what is known now, and says whether anybody still listens; so does
    /// the answer.
    pub(crate) fn line(&mut self, line: &str, tell: &mut dyn FnMut(String) -> bool) -> bool {
        if !self.held.is_empty() {
            if normal(line).is_none() {
                self.owed -= 1;
                return self.owed > 0 || std::mem::take(&mut self.held).into_iter().all(tell);
            }
            if !self.give_up(tell) {
                return false;
            }
        }
        let pieces = pieces(line);
        if pieces.len() == 1 {
            return tell(line.to_owned());
        }
        self.owed = pieces.len() - 1;
        self.held = pieces.into_iter().map(str::to_owned).collect();
        true
    }

    /// Nothing more comes soon: what is held was one line.
    pub(crate) fn give_up(&mut self, tell: &mut dyn FnMut(String) -> bool) -> bool {
        let held = std::mem::take(&mut self.held).concat();
        held.is_empty() || tell(held)
    }

    /// Whether the next line decides about the last one.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.held.is_empty()
    }
}

/// What a line consists of if it is several; otherwise only itself.
fn pieces<'a>(line: &'a str) -> Vec<&'a str> {
    let mut pieces = Vec::new();
    let mut rest = line;
    let two = |rest: &'a str| {
        let mut cuts = rest.char_indices().skip(1).map(|(at, _)| rest.split_at(at));
        cuts.find(|(left, right)| is_seam(left, right))
    };
    while line.len() <= MAX_LINE
        && let Some((piece, more)) = two(rest)
    {
        pieces.push(piece);
        rest = more;
    }
    pieces.push(rest);
    pieces
}

/// Whether a line may have begun where another one lacks its end: at a prompt before or behind a sentence in brackets, or
/// at a sentence behind another. What somebody said to all may have brackets of its own.
fn is_seam(left: &str, right: &str) -> bool {
    let prompt = right.starts_with(PROMPT);
    let may_be = prompt || (right.starts_with('[') && left.ends_with(']'));
    if !may_be {
        return false;
    }
    let Some(said) = normal(left) else { return false };
    if prompt {
        return said.ends_with(']') || strip_prompt(right).starts_with('[');
    }
    is_sentence(&said) && !SentenceKind::ChannelMessage.is_begun_by(&said)
}

/// Whether a bracket is opened at the beginning and closed at the end.
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

    /// What is told of these lines, and then of the end.
    fn told(lines: &[&str]) -> Vec<String> {
        let (mut splitter, mut told) = (InterleavedSplitter::default(), Vec::new());
        let mut tell = |line| {
            told.push(line);
            true
        };
        assert!(lines.iter().all(|line| splitter.line(line, &mut tell)));
        assert!(splitter.give_up(&mut tell) && !splitter.is_waiting());
        told
    }

    #[test]
    fn lines_that_were_written_at_once_are_told_one_by_one() {
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
            assert_eq!(told(&[&[line], &ends[..], &["next"]].concat()), [&expected[..], &["next"]].concat());
        }
    }

    #[test]
    fn without_the_end_too_many_they_are_one_line() {
        let line = ">>> [a]>>> [b]";
        assert_eq!(told(&[line]), [line]);
        assert_eq!(told(&[line, "next"]), [line, "next"]);
        assert_eq!(told(&[line, line, ""]), [line, ">>> [a]", ">>> [b]"]);
        assert_eq!(told(&["[a][b][c]", "", "next"]), ["[a][b][c]", "next"]);
    }

    #[test]
    fn what_may_be_one_line_is_one() {
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
