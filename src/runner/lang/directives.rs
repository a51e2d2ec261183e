//! The table of directives: the word, the usage and the parser of each.
//!
//! Names are only recorded as mentions here. The resolver looks them up.

use std::ops::Range;
use std::str::FromStr;
use std::time::Duration;

use strum::VariantArray;

use crate::proto::name::Name;
use crate::proto::suggest::nearest;
use crate::runner::lang::ast::{ActorId, Direction, Fault, Need, NewClient, Peer, Percent, Signal, Step, Visibility};
use crate::runner::lang::lexer::{Word, words};
use crate::runner::lang::parser::{self, CaseHeader, Item, Mention};
use crate::script::directive::{assignment, duration};
use crate::script::syntax_error::SyntaxError;

/// A kind of line that is not an actor line, by its first word.
pub(crate) struct Directive {
    pub(crate) word: &'static str,
    /// The arguments, as shown in help.
    pub(crate) usage: &'static str,
    parse: fn(&mut ArgumentReader<'_>) -> Result<Item, SyntaxError>,
}

const fn directive(
    word: &'static str,
    usage: &'static str,
    parse: fn(&mut ArgumentReader<'_>) -> Result<Item, SyntaxError>,
) -> Directive {
    Directive { word, usage, parse }
}

/// All directives, in alphabetical order.
pub(crate) static DIRECTIVES: &[Directive] = &[
    directive("case", "\"TITLE\" [points=N] [needs=groups,offline,receipts,faults] [visibility=hidden]", case),
    directive("check", "\"TITLE\" [points=N]", check),
    directive("client", "ACTOR[=NAME]... [-- ARGS]", client),
    directive("cut", "A B", |words| Ok(Item::Step(Step::Cut(words.peer()?, words.peer()?)))),
    directive("delay", "A->B 50ms", |words| fault(words, |words| Ok(Fault::Delay(words.duration()?)))),
    directive("drop", "A->B N", |words| fault(words, |words| Ok(Fault::Drop(words.count()?)))),
    directive("duplicate", "A->B 10%", |words| fault(words, |words| Ok(Fault::Duplicate(words.percent()?)))),
    directive("eof", "A", |words| Ok(Item::Step(Step::Eof(words.actor()?)))),
    directive("hangup", "A", |words| signal(words, Signal::Hangup)),
    directive("heal", "", |_| Ok(Item::Step(Step::Heal))),
    directive("include", "\"FILE\"", include),
    directive("interrupt", "A", |words| signal(words, Signal::Interrupt)),
    directive("kill", "A", |words| signal(words, Signal::Kill)),
    directive("loss", "A->B 30%", |words| fault(words, |words| Ok(Fault::Loss(words.percent()?)))),
    directive("mark", "[A...]", mark),
    directive("pause", "A", |words| signal(words, Signal::Pause)),
    directive("reorder", "A->B 10%", |words| fault(words, |words| Ok(Fault::Reorder(words.percent()?)))),
    directive("restart", "A", |words| Ok(Item::Step(Step::Restart(words.actor()?)))),
    directive("resume", "A", |words| signal(words, Signal::Resume)),
    directive("server", "[ARGS]", server),
    directive("set", "NAME=VALUE", |_| Err(SyntaxError::new("`set` needs a name and a value", 0..0))),
    directive("sleep", "D", |words| Ok(Item::Step(Step::Sleep(words.duration()?)))),
    directive("term", "A", |words| signal(words, Signal::Term)),
];

impl Directive {
    pub(crate) fn find(word: &str) -> Option<&'static Self> {
        DIRECTIVES.iter().find(|directive| directive.word == word)
    }

    /// Parses the arguments from byte `from` of the line on, and adds the actors in them to `mentions`.
    pub(crate) fn parse(
        &'static self,
        line: &str,
        from: usize,
        mentions: &mut Vec<Mention>,
    ) -> Result<Item, SyntaxError> {
        if self.word == "set" {
            // The value is the rest of the line, verbatim.
            let (name, value) = assignment(&line[from..]).map_err(|error| error.shift(from))?;
            return Ok(Item::Step(Step::Set { name: name.to_owned(), value: value.to_owned() }));
        }
        let list = words(line, from)?;
        let end = list.last().map_or(from, |word| word.range.end);
        let head = from.saturating_sub(self.word.len())..from;
        let mut words = ArgumentReader { directive: self, head, list: list.into_iter(), end, mentions };
        let meaning = (self.parse)(&mut words)?;
        match words.list.next() {
            Some(word) => {
                let error = SyntaxError::new(format!("`{}` ends before this word", self.word), word.range.start..end);
                Err(error.help(words.usage()))
            }
            None => Ok(meaning),
        }
    }
}

/// Reads the words after a directive one by one.
pub(crate) struct ArgumentReader<'a> {
    directive: &'static Directive,
    /// The place of the directive itself.
    head: Range<usize>,
    list: std::vec::IntoIter<Word>,
    /// Offset after the last word.
    end: usize,
    mentions: &'a mut Vec<Mention>,
}

