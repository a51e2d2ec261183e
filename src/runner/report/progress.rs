//! The progress line below a report at a terminal: the running cases and their durations. It must be erased before any
//! other output.

use std::fmt::Write as _;
use std::time::Duration;

use crate::proto::time::Instant;
use crate::runner::report::attempt::Attempt;
use crate::runner::report::escape_line;

/// The data of a progress line.
pub(crate) struct ProgressLine<'a> {
    /// The titles of the running cases, and how long each has run.
    pub(crate) running: Vec<(&'a str, Duration)>,
    /// The number of cases that have begun in this round.
    pub(crate) begun: usize,
    /// The number of cases in a round.
    pub(crate) of: usize,
    /// The current round.
    pub(crate) attempt: Attempt,
    /// The current time.
    pub(crate) now: Instant,
}

impl ProgressLine<'_> {
    /// The longest line, in characters: a terminal of 80 columns without its last one.
    const MAX: usize = 79;
    /// The most characters of a title.
    const MAX_TITLE: usize = 24;
    /// Erases the line. Later output starts in its place.
    pub(crate) const ERASE: &'static str = "\r\u{1b}[K";

    /// The line for an empty row of the terminal. Line wrap is off during it, so that a narrower terminal cuts it.
    pub(crate) fn draw(&self, deadline: Option<Instant>) -> String {
        format!("\u{1b}[?7l{}\u{1b}[?7h", self.text(deadline))
    }

    fn text(&self, deadline: Option<Instant>) -> String {
        let mut text = format!("{} of {}{}", self.begun, self.of, self.attempt);
        if let Some(deadline) = deadline {
            _ = write!(text, ", {} s left", deadline.since(self.now).as_secs());
        }
        for (at, (title, since)) in self.running.iter().enumerate() {
            let title = cut(&escape_line(title), Self::MAX_TITLE);
            let entry = format!("{} {title} {} s", if at == 0 { ":" } else { "," }, since.as_secs());
            let others = self.running.len() - at - 1;
            let rest = if others > 0 { format!(", and {others} more").len() } else { 0 };
            if text.chars().count() + entry.chars().count() + rest > Self::MAX {
                _ = write!(text, ", and {} more", others + 1);
                break;
            }
            text.push_str(&entry);
        }
        cut(&text, Self::MAX)
    }
}

/// Cuts a text to this number of characters.
fn cut(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        None => text.to_owned(),
        Some(_) => text.chars().take(limit - 1).chain(['…']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress_line<'a>(running: &[&'a str]) -> ProgressLine<'a> {
        let running = running.iter().map(|title| (*title, Duration::from_millis(2900))).collect();
        let attempt = Attempt { rounds: None, round: 7, ..Attempt::default() };
        ProgressLine { running, begun: 3, of: 25, attempt, now: Instant::ZERO + Duration::from_secs(1) }
    }

    #[test]
    fn the_line_shows_running_cases_and_the_time_left() {
        let deadline = Some(Instant::ZERO + Duration::from_secs(61));
        assert_eq!(progress_line(&["a", "b c"]).text(deadline), "3 of 25  round 7, 60 s left: a 2 s, b c 2 s");
        let text = progress_line(&["\u{1b}[2J\u{202e}\n"]).draw(None);
        assert_eq!(text, "\u{1b}[?7l3 of 25  round 7: \\u{1b}[2J\\u{202e}\\n 2 s\u{1b}[?7h");
    }

    #[test]
    fn the_line_is_bounded() {
        for count in [1, 3, 9, 64] {
            let titles = vec!["ä title without an end in sight"; count];
            let text = progress_line(&titles).text(None);
            assert!(text.chars().count() <= ProgressLine::MAX, "{text}");
            assert_eq!(text.contains(" more"), count > 2, "{text}");
        }
    }
}
