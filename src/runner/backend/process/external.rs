//! Another program with the same command line: how it is started, what it can do, and when it is ready.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use strum::VariantArray;

use crate::runner::lang::ast::Need;
use crate::runner::profile::Translator;
use crate::script::pattern::Matcher;
use crate::script::pattern::normalize::normal;

/// A program that is not ours, run as people see it.
#[derive(Clone, Debug)]
pub struct Implementation {
    /// The program and its first arguments; at least one word. Those that name a file from here are looked for here,
    /// unless a folder is given.
    pub words: Vec<String>,
    /// The folder in which it runs; a fresh one for each actor when absent.
    pub folder: Option<PathBuf>,
    /// What a client shows when it is ready, as it was written and to match; when absent it is ready as soon as it has
    /// been quiet for a while.
    pub ready: Option<(String, Matcher)>,
    /// What it can do.
    pub capabilities: Vec<Need>,
    /// How long a client must be quiet after its first output.
    pub quiet: Duration,
    /// The profile that some of this comes from.
    pub profile: Option<PathBuf>,
    /// Further variables of its environment; its own folders and what makes runs alike are not among them.
    pub environment: Vec<(String, String)>,
    /// How it says what the contract says.
    pub translator: Translator,
}

impl PartialEq for Implementation {
    fn eq(&self, other: &Self) -> bool {
        (self.spelled(), self.quiet) == (other.spelled(), other.quiet)
    }
}

impl Implementation {
    /// How long a client must be quiet after its first output, before it is stretched.
    pub const QUIET: Duration = Duration::from_millis(300);
    /// What a program can do where nothing is said: what every edition of the exercise asks for.
    pub const USUAL: [Need; 1] = [Need::Offline];

    /// Something that it can have, by its word.
    #[must_use]
    pub fn capability(word: &str) -> Option<Need> {
        word.parse().ok().filter(|need| *need != Need::Faults)
    }

    /// Whether a line is what its clients show when they are ready, in its words or those of the contract.
    pub(crate) fn is_ready_at(&self, line: &str) -> bool {
        let Some((_, ready)) = &self.ready else { return false };
        [self.translator.unprompted(line), self.translator.understand(line)]
            .iter()
            .filter_map(|line| normal(line))
            .any(|line| ready.line(&line).is_some())
    }

    /// The options of the command line that say all this.
    #[must_use]
    pub fn spelled(&self) -> Vec<String> {
        let words = shlex::try_join(self.words.iter().map(String::as_str));
        let mut options = vec!["--impl".to_owned(), words.unwrap_or_else(|_| self.words.join(" "))];
        if let Some(profile) = &self.profile {
            options.extend(["--profile".to_owned(), profile.display().to_string()]);
        }
        if let Some(folder) = &self.folder {
            options.extend(["--impl-dir".to_owned(), folder.display().to_string()]);
        }
        if let Some((pattern, _)) = &self.ready {
            options.extend(["--ready".to_owned(), pattern.clone()]);
        }
        if self.capabilities != Self::USUAL || self.profile.is_some() {
            let named = Need::VARIANTS.iter().filter(|need| self.capabilities.contains(need));
            let words: Vec<&str> = named.map(|need| need.word()).collect();
            options.extend(["--capabilities".to_owned(), words.join(",")]);
        }
        options
    }

    /// What starts it, in its folder, without the arguments that tell who it is.
    ///
    /// # Errors
    /// When it has no word, or a folder has no absolute path.
    pub(crate) fn command(&self, home: &Path) -> io::Result<Command> {
        let (program, first) = self.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        // A program is looked for in the usual places, unless its name says where it is.
        let program = if program.contains('/') { self.place(program)? } else { PathBuf::from(program) };
        let mut command = Command::new(program);
        for word in first {
            match &self.folder {
                None if Path::new(word).exists() => command.arg(std::path::absolute(word)?),
                _ => command.arg(word),
            };
        }
        command.current_dir(self.folder.as_deref().unwrap_or(home));
        command.env("TERM", "dumb").env("PYTHONUNBUFFERED", "1");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    fn place(&self, program: &str) -> io::Result<PathBuf> {
        let base = self.folder.as_deref().unwrap_or(Path::new(""));
        std::path::absolute(base.join(program))
    }

    /// Why it cannot meet this need of a case, if that is so.
    pub(crate) fn unmet_need(&self, need: Need) -> Option<String> {
        match need {
            Need::Faults => Some("the network of a program that is not ours cannot be disturbed".to_owned()),
            _ if self.capabilities.contains(&need) => None,
            _ => Some(format!("the program is not said to have {} (--capabilities)", need.word())),
        }
    }

    /// Why it cannot be started with these arguments of our own program, if that is so.
    pub(crate) fn refuses(args: &[String]) -> Option<String> {
        let first = args.iter().find(|arg| *arg != "--text")?;
        Some(format!("a program that is not ours has no option {first}"))
    }
}
