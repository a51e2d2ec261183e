//! The scenario runner: parses scenario files, runs their cases on a backend and reports the results.

pub mod backend;
pub mod exec;
pub mod lang;
pub mod profile;
pub mod record;
pub mod report;
pub mod run;

/// The reference of the language, including its grammar.
#[must_use]
pub fn language() -> &'static str {
    include_str!("../../scenarios/README.md")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_example_profile_of_the_reference_is_valid() {
        let toml = language().split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap_or_default();
        let read = crate::runner::profile::Profile::read(Path::new("class.toml"), |_| Ok(toml.into()));
        assert!(read.is_ok_and(|profile| profile.command.is_some() && !profile.environment.is_empty()));
    }

    #[test]
    fn every_directive_is_in_the_reference() {
        for directive in crate::runner::lang::directives::DIRECTIVES {
            let first = directive.usage.split(' ').next().unwrap_or("");
            let usage = format!("{} {first}", directive.word);
            assert!(language().contains(usage.trim_end()), "{usage}");
        }
    }
}
