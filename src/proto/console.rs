//! Console commands of a server: their help, and the parser of one line from its terminal or standard input.

use strum::EnumString;

use crate::proto::suggest::nearest;

/// A console command.
#[derive(Clone, Debug, PartialEq, Eq, EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Console {
    /// Show the table of clients.
    Table,
    /// Show the groups.
    Groups,
    /// Show the number of waiting messages for each reader.
    Mail,
    /// Show the counters.
    Stats,
    /// List the commands.
    Help,
    /// End the server.
    Exit,
    /// An unknown command, with the nearest known one.
    #[strum(disabled)]
    Unknown(Option<&'static str>),
}

/// All commands with their help, in alphabetical order.
pub const WORDS: &[(&str, &str)] = &[
    ("exit", "End the server; names and mail stay on disk."),
    ("groups", "List the groups."),
    ("help", "Show these words."),
    ("mail", "Show how many messages wait for whom."),
    ("stats", "Show counters."),
    ("table", "Show who is known, where, and who is online."),
];

/// Parses one line. An empty line is `None`.
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
    fn commands_are_parsed_and_other_words_are_unknown() {
        for (word, _) in WORDS {
            assert!(!matches!(parse(word.as_bytes()), None | Some(Console::Unknown(_))), "{word}");
        }
        assert_eq!(parse(b"  \n"), None);
        assert_eq!(parse(b"unknown"), Some(Console::Unknown(None)));
        assert_eq!(parse(b"tabel\n"), Some(Console::Unknown(Some("table"))));
    }
}
