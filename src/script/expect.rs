//! One expectation at work: it looks at a log again whenever something came, and at nothing twice.

use crate::script::directive::ExpectMode;
use crate::script::log::{Log, LogMatch, LogPosition};
use crate::script::pattern::Matcher;

/// An expectation of one log.
#[derive(Clone, Debug)]
pub struct ExpectCursor {
    how: ExpectMode,
    matcher: Matcher,
    from: Option<LogPosition>,
}

impl ExpectCursor {
    /// Begins at the first [`ExpectCursor::look`].
    #[must_use]
    pub fn new(how: ExpectMode, matcher: Matcher) -> Self {
        Self { how, matcher, from: None }
    }

    /// The first match among what it has not seen yet. `<` takes it and moves the cursor, `<~` takes it, `!<` only
    /// tells.
    pub fn look(&mut self, log: &mut Log) -> Option<LogMatch> {
        let begin = match self.how {
            ExpectMode::Next | ExpectMode::Never => log.cursor(),
            ExpectMode::Any => log.marked(),
        };
        let found = log.find(&self.matcher, self.from.map_or(begin, |seen| seen.max(begin)));
        match (&found, self.how) {
            (None, _) => self.from = Some(log.seen()),
            (Some(_), ExpectMode::Never) => {}
            (Some(found), ExpectMode::Next) => log.take(found, true),
            (Some(found), ExpectMode::Any) => log.take(found, false),
        }
        found
    }

    /// How it looks.
    #[must_use]
    pub fn how(&self) -> ExpectMode {
        self.how
    }

    /// What it looks for.
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

    fn watch(how: ExpectMode, pattern: &str) -> ExpectCursor {
        ExpectCursor::new(how, Pattern::parse(pattern).unwrap().fill(&Vars::default(), MatchMode::Exact).unwrap())
    }

    fn text(how: ExpectMode, pattern: &str, log: &mut Log) -> Option<String> {
        watch(how, pattern).look(log).map(|found| found.text)
    }

    fn log(lines: &[&str]) -> Log {
        let mut log = Log::new("x");
        for line in lines {
            log.line(Instant::ZERO, line);
        }
        log
    }

    #[test]
    fn next_takes_in_order_and_nothing_twice() {
        let mut log = log(&["a", "b", "a"]);
        assert_eq!(text(ExpectMode::Next, "a", &mut log).as_deref(), Some("a"));
        assert_eq!(text(ExpectMode::Next, "a", &mut log).as_deref(), Some("a"));
        assert_eq!(text(ExpectMode::Next, "a", &mut log), None);
        assert_eq!(text(ExpectMode::Next, "b", &mut log), None, "the cursor is behind it");
        assert_eq!(text(ExpectMode::Any, "b", &mut log).as_deref(), Some("b"), "but nothing has taken it");
        assert_eq!(text(ExpectMode::Any, "b", &mut log), None);
    }

    #[test]
    fn any_leaves_the_cursor_and_next_does_not_take_what_it_took() {
        let mut log = log(&["a", "b", "a"]);
        assert_eq!(text(ExpectMode::Any, "a", &mut log).as_deref(), Some("a"));
        assert_eq!(text(ExpectMode::Next, "b", &mut log).as_deref(), Some("b"));
        assert_eq!(text(ExpectMode::Next, "a", &mut log).as_deref(), Some("a"));
        assert_eq!(text(ExpectMode::Never, "{*}", &mut log), None);
    }

    #[test]
    fn never_looks_from_the_cursor_and_moves_nothing() {
        let mut log = log(&["x: hi", "other"]);
        assert_eq!(text(ExpectMode::Never, "x: hi", &mut log).as_deref(), Some("x: hi"));
        assert_eq!(text(ExpectMode::Next, "x: hi", &mut log).as_deref(), Some("x: hi"));
        let mut forbidden = watch(ExpectMode::Never, "x: hi");
        assert!(forbidden.look(&mut log).is_none());
        log.line(Instant::ZERO, "x: hi");
        assert!(forbidden.look(&mut log).is_some());
        assert_eq!(text(ExpectMode::Next, "other", &mut log).as_deref(), Some("other"));
    }

    #[test]
    fn a_mark_hides_what_came_before_from_all_three() {
        let mut log = log(&["a"]);
        log.mark();
        for how in [ExpectMode::Next, ExpectMode::Any, ExpectMode::Never] {
            assert_eq!(text(how, "a", &mut log), None);
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
    fn an_event_taken_whole_leaves_no_lines() {
        let mut log = Log::new("x");
        log.json(Instant::ZERO, json!({"event": "message", "line": "y: hi"}));
        assert!(text(ExpectMode::Any, r#"{"event":"message"}"#, &mut log).is_some());
        for how in [ExpectMode::Next, ExpectMode::Any, ExpectMode::Never] {
            assert_eq!(text(how, "y: hi", &mut log), None);
        }
    }

    #[test]
    fn a_line_that_goes_on_is_looked_at_anew() {
        let mut log = Log::new("x");
        let mut wanted = watch(ExpectMode::Next, "y: hi there");
        assert_eq!(log.partial(Instant::ZERO, ">>> y: hi"), None);
        assert!(wanted.look(&mut log).is_none());
        assert_eq!(log.line(Instant::ZERO, ">>> y: hi there"), None);
        assert!(wanted.look(&mut log).is_some());
        assert_eq!(log.entries().count(), 1);
    }

    #[test]
    fn a_line_that_was_taken_and_went_on_is_told() {
        let mut log = Log::new("x");
        log.partial(Instant::ZERO, "y: hi");
        assert!(text(ExpectMode::Next, "y: hi", &mut log).is_some());
        let told = log.line(Instant::ZERO, "y: hi there").map(|overtaken| (overtaken.taken, overtaken.now));
        assert_eq!(told, Some(("y: hi".to_owned(), "y: hi there".to_owned())));
        log.partial(Instant::ZERO, "y: bye");
        assert!(text(ExpectMode::Next, "y: bye", &mut log).is_some());
        assert_eq!(log.line(Instant::ZERO, "y: bye \r"), None, "nothing that counts was added");
    }
}
