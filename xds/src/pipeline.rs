//! The one loop that owns the world: changes come in, snapshots go out, clients ask and answer.
//!
//! Endpoints have a lane of their own, without a debounce; everything else is compiled on another thread from a clone
//! of the world, so that a long compile never delays an endpoint. Nothing is published before every source has said
//! `Synced`: an empty answer would wipe a fleet (R40).

use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use pilotage_compile::{Catalog, Compiled, Group, Settings, compile_endpoints, compile_secrets};
use pilotage_protocol::{Name, ResourceType, Revision};
use pilotage_server::{Cache, Events, Streams};
use pilotage_watcher::Batch;
use pilotage_watcher::kubernetes::SecretReferences;
use pilotage_watcher::{Change, Kind, Object, Positions, Problem, Severity, SourceName, Touched, World};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::admin::Metrics;

mod checking;
mod clients;
mod compiling;
mod debounce;
mod entwined;
mod grouping;
mod journal;
mod ledger;
mod references;

use checking::Checking;
use compiling::{Compiling, Order, Outcome};
use debounce::Debounce;
use entwined::Entwined;
pub use grouping::Grouping;
use journal::Journal;
use ledger::Bookkeeping;
pub(crate) use ledger::{Entry, Ledger};
use references::References;

/// How long what became of objects may wait for being put down: it is looked at once a second.
const LEDGER_DELAY: Duration = Duration::from_millis(250);

/// What the pipeline is told: by sources, and by clients.
pub struct Inputs {
    /// Batches of changes, each from one event of a source.
    pub sources: mpsc::Receiver<Batch>,
    /// What clients ask for and answer.
    pub clients: Events<Group>,
    /// Where the objects of files stand.
    pub positions: Positions,
    /// Where the Secrets are named that something refers to; none where a source tells of Secrets by itself.
    pub secrets: Option<watch::Sender<SecretReferences>>,
    /// Where it is put down what became of objects; none where nobody asks.
    pub(crate) ledger: Option<watch::Sender<Arc<Ledger>>>,
}

/// The world, and what was made of it for each group.
pub struct Pipeline {
    cache: Cache<Group>,
    streams: Streams<Group>,
    grouping: Grouping,
    positions: Positions,
    /// How long a group without clients is kept.
    linger: Duration,
    world: World,
    /// What was last read of the world.
    catalog: Catalog,
    /// The last event that was taken in.
    revision: Revision,
    /// Sources that have not told everything yet.
    unsynced: BTreeSet<SourceName>,
    /// Told once, when there is something to serve.
    ready: Option<oneshot::Sender<()>>,
    metrics: Metrics,
    groups: BTreeMap<Group, Member>,
    /// Groups whose configuration is to be compiled.
    stale: BTreeSet<Group>,
    debounce: Debounce,
    compiling: Option<Compiling>,
    checking: Checking,
    entwined: Entwined,
    journal: Journal,
    references: References,
    /// Where it is put down what became of objects, and when that is due.
    ledger: Option<(watch::Sender<Arc<Ledger>>, Bookkeeping)>,
    ledger_due: Option<Instant>,
    /// When the latest events were seen.
    latency: clients::Latency,
    /// The resources of a type that a node has rejected since it last had everything of that type.
    rejected: BTreeMap<(Arc<str>, ResourceType), BTreeSet<Name>>,
}

/// One group, and what it is told.
#[derive(Default)]
struct Member {
    compiled: Option<Arc<Compiled>>,
    /// The event up to which its snapshot is complete.
    published: Revision,
    /// Names that clients asked for, beyond what follows from the world.
    demanded: BTreeSet<Name>,
    /// When the last client left.
    deserted: Option<Instant>,
}

impl Pipeline {
    /// A pipeline that publishes into `cache` once all of `sources` are synced, and then says so on `ready`.
    pub fn new(
        settings: Settings,
        (cache, streams): (Cache<Group>, Streams<Group>),
        grouping: Grouping,
        linger: Duration,
        sources: impl IntoIterator<Item = SourceName>,
        (ready, metrics): (oneshot::Sender<()>, Metrics),
    ) -> Self {
        Self {
            cache,
            streams,
            grouping,
            positions: Positions::default(),
            linger,
            world: World::default(),
            catalog: Catalog::of(&World::default(), &settings),
            revision: Revision(0),
            unsynced: sources.into_iter().collect(),
            ready: Some(ready),
            metrics,
            groups: BTreeMap::new(),
            stale: BTreeSet::new(),
            debounce: Debounce::default(),
            compiling: None,
            checking: Checking::default(),
            entwined: Entwined::default(),
            journal: Journal::default(),
            references: References::default(),
            ledger: None,
            ledger_due: None,
            latency: clients::Latency::default(),
            rejected: BTreeMap::new(),
        }
    }

