//! Readiness as a set of tasks: the process is ready once each has been done.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is still to be done before there is something to serve, and what is worth knowing meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    pending: BTreeMap<u64, String>,
    last: u64,
    /// Trouble that does not end readiness, by what it is about.
    notes: BTreeMap<String, String>,
}

/// One thing to be done; dropping it without [`Task::done`] leaves the process unready for good.
#[derive(Debug)]
#[must_use = "readiness waits for it"]
pub struct Task {
    of: Readiness,
    id: u64,
}

impl Readiness {
    /// Adds something to be done.
    pub fn task(&self, what: impl Into<String>) -> Task {
        let mut state = self.state();
        state.last += 1;
        let id = state.last;
        state.pending.insert(id, what.into());
        Task { of: self.clone(), id }
    }

    /// Whether everything is done.
    pub fn is_ready(&self) -> bool {
        self.state().pending.is_empty()
    }

    /// Sets, or with `None` clears, what is worth knowing about something, such as a source that is away. What was
    /// read stays served, so this does not end readiness.
    pub fn note(&self, about: &str, trouble: Option<String>) {
        let mut state = self.state();
        match trouble {
            Some(trouble) => state.notes.insert(about.to_owned(), trouble),
            None => state.notes.remove(about),
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Task {
    /// It is done.
    pub fn done(self) {
        self.of.state().pending.remove(&self.id);
    }
}

/// `ready`, or what is waited for; then the notes, a line each.
impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        if state.pending.is_empty() {
            writeln!(f, "ready")?;
        }
        for what in state.pending.values() {
            writeln!(f, "waiting for: {what}")?;
        }
        for (about, trouble) in &state.notes {
            writeln!(f, "{about}: {trouble}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_once_every_task_is_done() {
        let readiness = Readiness::default();
        let (one, two) = (readiness.task("one"), readiness.task("two"));
        assert_eq!(readiness.to_string(), "waiting for: one\nwaiting for: two\n");
        two.done();
        assert!(!readiness.is_ready());
        one.done();
        readiness.note("kubernetes", Some("away for 3s".to_owned()));
        assert_eq!(
            (readiness.is_ready(), readiness.to_string()),
            (true, "ready\nkubernetes: away for 3s\n".into())
        );
        readiness.note("kubernetes", None);
        assert_eq!(readiness.to_string(), "ready\n");
    }
}
