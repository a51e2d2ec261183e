//! Some scenario must expect every sentence of the catalogue, word for word, unless no scenario can reach the sentence.

use chat::proto::event::sentences::{HoleKind, SentenceKind};
use chat::proto::template::{TemplatePiece, pieces};
use regex::Regex;
use strum::IntoEnumIterator;

/// The patterns of all expectations in the scenarios: `<` lines, but not `!<` lines.
fn expectations() -> Vec<String> {
    let line = Regex::new(r"^[\w,*.-]+<\S* (.+)$").unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("scenarios").unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        found.extend(text.lines().filter_map(|text| Some(line.captures(text)?[1].to_owned())));
    }
    found
}

/// A regular expression for the patterns by which a scenario can expect a sentence.
fn expected(sentence: SentenceKind) -> Regex {
    let piece = |piece| match piece {
        TemplatePiece::Text(text) => regex::escape(text),
        TemplatePiece::Hole(name) => match sentence.hole(name).unwrap() {
            HoleKind::Name => r"[\w.-]+".to_owned(),
            HoleKind::Time => r"(?:\{\*\}|\{\w+\})".to_owned(),
            HoleKind::Number | HoleKind::Text => ".+".to_owned(),
        },
        other => panic!("{}: {other:?}", sentence.template()),
    };
    let words: String = pieces(sentence.template()).map(piece).collect();
    Regex::new(&format!("^{words}$")).unwrap()
}

/// The reason why no scenario can reach a sentence. `None` if some scenario can.
fn unreachable(sentence: SentenceKind) -> Option<&'static str> {
    Some(match sentence {
        SentenceKind::ServerFull => "65,536 names must be registered",
        SentenceKind::GroupLimit => "257 groups must be created",
        SentenceKind::TooManyCommands => "4,096 commands must have no outcome",
        SentenceKind::MessageNotSaved
        | SentenceKind::GroupNotSaved
        | SentenceKind::ChangeNotSaved
        | SentenceKind::StoreRefused
        | SentenceKind::StoreLogLong
        | SentenceKind::StoreFailed => "no scenario fills a disk, nor breaks one",
        SentenceKind::MailLost => "no scenario damages a store",
        SentenceKind::NameRefused | SentenceKind::MessageRejected | SentenceKind::NotAMember => {
            "a server of another version must answer"
        }
        SentenceKind::ClientListening => "the runner chooses the ports of clients",
        SentenceKind::NameEmpty | SentenceKind::MessageEmpty => "a command without a word is no command",
        SentenceKind::NotUtf8 => "a scenario is UTF-8 text",
        SentenceKind::Leaving => "what follows `exit` is not read",
        SentenceKind::InputUnreadable => "the input of an actor is a pipe, which can be read",
        SentenceKind::OutputBlocked => "the runner reads all output",
        SentenceKind::ScriptExpected | SentenceKind::ScriptForbidden | SentenceKind::ScriptMistake => {
            "the runner starts clients with `--typed`: they have no script"
        }
        _ => return None,
    })
}

#[test]
fn every_sentence_is_expected_by_a_scenario() {
    let lines = expectations();
    let is_expected = |sentence| {
        let sentence = expected(sentence);
        lines.iter().any(|line| sentence.is_match(line))
    };
    let wrong = SentenceKind::iter().filter(|sentence| is_expected(*sentence) == unreachable(*sentence).is_some());
    let wrong: Vec<&str> = wrong.map(SentenceKind::template).collect();
    assert_eq!(wrong, Vec::<&str>::new(), "no scenario expects these, or one does although none can");
}
