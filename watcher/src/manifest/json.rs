//! JSON text to a [`Node`].
//!
//! serde_json judges the text; the walk that follows only finds out where things stand, and so may trust it.

use serde::de::IgnoredAny;

use super::Refusal;
use super::node::{Key, Mark, Node, Value};
use crate::{Code, Problem};

/// Parses one JSON value. The error carries its place.
pub(super) fn parse(text: &str) -> Result<Node, Refusal> {
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| {
        let message = error.to_string();
        let reason = message.split(" at line ").next().unwrap_or_default();
        let mark = Mark::new(error.line() as u64, error.column() as u64);
        Box::new((mark, Problem::new(Code::Syntax, format!("not JSON: {reason}"))))
    })?;
    Walk { rest: text, mark: Mark::START }.value()
}

struct Walk<'a> {
    rest: &'a str,
    mark: Mark,
}

impl<'a> Walk<'a> {
    fn value(&mut self) -> Result<Node, Refusal> {
        self.skip_blanks();
        let mark = self.mark;
        let value = match self.rest.as_bytes().first() {
            Some(b'{') => self.mapping()?,
            Some(b'[') => self.list()?,
            Some(b'"') => Value::String(self.string()),
            _ => scalar(self.take_while(|c| !c.is_whitespace() && !matches!(c, ',' | ']' | '}'))),
        };
        Ok(Node { mark, value })
    }

    fn mapping(&mut self) -> Result<Value, Refusal> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        self.advance(1);
        loop {
            self.skip_blanks();
            match self.rest.as_bytes().first() {
                Some(b'"') => {}
                Some(b',') => {
                    self.advance(1);
                    continue;
                }
                _ => break,
            }
            let mark = self.mark;
            let text = self.string();
            if !seen.insert(text.clone()) {
                let problem =
                    Problem::new(Code::DuplicateKey, format!("`{text}` stands twice in one object"));
                return Err(Box::new((mark, problem.hint("remove one of the two"))));
            }
            self.skip_blanks();
            self.advance(1);
            let value = self.value()?;
            entries.push((Key { mark, text }, value));
        }
        self.advance(1);
        Ok(Value::Mapping(entries))
    }

    fn list(&mut self) -> Result<Value, Refusal> {
        let mut list = Vec::new();
        self.advance(1);
        loop {
            self.skip_blanks();
            match self.rest.as_bytes().first() {
                None | Some(b']') => break,
                Some(b',') => self.advance(1),
                Some(_) => list.push(self.value()?),
            }
        }
        self.advance(1);
        Ok(Value::List(list))
    }

    fn string(&mut self) -> String {
        let mut escaped = false;
        let mut end = self.rest.len();
        for (index, c) in self.rest.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => {
                    end = index + 1;
                    break;
                }
                _ => {}
            }
        }
        let token = &self.rest[..end];
        self.advance(end);
        // An unpaired surrogate is the one thing that skipping over a string does not notice.
        serde_json::from_str(token).unwrap_or_else(|_| token.to_owned())
    }

    fn skip_blanks(&mut self) {
        self.take_while(char::is_whitespace);
    }

    fn take_while(&mut self, mut accept: impl FnMut(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        let token = &self.rest[..end];
        self.advance(end);
        token
    }

    fn advance(&mut self, bytes: usize) {
        let (token, rest) = self.rest.split_at(bytes.min(self.rest.len()));
        for c in token.chars() {
            if c == '\n' {
                self.mark = Mark { line: self.mark.line + 1, column: 1 };
            } else {
                self.mark.column += 1;
            }
        }
        self.rest = rest;
    }
}

fn scalar(token: &str) -> Value {
    match token {
        "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => match token.parse::<i128>() {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::Float(token.parse().unwrap_or(f64::NAN)),
        },
    }
}
