//! Scenario files with many actors: what they say, what is wrong with them, and playing them.

pub mod ast;
mod audience;
mod bless;
mod cast;
pub mod diagnose;
mod directives;
mod line;
mod live;
pub mod mistake;
pub mod outcome;
pub mod parse;
mod part;
pub mod play;
pub mod process;
pub mod profile;
pub mod record;
mod replace;
pub mod report;
pub mod run;
pub mod score;
pub mod seed;
pub mod sheet;
pub mod simulate;
pub mod stage;
mod standing;
mod token;
pub mod turn;
mod waits;

/// The reference of the language: one page, its grammar included.
pub const LANGUAGE: &str = include_str!("language.md");

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_profile_of_the_reference_can_be_read() {
        let toml = LANGUAGE.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default();
        let read = profile::Profile::read(Path::new("class.toml"), |_| Ok(toml.into()));
        assert!(read.is_ok_and(|profile| profile.command.is_some() && !profile.environment.is_empty()));
    }

    #[test]
    fn every_directive_stands_in_the_reference() {
        for directive in directives::DIRECTIVES {
            let first = directive.usage.split(' ').next().unwrap_or("");
            let usage = format!("{} {first}", directive.word);
            assert!(LANGUAGE.contains(usage.trim_end()), "{usage}");
        }
    }
}
