//! The parser: turns the tokens of one line into an [`Item`]. It sees no other line.
//!
//! A name in a line is only a [`Mention`] here. The resolver checks whether the actor was started.

use std::ops::Range;

use crate::proto::command::COMMANDS;
use crate::proto::name::Name;
use crate::proto::suggest::nearest;
use crate::runner::lang::ast::{ActorId, Need, Peer, Step, Visibility, Who};
use crate::runner::lang::directives::{DIRECTIVES, Directive};
use crate::runner::lang::lexer::{self, LineHead, Sign, Word, words};
use crate::script::directive::Expectation;
use crate::script::syntax_error::SyntaxError;

/// A parsed line. A line with an error may still have an item or mentions, so that one mistake causes no others.
#[derive(Debug)]
pub(crate) struct ParsedLine {
    pub(crate) item: Option<Item>,
    pub(crate) mentions: Vec<Mention>,
    pub(crate) error: Option<SyntaxError>,
}

/// A line by its effect on the scenario.
#[derive(Debug)]
pub(crate) enum Item {
    Step(Step),
    Case(CaseHeader),
    Include {
        file: String,
        range: Range<usize>,
    },
    /// The first word is not a directive. The resolver reports `error`, or another mistake when the word is an actor.
    Unknown {
        word: Word,
        error: SyntaxError,
    },
}

/// A `case` line.
#[derive(Debug, Default)]
pub(crate) struct CaseHeader {
    pub(crate) title: String,
    pub(crate) points: Option<u32>,
    pub(crate) needs: Vec<Need>,
    pub(crate) visibility: Visibility,
}

/// A name in a line and its place there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mention {
    /// The line starts this actor, which shows text or events.
    Start { actor: ActorId, is_text: bool, range: Range<usize> },
    /// The actor must be started before.
    Use { actor: ActorId, range: Range<usize> },
    /// At least one client must be started before.
    EveryClient { range: Range<usize> },
    /// These actors must show events, because the pattern at this place is JSON.
    Events { who: Who, range: Range<usize> },
}

impl Mention {
    /// The actor named by a word, and the mention of its use.
    pub(crate) fn of(word: &Word) -> Result<(ActorId, Self), SyntaxError> {
        let range = word.range.clone();
        let actor = match word.text.as_str() {
            "server" => ActorId::Server,
            text => ActorId::Client(Name::new(text).map_err(|bad| {
                let message = bad.to_string();
                SyntaxError::new(message.trim_end_matches('.'), range.clone())
            })?),
        };
        Ok((actor.clone(), Self::Use { actor, range }))
    }
}

/// Parses a line without its end. `None` for blank lines and comments. Places are byte offsets in the line.
pub(crate) fn parse_line(line: &str) -> Option<ParsedLine> {
    let head = lexer::head(line)?;
    let mut parser = LineParser { line, mentions: Vec::new() };
    let (item, error) = match parser.item(&head) {
        Ok(item) => (Some(item), None),
        // A bad `case` line still begins a case, so that its actors do not mix with those of the previous case.
        Err(error) if head.word.text == "case" && head.sign.is_none() => {
            (Some(Item::Case(CaseHeader::default())), Some(error))
        }
        Err(error) => (None, Some(error)),
    };
    Some(ParsedLine { item, mentions: parser.mentions, error })
}

struct LineParser<'a> {
    line: &'a str,
    mentions: Vec<Mention>,
}

