//! Profiles: adapt scenarios to a class or to a program with another command, other capabilities or other wordings.
//!
//! A profile is a TOML file: its strings need few escapes, it has comments, and its parser reports the place of every
//! value.

mod raw;
mod sentences;
mod template;
#[cfg(test)]
mod tests;
mod translator;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::proto::suggest::nearest;
use crate::runner::backend::process::Implementation;
use crate::runner::lang::ast::{Need, SourceFile, Span};
use crate::runner::lang::diagnostics::{Diagnostic, LoadError};
use crate::runner::profile::raw::{RawProfile, WordList};
use crate::runner::profile::sentences::recognise;
use crate::runner::profile::template::Template;
pub use crate::runner::profile::translator::Translator;
use crate::runner::profile::translator::Wording;
use crate::script::pattern::{MatchMode, Pattern};

/// A parsed profile.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The words that start the program.
    pub command: Option<Vec<String>>,
    /// The folder in which it runs. A relative folder in the file is resolved against the folder of the file.
    pub folder: Option<PathBuf>,
    /// The text pattern of the line that a client shows when it is ready.
    pub ready: Option<String>,
    /// The capabilities of the program.
    pub capabilities: Option<Vec<Need>>,
    /// Further environment variables, as names and values.
    pub environment: Vec<(String, String)>,
    prompt: Option<Template>,
    wordings: Vec<Arc<Wording>>,
}

impl Profile {
    /// The most bytes of a file.
    pub const MAX_BYTES: usize = 1 << 16;
    /// The most wordings of a file.
    pub const MAX_WORDINGS: usize = 256;

    /// Reads a profile. `load` returns the bytes of the file.
    ///
    /// # Errors
    /// [`LoadError`], with all mistakes, or the first one when the file is no TOML of the right shape.
    pub fn read(path: &Path, load: impl FnOnce(&Path) -> std::io::Result<Vec<u8>>) -> Result<Self, LoadError> {
        let bytes = load(path).map_err(|error| LoadError::Unreadable { path: path.to_owned(), error })?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut reader = Reader { source: Arc::new(SourceFile { path: path.to_owned(), text }), mistakes: Vec::new() };
        let profile = reader.profile(&bytes);
        if reader.mistakes.is_empty() { Ok(profile) } else { Err(LoadError::Mistakes(reader.mistakes)) }
    }

    /// The translator for the output of its program.
    #[must_use]
    pub fn translator(&self, style: MatchMode) -> Translator {
        Translator::new(self.prompt.as_ref(), &self.wordings, style)
    }
}

/// Variables that the runner sets for each actor. `HOME` identifies the processes of a case, the folders hold its
/// files, and the others make runs alike.
const RESERVED: [&str; 10] = [
    "HOME",
    "LC_ALL",
    "NO_COLOR",
    "TMPDIR",
    "TZ",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
];

struct Reader {
    source: Arc<SourceFile>,
    mistakes: Vec<Diagnostic>,
}

impl Reader {
    fn profile(&mut self, bytes: &[u8]) -> Profile {
        if bytes.len() > Profile::MAX_BYTES {
            self.mistake(0..0, "a profile has at most 64 KiB", None);
            return Profile::default();
        }
        if let Err(error) = std::str::from_utf8(bytes) {
            let at = error.valid_up_to();
            self.mistake(at..at + '\u{fffd}'.len_utf8(), "this is not UTF-8 text", None);
            return Profile::default();
        }
        let raw = match RawProfile::read(&self.source.text.clone()) {
            Ok(raw) => raw,
            Err((message, range)) => {
                self.mistake(range, &message, Some(ALLOWED.to_owned()));
                return Profile::default();
            }
        };
        Profile {
            command: raw.command.and_then(|text| self.command(text.span(), text.get_ref())),
            folder: raw.folder.and_then(|text| self.folder(text.span(), text.get_ref())),
            ready: raw.ready.and_then(|text| self.ready(text.span(), text.into_inner())),
            capabilities: raw
                .capabilities
                .map(|list| list.iter().filter_map(|word| self.capability(word.span(), word.get_ref())).collect()),
            environment: raw
                .environment
                .into_iter()
                .filter_map(|(name, value)| self.variable(name.span(), name.get_ref(), value.span(), value.get_ref()))
                .collect(),
            prompt: raw.prompt.and_then(|text| self.template(text.span(), text.get_ref())),
            wordings: self.wordings(raw.wording),
        }
    }

