//! Tests of the language on files in memory.

use super::*;
use crate::runner::lang::ast::{
    ActorId, Direction, Fault, Need, NewClient, Peer, Percent, Signal, Step, Visibility, Who,
};
use crate::runner::lang::diagnostics::render;
use crate::runner::lang::source::{MAX_DEPTH, MAX_FILE_BYTES, MAX_FILES, MAX_MISTAKES, MAX_STATEMENTS, without_dots};
use crate::script::directive::ExpectMode;
use proptest::prelude::*;
use std::time::Duration;

/// Loads the first of some files; the others can be included.
fn read(files: &[(&str, &str)]) -> Result<Scenario, LoadError> {
    load(Path::new(files[0].0), &mut |path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == without_dots(path));
        found.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| io::Error::other("not there"))
    })
}

/// The steps of a file with one case.
fn steps(text: &str) -> Vec<Step> {
    let scenario = read(&[("a.chat", text)]).unwrap_or_else(|refusal| panic!("{refusal}"));
    assert!(scenario.setup.is_empty() && scenario.cases.len() == 1);
    scenario.cases.into_iter().flat_map(|case| case.statements).map(|statement| statement.step).collect()
}

/// The last step of a file that begins with a server and the clients x and y.
fn last(line: &str) -> Step {
    steps(&format!("server\nclient x y\n{line}\n")).pop().expect("a step")
}

