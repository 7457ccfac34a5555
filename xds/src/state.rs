//! The last good state of a source, kept beyond the process: at a restart, what is broken by then is served as it was.
//!
//! A source's batches pass through here on their way to the pipeline. What they apply is written down, whole and then
//! moved into place; before the first `Synced`, the last good version of every object that the source has found to be
//! broken, or could not read, is put in. What the source does not have any more is not broken: it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pilotage_watcher::kubernetes::kind_scope;
use pilotage_watcher::{
    Batch, Change, Code, Kind, Object, ObjectKey, Positions, Problem, Severity, SourceName,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

mod file;

use file::{Entry, load, save};

/// How long after a change, and after the last time, the file is written.
const DELAY: Duration = Duration::from_secs(1);

/// What is written down of one source.
pub(crate) struct LastGood {
    source: SourceName,
    file: PathBuf,
    positions: Positions,
    /// Whether endpoints are written down; they are not where a cluster keeps them, for there they are of the moment.
    endpoints: Endpoints,
    /// What was written before this process, until the source is synced.
    before: BTreeMap<ObjectKey, Entry>,
    good: BTreeMap<ObjectKey, Entry>,
    /// What was put in, and not told by the source since.
    restored: BTreeSet<ObjectKey>,
    /// Scopes with errors.
    broken: BTreeMap<Arc<str>, Broken>,
}

/// Whether EndpointSlices are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoints {
    /// They are written by people, as all else in a folder.
    Kept,
    /// They are written by a controller, and out of date in seconds.
    Fleeting,
}

/// What is broken of a scope.
#[derive(Debug, Default)]
struct Broken {
    /// All of it: a file that is not YAML, a kind that may not be read.
    whole: bool,
    objects: BTreeSet<ObjectKey>,
}

