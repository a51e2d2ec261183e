//! What a scenario file says, as plain data: cases, their statements, and where each stands in its file.

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

/// A whole scenario, its included files in place. Without a mistake that can be found before the run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What stands before the first case: run at the beginning of each case.
    pub setup: Vec<Statement>,
    /// At least one; a file without a `case` line is one case with the file's name as its title.
    pub cases: Vec<Case>,
}

/// An independent case with actors of its own.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its title, as written.
    pub title: String,
    /// What it is worth; absent when nothing is said.
    pub points: Option<u32>,
    /// What a program must be able to do; without it the case is skipped, with the reason.
    pub needs: Vec<Need>,
    /// Who may see its result.
    pub visibility: Visibility,
    /// Its `case` line; the first line of a file without one.
    pub span: Span,
    /// In the order of the file.
    pub statements: Vec<Statement>,
}

impl Case {
    /// What it is worth: what it says, or the sum of what its checks say; absent where neither says anything.
    #[must_use]
    pub fn worth(&self) -> Option<u32> {
        let points =
            |statement: &Statement| if let Step::Check { points, .. } = statement.step { points } else { None };
        let of_checks = self.statements.iter().filter_map(points).reduce(u32::saturating_add);
        self.points.or(of_checks)
    }
}

/// Something that not every program of this kind can do. The words are those of scenario files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Need {
    /// Named groups.
    Groups,
    /// Messages for clients that are offline.
    Offline,
    /// Receipts of saved messages.
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

/// Who may see the result of a case, in the words of course autograders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Visibility {
    /// Everybody, at once.
    #[default]
    Visible,
    /// Only graders.
    Hidden,
    /// Everybody, after the due date.
    AfterDueDate,
    /// Everybody, once grades are published.
    AfterPublished,
}

impl Visibility {
    /// The word in a file and in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}

/// One line of a file.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Where it stands.
    pub span: Span,
    /// What it says.
    pub step: Step,
}

/// What a line says. Strings marked *template* have `${NAME}` replaced when their line is run
/// ([`crate::script::vars::Vars::replace`]).
#[derive(Clone, Debug)]
pub enum Step {
    /// `server [ARGS]`; the words are templates.
    Server {
        /// Further arguments of the server.
        args: Vec<String>,
    },
    /// `client ACTOR[=NAME]... [-- ARGS]`
    Client {
        /// At least one, to be started one after another.
        clients: Vec<NewClient>,
        /// Further arguments of each; the words are templates. `--text` among them runs it as people see it.
        args: Vec<String>,
    },
    /// `kill A` and its like.
    Signal {
        /// To whom.
        actor: ActorId,
        /// Which.
        signal: Signal,
    },
    /// `restart A`
    Restart(ActorId),
    /// `eof A`
    Eof(ActorId),
    /// `drop A->B N` and its like.
    Fault {
        /// From whom to whom.
        way: Direction,
        /// What happens to datagrams on that way.
        fault: Fault,
    },
    /// `cut A B`: nothing passes in either direction, until `heal`.
    Cut(Peer, Peer),
    /// `heal`: undoes every fault.
    Heal,
    /// `sleep D`; never stretched.
    Sleep(Duration),
    /// `set NAME=VALUE`
    Set {
        /// The variable.
        name: String,
        /// Template.
        value: String,
    },
    /// `mark [A...]`; empty means everybody, the server included.
    Mark(Vec<ActorId>),
    /// `check "TITLE" [points=N]`: what follows, up to the next one or the end of the case, is a part of its own.
    Check {
        /// Its title.
        title: String,
        /// What it is worth.
        points: Option<u32>,
    },
    /// `A> LINE`
    Type {
        /// Who types.
        who: Who,
        /// Template: what is typed, byte for byte, without the end of the line.
        line: String,
    },
    /// `A< PATTERN` and its like.
    Expect {
        /// Whose output.
        who: Who,
        /// `<`, `<~` or `!<`.
        how: ExpectMode,
        /// The limit or window written in the line; [`ExpectMode::default_limit`] without.
        limit: Option<Duration>,
        /// What to look for.
        pattern: Pattern,
    },
    /// `A exits [STATUS]`
    Exits {
        /// Who is to end.
        who: Who,
        /// With what exit status; any without.
        status: Option<u8>,
    },
    /// `A alive`
    Alive(Who),
}

impl Step {
    /// Whether it does something to the network.
    #[must_use]
    pub fn changes_network(&self) -> bool {
        matches!(self, Self::Fault { .. } | Self::Cut(..) | Self::Heal)
    }
}

/// A client to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewClient {
    /// What the file calls it.
    pub actor: ActorId,
    /// Template: what it calls itself. Not checked: how a program refuses a bad name may be what is tested.
    pub name: String,
}

/// Somebody in a scenario.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActorId {
    /// The server.
    Server,
    /// A client, by what the file calls it.
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

/// Whom an actor line means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// `*`: every client.
    EveryClient,
    /// These; at least one, none twice.
    Each(Vec<ActorId>),
}

/// A signal, or what it stands for where there are none.
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

/// One direction between two ends of the network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Direction {
    /// Who sends.
    pub from: Peer,
    /// Who would receive.
    pub to: Peer,
}

/// One end of a disturbed way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// `*`
    Anybody,
    /// This one.
    Actor(ActorId),
}

/// The text of one file.
#[derive(PartialEq, Eq)]
pub struct SourceFile {
    /// As it was asked for; an included one is relative to the same folder as the first.
    pub path: PathBuf,
    /// All of it.
    pub text: String,
}

/// A place in a file. Cheap to clone; knows its file.
#[derive(Clone, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub source: Arc<SourceFile>,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The first byte in the file.
    pub start: usize,
    /// The byte behind the last one.
    pub end: usize,
}

impl Span {
    /// A place in the line that begins at byte `start` of the file. Characters that are partly in the range are covered.
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

    /// The whole line that it begins on, without its end.
    #[must_use]
    pub fn source_line(&self) -> &str {
        let text = self.source.text.as_str();
        let head = text.get(..self.start).unwrap_or(text);
        let begin = head.rfind('\n').map_or(0, |at| at + 1);
        text.get(begin..).and_then(|rest| rest.lines().next()).unwrap_or("")
    }

    /// Exactly what it covers.
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
