//! Scripts, run against events that a client would have shown.

use super::*;
use crate::proto::time::Timestamp;
use proptest::prelude::*;

const PIPELINE: Options = Options { pipeline: true, fail_fast: false };

struct Play {
    script: Script,
    now: Instant,
}

impl Play {
    fn new(options: Options) -> Self {
        Self { script: Script::new("x", options), now: Instant::ZERO }
    }

    fn after(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.script.timeout(self.now);
    }

    /// Feeds a line that must be wanted; what came out, in words.
    fn line(&mut self, line: &str) -> Vec<String> {
        assert!(self.script.wants_line(), "{line} is not wanted yet");
        self.script.line(self.now, line.as_bytes());
        self.drain()
    }

    fn shows(&mut self, cmd: Option<u64>, body: ClientEvent) -> Vec<String> {
        let event = Event { at: Timestamp::from_micros(0), cmd, group: None, body: Body::Client(body) };
        self.script.event(self.now, &event);
        self.drain()
    }

    fn says(&mut self, message: &str) -> Vec<String> {
        self.shows(None, ClientEvent::Warning { code: Problem::Store, message: message.to_owned(), definite: true })
    }

    fn done(&mut self, cmd: u64, ok: bool) -> Vec<String> {
        self.shows(Some(cmd), ClientEvent::Done { ok, reason: None })
    }

    fn drain(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.script.poll()).map(|output| spelled(&output)).collect()
    }
}

fn spelled(output: &ScriptOutput) -> String {
    match output {
        ScriptOutput::Command(Ok(Command::Send(to, text))) => format!("send {to} {}", text.as_str()),
        ScriptOutput::Command(Ok(command)) => format!("{command:?}"),
        ScriptOutput::Command(Err(mistake)) => mistake.sentence(),
        ScriptOutput::Failed { event: ClientEvent::Error { code, message, .. }, status } => {
            format!("{status:?} {code}: {message}")
        }
        ScriptOutput::Failed { .. } => "a failure that is no error".to_owned(),
        ScriptOutput::Finished => "finished".to_owned(),
    }
}

#[test]
fn each_command_waits_for_its_own_outcome() {
    let mut play = Play::new(Options::default());
    assert_eq!(play.line("send y hi\r\n"), ["send y hi"]);
    assert!(!play.script.wants_line());
    play.done(2, true);
    assert!(!play.script.wants_line(), "that was another one");
    play.done(1, false);
    assert_eq!(play.line("table"), ["Table"]);
    play.done(2, true);
    assert_eq!(play.line("sned y"), ["[Invalid command]\nDid you mean send?"], "mistakes are numbered too");
    assert!(!play.script.wants_line());
    play.done(3, false);
    play.script.end_of_input(play.now);
    assert_eq!(play.drain(), ["finished"]);
}

#[test]
fn blank_lines_and_comments_are_no_commands() {
    let mut play = Play::new(Options::default());
    for line in ["", "  ", "# send y hi", "wait", "set a=1"] {
        assert!(play.line(line).is_empty());
    }
    assert_eq!(play.line("send y ${a} ${b} $${a}"), ["send y 1 ${b} ${a}"]);
}

#[test]
fn output_that_came_before_its_line_was_read_matches() {
    let mut play = Play::new(Options::default());
    play.line("send y hi");
    play.says("[Message received by y.]");
    play.done(1, true);
    assert!(play.line("< [Message received by {who}.]").is_empty());
    assert_eq!(play.line("send ${who} again"), ["send y again"]);
}

#[test]
fn an_expectation_fails_at_its_limit_and_not_before() {
    let mut play = Play::new(Options::default());
    play.line("# one");
    play.line("< y: hello");
    play.says("y: hallo");
    play.after(3999);
    assert!(!play.script.wants_line() && play.drain().is_empty());
    assert_eq!(play.script.deadline(), Some(Instant::from_micros(4_000_000)));
    play.after(1);
    let failed = r#"Expected expected: Line 2 of the script waited 4s for "y: hello": the nearest was "y: hallo"."#;
    assert_eq!(play.drain(), [failed]);
    assert!(!play.script.wants_line());
    assert!(play.says("y: hello").is_empty(), "too late");
    play.script.end_of_input(play.now);
    assert!(play.drain().is_empty(), "it has said its last word");
    assert_eq!(play.script.deadline(), None);
}