impl LastGood {
    /// The state of `source` in the file that is its own in `folder`. A file that cannot be used is told and left out.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn open(
        folder: &std::path::Path,
        source: SourceName,
        positions: Positions,
        endpoints: Endpoints,
    ) -> anyhow::Result<Self> {
        let file = file::path(folder, endpoints)?;
        let before = load(&file).unwrap_or_else(|error| {
            warn!("the last good state is not used: {error:#}");
            BTreeMap::new()
        });
        let (good, restored, broken) = Default::default();
        Ok(Self { source, file, positions, endpoints, before, good, restored, broken })
    }

    /// Passes batches on until there are none or nobody wants them, and then writes down what is to be written.
    pub(crate) async fn pass_on(mut self, mut from: mpsc::Receiver<Batch>, to: mpsc::Sender<Batch>) {
        let mut due: Option<Instant> = None;
        loop {
            let write = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                batch = from.recv() => {
                    let Some(mut batch) = batch else { break };
                    if self.take(&mut batch) && due.is_none() {
                        due = Some(Instant::now() + DELAY);
                    }
                    if to.send(batch).await.is_err() {
                        break;
                    }
                }
                () = write => {
                    due = None;
                    self.write().await;
                }
            }
        }
        if due.is_some() {
            self.write().await;
        }
    }

    async fn write(&self) {
        // Nothing is good before the source has told everything: a start that fails must not cost what was written.
        if !self.before.is_empty() {
            return;
        }
        let (file, good) = (self.file.clone(), self.good.clone());
        let written = tokio::task::spawn_blocking(move || save(&file, &good)).await;
        match written {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!("the last good state is not written: {error:#}"),
            Err(error) => warn!(%error, "the last good state is not written"),
        }
    }

    /// Takes in a batch, and puts into it what has to be restored or taken back. Says whether there is something new to
    /// write.
    fn take(&mut self, batch: &mut Batch) -> bool {
        let mut is_new = false;
        let mut changes = Vec::with_capacity(batch.changes.len());
        let (mut applied, mut solved) = (false, false);
        for change in std::mem::take(&mut batch.changes) {
            match &change {
                Change::Apply(object) => {
                    is_new |= self.good(object);
                    applied = true;
                }
                Change::Delete(key) => {
                    self.restored.remove(key);
                    is_new |= self.good.remove(key).is_some();
                }
                Change::Problems { scope, problems } => {
                    self.note(scope, problems);
                    solved = true;
                }
                Change::Synced(source) if *source == self.source => {
                    is_new |= !self.before.is_empty();
                    self.restore(&mut changes);
                }
                Change::Synced(_) => {}
            }
            changes.push(change);
        }
        if (applied || solved) && !self.restored.is_empty() {
            is_new |= self.take_back(&mut changes);
        }
        batch.changes = changes;
        is_new
    }

    fn good(&mut self, object: &Object) -> bool {
        let is_kept = match object.kind() {
            // A key has no business in another file, and kubelets write to the others all the time.
            Kind::Secret | Kind::Pod | Kind::Node => false,
            Kind::EndpointSlice => self.endpoints == Endpoints::Kept,
            _ => true,
        };
        if !is_kept {
            return false;
        }
        let key = object.key();
        let scope = match self.endpoints {
            Endpoints::Kept => self.positions.file(&key),
            Endpoints::Fleeting => kind_scope(key.kind),
        };
        self.good.insert(key, Entry { scope: scope.unwrap_or_default(), object: object.clone() });
        true
    }

    fn note(&mut self, scope: &Arc<str>, problems: &[Problem]) {
        let mut broken = Broken::default();
        for problem in problems.iter().filter(|problem| problem.severity == Severity::Error) {
            match &problem.object {
                Some(object) => drop(broken.objects.insert(object.clone())),
                None => broken.whole = true,
            }
        }
        match broken.whole || !broken.objects.is_empty() {
            true => self.broken.insert(scope.clone(), broken),
            false => self.broken.remove(scope),
        };
    }

    fn is_broken(&self, key: &ObjectKey, scope: &Arc<str>) -> bool {
        self.broken.get(scope).is_some_and(|broken| broken.whole)
            || self.broken.values().any(|broken| broken.objects.contains(key))
    }

    /// Puts in the last good version of what is broken.
    fn restore(&mut self, changes: &mut Vec<Change>) {
        for (key, entry) in std::mem::take(&mut self.before) {
            if self.good.contains_key(&key) || !self.is_broken(&key, &entry.scope) {
                continue;
            }
            let problem = Problem::new(
                Code::KeptLastGood,
                "it cannot be read, and is served as it was before the restart",
            );
            info!(object = %key, "restored from the last good state");
            let problem = problem.hint("correct it; what is wrong is told beside this").on(key.clone(), "");
            changes.push(Change::Problems { scope: scope_of(&key), problems: vec![problem] });
            changes.push(Change::Apply(entry.object.clone()));
            self.restored.insert(key.clone());
            self.good.insert(key, entry);
        }
    }

    /// What was restored and is told by the source again is an object like any other; what is neither told nor broken
    /// any more is gone.
    fn take_back(&mut self, changes: &mut Vec<Change>) -> bool {
        let told: BTreeSet<ObjectKey> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Apply(object) => Some(object.key()),
                _ => None,
            })
            .collect();
        let mut is_new = false;
        for key in std::mem::take(&mut self.restored) {
            let Some(entry) = self.good.get(&key) else { continue };
            let is_restored_now = changes.iter().any(|change| {
                matches!(change, Change::Problems { scope, problems } if *scope == scope_of(&key) && !problems.is_empty())
            });
            if is_restored_now || (self.is_broken(&key, &entry.scope) && !told.contains(&key)) {
                self.restored.insert(key);
                continue;
            }
            changes.push(Change::Problems { scope: scope_of(&key), problems: Vec::new() });
            if !told.contains(&key) {
                self.good.remove(&key);
                changes.push(Change::Delete(key));
            }
            is_new = true;
        }
        is_new
    }
}

fn scope_of(key: &ObjectKey) -> Arc<str> {
    format!("last good state: {key}").into()
}

#[cfg(test)]
mod tests;
