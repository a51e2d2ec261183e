//! The TOML structure of a profile, with the place of every value. The values themselves are checked later.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{SeqAccess, Visitor};
use toml::Spanned;

/// All keys of a profile. Unknown keys are refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawProfile {
    pub(crate) command: Option<Spanned<String>>,
    pub(crate) folder: Option<Spanned<String>>,
    pub(crate) ready: Option<Spanned<String>>,
    pub(crate) capabilities: Option<Vec<Spanned<String>>>,
    pub(crate) prompt: Option<Spanned<String>>,
    #[serde(default)]
    pub(crate) environment: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    pub(crate) wording: BTreeMap<Spanned<String>, Spanned<WordList>>,
}

impl RawProfile {
    /// Parses the text of a profile.
    ///
    /// # Errors
    /// The message, and the affected bytes of the text.
    pub(crate) fn read(text: &str) -> Result<Self, (String, Range<usize>)> {
        toml::from_str(text).map_err(|error| {
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            (message, error.span().unwrap_or_default())
        })
    }
}

/// One text, or a list of texts.
#[derive(Debug)]
pub(crate) struct WordList(pub(crate) Vec<String>);

impl<'de> Deserialize<'de> for WordList {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = WordList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<WordList, E> {
                Ok(WordList(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<WordList, A::Error> {
                let mut words = Vec::new();
                while let Some(text) = list.next_element()? {
                    words.push(text);
                }
                Ok(WordList(words))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}
