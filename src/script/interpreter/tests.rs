//! Tests of the interpreter on hand-made events of a client.

use super::*;
use crate::proto::time::Timestamp;
use proptest::prelude::*;

const PIPELINE: Options = Options { pipeline: true, fail_fast: false };

struct ScriptRun {
    script: Script,
    now: Instant,
}

impl ScriptRun {
    fn new(options: Options) -> Self {
        Self { script: Script::new("x", options), now: Instant::ZERO }
    }

    fn after(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.script.timeout(self.now);
    }

    /// Passes a line, which must be wanted, and returns the outputs as text.
    fn line(&mut self, line: &str) -> Vec<String> {
        assert!(self.script.wants_line(), "{line} is not wanted yet");
        self.script.line(self.now, line.as_bytes());
        self.drain()
    }

    fn client_event(&mut self, cmd: Option<u64>, body: ClientEvent) -> Vec<String> {
        let event = Event { at: Timestamp::from_micros(0), cmd, group: None, body: Body::Client(body) };
        self.script.event(self.now, &event);
        self.drain()
    }

    fn warning(&mut self, message: &str) -> Vec<String> {
        self.client_event(
            None,
            ClientEvent::Warning { code: Problem::Store, message: message.to_owned(), definite: true },
        )
    }

    fn done(&mut self, cmd: u64, ok: bool) -> Vec<String> {
        self.client_event(Some(cmd), ClientEvent::Done { ok, reason: None })
    }

    fn drain(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.script.poll()).map(|output| describe(&output)).collect()
    }
}

