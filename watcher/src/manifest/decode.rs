//! A [`Node`] to a typed value, through serde, with every problem at its place.
//!
//! serde stops at the first error; a person wants all of them. So a value that fails is set aside and the whole is
//! taken again without it, until nothing fails or too much has. Good input is walked once and allocates nothing here.

use std::cell::RefCell;
use std::collections::HashSet;

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use self::access::{List, Mapping, Variant};
use self::fault::Fault;
use super::node::{Key, Mark, Node, Value};
use super::path::Path;
use crate::{Code, Problem};

mod access;
mod fault;
#[cfg(test)]
mod tests;

/// After so many failures in one document the rest is left for the next reading.
const MAX_FAILURES: usize = 20;

/// Takes a value out of a tree. There is one even where fields failed, which are then at their defaults: whether it
/// may be used is for the caller to judge by the problems.
pub(super) fn decode<T: DeserializeOwned>(root: &Node) -> (Option<T>, Vec<(Mark, Problem)>) {
    let mut problems = Vec::new();
    let mut context = Context::default();
    loop {
        let reader = Reader { node: root, path: Path::Root, context: &context };
        match T::deserialize(reader) {
            Ok(value) => {
                problems.append(&mut context.unknown.take());
                return (Some(value), problems);
            }
            Err(fault) => {
                let (failed, mark, problem) = fault.into_problem(root);
                problems.push((mark, problem));
                if failed == identity(root)
                    || problems.len() == MAX_FAILURES
                    || !context.set_aside.insert(failed)
                {
                    problems.append(&mut context.unknown.take());
                    return (None, problems);
                }
                context.unknown.take();
            }
        }
    }
}

/// What one pass over a tree shares.
#[derive(Default)]
struct Context {
    /// Nodes that failed in an earlier pass, by address.
    set_aside: HashSet<usize>,
    /// Fields that the type does not have.
    unknown: RefCell<Vec<(Mark, Problem)>>,
}

fn identity(node: &Node) -> usize {
    std::ptr::from_ref(node).addr()
}

#[derive(Clone, Copy)]
struct Reader<'de, 'p> {
    node: &'de Node,
    path: Path<'p>,
    context: &'p Context,
}

impl<'de, 'p> Reader<'de, 'p> {
    fn unexpected(&self, expected: &str) -> Fault {
        Fault::wrong_type(expected, &self.node.value).at(self.node, self.node.mark, &self.path)
    }

    /// The entries of a mapping that are neither null, which stands for "not there", nor set aside.
    fn entries(self, entries: &'de [(Key, Node)]) -> impl Iterator<Item = &'de (Key, Node)> + use<'de, 'p> {
        entries.iter().filter(move |(_, value)| !self.context.set_aside.contains(&identity(value)))
    }

    fn number<V: Visitor<'de>>(self, visitor: V, expected: &str) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Integer(_) => self.deserialize_any(visitor),
            // A whole number may be written as 2.0 or 1e3.
            Value::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => {
                visitor.visit_i64(value as i64)
            }
            _ => Err(self.unexpected(expected)),
        }
    }
}

macro_rules! whole_numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            self.number(visitor, "a whole number")
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Integer(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => visitor.visit_i64(value),
                (_, Ok(value)) => visitor.visit_u64(value),
                _ => visitor.visit_i128(*value),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Mapping(_) => self.deserialize_map(visitor),
        }
    }

    whole_numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Integer(_) | Value::Float(_) => self.deserialize_any(visitor),
            _ => Err(self.unexpected("a number")),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Bool(value) => visitor.visit_bool(value),
            _ => Err(self.unexpected("true or false")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::String(text) => visitor.visit_borrowed_str(text),
            _ => Err(self.unexpected("a string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::List(list) => visitor.visit_seq(List { reader: self, list, next: 0 }),
            _ => Err(self.unexpected("a list")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Mapping(entries) => {
                visitor.visit_map(Mapping { reader: self, entries: self.entries(entries), value: None })
            }
            _ => Err(self.unexpected("a mapping")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let Value::Mapping(entries) = &self.node.value else {
            return Err(self.unexpected(&mapping_of(fields)));
        };
        for (key, _) in entries.iter().filter(|(key, _)| !fields.contains(&key.text.as_str())) {
            self.context.unknown.borrow_mut().push((key.mark, unknown_field(&self.path, &key.text, fields)));
        }
        let entries = self
            .entries(entries)
            .filter(move |(key, value)| value.value != Value::Null && fields.contains(&key.text.as_str()));
        visitor.visit_map(Mapping { reader: self, entries, value: None })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::String(text) => visitor.visit_enum(Variant(text)),
            _ => Err(self.unexpected("a string")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { char bytes byte_buf unit unit_struct tuple tuple_struct identifier }
}

fn mapping_of(fields: &[&str]) -> String {
    match fields {
        [] => "a mapping".to_owned(),
        [.., last] if fields.len() <= 3 => {
            let first = fields[..fields.len() - 1].join("`, `");
            let and = if first.is_empty() { String::new() } else { format!("`{first}` and ") };
            format!("a mapping with {and}`{last}`")
        }
        _ => format!("a mapping with fields such as `{}`", fields[..3].join("`, `")),
    }
}

fn unknown_field(path: &Path<'_>, field: &str, known: &[&str]) -> Problem {
    let mut problem =
        Problem::new(Code::UnknownField, format!("there is no field `{field}` here; it is ignored"));
    problem.path = Path::Key(path, field).to_string();
    problem.hint(match super::nearest(field, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("the fields are {}", known.join(", ")),
    })
}
