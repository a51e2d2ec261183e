//! The catalogue of sentences: each display string of a client or a server is declared here, once.
//!
//! The same templates write a sentence, recognise it in the output of another program, and define the sentences that a
//! profile can reword. Display strings are exact, because users compare them with scripts.

use std::fmt;

use strum::{EnumDiscriminants, EnumIter};

use crate::proto::template::{TemplatePiece, pieces};

/// The kind of value in a hole of a sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoleKind {
    /// The name of a client or of a group.
    Name,
    /// A number.
    Number,
    /// Any text that is not empty.
    Text,
    /// A time, without blanks.
    Time,
}

/// Declares the sentences. A hole that is declared but not in the template, or the reverse, does not compile.
macro_rules! sentences {
    ($($(#[$doc:meta])* $sentence:ident $({ $($hole:ident: $kind:ident),+ })? = $template:literal;)*) => {
        /// A sentence with the values of its holes. [`fmt::Display`] writes it.
        #[derive(Clone, Copy, EnumDiscriminants)]
        #[strum_discriminants(name(SentenceKind), derive(EnumIter))]
        #[strum_discriminants(doc = "A sentence of the catalogue, without the values of its holes.")]
        #[strum_discriminants(allow(missing_docs, reason = "the kinds are those of `Sentence`"))]
        #[allow(missing_docs, reason = "the holes are named after the values")]
        pub enum Sentence<'a> {
            $($(#[$doc])* #[doc = concat!("`", $template, "`")] $sentence $({ $($hole: &'a dyn fmt::Display),+ })?,)*
        }

        impl fmt::Display for Sentence<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$sentence $({ $($hole),+ })? => write!(f, $template $($(, $hole = $hole)+)?),)*
                }
            }
        }

        impl SentenceKind {
            /// The template of the sentence, such as `[Message received by {name}.]`.
            #[must_use]
            pub const fn template(self) -> &'static str {
                match self {
                    $(Self::$sentence => $template,)*
                }
            }

            /// The names and kinds of its holes, in the order of declaration.
            #[must_use]
            pub const fn holes(self) -> &'static [(&'static str, HoleKind)] {
                match self {
                    $(Self::$sentence => &[$($((stringify!($hole), HoleKind::$kind)),+)?],)*
                }
            }
        }
    };
}