fn describe(output: &ScriptOutput) -> String {
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
fn each_command_waits_for_the_outcome_of_the_one_before() {
    let mut run = ScriptRun::new(Options::default());
    assert_eq!(run.line("send y hi\r\n"), ["send y hi"]);
    assert!(!run.script.wants_line());
    run.done(2, true);
    assert!(!run.script.wants_line(), "that was another one");
    run.done(1, false);
    assert_eq!(run.line("table"), ["Table"]);
    run.done(2, true);
    assert_eq!(run.line("sned y"), ["[Invalid command]\nDid you mean send?"], "mistakes are numbered too");
    assert!(!run.script.wants_line());
    run.done(3, false);
    run.script.end_of_input(run.now);
    assert_eq!(run.drain(), ["finished"]);
}

#[test]
fn blank_lines_and_comments_are_not_commands() {
    let mut run = ScriptRun::new(Options::default());
    for line in ["", "  ", "# send y hi", "wait", "set a=1"] {
        assert!(run.line(line).is_empty());
    }
    assert_eq!(run.line("send y ${a} ${b} $${a}"), ["send y 1 ${b} ${a}"]);
}

#[test]
fn output_from_before_an_expectation_matches() {
    let mut run = ScriptRun::new(Options::default());
    run.line("send y hi");
    run.warning("[Message received by y.]");
    run.done(1, true);
    assert!(run.line("< [Message received by {who}.]").is_empty());
    assert_eq!(run.line("send ${who} again"), ["send y again"]);
}

#[test]
fn an_expectation_fails_at_its_limit_and_not_before() {
    let mut run = ScriptRun::new(Options::default());
    run.line("# one");
    run.line("< y: hello");
    run.warning("y: hallo");
    run.after(3999);
    assert!(!run.script.wants_line() && run.drain().is_empty());
    assert_eq!(run.script.deadline(), Some(Instant::from_micros(4_000_000)));
    run.after(1);
    let failed = r#"Expected expected: Line 2 of the script waited 4s for "y: hello": the nearest was "y: hallo"."#;
    assert_eq!(run.drain(), [failed]);
    assert!(!run.script.wants_line());
    assert!(run.warning("y: hello").is_empty(), "too late");
    run.script.end_of_input(run.now);
    assert!(run.drain().is_empty(), "it has said its last word");
    assert_eq!(run.script.deadline(), None);
}

#[test]
fn output_at_the_limit_is_too_late() {
    let mut run = ScriptRun::new(Options::default());
    run.line("<1s a");
    run.now = Instant::from_micros(1_000_000);
    assert_eq!(
        run.warning("a"),
        [r#"Expected expected: Line 1 of the script waited 1s for "a": nothing like it came."#]
    );
}

#[test]
fn a_line_that_was_taken_does_not_match_again() {
    let mut run = ScriptRun::new(Options::default());
    run.warning("a");
    run.line("< a");
    run.line("<1s a");
    run.after(1000);
    let failed =
        r#"Expected expected: Line 2 of the script waited 1s for "a": only what an earlier line had taken already."#;
    assert_eq!(run.drain(), [failed]);
}

#[test]
fn a_window_passes_unless_a_forbidden_line_comes() {
    let mut run = ScriptRun::new(Options::default());
    run.line("!< y: {*}");
    run.warning("z: hi");
    run.after(699);
    assert!(!run.script.wants_line());
    run.after(1);
    assert!(run.script.wants_line());
    run.line("!<2s y: {*}");
    run.after(1999);
    let failed = r#"Failed expected: Line 2 of the script allows no "y: {*}" within 2s, and "y: hi" came."#;
    assert_eq!(run.warning("y: hi"), [failed]);
}

#[test]
fn json_patterns_match_events() {
    let mut run = ScriptRun::new(Options::default());
    run.line("send y hi");
    run.done(1, true);
    run.line(r#"< {"event":"done","cmd":1,"ok":true,"me":"x","seq":1}"#);
    assert!(run.script.wants_line());
}

#[test]
fn sleep_waits_for_its_duration() {
    let mut run = ScriptRun::new(Options::default());
    run.line("sleep 250ms");
    run.script.end_of_input(run.now);
    run.after(249);
    assert!(run.drain().is_empty());
    run.after(1);
    assert_eq!(run.drain(), ["finished"]);
}

#[test]
fn in_a_pipeline_sends_overlap_and_other_commands_wait_for_all() {
    let mut run = ScriptRun::new(PIPELINE);
    assert_eq!(run.line("send y 1"), ["send y 1"]);
    assert_eq!(run.line("send y 2"), ["send y 2"]);
    assert!(run.line("dereg").is_empty());
    assert!(!run.script.wants_line());
    assert!(run.done(2, true).is_empty());
    assert_eq!(run.done(1, true), ["Dereg(None)"]);
    assert!(!run.script.wants_line());
    run.done(3, true);
    run.line("send y 3");
    run.line("wait");
    assert!(!run.script.wants_line());
    run.done(4, false);
    assert!(run.script.wants_line());
}

#[test]
fn commands_without_outcome_are_limited() {
    let mut run = ScriptRun::new(PIPELINE);
    for _ in 0..Script::MAX_OUTSTANDING {
        assert_eq!(run.line("send y hi").len(), 1);
    }
    assert!(!run.script.wants_line());
    run.done(7, true);
    assert!(run.script.wants_line());
}

#[test]
fn fail_fast_ends_the_script_at_the_first_failed_command() {
    let mut run = ScriptRun::new(Options { fail_fast: true, ..Options::default() });
    run.line("send y 1");
    assert!(run.done(1, true).is_empty());
    run.line("send w 2");
    assert_eq!(run.done(2, false), ["finished"]);
    assert!(!run.script.wants_line());
}

#[test]
fn a_mistake_in_a_script_word_ends_the_script() {
    let mut run = ScriptRun::new(Options::default());
    let failed = "Parse script: Line 1 of the script cannot be played: `5` is no duration: \
                  write a number and a unit, such as `250ms`, `5s` or `2m`.";
    assert_eq!(run.line("sleep 5"), [failed]);
    assert!(!run.script.wants_line());
}

#[test]
fn lines_after_exit_are_not_read() {
    let mut run = ScriptRun::new(Options::default());
    assert_eq!(run.line("exit"), ["Exit"]);
    run.done(1, true);
    assert!(!run.script.wants_line());
    run.script.line(run.now, b"send y hi");
    assert!(run.drain().is_empty());
}

#[test]
fn an_expectation_fails_when_the_client_ends() {
    let mut run = ScriptRun::new(Options::default());
    run.line("< a");
    run.script.client_ended();
    assert_eq!(run.drain(), [r#"Expected expected: Line 1 of the script waited 4s for "a": nothing like it came."#]);
    let mut run = ScriptRun::new(Options::default());
    run.line("!< a");
    run.script.client_ended();
    assert_eq!(run.drain(), ["finished"]);
}

#[test]
fn a_value_beyond_the_limit_is_a_mistake() {
    let mut run = ScriptRun::new(Options::default());
    run.line("set a=0123456789abcdef");
    let grown = (0..20).map(|_| run.script.line(run.now, b"set a=${a}${a}")).count();
    assert_eq!(grown, 20);
    let last = run.drain().pop().unwrap_or_default();
    assert!(last.starts_with("Parse script: Line 15 of the script cannot be played: A value"), "{last}");
}

proptest! {
    #[test]
    fn any_script_ends(lines in prop::collection::vec("[<!~wait sleep1smend xy{}$=#]*|send y .*|\\PC*", 0..20)) {
        for options in [Options::default(), PIPELINE] {
            let mut run = ScriptRun::new(options);
            for line in &lines {
                run.script.line(run.now, line.as_bytes());
                for cmd in 0..=lines.len() as u64 {
                    run.done(cmd, true);
                }
                while let Some(deadline) = run.script.deadline() {
                    run.now = run.now.max(deadline);
                    run.script.timeout(run.now);
                }
                run.drain();
            }
            run.script.end_of_input(run.now);
            let over = run.script.input == ScriptInput::Finished || run.script.input == ScriptInput::AfterExit;
            prop_assert!(over && !run.script.wants_line());
        }
    }
}