impl ArgumentReader<'_> {
    fn usage(&self) -> String {
        format!("write `{}`", format!("{} {}", self.directive.word, self.directive.usage).trim_end())
    }

    fn word(&mut self, what: &str) -> Result<Word, SyntaxError> {
        let missing = || SyntaxError::new(format!("`{}` needs {what}", self.directive.word), self.end..self.end + 1);
        self.list.next().ok_or_else(|| missing().help(self.usage()))
    }

    fn actor(&mut self) -> Result<ActorId, SyntaxError> {
        let word = self.word("an actor")?;
        self.mention(&word)
    }

    fn mention(&mut self, word: &Word) -> Result<ActorId, SyntaxError> {
        let (actor, mention) = Mention::of(word)?;
        self.mentions.push(mention);
        Ok(actor)
    }

    fn peer(&mut self) -> Result<Peer, SyntaxError> {
        let word = self.word("two actors")?;
        parser::peer(&word, self.mentions)
    }

    fn direction(&mut self) -> Result<Direction, SyntaxError> {
        let mut word = self.word("a way such as `x->y`")?;
        // Blanks around the arrow are allowed.
        while !word.text.contains("->") || word.text.ends_with("->") {
            let Some(next) =
                self.list.as_slice().first().filter(|next| word.text.ends_with("->") || next.text.starts_with("->"))
            else {
                break;
            };
            word = Word { text: format!("{}{}", word.text, next.text), range: word.range.start..next.range.end };
            self.list.next();
        }
        let Some((from, to)) = word.text.split_once("->").filter(|(from, to)| !from.is_empty() && !to.is_empty())
        else {
            let error = SyntaxError::new(format!("`{}` is no way from one to another", word.text), word.range);
            return Err(error.help("write `x->y`, `*->y` or `x->*`"));
        };
        let plain = word.range.len() == word.text.len();
        let place = |at: Range<usize>| {
            if plain { word.range.start + at.start..word.range.start + at.end } else { word.range.clone() }
        };
        let second = word.text.len() - to.len()..word.text.len();
        Ok(Direction {
            from: parser::peer(&Word { text: from.to_owned(), range: place(0..from.len()) }, self.mentions)?,
            to: parser::peer(&Word { text: to.to_owned(), range: place(second) }, self.mentions)?,
        })
    }

    fn count(&mut self) -> Result<u32, SyntaxError> {
        /// More datagrams than any case sends.
        const MAX: u32 = 1_000_000;
        let word = self.word("a number of datagrams")?;
        let count = word.text.parse().ok().filter(|count| (1..=MAX).contains(count));
        count.ok_or_else(|| {
            SyntaxError::new(format!("`{}` is no number of datagrams", word.text), word.range)
                .help("write 1 to 1000000")
        })
    }

    fn percent(&mut self) -> Result<Percent, SyntaxError> {
        let word = self.word("a percentage")?;
        Percent::parse(&word.text).ok_or_else(|| {
            let error = SyntaxError::new(format!("`{}` is no percentage", word.text), word.range);
            error.help("write `0%` to `100%`, with at most two decimals")
        })
    }

    fn duration(&mut self) -> Result<Duration, SyntaxError> {
        let word = self.word("a duration")?;
        let read = duration(&word.text);
        read.map_err(|error| SyntaxError { range: word.range, ..error })
    }

    /// Reads `key=value` words up to the end. Each key must be known and appear once.
    fn options(&mut self, known: &[&'static str]) -> Result<Vec<(&'static str, Word)>, SyntaxError> {
        let mut options: Vec<(&str, Word)> = Vec::new();
        for word in self.list.by_ref() {
            let Some((key, value)) = word.text.split_once('=') else {
                let error = SyntaxError::new(format!("`{}` is no option", word.text), word.range);
                return Err(error.help("a title of several words stands in quotes, an option is written `points=2`"));
            };
            let Some(&key) = known.iter().find(|known| **known == key) else {
                let help = match nearest(key, known.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("known are: {}", known.join(", ")),
                };
                return Err(SyntaxError::new(format!("`{key}` is no option here"), word.range).help(help));
            };
            if options.iter().any(|(before, _)| *before == key) {
                return Err(SyntaxError::new(format!("`{key}` stands here twice"), word.range));
            }
            options.push((key, Word { text: value.to_owned(), range: word.range }));
        }
        Ok(options)
    }
}

fn signal(words: &mut ArgumentReader<'_>, signal: Signal) -> Result<Item, SyntaxError> {
    Ok(Item::Step(Step::Signal { actor: words.actor()?, signal }))
}

