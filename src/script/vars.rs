//! Variables of a script or a case: `set` or a capture assigns them, and `${NAME}` is replaced by the value.

use std::collections::BTreeMap;

use crate::proto::template::{TemplatePiece, is_name, variable_pieces};

/// The variables of one script or one case.
#[derive(Clone, Debug, Default)]
pub struct Vars(BTreeMap<String, String>);

/// The reason why a variable cannot be set, or the variables of a text cannot be replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadVariable {
    /// The name has characters other than letters, digits and `_`, or begins with a digit.
    #[error("{0:?} is no name of a variable: use letters, digits and '_', not beginning with a digit.")]
    Name(String),
    /// There would be more than [`Vars::MAX`] variables.
    #[error("There can be at most 4096 variables.")]
    TooMany,
    /// A value, or a text after replacement, would have more than [`Vars::MAX_BYTES`].
    #[error("A value, and a line with its values in place, can have at most 131072 bytes.")]
    TooLong,
}

impl Vars {
    /// The most variables.
    pub const MAX: usize = 4096;
    /// The most bytes of a value, and of a text after replacement. A message of the greatest length fits. The limit
    /// stops a script that doubles a value repeatedly.
    pub const MAX_BYTES: usize = 128 * 1024;

    /// Sets a new or existing variable.
    ///
    /// # Errors
    /// [`BadVariable`]. Then nothing has changed.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), BadVariable> {
        if !is_name(name) {
            return Err(BadVariable::Name(name.to_owned()));
        }
        if value.len() > Self::MAX_BYTES {
            return Err(BadVariable::TooLong);
        }
        if self.0.len() >= Self::MAX && !self.0.contains_key(name) {
            return Err(BadVariable::TooMany);
        }
        self.0.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// Sets the captures of a pattern.
    ///
    /// # Errors
    /// As [`Vars::set`], for the first capture that cannot be set. Earlier captures stay set.
    pub fn capture(&mut self, captures: &[(String, String)]) -> Result<(), BadVariable> {
        captures.iter().try_for_each(|(name, value)| self.set(name, value))
    }

    /// The value of a variable, if it was set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Replaces each `${NAME}` by its value and `$${` by `${`. A variable that was never set stays as written.
    ///
    /// # Errors
    /// [`BadVariable::TooLong`] beyond [`Vars::MAX_BYTES`].
    pub fn replace(&self, text: &str) -> Result<String, BadVariable> {
        let mut out = String::with_capacity(text.len());
        for piece in variable_pieces(text) {
            match piece {
                TemplatePiece::Text(text) => out.push_str(text),
                TemplatePiece::Variable(name) => match self.get(name) {
                    Some(value) => out.push_str(value),
                    None => out.extend(["${", name, "}"]),
                },
                // `variable_pieces` yields no such pieces.
                TemplatePiece::Hole(_) | TemplatePiece::Anything | TemplatePiece::StrayBrace(_) => {}
            }
            if out.len() > Self::MAX_BYTES {
                return Err(BadVariable::TooLong);
            }
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vars() -> Vars {
        let mut vars = Vars::default();
        vars.set("a", "1").unwrap();
        vars.set("long_name", "two words").unwrap();
        vars
    }

    #[test]
    fn variables_are_replaced_and_unset_ones_stay() {
        for (text, expected) in [
            ("${a}", "1"),
            ("x${a}y${long_name}z", "x1ytwo wordsz"),
            ("${b} ${}", "${b} ${}"),
            ("$${a}", "${a}"),
            ("$$${a}", "$${a}"),
            ("$a {a} ${a", "$a {a} ${a"),
            ("${a b}${a}", "${a b}1"),
            ("${é}", "${é}"),
            ("", ""),
        ] {
            assert_eq!(vars().replace(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn values_are_not_expanded_again() {
        let mut vars = vars();
        vars.set("b", "${a}").unwrap();
        assert_eq!(vars.replace("${b}").as_deref(), Ok("${a}"));
    }

    #[test]
    fn limits_are_enforced() {
        let mut vars = Vars::default();
        let longest = "v".repeat(Vars::MAX_BYTES);
        assert_eq!(vars.set("v", &longest), Ok(()));
        assert_eq!(vars.set("v", &(longest.clone() + "v")), Err(BadVariable::TooLong));
        assert_eq!(vars.replace("${v}"), Ok(longest));
        assert_eq!(vars.replace("${v}${v}"), Err(BadVariable::TooLong));
        for n in 1..Vars::MAX {
            assert_eq!(vars.set(&format!("n{n}"), ""), Ok(()));
        }
        assert_eq!(vars.set("one_more", ""), Err(BadVariable::TooMany));
        assert_eq!(vars.set("v", "again"), Ok(()));
        assert_eq!(vars.set("1a", ""), Err(BadVariable::Name("1a".to_owned())));
        assert_eq!(vars.set("", ""), Err(BadVariable::Name(String::new())));
    }

    proptest! {
        #[test]
        fn without_variables_only_escapes_are_replaced(text in ".*") {
            prop_assert_eq!(Vars::default().replace(&text).unwrap(), text.replace("$${", "${"));
        }
    }
}
