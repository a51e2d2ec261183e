//! JSON patterns: an event matches when it has at least the members of the pattern. Strings in a pattern may have gaps.

use serde_json::Value;

use crate::script::pattern::literal::{Glob, Literal};
use crate::script::pattern::{Captures, MatchMode};
use crate::script::syntax_error::SyntaxError;
use crate::script::vars::Vars;

/// A JSON pattern, with literals with gaps for its strings.
#[derive(Clone, Debug)]
pub(crate) struct JsonPattern(Node<Literal>);

/// A JSON pattern with its variables replaced.
#[derive(Clone, Debug)]
pub(crate) struct JsonMatcher(Node<Glob>);

#[derive(Clone, Debug)]
enum Node<S> {
    Text(S),
    /// A number, a boolean or null.
    Plain(Value),
    Array(Vec<Node<S>>),
    Object(Vec<(String, Node<S>)>),
}

impl JsonPattern {
    pub(crate) fn parse(source: &str) -> Result<Self, SyntaxError> {
        let value: Value = serde_json::from_str(source).map_err(|error| {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or("");
            let at = error.column().saturating_sub(1).min(source.len());
            let help = "write `\\{\"` to begin a literal with this brace";
            SyntaxError::new(format!("bad JSON: {message}"), at..at + 1).help(help)
        })?;
        parse(value, source).map(Self)
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        collect(&self.0, &mut names);
        names
    }

    pub(crate) fn fill(&self, vars: &Vars, style: MatchMode) -> JsonMatcher {
        JsonMatcher(fill(&self.0, vars, style))
    }
}

impl JsonMatcher {
    pub(crate) fn matches(&self, event: &Value) -> Option<Captures> {
        let mut captures = Captures::new();
        holds(&self.0, event, &mut captures).then_some(captures)
    }

    /// The share of the pattern's top-level members that the event has, from 0 to 1.
    pub(crate) fn share(&self, event: &Value) -> f64 {
        let Node::Object(members) = &self.0 else { return 0.0 };
        let held = |(key, node): &&(String, Node<Glob>)| {
            event.get(key).is_some_and(|value| holds(node, value, &mut Captures::new()))
        };
        let count = |n: usize| u32::try_from(n).map_or(f64::MAX, f64::from);
        count(members.iter().filter(held).count()) / count(members.len().max(1))
    }
}

fn parse(value: Value, source: &str) -> Result<Node<Literal>, SyntaxError> {
    Ok(match value {
        Value::String(text) => Node::Text(Literal::parse(&text, false).map_err(|bad| {
            // The JSON parser reports no places of strings, so the mistake is located by its text.
            let inside = text.get(bad.range.clone()).unwrap_or("");
            let at = source.find(inside).unwrap_or(0);
            let end = if inside.is_empty() { source.len() } else { at + inside.len() };
            SyntaxError { range: at..end, ..bad }
        })?),
        Value::Array(items) => {
            Node::Array(items.into_iter().map(|item| parse(item, source)).collect::<Result<_, _>>()?)
        }
        Value::Object(members) => {
            let member = |(key, value)| Ok((key, parse(value, source)?));
            Node::Object(members.into_iter().map(member).collect::<Result<_, _>>()?)
        }
        plain => Node::Plain(plain),
    })
}

fn collect<'a>(node: &'a Node<Literal>, names: &mut Vec<&'a str>) {
    match node {
        Node::Text(literal) => names.extend(literal.names()),
        Node::Plain(_) => {}
        Node::Array(items) => items.iter().for_each(|item| collect(item, names)),
        Node::Object(members) => members.iter().for_each(|(_, value)| collect(value, names)),
    }
}

fn fill(node: &Node<Literal>, vars: &Vars, style: MatchMode) -> Node<Glob> {
    match node {
        Node::Text(literal) => Node::Text(literal.fill(vars, style, false)),
        Node::Plain(value) => Node::Plain(value.clone()),
        Node::Array(items) => Node::Array(items.iter().map(|item| fill(item, vars, style)).collect()),
        Node::Object(members) => {
            Node::Object(members.iter().map(|(key, value)| (key.clone(), fill(value, vars, style))).collect())
        }
    }
}

fn holds(node: &Node<Glob>, value: &Value, captures: &mut Captures) -> bool {
    match (node, value) {
        (Node::Text(glob), Value::String(text)) => glob.matches(text).is_some_and(|more| {
            captures.extend(more);
            true
        }),
        (Node::Plain(Value::Number(wanted)), Value::Number(number)) => {
            // 1 and 1.0 are the same number.
            wanted == number || (wanted.is_f64() || number.is_f64()) && wanted.as_f64() == number.as_f64()
        }
        (Node::Plain(wanted), value) => wanted == value,
        (Node::Array(nodes), Value::Array(values)) => {
            nodes.len() == values.len() && nodes.iter().zip(values).all(|(node, value)| holds(node, value, captures))
        }
        (Node::Object(members), Value::Object(values)) => {
            members.iter().all(|(key, node)| values.get(key).is_some_and(|value| holds(node, value, captures)))
        }
        _ => false,
    }
}
