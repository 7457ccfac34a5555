//! What of a node the world looks at: labels by key, and whether it matters where the node is.
//!
//! What no resource looks at must not tell groups apart, or every zone and machine would be compiled for alone.

use std::collections::BTreeSet;
use std::sync::Arc;

use pilotage_watcher::World;
use pilotage_watcher::resources::{LoadBalancer, OutlierDetection, TrafficPolicy};

use super::ProxyKind;
use crate::Settings;
use crate::endpoints::label_of_failover;

/// The labels of workloads that some resource looks at, and whether any looks at their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelKeys {
    gateway: BTreeSet<Arc<str>>,
    client: BTreeSet<Arc<str>>,
    /// By which Services and ServiceEntries select workloads; only a proxy that takes in calls has to know.
    workload: BTreeSet<Arc<str>>,
    localities: bool,
    nodes: bool,
}

impl LabelKeys {
    /// The keys that this world looks at under these settings; they change only with what is configured.
    pub fn of(world: &World, settings: &Settings) -> Self {
        let mut keys = Self::default();
        keys.read_priorities(&settings.locality_load_balancing.failover_priority);
        let selectors = world.gateways().flat_map(|gateway| gateway.spec.selector.keys());
        keys.gateway.extend(selectors.map(|key| Arc::from(key.as_str())));
        let sources = world
            .virtual_services()
            .flat_map(|service| &service.spec.http)
            .flat_map(|rule| &rule.r#match)
            .flat_map(|condition| condition.source_labels.keys());
        let of_tls = world.virtual_services().flat_map(|service| &service.spec.tls);
        let of_tcp = world.virtual_services().flat_map(|service| &service.spec.tcp);
        let streams = of_tls.flat_map(|rule| &rule.r#match).chain(of_tcp.flat_map(|rule| &rule.r#match));
        let sources = sources.chain(streams.flat_map(|written| written.source_labels.keys()));
        let workloads = world
            .destination_rules()
            .filter_map(|rule| rule.spec.workload_selector.as_ref())
            .flat_map(|selector| selector.match_labels.keys());
        keys.client.extend(sources.chain(workloads).map(|key| Arc::from(key.as_str())));
        for rule in world.destination_rules() {
            let of_subsets = rule.spec.subsets.iter().filter_map(|subset| subset.traffic_policy.as_ref());
            for policy in rule.spec.traffic_policy.iter().chain(of_subsets) {
                keys.read_policy(policy);
            }
        }
        for sidecar in world.sidecars() {
            let selector = sidecar.spec.workload_selector.iter().flat_map(|selector| selector.labels.keys());
            keys.client.extend(selector.map(|key| Arc::from(key.as_str())));
        }
        for telemetry in world.telemetries() {
            let selector = telemetry.spec.selector.iter().flat_map(|selector| selector.match_labels.keys());
            keys.client.extend(selector.map(|key| Arc::from(key.as_str())));
        }
        for resources in world.envoy_resources() {
            keys.client.extend(resources.spec.proxies.labels.keys().map(|key| Arc::from(key.as_str())));
        }
        for entry in world.service_entries() {
            let selector = entry.spec.workload_selector.iter().flat_map(|selector| selector.labels.keys());
            keys.workload.extend(selector.map(|key| Arc::from(key.as_str())));
        }
        for service in world.services() {
            keys.workload.extend(service.spec.selector.keys().cloned());
            keys.localities |= service.spec.traffic_distribution.is_some();
            keys.nodes |= service.spec.internal_traffic_local
                || service.spec.traffic_distribution.as_deref() == Some("PreferSameNode");
        }
        keys
    }

    #[cfg(test)]
    pub(super) fn new<const N: usize, const M: usize>(gateway: [&str; N], client: [&str; M]) -> Self {
        let set = |keys: &[&str]| keys.iter().map(|key| Arc::from(*key)).collect();
        let workload = BTreeSet::new();
        Self { gateway: set(&gateway), client: set(&client), workload, localities: true, nodes: false }
    }

    pub(super) fn looks_at_localities(&self) -> bool {
        self.localities
    }

    pub(super) fn looks_at_nodes(&self) -> bool {
        self.nodes
    }

    pub(super) fn get(&self, kind: ProxyKind, key: &str) -> Option<&Arc<str>> {
        self.client.get(key).or_else(|| match kind {
            // Its ports are those of the Services that lead to it.
            ProxyKind::Gateway => self.gateway.get(key).or_else(|| self.workload.get(key)),
            ProxyKind::Intercepted => self.workload.get(key),
            ProxyKind::Sidecar { .. } | ProxyKind::Grpc => None,
        })
    }

    fn read_policy(&mut self, policy: &TrafficPolicy) {
        self.read_blocks(policy.load_balancer.as_ref(), policy.outlier_detection.as_ref());
        for port in &policy.port_level_settings {
            self.read_blocks(port.load_balancer.as_ref(), port.outlier_detection.as_ref());
        }
    }

    fn read_blocks(&mut self, balancer: Option<&LoadBalancer>, outliers: Option<&OutlierDetection>) {
        let by_locality = balancer.and_then(|balancer| balancer.locality_lb_setting.as_ref());
        let by_zone = balancer.and_then(|balancer| balancer.zone_aware_lb_setting.as_ref());
        self.localities |= outliers.is_some() || by_locality.is_some() || by_zone.is_some();
        for priorities in by_locality
            .map(|setting| &setting.failover_priority)
            .into_iter()
            .chain(by_zone.map(|setting| &setting.failover_priority))
        {
            self.read_priorities(priorities);
        }
    }

    fn read_priorities(&mut self, priorities: &[String]) {
        for entry in priorities {
            let (key, value) = label_of_failover(entry);
            self.nodes |= key == crate::endpoints::HOSTNAME;
            if value.is_none() {
                self.client.insert(key.into());
            }
        }
    }
}
