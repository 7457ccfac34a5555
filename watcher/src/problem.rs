//! What is wrong with an input: a code, a place, a reason and a way out. Sources and the compiler both raise it.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use serde::Serialize;

use crate::ObjectKey;

mod code;

pub use code::Code;

/// How much a [`Problem`] matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Done as written, and worth knowing.
    Info,
    /// Served, but probably not what was meant.
    Warning,
    /// Not served as written.
    Error,
}

/// A place in a file; line and column count from 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// The file, as the user would name it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Which kind of problem.
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// The object, where one could be read.
    pub object: Option<ObjectKey>,
    /// The field, as a path such as `spec.http[0].route[1].weight`; empty for the object as a whole.
    pub path: String,
    /// Where it stands; the compiler leaves it empty and the watcher fills it in from the object and the path.
    pub position: Option<Position>,
    /// What is wrong and why, in one sentence.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem of this code at the code's usual severity.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            object: None,
            path: String::new(),
            position: None,
            message: message.into(),
            hint: None,
        }
    }

    /// The same problem on this object and field.
    pub fn on(mut self, object: ObjectKey, path: impl Into<String>) -> Self {
        self.object = Some(object);
        self.path = path.into();
        self
    }

    /// The same problem at this place.
    pub fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// The same problem with a way out.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same problem at another severity.
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One line: `file:line:column: severity[code]: object: path: message (hint)`; parts that are not known are left out.
/// Control characters are escaped: much of this is other people's text.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = OneLine(f);
        if let Some(position) = &self.position {
            write!(f, "{position}: ")?;
        }
        write!(f, "{}[{}]: ", self.severity, self.code)?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

struct OneLine<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            match part.char_indices().next_back() {
                Some((at, c)) if c.is_control() => {
                    self.0.write_str(&part[..at])?;
                    write!(self.0, "{}", c.escape_default())?;
                }
                _ => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}
