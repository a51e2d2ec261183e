//! Rewrites a literal to match another line with the fewest edits. Gaps and captures stay, and so does each variable
//! whose value is still in the line.

use crate::script::pattern::literal::LiteralPart;
use crate::script::vars::Vars;

/// The most cells of the table of costs. It is enough for a literal and a line of about 2,000 characters each.
pub(crate) const MAX_CELLS: usize = 4 << 20;

/// A unit of a literal that is aligned with the line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Symbol {
    /// A character and the index of its piece.
    Char(char, usize),
    /// A gap, which matches any characters.
    Gap(usize),
    /// A variable whose value is empty.
    Nothing(usize),
}

/// One step of the alignment of a literal with a line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum EditStep {
    /// A character of the line aligned with a character of this piece, and whether both are equal.
    Text(char, usize, bool),
    /// A character that only the line has.
    Inserted(char),
    /// A character of this piece that the line does not have.
    Deleted(usize),
    /// A gap or an empty variable, which stays.
    Kept(usize),
}

/// The source of the literal, rewritten with the fewest edits to match the line. `None` when the table would have more
/// than [`MAX_CELLS`] cells.
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

/// The cheapest alignment of the literal with the line. An inserted or deleted character costs 1, a character in a gap
/// costs nothing.
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
                    let other = (j > 0).then(|| costs[at - width - 1] + replacement_cost(line[j - 1], c));
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
            (Some(Symbol::Char(c, piece)), Some(other))
                if costs[at - width - 1] + replacement_cost(other, c) == cost =>
            {
                steps.push(EditStep::Text(other, piece, other == c));
                (i, j) = (i - 1, j - 1);
            }
            (Some(Symbol::Char(_, piece)), _) if costs[at - width] + 1 == cost => {
                steps.push(EditStep::Deleted(piece));
                i -= 1;
            }
            // A gap is as short as possible.
            (Some(Symbol::Gap(piece) | Symbol::Nothing(piece)), _) if costs[at - width] == cost => {
                steps.push(EditStep::Kept(piece));
                i -= 1;
            }
            (Some(Symbol::Gap(_)), _) => j -= 1,
            (_, Some(other)) => {
                steps.push(EditStep::Inserted(other));
                j -= 1;
            }
            // The first column has only deletions and gaps.
            (_, None) => return None,
        }
    }
    steps.reverse();
    Some(steps)
}

/// The cost of replacing a character. A replacement costs as much as a deletion and an insertion, so that a gap is
/// preferred.
fn replacement_cost(one: char, other: char) -> u32 {
    if one == other { 0 } else { 2 }
}

fn write(pieces: &[LiteralPart], symbols: &[Symbol], steps: &[EditStep]) -> String {
    let (mut source, mut text) = (String::new(), String::new());
    let mut at = 0;
    while let Some(step) = steps.get(at) {
        at += 1;
        match *step {
            EditStep::Text(c, piece, _) => match &pieces[piece] {
                LiteralPart::Var(name) if let Some(length) = intact_length(symbols, &steps[at - 1..], piece) => {
                    write_escaped(&mut source, &mut text);
                    source.extend(["${", name, "}"]);
                    at += length - 1;
                }
                _ => text.push(c),
            },
            EditStep::Inserted(c) => text.push(c),
            EditStep::Deleted(_) => {}
            EditStep::Kept(piece) => {
                write_escaped(&mut source, &mut text);
                match &pieces[piece] {
                    LiteralPart::Gap(None) => source.push_str("{*}"),
                    LiteralPart::Gap(Some(name)) => source.extend(["{", name, "}"]),
                    LiteralPart::Var(name) => source.extend(["${", name, "}"]),
                    LiteralPart::Text(_) => {}
                }
            }
        }
    }
    write_escaped(&mut source, &mut text);
    // A slash begins a regular expression only as the first character.
    if source.starts_with('/') { format!("\\{source}") } else { source }
}

/// The length of a variable's value, if the whole value begins here unchanged.
fn intact_length(symbols: &[Symbol], steps: &[EditStep], piece: usize) -> Option<usize> {
    let length = symbols.iter().filter(|symbol| matches!(symbol, Symbol::Char(_, from) if *from == piece)).count();
    let same = steps.iter().take_while(|step| matches!(step, EditStep::Text(_, from, true) if *from == piece)).count();
    (same == length).then_some(length)
}

/// Writes pending text with braces and `${` escaped.
fn write_escaped(source: &mut String, text: &mut String) {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '$' if chars.next_if_eq(&'{').is_some() => source.push_str("$${"),
            '{' => source.push_str("{{"),
            '}' => source.push_str("}}"),
            c => source.push(c),
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
    fn text_is_rewritten_and_gaps_captures_and_variables_stay() {
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
    fn other_patterns_and_lines_without_a_literal_are_not_rewritten() {
        for (pattern, line) in
            [("/x: h./", "y: hi"), (r#"{"event":"mail"}"#, "x"), ("x {*}", "$ a"), ("hi", "\\/hi"), ("hi", " hi")]
        {
            let found = adapted(pattern, line);
            assert!(found.is_none() || pattern == "x {*}", "{pattern}: {found:?}");
        }
    }

    #[test]
    fn the_table_of_costs_is_limited() {
        let pieces = |length: usize| [LiteralPart::Text("a".repeat(length))];
        let side = MAX_CELLS.isqrt();
        let line = "b".repeat(side - 1);
        assert_eq!(adapt(&pieces(side - 1), &Vars::default(), &line), Some(line.clone()));
        assert_eq!(adapt(&pieces(side), &Vars::default(), &line), None);
    }

    proptest! {
        #[test]
        fn a_rewritten_literal_matches_and_captures_the_same_names(
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
