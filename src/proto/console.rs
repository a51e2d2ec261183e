//! What a person can tell a running server.

use crate::proto::suggest::nearest;

/// A word at the server's own terminal or standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Console {
    /// Show the table.
    Table,
    /// Show the groups.
    Groups,
    /// Show how much mail waits for whom.
    Mail,
    /// Show counters.
    Stats,
    /// Show these words.
    Help,
    /// End the server.
    Exit,
    /// No such word, with the one that may have been meant.
    Unknown(Option<&'static str>),
}

/// Every word with what it does, in alphabetical order.
pub const WORDS: &[(&str, &str)] = &[
    ("exit", "End the server; names and mail stay on disk."),
    ("groups", "List the groups."),
    ("help", "Show these words."),
    ("mail", "Show how many messages wait for whom."),
    ("stats", "Show counters."),
    ("table", "Show who is known, where, and who is online."),
];

/// Parses a line; `None` is an empty one.
#[must_use]
pub fn parse(line: &[u8]) -> Option<Console> {
    let line = String::from_utf8_lossy(line);
    Some(match line.trim() {
        "" => return None,
        "exit" => Console::Exit,
        "groups" => Console::Groups,
        "help" => Console::Help,
        "mail" => Console::Mail,
        "stats" => Console::Stats,
        "table" => Console::Table,
        word => Console::Unknown(nearest(word, WORDS.iter().map(|(word, _)| *word))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_understood_and_no_other() {
        for (word, _) in WORDS {
            assert!(!matches!(parse(word.as_bytes()), None | Some(Console::Unknown(_))), "{word}");
        }
        assert_eq!(parse(b"  \n"), None);
        assert_eq!(parse(b"tabel\n"), Some(Console::Unknown(Some("table"))));
    }
}
