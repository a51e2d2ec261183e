//! One running expectation: it searches a log each time output arrives, and no finished line twice.

use crate::script::directive::ExpectMode;
use crate::script::log::{Log, LogMatch, LogPosition};
use crate::script::pattern::Matcher;

/// An expectation on one log, with the position up to which it has searched.
#[derive(Clone, Debug)]
pub struct ExpectCursor {
    mode: ExpectMode,
    matcher: Matcher,
    from: Option<LogPosition>,
}

impl ExpectCursor {
    /// The search begins at the log's cursor or mark at the first call of [`ExpectCursor::look`].
    #[must_use]
    pub fn new(mode: ExpectMode, matcher: Matcher) -> Self {
        Self { mode, matcher, from: None }
    }

    /// Returns the first match in the output that was not searched yet. `<` takes it and moves the log's cursor. `<~`
    /// takes it. `!<` changes nothing.
    pub fn look(&mut self, log: &mut Log) -> Option<LogMatch> {
        let begin = match self.mode {
            ExpectMode::Next | ExpectMode::Never => log.cursor(),
            ExpectMode::Any => log.marked(),
        };
        let found = log.find(&self.matcher, self.from.map_or(begin, |seen| seen.max(begin)));
        match (&found, self.mode) {
            (None, _) => self.from = Some(log.seen()),
            (Some(_), ExpectMode::Never) => {}
            (Some(found), ExpectMode::Next) => log.take(found, true),
            (Some(found), ExpectMode::Any) => log.take(found, false),
        }
        found
    }

    #[must_use]
    pub fn mode(&self) -> ExpectMode {
        self.mode
    }

    #[must_use]
    pub fn matcher(&self) -> &Matcher {
        &self.matcher
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::time::Instant;
    use crate::script::pattern::{MatchMode, Pattern};
    use crate::script::vars::Vars;
    use serde_json::json;

    fn cursor(mode: ExpectMode, pattern: &str) -> ExpectCursor {
        ExpectCursor::new(mode, Pattern::parse(pattern).unwrap().fill(&Vars::default(), MatchMode::Exact).unwrap())
    }

    fn text(mode: ExpectMode, pattern: &str, log: &mut Log) -> Option<String> {
        cursor(mode, pattern).look(log).map(|found| found.text)
    }

    fn log(lines: &[&str]) -> Log {
        let mut log = Log::new("x");
        for line in lines {
            log.line(Instant::ZERO, line);
        }
        log
    }

    #[test]
    fn next_takes_matches_in_order_and_none_twice() {
        let mut log = log(&["a", "b", "a"]);
        assert_eq!(text(ExpectMode::Next, "a", &mut log).as_deref(), Some("a"));
        assert_eq!(text(ExpectMode::Next, "a", &mut log).as_deref(), Some("a"));
        assert_eq!(text(ExpectMode::Next, "a", &mut log), None);
        assert_eq!(text(ExpectMode::Next, "b", &mut log), None, "the cursor is behind it");
        assert_eq!(text(ExpectMode::Any, "b", &mut log).as_deref(), Some("b"), "but nothing has taken it");
        assert_eq!(text(ExpectMode::Any, "b", &mut log), None);
    }

    #[test]
    fn any_keeps_the_cursor_and_next_skips_its_matches() {
        let mut log = log(&["a", "b", "a"]);
        assert_eq!(text(ExpectMode::Any, "a", &mut log).as_deref(), Some("a"));
        assert_eq!(text(ExpectMode::Next, "b", &mut log).as_deref(), Some("b"));
        assert_eq!(text(ExpectMode::Next, "a", &mut log).as_deref(), Some("a"));
        assert_eq!(text(ExpectMode::Never, "{*}", &mut log), None);
    }

    #[test]
    fn never_searches_from_the_cursor_and_does_not_move_it() {
        let mut log = log(&["x: hi", "other"]);
        assert_eq!(text(ExpectMode::Never, "x: hi", &mut log).as_deref(), Some("x: hi"));
        assert_eq!(text(ExpectMode::Next, "x: hi", &mut log).as_deref(), Some("x: hi"));
        let mut forbidden = cursor(ExpectMode::Never, "x: hi");
        assert!(forbidden.look(&mut log).is_none());
        log.line(Instant::ZERO, "x: hi");
        assert!(forbidden.look(&mut log).is_some());
        assert_eq!(text(ExpectMode::Next, "other", &mut log).as_deref(), Some("other"));
    }

    #[test]
    fn a_mark_hides_earlier_output_from_all_modes() {
        let mut log = log(&["a"]);
        log.mark();
        for mode in [ExpectMode::Next, ExpectMode::Any, ExpectMode::Never] {
            assert_eq!(text(mode, "a", &mut log), None);
        }
        log.line(Instant::ZERO, "a");
        assert_eq!(text(ExpectMode::Any, "a", &mut log).as_deref(), Some("a"));
    }

    #[test]
    fn an_event_is_one_entry_and_its_lines_share_the_cursor() {
        let mut log = Log::new("x");
        log.json(Instant::ZERO, json!({"event": "groups", "groups": ["g", "h"], "line": "[Available:]\ng\nh"}));
        log.json(Instant::ZERO, json!({"event": "done", "ok": true}));
        assert_eq!(text(ExpectMode::Next, "g", &mut log).as_deref(), Some("g"));
        assert_eq!(text(ExpectMode::Next, "[Available:]", &mut log), None, "before the cursor");
        assert_eq!(text(ExpectMode::Next, r#"{"event":"groups"}"#, &mut log), None, "a line of it was taken");
        assert_eq!(text(ExpectMode::Next, "h", &mut log).as_deref(), Some("h"));
        assert!(text(ExpectMode::Next, r#"{"ok":true}"#, &mut log).is_some());
        assert_eq!(text(ExpectMode::Any, "[Available:]", &mut log).as_deref(), Some("[Available:]"));
    }

    #[test]
    fn a_taken_event_has_no_lines_to_match() {
        let mut log = Log::new("x");
        log.json(Instant::ZERO, json!({"event": "message", "line": "y: hi"}));
        assert!(text(ExpectMode::Any, r#"{"event":"message"}"#, &mut log).is_some());
        for mode in [ExpectMode::Next, ExpectMode::Any, ExpectMode::Never] {
            assert_eq!(text(mode, "y: hi", &mut log), None);
        }
    }

    #[test]
    fn an_extended_line_is_searched_again() {
        let mut log = Log::new("x");
        let mut wanted = cursor(ExpectMode::Next, "y: hi there");
        assert_eq!(log.partial(Instant::ZERO, ">>> y: hi"), None);
        assert!(wanted.look(&mut log).is_none());
        assert_eq!(log.line(Instant::ZERO, ">>> y: hi there"), None);
        assert!(wanted.look(&mut log).is_some());
        assert_eq!(log.entries().count(), 1);
    }

    #[test]
    fn the_extension_of_a_taken_line_is_reported() {
        let mut log = Log::new("x");
        log.partial(Instant::ZERO, "y: hi");
        assert!(text(ExpectMode::Next, "y: hi", &mut log).is_some());
        let extended = log.line(Instant::ZERO, "y: hi there").map(|extended| (extended.taken, extended.now));
        assert_eq!(extended, Some(("y: hi".to_owned(), "y: hi there".to_owned())));
        log.partial(Instant::ZERO, "y: bye");
        assert!(text(ExpectMode::Next, "y: bye", &mut log).is_some());
        assert_eq!(log.line(Instant::ZERO, "y: bye \r"), None, "nothing that counts was added");
    }
}