sentences! {
    // A client: registration and the table.
    Registered = "[Welcome, You are registered.]";
    TableUpdated = "[Client table updated.]";
    ClientListening { port: Number } = "[Client listening on port {port}]";
    NameInUse { name: Name } = "[The name {name} is already in use.]";
    ServerFull = "[The server is full, try again later.]";
    NameRefused { name: Name, reason: Text } = "[The server refused the name {name}: {reason}.]";
    ServerRestarted = "[The server was restarted, registering again.]";
    Offline = "[You are Offline. Bye.]";
    YouAreOffline = "[You are offline. Type reg to come back.]";
    WrongName = "Error! Please input corresponding name.";

    // A client: messages. A message with a time is mail.
    DirectMessage { name: Name, text: Text } = "{name}: {text}";
    DirectMail { name: Name, time: Time, text: Text } = "{name}: {time} {text}";
    ChannelMessage { name: Name, text: Text } = "[Channel_Message {name}: {text}]";
    ChannelMail { name: Name, time: Time, text: Text } = "[Channel_Message {name}: {time} {text}]";
    GroupMessage { name: Name, text: Text } = "Group_Message {name}: {text}";
    GroupMail { name: Name, time: Time, text: Text } = "Group_Message {name}: {time} {text}";
    Delivered { name: Name } = "[Message received by {name}.]";
    NoAck { name: Name } = "[No ACK from {name}, message sent to server.]";
    Saved = "[Messages received by the server and saved]";
    ClientExists { name: Name } = "[Client {name} exists!!]";
    NoSuchClient { name: Name } = "[Client {name} does not exist.]";
    MailboxFull { name: Name } = "[Mailbox of {name} is full, message not saved.]";
    HaveMessages = "[You have messages]";
    MailReceived { time: Time, name: Name } = "[Offline message sent at {time} received by {name}.]";
    ChannelDropped { count: Number } = "[{count} older channel messages were dropped.]";
    GroupDropped { count: Number, group: Name } = "[{count} older messages of the group {group} were dropped.]";
    Accepted = "[Message received by Server.]";
    MessageNotSaved = "[The server could not save the message.]";
    MessageRejected = "[The server did not accept the message.]";
    /// After `send_all`, when the client continues.
    ChannelUnreachable = "[Server not responding.]";
    /// After any other request, when the client ends.
    ServerUnreachable = "[Server not responding]";
    Exiting = "[Exiting]";

    // A client: groups.
    GroupCreated { group: Name } = "[Group {group} created by Server.]";
    GroupExists { group: Name } = "[Group {group} already exists.]";
    GroupLimit { group: Name } = "[Group {group}: a limit of the server is reached.]";
    GroupNotSaved { group: Name } = "[The server could not save the group {group}.]";
    AvailableGroups = "[Available group chats:]";
    NoGroups = "[No available group chats]";
    GroupEntered { group: Name } = "[Entered group {group} successfully]";
    NoSuchGroup { group: Name } = "[Group {group} does not exist]";
    GroupMembers { group: Name } = "[Members in the group {group}:]";
    NotAMember { group: Name } = "[The server does not know you in the group {group}.]";
    GroupLeft { group: Name } = "[Leave group chat {group}]";
    RemovedFromGroup { group: Name } = "[You are no longer in the group {group}.]";

    // A client: commands that cannot run.
    InvalidCommand = "[Invalid command]";
    DidYouMean { word: Text } = "Did you mean {word}?";
    NameEmpty = "A name must have 1 to 32 characters, and this one is empty.";
    NameTooLong { count: Number } = "A name must have 1 to 32 characters, and this one has {count}.";
    NameNotAllowed { text: Text } =
        "The name {text} is not allowed: use letters, digits, '_', '-' and '.', beginning with a letter or digit.";
    NameReserved = "The name server is reserved, choose another one.";
    MessageEmpty = "A message must have at least one byte.";
    MessageTooLong { count: Number } = "A message must have at most 65536 bytes, and this one has {count}.";
    NotUtf8 = "The line is not UTF-8 text, nothing was sent.";
    Leaving = "The client is leaving, nothing more is sent.";
    TooManyCommands { count: Number } = "More than {count} commands have no outcome yet, wait for some of them.";

    // A client: input, output and script.
    InputUnreadable { reason: Text } = "The input could not be read: {reason}.";
    OutputBlocked { count: Number } = "The output was blocked, {count} events were not shown.";
    ScriptExpected { line: Number, limit: Time, pattern: Text, reason: Text } =
        "Line {line} of the script waited {limit} for {pattern}: {reason}.";
    ScriptForbidden { line: Number, pattern: Text, limit: Time, text: Text } =
        "Line {line} of the script allows no {pattern} within {limit}, and {text} came.";
    ScriptMistake { line: Number, mistake: Text } = "Line {line} of the script cannot be played: {mistake}.";

    // A server.
    Listening { port: Number } = "[Server listening on port {port}]";
    Loaded { names: Number, messages: Number, file: Text } = "[{names} names and {messages} messages from {file}]";
    PartialTables { limit: Number } = "[Client tables are partial from now on: --whole-table is {limit}]";
    ClientRegistered { name: Name } = "[Client {name} registered]";
    ClientOffline { name: Name } = "[Client {name} is offline]";
    ClientCreatedGroup { name: Name, group: Name } = "[Client {name} created group {group} successfully]";
    ClientGroupExists { name: Name, group: Name } =
        "[Client {name} creating group {group} failed, group already exists]";
    ClientJoinedGroup { name: Name, group: Name } = "[Client {name} joined group {group}]";
    ClientNoSuchGroup { name: Name, group: Name } =
        "[Client {name} joining group {group} failed, group does not exist]";
    ClientListsGroups { name: Name } = "[Client {name} requested listing groups, current groups:]";
    ClientListsMembers { name: Name, group: Name } = "[Client {name} requested listing members of group {group}:]";
    ClientSentToGroup { name: Name, text: Text } = "[Client {name} sent group message: {text}]";
    ClientRemoved { name: Name, group: Name } = "[Client {name} not responsive, removed from group {group}]";
    ClientLeftGroup { name: Name, group: Name } = "[Client {name} left group {group}]";
    NoMail = "[No mail is waiting]";
    TypeHelp = "Type help for the words";
    MailLost { number: Number } = "Message {number} is not on disk any more.";
    ChangeNotSaved = "The last change could not be written to disk.";
    /// `records` is `A record was`, or a number and `records were`.
    StoreRefused { records: Text, store: Text, reason: Text } =
        "{records} refused by the store {store}: {reason}; make room, the server goes on.";
    StoreLogLong { store: Text, reason: Text } =
        "The log of the store {store} stays long: {reason}; make room on its disk.";
    StoreFailed { store: Text, reason: Text } =
        "The store {store} cannot be trusted any more: {reason}; everything acknowledged before is safe, \
         look at the disk and start the server again.";
}

