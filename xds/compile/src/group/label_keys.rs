//! What of a node the world looks at: labels by key, and whether it matters where the node is.
//!
//! What no resource looks at must not tell groups apart, or every zone and machine would be compiled for alone. How many
//! look at a key is counted, so that an edit reads the edited objects alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use pilotage_watcher::resources::{LoadBalancer, OutlierDetection, TrafficPolicy};
use pilotage_watcher::{Kind, ObjectKey, World};

use super::ProxyKind;
use crate::Settings;
use crate::endpoints::{HOSTNAME, label_of_failover};

/// The labels of workloads that some resource looks at, and whether any looks at their places.
#[derive(Clone, Debug, Default)]
pub struct LabelKeys {
    gateway: Counts,
    client: Counts,
    /// By which Services and ServiceEntries select workloads; only a proxy that takes in calls has to know.
    workload: Counts,
    localities: usize,
    nodes: usize,
    /// The world that was read.
    world: World,
}

/// How many times objects look at each key.
type Counts = BTreeMap<Arc<str>, usize>;

/// One thing of a node that an object looks at.
enum Look<'a> {
    Gateway(&'a str),
    Client(&'a str),
    Workload(&'a str),
    Locality,
    Node,
}

/// Equal where the same is looked at, by however many.
impl PartialEq for LabelKeys {
    fn eq(&self, other: &Self) -> bool {
        self.gateway.keys().eq(other.gateway.keys())
            && self.client.keys().eq(other.client.keys())
            && self.workload.keys().eq(other.workload.keys())
            && self.looks_at_localities() == other.looks_at_localities()
            && self.looks_at_nodes() == other.looks_at_nodes()
    }
}

impl LabelKeys {
    /// What this world looks at, and these settings.
    pub fn of(world: &World, settings: &Settings) -> Self {
        let mut keys = Self::default();
        let usual = &settings.locality_load_balancing.failover_priority;
        of_priorities(usual, &mut |look| keys.count(look, |count| count + 1));
        keys.follow(world)
    }

    /// What a later world looks at. Costs what changed, where `world` is a descendant of the one that was read.
    pub fn follow(&self, world: &World) -> Self {
        let mut next = Self { world: world.clone(), ..self.clone() };
        for key in world.changes_since(&self.world).config {
            looks(&self.world, &key, &mut |look| next.count(look, |count| count.saturating_sub(1)));
            looks(world, &key, &mut |look| next.count(look, |count| count + 1));
        }
        next
    }

    fn count(&mut self, look: Look<'_>, change: impl Fn(usize) -> usize) {
        let (counts, key) = match look {
            Look::Gateway(key) => (&mut self.gateway, key),
            Look::Client(key) => (&mut self.client, key),
            Look::Workload(key) => (&mut self.workload, key),
            Look::Locality => return self.localities = change(self.localities),
            Look::Node => return self.nodes = change(self.nodes),
        };
        match change(counts.get(key).copied().unwrap_or(0)) {
            0 => counts.remove(key),
            count => counts.insert(key.into(), count),
        };
    }

    #[cfg(test)]
    pub(super) fn new<const N: usize, const M: usize>(gateway: [&str; N], client: [&str; M]) -> Self {
        let counts = |keys: &[&str]| keys.iter().map(|key| (Arc::from(*key), 1)).collect();
        Self { gateway: counts(&gateway), client: counts(&client), localities: 1, ..Self::default() }
    }

    pub(super) fn looks_at_localities(&self) -> bool {
        self.localities > 0
    }

    pub(super) fn looks_at_nodes(&self) -> bool {
        self.nodes > 0
    }

    pub(super) fn get(&self, kind: ProxyKind, key: &str) -> Option<&Arc<str>> {
        let found = self.client.get_key_value(key).or_else(|| match kind {
            // Its ports are those of the Services that lead to it.
            ProxyKind::Gateway => {
                self.gateway.get_key_value(key).or_else(|| self.workload.get_key_value(key))
            }
            ProxyKind::Intercepted => self.workload.get_key_value(key),
            ProxyKind::Sidecar { .. } | ProxyKind::Grpc => None,
        });
        found.map(|(key, _)| key)
    }
}

/// Everything of a node that an object looks at, if there is such an object.
fn looks(world: &World, key: &ObjectKey, see: &mut dyn FnMut(Look<'_>)) {
    let (namespace, name) = (&*key.namespace, &*key.name);
    match key.kind {
        Kind::Gateway => {
            let gateway = world.gateway(namespace, name);
            gateway
                .iter()
                .flat_map(|found| found.spec.selector.keys())
                .for_each(|key| see(Look::Gateway(key)));
        }
        Kind::VirtualService => {
            let service = world.virtual_service(namespace, name);
            let Some(service) = service else { return };
            let of_http = service.spec.http.iter().flat_map(|rule| &rule.r#match);
            let of_tls = service.spec.tls.iter().flat_map(|rule| &rule.r#match);
            let of_tcp = service.spec.tcp.iter().flat_map(|rule| &rule.r#match);
            let of_streams = of_tls.chain(of_tcp).flat_map(|written| written.source_labels.keys());
            let keys = of_http.flat_map(|condition| condition.source_labels.keys()).chain(of_streams);
            keys.for_each(|key| see(Look::Client(key)));
        }
        Kind::DestinationRule => {
            let Some(rule) = world.destination_rule(namespace, name) else { return };
            let selector = rule.spec.workload_selector.iter();
            selector.flat_map(|found| found.match_labels.keys()).for_each(|key| see(Look::Client(key)));
            let of_subsets = rule.spec.subsets.iter().filter_map(|subset| subset.traffic_policy.as_ref());
            rule.spec.traffic_policy.iter().chain(of_subsets).for_each(|policy| of_policy(policy, see));
        }
        Kind::Sidecar => {
            let selector =
                world.sidecar(namespace, name).and_then(|found| found.spec.workload_selector.as_ref());
            selector.iter().flat_map(|found| found.labels.keys()).for_each(|key| see(Look::Client(key)));
        }
        Kind::Telemetry => {
            let selector = world.telemetry(namespace, name).and_then(|found| found.spec.selector.as_ref());
            selector
                .iter()
                .flat_map(|found| found.match_labels.keys())
                .for_each(|key| see(Look::Client(key)));
        }
        Kind::EnvoyResources => {
            let resources = world.envoy_resources_of(namespace, name);
            let keys = resources.iter().flat_map(|found| found.spec.proxies.labels.keys());
            keys.for_each(|key| see(Look::Client(key)));
        }
        Kind::ServiceEntry => {
            let entry = world.service_entry(namespace, name);
            let selector = entry.and_then(|found| found.spec.workload_selector.as_ref());
            selector.iter().flat_map(|found| found.labels.keys()).for_each(|key| see(Look::Workload(key)));
        }
        Kind::Service => {
            let Some(service) = world.service(namespace, name) else { return };
            let spec = &service.spec;
            spec.selector.keys().for_each(|key| see(Look::Workload(key)));
            if spec.traffic_distribution.is_some() {
                see(Look::Locality);
            }
            if spec.internal_traffic_local || spec.traffic_distribution.as_deref() == Some("PreferSameNode") {
                see(Look::Node);
            }
        }
        Kind::EndpointSlice
        | Kind::Pod
        | Kind::Node
        | Kind::WorkloadEntry
        | Kind::Secret
        | Kind::Descriptors => {}
    }
}

fn of_policy(policy: &TrafficPolicy, see: &mut dyn FnMut(Look<'_>)) {
    of_blocks(policy.load_balancer.as_ref(), policy.outlier_detection.as_ref(), see);
    for port in &policy.port_level_settings {
        of_blocks(port.load_balancer.as_ref(), port.outlier_detection.as_ref(), see);
    }
}

fn of_blocks(
    balancer: Option<&LoadBalancer>,
    outliers: Option<&OutlierDetection>,
    see: &mut dyn FnMut(Look<'_>),
) {
    let by_locality = balancer.and_then(|balancer| balancer.locality_lb_setting.as_ref());
    let by_zone = balancer.and_then(|balancer| balancer.zone_aware_lb_setting.as_ref());
    if outliers.is_some() || by_locality.is_some() || by_zone.is_some() {
        see(Look::Locality);
    }
    by_locality.into_iter().for_each(|setting| of_priorities(&setting.failover_priority, see));
    by_zone.into_iter().for_each(|setting| of_priorities(&setting.failover_priority, see));
}

fn of_priorities(priorities: &[String], see: &mut dyn FnMut(Look<'_>)) {
    for entry in priorities {
        let (key, value) = label_of_failover(entry);
        if key == HOSTNAME {
            see(Look::Node);
        }
        if value.is_none() {
            see(Look::Client(key));
        }
    }
}
