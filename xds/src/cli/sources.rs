//! The sources of a server: a folder, a cluster, or a folder laid over a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, bail};
use pilotage_watcher::directory::{DirectorySource, Options as DirectoryOptions};
use pilotage_watcher::kubernetes::{
    Connection, KubernetesSource, Options as KubernetesOptions, Status, connect, connect_in_cluster,
};
use pilotage_watcher::{Batch, Kind, Overlay, Positions, SourceName};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::admin::Readiness;
use crate::settings::{Kubernetes, Settings};

/// Batches of changes that wait for the pipeline; a source that is faster waits itself.
const BATCHES_AHEAD: usize = 16;

/// The sources, opened.
pub(super) struct Sources {
    directory: Option<DirectorySource>,
    kubernetes: Option<KubernetesSource>,
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
        Ok(Self { directory, kubernetes })
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

    /// Follows them until `shutdown`; what may be out of date is noted on `readiness`.
    pub(super) fn start(self, shutdown: &CancellationToken, readiness: &Readiness) -> mpsc::Receiver<Batch> {
        let (batches, joined) = mpsc::channel(BATCHES_AHEAD);
        let ended = || shutdown.clone().cancelled_owned();
        if let Some(kubernetes) = &self.kubernetes {
            tokio::spawn(note(kubernetes.status(), readiness.clone()));
        }
        match (self.directory, self.kubernetes) {
            (Some(directory), Some(kubernetes)) => {
                let overlay = Overlay::new(directory.name(), kubernetes.name());
                let (upper, upper_batches) = mpsc::channel(BATCHES_AHEAD);
                let (lower, lower_batches) = mpsc::channel(BATCHES_AHEAD);
                tokio::spawn(directory.run(upper, ended()));
                tokio::spawn(kubernetes.run(lower, ended()));
                tokio::spawn(join(overlay, upper_batches, lower_batches, batches));
            }
            (Some(directory), None) => {
                tokio::spawn(directory.run(batches, ended()));
            }
            (None, Some(kubernetes)) => {
                tokio::spawn(kubernetes.run(batches, ended()));
            }
            (None, None) => {}
        }
        joined
    }
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

/// Notes which kinds may be out of date, and why, until the source ends.
async fn note(mut status: watch::Receiver<Status>, readiness: Readiness) {
    let mut noted = BTreeSet::new();
    loop {
        let stale: BTreeMap<Kind, String> = {
            let status = status.borrow_and_update();
            status.stale().map(|(kind, reason)| (kind, reason.to_owned())).collect()
        };
        for kind in std::mem::take(&mut noted) {
            if !stale.contains_key(&kind) {
                readiness.note(&about(kind), None);
            }
        }
        for (kind, reason) in stale {
            readiness.note(&about(kind), Some(format!("may be out of date: {reason}")));
            noted.insert(kind);
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