fn messages(files: &[(&str, &str)]) -> Vec<String> {
    match read(files) {
        Err(LoadError::Mistakes(mistakes)) => mistakes.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

fn x() -> ActorId {
    ActorId::Client("x".parse().unwrap())
}

fn y() -> ActorId {
    ActorId::Client("y".parse().unwrap())
}

#[test]
fn actors_are_started() {
    let steps = steps("server --port 'a b'\n client x y=zoe -- --text \"two words\" # both\n");
    assert!(matches!(&steps[0], Step::Server { args } if *args == ["--port", "a b"]));
    let clients = [NewClient { actor: x(), name: "x".into() }, NewClient { actor: y(), name: "zoe".into() }];
    assert!(matches!(&steps[1], Step::Client { clients: found, args }
        if *found == clients && *args == ["--text", "two words"]));
}

#[test]
fn lines_are_typed_byte_for_byte() {
    for (line, expected) in [
        ("x> send y it's \"5\" o'clock ", "send y it's \"5\" o'clock "),
        ("\tx>  # two blanks", " # two blanks"),
        ("x>", ""),
        ("x> > <", "> <"),
        ("x> grüße ${a}\r", "grüße ${a}"),
    ] {
        assert!(matches!(last(line), Step::Type { who: Who::Each(who), line } if who == [x()] && line == expected));
    }
    assert!(matches!(last("*> table"), Step::Type { who: Who::EveryClient, .. }));
    assert!(matches!(last("server> exit"), Step::Type { who: Who::Each(who), .. } if who == [ActorId::Server]));
}

#[test]
fn expectations_are_parsed_with_mode_and_limit() {
    for (line, actors, sign, millis) in [
        ("x< hi", vec![x()], ExpectMode::Next, None),
        ("x,y<5s hi", vec![x(), y()], ExpectMode::Next, Some(5000)),
        ("y<~ hi", vec![y()], ExpectMode::Any, None),
        ("x!< hi", vec![x()], ExpectMode::Never, None),
        ("server,x!<2s hi", vec![ActorId::Server, x()], ExpectMode::Never, Some(2000)),
    ] {
        let Step::Expect { who: Who::Each(who), mode, limit, pattern } = last(line) else { panic!("{line}") };
        assert_eq!((who, mode, limit), (actors, sign, millis.map(Duration::from_millis)), "{line}");
        assert_eq!(pattern.as_str(), "hi");
    }
    assert!(matches!(last("*< hi"), Step::Expect { who: Who::EveryClient, .. }));
    assert!(matches!(last(r#"*< {"event":"table"}"#), Step::Expect { pattern, .. } if pattern.is_json()));
}

#[test]
fn every_directive_is_parsed_to_its_step() {
    let direction = |from, to| Direction { from, to };
    let (px, py) = (|| Peer::Actor(x()), || Peer::Actor(y()));
    for (word, meant) in [
        ("kill", Signal::Kill),
        ("term", Signal::Term),
        ("interrupt", Signal::Interrupt),
        ("hangup", Signal::Hangup),
        ("pause", Signal::Pause),
        ("resume", Signal::Resume),
    ] {
        assert!(
            matches!(last(&format!("{word} x")), Step::Signal { actor, signal } if actor == x() && signal == meant)
        );
    }
    assert!(matches!(last("restart server"), Step::Restart(ActorId::Server)));
    assert!(matches!(last("eof x"), Step::Eof(actor) if actor == x()));
    let percent = |hundredths| Percent::new(hundredths).unwrap();
    for (line, expected, what) in [
        ("drop y->x 1", direction(py(), px()), Fault::Drop(1)),
        ("loss *->x 30%", direction(Peer::Anybody, px()), Fault::Loss(percent(3000))),
        ("loss x -> server 0.5%", direction(px(), Peer::Actor(ActorId::Server)), Fault::Loss(percent(50))),
        ("delay x->* 50ms", direction(px(), Peer::Anybody), Fault::Delay(Duration::from_millis(50))),
        ("duplicate x-> y 100%", direction(px(), py()), Fault::Duplicate(percent(10_000))),
        ("reorder x ->y 10.25%", direction(px(), py()), Fault::Reorder(percent(1025))),
    ] {
        assert!(
            matches!(last(line), Step::Fault { direction, fault } if direction == expected && fault == what),
            "{line}"
        );
    }
    assert!(matches!(last("cut x server"), Step::Cut(a, b) if a == px() && b == Peer::Actor(ActorId::Server)));
    assert!(matches!(last("heal"), Step::Heal));
    assert!(matches!(last("sleep 250ms"), Step::Sleep(time) if time == Duration::from_millis(250)));
    assert!(matches!(last("set a=b = 'c' # d"), Step::Set { name, value } if name == "a" && value == "b = 'c' # d"));
    assert!(matches!(last("mark"), Step::Mark(actors) if actors.is_empty()));
    assert!(matches!(last("mark x server"), Step::Mark(actors) if actors == [x(), ActorId::Server]));
    assert!(matches!(last("check \"a b\" points=2"), Step::Check { title, points: Some(2) } if title == "a b"));
    assert!(matches!(last("x exits"), Step::Exits { status: None, .. }));
    assert!(matches!(last("server exits 130 # ended"), Step::Exits { status: Some(130), .. }));
    assert!(matches!(last("x,y alive"), Step::Alive(Who::Each(actors)) if actors == [x(), y()]));
}

#[test]
fn cases_share_only_the_setup() {
    let text = "server\ncase \"one\" points=2 needs=groups,faults visibility=after_due_date\nclient x\nx< a\n\
                case two\nclient x\nx< b\n";
    let scenario = read(&[("a.chat", text)]).unwrap();
    assert_eq!((scenario.setup.len(), scenario.cases.len()), (1, 2));
    let one = &scenario.cases[0];
    assert_eq!((one.title.as_str(), one.points, one.visibility), ("one", Some(2), Visibility::AfterDueDate));
    assert_eq!(one.needs, [Need::Groups, Need::Faults]);
    assert_eq!(scenario.cases[1].title, "two");
    let found = messages(&[("a.chat", "server\ncase one\nclient x\nx< a\ncase two\nx< a\n")]);
    assert_eq!(found, ["a.chat:6:1: there is no actor `x` up to here"]);
}

#[test]
fn a_file_without_a_case_line_is_one_case_with_the_name_of_the_file() {
    let scenario = read(&[("folder/late mail.chat", "client x\nx< a\n")]).unwrap();
    assert_eq!(scenario.cases[0].title, "late mail");
}

#[test]
fn spans_show_their_line_and_text() {
    let scenario = read(&[("a.chat", "\u{feff}# é\r\n  client x  \r\n x< é\n")]).unwrap();
    let shown: Vec<_> = scenario.cases[0].statements.iter().map(|statement| &statement.span).collect();
    assert_eq!(
        (shown[0].to_string(), shown[0].text(), shown[0].source_line()),
        ("a.chat:2:3".into(), "client x", "  client x  ")
    );
    assert_eq!((shown[1].to_string(), shown[1].text(), shown[1].source_line()), ("a.chat:3:2".into(), "x< é", " x< é"));
}

#[test]
fn an_included_file_replaces_its_include_line() {
    let files = [
        ("a/main.chat", "include \"parts/start.chat\"\nx< a\ninclude 'parts/../end.chat'\n"),
        ("a/parts/start.chat", "client x\n"),
        ("a/end.chat", "x exits 0\n"),
    ];
    let scenario = read(&files).unwrap();
    let spans: Vec<_> = scenario.cases[0].statements.iter().map(|statement| statement.span.to_string()).collect();
    assert_eq!(spans, ["a/parts/start.chat:1:1", "a/main.chat:2:1", "a/parts/../end.chat:1:1"]);
}

#[test]
fn files_and_statements_are_limited() {
    let chain: Vec<(String, String)> =
        (0..=MAX_DEPTH).map(|n| (format!("{n}"), format!("include {}\n", n + 1))).collect();
    let files: Vec<(&str, &str)> = chain.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(messages(&files), ["15:1:9: files can include files at most 16 deep"]);

    let many = "include one\n".repeat(MAX_FILES);
    let found = messages(&[("all", many.as_str()), ("one", "# nothing\n")]);
    assert_eq!(found, ["all:256:9: a scenario can have at most 256 files"]);

    let long = format!("client x\n#{}\n", "-".repeat(MAX_FILE_BYTES - 11));
    assert!(read(&[("long", long.as_str())]).is_ok());
    let longer = format!("{long}\n");
    assert_eq!(messages(&[("long", longer.as_str())])[0], "long:1:1: this file has more than 1 MiB");

    let most = format!("client x\n{}", "heal\n".repeat(MAX_STATEMENTS - 1));
    assert!(read(&[("most", most.as_str())]).is_ok());
    let more = format!("{most}heal\nheal\n");
    let found = messages(&[("more", more.as_str())]);
    assert_eq!(found, [format!("more:{}:1: a scenario can have at most 100000 statements", MAX_STATEMENTS + 1)]);

    let error = "frobnicate\n".repeat(2 * MAX_MISTAKES);
    assert_eq!(messages(&[("wrong", error.as_str())]).len(), MAX_MISTAKES);
}

#[test]
fn a_missing_actor_is_reported_once() {
    let found = messages(&[("a", "x> hi\nx< hi\nkill x\ncase b\nx< hi\n")]);
    assert_eq!(found, ["a:1:1: there is no actor `x` up to here"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_give_a_scenario_or_mistakes_that_render(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Err(LoadError::Mistakes(mistakes)) = load(Path::new("a"), &mut |_| Ok(bytes.clone())) {
            prop_assert!(!mistakes.is_empty() && render(&mistakes, true).contains("a:"));
        }
    }

    #[test]
    fn nearly_valid_lines_do_not_panic(lines in prop::collection::vec(near(), 0..12)) {
        let text = format!("server\nclient x y -- --text\nclient z\n{}", lines.join("\n"));
        match read(&[("a.chat", text.as_str())]) {
            Ok(scenario) => prop_assert!(!scenario.cases.is_empty()),
            Err(LoadError::Mistakes(mistakes)) => prop_assert!(render(&mistakes, false).contains("a.chat:")),
            Err(refusal) => prop_assert!(refusal.to_string().contains("a.chat:")),
        }
    }
}

/// A word of the language followed by almost arbitrary text.
fn near() -> impl Strategy<Value = String> {
    let words: Vec<&'static str> = crate::runner::lang::directives::DIRECTIVES
        .iter()
        .map(|directive| directive.word)
        .chain(["x", "x,y", "*", "server", "z", "", "#", "\u{feff}", "é"])
        .collect();
    let rest = prop_oneof!["[<>!~ xyz*,=0-9smh%\\-\"'{}/\\\\$#.\té]{0,20}", "< [/{][(?:\"aé}/]{0,12}", "\\PC{0,20}"];
    (prop::sample::select(words), rest).prop_map(|(word, rest)| format!("{word}{rest}"))
}
