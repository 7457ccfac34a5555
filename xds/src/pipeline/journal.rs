//! What is wrong at the moment, and the log of how that changes: a problem is logged once when it appears, and once
//! when it is solved.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilotage_watcher::{Problem, Severity};
use tracing::{error, info, warn};

/// All problems by the scope that they were found in: a file, the translation, a client's rejection.
#[derive(Debug, Default)]
pub(super) struct Journal {
    scopes: BTreeMap<Arc<str>, Vec<Problem>>,
}

impl Journal {
    /// Replaces what was wrong in a scope, and logs the difference. Says whether there was or is anything.
    pub(super) fn set(&mut self, scope: &Arc<str>, problems: Vec<Problem>) -> bool {
        let before = self.scopes.remove(scope).unwrap_or_default();
        let is_news = !before.is_empty() || !problems.is_empty();
        for problem in &problems {
            if !before.iter().any(|old| is_same(old, problem)) {
                log(problem);
            }
        }
        for old in &before {
            if !problems.iter().any(|problem| is_same(old, problem)) {
                info!(code = %old.code, "solved: {old}");
            }
        }
        if !problems.is_empty() {
            self.scopes.insert(scope.clone(), problems);
        }
        is_news
    }

    /// All that is wrong, each thing once.
    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.scopes.values().flatten()
    }

    /// How many problems of a severity are open.
    pub(super) fn count(&self, severity: Severity) -> usize {
        self.scopes.values().flatten().filter(|problem| problem.severity == severity).count()
    }
}

/// Whether two reports are of one problem; its place may have moved with the text above it.
fn is_same(one: &Problem, other: &Problem) -> bool {
    one.code == other.code
        && one.object == other.object
        && one.path == other.path
        && one.message == other.message
        && one.position.as_ref().map(|at| &at.file) == other.position.as_ref().map(|at| &at.file)
}

fn log(problem: &Problem) {
    match problem.severity {
        Severity::Error => error!(code = %problem.code, "{problem}"),
        Severity::Warning => warn!(code = %problem.code, "{problem}"),
        Severity::Info => info!(code = %problem.code, "{problem}"),
    }
}
