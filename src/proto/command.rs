//! Chat commands: their table for `help`, and the parser of one line.
//!
//! The text of a message is the rest of its line, byte for byte.

use strum::{EnumDiscriminants, EnumIter, EnumString};

use crate::proto::event::reason::Reason;
use crate::proto::event::sentences::Sentence;
use crate::proto::name::{BadName, Name};
use crate::proto::text::{BadText, Text};

/// One valid chat command.
#[derive(Clone, Debug, PartialEq, Eq, EnumDiscriminants)]
#[strum_discriminants(name(CommandKind), derive(EnumIter, EnumString), strum(serialize_all = "snake_case"))]
#[strum_discriminants(doc = "The kind of a [`Command`], written as the first word of a line.")]
#[strum_discriminants(allow(missing_docs, reason = "[`COMMANDS`] describes the commands"))]
pub enum Command {
    /// `send NAME TEXT`
    Send(Name, Text),
    /// `send_all TEXT`
    SendAll(Text),
    /// `dereg [NAME]`. The name is not validated, because any name but the client's own has the same error.
    Dereg(Option<String>),
    /// `reg [NAME]`
    Reg(Option<String>),
    /// `create_group GROUP`
    CreateGroup(Name),
    /// `list_groups`
    ListGroups,
    /// `join_group GROUP`
    JoinGroup(Name),
    /// `send_group TEXT`
    SendGroup(Text),
    /// `list_members`
    ListMembers,
    /// `leave_group`
    LeaveGroup,
    /// `table`
    Table,
    /// `help [COMMAND]`
    Help(Option<&'static Usage>),
    /// `exit`
    Exit,
}

/// The mistake in a line that is not a valid command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// An unknown command, with the nearest known one; or a wrong number of words, or an empty text.
    Invalid(Option<&'static str>),
    /// An invalid name.
    BadName(BadName),
    /// An invalid text.
    BadText(BadText),
    /// Bytes that are not UTF-8.
    NotUtf8,
}

impl CommandError {
    /// The reason of the failure, for events.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Invalid(_) => Reason::InvalidCommand,
            Self::BadName(_) => Reason::BadName,
            Self::BadText(_) => Reason::TooLong,
            Self::NotUtf8 => Reason::NotUtf8,
        }
    }

    /// The message to display. A suggestion is on a second line.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Invalid(None) => Sentence::InvalidCommand.to_string(),
            Self::Invalid(Some(word)) => format!("{}\n{}", Sentence::InvalidCommand, Sentence::DidYouMean { word }),
            Self::BadName(why) => why.to_string(),
            Self::BadText(why) => why.to_string(),
            Self::NotUtf8 => Sentence::NotUtf8.to_string(),
        }
    }
}

/// The description of a command for `help`.
#[derive(Debug, PartialEq, Eq)]
pub struct Usage {
    /// The first word of the command.
    pub name: &'static str,
    /// The names of the arguments; optional ones in brackets.
    pub words: &'static str,
    /// The effect, in one sentence.
    pub does: &'static str,
}

const fn usage(name: &'static str, words: &'static str, does: &'static str) -> Usage {
    Usage { name, words, does }
}

/// All commands, in alphabetical order.
pub static COMMANDS: &[Usage] = &[
    usage("create_group", "GROUP", "Create a group; you are not in it until you join it."),
    usage("dereg", "[NAME]", "Go offline and stay at the prompt; mail is kept for you."),
    usage("exit", "", "Wait for the outcome of everything typed, leave and end."),
    usage("help", "[COMMAND]", "Show the commands, or one of them."),
    usage("join_group", "GROUP", "Enter a group."),
    usage("leave_group", "", "Leave the group; direct messages held meanwhile are shown."),
    usage("list_groups", "", "List the groups."),
    usage("list_members", "", "List the members of the group, in the order in which they joined."),
    usage("reg", "[NAME]", "Come back after dereg; waiting mail is shown."),
    usage("send", "NAME TEXT", "Send a direct message."),
    usage("send_all", "TEXT", "Send a message to everybody."),
    usage("send_group", "TEXT", "Send a message to the other members of the group."),
    usage("table", "", "Show who is known, where, and who is online."),
];

