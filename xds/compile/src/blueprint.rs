//! All that a group is told, as plain data: the world read once, from the caller's point of view.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pilotage_protocol::{Name, ResourceType};
use pilotage_watcher::{Code, World};

use crate::access_log::access_log;
use crate::credentials::{Credentials, SecretPlan};
use crate::endpoints::{Selection, Spread, Unhealthy};
use crate::hosts::{Host, Hosts, Members, Port};
use crate::ir::{Cluster, Discovery, Listener, RouteTable};
use crate::raw::{Operation, RawResources, raw_resources};
use crate::report::{Place, Report};
use crate::routing::{Routing, Scope};
use crate::rules::Rules;
use crate::sidecar::Sidecar;
use crate::{Group, ProxyKind, Settings, clusters, edge, egress, inbound, interception, proxyless, workload};

/// Clusters, listeners and routes by name, and how to find the endpoints.
#[derive(Default)]
pub(crate) struct Blueprint {
    pub(crate) clusters: BTreeMap<Name, Cluster>,
    pub(crate) listeners: BTreeMap<Name, Listener>,
    pub(crate) routes: BTreeMap<Name, RouteTable>,
    pub(crate) assignments: BTreeMap<Name, AssignmentPlan>,
    /// What is told in Envoy's own words.
    pub(crate) raw: RawResources,
    pub(crate) secrets: BTreeMap<Name, SecretPlan>,
    pub(crate) report: Report,
}

/// How the endpoints of a cluster are found.
#[derive(Clone, Debug)]
pub(crate) struct AssignmentPlan {
    pub(crate) members: Members,
    pub(crate) selection: Selection,
    /// Where the subset is defined, for the problem of one that selects nothing.
    pub(crate) subset: Option<(String, Place)>,
    pub(crate) source: pilotage_watcher::ObjectKey,
}

/// Reads the world for a group; `asked` are the names that its clients ask for on demand.
pub(crate) fn blueprint(
    world: &World,
    group: &Group,
    settings: &Settings,
    asked: &BTreeSet<Name>,
) -> Blueprint {
    let mut report = Report::default();
    let sidecar = Sidecar::of(world, group, settings, &mut report);
    let mut hosts = Hosts::of(world, settings, &group.namespace, &mut report);
    let served = match group.kind {
        ProxyKind::Intercepted => workload::served(world, &hosts, group, &mut report),
        ProxyKind::Sidecar { .. } | ProxyKind::Gateway | ProxyKind::Grpc => BTreeMap::new(),
    };
    if group.kind != ProxyKind::Intercepted {
        hosts.leave_out_destinations(&mut report);
    }
    hosts.retain(|host| sidecar.knows(&host.namespace, &host.name, group));
    let rules = Rules::of(world, settings, &hosts, &mut report);
    let routing = Routing::of(world, group, settings, &sidecar, &mut report);
    let log = access_log(world, group, settings, &mut report);
    let scope = Scope { group, settings, hosts: &hosts, rules: &rules };
    let mut credentials = Credentials::of(world, group);
    let mut blueprint = Blueprint { report, ..Blueprint::default() };
    match group.kind {
        ProxyKind::Sidecar { egress_port, tcp_egress } => {
            egress::routed(egress_port, &scope, &routing, &sidecar, &mut blueprint);
            egress::listed(&scope, &routing, &sidecar, &mut blueprint);
            inbound::ingress(&scope, &sidecar, &mut credentials, &mut blueprint);
            if tcp_egress {
                egress::opaque(egress_port, &scope, &mut blueprint);
            }
            clusters(&scope, &mut credentials, &mut blueprint, |_| true);
        }
        ProxyKind::Intercepted => {
            interception::outbound(&scope, &routing, &sidecar, &mut blueprint);
            egress::listed(&scope, &routing, &sidecar, &mut blueprint);
            let listed = inbound::ingress(&scope, &sidecar, &mut credentials, &mut blueprint);
            inbound::redirected(&served, listed, &sidecar, &mut blueprint);
            clusters(&scope, &mut credentials, &mut blueprint, |_| true);
        }
        ProxyKind::Gateway => {
            edge::listeners(world, &scope, &routing, &mut credentials, &mut blueprint);
            let used = used(&blueprint);
            clusters(&scope, &mut credentials, &mut blueprint, |name| used.contains(name));
        }
        ProxyKind::Grpc => {
            proxyless::listeners(asked, &scope, &routing, &mut blueprint);
            let used = used(&blueprint);
            clusters(&scope, &mut credentials, &mut blueprint, |name| used.contains(name));
        }
    }
    blueprint.secrets = credentials.plans;
    for listener in blueprint.listeners.values_mut() {
        listener.log = log;
    }
    blueprint.raw = raw_resources(world, group, settings, &mut blueprint.report);
    blueprint.give_way();
    blueprint
}