    /// Runs until `shutdown`, or until nobody can tell it anything any more.
    pub async fn run(mut self, mut inputs: Inputs, shutdown: CancellationToken) {
        self.positions = inputs.positions.clone();
        self.references = References::told_to(inputs.secrets.take());
        self.ledger = inputs.ledger.take().map(|ledger| (ledger, Bookkeeping::default()));
        loop {
            let compile_at = self.compile_at();
            let forget_at = self.groups.values().filter_map(|member| member.deserted).min();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                batch = inputs.sources.recv() => match batch {
                    Some(batch) => self.take(batch),
                    None => return,
                },
                event = inputs.clients.next() => self.hear(event),
                outcome = finished(&mut self.compiling) => self.publish(outcome),
                problems = self.checking.finished() => self.judge_world(problems),
                () = at(compile_at) => self.start_compile(),
                () = at(self.ledger_due) => self.put_down(),
                () = at(forget_at.map(|deserted| deserted + self.linger)) => self.forget_deserted(),
            }
        }
    }

    /// Takes in what one event of a source changed.
    fn take(&mut self, batch: Batch) {
        let mut touched = Touched::default();
        let mut workloads = Vec::new();
        for change in batch.changes {
            match &change {
                Change::Apply(object @ (Object::Pod(_) | Object::Node(_))) => workloads.push(object.key()),
                Change::Delete(key) if matches!(key.kind, Kind::Pod | Kind::Node) => {
                    workloads.push(key.clone());
                }
                _ => {}
            }
            match change {
                Change::Apply(object) => touched.merge(self.world.apply(object)),
                Change::Delete(key) => touched.merge(self.world.delete(&key)),
                Change::Problems { scope, problems } => self.report(&scope, problems),
                Change::Synced(source) if self.references.read(&source) => {
                    // What waited for it is stale still.
                    self.debounce.note(Instant::now());
                }
                Change::Synced(source) => {
                    self.unsynced.remove(&source);
                }
            }
        }
        let is_first = self.unsynced.is_empty() && self.ready.is_some();
        if !workloads.is_empty() && self.grouping.follow(&self.world, &workloads) {
            self.streams.regroup();
        }
        if touched.is_empty() && !is_first {
            return;
        }
        self.revision = Revision(self.revision.0 + 1);
        self.latency.seen(self.revision, batch.seen);
        self.metrics.event(self.revision.0);
        if !self.unsynced.is_empty() {
            return;
        }
        if let Some((_, bookkeeping)) = &mut self.ledger {
            bookkeeping.changed(&touched.config, self.revision);
        }
        if is_first || self.references.concerns(&touched) {
            self.references.update(&self.world, self.groups.keys());
        }
        if is_first || !touched.config.is_empty() {
            if self.grouping.update(&self.world) {
                self.streams.regroup();
            }
            self.stale.extend(self.groups.keys().cloned());
            self.entwined.note(&touched);
            self.debounce.note(Instant::now());
        }
        if !touched.endpoints.is_empty() || !touched.secrets.is_empty() {
            self.publish_at_once(&touched);
        }
        if !touched.secrets.is_empty() {
            // Nothing is to be compiled, but what is wrong with the Secrets may be another thing now.
            self.debounce.note(Instant::now());
        }
    }

    /// The lane of endpoints and of the content of secrets: at once, and only what was touched.
    fn publish_at_once(&mut self, touched: &Touched) {
        if let Some(compiling) = &mut self.compiling {
            compiling.overtaken.endpoints.extend(touched.endpoints.iter().cloned());
            compiling.overtaken.secrets.extend(touched.secrets.iter().cloned());
        }
        let touched = self.entwined.free(touched);
        if touched.is_empty() {
            return;
        }
        // A revision tells that everything up to it is there. While configuration is still to come, it must not rise.
        let is_complete = self.compiling.is_none() && self.stale.is_empty();
        let count = self.groups.len();
        for (group, member) in &mut self.groups {
            let Some(previous) = &member.compiled else { continue };
            let compiled = refreshed(&self.world, previous, &touched);
            if is_complete {
                member.published = self.revision;
            }
            self.cache.publish(group, compiled.snapshot().clone().at(member.published));
            self.metrics.published(count);
            member.compiled = Some(Arc::new(compiled));
        }
    }

    /// When configuration is to be compiled, if it is.
    fn compile_at(&self) -> Option<Instant> {
        let is_first = self.ready.is_some();
        if self.compiling.is_some() || (is_first && !self.references.are_read()) {
            return None;
        }
        let due = self.debounce.due()?;
        Some(self.references.courtesy().map_or(due, |courtesy| due.max(courtesy)))
    }

    /// The configuration lane: on another thread, from the world as it is now.
    fn start_compile(&mut self) {
        self.debounce.run(Instant::now());
        self.entwined.started();
        let (held, stale): (BTreeSet<_>, BTreeSet<_>) =
            std::mem::take(&mut self.stale).into_iter().partition(|group| self.references.hold(group));
        self.stale = held;
        let orders = stale.into_iter().filter_map(|group| {
            let member = self.groups.get(&group)?;
            // What a new group is told is mostly what another of its kind is.
            let others = self.groups.iter().filter(|(known, _)| known.kind == group.kind);
            let previous = member
                .compiled
                .clone()
                .or_else(|| others.into_iter().find_map(|(_, other)| other.compiled.clone()));
            Some(Order { demanded: member.demanded.clone(), previous, group })
        });
        let orders = orders.collect();
        self.world.set_time(unix_time());
        debug!(revision = self.revision.0, "compiling");
        self.compiling =
            Some(Compiling::start(self.catalog.clone(), self.world.clone(), orders, self.revision));
    }

    fn publish(&mut self, outcome: Option<Outcome>) {
        let Some(Compiling { overtaken, revision, .. }) = self.compiling.take() else { return };
        self.entwined.finished();
        let overtaken = self.entwined.free_of_pending(&overtaken);
        let Some(outcome) = outcome else { return };
        self.metrics.translated(outcome.took);
        let count = self.groups.len();
        // What came in since it began is there only if it was about endpoints alone.
        let revision = if self.stale.is_empty() { self.revision } else { revision };
        for (group, mut compiled) in outcome.compiled {
            let Some(member) = self.groups.get_mut(&group) else { continue };
            if !overtaken.is_empty() {
                compiled = refreshed(&self.world, &compiled, &overtaken);
            }
            member.published = revision;
            self.cache.publish(&group, compiled.snapshot().clone().at(revision));
            self.metrics.published(count);
            member.compiled = Some(Arc::new(compiled));
        }
        self.catalog = outcome.catalog;
        self.checking.order(self.catalog.clone());
        self.note_ledger();
        if let Some(ready) = self.ready.take() {
            // Nobody listening is nobody who wants to know.
            let _ = ready.send(());
        }
    }

    fn judge_world(&mut self, problems: Option<Vec<Problem>>) {
        if let Some(problems) = problems {
            self.report(&"translation".into(), problems);
        }
    }

    fn report(&mut self, scope: &Arc<str>, problems: Vec<Problem>) {
        if !self.journal.set(scope, problems, |problem| self.positions.place(problem)) {
            return;
        }
        self.note_ledger();
        for severity in [Severity::Info, Severity::Warning, Severity::Error] {
            self.metrics.problems(severity, self.journal.count(severity));
        }
    }

    fn note_ledger(&mut self) {
        if self.ledger.is_some() && self.ledger_due.is_none() {
            self.ledger_due = Some(Instant::now() + LEDGER_DELAY);
        }
    }

    fn put_down(&mut self) {
        self.ledger_due = None;
        let Some((known, bookkeeping)) = &mut self.ledger else { return };
        let groups =
            self.groups.iter().filter_map(|(group, member)| Some((group, member.compiled.as_deref()?)));
        known.send_replace(Arc::new(bookkeeping.ledger(&self.world, groups, self.journal.problems())));
    }

    fn forget_deserted(&mut self) {
        let (now, linger) = (Instant::now(), self.linger);
        let is_over = |member: &Member| member.deserted.is_some_and(|deserted| deserted + linger <= now);
        let over: Vec<Group> = self
            .groups
            .iter()
            .filter(|(_, member)| is_over(member))
            .map(|(group, _)| group.clone())
            .collect();
        for group in over {
            info!(%group, "forgotten: no client for a while");
            self.groups.remove(&group);
            self.stale.remove(&group);
            self.cache.evict(&group);
        }
    }
}

/// What a group is told, with the endpoints and secrets that were touched as they are now.
fn refreshed(world: &World, previous: &Compiled, touched: &Touched) -> Compiled {
    let compiled = compile_endpoints(world, previous, &touched.endpoints);
    match touched.secrets.is_empty() {
        true => compiled,
        false => compile_secrets(world, &compiled, &touched.secrets),
    }
}

/// Seconds since 1970, by which certificates are found to have ended.
pub(crate) fn unix_time() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.ok().and_then(|now| i64::try_from(now.as_secs()).ok()).unwrap_or_default()
}

/// Ends at an instant; never, where there is none.
async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
}

/// What came of the compile that is under way; never, where none is.
async fn finished(compiling: &mut Option<Compiling>) -> Option<Outcome> {
    let Some(compiling) = compiling else { return pending().await };
    match (&mut compiling.job).await {
        Ok(outcome) => Some(outcome),
        Err(error) => {
            error!(%error, "the translation failed, which is a fault of Pilotage; the last good state stays");
            None
        }
    }
}
