//! The sentences of the contract: what a program shows, word for word, and where something may differ.

use std::sync::LazyLock;

use regex::Regex;

use crate::proto::suggest::nearest;
use crate::runner::profile::template::{PlaceholderKind, Template};

/// All of them; NAME, GROUP, TIME and TEXT stand for what differs.
pub const SENTENCES: &[&str] = &[
    "[Welcome, You are registered.]",
    "[Client table updated.]",
    "NAME: TEXT",
    "[Message received by NAME.]",
    "[No ACK from NAME, message sent to server.]",
    "[Messages received by the server and saved]",
    "[Client NAME exists!!]",
    "[Client NAME does not exist.]",
    "[Mailbox of NAME is full, message not saved.]",
    "[You are Offline. Bye.]",
    "[You have messages]",
    "NAME: TIME TEXT",
    "[Channel_Message NAME: TIME TEXT]",
    "Group_Message NAME: TIME TEXT",
    "[Offline message sent at TIME received by NAME.]",
    "[Message received by Server.]",
    "[Channel_Message NAME: TEXT]",
    "[Server not responding.]",
    "[Server not responding]",
    "[Exiting]",
    "[The name NAME is already in use.]",
    "Error! Please input corresponding name.",
    "[You are offline. Type reg to come back.]",
    "[Invalid command]",
    "[Group GROUP created by Server.]",
    "[Group GROUP already exists.]",
    "[Available group chats:]",
    "[No available group chats]",
    "[Entered group GROUP successfully]",
    "[Group GROUP does not exist]",
    "Group_Message NAME: TEXT",
    "[Members in the group GROUP:]",
    "[Leave group chat GROUP]",
    "[You are no longer in the group GROUP.]",
    "[The server was restarted, registering again.]",
    "[Server listening on port TEXT]",
    "[Client NAME registered]",
    "[Client NAME is offline]",
    "[Client NAME created group GROUP successfully]",
    "[Client NAME creating group GROUP failed, group already exists]",
    "[Client NAME joined group GROUP]",
    "[Client NAME joining group GROUP failed, group does not exist]",
    "[Client NAME requested listing groups, current groups:]",
    "[Client NAME requested listing members of group GROUP:]",
    "[Client NAME sent group message: TEXT]",
    "[Client NAME not responsive, removed from group GROUP]",
    "[Client NAME left group GROUP]",
];

/// What a sentence of a profile has in braces, by name.
pub(crate) type Holes = Vec<(String, PlaceholderKind)>;

/// The holes of a text that is one of the sentences, with a hole `{name}` or the very value for each thing that differs.
/// Otherwise the nearest one, as it would be written.
///
/// # Errors
/// That nearest sentence, if there is a near one.
pub(crate) fn recognise(text: &str, template: &Template) -> Result<Holes, Option<String>> {
    static FORMS: LazyLock<Vec<SentencePattern>> =
        LazyLock::new(|| SENTENCES.iter().filter_map(|one| SentencePattern::of(one)).collect());
    let holes: Vec<&str> = template.holes().collect();
    for form in FORMS.iter() {
        if let Some(found) = form.whole.captures(text) {
            let values = found.iter().skip(1).map(|value| value.map_or("", |value| value.as_str()));
            let named = values.zip(&form.kinds).filter_map(|(value, kind)| {
                let name = value.strip_prefix('{')?.strip_suffix('}')?;
                Some((name.to_owned(), *kind))
            });
            let named: Holes = named.collect();
            // Where a brace is a part of the text, it is no hole.
            if named.len() == holes.len() {
                return Ok(named);
            }
        }
    }
    let written: Vec<String> = SENTENCES.iter().map(|sentence| in_braces(sentence)).collect();
    Err(nearest(text, written.iter().map(String::as_str)).map(str::to_owned))
}

/// A sentence as a text has to be.
struct SentencePattern {
    whole: Regex,
    kinds: Vec<PlaceholderKind>,
}

/// What differs, by the word for it.
const GAPS: [(&str, PlaceholderKind, &str); 4] = [
    ("NAME", PlaceholderKind::Name, r"(\{\w+\}|[A-Za-z0-9][\w.-]*)"),
    ("GROUP", PlaceholderKind::Name, r"(\{\w+\}|[A-Za-z0-9][\w.-]*)"),
    ("TIME", PlaceholderKind::Text, r"(\{\w+\}|[^{}]+?)"),
    ("TEXT", PlaceholderKind::Text, r"(\{\w+\}|[^{}]+)"),
];

impl SentencePattern {
    fn of(sentence: &str) -> Option<Self> {
        let (mut pattern, mut kinds, mut rest) = ("^".to_owned(), Vec::new(), sentence);
        while let Some((at, (word, kind, gap))) = first_gap(rest) {
            pattern += &regex::escape(rest.get(..at)?);
            pattern += gap;
            kinds.push(kind);
            rest = rest.get(at + word.len()..)?;
        }
        let whole = Regex::new(&(pattern + &regex::escape(rest) + "$")).ok()?;
        Some(Self { whole, kinds })
    }
}

fn first_gap(text: &str) -> Option<(usize, (&'static str, PlaceholderKind, &'static str))> {
    GAPS.into_iter().filter_map(|gap| Some((text.find(gap.0)?, gap))).min_by_key(|(at, _)| *at)
}

/// `[Message received by {name}.]`
fn in_braces(sentence: &str) -> String {
    GAPS.iter()
        .fold(sentence.to_owned(), |text, (word, ..)| text.replace(word, &format!("{{{}}}", word.to_ascii_lowercase())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holes(text: &str) -> Result<Holes, Option<String>> {
        recognise(text, &Template::parse(text).unwrap())
    }

    #[test]
    fn each_sentence_is_one_as_it_is_written() {
        for sentence in SENTENCES {
            let gaps = GAPS.iter().map(|(word, ..)| sentence.matches(word).count()).sum::<usize>();
            assert_eq!(holes(&in_braces(sentence)).map(|holes| holes.len()), Ok(gaps), "{sentence}");
        }
    }

    #[test]
    fn names_and_texts_are_told_apart() {
        let hole = |name: &str, kind| (name.to_owned(), kind);
        assert_eq!(
            holes("{who}: {text}"),
            Ok(vec![hole("who", PlaceholderKind::Name), hole("text", PlaceholderKind::Text)])
        );
        let three =
            vec![hole("a", PlaceholderKind::Name), hole("b", PlaceholderKind::Text), hole("c", PlaceholderKind::Text)];
        assert_eq!(holes("Group_Message {a}: {b} {c}"), Ok(three));
        assert_eq!(holes("[Message received by y.]"), Ok(vec![]));
        assert_eq!(holes("[Message received by {who}]"), Err(Some("[Message received by {name}.]".to_owned())));
        assert_eq!(holes("hello"), Err(None));
    }
}