impl Blueprint {
    /// Settles what is both written and translated: a resource that replaces takes the place, any other yields.
    fn give_way(&mut self) {
        for (resource_type, resources) in &mut self.raw {
            resources.retain(|name, (_, operation, place)| {
                let is_there = match resource_type {
                    ResourceType::Cluster => self.clusters.contains_key(name),
                    ResourceType::Endpoint => self.assignments.contains_key(name),
                    ResourceType::Listener => self.listeners.contains_key(name),
                    ResourceType::Route => self.routes.contains_key(name),
                    _ => false,
                };
                match (operation, is_there) {
                    (Operation::Add, true) => {
                        let message =
                            format!("{resource_type} {name:?} is there already: this one is not used");
                        let problem = place.field("name").problem(Code::DuplicateResource, message);
                        self.report.add(problem.hint("give it another name, or set operation: Replace"));
                        return false;
                    }
                    (Operation::Replace, false) => {
                        let message = format!("there is no {resource_type} {name:?} to replace: it is added");
                        let problem = place.field("name").problem(Code::NoEffect, message);
                        self.report.add(problem.hint("set operation: Add, or correct the name"));
                    }
                    (Operation::Replace, true) => match resource_type {
                        // Its endpoints stay: what replaces it may be assigned them.
                        ResourceType::Cluster => drop(self.clusters.remove(name)),
                        ResourceType::Endpoint => drop(self.assignments.remove(name)),
                        ResourceType::Listener => drop(self.listeners.remove(name)),
                        ResourceType::Route => drop(self.routes.remove(name)),
                        _ => {}
                    },
                    (Operation::Add, false) => {}
                }
                true
            });
        }
    }
}

/// The names of the clusters that listeners and routes lead to.
fn used(blueprint: &Blueprint) -> BTreeSet<Arc<str>> {
    let routed = blueprint.routes.values().flat_map(|table| &table.hosts).flat_map(|host| &host.rules);
    let routed = routed.flat_map(|rule| rule.clusters().cloned());
    let direct = blueprint.listeners.values().flat_map(|listener| listener.entry.clusters());
    routed.chain(direct.cloned()).collect()
}

fn clusters(
    scope: &Scope<'_>,
    credentials: &mut Credentials<'_>,
    blueprint: &mut Blueprint,
    wanted: impl Fn(&str) -> bool,
) {
    for host in scope.hosts.iter() {
        if host.preference.only_same_node && scope.group.location.node.is_empty() {
            let message = "a proxy that does not say which node it runs on calls endpoints on every node";
            let place = Place::new(host.source.clone(), "spec.internalTrafficPolicy");
            let problem = place.problem(Code::NoEffect, message);
            blueprint.report.add(problem.hint("set NODE_NAME in the metadata of the proxy's bootstrap"));
        }
        let rule = scope.rules.find(host, scope.group, scope.settings);
        for port in &host.ports {
            let subsets = rule.into_iter().flat_map(|rule| &rule.subsets);
            let subsets = subsets.filter(|(subset, _)| !subset.name.is_empty());
            let named = subsets.map(|(subset, place)| (subset.name.as_str(), Some((*subset, place))));
            for (subset, defined) in std::iter::once(("", None)).chain(named) {
                if !wanted(&host.cluster_name(port.number, subset)) {
                    continue;
                }
                let report = &mut blueprint.report;
                let Some((cluster, spread)) =
                    clusters::cluster(host, port, subset, rule, scope.group, credentials, report)
                else {
                    continue;
                };
                if cluster.discovery == Discovery::Assigned {
                    let labels = defined.map(|(subset, _)| subset.labels.clone()).unwrap_or_default();
                    let plan = plan(host, port, &cluster, labels, spread, scope);
                    let subset = defined.map(|(subset, place)| (subset.name.clone(), place.clone()));
                    blueprint.assignments.insert(cluster.name.clone(), AssignmentPlan { subset, ..plan });
                }
                blueprint.clusters.insert(cluster.name.clone(), cluster);
            }
        }
    }
}

fn plan(
    host: &Host,
    port: &Port,
    cluster: &Cluster,
    labels: BTreeMap<String, String>,
    spread: Spread,
    scope: &Scope<'_>,
) -> AssignmentPlan {
    let node = &scope.group.location.node;
    AssignmentPlan {
        members: host.members.clone(),
        selection: Selection {
            cluster: cluster.name.clone(),
            namespace: host.namespace.clone(),
            port: port.clone(),
            labels: Arc::new(labels),
            unhealthy: match scope.group.kind {
                ProxyKind::Grpc => Unhealthy::LeftOut,
                ProxyKind::Sidecar { .. } | ProxyKind::Intercepted | ProxyKind::Gateway => Unhealthy::Named,
            },
            spread: Arc::new(spread),
            only_on: Some(node.clone()).filter(|node| host.preference.only_same_node && !node.is_empty()),
        },
        subset: None,
        source: host.source.clone(),
    }
}