    fn command(&mut self, at: Range<usize>, text: &str) -> Option<Vec<String>> {
        let words = shlex::split(text).filter(|words| !words.is_empty());
        if words.is_none() {
            self.mistake(
                at,
                "this is no command as a shell splits it",
                Some("command = \"python3 ChatApp.py\"".into()),
            );
        }
        words
    }

    fn folder(&mut self, at: Range<usize>, text: &str) -> Option<PathBuf> {
        let folder = self.source.path.parent().unwrap_or(Path::new("")).join(text);
        if folder.is_dir() {
            return Some(folder);
        }
        let help = format!("it was looked for as `{}`, beside the profile", folder.display());
        self.mistake(at, "this is no folder", Some(help));
        None
    }

    fn ready(&mut self, at: Range<usize>, text: String) -> Option<String> {
        let help = "what a client shows when it is ready, such as `ready = \"Welcome{*}\"`".to_owned();
        match Pattern::parse(&text) {
            Ok(pattern) if !pattern.is_json() => return Some(text),
            Ok(_) => self.mistake(at, "people see no JSON", Some(help)),
            Err(error) => self.mistake(at, &error.message, error.help.or(Some(help))),
        }
        None
    }

    fn capability(&mut self, at: Range<usize>, word: &str) -> Option<Need> {
        let need = Implementation::capability(word);
        if need.is_none() {
            let help = "capabilities = [\"groups\", \"offline\", \"receipts\"], or some of them".to_owned();
            self.mistake(at, &format!("`{word}` is no capability"), Some(help));
        }
        need
    }