fn fault(
    words: &mut ArgumentReader<'_>,
    fault: fn(&mut ArgumentReader<'_>) -> Result<Fault, SyntaxError>,
) -> Result<Item, SyntaxError> {
    Ok(Item::Step(Step::Fault { direction: words.direction()?, fault: fault(words)? }))
}

fn mark(words: &mut ArgumentReader<'_>) -> Result<Item, SyntaxError> {
    let mut actors = Vec::new();
    while let Some(word) = words.list.next() {
        actors.push(words.mention(&word)?);
    }
    Ok(Item::Step(Step::Mark(actors)))
}

fn server(words: &mut ArgumentReader<'_>) -> Result<Item, SyntaxError> {
    let args: Vec<String> = words.list.by_ref().map(|word| word.text).collect();
    let range = words.head.clone();
    words.mentions.push(Mention::Start { actor: ActorId::Server, is_text: is_text(&args), range });
    Ok(Item::Step(Step::Server { args }))
}

fn client(words: &mut ArgumentReader<'_>) -> Result<Item, SyntaxError> {
    let heads: Vec<Word> = words.list.by_ref().take_while(|word| word.text != "--").collect();
    let args: Vec<String> = words.list.by_ref().map(|word| word.text).collect();
    if heads.is_empty() {
        let error = SyntaxError::new("`client` needs an actor", words.end..words.end + 1);
        return Err(error.help(words.usage()));
    }
    // All heads are parsed before the first mistake is returned, because later lines must find the other actors.
    let clients: Vec<_> = heads.iter().map(|head| new_client(head, is_text(&args), words.mentions)).collect();
    Ok(Item::Step(Step::Client { clients: clients.into_iter().collect::<Result<_, _>>()?, args }))
}

/// `ACTOR[=NAME]`
fn new_client(head: &Word, is_text: bool, mentions: &mut Vec<Mention>) -> Result<NewClient, SyntaxError> {
    let (actor, name) = head.text.split_once('=').unwrap_or((&head.text, &head.text));
    let error = |message: String| SyntaxError::new(message, head.range.clone());
    if name.is_empty() {
        return Err(error(format!("`{actor}` has no name")).help("write `x=NAME`, or `x` alone"));
    }
    if actor.starts_with('-') {
        return Err(error(format!("`{actor}` is no actor")).help("arguments stand behind ` -- `"));
    }
    if actor == "server" || Directive::find(actor).is_some() {
        let error = error(format!("`{actor}` is a word of the language and cannot be an actor"));
        return Err(error.help(match actor {
            "server" => "a line `server` starts the server, and no client has its name".to_owned(),
            _ => format!("write `client x={actor}` to start a client of that name"),
        }));
    }
    let checked = Name::new(actor).map_err(|bad| error(bad.to_string().trim_end_matches('.').to_owned()))?;
    let actor = ActorId::Client(checked);
    mentions.push(Mention::Start { actor: actor.clone(), is_text, range: head.range.clone() });
    Ok(NewClient { actor, name: name.to_owned() })
}

/// Whether an actor with these arguments shows text instead of events.
fn is_text(args: &[String]) -> bool {
    args.iter().any(|arg| arg == "--text")
}

fn include(words: &mut ArgumentReader<'_>) -> Result<Item, SyntaxError> {
    let word = words.word("a file")?;
    Ok(Item::Include { file: word.text, range: word.range })
}

fn title(words: &mut ArgumentReader<'_>) -> Result<String, SyntaxError> {
    let word = words.word("a title")?;
    match word.text.trim() {
        "" => Err(SyntaxError::new("this title is empty", word.range)),
        title => Ok(title.to_owned()),
    }
}

fn points(word: &Word) -> Result<u32, SyntaxError> {
    /// Keeps sums of points far from overflow.
    const MAX: u32 = 1_000_000;
    let points = word.text.parse().ok().filter(|points| *points <= MAX);
    let error = || SyntaxError::new(format!("`{}` is no number of points", word.text), word.range.clone());
    points.ok_or_else(|| error().help("write `points=` and 0 to 1000000"))
}

/// Parses a word of an enum and lists or suggests the known words on a mistake.
fn one_of<T>(text: &str, word: &Word) -> Result<T, SyntaxError>
where
    T: Copy + FromStr + VariantArray + Into<&'static str>,
{
    text.parse().map_err(|_| {
        let known: Vec<&'static str> = T::VARIANTS.iter().map(|value| (*value).into()).collect();
        let help = match nearest(text, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known are: {}", known.join(", ")),
        };
        SyntaxError::new(format!("`{text}` is not known here"), word.range.clone()).help(help)
    })
}

fn check(words: &mut ArgumentReader<'_>) -> Result<Item, SyntaxError> {
    let title = title(words)?;
    let options = words.options(&["points"])?;
    let points = options.first().map(|(_, word)| points(word)).transpose()?;
    Ok(Item::Step(Step::Check { title, points }))
}

fn case(words: &mut ArgumentReader<'_>) -> Result<Item, SyntaxError> {
    let title = title(words)?;
    let (mut worth, mut needs, mut visibility) = (None, Vec::<Need>::new(), Visibility::default());
    for (key, word) in words.options(&["points", "needs", "visibility"])? {
        match key {
            "points" => worth = Some(points(&word)?),
            "needs" => {
                let list = word.text.split(',').map(|text| one_of(text, &word));
                needs = list.collect::<Result<_, _>>()?;
            }
            _ => visibility = one_of(&word.text, &word)?,
        }
    }
    Ok(Item::Case(CaseHeader { title, points: worth, needs, visibility }))
}
