//! The part of a server that tells authors what became of their objects, from its settings to its task.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use pilotage_watcher::kubernetes::{Connection, Status as KindStatus};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::sources::Sources;
use crate::admin::Pages;
use crate::pipeline::{Grouping, Ledger};
use crate::settings::Settings;
use crate::status::{self, Answer, Options, Sight};

/// What is needed to take part.
pub(super) struct Reporting {
    connection: Connection,
    kinds: watch::Receiver<KindStatus>,
    options: Options,
    answer: Answer,
}

impl Reporting {
    /// None where the settings do not ask for it.
    ///
    /// # Errors
    /// There is no cluster whose objects could be written on, or this replica has no name.
    pub(super) fn open(settings: &Settings, sources: &Sources) -> anyhow::Result<Option<Self>> {
        let wanted = &settings.status;
        if !wanted.write {
            return Ok(None);
        }
        let Some(cluster) = sources.cluster() else {
            bail!("status is written on the objects of a cluster; say --kubernetes, or no --status");
        };
        let replica = match &wanted.replica {
            Some(name) => name.clone(),
            None => {
                let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
                if name.is_empty() {
                    bail!("this host has no name that could be the replica's; set status.replica");
                }
                name
            }
        };
        let options = Options {
            replica,
            advertise: wanted.advertise,
            namespace: wanted.namespace.clone(),
            lease: Duration::from_secs(wanted.lease_seconds.max(3).into()),
        };
        let (connection, kinds) = (cluster.connection().clone(), cluster.status());
        Ok(Some(Self { connection, kinds, options, answer: Answer::default() }))
    }

    /// What other replicas are answered.
    pub(super) fn answer(&self) -> Answer {
        self.answer.clone()
    }

    /// Takes part until `shutdown`; `health` is where the answer is served. Gives where to put what is known.
    pub(super) fn start(
        self,
        tasks: &TaskTracker,
        (pages, grouping): (&Pages, Grouping),
        health: Option<SocketAddr>,
        shutdown: &CancellationToken,
    ) -> watch::Sender<Arc<Ledger>> {
        let Self { connection, kinds, mut options, answer } = self;
        let reachable = |address: &SocketAddr| !address.ip().is_unspecified();
        options.advertise = options.advertise.or(health.filter(reachable));
        if options.advertise.is_none() {
            warn!(
                "no other replica can ask this one for its clients, so with several, Programmed stays Unknown: set --health and --advertise"
            );
        }
        let (known, ledger) = watch::channel(Arc::default());
        let (streams, metrics) = (pages.streams.clone(), pages.metrics.clone());
        let sight = Sight { connection, kinds, ledger, streams, grouping, answer, metrics };
        tasks.spawn(status::run(sight, options, shutdown.clone()));
        known
    }
}
