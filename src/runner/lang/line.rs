//! One line of a scenario: an actor line or a directive.

use crate::proto::command::COMMANDS;
use crate::proto::suggest::nearest;
use crate::runner::lang::ast::{Step, Who};
use crate::runner::lang::directives::{DIRECTIVES, Directive, Meaning};
use crate::runner::lang::lexer::{Word, words};
use crate::runner::lang::scope::ActorScope;
use crate::script::directive::Expectation;
use crate::script::syntax_error::SyntaxError;

/// Parses a line without its end; `None` for blank lines and comments. Places in a mistake count in the line.
pub(crate) fn parse(line: &str, cast: &mut ActorScope) -> Result<Option<Meaning>, SyntaxError> {
    let begin = line.len() - line.trim_start().len();
    let text = &line[begin..];
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let length = text.find([' ', '\t', '<', '>', '!']).unwrap_or(text.len());
    let head = Word { text: text[..length].to_owned(), range: begin..begin + length };
    let rest = &text[length..];
    let second = rest.split_whitespace().next().unwrap_or("");
    let signed = SIGNS.iter().any(|sign| second.starts_with(sign));
    let step = if rest.starts_with('>') {
        types(&head, line, cast)
    } else if rest.starts_with('<') || rest.starts_with("!<") {
        looks(&head, line, cast)
    } else {
        match Directive::find(&head.text) {
            Some(directive) if head.text != "server" || !is_state(second) && !signed => {
                return directive.parse(line, head.range.end, cast).map(Some);
            }
            _ if is_state(second) => states(&head, line, cast),
            _ => Err(unknown(&head, rest, cast)),
        }
    };
    step.map(|step| Some(Meaning::Step(step)))
}

/// What stands right behind the actor of a line that types or looks.
const SIGNS: [&str; 3] = ["<", ">", "!<"];

fn is_state(word: &str) -> bool {
    matches!(word, "exits" | "alive")
}

/// `x> LINE`
fn types(head: &Word, line: &str, cast: &mut ActorScope) -> Result<Step, SyntaxError> {
    let who = who(head, "> LINE", cast)?;
    let behind = head.range.end + 1;
    let typed = &line[behind..];
    // Exactly one blank belongs to the arrow.
    match typed.strip_prefix([' ', '\t']) {
        Some(typed) => Ok(Step::Type { who, line: typed.to_owned() }),
        None if typed.is_empty() => Ok(Step::Type { who, line: String::new() }),
        None => {
            let wrong = SyntaxError::new("a blank must follow `>`", behind..line.len());
            Err(wrong.help(format!("write `{}> LINE`", head.text)))
        }
    }
}

/// `x< PATTERN` and its like.
fn looks(head: &Word, line: &str, cast: &mut ActorScope) -> Result<Step, SyntaxError> {
    let at = head.range.end;
    let who = who(head, "< PATTERN", cast)?;
    let Expectation { how, limit, pattern } = Expectation::parse(&line[at..]).map_err(|wrong| wrong.shift(at))?;
    if pattern.is_json()
        && let Some(actor) = cast.without_events(&who)
    {
        let begin = line.len() - line[at..].find('{').map_or(0, |brace| line[at..].len() - brace);
        let message = format!("`{actor}` is started with `--text` and has no events for a JSON pattern");
        return Err(
            SyntaxError::new(message, begin..line.trim_end().len()).help("write `\\{` to begin a literal with a brace")
        );
    }
    Ok(Step::Expect { who, how, limit, pattern })
}

/// `x exits [STATUS]` and `x alive`.
fn states(head: &Word, line: &str, cast: &mut ActorScope) -> Result<Step, SyntaxError> {
    let who = cast.who(head)?;
    let mut words = words(line, head.range.end)?.into_iter();
    let alive = words.next().is_some_and(|word| word.text == "alive");
    let status = match if alive { None } else { words.next() } {
        None => None,
        Some(word) => Some(word.text.parse().map_err(|_| {
            let wrong = SyntaxError::new(format!("`{}` is no exit status", word.text), word.range.clone());
            wrong.help(format!("write `{} exits`, or a number of 0 to 255 behind it", head.text))
        })?),
    };
    if let Some(word) = words.next() {
        let state = if alive { "alive" } else { "exits" };
        return Err(SyntaxError::new(format!("`{state}` ends before this word"), word.range));
    }
    Ok(if alive { Step::Alive(who) } else { Step::Exits { who, status } })
}

fn who(head: &Word, sign: &str, cast: &mut ActorScope) -> Result<Who, SyntaxError> {
    if head.text.is_empty() {
        let wrong = SyntaxError::new("an actor is missing here", head.range.start..head.range.end + 1);
        return Err(wrong.help(format!("write `x{sign}`, `x,y{sign}` or `*{sign}`")));
    }
    cast.who(head)
}

/// What to say about a line that nobody understands.
fn unknown(head: &Word, rest: &str, cast: &mut ActorScope) -> SyntaxError {
    let range = head.range.clone();
    let name = &head.text;
    let next = rest.trim_start();
    if let Some(sign) = SIGNS.into_iter().find(|sign| next.starts_with(sign)) {
        let gap = range.end..range.end + (rest.len() - next.len()) + sign.len();
        return SyntaxError::new(format!("no blank may stand before `{sign}`"), gap)
            .help(format!("write `{name}{sign}`"));
    }
    if name.ends_with(',') {
        let range = range.end..range.end + (rest.len() - next.len());
        return SyntaxError::new("no blank may stand in a list of actors", range).help("write `x,y`");
    }
    if cast.has(name) || name == "*" || name.contains(',') {
        let help = format!("write `{name}> LINE`, `{name}< PATTERN`, `{name} exits` or `{name} alive`");
        return SyntaxError::new(format!("nothing is said about `{name}` here"), range).help(help);
    }
    let wrong = SyntaxError::new(format!("`{name}` is no directive"), range);
    if name == "wait" {
        return wrong.help("a scenario waits with `x< PATTERN`; `wait` is a word of scripts of one client");
    }
    if COMMANDS.iter().any(|command| command.name == name) {
        return wrong.help(format!("write `x> {name}` to let the actor `x` type it"));
    }
    match nearest(name, DIRECTIVES.iter().map(|directive| directive.word)) {
        Some(meant) => wrong.help(format!("did you mean `{meant}`?")),
        None => wrong.help("a line is a directive, or an actor line such as `x> LINE` or `x< PATTERN`"),
    }
}