    fn variable(
        &mut self,
        at: Range<usize>,
        name: &str,
        at_value: Range<usize>,
        value: &str,
    ) -> Option<(String, String)> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.chars().all(fits) || !name.starts_with(|c: char| !c.is_ascii_digit()) {
            let help = "letters, digits and `_`, first no digit".to_owned();
            self.mistake(at, &format!("`{name}` is no name of a variable"), Some(help));
        } else if RESERVED.contains(&name) {
            let help = format!("leave it out, as all of {}", RESERVED.join(", "));
            self.mistake(at, &format!("`{name}` is set for each actor by the runner"), Some(help));
        } else if value.contains('\0') {
            self.mistake(at_value, "a variable cannot hold the character 0", None);
        } else {
            return Some((name.to_owned(), value.to_owned()));
        }
        None
    }

    /// Parses a text with at least one fixed character that is not blank.
    fn template(&mut self, at: Range<usize>, text: &str) -> Option<Template> {
        match Template::parse(text) {
            Ok(template) if template.weight() > 0 => return Some(template),
            Ok(_) => {
                let help = "at least one letter must always be the same".to_owned();
                self.mistake(at, "any line would be this", Some(help));
            }
            Err((message, help)) => self.mistake(at, &message, help),
        }
        None
    }

    fn wordings(&mut self, raw: BTreeMap<toml::Spanned<String>, toml::Spanned<WordList>>) -> Vec<Arc<Wording>> {
        let mut wordings: Vec<Arc<Wording>> = Vec::new();
        let mut raw: Vec<_> = raw.into_iter().collect();
        raw.sort_by_key(|(sentence, _)| sentence.span().start);
        for (sentence, words) in raw {
            let at = words.span();
            if words.get_ref().0.is_empty() {
                let help = "one text, or a list with at least one".to_owned();
                self.mistake(at.clone(), "no words stand here", Some(help));
            }
            let Some((known, holes)) = self.sentence(sentence.span(), sentence.get_ref()) else { continue };
            for text in &words.get_ref().0 {
                let Some(words) = self.words(at.clone(), text, sentence.get_ref(), &holes) else { continue };
                if wordings.len() >= Profile::MAX_WORDINGS {
                    self.mistake(
                        at.clone(),
                        &format!("a profile has at most {} wordings", Profile::MAX_WORDINGS),
                        None,
                    );
                    return wordings;
                }
                if wordings.iter().any(|other| other.words.shape() == words.shape()) {
                    let message = format!("`{text}` stands for another sentence already");
                    self.mistake(at.clone(), &message, Some("different sentences need different words".to_owned()));
                    continue;
                }
                let (sentence, holes) = (known.clone(), holes.clone());
                let wording = Arc::new(Wording { sentence, words, holes });
                if wording.compile(MatchMode::Exact).is_none() {
                    self.mistake(at.clone(), "these words are too long to look for", None);
                    continue;
                }
                wordings.push(wording);
            }
        }
        wordings
    }

    fn sentence(
        &mut self,
        at: Range<usize>,
        text: &str,
    ) -> Option<(Template, crate::runner::profile::sentences::Holes)> {
        let template = self.template(at.clone(), text)?;
        if template.has_any() {
            self.mistake(at, "what differs in a sentence needs a name", Some("write `{who}` instead of `{*}`".into()));
            return None;
        }
        match recognise(text, &template) {
            Ok(holes) => return Some((template, holes)),
            Err(near) => {
                let help = near.map_or_else(
                    || "on the left stands what the scenarios expect, such as `[Message received by {name}.]`".into(),
                    |near| format!("did you mean `{near}`?"),
                );
                self.mistake(at, "no program says this sentence", Some(help));
            }
        }
        None
    }

    /// Parses a wording of a sentence. It must have exactly the holes of the sentence.
    fn words(
        &mut self,
        at: Range<usize>,
        text: &str,
        sentence: &str,
        holes: &crate::runner::profile::sentences::Holes,
    ) -> Option<Template> {
        let words = self.template(at.clone(), text)?;
        let named: Vec<&str> = words.holes().collect();
        if let Some(unknown) = named.iter().find(|name| holes.iter().all(|(of, _)| of != *name)) {
            let help = match nearest(unknown, holes.iter().map(|(name, _)| name.as_str())) {
                Some(meant) => format!("did you mean `{{{meant}}}`?"),
                None => "write `{*}` for what does not count".to_owned(),
            };
            self.mistake(at, &format!("`{{{unknown}}}` does not stand in `{sentence}`"), Some(help));
            return None;
        }
        if let Some((missing, _)) = holes.iter().find(|(name, _)| !named.contains(&name.as_str())) {
            let help = format!(
                "where a program does not tell it, write a sentence for each value, such as `{}`",
                sentence.replace(&format!("{{{missing}}}"), "y")
            );
            self.mistake(at, &format!("these words do not tell `{{{missing}}}`"), Some(help));
            return None;
        }
        Some(words)
    }

    fn mistake(&mut self, range: Range<usize>, message: &str, help: Option<String>) {
        let text = &self.source.text;
        let start = range.start.min(text.len());
        let head = text.get(..start).unwrap_or_default();
        let begin = head.rfind('\n').map_or(0, |end| end + 1);
        let line = 1 + head.matches('\n').count();
        let column = 1 + head.get(begin..).unwrap_or_default().chars().count();
        // A value of several lines is shown by its first line.
        let rest = text.get(start..).unwrap_or_default();
        let end = range.end.clamp(start, start + rest.find('\n').unwrap_or(rest.len()));
        let span = Span { source: Arc::clone(&self.source), line, column, start, end };
        self.mistakes.push(Diagnostic { span, message: message.to_owned(), help, included: Vec::new() });
    }
}

/// Help for a file that is no profile.
const ALLOWED: &str = "a profile has command, folder, ready, prompt (texts), capabilities (a list), [environment] and \
                       [wording] (tables)";
