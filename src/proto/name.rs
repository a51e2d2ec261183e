//! Names of clients and groups: checked once, then a type.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A name of a client or a group: 1 to [`Name::MAX`] of ASCII letters, digits, `_`, `-`, `.`,
/// beginning with a letter or digit; case matters; `server` is reserved. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// Why a word is no name: one sentence that says what is right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing at all.
    #[error("A name must have 1 to 32 characters, and this one is empty.")]
    Empty,
    /// More than [`Name::MAX`] characters.
    #[error("A name must have 1 to 32 characters, and this one has {0}.")]
    TooLong(usize),
    /// A character that is not allowed there.
    #[error("The name {0:?} is not allowed: use letters, digits, '_', '-' and '.', beginning with a letter or digit.")]
    Character(String),
    /// The one reserved name.
    #[error("The name server is reserved, choose another one.")]
    Reserved,
}

impl Name {
    /// The most characters (and, being ASCII, bytes) that a name may have.
    pub const MAX: usize = 32;

    /// Checks a word.
    ///
    /// # Errors
    /// [`BadName`] says what is wrong with it.
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

    /// The name as it is written.
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

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0.as_ref().to_owned()
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
    fn names_at_their_limits() {
        let longest = "a".repeat(Name::MAX);
        for good in ["x", "X9", "a_b-c.d", "7", "Server", longest.as_str()] {
            assert_eq!(Name::new(good).map(String::from), Ok(good.to_owned()));
        }
        assert_eq!(Name::new(""), Err(BadName::Empty));
        assert_eq!(Name::new(&"a".repeat(33)), Err(BadName::TooLong(33)));
        assert_eq!(Name::new("server"), Err(BadName::Reserved));
        for bad in ["a b", "a;b", "_a", "-a", ".a", "é", "a\n", "a\0"] {
            assert_eq!(Name::new(bad), Err(BadName::Character(bad.to_owned())));
        }
    }
}
