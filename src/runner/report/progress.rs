//! The line below a report at a terminal: what is running, and since when. It is gone before anything else is
//! written.

use std::fmt::Write as _;
use std::time::Duration;

use crate::proto::time::Instant;
use crate::runner::report::attempt::Attempt;
use crate::runner::report::escape_line;

/// What is running.
pub(crate) struct ProgressLine<'a> {
    /// Titles, and since when.
    pub(crate) running: Vec<(&'a str, Duration)>,
    /// How many cases of this round have begun.
    pub(crate) begun: usize,
    /// How many there are in a round.
    pub(crate) of: usize,
    /// Which round it is.
    pub(crate) attempt: Attempt,
    /// The time of the run.
    pub(crate) now: Instant,
}

impl ProgressLine<'_> {
    /// The longest line, in characters: that of the narrowest terminal that is usual, but for its last column.
    const MAX: usize = 79;
    /// The most characters of a title.
    const MAX_TITLE: usize = 24;
    /// Takes the line away. What follows stands in its place.
    pub(crate) const ERASE: &'static str = "\r\u{1b}[K";

    /// What draws the line in an empty one. Where the terminal is narrower still, it cuts the line by itself.
    pub(crate) fn drawn(&self, deadline: Option<Instant>) -> String {
        format!("\u{1b}[?7l{}\u{1b}[?7h", self.text(deadline))
    }

    fn text(&self, deadline: Option<Instant>) -> String {
        let mut text = format!("{} of {}{}", self.begun, self.of, self.attempt);
        if let Some(deadline) = deadline {
            _ = write!(text, ", {} s left", deadline.since(self.now).as_secs());
        }
        for (at, (title, since)) in self.running.iter().enumerate() {
            let title = cut(&escape_line(title), Self::MAX_TITLE);
            let one = format!("{} {title} {} s", if at == 0 { ":" } else { "," }, since.as_secs());
            let others = self.running.len() - at - 1;
            let rest = if others > 0 { format!(", and {others} more").len() } else { 0 };
            if text.chars().count() + one.chars().count() + rest > Self::MAX {
                _ = write!(text, ", and {} more", others + 1);
                break;
            }
            text.push_str(&one);
        }
        cut(&text, Self::MAX)
    }
}

/// At most so many characters.
fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some(_) => text.chars().take(limit - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live<'a>(running: &[&'a str]) -> ProgressLine<'a> {
        let running = running.iter().map(|title| (*title, Duration::from_millis(2900))).collect();
        let attempt = Attempt { rounds: None, round: 7, ..Attempt::default() };
        ProgressLine { running, begun: 3, of: 25, attempt, now: Instant::ZERO + Duration::from_secs(1) }
    }

    #[test]
    fn it_says_what_runs_and_how_long_it_may() {
        let deadline = Some(Instant::ZERO + Duration::from_secs(61));
        assert_eq!(live(&["a", "b c"]).text(deadline), "3 of 25  round 7, 60 s left: a 2 s, b c 2 s");
        let text = live(&["\u{1b}[2J\u{202e}\n"]).drawn(None);
        assert_eq!(text, "\u{1b}[?7l3 of 25  round 7: \\u{1b}[2J\\u{202e}\\n 2 s\u{1b}[?7h");
    }

    #[test]
    fn it_is_no_longer_than_a_line() {
        for count in [1, 3, 9, 64] {
            let titles = vec!["ä title without an end in sight"; count];
            let text = live(&titles).text(None);
            assert!(text.chars().count() <= ProgressLine::MAX, "{text}");
            assert_eq!(text.contains(" more"), count > 2, "{text}");
        }
    }
}
