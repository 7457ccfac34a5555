//! A source that is followed by a test: what it has said so far, as a world.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use pilotage_watcher::kubernetes::{KubernetesSource, Options, SecretReferences, Status, connect};
use pilotage_watcher::{Batch, Change, ObjectKey, Problem, SourceName, World};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::eventually;

/// What a source has said.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Every object that is there.
    pub world: World,
    /// The problems of each scope that has any.
    pub problems: BTreeMap<Arc<str>, Vec<Problem>>,
    /// The objects that were said to be gone, in order.
    pub deleted: Vec<ObjectKey>,
    /// How often an object was said to be there.
    pub applied: usize,
    /// How many batches there were.
    pub batches: usize,
    /// How often it has said that it knows everything.
    pub synced: usize,
    /// The single Secrets that were looked up, by their sources' names.
    pub read: BTreeSet<SourceName>,
}

impl Said {
    fn take(&mut self, batch: Batch) {
        self.batches += 1;
        for change in batch.changes {
            match change {
                Change::Apply(object) => {
                    self.applied += 1;
                    self.world.apply(object);
                }
                Change::Delete(key) => {
                    self.world.delete(&key);
                    self.deleted.push(key);
                }
                Change::Problems { scope, problems } if problems.is_empty() => {
                    self.problems.remove(&scope);
                }
                Change::Problems { scope, problems } => {
                    self.problems.insert(scope, problems);
                }
                Change::Synced(source) if source.contains("Secret") => {
                    self.read.insert(source);
                }
                Change::Synced(_) => self.synced += 1,
            }
        }
    }
}

/// A running source and what it has said. Dropping it ends the source.
#[derive(Debug)]
pub struct Observer {
    said: Arc<Mutex<Said>>,
    status: watch::Receiver<Status>,
    secrets: watch::Sender<SecretReferences>,
    tasks: [JoinHandle<()>; 2],
}

impl Observer {
    /// Follows an API server by a kubeconfig file.
    ///
    /// # Errors
    /// The file cannot be used.
    pub async fn start(kubeconfig: &Path, options: Options) -> Result<Self> {
        let source = KubernetesSource::new(connect(kubeconfig, None).await?, options);
        let (status, secrets) = (source.status(), source.secrets());
        let said = Arc::<Mutex<Said>>::default();
        let (batches, mut received) = mpsc::channel::<Batch>(16);
        let listener = said.clone();
        let listening = tokio::spawn(async move {
            while let Some(batch) = received.recv().await {
                listener.lock().unwrap_or_else(PoisonError::into_inner).take(batch);
            }
        });
        let running = tokio::spawn(source.run(batches, std::future::pending()));
        Ok(Self { said, status, secrets, tasks: [listening, running] })
    }

    /// Names the Secrets that something refers to.
    pub fn refer(&self, references: SecretReferences) {
        self.secrets.send_replace(references);
    }

    /// What has been said so far.
    pub fn said(&self) -> Said {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the source knows of each kind now.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until the source has said everything that was there at its start.
    ///
    /// # Errors
    /// It has not in time; the error has its status.
    pub async fn synced(&self) -> Result<()> {
        self.until("everything being listed", |said| (said.synced > 0).then_some(())).await
    }

    /// Waits until `condition` gives a value for what was said.
    ///
    /// # Errors
    /// It gives none in time; the error has the source's status.
    pub async fn until<T>(&self, what: &str, mut condition: impl FnMut(&Said) -> Option<T>) -> Result<T> {
        let met = || {
            let met = condition(&self.said.lock().unwrap_or_else(PoisonError::into_inner));
            async { met }
        };
        eventually(what, met).await.map_err(|error| error.context(format!("{:?}", self.status())))
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
