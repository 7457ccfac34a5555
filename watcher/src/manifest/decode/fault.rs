//! The error that stops one pass of decoding: what is wrong, and, as soon as it is known, where.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::identity;
use crate::manifest::node::{Mark, Node, Value, shorten};
use crate::manifest::path::Path;
use crate::{Code, Problem};

#[derive(Debug)]
pub(super) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    problem: Problem,
    /// The node that failed, by address, and its place; the innermost one says it first.
    place: Option<(usize, Mark)>,
}

impl Fault {
    fn new(problem: Problem) -> Self {
        Self(Box::new(Inner { problem, place: None }))
    }

    pub(super) fn wrong_type(expected: &str, found: &Value) -> Self {
        let mut problem = Problem::new(Code::WrongType, format!("expected {expected}, found {found}"));
        problem.hint = hint(expected, found);
        Self::new(problem)
    }

    /// The same fault at this node, unless a part of the node has claimed it.
    pub(super) fn at(mut self, node: &Node, mark: Mark, path: &Path<'_>) -> Self {
        match &mut self.0.place {
            None => {
                self.0.place = Some((identity(node), mark));
                self.0.problem.path = path.to_string();
            }
            // A reader knows its value; the mapping around it knows the better place.
            Some((claimed, place)) if *claimed == identity(node) => *place = mark,
            Some(_) => {}
        }
        self
    }

    /// The node that failed, its place, and what is wrong.
    pub(super) fn into_problem(self, root: &Node) -> (usize, Mark, Problem) {
        let (node, mark) = self.0.place.unwrap_or((identity(root), root.mark));
        (node, mark, self.0.problem)
    }
}

fn hint(expected: &str, found: &Value) -> Option<String> {
    Some(match (expected, found) {
        ("a string", Value::Bool(value)) => {
            let (value, other) = (*value, !*value);
            format!(
                "put it in quotes; on, off, yes, no, y and n without quotes are {value} or {other} in YAML"
            )
        }
        ("a string", Value::Integer(value)) => format!("put it in quotes: \"{value}\""),
        ("a string", Value::Float(_)) => "put it in quotes".to_owned(),
        ("a whole number" | "a number", Value::String(text)) if text.parse::<f64>().is_ok() => {
            "remove the quotes".to_owned()
        }
        ("true or false", Value::String(text)) if matches!(text.as_str(), "true" | "false") => {
            "remove the quotes".to_owned()
        }
        ("a list", Value::Mapping(_)) => {
            "put `- ` before the first key and indent the others to it".to_owned()
        }
        ("a list", Value::String(_) | Value::Integer(_)) => {
            "put it on a line of its own with `- ` before it".to_owned()
        }
        (_, Value::List(_)) if expected.starts_with("a mapping") => "remove the `- `".to_owned(),
        (_, Value::Null) => "write a value, or remove the entry".to_owned(),
        _ => return None,
    })
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.problem.fmt(f)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Problem::new(Code::InvalidValue, message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(Problem::new(Code::WrongType, format!("expected {expected}, found {}", found_words(found))))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let expected = match expected.to_string().as_str() {
            "u8" => "a whole number from 0 to 255".to_owned(),
            "u16" => "a whole number from 0 to 65535".to_owned(),
            "u32" => "a whole number from 0 to 4294967295".to_owned(),
            "u64" => "a whole number that is not negative".to_owned(),
            "i32" => "a whole number from -2147483648 to 2147483647".to_owned(),
            other => other.to_owned(),
        };
        Self::new(Problem::new(
            Code::InvalidValue,
            format!("expected {expected}, found {}", found_words(found)),
        ))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(Problem::new(Code::MissingField, format!("the field `{field}` is missing")))
    }
}

fn found_words(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(value) => Value::Bool(value).to_string(),
        Unexpected::Unsigned(value) => Value::Integer(value.into()).to_string(),
        Unexpected::Signed(value) => Value::Integer(value.into()).to_string(),
        Unexpected::Float(value) => Value::Float(value).to_string(),
        Unexpected::Str(text) => format!("the string {:?}", shorten(text)),
        Unexpected::Unit => "nothing".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        other => other.to_string(),
    }
}
