//! Tells authors what became of their objects: conditions in the status of each, and events about what is wrong.
//!
//! One replica writes, the holder of a lease; every replica answers for its own clients on `/outcomes`, and is known to
//! the writer by a lease of its own. An answer that is missing makes a condition Unknown, never True. Nothing is
//! written that is there already, and what changes within a second is written once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use pilotage_compile::Group;
use pilotage_server::Streams;
use pilotage_watcher::kubernetes::{Connection, Status as KindStatus};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin::Metrics;
use crate::pipeline::{Grouping, Ledger};

mod conditions;
mod events;
mod lease;
mod outcome;
mod peers;
mod writer;

use events::Events;
use lease::{Claim, Lease};
pub(crate) use outcome::Outcomes;
use peers::Peers;
use writer::Writer;

/// How often outcomes are looked at; what changes within this time is written once.
const PACE: Duration = Duration::from_secs(1);

/// How a replica takes part.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Its name, other than that of every other replica.
    pub(crate) replica: String,
    /// Where other replicas reach its `/outcomes`; none where they cannot.
    pub(crate) advertise: Option<SocketAddr>,
    /// Where the leases are.
    pub(crate) namespace: String,
    /// After how long a replica that says nothing is believed to be gone.
    pub(crate) lease: Duration,
}

/// What this replica answers when it is asked for the outcomes of its clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer(Arc<RwLock<Arc<Outcomes>>>);

impl Answer {
    fn set(&self, outcomes: Arc<Outcomes>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = outcomes;
    }

    /// The answer of now.
    pub(crate) fn get(&self) -> Arc<Outcomes> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is looked at to tell what became of objects.
pub(crate) struct Sight {
    pub(crate) connection: Connection,
    pub(crate) kinds: watch::Receiver<KindStatus>,
    pub(crate) ledger: watch::Receiver<Arc<Ledger>>,
    pub(crate) streams: Streams<Group>,
    pub(crate) grouping: Grouping,
    pub(crate) answer: Answer,
    pub(crate) metrics: Metrics,
}

/// Takes part until `shutdown`, and then gives up what it holds.
pub(crate) async fn run(sight: Sight, options: Options, shutdown: CancellationToken) {
    let connection = &sight.connection;
    let mut presence = Lease::of_replica(&options);
    let mut lead = Lease::of_writer(&options);
    let mut peers = Peers::new(&options);
    let mut writer: Option<Writer> = None;
    let mut events = Events::new(&options.replica);
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let ledger = sight.ledger.borrow().clone();
        let own = Arc::new(Outcomes::of(&ledger, &sight.streams.list()));
        sight.answer.set(own.clone());
        let now = Instant::now();
        let workloads = sight.grouping.workloads();
        if workloads.pod(&options.namespace, &options.replica).is_some() {
            presence.of_pod();
        }
        presence.claim(connection, now).await;
        if lead.claim(connection, now).await != Claim::Held {
            if writer.take().is_some() {
                info!("another replica writes status from here on");
            }
            continue;
        }
        let versions = sight.kinds.borrow().versions.clone();
        let writer = match &mut writer {
            Some(writer) => writer,
            none => {
                info!(replica = options.replica, "this replica writes status");
                none.insert(Writer::new(sight.metrics.clone()))
            }
        };
        let others = peers.hear(connection, now, &workloads).await;
        let conditions: BTreeMap<_, _> = conditions::of(&ledger, &own, &others);
        writer.write(connection, &versions, &conditions).await;
        events.tell(connection, &versions, &ledger).await;
    }
    lead.release(connection).await;
    presence.release(connection).await;
}

fn complain(what: &str, told: &mut Option<String>, reason: Option<String>) {
    if let Some(reason) = &reason
        && told.as_ref() != Some(reason)
    {
        warn!("{what}: {reason}");
    }
    *told = reason;
}
