//! Worlds from a seed: small vocabularies, so that objects meet, with mistakes of every kind among them.

// One file in two crates: what one of them throws the other may not.
#![allow(dead_code)]

#[path = "dice/edge.rs"]
mod edge;
#[path = "dice/edits.rs"]
mod edits;
#[path = "dice/policy.rs"]
mod policy;
#[path = "dice/proxies.rs"]
mod proxies;
#[path = "dice/services.rs"]
mod services;
#[path = "dice/traffic.rs"]
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;

use pilotage_watcher::resources::*;
use pilotage_watcher::{Change, Kind, Object, ObjectKey};

/// Throws the same for the same seed.
pub(crate) struct Dice(u64);

const NAMESPACES: &[&str] = &["x", "y"];
const NAMES: &[&str] = &["a", "b", "c"];
const HOSTS: &[&str] = &[
    "a",
    "b",
    "c",
    "a.x.svc.cluster.local",
    "b.y.svc.cluster.local",
    "*.x.svc.cluster.local",
    "api.example.com",
    "*.example.com",
    "*",
    "",
    "a b",
    "x.*.com",
    "A.X.svc.cluster.local",
    "c.x",
];
const PORTS: &[u32] = &[80, 443, 50051, 0, 70_000, 15_001];
const TEXTS: &[&str] = &[
    "", "/", "/a", "grpc", "v1", "%", "%REQ(x)%", "\n", "é", "(", "[a-z]+", "\\9", "*", "x-y", ":path",
    "host",
];
const PROTOCOLS: &[&str] = &["grpc", "http", "http2-x", "tcp", "tls", "h2", "", "what", "udp", "grpc-web"];

/// Every kind that there is.
pub(crate) const KINDS: &[Kind] = &[
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Pod,
    Kind::VirtualService,
    Kind::DestinationRule,
    Kind::Gateway,
    Kind::ServiceEntry,
    Kind::WorkloadEntry,
    Kind::Sidecar,
    Kind::Telemetry,
    Kind::EnvoyResources,
    Kind::Secret,
    Kind::Node,
];
const LABELS: &[&str] = &["v1", "v2"];

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn text(&mut self) -> String {
        self.pick(TEXTS).to_owned()
    }

    fn maybe<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.one_in(3) { Some(make(self)) } else { None }
    }

    fn some<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    fn host(&mut self) -> String {
        self.pick(HOSTS).to_owned()
    }

    fn span(&mut self) -> Span {
        let nanos = self.pick(&[0u64, 1, 1_000_000, 2_000_000_000, u64::MAX]);
        let seconds = self.pick(&[0u64, 0, 0, 320_000_000_000]);
        Span(std::time::Duration::from_nanos(nanos) + std::time::Duration::from_secs(seconds))
    }

    fn number(&mut self) -> i64 {
        self.pick(&[0, 1, 2, 100, -1, i64::MAX, i64::MIN, 4_294_967_296])
    }

    fn version(&mut self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::new();
        if !self.one_in(4) {
            labels.insert("version".to_owned(), self.pick(LABELS).to_owned());
        }
        labels
    }

    fn export(&mut self) -> Vec<String> {
        self.some(1, |dice| dice.pick(&[".", "*", "x", "~", ""]).to_owned())
    }

    fn meta(&mut self, labels: Labels) -> Meta {
        Meta {
            namespace: self.pick(NAMESPACES).into(),
            name: self.pick(NAMES).into(),
            labels,
            created: self.maybe(|dice| i64::try_from(dice.below(3)).unwrap()),
            ..Meta::default()
        }
    }

    fn with<T>(&mut self, spec: T) -> Arc<WithMeta<T>> {
        let meta = self.meta(Labels::new());
        Arc::new(WithMeta { meta, spec })
    }

    /// A part of a place: one of two, or not known.
    pub(crate) fn place(&mut self, of: &str) -> String {
        match self.below(3) {
            0 => String::new(),
            which => format!("{of}{which}"),
        }
    }

    fn object(&mut self, kind: Kind) -> Object {
        match kind {
            Kind::Service => Object::Service(self.service()),
            Kind::EndpointSlice => Object::EndpointSlice(self.slice()),
            Kind::Pod => Object::Pod(self.pod()),
            Kind::VirtualService => Object::VirtualService(self.virtual_service()),
            Kind::DestinationRule => Object::DestinationRule(self.destination_rule()),
            Kind::Gateway => Object::Gateway(self.gateway()),
            Kind::ServiceEntry => Object::ServiceEntry(self.entry()),
            Kind::WorkloadEntry => Object::WorkloadEntry(self.workload_entry()),
            Kind::Sidecar => Object::Sidecar(self.sidecar()),
            Kind::Telemetry => Object::Telemetry(self.telemetry()),
            Kind::EnvoyResources => Object::EnvoyResources(self.envoy_resources()),
            Kind::Secret => Object::Secret(self.secret()),
            Kind::Node => Object::Node(self.node()),
            Kind::Descriptors => unreachable!("what is known of methods is not thrown"),
        }
    }

    /// Something that could happen next.
    pub(crate) fn change(&mut self) -> Change {
        let kind = self.pick(KINDS);
        match self.one_in(5) {
            true if kind == Kind::Node => Change::Delete(ObjectKey::new(kind, "", self.place("n"))),
            true => Change::Delete(ObjectKey::new(kind, self.pick(NAMESPACES), self.pick(NAMES))),
            false => Change::Apply(self.object(kind)),
        }
    }

    /// Things that happen until there is a world to look at; three of four worlds have an object of any one kind.
    pub(crate) fn world(&mut self, further: usize) -> Vec<Change> {
        let mut changes = Vec::new();
        for kind in KINDS {
            if !self.one_in(4) {
                changes.push(Change::Apply(self.object(*kind)));
            }
        }
        changes.extend((0..further).map(|_| self.change()));
        changes
    }
}

fn as_labels(labels: BTreeMap<String, String>) -> Labels {
    labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect()
}
