//! What is counted and timed. Labels are types and severities, never nodes: their number must not grow with the fleet.

use std::sync::Arc;
use std::time::Duration;

use pilotage_protocol::ResourceType;
use pilotage_watcher::{Kind, Severity};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The metrics of the process; a clone is another handle to the same ones.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    events: Counter,
    publications: Counter,
    translation: Histogram,
    answers: Family<AnswerLabels, Counter>,
    applied: Family<TypeLabel, Histogram>,
    problems: Family<SeverityLabel, Gauge>,
    current: Family<KindLabel, Gauge>,
    status_writes: Counter,
    groups: Gauge,
    revision: Gauge,
    streams: Gauge,
}

/// Whether what is held is what a source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Currency {
    /// It is.
    Current,
    /// It may be out of date.
    Stale,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    resource_type: String,
    answer: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    resource_type: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SeverityLabel {
    severity: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: String,
}

impl Metrics {
    /// Metrics of a process that has done nothing yet.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("pilotage");
        // From a tenth of a millisecond to six seconds and a half.
        let times = || Histogram::new(exponential_buckets(1e-4, 2.0, 17));
        let inner = Inner {
            events: Counter::default(),
            publications: Counter::default(),
            translation: times(),
            answers: Family::default(),
            applied: Family::new_with_constructor(|| Histogram::new(exponential_buckets(1e-4, 2.0, 17))),
            problems: Family::default(),
            current: Family::default(),
            status_writes: Counter::default(),
            groups: Gauge::default(),
            revision: Gauge::default(),
            streams: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("source_events", "Events of sources that changed something", inner.events.clone());
        registry.register("publications", "Snapshots published, over all groups", inner.publications.clone());
        registry.register_with_unit(
            "translation",
            "Time to translate configuration for all groups",
            Unit::Seconds,
            inner.translation.clone(),
        );
        registry.register("answers", "Answers of clients", inner.answers.clone());
        registry.register_with_unit(
            "event_to_ack",
            "Time from a source's event to a client's ACK of what follows from it",
            Unit::Seconds,
            inner.applied.clone(),
        );
        registry.register("problems", "What is wrong at the moment", inner.problems.clone());
        registry.register(
            "kubernetes_current",
            "Whether what is held of a kind is what the API server has: 1, or 0 where it may be out of date",
            inner.current.clone(),
        );
        registry.register(
            "status_writes",
            "Statuses of objects that were written",
            inner.status_writes.clone(),
        );
        registry.register("groups", "Groups of clients that are told the same", inner.groups.clone());
        registry.register("revision", "The last event that was taken in", inner.revision.clone());
        registry.register("streams", "Open streams", inner.streams.clone());
        Self(Arc::new(Inner { registry, ..inner }))
    }

    /// Whether what is held of a kind is what the API server has.
    pub(crate) fn kubernetes(&self, kind: Kind, currency: Currency) {
        let value = match currency {
            Currency::Current => 1,
            Currency::Stale => 0,
        };
        self.0.current.get_or_create(&KindLabel { kind: format!("{kind:?}") }).set(value);
    }

    /// The status of an object was written.
    pub(crate) fn status_written(&self) {
        self.0.status_writes.inc();
    }

    /// A source's event changed something.
    pub(crate) fn event(&self, revision: u64) {
        self.0.events.inc();
        self.0.revision.set(revision.try_into().unwrap_or(i64::MAX));
    }

    /// A snapshot was published for one of `groups` groups.
    pub(crate) fn published(&self, groups: usize) {
        self.0.publications.inc();
        self.0.groups.set(groups.try_into().unwrap_or(i64::MAX));
    }

    /// Configuration was translated for all groups.
    pub(crate) fn translated(&self, took: Duration) {
        self.0.translation.observe(took.as_secs_f64());
    }

    /// A client accepted a response, `latency` after the event that it follows from, where that is known.
    pub(crate) fn accepted(&self, resource_type: &ResourceType, latency: Option<Duration>) {
        self.answer(resource_type, "ack");
        if let Some(latency) = latency {
            let label = TypeLabel { resource_type: resource_type.to_string() };
            self.0.applied.get_or_create(&label).observe(latency.as_secs_f64());
        }
    }

    /// A client rejected a response.
    pub(crate) fn rejected(&self, resource_type: &ResourceType) {
        self.answer(resource_type, "nack");
    }

    fn answer(&self, resource_type: &ResourceType, answer: &'static str) {
        // Types outside the table are named by clients: one label for them all.
        let resource_type = match resource_type {
            ResourceType::Other(_) => "other".to_owned(),
            known => known.to_string(),
        };
        self.0.answers.get_or_create(&AnswerLabels { resource_type, answer }).inc();
    }

    /// So many problems of a severity are open.
    pub(crate) fn problems(&self, severity: Severity, count: usize) {
        let severity = match severity {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let label = SeverityLabel { severity };
        self.0.problems.get_or_create(&label).set(count.try_into().unwrap_or(i64::MAX));
    }

    /// The page of a scrape, in OpenMetrics text.
    pub(super) fn page(&self, streams: usize) -> String {
        self.0.streams.set(streams.try_into().unwrap_or(i64::MAX));
        let mut page = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut page, &self.0.registry);
        page
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
