//! A literal made to fit another line: gaps and captures stay, and so does each variable whose value is still there.

use crate::script::pattern::literal::LiteralPart;
use crate::script::vars::Vars;

/// The most cells of the table: literals and lines longer than 2,000 characters each are not adapted.
pub(crate) const MAX_CELLS: usize = 4 << 20;

/// What of a literal is laid beside the line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Symbol {
    /// A character, and the piece it is from.
    Char(char, usize),
    /// Takes any characters.
    Gap(usize),
    /// A variable without a value to see.
    Nothing(usize),
}

/// What became of a symbol, or of a character of the line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum EditStep {
    /// A character of the line stands where one of this piece stood; the same one?
    Text(char, usize, bool),
    /// A character of the line where none stood.
    New(char),
    /// A character of this piece is gone.
    Gone(usize),
    /// A gap, or a variable without a value, of this piece.
    Whole(usize),
}

/// The literal, as it is written, whose text is that of the line where it differed, with as few changes as can be.
/// `None` when both are too long to say.
pub(crate) fn adapt(pieces: &[LiteralPart], vars: &Vars, line: &str) -> Option<String> {
    let symbols = symbols(pieces, vars);
    let line: Vec<char> = line.chars().collect();
    let steps = steps(&symbols, &line)?;
    Some(write(pieces, &symbols, &steps))
}

fn symbols(pieces: &[LiteralPart], vars: &Vars) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            LiteralPart::Text(text) => symbols.extend(text.chars().map(|c| Symbol::Char(c, at))),
            LiteralPart::Gap(_) => symbols.push(Symbol::Gap(at)),
            LiteralPart::Var(name) => match vars.get(name) {
                Some("") => symbols.push(Symbol::Nothing(at)),
                Some(value) => symbols.extend(value.chars().map(|c| Symbol::Char(c, at))),
                None => symbols.extend(format!("${{{name}}}").chars().map(|c| Symbol::Char(c, at))),
            },
        }
    }
    symbols
}

/// The cheapest way from the literal to the line: a character that is new or gone costs one, what a gap takes nothing.
fn steps(symbols: &[Symbol], line: &[char]) -> Option<Vec<EditStep>> {
    let width = line.len() + 1;
    if width.checked_mul(symbols.len() + 1).is_none_or(|cells| cells > MAX_CELLS) {
        return None;
    }
    let mut costs = vec![0_u32; width * (symbols.len() + 1)];
    for i in 0..=symbols.len() {
        for j in 0..width {
            let at = i * width + j;
            let new = (j > 0).then(|| costs[at - 1] + 1);
            costs[at] = match i.checked_sub(1).map(|before| symbols[before]) {
                None => new.unwrap_or(0),
                Some(Symbol::Gap(_)) => (j > 0).then(|| costs[at - 1]).into_iter().fold(costs[at - width], u32::min),
                Some(Symbol::Nothing(_)) => new.into_iter().fold(costs[at - width], u32::min),
                Some(Symbol::Char(c, _)) => {
                    let other = (j > 0).then(|| costs[at - width - 1] + changed(line[j - 1], c));
                    new.into_iter().chain(other).fold(costs[at - width] + 1, u32::min)
                }
            };
        }
    }
    let (mut steps, mut i, mut j) = (Vec::new(), symbols.len(), line.len());
    while (i, j) != (0, 0) {
        let at = i * width + j;
        let cost = costs[at];
        let before = (j > 0).then(|| line[j - 1]);
        match (i.checked_sub(1).map(|before| symbols[before]), before) {
            (Some(Symbol::Char(c, piece)), Some(other)) if costs[at - width - 1] + changed(other, c) == cost => {
                steps.push(EditStep::Text(other, piece, other == c));
                (i, j) = (i - 1, j - 1);
            }
            (Some(Symbol::Char(_, piece)), _) if costs[at - width] + 1 == cost => {
                steps.push(EditStep::Gone(piece));
                i -= 1;
            }
            // A gap takes as little as it can.
            (Some(Symbol::Gap(piece) | Symbol::Nothing(piece)), _) if costs[at - width] == cost => {
                steps.push(EditStep::Whole(piece));
                i -= 1;
            }
            (Some(Symbol::Gap(_)), _) => j -= 1,
            (_, Some(other)) => {
                steps.push(EditStep::New(other));
                j -= 1;
            }
            // The first column has only ways up.
            (_, None) => return None,
        }
    }
    steps.reverse();
    Some(steps)
}

/// What another character in the place of one costs: as much as one that is gone and one that is new, so that a gap
/// rather takes it.
fn changed(one: char, other: char) -> u32 {
    if one == other { 0 } else { 2 }
}

fn write(pieces: &[LiteralPart], symbols: &[Symbol], steps: &[EditStep]) -> String {
    let (mut written, mut text) = (String::new(), String::new());
    let mut at = 0;
    while let Some(step) = steps.get(at) {
        at += 1;
        match *step {
            EditStep::Text(c, piece, _) => match &pieces[piece] {
                LiteralPart::Var(name) if let Some(length) = intact(symbols, &steps[at - 1..], piece) => {
                    flush(&mut written, &mut text);
                    written.extend(["${", name, "}"]);
                    at += length - 1;
                }
                _ => text.push(c),
            },
            EditStep::New(c) => text.push(c),
            EditStep::Gone(_) => {}
            EditStep::Whole(piece) => {
                flush(&mut written, &mut text);
                match &pieces[piece] {
                    LiteralPart::Gap(None) => written.push_str("{*}"),
                    LiteralPart::Gap(Some(name)) => written.extend(["{", name, "}"]),
                    LiteralPart::Var(name) => written.extend(["${", name, "}"]),
                    LiteralPart::Text(_) => {}
                }
            }
        }
    }
    flush(&mut written, &mut text);
    // Only as the first character does a slash mean something else.
    if written.starts_with('/') { format!("\\{written}") } else { written }
}