#[test]
fn what_comes_at_the_limit_is_too_late() {
    let mut play = Play::new(Options::default());
    play.line("<1s a");
    play.now = Instant::from_micros(1_000_000);
    assert_eq!(play.says("a"), [r#"Expected expected: Line 1 of the script waited 1s for "a": nothing like it came."#]);
}

#[test]
fn a_line_that_was_taken_does_not_match_again() {
    let mut play = Play::new(Options::default());
    play.says("a");
    play.line("< a");
    play.line("<1s a");
    play.after(1000);
    let failed =
        r#"Expected expected: Line 2 of the script waited 1s for "a": only what an earlier line had taken already."#;
    assert_eq!(play.drain(), [failed]);
}

#[test]
fn a_quiet_window_ends_well_or_with_the_line_that_broke_it() {
    let mut play = Play::new(Options::default());
    play.line("!< y: {*}");
    play.says("z: hi");
    play.after(699);
    assert!(!play.script.wants_line());
    play.after(1);
    assert!(play.script.wants_line());
    play.line("!<2s y: {*}");
    play.after(1999);
    let failed = r#"Failed expected: Line 2 of the script allows no "y: {*}" within 2s, and "y: hi" came."#;
    assert_eq!(play.says("y: hi"), [failed]);
}

#[test]
fn events_are_seen_by_json_patterns() {
    let mut play = Play::new(Options::default());
    play.line("send y hi");
    play.done(1, true);
    play.line(r#"< {"event":"done","cmd":1,"ok":true,"me":"x","seq":1}"#);
    assert!(play.script.wants_line());
}

#[test]
fn sleeping_takes_its_time() {
    let mut play = Play::new(Options::default());
    play.line("sleep 250ms");
    play.script.end_of_input(play.now);
    play.after(249);
    assert!(play.drain().is_empty());
    play.after(1);
    assert_eq!(play.drain(), ["finished"]);
}

#[test]
fn in_a_pipeline_sends_overlap_and_other_commands_wait_for_all() {
    let mut play = Play::new(PIPELINE);
    assert_eq!(play.line("send y 1"), ["send y 1"]);
    assert_eq!(play.line("send y 2"), ["send y 2"]);
    assert!(play.line("dereg").is_empty());
    assert!(!play.script.wants_line());
    assert!(play.done(2, true).is_empty());
    assert_eq!(play.done(1, true), ["Dereg(None)"]);
    assert!(!play.script.wants_line());
    play.done(3, true);
    play.line("send y 3");
    play.line("wait");
    assert!(!play.script.wants_line());
    play.done(4, false);
    assert!(play.script.wants_line());
}

#[test]
fn commands_without_outcome_are_limited() {
    let mut play = Play::new(PIPELINE);
    for _ in 0..Script::MAX_OUTSTANDING {
        assert_eq!(play.line("send y hi").len(), 1);
    }
    assert!(!play.script.wants_line());
    play.done(7, true);
    assert!(play.script.wants_line());
}

#[test]
fn failing_fast_ends_at_the_first_failed_command() {
    let mut play = Play::new(Options { fail_fast: true, ..Options::default() });
    play.line("send y 1");
    assert!(play.done(1, true).is_empty());
    play.line("send w 2");
    assert_eq!(play.done(2, false), ["finished"]);
    assert!(!play.script.wants_line());
}

#[test]
fn a_mistake_in_a_script_word_ends_the_script() {
    let mut play = Play::new(Options::default());
    let failed = "Parse script: Line 1 of the script cannot be played: `5` is no duration: \
                  write a number and a unit, such as `250ms`, `5s` or `2m`.";
    assert_eq!(play.line("sleep 5"), [failed]);
    assert!(!play.script.wants_line());
}

#[test]
fn nothing_behind_exit_is_read() {
    let mut play = Play::new(Options::default());
    assert_eq!(play.line("exit"), ["Exit"]);
    play.done(1, true);
    assert!(!play.script.wants_line());
    play.script.line(play.now, b"send y hi");
    assert!(play.drain().is_empty());
}

#[test]
fn when_the_client_ends_what_was_expected_has_failed() {
    let mut play = Play::new(Options::default());
    play.line("< a");
    play.script.client_ended();
    assert_eq!(play.drain(), [r#"Expected expected: Line 1 of the script waited 4s for "a": nothing like it came."#]);
    let mut play = Play::new(Options::default());
    play.line("!< a");
    play.script.client_ended();
    assert_eq!(play.drain(), ["finished"]);
}

#[test]
fn values_that_grow_without_end_are_a_mistake() {
    let mut play = Play::new(Options::default());
    play.line("set a=0123456789abcdef");
    let grown = (0..20).map(|_| play.script.line(play.now, b"set a=${a}${a}")).count();
    assert_eq!(grown, 20);
    let last = play.drain().pop().unwrap_or_default();
    assert!(last.starts_with("Parse script: Line 15 of the script cannot be played: A value"), "{last}");
}

proptest! {
    #[test]
    fn any_input_ends(lines in prop::collection::vec("[<!~wait sleep1smend xy{}$=#]*|send y .*|\\PC*", 0..20)) {
        for options in [Options::default(), PIPELINE] {
            let mut play = Play::new(options);
            for line in &lines {
                play.script.line(play.now, line.as_bytes());
                for cmd in 0..=lines.len() as u64 {
                    play.done(cmd, true);
                }
                while let Some(deadline) = play.script.deadline() {
                    play.now = play.now.max(deadline);
                    play.script.timeout(play.now);
                }
                play.drain();
            }
            play.script.end_of_input(play.now);
            let over = play.script.input == ScriptInput::Over || play.script.input == ScriptInput::Left;
            prop_assert!(over && !play.script.wants_line());
        }
    }
}
