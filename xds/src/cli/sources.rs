//! The sources of a server: a folder, a cluster, or a folder laid over a cluster.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, bail};
use pilotage_watcher::directory::{DirectorySource, Options as DirectoryOptions};
use pilotage_watcher::kubernetes::{
    Connection, KubernetesSource, Options as KubernetesOptions, SecretReferences, Status, connect,
    connect_in_cluster,
};
use pilotage_watcher::{Batch, Kind, Overlay, Positions, SourceName};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::admin::{Currency, Metrics, Pages, Readiness};
use crate::settings::{Kubernetes, Settings};
use crate::state::{Endpoints, LastGood};

/// Batches of changes that wait for the pipeline; a source that is faster waits itself.
const BATCHES_AHEAD: usize = 16;

/// The sources, opened.
pub(super) struct Sources {
    directory: Option<DirectorySource>,
    kubernetes: Option<KubernetesSource>,
    /// What is kept of each beyond the process.
    kept: Kept,
}

#[derive(Default)]
struct Kept {
    directory: Option<LastGood>,
    kubernetes: Option<LastGood>,
}

impl Sources {
    /// Reads the folder and finds the way to the cluster, as far as the settings name them.
    pub(super) async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let kubernetes = match &settings.kubernetes {
            Kubernetes { watch: false, kubeconfig: None, context: None } => None,
            Kubernetes { watch: false, .. } => {
                bail!(
                    "a kubeconfig file or context has no effect unless a cluster is watched; say --kubernetes"
                )
            }
            settings => {
                Some(KubernetesSource::new(connection(settings).await?, KubernetesOptions::default()))
            }
        };
        let directory = settings.directory.as_ref().map(open_directory).transpose()?;
        if directory.is_none() && kubernetes.is_none() {
            bail!(
                "nothing to serve: give a folder of manifests with --dir, or a cluster with --kubernetes, or \
                 `directory` or `kubernetes` in the settings file"
            );
        }
        let mut kept = Kept::default();
        if let Some(folder) = &settings.state.dir {
            let open = |name, positions, endpoints| LastGood::open(folder, name, positions, endpoints);
            if let Some(source) = &directory {
                kept.directory = Some(open(source.name(), source.positions(), Endpoints::Kept)?);
            }
            if let Some(source) = &kubernetes {
                kept.kubernetes = Some(open(source.name(), Positions::default(), Endpoints::Fleeting)?);
            }
        }
        Ok(Self { directory, kubernetes, kept })
    }

    /// Their names.
    pub(super) fn names(&self) -> Vec<SourceName> {
        let directory = self.directory.iter().map(DirectorySource::name);
        directory.chain(self.kubernetes.iter().map(KubernetesSource::name)).collect()
    }

    /// Where the objects of the folder are written.
    pub(super) fn positions(&self) -> Positions {
        self.directory.as_ref().map(DirectorySource::positions).unwrap_or_default()
    }

    /// The cluster, where one is watched.
    pub(super) fn cluster(&self) -> Option<&KubernetesSource> {
        self.kubernetes.as_ref()
    }

    /// Where Secrets are asked for by name, where that has to be done.
    pub(super) fn secrets(&self) -> Option<watch::Sender<SecretReferences>> {
        self.kubernetes.as_ref().map(KubernetesSource::secrets)
    }

    /// Follows them by `tasks` until `shutdown`; what may be out of date is told on `pages`.
    pub(super) fn start(
        self,
        tasks: &TaskTracker,
        shutdown: &CancellationToken,
        pages: &Pages,
    ) -> mpsc::Receiver<Batch> {
        let (batches, joined) = mpsc::channel(BATCHES_AHEAD);
        let ended = || shutdown.clone().cancelled_owned();
        if let Some(kubernetes) = &self.kubernetes {
            tokio::spawn(watch_status(kubernetes.status(), pages.readiness.clone(), pages.metrics.clone()));
        }
        match (self.directory, self.kubernetes) {
            (Some(directory), Some(kubernetes)) => {
                let overlay = Overlay::new(directory.name(), kubernetes.name());
                let (upper, upper_batches) = mpsc::channel(BATCHES_AHEAD);
                let (lower, lower_batches) = mpsc::channel(BATCHES_AHEAD);
                tasks.spawn(directory.run(kept(tasks, self.kept.directory, upper), ended()));
                tasks.spawn(kubernetes.run(kept(tasks, self.kept.kubernetes, lower), ended()));
                tasks.spawn(join(overlay, upper_batches, lower_batches, batches));
            }
            (Some(directory), None) => {
                tasks.spawn(directory.run(kept(tasks, self.kept.directory, batches), ended()));
            }
            (None, Some(kubernetes)) => {
                tasks.spawn(kubernetes.run(kept(tasks, self.kept.kubernetes, batches), ended()));
            }
            (None, None) => {}
        }
        joined
    }
}

/// Where a source is to send its batches, so that what it says is kept where that is wanted.
fn kept(tasks: &TaskTracker, state: Option<LastGood>, to: mpsc::Sender<Batch>) -> mpsc::Sender<Batch> {
    let Some(state) = state else { return to };
    let (batches, from) = mpsc::channel(BATCHES_AHEAD);
    tasks.spawn(state.pass_on(from, to));
    batches
}

/// Joins two sources until both have ended, or nobody listens.
async fn join(
    mut overlay: Overlay,
    mut upper: mpsc::Receiver<Batch>,
    mut lower: mpsc::Receiver<Batch>,
    batches: mpsc::Sender<Batch>,
) {
    loop {
        let batch = tokio::select! {
            Some(batch) = upper.recv() => overlay.upper(batch),
            Some(batch) = lower.recv() => overlay.lower(batch),
            else => return,
        };
        if !batch.changes.is_empty() && batches.send(batch).await.is_err() {
            return;
        }
    }
}

/// Tells on the health page and in the metrics which kinds may be out of date, until the source ends.
async fn watch_status(mut status: watch::Receiver<Status>, readiness: Readiness, metrics: Metrics) {
    loop {
        let now = status.borrow_and_update().clone();
        let stale: BTreeMap<Kind, &str> = now.stale().collect();
        for kind in now.kinds.keys() {
            let reason = stale.get(kind);
            readiness.note(&about(*kind), reason.map(|reason| format!("may be out of date: {reason}")));
            metrics.kubernetes(*kind, if reason.is_some() { Currency::Stale } else { Currency::Current });
        }
        if status.changed().await.is_err() {
            return;
        }
    }
}

fn about(kind: Kind) -> String {
    format!("kubernetes {kind:?}")
}

fn open_directory(path: &PathBuf) -> anyhow::Result<DirectorySource> {
    let source = DirectorySource::open(DirectoryOptions::new(path))?;
    let stats = source.stats();
    info!(
        directory = %path.display(),
        files = stats.files,
        objects = stats.objects.values().sum::<usize>(),
        passed_over = stats.passed_over.values().sum::<usize>(),
        "folder read"
    );
    Ok(source)
}

/// By the kubeconfig file that is named, else as the Pod that this is.
async fn connection(settings: &Kubernetes) -> anyhow::Result<Connection> {
    match &settings.kubeconfig {
        Some(kubeconfig) => Ok(connect(kubeconfig, settings.context.as_deref()).await?),
        None if settings.context.is_some() => {
            bail!("a context names a part of a kubeconfig file; name the file with --kubeconfig")
        }
        None => connect_in_cluster().context("--kubernetes without --kubeconfig"),
    }
}