/// Parses one line. An empty line is `Ok(None)`.
///
/// A text is the rest of the line, byte for byte, after the single blank that ends the previous word.
///
/// # Errors
/// Returns the first mistake in the line.
pub fn parse(line: &[u8]) -> Result<Option<Command>, CommandError> {
    let line = std::str::from_utf8(line).map_err(|_| CommandError::NotUtf8)?;
    let line = line.strip_suffix('\n').unwrap_or(line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.trim().is_empty() {
        return Ok(None);
    }
    let line = line.trim_start_matches([' ', '\t']);
    let (head, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let kind = head.parse().map_err(|_| CommandError::Invalid(nearest(head)))?;
    let command = match kind {
        CommandKind::Send => {
            let rest = rest.trim_start_matches([' ', '\t']);
            let (to, text) = rest.split_once([' ', '\t']).ok_or(CommandError::Invalid(None))?;
            Command::Send(name(to)?, self::text(text)?)
        }
        CommandKind::SendAll => Command::SendAll(text(rest)?),
        CommandKind::SendGroup => Command::SendGroup(text(rest)?),
        CommandKind::Dereg => Command::Dereg(optional(rest)?.map(str::to_owned)),
        CommandKind::Reg => Command::Reg(optional(rest)?.map(str::to_owned)),
        CommandKind::CreateGroup => Command::CreateGroup(group(rest)?),
        CommandKind::JoinGroup => Command::JoinGroup(group(rest)?),
        CommandKind::Help => Command::Help(match optional(rest)? {
            None => None,
            Some(word) => Some(find(word).ok_or_else(|| CommandError::Invalid(nearest(word)))?),
        }),
        CommandKind::ListGroups => alone(rest, Command::ListGroups)?,
        CommandKind::ListMembers => alone(rest, Command::ListMembers)?,
        CommandKind::LeaveGroup => alone(rest, Command::LeaveGroup)?,
        CommandKind::Table => alone(rest, Command::Table)?,
        CommandKind::Exit => alone(rest, Command::Exit)?,
    };
    Ok(Some(command))
}

fn find(word: &str) -> Option<&'static Usage> {
    COMMANDS.iter().find(|usage| usage.name == word)
}

fn name(word: &str) -> Result<Name, CommandError> {
    Name::new(word).map_err(CommandError::BadName)
}

/// Parses the whole rest of the line as a group's name, so that a name with a blank is an error.
fn group(rest: &str) -> Result<Name, CommandError> {
    match rest.trim() {
        "" => Err(CommandError::Invalid(None)),
        word => name(word),
    }
}

fn text(rest: &str) -> Result<Text, CommandError> {
    if rest.trim().is_empty() {
        return Err(CommandError::Invalid(None));
    }
    Text::new(rest).map_err(CommandError::BadText)
}

fn optional(rest: &str) -> Result<Option<&str>, CommandError> {
    let mut words = rest.split_whitespace();
    match (words.next(), words.next()) {
        (word, None) => Ok(word),
        _ => Err(CommandError::Invalid(None)),
    }
}

fn alone(rest: &str, command: Command) -> Result<Command, CommandError> {
    if rest.trim().is_empty() { Ok(command) } else { Err(CommandError::Invalid(None)) }
}

/// The command nearest to a mistyped word.
fn nearest(word: &str) -> Option<&'static str> {
    crate::proto::suggest::nearest(word, COMMANDS.iter().map(|usage| usage.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use strum::IntoEnumIterator;

    fn ok(line: &str) -> Command {
        parse(line.as_bytes()).expect("a command").expect("not empty")
    }

    fn send(to: &str, text: &str) -> Command {
        Command::Send(Name::new(to).unwrap(), Text::new(text).unwrap())
    }

    #[test]
    fn a_text_is_the_rest_of_the_line_byte_for_byte() {
        assert_eq!(ok("send y it's 5 o'clock"), send("y", "it's 5 o'clock"));
        assert_eq!(ok("send y  \"two blanks\" \r\n"), send("y", " \"two blanks\" "));
        assert_eq!(ok("  send_all ü"), Command::SendAll(Text::new("ü").unwrap()));
    }

    #[test]
    fn empty_lines_are_ignored() {
        for line in ["", "  ", "\r\n", "\t\n"] {
            assert_eq!(parse(line.as_bytes()), Ok(None));
        }
    }

    #[test]
    fn wrong_numbers_of_words_are_invalid() {
        for line in ["send", "send y", "send y ", "send y   ", "send_all", "list_groups x", "dereg a b", "create_group"]
        {
            assert_eq!(parse(line.as_bytes()), Err(CommandError::Invalid(None)), "{line}");
        }
    }

    #[test]
    fn mistakes_are_reported_with_a_sentence() {
        let mistake = parse(b"sned y hi").unwrap_err();
        assert_eq!(mistake.sentence(), "[Invalid command]\nDid you mean send?");
        assert_eq!(parse(b"frobnicate").unwrap_err().sentence(), "[Invalid command]");
        assert_eq!(parse(b"send \xff hi"), Err(CommandError::NotUtf8));
        assert!(matches!(parse(b"create_group a;b"), Err(CommandError::BadName(BadName::Character(_)))));
        assert!(matches!(parse(b"create_group a b"), Err(CommandError::BadName(BadName::Character(_)))));
        let long = format!("send_all {}", "a".repeat(Text::MAX + 1));
        assert_eq!(parse(long.as_bytes()), Err(CommandError::BadText(BadText::TooLong(Text::MAX + 1))));
    }

    #[test]
    fn the_table_is_sorted_and_complete() {
        assert!(COMMANDS.is_sorted_by_key(|usage| usage.name));
        for usage in COMMANDS {
            let line = format!("{} {}", usage.name, usage.words.replace("[COMMAND]", "send"));
            assert!(parse(line.as_bytes()).is_ok(), "{line}");
        }
        assert_eq!(COMMANDS.len(), CommandKind::iter().count());
    }
}