/// How many characters a variable has, if the whole of it begins here, unchanged.
fn intact(symbols: &[Symbol], steps: &[EditStep], piece: usize) -> Option<usize> {
    let length = symbols.iter().filter(|symbol| matches!(symbol, Symbol::Char(_, from) if *from == piece)).count();
    let same = steps.iter().take_while(|step| matches!(step, EditStep::Text(_, from, true) if *from == piece)).count();
    (same == length).then_some(length)
}

/// Writes text so that it means itself.
fn flush(written: &mut String, text: &mut String) {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '$' if chars.next_if_eq(&'{').is_some() => written.push_str("$${"),
            '{' => written.push_str("{{"),
            '}' => written.push_str("}}"),
            c => written.push(c),
        }
    }
    text.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::pattern::literal::Literal;
    use crate::script::pattern::{MatchMode, Pattern};
    use proptest::prelude::*;

    fn adapted(pattern: &str, line: &str) -> Option<String> {
        let mut vars = Vars::default();
        for (name, value) in [("who", "yvonne"), ("none", "")] {
            vars.set(name, value).unwrap();
        }
        Pattern::parse(pattern).unwrap().adapt(&vars, MatchMode::Exact, line)
    }

    /// The names of the gaps of a literal, in order.
    fn gaps(pattern: &Pattern) -> Vec<Option<String>> {
        let text = pattern.as_str();
        let verbatim = text.strip_prefix('\\').filter(|rest| rest.starts_with(['/', '{']));
        let literal = Literal::parse(verbatim.unwrap_or(text), verbatim.is_some()).unwrap();
        let gap = |piece: &LiteralPart| if let LiteralPart::Gap(name) = piece { Some(name.clone()) } else { None };
        literal.pieces().iter().filter_map(gap).collect()
    }

    #[test]
    fn text_changes_and_what_is_no_text_stays() {
        for (pattern, line, expected) in [
            ("x: hi", "x: ho", "x: ho"),
            ("y: {*} are you there?", "y: 2026-01-02T03:04:05Z are you here?", "y: {*} are you here?"),
            ("{from}: {text}", "x says hi", "{from} {text}"),
            ("[Message received by ${who}.]", "[Message taken by yvonne.]", "[Message taken by ${who}.]"),
            ("[Message received by ${who}.]", "[Message received by yvette.]", "[Message received by yvette.]"),
            ("a${none}b", "acb", "ac${none}b"),
            ("a ${unset}", "b ${unset}", "b ${unset}"),
            ("json: {{}}", "json: {\"a\":${1}}", "json: {{\"a\":$${1}}}}"),
            ("x/y", "/y", "\\/y"),
            ("{*}", "anything", "{*}"),
        ] {
            let found = adapted(pattern, line);
            assert_eq!(found.as_deref(), Some(expected).filter(|expected| *expected != pattern), "{pattern}");
        }
    }

    #[test]
    fn what_is_no_literal_or_cannot_be_said_stays_as_it_is() {
        for (pattern, line) in
            [("/x: h./", "y: hi"), (r#"{"event":"mail"}"#, "x"), ("x {*}", "$ a"), ("hi", "\\/hi"), ("hi", " hi")]
        {
            let found = adapted(pattern, line);
            assert!(found.is_none() || pattern == "x {*}", "{pattern}: {found:?}");
        }
    }

    #[test]
    fn so_long_and_no_longer() {
        let pieces = |length: usize| [LiteralPart::Text("a".repeat(length))];
        let side = MAX_CELLS.isqrt();
        let line = "b".repeat(side - 1);
        assert_eq!(adapt(&pieces(side - 1), &Vars::default(), &line), Some(line.clone()));
        assert_eq!(adapt(&pieces(side), &Vars::default(), &line), None);
    }

    proptest! {
        #[test]
        fn what_is_adapted_matches_and_captures_the_same_names(
            pattern in "([a-c $/\\\\]|\\{\\*\\}|\\$\\{who\\}|\\{\\{|\\}\\}|\\{one\\}|\\$\\{none\\}){1,8}",
            line in "[a-e ${}/\\\\]{0,10}",
        ) {
            let mut vars = Vars::default();
            vars.set("who", "ab").unwrap();
            vars.set("none", "").unwrap();
            if let Ok(pattern) = Pattern::parse(&pattern) {
                let names = |pattern: &Pattern, line: &str| -> Option<Vec<String>> {
                    let found = pattern.fill(&vars, MatchMode::Exact).unwrap().line(line)?;
                    Some(found.into_iter().map(|(name, _)| name).collect())
                };
                if let Some(new) = pattern.adapt(&vars, MatchMode::Exact, &line) {
                    let new = Pattern::parse(&new).unwrap();
                    let captured = names(&new, &line);
                    prop_assert!(captured.is_some(), "{} {:?}", new, line);
                    prop_assert_eq!(gaps(&new), gaps(&pattern));
                    prop_assert_eq!(captured.unwrap().len(), gaps(&pattern).into_iter().flatten().count());
                    prop_assert!(names(&pattern, &line).is_none());
                }
            }
        }
    }
}
