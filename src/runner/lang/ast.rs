//! The syntax tree of a scenario: cases, their statements, and the place of each in its file.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use strum::{EnumString, IntoStaticStr, VariantArray};

pub use crate::netem::fault::{Fault, Percent};
use crate::proto::name::Name;
use crate::script::directive::ExpectMode;
use crate::script::pattern::Pattern;

/// A whole scenario with its included files in place. It has no mistake that can be found before the run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The statements before the first case. They run at the beginning of each case.
    pub setup: Vec<Statement>,
    /// At least one. A file without a `case` line is one case with the file's name as its title.
    pub cases: Vec<Case>,
}

/// An independent case with actors of its own.
#[derive(Clone, Debug)]
pub struct Case {
    /// The title, without quotes and surrounding blanks.
    pub title: String,
    /// The points of the `case` line, if it has any.
    pub points: Option<u32>,
    /// Capabilities that the program must have. Without one of them the case is skipped, with a reason.
    pub needs: Vec<Need>,
    /// The audience of its result in course autograders.
    pub visibility: Visibility,
    /// Its `case` line, or the first line of a file without one.
    pub span: Span,
    /// The statements in the order of the file, without the setup.
    pub statements: Vec<Statement>,
}

impl Case {
    /// The points of the case: those of its `case` line, otherwise the sum of its checks. `None` when neither has any.
    #[must_use]
    pub fn worth(&self) -> Option<u32> {
        let points =
            |statement: &Statement| if let Step::Check { points, .. } = statement.step { points } else { None };
        let of_checks = self.statements.iter().filter_map(points).reduce(u32::saturating_add);
        self.points.or(of_checks)
    }
}

/// A capability that not every chat program has. The strings are the words of scenario files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Need {
    /// Named groups.
    Groups,
    /// Messages to clients that are offline.
    Offline,
    /// Receipts for saved messages.
    Receipts,
    /// Faults of the network between the actors.
    Faults,
}

impl Need {
    /// The word in a file.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}

/// The visibility of a case's result, in the words of course autograders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Visibility {
    /// Visible to everybody immediately.
    #[default]
    Visible,
    /// Visible to graders only.
    Hidden,
    /// Visible to everybody after the due date.
    AfterDueDate,
    /// Visible to everybody once grades are published.
    AfterPublished,
}

impl Visibility {
    /// The word in a file and in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}

/// A step and its place in the file.
#[derive(Clone, Debug)]
pub struct Statement {
    pub span: Span,
    pub step: Step,
}

/// The action or expectation of a line. Strings marked *template* may contain `${NAME}`, which is replaced when the
/// line runs ([`crate::script::vars::Vars::replace`]).
#[derive(Clone, Debug)]
pub enum Step {
    /// `server [ARGS]`
    Server {
        /// Templates: further arguments of the server.
        args: Vec<String>,
    },
    /// `client ACTOR[=NAME]... [-- ARGS]`
    Client {
        /// At least one. They start one after another.
        clients: Vec<NewClient>,
        /// Templates: further arguments of each client. With `--text` the clients show text instead of events.
        args: Vec<String>,
    },
    /// `kill A`, `term A`, `interrupt A`, `hangup A`, `pause A` and `resume A`
    Signal { actor: ActorId, signal: Signal },
    /// `restart A`
    Restart(ActorId),
    /// `eof A`
    Eof(ActorId),
    /// `drop A->B N`, `loss`, `delay`, `duplicate` and `reorder`
    Fault { direction: Direction, fault: Fault },
    /// `cut A B`: drops all datagrams in both directions until `heal`.
    Cut(Peer, Peer),
    /// `heal`: removes every fault.
    Heal,
    /// `sleep D`. The time scale does not apply to it.
    Sleep(Duration),
    /// `set NAME=VALUE`
    Set {
        /// The variable.
        name: String,
        /// Template.
        value: String,
    },
    /// `mark [A...]`. An empty list means all actors, the server included.
    Mark(Vec<ActorId>),
    /// `check "TITLE" [points=N]`: begins a check that reaches to the next `check` line or the end of the case.
    Check { title: String, points: Option<u32> },
    /// `A> LINE`
    Type {
        /// The actors that get the line.
        who: Who,
        /// Template: the typed line, byte for byte, without its end.
        line: String,
    },
    /// `A< PATTERN`, `A<~ PATTERN` and `A!< PATTERN`
    Expect {
        /// The actors whose output is searched.
        who: Who,
        /// `<`, `<~` or `!<`.
        mode: ExpectMode,
        /// The limit or window of the line. `None` means [`ExpectMode::default_limit`].
        limit: Option<Duration>,
        pattern: Pattern,
    },
    /// `A exits [STATUS]`
    Exits {
        who: Who,
        /// The expected exit status. `None` accepts any.
        status: Option<u8>,
    },
    /// `A alive`
    Alive(Who),
}

impl Step {
    /// Whether it changes the network.
    #[must_use]
    pub fn changes_network(&self) -> bool {
        matches!(self, Self::Fault { .. } | Self::Cut(..) | Self::Heal)
    }
}

/// A client to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClient {
    /// Its name in the file.
    pub actor: ActorId,
    /// Template: its name in the chat. It is not checked, because a scenario may test how a program refuses a bad name.
    pub name: String,
}

