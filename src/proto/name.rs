//! Names of clients and groups. A [`Name`] is checked when it is created, so that other code need not check it.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use crate::proto::event::sentences::Sentence;

/// The name of a client or a group: 1 to [`Name::MAX`] ASCII letters, digits, `_`, `-` and `.`, beginning with a letter
/// or digit.
///
/// Names are case-sensitive. `server` is reserved. A clone shares the string.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(Arc<str>);

/// The reason why a word is not a name. The sentence says what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// The word is empty.
    #[error("{}", Sentence::NameEmpty)]
    Empty,
    /// The word is longer than [`Name::MAX`]. The value is its length in characters.
    #[error("{}", Sentence::NameTooLong { count: &format_args!("{}", .0) })]
    TooLong(usize),
    /// The word has a character that is not allowed at its position.
    #[error("{}", Sentence::NameNotAllowed { text: &format_args!("{:?}", .0) })]
    Character(String),
    /// The word is `server`: in events, that name means the server.
    #[error("{}", Sentence::NameReserved)]
    Reserved,
}

impl Name {
    /// Maximum length of a name, in characters. Names are ASCII, so this is also the maximum in bytes.
    pub const MAX: usize = 32;

    /// Checks a word and converts it to a name.
    ///
    /// # Errors
    /// [`BadName`] if the word is not a name.
    pub fn new(word: &str) -> Result<Self, BadName> {
        if word.is_empty() {
            return Err(BadName::Empty);
        }
        let count = word.chars().count();
        if count > Self::MAX {
            return Err(BadName::TooLong(count));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !word.chars().all(fits) || !word.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            return Err(BadName::Character(word.to_owned()));
        }
        if word == "server" {
            return Err(BadName::Reserved);
        }
        Ok(Self(word.into()))
    }

    /// The name as a string, unchanged.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;
    fn try_from(word: String) -> Result<Self, BadName> {
        Self::new(&word)
    }
}

// By hand, because `into` would clone the string.
impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl std::str::FromStr for Name {
    type Err = BadName;
    fn from_str(word: &str) -> Result<Self, BadName> {
        Self::new(word)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_at_their_limits() {
        let longest = "a".repeat(Name::MAX);
        for good in ["x", "X9", "a_b-c.d", "7", "Server", longest.as_str()] {
            assert_eq!(Name::new(good).map(|name| name.to_string()), Ok(good.to_owned()));
        }
        assert_eq!(Name::new(""), Err(BadName::Empty));
        assert_eq!(Name::new(&"a".repeat(33)), Err(BadName::TooLong(33)));
        assert_eq!(Name::new("server"), Err(BadName::Reserved));
        for bad in ["a b", "a;b", "_a", "-a", ".a", "é", "a\n", "a\0"] {
            assert_eq!(Name::new(bad), Err(BadName::Character(bad.to_owned())));
        }
    }
}
