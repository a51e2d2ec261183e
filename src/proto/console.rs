//! Console commands: lines at the terminal or standard input of a running server.

use strum::EnumString;

use crate::proto::suggest::nearest;

/// A console command.
#[derive(Clone, Debug, PartialEq, Eq, EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Console {
    /// Show the table.
    Table,
    /// Show the groups.
    Groups,
    /// Show how much mail waits for each reader.
    Mail,
    /// Show counters.
    Stats,
    /// List the commands.
    Help,
    /// End the server.
    Exit,
    /// No command, with the nearest one.
    #[strum(disabled)]
    Unknown(Option<&'static str>),
}

/// Every command with its help, in alphabetical order.
pub const WORDS: &[(&str, &str)] = &[
    ("exit", "End the server; names and mail stay on disk."),
    ("groups", "List the groups."),
    ("help", "Show these words."),
    ("mail", "Show how many messages wait for whom."),
    ("stats", "Show counters."),
    ("table", "Show who is known, where, and who is online."),
];

/// Parses a line. An empty one is `None`.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Console> {
    let line = String::from_utf8_lossy(line);
    let word = line.trim();
    if word.is_empty() {
        return None;
    }
    let unknown = |_| Console::Unknown(nearest(word, WORDS.iter().map(|(word, _)| *word)));
    Some(word.parse().unwrap_or_else(unknown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_parsed_and_no_other_word() {
        for (word, _) in WORDS {
            assert!(!matches!(parse(word.as_bytes()), None | Some(Console::Unknown(_))), "{word}");
        }
        assert_eq!(parse(b"  \n"), None);
        assert_eq!(parse(b"unknown"), Some(Console::Unknown(None)));
        assert_eq!(parse(b"tabel\n"), Some(Console::Unknown(Some("table"))));
    }
}