/// An actor of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActorId {
    /// The server.
    Server,
    /// A client, with its name in the file.
    Client(Name),
}

impl fmt::Display for ActorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.pad("server"),
            Self::Client(name) => f.pad(name.as_str()),
        }
    }
}

/// The actors of an actor line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// `*`: every client.
    EveryClient,
    /// At least one actor, and none twice.
    Each(Vec<ActorId>),
}

/// A signal to an actor. A backend without processes does the equivalent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// `kill`: SIGKILL.
    Kill,
    /// `term`: SIGTERM.
    Term,
    /// `interrupt`: SIGINT.
    Interrupt,
    /// `hangup`: SIGHUP.
    Hangup,
    /// `pause`: SIGSTOP.
    Pause,
    /// `resume`: SIGCONT.
    Resume,
}

/// One direction between two peers of the network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Direction {
    /// The sender.
    pub from: Peer,
    /// The receiver.
    pub to: Peer,
}

/// One end of a faulty direction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// `*`
    Anybody,
    /// One actor.
    Actor(ActorId),
}

/// The text of one file.
#[derive(PartialEq, Eq)]
pub struct SourceFile {
    /// The path that the file was opened with. That of an included file has the same base folder as the first file's.
    pub path: PathBuf,
    /// The whole text. Bytes that are not UTF-8 are replaced.
    pub text: String,
}

/// A place in a file, with the file. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    pub source: Arc<SourceFile>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Offset of the first byte in the file.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

impl Span {
    /// A place in the line that begins at byte `start` of the file. A character that is partly in the range is covered.
    pub(crate) fn in_line(source: &Arc<SourceFile>, line: usize, start: usize, range: &Range<usize>) -> Self {
        let text = source.text.as_str();
        let inside = |at: &usize| *at < text.len() && !text.is_char_boundary(*at);
        let begin = (0..=start + range.start).rev().find(|at| !inside(at)).unwrap_or(start);
        let end = (start + range.end..).find(|at| !inside(at)).unwrap_or(begin);
        let column = 1 + text.get(start..begin).unwrap_or("").chars().count();
        Self { source: Arc::clone(source), line, column, start: begin, end }
    }

    /// The first line of a file, for a mistake in the file as a whole.
    pub(crate) fn first_line(source: &Arc<SourceFile>) -> Self {
        let length = source.text.lines().next().map_or(0, str::len);
        Self { source: Arc::clone(source), line: 1, column: 1, start: 0, end: length }
    }

    /// The whole line in which it begins, without the end of the line.
    #[must_use]
    pub fn source_line(&self) -> &str {
        let text = self.source.text.as_str();
        let head = text.get(..self.start).unwrap_or(text);
        let begin = head.rfind('\n').map_or(0, |at| at + 1);
        text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or("")
    }

    /// The text that it covers.
    #[must_use]
    pub fn text(&self) -> &str {
        self.source.text.get(self.start..self.end).unwrap_or("")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.source.path.display(), self.line, self.column)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.path.display(), self.text.len())
    }
}
