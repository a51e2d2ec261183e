//! How a program says what the contract says: lines in its words are understood as the sentences of the contract.

use std::borrow::Cow;
use std::sync::Arc;

use regex::Regex;

use crate::proto::name::Name;
use crate::runner::profile::sentences::Holes;
use crate::runner::profile::template::{PlaceholderKind, Template};
use crate::script::pattern::normalize::normal;
use crate::script::pattern::{Captures, MatchMode, Matcher, Pattern};
use crate::script::vars::Vars;

/// What is understood of a program's lines. Cheap to clone. The empty one is that of a program that speaks as the
/// contract does.
#[derive(Clone, Debug, Default)]
pub struct Translator(Arc<KnownWordings>);

#[derive(Debug, Default)]
struct KnownWordings {
    prompt: Option<Regex>,
    /// Those with the most letters of their own first: the others say less.
    heard: Vec<RecognizedWording>,
    /// The same, by what the contract says.
    said: Vec<SpokenWording>,
}

/// One wording as it is heard.
#[derive(Debug)]
pub(crate) struct RecognizedWording {
    /// It knows what a name is.
    exact: Matcher,
    /// Where so much is wanted.
    loose: Option<Matcher>,
    wording: Arc<Wording>,
}

#[derive(Debug)]
struct SpokenWording {
    sentence: Regex,
    words: Template,
}

/// A sentence of the contract, and a program's words for it.
#[derive(Debug)]
pub(crate) struct Wording {
    pub(crate) sentence: Template,
    pub(crate) words: Template,
    /// What differs: in the sentence and in the words.
    pub(crate) holes: Holes,
}

impl Wording {
    fn kind(&self, name: &str) -> PlaceholderKind {
        self.holes.iter().find(|(of, _)| of == name).map_or(PlaceholderKind::Text, |(_, kind)| *kind)
    }

    /// It as it is heard; `None` where a pattern for it is beyond the limit of patterns.
    pub(crate) fn heard(self: &Arc<Self>, style: MatchMode) -> Option<RecognizedWording> {
        let fill = |source: String| Pattern::parse(&source).ok()?.fill(&Vars::default(), style).ok();
        let exact = fill(format!("/^{}$/", self.words.regex(|name| self.kind(name).regex(false))))?;
        let loose = if style == MatchMode::Loose { fill(self.words.literal()) } else { None };
        Some(RecognizedWording { exact, loose, wording: Arc::clone(self) })
    }
}

impl Translator {
    /// The speech of a program with this prompt and these wordings.
    pub(crate) fn new(prompt: Option<&Template>, wordings: &[Arc<Wording>], style: MatchMode) -> Self {
        let mut heard: Vec<RecognizedWording> = wordings.iter().filter_map(|wording| wording.heard(style)).collect();
        heard.sort_by_key(|one| std::cmp::Reverse(one.wording.words.weight()));
        let mut said: Vec<(usize, SpokenWording)> = wordings.iter().filter_map(|wording| said(wording)).collect();
        said.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        let said = said.into_iter().map(|(_, said)| said).collect();
        Self(Arc::new(KnownWordings { prompt: prompt.and_then(prompt_of), heard, said }))
    }

    /// Whether nothing is said in another way.
    fn is_plain(&self) -> bool {
        self.0.prompt.is_none() && self.0.heard.is_empty()
    }

    /// A raw line without the prompts of the program in front.
    #[must_use]
    pub fn unprompted<'a>(&self, raw: &'a str) -> Cow<'a, str> {
        match (&self.0.prompt, normal(raw)) {
            (Some(prompt), Some(line)) => without(prompt, &line).to_owned().into(),
            _ => raw.into(),
        }
    }

    /// A raw line as the contract would say it; one that has no other words for anything stays as it is.
    #[must_use]
    pub fn understand<'a>(&self, raw: &'a str) -> Cow<'a, str> {
        if self.is_plain() {
            return raw.into();
        }
        let line = self.unprompted(raw);
        match normal(&line).and_then(|line| self.translate(&line)) {
            Some(sentence) => sentence.into(),
            None => line,
        }
    }

    fn translate(&self, line: &str) -> Option<String> {
        self.0.heard.iter().find_map(|RecognizedWording { exact, loose, wording }| {
            let captures = exact.line(line).or_else(|| {
                let captures = loose.as_ref()?.line(line)?;
                let value = |(name, value): (String, String)| match wording.kind(&name) {
                    PlaceholderKind::Name => name_in(&value).map(|value| (name, value)),
                    PlaceholderKind::Text => Some((name, value)),
                };
                captures.into_iter().map(value).collect()
            })?;
            Some(wording.sentence.fill(&captures))
        })
    }

    /// What the contract says in the program's words, if it has other ones. Gaps of a pattern are left out.
    #[must_use]
    pub fn say(&self, sentence: &str) -> Option<String> {
        self.0.said.iter().find_map(|said| {
            let found = said.sentence.captures(sentence)?;
            let named = said.sentence.capture_names().flatten();
            let values: Captures =
                named.filter_map(|name| Some((name.to_owned(), found.name(name)?.as_str().to_owned()))).collect();
            Some(said.words.fill(&values))
        })
    }
}

/// The sentence as a pattern may spell it, where what differs may be a gap: nothing at all.
fn said(wording: &Wording) -> Option<(usize, SpokenWording)> {
    let sentence = wording.sentence.regex(|name| wording.kind(name).regex(true));
    let sentence = Regex::new(&format!("^{sentence}$")).ok()?;
    Some((wording.sentence.weight(), SpokenWording { sentence, words: wording.words.clone() }))
}

/// A name, among what a loose pattern does not look at: brackets, and what ends a sentence.
fn name_in(value: &str) -> Option<String> {
    let name = value.trim_matches(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-'));
    Name::new(name).is_ok().then(|| name.to_owned())
}

/// A prompt, which may lack its blanks where it is the whole line.
fn prompt_of(prompt: &Template) -> Option<Regex> {
    let whole = prompt.regex(|_| PlaceholderKind::Name.regex(false));
    let (word, blanks) = whole.split_at(whole.trim_end().len());
    Regex::new(&format!("^{word}(?:{blanks}|$)")).ok()
}

/// A line without a prompt in front, however often it stands there.
fn without<'a>(prompt: &Regex, mut line: &'a str) -> &'a str {
    while let Some(found) = prompt.find(line).filter(|found| !found.is_empty()) {
        line = &line[found.end()..];
    }
    line
}
