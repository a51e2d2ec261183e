//! An external program with the same command line: its command, its capabilities, and the sign that it is ready.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use strum::VariantArray;

use crate::runner::lang::ast::Need;
use crate::runner::profile::Translator;
use crate::script::pattern::Matcher;
use crate::script::pattern::normalize::normal;

/// An external program. Its actors show text.
#[derive(Clone, Debug)]
pub struct Implementation {
    /// The program and its first arguments, at least one word. Without `folder`, arguments that name a file relative to
    /// the current folder become absolute paths.
    pub words: Vec<String>,
    /// The folder in which it runs. When absent, each actor runs in a new folder.
    pub folder: Option<PathBuf>,
    /// The pattern of the line that a client shows when it is ready, as text and parsed. When absent, a client is ready
    /// after it has been quiet for `quiet`.
    pub ready: Option<(String, Matcher)>,
    /// The needs of cases that it can meet.
    pub capabilities: Vec<Need>,
    /// The silence after its first output that makes a client ready, stretched already.
    pub quiet: Duration,
    /// The profile from which some of these fields come.
    pub profile: Option<PathBuf>,
    /// Further environment variables. They cannot replace the variables for folders, locale and time zone.
    pub environment: Vec<(String, String)>,
    /// Translates its output into the words of the contract.
    pub translator: Translator,
}

impl PartialEq for Implementation {
    fn eq(&self, other: &Self) -> bool {
        (self.spelled(), self.quiet) == (other.spelled(), other.quiet)
    }
}

impl Implementation {
    /// The default of `quiet`, before it is stretched.
    pub const QUIET: Duration = Duration::from_millis(300);
    /// The default capabilities. Every edition of the exercise asks for them.
    pub const USUAL: [Need; 1] = [Need::Offline];

    /// Parses a capability. Network faults are none: they need the control socket of our own program.
    #[must_use]
    pub fn capability(word: &str) -> Option<Need> {
        word.parse().ok().filter(|need| *need != Need::Faults)
    }

    /// Whether a line shows that a client is ready, in the program's words or in those of the contract.
    pub(crate) fn is_ready_at(&self, line: &str) -> bool {
        let Some((_, ready)) = &self.ready else { return false };
        [self.translator.unprompted(line), self.translator.understand(line)]
            .iter()
            .filter_map(|line| normal(line))
            .any(|line| ready.line(&line).is_some())
    }

    /// The command line options for these settings.
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

    /// The command that starts it in its folder, without the arguments for the actor's role.
    ///
    /// # Errors
    /// When there is no word, or a path cannot be made absolute.
    pub(crate) fn command(&self, home: &Path) -> io::Result<Command> {
        let (program, first) = self.words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        // A name without a slash is looked up in `PATH`.
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

    /// The reason why it cannot meet this need of a case, if it cannot.
    pub(crate) fn unmet_need(&self, need: Need) -> Option<String> {
        match need {
            Need::Faults => Some("the network of a program that is not ours cannot be disturbed".to_owned()),
            _ if self.capabilities.contains(&need) => None,
            _ => Some(format!("the program is not said to have {} (--capabilities)", need.word())),
        }
    }

    /// The reason why it cannot be started with these arguments of our own program, if it cannot. `--text` is implied.
    pub(crate) fn refuses(args: &[String]) -> Option<String> {
        let first = args.iter().find(|arg| *arg != "--text")?;
        Some(format!("a program that is not ours has no option {first}"))
    }
}