impl SentenceKind {
    /// The kind of the hole with this name.
    #[must_use]
    pub fn hole(self, name: &str) -> Option<HoleKind> {
        self.holes().iter().find(|(hole, _)| *hole == name).map(|(_, kind)| *kind)
    }

    /// The text before the first hole, or the whole sentence if it has no hole.
    #[must_use]
    pub fn beginning(self) -> &'static str {
        match pieces(self.template()).next() {
            Some(TemplatePiece::Text(text)) => text,
            _ => "",
        }
    }

    /// Whether a line equals this sentence, or starts with its text before the first hole. The rest can differ between
    /// programs without a difference in meaning.
    #[must_use]
    pub fn is_begun_by(self, line: &str) -> bool {
        let beginning = self.beginning();
        if self.holes().is_empty() { line == beginning } else { !beginning.is_empty() && line.starts_with(beginning) }
    }
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn templates_have_their_declared_holes() {
        for sentence in SentenceKind::iter() {
            let holes = pieces(sentence.template()).filter_map(|piece| match piece {
                TemplatePiece::Text(_) => None,
                TemplatePiece::Hole(name) => Some(sentence.hole(name).is_some()),
                TemplatePiece::Anything | TemplatePiece::Variable(_) | TemplatePiece::StrayBrace(_) => Some(false),
            });
            let holes: Vec<bool> = holes.collect();
            assert_eq!(holes, vec![true; sentence.holes().len()], "{}", sentence.template());
        }
    }

    #[test]
    fn sentences_are_unique() {
        let mut templates: Vec<&str> = SentenceKind::iter().map(SentenceKind::template).collect();
        templates.sort_unstable();
        assert!(templates.is_sorted_by(|one, other| one < other), "{templates:#?}");
    }

    #[test]
    fn a_sentence_is_formatted_and_recognised() {
        let sentence = Sentence::NoAck { name: &"y" };
        assert_eq!(sentence.to_string(), "[No ACK from y, message sent to server.]");
        let kind = SentenceKind::from(sentence);
        assert!(kind.is_begun_by("[No ACK from y, message sent to server.]") && kind.is_begun_by("[No ACK from y]"));
        assert!(!kind.is_begun_by("No ACK from y") && !SentenceKind::Saved.is_begun_by("[Messages received"));
        assert!(!SentenceKind::DirectMessage.is_begun_by("y: hi"), "everything begins so");
    }
}
