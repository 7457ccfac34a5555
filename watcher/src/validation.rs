//! What a schema says of values: ranges, names, durations, the members of an enumeration.
//!
//! Only what can be seen within one object is checked here; what needs another object is the compiler's. Each check
//! gives the field's path, never a place: a source that knows places adds them.

use crate::resources::Span;
use crate::{Code, ObjectKey, Problem};

mod destination_rule;
mod envoy_resources;
mod gateway;
mod service_entry;
mod sidecar;
mod telemetry;
#[cfg(test)]
mod tests;
mod virtual_service;

#[cfg(feature = "kubernetes")]
pub(crate) use gateway::{PROTOCOLS, TLS_VERSIONS};

/// A kind whose values can be checked.
pub(crate) trait Validate {
    /// What is wrong, with paths from the object's root and without the object.
    fn validate(&self) -> Vec<Problem>;
}

/// Checks the name and namespace of an object, which Kubernetes wants as DNS names.
pub(crate) fn names(key: &ObjectKey) -> Vec<Problem> {
    let name = key.name.strip_prefix("endpoints/").unwrap_or(&key.name);
    let mut problems = Vec::new();
    let namespace = &*key.namespace;
    for (field, text, good) in [
        ("metadata.name", name, is_dns_name(name, 253)),
        (
            "metadata.namespace",
            namespace,
            (namespace.is_empty() && key.kind == crate::Kind::Node)
                || (is_dns_name(namespace, 63) && !namespace.contains('.')),
        ),
    ] {
        if !good {
            let problem =
                Problem::new(Code::InvalidValue, format!("{text:?} is not a name that Kubernetes accepts"))
                    .hint("use lower-case letters, digits and `-`, with a letter or digit at both ends");
            problems.push(problem.on(key.clone(), field));
        }
    }
    problems
}

fn is_dns_name(text: &str, limit: usize) -> bool {
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= limit
        && text.split('.').all(|label| {
            let label = label.as_bytes();
            label.first().is_some_and(|c| plain(*c))
                && label.last().is_some_and(|c| plain(*c))
                && label.iter().all(|c| plain(*c) || *c == b'-')
        })
}

/// Collects what is wrong below a path.
struct Checks {
    problems: Vec<Problem>,
}

impl Checks {
    fn new() -> Self {
        Self { problems: Vec::new() }
    }

    fn push(&mut self, path: &str, problem: Problem) {
        self.problems.push(Problem { path: path.to_owned(), ..problem });
    }

    fn invalid(&mut self, path: &str, message: impl Into<String>, hint: &str) {
        self.push(path, Problem::new(Code::InvalidValue, message).hint(hint));
    }

    fn missing(&mut self, path: &str, message: impl Into<String>) {
        self.push(path, Problem::new(Code::MissingField, message));
    }

    fn port(&mut self, path: &str, number: u32) {
        if !(1..=65_535).contains(&number) {
            self.invalid(path, format!("{number} is not a port"), "ports go from 1 to 65535");
        }
    }

    fn range(&mut self, path: &str, number: Option<i64>, range: std::ops::RangeInclusive<i64>) {
        if let Some(number) = number.filter(|number| !range.contains(number)) {
            let message = format!("{number} is out of range");
            self.invalid(path, message, &format!("it goes from {} to {}", range.start(), range.end()));
        }
    }

    fn percent(&mut self, path: &str, value: f64) {
        if !(0.0..=100.0).contains(&value) {
            self.invalid(path, format!("{value} is not a percentage"), "percentages go from 0 to 100");
        }
    }

    /// A duration that is at least a millisecond; Envoy rounds shorter ones to nothing.
    fn span(&mut self, path: &str, span: Option<Span>) {
        if span.is_some_and(|span| span.0.as_millis() == 0) {
            self.invalid(path, "the duration is shorter than 1 ms", "write one such as \"250ms\" or \"2s\"");
        }
    }

    /// A duration of which 0 means "off".
    fn span_or_off(&mut self, path: &str, span: Option<Span>) {
        self.span(path, span.filter(|span| !span.0.is_zero()));
    }

    fn one_of(&mut self, path: &str, value: Option<&str>, choices: &[&'static str]) {
        let Some(value) = value.filter(|value| !choices.contains(value)) else { return };
        let hint = match crate::manifest::nearest(value, choices.iter().copied()) {
            Some(meant) => format!("did you mean {meant}?"),
            None => format!("the choices are {}", choices.join(", ")),
        };
        self.invalid(path, format!("{value:?} is not one of the choices"), &hint);
    }
}