impl LineParser<'_> {
    fn item(&mut self, head: &LineHead) -> Result<Item, SyntaxError> {
        let LineHead { word, sign } = head;
        let rest = &self.line[word.range.end..];
        let second = rest.split_whitespace().next().unwrap_or("");
        let is_actor_line = is_state(second) || Sign::prefix_of(second).is_some();
        match (sign, Directive::find(&word.text)) {
            (Some(Sign::Type), _) => self.types(word).map(Item::Step),
            (Some(Sign::Expect), _) => self.expects(word).map(Item::Step),
            (None, Some(directive)) if word.text != "server" || !is_actor_line => {
                directive.parse(self.line, word.range.end, &mut self.mentions)
            }
            _ if is_state(second) => self.states(word).map(Item::Step),
            _ => unknown(word, rest),
        }
    }

    /// `x> LINE`
    fn types(&mut self, head: &Word) -> Result<Step, SyntaxError> {
        let who = self.who(head, "> LINE")?;
        let behind = head.range.end + 1;
        let typed = &self.line[behind..];
        // Exactly one blank belongs to the arrow.
        match typed.strip_prefix([' ', '\t']) {
            Some(typed) => Ok(Step::Type { who, line: typed.to_owned() }),
            None if typed.is_empty() => Ok(Step::Type { who, line: String::new() }),
            None => {
                let error = SyntaxError::new("a blank must follow `>`", behind..self.line.len());
                Err(error.help(format!("write `{}> LINE`", head.text)))
            }
        }
    }

    /// `x< PATTERN`, `x<~ PATTERN` and `x!< PATTERN`
    fn expects(&mut self, head: &Word) -> Result<Step, SyntaxError> {
        let at = head.range.end;
        let who = self.who(head, "< PATTERN")?;
        let text = &self.line[at..];
        let Expectation { mode, limit, pattern } = Expectation::parse(text).map_err(|error| error.shift(at))?;
        if pattern.is_json() {
            let begin = text.find('{').map_or(self.line.len(), |brace| at + brace);
            let range = begin..self.line.trim_end().len();
            self.mentions.push(Mention::Events { who: who.clone(), range });
        }
        Ok(Step::Expect { who, mode, limit, pattern })
    }

    /// `x exits [STATUS]` and `x alive`
    fn states(&mut self, head: &Word) -> Result<Step, SyntaxError> {
        let who = self.names(head)?;
        let mut words = words(self.line, head.range.end)?.into_iter();
        let alive = words.next().is_some_and(|word| word.text == "alive");
        let status = match if alive { None } else { words.next() } {
            None => None,
            Some(word) => Some(word.text.parse().map_err(|_| {
                let error = SyntaxError::new(format!("`{}` is no exit status", word.text), word.range.clone());
                error.help(format!("write `{} exits`, or a number of 0 to 255 behind it", head.text))
            })?),
        };
        if let Some(word) = words.next() {
            let state = if alive { "alive" } else { "exits" };
            return Err(SyntaxError::new(format!("`{state}` ends before this word"), word.range));
        }
        Ok(if alive { Step::Alive(who) } else { Step::Exits { who, status } })
    }

    /// Parses the actors before a sign.
    fn who(&mut self, head: &Word, sign: &str) -> Result<Who, SyntaxError> {
        if head.text.is_empty() {
            let error = SyntaxError::new("an actor is missing here", head.range.start..head.range.end + 1);
            return Err(error.help(format!("write `x{sign}`, `x,y{sign}` or `*{sign}`")));
        }
        self.names(head)
    }

    /// Parses the actors of a line: a name, names separated by commas, or `*`.
    fn names(&mut self, word: &Word) -> Result<Who, SyntaxError> {
        if word.text == "*" {
            self.mentions.push(Mention::EveryClient { range: word.range.clone() });
            return Ok(Who::EveryClient);
        }
        let mut at = word.range.start;
        let mut actors = Vec::new();
        for text in word.text.split(',') {
            let range = at..at + text.len();
            at = range.end + 1;
            if text.is_empty() || text == "*" {
                let error = SyntaxError::new("a name is expected between commas", range);
                return Err(error.help("write `x,y`, without blanks, or `*` alone"));
            }
            let (actor, mention) = Mention::of(&Word { text: text.to_owned(), range: range.clone() })?;
            if actors.contains(&actor) {
                return Err(SyntaxError::new(format!("`{actor}` stands here twice"), range));
            }
            self.mentions.push(mention);
            actors.push(actor);
        }
        Ok(Who::Each(actors))
    }
}

fn is_state(word: &str) -> bool {
    matches!(word, "exits" | "alive")
}

/// Parses one end of a faulty direction: an actor, or `*`.
pub(crate) fn peer(word: &Word, mentions: &mut Vec<Mention>) -> Result<Peer, SyntaxError> {
    if word.text == "*" {
        return Ok(Peer::Anybody);
    }
    let (actor, mention) = Mention::of(word)?;
    mentions.push(mention);
    Ok(Peer::Actor(actor))
}

/// Finds the likely mistake in a line that is neither a directive nor an actor line.
fn unknown(head: &Word, rest: &str) -> Result<Item, SyntaxError> {
    let range = head.range.clone();
    let name = &head.text;
    let next = rest.trim_start();
    let blanks = rest.len() - next.len();
    if let Some(sign) = Sign::prefix_of(next) {
        let gap = range.end..range.end + blanks + sign.len();
        let error = SyntaxError::new(format!("no blank may stand before `{sign}`"), gap);
        return Err(error.help(format!("write `{name}{sign}`")));
    }
    if name.ends_with(',') {
        let range = range.end..range.end + blanks;
        return Err(SyntaxError::new("no blank may stand in a list of actors", range).help("write `x,y`"));
    }
    if name == "*" || name.contains(',') {
        return Err(actor_alone(head));
    }
    Ok(Item::Unknown { word: head.clone(), error: no_directive(head) })
}

/// The mistake of a line that names actors and has no sign and no state.
pub(crate) fn actor_alone(head: &Word) -> SyntaxError {
    let name = &head.text;
    let help = format!("write `{name}> LINE`, `{name}< PATTERN`, `{name} exits` or `{name} alive`");
    SyntaxError::new(format!("nothing is said about `{name}` here"), head.range.clone()).help(help)
}

fn no_directive(head: &Word) -> SyntaxError {
    let name = &head.text;
    let error = SyntaxError::new(format!("`{name}` is no directive"), head.range.clone());
    if name == "wait" {
        return error.help("a scenario waits with `x< PATTERN`; `wait` is a word of scripts of one client");
    }
    if COMMANDS.iter().any(|command| command.name == name) {
        return error.help(format!("write `x> {name}` to let the actor `x` type it"));
    }
    match nearest(name, DIRECTIVES.iter().map(|directive| directive.word)) {
        Some(meant) => error.help(format!("did you mean `{meant}`?")),
        None => error.help("a line is a directive, or an actor line such as `x> LINE` or `x< PATTERN`"),
    }
}
