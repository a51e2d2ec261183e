//! Translates between the lines of a program and the sentences of the contract.

use std::borrow::Cow;
use std::sync::Arc;

use regex::Regex;

use crate::proto::name::Name;
use crate::runner::profile::sentences::Holes;
use crate::runner::profile::template::{PlaceholderKind, Template};
use crate::script::pattern::normalize::normal;
use crate::script::pattern::{Captures, MatchMode, Matcher, Pattern};
use crate::script::vars::Vars;

/// Translates a program's lines. Cheap to clone. The default is for a program that prints the contract's sentences: it
/// changes nothing.
#[derive(Clone, Debug, Default)]
pub struct Translator(Arc<KnownWordings>);

#[derive(Debug, Default)]
struct KnownWordings {
    prompt: Option<Regex>,
    /// Wordings by which lines are recognised, the most fixed characters first, because they are the most specific.
    recognized: Vec<RecognizedWording>,
    /// The same wordings for the opposite direction, from the sentences of the contract.
    spoken: Vec<SpokenWording>,
}

/// A wording, compiled to recognise lines.
#[derive(Debug)]
pub(crate) struct RecognizedWording {
    /// A regular expression that accepts only valid names in holes for names.
    exact: Matcher,
    /// Only with [`MatchMode::Loose`].
    loose: Option<Matcher>,
    wording: Arc<Wording>,
}

#[derive(Debug)]
struct SpokenWording {
    sentence: Regex,
    words: Template,
}

/// A sentence of the contract and a program's wording of it.
#[derive(Debug)]
pub(crate) struct Wording {
    pub(crate) sentence: Template,
    pub(crate) words: Template,
    /// The holes, which are the same in the sentence and in the words.
    pub(crate) holes: Holes,
}

impl Wording {
    fn kind(&self, name: &str) -> PlaceholderKind {
        self.holes.iter().find(|(of, _)| of == name).map_or(PlaceholderKind::Text, |(_, kind)| *kind)
    }

    /// Compiles the wording. `None` when a pattern for it exceeds the limit of patterns.
    pub(crate) fn compile(self: &Arc<Self>, style: MatchMode) -> Option<RecognizedWording> {
        let fill = |source: String| Pattern::parse(&source).ok()?.fill(&Vars::default(), style).ok();
        let exact = fill(format!("/^{}$/", self.words.regex(|name| self.kind(name).regex(false))))?;
        let loose = if style == MatchMode::Loose { fill(self.words.literal()) } else { None };
        Some(RecognizedWording { exact, loose, wording: Arc::clone(self) })
    }
}

impl Translator {
    /// A translator for a program with this prompt and these wordings.
    pub(crate) fn new(prompt: Option<&Template>, wordings: &[Arc<Wording>], style: MatchMode) -> Self {
        let mut recognized: Vec<RecognizedWording> =
            wordings.iter().filter_map(|wording| wording.compile(style)).collect();
        recognized.sort_by_key(|one| std::cmp::Reverse(one.wording.words.weight()));
        let mut spoken: Vec<(usize, SpokenWording)> =
            wordings.iter().filter_map(|wording| compile_sentence(wording)).collect();
        spoken.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        let spoken = spoken.into_iter().map(|(_, spoken)| spoken).collect();
        Self(Arc::new(KnownWordings { prompt: prompt.and_then(compile_prompt), recognized, spoken }))
    }

    /// Whether it changes nothing.
    fn is_plain(&self) -> bool {
        self.0.prompt.is_none() && self.0.recognized.is_empty()
    }

    /// Removes the program's prompts from the beginning of a raw line.
    #[must_use]
    pub fn unprompted<'a>(&self, raw: &'a str) -> Cow<'a, str> {
        match (&self.0.prompt, normal(raw)) {
            (Some(prompt), Some(line)) => remove_prompts(prompt, &line).to_owned().into(),
            _ => raw.into(),
        }
    }

    /// Translates a raw line into a sentence of the contract. A line that matches no wording only loses its prompts.
    #[must_use]
    pub fn understand<'a>(&self, raw: &'a str) -> Cow<'a, str> {
        if self.is_plain() {
            return raw.into();
        }
        let line = self.unprompted(raw);
        match normal(&line).and_then(|line| self.translate_line(&line)) {
            Some(sentence) => sentence.into(),
            None => line,
        }
    }

    fn translate_line(&self, line: &str) -> Option<String> {
        self.0.recognized.iter().find_map(|RecognizedWording { exact, loose, wording }| {
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

    /// Translates a sentence of the contract into the program's wording, if it has one. The sentence may be the sketch
    /// of a pattern, whose gaps are empty.
    #[must_use]
    pub fn translate_back(&self, sentence: &str) -> Option<String> {
        self.0.spoken.iter().find_map(|spoken| {
            let found = spoken.sentence.captures(sentence)?;
            let named = spoken.sentence.capture_names().flatten();
            let values: Captures =
                named.filter_map(|name| Some((name.to_owned(), found.name(name)?.as_str().to_owned()))).collect();
            Some(spoken.words.fill(&values))
        })
    }
}

/// Compiles the sentence of a wording, with its weight. Values may be empty, because the sketch of a pattern leaves out
/// its gaps.
fn compile_sentence(wording: &Wording) -> Option<(usize, SpokenWording)> {
    let sentence = wording.sentence.regex(|name| wording.kind(name).regex(true));
    let sentence = Regex::new(&format!("^{sentence}$")).ok()?;
    Some((wording.sentence.weight(), SpokenWording { sentence, words: wording.words.clone() }))
}

/// The name in a value, without the brackets and punctuation that loose matching ignores.
fn name_in(value: &str) -> Option<String> {
    let name = value.trim_matches(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-'));
    Name::new(name).is_ok().then(|| name.to_owned())
}

/// Compiles a prompt. Its final blanks may be missing when it is the whole line.
fn compile_prompt(prompt: &Template) -> Option<Regex> {
    let whole = prompt.regex(|_| PlaceholderKind::Name.regex(false));
    let (word, blanks) = whole.split_at(whole.trim_end().len());
    Regex::new(&format!("^{word}(?:{blanks}|$)")).ok()
}

/// Removes all repetitions of a prompt at the beginning of a line.
fn remove_prompts<'a>(prompt: &Regex, mut line: &'a str) -> &'a str {
    while let Some(found) = prompt.find(line).filter(|found| !found.is_empty()) {
        line = &line[found.end()..];
    }
    line
}
