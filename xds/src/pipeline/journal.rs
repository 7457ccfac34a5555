//! What is wrong at the moment, and the log of how that changes: a problem is logged once when it appears, and once
//! when it is solved.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilotage_watcher::{Code, ObjectKey, Problem, Severity};
use tracing::{error, info, warn};

/// All problems by the scope that they were found in: a file, the translation, a client's rejection.
#[derive(Debug, Default)]
pub(super) struct Journal {
    scopes: BTreeMap<Arc<str>, BTreeMap<Identity, Problem>>,
}

/// By what two reports are of one problem; its place may have moved with the text above it, but not to another file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    object: Option<ObjectKey>,
    path: String,
    code: Code,
    message: String,
    file: Option<Arc<str>>,
}

impl Identity {
    fn of(problem: &Problem) -> Self {
        Self {
            object: problem.object.clone(),
            path: problem.path.clone(),
            code: problem.code,
            message: problem.message.clone(),
            file: problem.position.as_ref().map(|at| at.file.clone()),
        }
    }
}

impl Journal {
    /// Replaces what was wrong in a scope, and logs the difference. Says whether there was or is anything.
    ///
    /// `place` finds where a problem stands, which takes a look into its document: it is asked for new ones alone.
    pub(super) fn set(
        &mut self,
        scope: &Arc<str>,
        problems: Vec<Problem>,
        place: impl Fn(&mut Problem),
    ) -> bool {
        let mut before = self.scopes.remove(scope).unwrap_or_default();
        let is_news = !before.is_empty() || !problems.is_empty();
        let mut now = BTreeMap::new();
        for mut problem in problems {
            let identity = Identity::of(&problem);
            let known = before.remove(&identity);
            if let Some(known) = known {
                problem.position = problem.position.or(known.position);
            } else if !now.contains_key(&identity) {
                place(&mut problem);
                log(&problem);
            }
            now.entry(identity).or_insert(problem);
        }
        for old in before.values() {
            info!(code = %old.code, "solved: {old}");
        }
        if !now.is_empty() {
            self.scopes.insert(scope.clone(), now);
        }
        is_news
    }

    /// All that is wrong, each thing once.
    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.scopes.values().flat_map(BTreeMap::values)
    }

    /// How many problems of a severity are open.
    pub(super) fn count(&self, severity: Severity) -> usize {
        let all = self.scopes.values().flat_map(BTreeMap::values);
        all.filter(|problem| problem.severity == severity).count()
    }
}

fn log(problem: &Problem) {
    match problem.severity {
        Severity::Error => error!(code = %problem.code, "{problem}"),
        Severity::Warning => warn!(code = %problem.code, "{problem}"),
        Severity::Info => info!(code = %problem.code, "{problem}"),
    }
}
