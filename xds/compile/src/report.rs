//! Collects problems: each once, in an order that does not depend on the order in which they were found.

use std::collections::BTreeMap;

use pilotage_watcher::{Code, ObjectKey, Problem};

/// The problems found so far.
///
/// One object is looked at once for every host and port that it concerns, so the same problem is found many times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report(BTreeMap<(Option<ObjectKey>, String, Code, String), Problem>);

impl Report {
    pub(crate) fn add(&mut self, problem: Problem) {
        let key = (problem.object.clone(), problem.path.clone(), problem.code, problem.message.clone());
        self.0.entry(key).or_insert(problem);
    }

    pub(crate) fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        for problem in problems {
            self.add(problem);
        }
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.0.into_values().collect()
    }
}

/// A field of an object, for problems that are found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) object: ObjectKey,
    pub(crate) path: String,
}

impl Place {
    pub(crate) fn new(object: ObjectKey, path: impl Into<String>) -> Self {
        Self { object, path: path.into() }
    }

    /// A field below this one; `field` begins with its name, or with `[` for an index.
    pub(crate) fn field(&self, field: &str) -> Self {
        let path = match (self.path.is_empty(), field.starts_with('[')) {
            (true, _) => field.to_owned(),
            (false, true) => format!("{}{field}", self.path),
            (false, false) => format!("{}.{field}", self.path),
        };
        Self { object: self.object.clone(), path }
    }

    pub(crate) fn index(&self, index: usize) -> Self {
        self.field(&format!("[{index}]"))
    }

    pub(crate) fn problem(&self, code: Code, message: impl Into<String>) -> Problem {
        Problem::new(code, message).on(self.object.clone(), self.path.clone())
    }

    /// The problem of a field that its API has given up for another.
    pub(crate) fn deprecated(&self, instead: &str) -> Problem {
        let field = self.path.rsplit('.').next().unwrap_or(&self.path);
        self.problem(Code::Deprecated, format!("{field} is deprecated")).hint(format!("write {instead}"))
    }

    /// The problem of a field that is read but not served.
    pub(crate) fn not_supported(&self, consequence: &str) -> Problem {
        let field = self.path.rsplit('.').next().unwrap_or(&self.path);
        self.problem(Code::NotSupported, format!("{field} is not supported yet: {consequence}"))
    }
}
